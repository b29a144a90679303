//! A program that is started, killed, held and started again. Its log goes to a file.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Lines of a log that are shown when something went wrong.
const SHOWN: usize = 40;
/// The ports that programs are given: below those that the kernel gives to clients, so that none of them has it when a program that
/// was killed comes back.
const PORTS: Range<u16> = 12_000..32_000;
/// How far the parts of two programs of tests are from each other in [`PORTS`].
const PORTS_OF_A_PROGRAM: u32 = 61;

/// A program, running or not.
#[derive(Debug)]
pub struct Process {
    /// What it is called in this story.
    pub name: String,
    log: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Process {
    /// A program that does not run yet.
    pub fn new(name: &str, folder: &std::path::Path, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            log: folder.join(format!("{name}.log")),
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            child: None,
        }
    }

    /// The same with one more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl ToString) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// The same with one more variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts it, in a process group of its own.
    ///
    /// # Panics
    /// When it runs already, or there is no such program.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log");
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .process_group(0)
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{}: {error}", self.program.display())));
    }

    /// Its number, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Did it end by itself?
    ///
    /// # Panics
    /// When the system does not know.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("a status").is_some())
    }

    /// Kills it with SIGKILL, and everything in its process group.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal("KILL", &format!("-{}", child.id()));
        let _or_ended_by_itself = child.kill();
        child.wait().expect("it can be waited for");
    }

    /// Holds it: it does nothing, and does not know.
    pub fn hold(&self) {
        self.send("STOP");
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.send("CONT");
    }

    fn send(&self, name: &str) {
        if let Some(id) = self.id() {
            signal(name, &id.to_string());
        }
    }

    /// The end of its log.
    #[must_use]
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(SHOWN);
        format!("--- {}\n{}", self.name, lines[from..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to a process, or to a process group whose number has a minus before it.
pub(super) fn signal(name: &str, whom: &str) {
    let _gone_already = Command::new("kill").args(["-s", name, "--", whom]).stderr(Stdio::null()).status();
}

/// A port that nobody listens at, and that nobody else of these tests is given.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    // Programs that run beside each other have numbers beside each other: each has a part for itself.
    let begin = std::process::id().wrapping_mul(PORTS_OF_A_PROGRAM);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(|| begin.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed)) % count)
        .take(PORTS.len())
        .filter_map(|place| Some(PORTS.start + u16::try_from(place).ok()?))
        .find(is_free)
        .expect("a port")
}

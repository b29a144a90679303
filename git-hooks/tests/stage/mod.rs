//! A git server with our hooks, a person's clone, and a hub that can be taken away.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use farm::message::{Policy, PushReport};
use tempfile::TempDir;

pub(crate) const UPDATE: &str = env!("CARGO_BIN_EXE_grange-update");
pub(crate) const POST_RECEIVE: &str = env!("CARGO_BIN_EXE_grange-post-receive");
pub(crate) const TOKEN: &str = "the-hook-token";

const DEMO: &str = r#"
name = "demo"
[[member]]
name = "ada"
roles = ["maintainer"]
[[project]]
name = "hello"
release = "2"
dist = "9s"
arches = ["x86_64"]
packages = ["hello"]
tests.suites = { repo = "tests/demo", branch = "main" }
"#;
const STORAGE: &str = r#"
name = "storage"
[[member]]
name = "sten"
roles = ["maintainer"]
"#;
const STORAGEX: &str = r#"
name = "storagex"
[[member]]
name = "xenia"
roles = ["maintainer"]
"#;

/// The rules every test plays by.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy { admins: vec!["root".into()], ..Policy::default() };
    for template in [DEMO, STORAGE, STORAGEX] {
        policy.community = policy.community.with(farm::sig::template::parse("sig.toml", template).unwrap());
    }
    policy
}

/// What the hub answers to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Broken,
    Refusing,
    Silent,
    Strange,
    /// It cannot fetch `rpms/hello`.
    Unable,
}

/// A hub that remembers what it was told.
pub(crate) struct TestHub {
    pub(crate) address: SocketAddr,
    pub(crate) reports: Arc<Mutex<Vec<PushReport>>>,
    pub(crate) mood: Arc<Mutex<Mood>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TestHub {
    pub(crate) fn start() -> TestHub {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    /// A hub that comes back has the address it had.
    pub(crate) fn start_at(address: SocketAddr) -> TestHub {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let reports = Arc::new(Mutex::new(Vec::new()));
        let mood = Arc::new(Mutex::new(Mood::Well));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (reports, mood, stop) = (reports.clone(), mood.clone(), stop.clone());
            move || {
                let mut held = Vec::new();
                for line in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let mood = *mood.lock().unwrap();
                    let mut line = line.unwrap();
                    if mood == Mood::Silent {
                        held.push(line);
                    } else {
                        answer(&mut line, mood, &reports);
                    }
                }
            }
        });
        TestHub { address, reports, mood, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// The repos and branches it was told of, in order.
    pub(crate) fn told(&self) -> Vec<String> {
        self.reports
            .lock()
            .unwrap()
            .iter()
            .flat_map(|report| {
                report
                    .updates
                    .iter()
                    .map(|update| format!("{} {} {}", report.repo, report.pusher, update.new))
            })
            .collect()
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(line: &mut TcpStream, mood: Mood, reports: &Mutex<Vec<PushReport>>) {
    let mut reader = BufReader::new(line.try_clone().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let (mut length, mut known) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        known |= header == format!("authorization: bearer {TOKEN}");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (status, text) = match mood {
        Mood::Broken => ("503 Service Unavailable", "upstream is away".to_owned()),
        Mood::Strange => ("200 OK", "<html>log in to the guest network</html>".to_owned()),
        Mood::Unable if String::from_utf8_lossy(&body).contains("rpms/hello") => (
            "503 Service Unavailable",
            r#"{"type":"urn:grange:problem:unavailable","title":"Not now","detail":"no such commit there"}"#
                .to_owned(),
        ),
        Mood::Refusing => (
            "422 Unprocessable Content",
            r#"{"title":"The spec cannot be read","detail":"hello.spec:3: unknown tag"}"#.to_owned(),
        ),
        _ if !known => (
            "401 Unauthorized",
            r#"{"title":"Unknown token","detail":"the hook's token is not known"}"#.to_owned(),
        ),
        Mood::Well | Mood::Silent | Mood::Unable if first.starts_with("GET /api/v1/git/policy ") => {
            ("200 OK", serde_json::to_string(&policy()).unwrap())
        }
        Mood::Well | Mood::Silent | Mood::Unable => {
            assert!(first.starts_with("POST /api/v1/pushes "), "{first}");
            let report: PushReport = serde_json::from_slice(&body).unwrap();
            let lines: Vec<String> = report
                .updates
                .iter()
                .map(|update| format!("build of {} queued: http://hub/builds/1", update.branch))
                .collect();
            reports.lock().unwrap().push(report);
            ("202 Accepted", format!("{{\"lines\":{}}}", serde_json::to_string(&lines).unwrap()))
        }
    };
    write!(
        line,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
    .unwrap();
}

/// A folder with a git server's repos and one person's clone.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let stage = Stage { folder: tempfile::tempdir().unwrap() };
        let work = stage.work();
        std::fs::create_dir_all(&work).unwrap();
        stage.git(&["init", "--quiet", "--initial-branch", "c9s-sig-demo-hello"]);
        stage.commit("first");
        stage
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// A bare repo with our hooks: `rpms/hello`.
    pub(crate) fn repo(&self, path: &str) -> PathBuf {
        let bare = self.path(&format!("srv/{path}.git"));
        if !bare.exists() {
            std::fs::create_dir_all(&bare).unwrap();
            run(plain("git").args(["init", "--quiet", "--bare"]).arg(&bare));
            for (hook, program) in [("update", UPDATE), ("post-receive", POST_RECEIVE)] {
                let link = bare.join("hooks").join(hook);
                std::os::unix::fs::symlink(program, link).unwrap();
            }
        }
        bare
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        run(plain("git").current_dir(self.work()).args(arguments))
    }

    /// A new commit; its id.
    pub(crate) fn commit(&self, text: &str) -> String {
        std::fs::write(self.work().join("hello.spec"), text).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message", text]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.path("spool")
    }

    pub(crate) fn spooled(&self) -> usize {
        std::fs::read_dir(self.spool()).map_or(0, |entries| {
            entries
                .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "report"))
                .count()
        })
    }

    /// A push over the hub's own git server, which sets the environment.
    pub(crate) fn push(&self, hub: &TestHub, person: &str, repo: &str, refs: &[&str]) -> Pushed {
        self.push_towards(&hub.url(), person, repo, refs)
    }

    /// The same, for a hub that may be away.
    pub(crate) fn push_towards(&self, hub: &str, person: &str, repo: &str, refs: &[&str]) -> Pushed {
        self.push_within("60000", hub, person, repo, refs)
    }

    /// The same, for a hub that may take so many milliseconds.
    pub(crate) fn push_within(&self, ms: &str, hub: &str, person: &str, repo: &str, refs: &[&str]) -> Pushed {
        let policy_file = self.path("policy.json");
        std::fs::write(&policy_file, serde_json::to_vec(&policy()).unwrap()).unwrap();
        self.push_with(
            &[
                ("GRANGE_HUB", hub),
                ("GRANGE_PERSON", person),
                ("GRANGE_HOOK_TOKEN", TOKEN),
                ("GRANGE_POLICY", policy_file.to_str().unwrap()),
                ("GRANGE_REPO", repo),
                ("GRANGE_SPOOL", self.spool().to_str().unwrap()),
                ("GRANGE_TIMEOUT_MS", ms),
            ],
            repo,
            refs,
        )
    }

    pub(crate) fn push_with(&self, environment: &[(&str, &str)], repo: &str, refs: &[&str]) -> Pushed {
        let bare = self.repo(repo);
        let mut command = plain("git");
        command.current_dir(self.work()).arg("push").arg(bare).args(refs).envs(environment.iter().copied());
        Pushed::from(command.output().unwrap())
    }

    pub(crate) fn head(&self, repo: &str, branch: &str) -> Option<String> {
        let output = plain("git")
            .arg("-C")
            .arg(self.repo(repo))
            .args(["rev-parse", "--verify", "--quiet", branch])
            .output();
        let output = output.unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

/// What a person saw of a push.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) accepted: bool,
    pub(crate) said: String,
}

impl Pushed {
    /// Fails the test unless the person read this as a line from the server.
    pub(crate) fn saw(&self, words: &str) -> &Self {
        let seen = self.said.lines().any(|line| line.starts_with("remote:") && line.contains(words));
        assert!(seen, "no remote line with `{words}` in\n{}", self.said);
        self
    }

    pub(crate) fn accepted(&self) -> &Self {
        assert!(self.accepted, "{}", self.said);
        self
    }

    pub(crate) fn refused(&self) -> &Self {
        assert!(!self.accepted, "{}", self.said);
        self
    }
}

impl From<Output> for Pushed {
    fn from(output: Output) -> Self {
        Pushed {
            accepted: output.status.success(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A command that sees nothing of the machine's or the developer's own settings.
pub(crate) fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs([
        ("PATH", std::env::var("PATH").unwrap().as_str()),
        ("HOME", "/nonexistent"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@example.org"),
        ("GIT_COMMITTER_NAME", "Ada"),
        ("GIT_COMMITTER_EMAIL", "ada@example.org"),
    ]);
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `grange-post-receive --deliver`, with a configuration file.
pub(crate) fn deliver(config: &Path) -> (bool, String) {
    let output = plain(POST_RECEIVE).arg("--deliver").env("GRANGE_HOOKS_CONFIG", config).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

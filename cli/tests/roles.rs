//! The roles as processes: what they refuse to start on, how they say that they fare, and how they stop.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Far longer than anything takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a hub that was told to stop says so.
const LEAVE_MS: u64 = 300_000;
/// The same where that is waited out.
const SHORT_LEAVE_MS: u64 = 500;

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A configuration whose broker is never there.
    fn configured(self, more: &str) -> Place {
        let text = format!(
            "[ledger]\nurl = \"sqlite:{}\"\n[bus]\nurl = \"amqp://nobody@127.0.0.1:1/none\"\n\
             [hub]\ndata = \"{}\"\npublic_url = \"http://127.0.0.1:1\"\nlisten = \"127.0.0.1:0\"\nleave_ms = {LEAVE_MS}\n\
             [scheduler]\nmetrics = \"127.0.0.1:0\"\n{more}",
            self.path("ledger.sqlite").display(),
            self.path("data").display(),
        );
        std::fs::write(self.path("grange.toml"), text).unwrap();
        self
    }

    fn migrated(self) -> Place {
        let output = self.grange(&["admin", "migrate"]);
        assert!(output.status.success(), "{}", said(&output));
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grange"));
        command.env_clear().stdin(Stdio::null()).args(args).arg("--config").arg(self.path("grange.toml"));
        command
    }

    fn grange(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn start(&self, role: &str) -> Running {
        let mut child = self.command(&[role, "--log-format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stdout.take().unwrap());
        let mut running = Running { child, log, address: String::new() };
        let mut read = String::new();
        loop {
            let mut line = String::new();
            assert!(running.log.read_line(&mut line).unwrap() > 0, "{role} ended early: {read}");
            read.push_str(&line);
            let entry: Value = serde_json::from_str(&line).unwrap();
            if let Some(address) = entry["address"].as_str() {
                address.clone_into(&mut running.address);
                return running;
            }
        }
    }
}

struct Running {
    child: Child,
    log: BufReader<ChildStdout>,
    address: String,
}

impl Running {
    /// The status and the body; `None` when nobody answers.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: grange\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        Some((status, text.split("\r\n\r\n").nth(1)?.to_owned()))
    }

    fn told(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// The exit code and the rest of the log.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn until(what: &str, look: impl Fn() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_role_refuses_a_schema_it_does_not_know_and_names_both() {
    let place = Place::new().configured("");
    std::fs::write(place.path("ledger.sqlite"), "").unwrap();
    for role in ["hub", "scheduler"] {
        let output = place.grange(&[role]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        let text = said(&output);
        assert!(text.contains("the ledger has schema 0, this program knows 3"), "{text}");
        assert!(text.contains("grange admin migrate"), "{text}");
    }
    let place = place.migrated();
    let again = place.grange(&["admin", "migrate", "--json"]);
    assert_eq!(
        serde_json::from_slice::<Value>(&again.stdout).unwrap(),
        serde_json::json!({"from": 3, "to": 3})
    );
}

#[test]
fn a_role_without_a_bus_or_with_an_unknown_key_is_refused() {
    let place = Place::new();
    std::fs::write(place.path("grange.toml"), "[hub]\npublic_url = \"http://x\"\n").unwrap();
    for role in ["scheduler", "builder"] {
        let output = place.grange(&[role]);
        assert_eq!(output.status.code(), Some(2));
        assert!(!said(&output).is_empty());
    }
    assert!(said(&place.grange(&["builder"])).contains("no bus is configured"));
    std::fs::write(place.path("grange.toml"), "[scheduler]\nmetric = \"127.0.0.1:0\"\n").unwrap();
    let output = place.grange(&["hub"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("did you mean `metrics`?"), "{}", said(&output));
}

#[test]
fn the_first_admin_is_made_once_and_gets_in_with_the_token() {
    let place = Place::new().configured("").migrated();
    let file = place.path("token");
    let make = || place.grange(&["admin", "first-admin", "--json", "--token-file", file.to_str().unwrap()]);
    let made = |output: Output| serde_json::from_slice::<Value>(&output.stdout).unwrap()["made"].clone();
    assert_eq!(made(make()), true);
    let token = std::fs::read_to_string(&file).unwrap();
    assert_eq!(made(make()), false);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), token);
    let hub = place.start("hub");
    let whoami = Command::new(env!("CARGO_BIN_EXE_grange"))
        .env_clear()
        .args(["whoami", "--url", &format!("http://{}", hub.address), "--token-file"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(said(&whoami), "admin\n");
}

#[test]
fn a_scheduler_says_how_it_fares_and_stops_when_told() {
    let place = Place::new().configured("").migrated();
    let scheduler = place.start("scheduler");
    assert_eq!(scheduler.get("/healthz").unwrap().0, 200);
    let (status, why) = scheduler.get("/readyz").unwrap();
    assert_eq!((status, why.trim()), (503, "the bus is away"));
    assert_eq!(scheduler.get("/metrics").unwrap().0, 200);
    assert_eq!(scheduler.get("/else").unwrap().0, 404);
    scheduler.told("-TERM");
    let (code, log) = scheduler.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("\"stopped\""), "{log}");
}

#[test]
fn a_hub_that_stops_says_so_first_and_still_answers() {
    let place = Place::new().configured("").migrated();
    let hub = place.start("hub");
    until("the hub is ready", || hub.get("/readyz").is_some_and(|(status, _)| status == 200));
    let (_, metrics) = hub.get("/metrics").unwrap();
    for family in ["grange_jobs{phase=\"waiting\"} 0", "grange_http_requests_total{"] {
        assert!(metrics.contains(family), "{family} is not in\n{metrics}");
    }
    hub.told("-TERM");
    until("it says that it stops", || hub.get("/readyz").is_some_and(|(status, _)| status == 503));
    assert_eq!(hub.get("/healthz").unwrap().0, 200, "it still takes calls");
    hub.told("-TERM");
    let (code, log) = hub.ended();
    assert_eq!(code, Some(130), "told twice, it does not wait: {log}");

    let file = place.path("grange.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (long, short) = (format!("leave_ms = {LEAVE_MS}"), format!("leave_ms = {SHORT_LEAVE_MS}"));
    std::fs::write(&file, text.replace(&long, &short)).unwrap();
    let hub = place.start("hub");
    let begun = Instant::now();
    hub.told("-TERM");
    let (code, log) = hub.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("\"stopped\""), "{log}");
    assert!(begun.elapsed() >= Duration::from_millis(SHORT_LEAVE_MS), "it left at once");
}

#[test]
fn two_hubs_of_one_folder_share_the_hooks_secret() {
    let place = Place::new().configured("").migrated();
    let hubs = [place.start("hub"), place.start("hub")];
    let secret = std::fs::read_to_string(place.path("data").join("hook-token")).unwrap();
    for hub in &hubs {
        let mut stream = TcpStream::connect(&hub.address).unwrap();
        write!(
            stream,
            "GET /api/v1/git/policy HTTP/1.1\r\nHost: grange\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(mode(&place.path("data").join("hook-token")), 0o600);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

//! A PostgreSQL of a test's own, which syncs to disk like one in production, and may be killed.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{Process, free_port, signal};

/// Where Debian and the EL family put the programs of each version.
const PLACES: [&str; 2] = ["/usr/lib/postgresql", "/usr"];
/// Who runs it when the test is run by root, whom it refuses.
const USER: &str = "postgres";
const PATIENCE: Duration = Duration::from_secs(240);

/// A database server with one empty database.
#[derive(Debug)]
pub struct Database {
    /// Where it listens.
    pub address: SocketAddr,
    server: Process,
    _folder: TempDir,
}

impl Database {
    /// Makes one and starts it.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub async fn started() -> Database {
        let folder = tempfile::tempdir().expect("a folder");
        let programs = programs();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        if is_root {
            let owned = Command::new("chown").arg(USER).arg(&data).status().expect("chown runs");
            assert!(owned.success(), "there is no user {USER}");
        }
        let as_user = |program: &str| -> Vec<String> {
            let program = programs.join(program).display().to_string();
            let become_user = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups"];
            let before = if is_root { &become_user[..] } else { &[] };
            before.iter().map(|word| (*word).to_owned()).chain([program]).collect()
        };
        let made = as_user("initdb");
        let made = Command::new(&made[0])
            .args(&made[1..])
            .args(["--auth", "trust", "--username", "grange", "--no-sync", "--pgdata"])
            .arg(&data)
            .current_dir("/")
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let command = as_user("postgres");
        let mut server = Process::new("postgres", folder.path(), &command[0]);
        for argument in &command[1..] {
            server = server.arg(argument);
        }
        server = server.arg("-D").arg(data.display());
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", address.port()),
            "unix_socket_directories=".to_owned(),
            "fsync=on".to_owned(),
            "synchronous_commit=on".to_owned(),
            "max_connections=200".to_owned(),
        ];
        for setting in settings {
            server = server.arg("-c").arg(setting);
        }
        let mut database = Database { address, server, _folder: folder };
        database.start().await;
        database
    }

    /// Its address, as a farm is told.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://grange@{}/postgres", self.address)
    }

    /// Starts it again after it was killed, and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(&mut self) {
        let begun = Instant::now();
        self.server.start();
        loop {
            let url = self.url();
            let asked = Command::new("psql").args([&*url, "-qtA", "-c", "select 1"]).output();
            if asked.expect("psql runs").status.success() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL does not start: {}", self.server.log());
            if self.server.has_ended() {
                // The last of those it had may be a moment behind it.
                self.server.kill();
                self.server.start();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Kills the server and every process it has with SIGKILL, as when the machine loses power.
    pub fn kill(&mut self) {
        let Some(id) = self.server.id() else { return };
        // Each of its processes is in a session of its own.
        let children = Command::new("pgrep").args(["-P", &id.to_string()]).output();
        self.server.kill();
        for child in
            String::from_utf8_lossy(&children.map(|output| output.stdout).unwrap_or_default()).lines()
        {
            signal("KILL", child);
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.kill();
    }
}

fn programs() -> PathBuf {
    let versions = std::fs::read_dir(PLACES[0]).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    found.sort();
    found.push(Path::new(PLACES[1]).join("bin"));
    let place = found.into_iter().rev().find(|place| place.join("initdb").exists());
    place.expect("PostgreSQL's server is installed")
}

//! A RabbitMQ of a test's own, which may be killed and wiped.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Process, free_port};

/// Where packages put the program, without the wrapper that becomes another user.
const PROGRAMS: [&str; 2] = ["/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/sbin/rabbitmq-server"];
const CONTROLS: [&str; 2] = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "/usr/sbin/rabbitmqctl"];
/// Longer than a busy machine takes to start one.
const PATIENCE: Duration = Duration::from_secs(120);

/// A broker.
#[derive(Debug)]
pub struct Broker {
    /// Where it listens.
    pub address: SocketAddr,
    node: String,
    names_port: u16,
    server: Process,
    _names: Process,
    folder: TempDir,
}

impl Broker {
    /// Makes one that does not run yet.
    ///
    /// # Panics
    /// When it is not installed.
    #[must_use]
    pub fn new() -> Broker {
        static BROKERS: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        std::fs::write(path.join("plugins"), "[].\n").expect("a file");
        let program = installed(PROGRAMS);
        let (port, names_port, distribution) = (free_port(), free_port(), free_port());
        let mut names =
            Process::new("epmd", path, "epmd").arg("-port").arg(names_port).arg("-address").arg("127.0.0.1");
        names.start();
        let node =
            format!("fault{}x{}@localhost", std::process::id(), BROKERS.fetch_add(1, Ordering::Relaxed));
        let server = Process::new("rabbitmq", path, program)
            .env("HOME", path.display())
            .env("ERL_EPMD_PORT", names_port)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", &node)
            .env("RABBITMQ_NODE_PORT", port)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_DIST_PORT", distribution)
            .env("RABBITMQ_MNESIA_BASE", path.join("data").display())
            .env("RABBITMQ_LOG_BASE", path.join("log").display())
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path.join("plugins").display())
            // Neither the machine's own broker nor its settings are looked at.
            .env("RABBITMQ_CONF_ENV_FILE", path.join("none").display())
            .env("RABBITMQ_CONFIG_FILE", path.join("none").display())
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
            );
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Broker { address, node, names_port, server, _names: names, folder }
    }

    /// Its address, as a farm is told.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.address)
    }

    /// Starts it, and waits until it takes connections.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(&mut self) {
        self.server.start();
        let begun = Instant::now();
        while Connection::connect(&self.url(), ConnectionProperties::default()).await.is_err() {
            assert!(
                begun.elapsed() < PATIENCE && !self.server.has_ended(),
                "the broker does not start: {}",
                self.server.log()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Makes users and what else these definitions say. It must run.
    ///
    /// # Panics
    /// When it refuses.
    pub fn import(&self, definitions: &Value) {
        let path = self.folder.path();
        let file = path.join("definitions.json");
        std::fs::write(&file, definitions.to_string()).expect("a file");
        let told = Command::new(installed(CONTROLS))
            .args(["--node", &self.node, "import_definitions"])
            .arg(file)
            .env("HOME", path)
            .env("ERL_EPMD_PORT", self.names_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", path.join("none"))
            .output()
            .expect("rabbitmqctl runs");
        let said = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        assert!(told.status.success(), "{said:?}");
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Removes everything it ever kept. It must not run.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(self.folder.path().join("data")).expect("its data can be removed");
    }
}

fn installed(places: [&'static str; 2]) -> &'static str {
    places.into_iter().find(|program| Path::new(program).exists()).expect("RabbitMQ is installed")
}

impl Default for Broker {
    fn default() -> Self {
        Self::new()
    }
}

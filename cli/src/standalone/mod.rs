//! A farm in one process: hub, scheduler, builder and signer joined over a local bus and a ledger in a file.
//!
//! Tests start the same farm on port 0 as `grange standalone` does on a real one. The roles are stopped one after the
//! other, the builder first: it still has something to report to a scheduler that runs and a hub that answers.

mod first;
mod lock;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use builder::{Engine, Identity};
use farm::digest::Digest;
use farm::ledger::Db;
use farm::wire::Bus;
use futures_util::future::select_all;
use hub::state::Hub;
use tokio::net::TcpListener;
use url::Url;

use crate::commands::signer::KEYS;
use crate::failure::Failure;
use crate::roles::{Config, Role, STOP_GRACE, outcome};

pub(crate) use first::admin as first_admin;
pub use first::{ADMIN, ADMIN_TOKEN_FILE};

/// What a farm is started with.
#[derive(Debug, Default)]
pub struct Options {
    /// Where the hub listens; port 0 takes any free one. This machine's port 8080 when it is not said.
    pub listen: Option<SocketAddr>,
    /// The roles' configuration; `hub.data` is the folder for everything. A builder without slots is not started.
    pub config: Config,
    /// What runs containers, in place of what the builder's configuration names.
    pub engine: Option<Engine>,
}

impl Options {
    /// A farm in this folder that listens to this machine alone, at any free port.
    #[must_use]
    pub fn anywhere(data: impl Into<PathBuf>) -> Options {
        let mut config = Config::default();
        config.hub.data = data.into();
        Options { listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))), config, engine: None }
    }
}

/// A running farm.
#[derive(Debug)]
pub struct Farm {
    /// The address people and builders reach it by, without a slash at the end.
    pub url: String,
    /// Where it really listens.
    pub address: SocketAddr,
    /// Where it keeps everything.
    pub data: PathBuf,
    /// The first admin's token, at the first start only.
    pub admin_token: Option<String>,
    db: Db,
    roles: Vec<Role>,
    // Held until the farm is gone.
    _lock: std::fs::File,
}

/// Starts a farm and returns once it listens.
///
/// # Errors
/// When the folder belongs to another farm, the port to another program, or something cannot be opened.
pub async fn start(options: Options) -> anyhow::Result<Farm> {
    let Options { listen, config, engine } = options;
    let with_bus = config.has_bus();
    let Config {
        ledger,
        bus,
        hub: mut hub_config,
        scheduler: scheduler_config,
        builder: mut builder_config,
        signer: mut signer_config,
        said,
    } = config;
    crate::client::install_tls();

    let data = std::path::absolute(&hub_config.data).context("the data folder's path")?;
    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    let lock = lock::take(&data)?;

    let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen at {listen}"))?;
    let address = listener.local_addr().context("the address it listens at")?;
    let local_url = reachable(address);
    if !said.contains("hub.public_url") {
        if listen.ip().is_unspecified() {
            tracing::warn!(
                url = local_url,
                "hub.public_url is not configured: links lead to this machine only"
            );
        }
        hub_config.public_url.clone_from(&local_url);
    }
    let url = hub_config.public_url.trim_end_matches('/').to_owned();
    hub_config.public_url.clone_from(&url);
    hub_config.data.clone_from(&data);

    let with_builder = builder_config.slots > 0;
    if !said.contains("builder.hub") {
        builder_config.hub = Url::parse(&local_url).context("the address it listens at")?;
    }
    if !said.contains("builder.data") {
        builder_config.data = data.join("builder");
    }
    if !said.contains("builder.name") {
        // Two farms of one machine may share a container engine, in which a builder removes what bears its name.
        let path = Digest::of(data.as_os_str().as_encoded_bytes());
        builder_config.name = format!("{}-{}", builder_config.name, &path.short()[..6]);
    }
    if !said.contains("signer.hub") {
        signer_config.hub = Url::parse(&local_url).context("the address it listens at")?;
    }
    if !said.contains("signer.keys") {
        signer_config.keys = data.join(KEYS);
    }
    let engine = match engine {
        Some(engine) => Some(engine),
        None if with_builder => Some(Engine::connect(&builder_config.engine).with_context(|| {
            "cannot use the container engine; start Docker or `podman system service`, name its socket with --engine, \
             or start without a builder with --builder-slots 0"
        })?),
        None => None,
    };

    let db = Db::open(&ledger.address(&data).map_err(wrong)?).await.context("cannot open the ledger")?;
    let admin_token = first::admin(&db, &data.join(ADMIN_TOKEN_FILE)).await?;
    let bus = if with_bus { Bus::connect(&bus).context("section [bus]")? } else { Bus::local() };
    let hub = Hub::open(db.clone(), bus.clone(), hub_config).context("cannot open the hub")?;

    let mut roles = Vec::new();
    if let Some(engine) = engine.filter(|_| with_builder) {
        let drain = Duration::from_secs(builder_config.drain_seconds);
        let identity = Identity::fresh(&builder_config.name).context("a secret for the builder")?;
        let mut tx = db.write().await.context("the ledger")?;
        tx.admit_builder(identity.name(), &identity.digest()).await.context("the ledger")?;
        tx.commit().await.context("the ledger")?;
        let parts = builder::Parts { bus: bus.clone(), engine, identity };
        roles.push(Role::start("builder", drain + STOP_GRACE, |stop| {
            builder::run(parts, builder_config, stop)
        }));
    }
    let parts = scheduler::Parts { db: db.clone(), bus };
    roles.push(Role::start("scheduler", STOP_GRACE, |stop| scheduler::run(parts, scheduler_config, stop)));
    let parts = signer::Parts { db: db.clone(), token: hub.signer_token.clone() };
    roles.push(Role::start("signer", STOP_GRACE, |stop| signer::run(parts, signer_config, stop)));
    roles.push(Role::start("hub", STOP_GRACE, |stop| hub::run(hub, listener, stop)));
    tracing::info!(url, %address, data = %data.display(), "the farm is open");
    Ok(Farm { url, address, data, admin_token, db, roles, _lock: lock })
}

impl Farm {
    /// The ledger, for tests and for who knows what they do.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Gives a person a token, in place of the one they have.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn add_person(&self, name: &str, admin: bool) -> anyhow::Result<String> {
        let (token, _) = crate::commands::person::put(&self.db, name, admin, crate::screen::now()).await?;
        Ok(token)
    }

    /// Waits until a role ends by itself, which none should, and says why it did.
    pub async fn broken(&mut self) -> anyhow::Error {
        let (ended, index, _) = select_all(self.roles.iter_mut().map(|role| &mut role.task)).await;
        let role = self.roles.remove(index);
        outcome(role.name, ended).err().unwrap_or_else(|| anyhow!("the {} ended by itself", role.name))
    }

    /// Stops every role and waits for it.
    ///
    /// # Errors
    /// The first failure of a role; the others are stopped all the same.
    pub async fn stop(self) -> anyhow::Result<()> {
        let mut result = Ok(());
        for role in self.roles {
            let ended = role.stop().await;
            if result.is_ok() {
                result = ended;
            }
        }
        self.db.close().await;
        tracing::info!("the farm is closed");
        result
    }
}

/// A fault of the configuration, as a fault of the start.
fn wrong(failure: Failure) -> anyhow::Error {
    match failure {
        Failure::Usage { what, fix } => anyhow!("{what}; {fix}"),
        Failure::Local(error) => error,
        Failure::Failed(said) => anyhow!(said),
        Failure::Refused(problem) | Failure::HubFailed(problem) => anyhow!(problem.detail),
        Failure::Unreachable { url, why } => anyhow!("{url} cannot be reached: {why}"),
        Failure::Output(error) => error.into(),
    }
}

/// How programs of this machine reach an address that is listened at.
fn reachable(address: SocketAddr) -> String {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address.ip(),
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_reached_at_home() {
        for (address, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:8080", "http://[::1]:8080"),
            ("192.0.2.7:8080", "http://192.0.2.7:8080"),
        ] {
            assert_eq!(reachable(address.parse().unwrap()), expected);
        }
    }
}

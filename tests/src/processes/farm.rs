//! The farm: two hubs behind one address, two schedulers, builders, and what a story does with them.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::farm::digest::Digest;
use ::farm::ids::RequestId;
use ::farm::job::{Job, JobState, Patience};
use ::farm::ledger::{Db, RequestFilter};
use ::farm::stamp::Stamp;
use ::farm::wire::AmqpConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Process, free_port};
use super::yard::{self, Yard};
use crate::farm::SIGNER_BITS;
use crate::packages::{Behaviour, Package};
use crate::proxy::Proxy;
use crate::services::{psql, wipe};
use crate::tools::{programs, run_git, service};

/// How long a story waits for something: far longer than anything takes.
const DEADLINE: Duration = Duration::from_secs(150);
const LOOK: Duration = Duration::from_millis(50);
const ADMIN: &str = "root-token";
/// The target of the stories' SIG.
const TARGET: &str = "demo9s-hello-2-el9s";
/// The branch that is built.
const BRANCH: &str = "c9s-sig-demo-hello";
/// The file names under which a builder keeps who it is.
const IDENTITY: [&str; 2] = ["name", "secret"];
/// Everybody who has a token, and whether they are an admin.
const PEOPLE: [(&str, bool); 4] = [("root", true), ("ada", false), ("rex", false), ("eve", false)];

/// Where a story's database and broker are.
#[derive(Debug)]
pub struct Ground {
    /// What this story is called in them.
    pub name: String,
    /// The database.
    pub ledger: String,
    /// The broker.
    pub amqp: String,
    /// What the names of everything on the broker begin with.
    prefix: String,
    /// Is each process a user of its own on the broker?
    own_users: bool,
    shared: Option<(String, String)>,
}

impl Ground {
    /// A database of its own on the tests' server, and names of its own on the tests' broker; `None`, said aloud, when
    /// there are none.
    #[must_use]
    pub fn shared() -> Option<Ground> {
        let (server, amqp) = (service("GRANGE_TEST_POSTGRES")?, service("GRANGE_TEST_AMQP")?);
        let name = fresh_name();
        let (base, _) = server.rsplit_once('/')?;
        psql(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        psql(&server, &format!("CREATE DATABASE {name}"));
        let ledger = format!("{base}/{name}");
        let prefix = format!("{name}.");
        let shared = Some((server, amqp.clone()));
        Some(Ground { name, ledger, amqp, prefix, own_users: false, shared })
    }

    /// The same with another broker, which is the story's own.
    #[must_use]
    pub fn with_broker(mut self, amqp: String) -> Ground {
        self.amqp = amqp;
        self
    }

    /// The same with the users of [`super::definitions`] on the broker, whose rights are to names that begin as a site's do.
    #[must_use]
    pub fn with_own_users(mut self) -> Ground {
        self.prefix = AmqpConfig::default().prefix;
        self.own_users = true;
        self
    }

    /// The broker, as this user is to reach it.
    #[must_use]
    pub fn amqp_as(&self, user: &str) -> String {
        if !self.own_users {
            return self.amqp.clone();
        }
        let mut url: url::Url = self.amqp.parse().expect("an address");
        url.set_username(user).and_then(|()| url.set_password(Some(user))).expect("an address with a user");
        url.into()
    }

    /// The same with another database, which is the story's own.
    #[must_use]
    pub fn with_database(mut self, ledger: String) -> Ground {
        self.ledger = ledger;
        self
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let Some((server, _)) = &self.shared else { return };
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let _a_story_that_panics_must_not_panic_twice =
            Command::new("psql").args([server, "--quiet", "--command", &drop]).status();
    }
}

/// How often each story is played, said by `GRANGE_FAULT_ROUNDS`: once, unless somebody wants to know it exactly.
#[must_use]
pub fn rounds() -> u32 {
    said_rounds().unwrap_or(1)
}

/// Are stories played with the times a farm has in production? Then they take long.
fn is_thorough() -> bool {
    said_rounds().is_some()
}

fn said_rounds() -> Option<u32> {
    std::env::var("GRANGE_FAULT_ROUNDS").ok()?.parse().ok()
}

fn fresh_name() -> String {
    static STORIES: AtomicU32 = AtomicU32::new(0);
    format!("fault_{}_{}", std::process::id(), STORIES.fetch_add(1, Ordering::Relaxed))
}

/// What differs from story to story.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How long the farm waits for whom.
    pub patience: Patience,
    /// Builders, and how many jobs each takes at once.
    pub builders: u32,
    /// See `builders`.
    pub slots: u32,
    /// How the roles reach the database, when not directly.
    pub ledger_through: Option<SocketAddr>,
    /// How the roles reach the broker, when not directly.
    pub broker_through: Option<SocketAddr>,
    /// Are pushes reported by hooks? Else the sweep finds them, or the story reports them.
    pub hooks: bool,
}

impl Default for Setup {
    fn default() -> Self {
        // Everything is shorter than in production by the same factor; see `is_thorough`.
        let patience = Patience {
            offer_ms: 5_000,
            lease_ms: 10_000,
            stop_ms: 6_000,
            max_tries: 5,
            backoff_ms: 200,
            ..Patience::default()
        };
        let patience = if is_thorough() { Patience::default() } else { patience };
        Self { patience, builders: 2, slots: 12, ledger_through: None, broker_through: None, hooks: true }
    }
}

/// The farm's land: its folders, and the people in it.
#[derive(Debug)]
pub struct Land {
    /// The story's folder.
    pub folder: TempDir,
    /// The hubs' data.
    pub data: PathBuf,
    /// Where builders do as they are told.
    pub yard: Yard,
}

/// A farm and everything a story needs of it. Dropping it ends every process.
#[derive(Debug)]
pub struct ProcessFarm {
    /// `grange hub`, twice.
    pub hubs: Vec<Process>,
    /// `grange scheduler`, twice.
    pub schedulers: Vec<Process>,
    /// `grange signer`.
    pub signer: Process,
    /// The builders.
    pub builders: Vec<Process>,
    /// The one address before both hubs, for everybody but builders.
    pub front: Proxy,
    /// The same for builders.
    pub back: Proxy,
    /// Where each hub listens.
    pub hub_addresses: Vec<SocketAddr>,
    /// Its folders.
    pub land: Land,
    /// How it was set up.
    pub setup: Setup,
    /// The ledger, to look at.
    pub db: Db,
    pub(super) http: reqwest::Client,
    pub(super) ground: Ground,
}

impl ProcessFarm {
    /// A farm that is ready to be started: the schema is made, the people and builders are known, the SIG is applied by
    /// [`ProcessFarm::start`].
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn new(ground: Ground, setup: Setup) -> ProcessFarm {
        let _another_story_did = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let (data, yard) = (path.join("data"), path.join("yard"));
        for folder in [&data, &yard] {
            std::fs::create_dir(folder).expect("a folder");
        }
        let land = Land { folder, data: data.clone(), yard: Yard::new(yard, yard::artifacts(&data)) };
        let db = Db::open(&ground.ledger).await.expect("the ledger opens");
        let hub_addresses: Vec<SocketAddr> =
            (0..2).map(|_| SocketAddr::from(([127, 0, 0, 1], free_port()))).collect();
        let (front, back) = (Proxy::to(&hub_addresses).await, Proxy::to(&hub_addresses).await);
        std::fs::write(path.join("signer-token"), "the signer's token").expect("a file");
        std::fs::write(path.join("grange.toml"), configuration(&ground, &setup, &path, &front))
            .expect("a file");
        let role = |name: &str, role: &str| {
            Process::new(name, &path, programs().join("grange"))
                .env("GRANGE_BUS__URL", through(&ground.amqp_as(role), setup.broker_through))
                .arg(role)
                .arg("--config")
                .arg(path.join("grange.toml").display())
        };
        let hubs = hub_addresses
            .iter()
            .zip(["hub-1", "hub-2"])
            .map(|(address, name)| role(name, "hub").env("GRANGE_HUB__LISTEN", address))
            .collect();
        let schedulers =
            ["scheduler-1", "scheduler-2"].map(|name| role(name, "scheduler")).into_iter().collect();
        let signer = role("signer", "signer");
        let mut builders = Vec::new();
        for number in 1..=setup.builders {
            builders.push(builder(number, &path, &land, &ground, &setup, &back, &db).await);
        }
        let mut tx = db.write().await.expect("the ledger writes");
        for (name, admin) in PEOPLE {
            let token = Digest::of(format!("{name}-token").as_bytes());
            tx.put_person(name, &token, admin, Stamp::ZERO).await.expect("a person");
        }
        tx.commit().await.expect("people");
        let http = reqwest::Client::builder().timeout(DEADLINE).build().expect("HTTP");
        ProcessFarm {
            hubs,
            schedulers,
            signer,
            builders,
            front,
            back,
            hub_addresses,
            land,
            setup,
            db,
            http,
            ground,
        }
    }

    /// Starts every process that does not run, and applies the SIG.
    ///
    /// # Panics
    /// When one does not start.
    pub async fn start(&mut self) {
        let roles = self.hubs.iter_mut().chain(&mut self.schedulers).chain([&mut self.signer]);
        for process in roles.chain(&mut self.builders) {
            if process.id().is_none() {
                process.start();
            }
        }
        let body = json!({"file": "story.toml", "template": SIG});
        self.until("the hubs answer", async |farm| {
            let url = farm.url("/api/v1/sigs/apply");
            let answer = farm.http.post(url).bearer_auth(ADMIN).json(&body).send().await;
            matches!(answer, Ok(answer) if answer.status().is_success()).then_some(())
        })
        .await;
    }

    /// How long a lease lasts.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.setup.patience.lease_ms)
    }

    /// Waits until this hub answers, whatever the other does.
    pub async fn hub_answers(&self, number: usize) {
        let url = format!("http://{}/api/v1/status", self.hub_addresses[number]);
        self.until("a hub answers again", async |farm| {
            let answer = farm.http.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Waits until no lease runs out before so much time has passed.
    pub async fn leases_last(&self, time: Duration) {
        self.until("every job's lease was renewed a moment ago", async |farm| {
            let jobs = farm.jobs().await;
            let leases = jobs.iter().filter_map(|job| match &job.state {
                JobState::Building { lease, .. } => Some(*lease),
                JobState::Waiting { .. }
                | JobState::Offered { .. }
                | JobState::Stopping { .. }
                | JobState::Done { .. } => None,
            });
            leases.min().is_none_or(|first| now() + time < first).then_some(())
        })
        .await;
    }

    /// An address behind the front.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.front.address)
    }

    /// Asks for a scratch build of a package, as eve; repeats it until a hub answers.
    pub async fn scratch(&self, name: &str) -> RequestId {
        let (file, bytes) = yard::source_rpm(name, "1");
        let url = self.url(&format!("/api/v1/builds/srpm?target={TARGET}&name={file}"));
        self.until("a scratch build is taken in", async |farm| {
            let asked = farm.http.post(&url).bearer_auth("eve-token").body(bytes.clone());
            let answer = asked.send().await.ok()?;
            assert!(!answer.status().is_client_error(), "{}", answer.status());
            let body: Value = answer.json().await.ok()?;
            serde_json::from_value(body.get("id")?.clone()).ok()
        })
        .await
    }

    /// Asks for many, called `<stem>1` and so on, and waits until all of them are at work.
    pub async fn many_at_work(&self, stem: &str, count: usize) -> Vec<RequestId> {
        let mut asked = Vec::new();
        for number in 1..=count {
            asked.push(self.scratch(&format!("{stem}{number}")).await);
        }
        self.at_work(stem, count).await;
        asked
    }

    /// Waits until so many builds of packages whose names begin so are at work.
    pub async fn at_work(&self, stem: &str, count: usize) {
        self.until(&format!("{count} of {stem} are at work"), async |farm| {
            let starts = farm.land.yard.starts();
            let begun =
                starts.iter().filter(|start| start.work == "build" && start.package.starts_with(stem));
            (begun.count() >= count).then_some(())
        })
        .await;
    }

    /// Stops a build, as eve, who asked for it.
    pub async fn cancel(&self, id: RequestId) {
        let url = self.url(&format!("/api/v1/builds/{id}/cancel"));
        self.until("a build is cancelled", async |farm| {
            let answer = farm.http.post(&url).bearer_auth("eve-token").send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Commits a package and pushes it as ada, again and again until git says that it is there.
    ///
    /// # Panics
    /// When git or the disk refuses.
    pub async fn push(&self, name: &str, version: &str) {
        let dir = self.land.folder.path().join("checkouts").join(name);
        if !dir.exists() {
            std::fs::create_dir_all(&dir).expect("a folder");
            assert!(run_git(&dir, &["init", "-q", "-b", "work"]).status.success());
        }
        for (path, content, _) in Package::new(name, version, Behaviour::Builds).tree() {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, content).expect("a file");
        }
        assert!(run_git(&dir, &["add", "-A"]).status.success());
        assert!(run_git(&dir, &["commit", "-q", "-m", &format!("Update to {version}")]).status.success());
        let remote = format!("http://ada:ada-token@{}/git/rpms/{name}.git", self.front.address);
        self.until("git takes a push", async |_| {
            let pushed = run_git(&dir, &["push", &remote, &format!("HEAD:refs/heads/{BRANCH}")]);
            let said = String::from_utf8_lossy(&pushed.stderr);
            assert!(!said.contains("rejected"), "{said}");
            pushed.status.success().then_some(())
        })
        .await;
    }

    /// The commit that was pushed last.
    #[must_use]
    pub fn head(&self, name: &str) -> String {
        let dir = self.land.folder.path().join("checkouts").join(name);
        String::from_utf8_lossy(&run_git(&dir, &["rev-parse", "HEAD"]).stdout).trim().to_owned()
    }

    /// Every job there is.
    ///
    /// # Panics
    /// When the ledger cannot be read.
    pub async fn jobs(&self) -> Vec<Job> {
        let mut tx = self.db.read().await.expect("the ledger reads");
        let all = RequestFilter { limit: 10_000, ..RequestFilter::default() };
        let mut jobs = Vec::new();
        for request in tx.requests(&all).await.expect("requests") {
            jobs.extend(tx.jobs_of(request.id).await.expect("jobs"));
        }
        jobs
    }

    /// Waits until something is there.
    ///
    /// # Panics
    /// When it never is: then with what every process said last.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFn(&Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self).await {
                return found;
            }
            if begun.elapsed() > DEADLINE {
                panic!("{}: waited in vain until {what}\n{}", self.ground.name, self.logs());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What every process said last.
    #[must_use]
    pub fn logs(&self) -> String {
        let all = self.hubs.iter().chain(&self.schedulers).chain([&self.signer]).chain(&self.builders);
        all.map(Process::log).collect::<Vec<_>>().join("\n")
    }

    /// Removes what the farm has made on the tests' broker.
    pub(super) async fn clear_up(mut self) {
        let roles = self.hubs.iter_mut().chain(&mut self.schedulers).chain([&mut self.signer]);
        for process in roles.chain(&mut self.builders) {
            process.kill();
        }
        self.db.close().await;
        let Some((_, broker)) = &self.ground.shared else { return };
        if *broker == self.ground.amqp {
            let names: Vec<&str> = self.builders.iter().map(|builder| &*builder.name).collect();
            wipe(broker, &self.ground.prefix, &names).await;
        }
    }

    /// How this farm's events can be heard.
    #[must_use]
    pub fn bus(&self) -> AmqpConfig {
        AmqpConfig {
            url: self.ground.amqp.clone(),
            prefix: self.ground.prefix.clone(),
            ..AmqpConfig::default()
        }
    }
}

/// The time by this machine's clock, which is also the hubs'.
fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right");
    Stamp::from_millis(i64::try_from(since.as_millis()).expect("a time that can be written"))
}

/// Heartbeats are as often as a story's other times are short.
const HEARTBEAT: u16 = 3;

fn through(url: &str, proxy: Option<SocketAddr>) -> String {
    let Some(proxy) = proxy else { return url.to_owned() };
    let mut url: url::Url = url.parse().expect("an address");
    url.set_host(Some("127.0.0.1"))
        .and_then(|()| url.set_port(Some(proxy.port())).map_err(|()| url::ParseError::InvalidPort))
        .expect("a host");
    url.into()
}

fn configuration(ground: &Ground, setup: &Setup, path: &Path, front: &Proxy) -> String {
    let data = path.join("data");
    let (token, keys) = (path.join("signer-token"), path.join("keys"));
    let (token, keys, hub) = (token.display(), keys.display(), front.address);
    let Patience { offer_ms, lease_ms, stop_ms, max_tries, backoff_ms, .. } = setup.patience;
    let hooks = if setup.hooks { programs() } else { quiet_hooks(&data) };
    let sweep_ms = if setup.hooks { 3_000 } else { 3_600_000 };
    format!(
        "[ledger]\nurl = \"{}\"\n[bus]\nurl = \"{}\"\nprefix = \"{}\"\nheartbeat_seconds = {HEARTBEAT}\n\
         [hub]\ndata = \"{}\"\npublic_url = \"http://{}\"\nhooks = \"{}\"\nkeeper_ms = 500\nsweep_ms = {sweep_ms}\n\
         pulse_ms = 1000\nhub_gap_ms = {}\nsilent_ms = {}\n\
         patience = {{ offer_ms = {offer_ms}, lease_ms = {lease_ms}, stop_ms = {stop_ms}, max_tries = {max_tries}, backoff_ms = {backoff_ms} }}\n\
         signer_token_file = \"{token}\"\n\
         [scheduler]\ntick_ms = 300\n\
         [signer]\nhub = \"http://{hub}\"\nkeys = \"{keys}\"\ntoken_file = \"{token}\"\nrsa_bits = {SIGNER_BITS}\n",
        through(&ground.ledger, setup.ledger_through),
        through(&ground.amqp, setup.broker_through),
        ground.prefix,
        data.display(),
        front.address,
        hooks.display(),
        lease_ms / 2,
        lease_ms / 2,
    )
}

/// Hooks that judge pushes and report none.
fn quiet_hooks(data: &Path) -> PathBuf {
    let folder = data.with_file_name("hooks");
    std::fs::create_dir(&folder).expect("a folder");
    std::os::unix::fs::symlink(programs().join("grange-update"), folder.join("grange-update"))
        .expect("a link");
    let report = folder.join("grange-post-receive");
    std::fs::write(&report, "#!/bin/sh\ncat > /dev/null\n").expect("a file");
    std::fs::set_permissions(&report, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    folder
}

async fn builder(
    number: u32,
    path: &Path,
    land: &Land,
    ground: &Ground,
    setup: &Setup,
    back: &Proxy,
    db: &Db,
) -> Process {
    let name = format!("b{number}");
    let data = path.join(&name);
    std::fs::create_dir(&data).expect("a folder");
    let secret = Digest::of(format!("{} {number}", ground.name).as_bytes()).to_string();
    for (file, text) in IDENTITY.iter().zip([&name, &secret]) {
        std::fs::write(data.join(file), text).expect("a file");
    }
    let mut tx = db.write().await.expect("the ledger writes");
    tx.admit_builder(&name, &Digest::of(secret.as_bytes())).await.expect("a builder");
    tx.commit().await.expect("a builder");
    Process::new(&name, path, programs().join("test-builder"))
        .arg("--hub")
        .arg(format!("http://{}", back.address))
        .arg("--amqp")
        .arg(through(&ground.amqp_as(&name), setup.broker_through))
        .arg("--prefix")
        .arg(&ground.prefix)
        .arg("--heartbeat")
        .arg(HEARTBEAT)
        .arg("--data")
        .arg(data.display())
        .arg("--slots")
        .arg(setup.slots)
        .arg("--yard")
        .arg(path.join("yard").display())
        .arg("--artifacts")
        .arg(yard::artifacts(&land.data).display())
}

/// The stories' SIG.
const SIG: &str = r#"
name = "demo"
[[member]]
name = "ada"
roles = ["maintainer"]
[[member]]
name = "rex"
roles = ["maintainer", "release-manager"]
[[project]]
name = "hello"
release = "2"
dist = "9s"
arches = ["x86_64"]
packages = ["apple", "pear", "quick-plum", "large-melon"]
image = "dummy"
[project.tests]
required = ["installs"]
[project.limits]
seconds = 1200
memory_mb = 512
disk_mb = 128
"#;

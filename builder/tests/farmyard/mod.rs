//! A farm with one real builder in it: the hub is played by a server that remembers what it was told, the scheduler
//! by the test.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

pub(crate) mod hub;

use std::time::Duration;

use builder::engine::Kept;
use builder::{Config, Engine, Identity, Parts};
use farm::arch::Arch;
use farm::ids::{JobId, Minter};
use farm::message::{Offer, Presence, Stop};
use farm::outcome::Outcome;
use farm::recipe::{Input, Limits, Recipe, RepoOrigin, RepoSource, Sharing, Work};
use farm::stamp::Stamp;
use farm::wire::Bus;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub(crate) use hub::{Attempt, Hub};

/// The ticket of every offer.
pub(crate) const TICKET: &str = "the ticket";

/// The farm.
pub(crate) struct Farmyard {
    pub(crate) hub: Hub,
    pub(crate) engine: Engine,
    pub(crate) bus: Bus,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) folder: tempfile::TempDir,
    presences: mpsc::UnboundedReceiver<Presence>,
    stop: watch::Sender<bool>,
    builder: JoinHandle<anyhow::Result<()>>,
    config: Config,
    is_up: bool,
    jobs: u64,
}

impl Farmyard {
    /// Starts a builder with one slot.
    pub(crate) async fn start(engine: Engine, image: &str) -> Self {
        Self::start_with(engine, image, |_| {}).await
    }

    /// Starts a builder whose configuration `change` has seen to.
    pub(crate) async fn start_with(engine: Engine, image: &str, change: impl FnOnce(&mut Config)) -> Self {
        let _set_before =
            tracing_subscriber::fmt().with_env_filter("builder=debug").with_test_writer().try_init();
        let hub = Hub::start().await;
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy().replace('.', "farmyard-");
        let mut config = Config {
            name: name.clone(),
            slots: 1,
            hub: hub.address.clone(),
            data: folder.path().join("data"),
            presence_ms: 100,
            // What the machine of the tests happens to have does not matter.
            memory_mb: Some(8192),
            disk_mb: Some(8192),
            ..Config::default()
        };
        config.file_repos = vec![folder.path().join("mirror")];
        change(&mut config);
        let bus = Bus::local();
        let identity = Identity::fresh(&name).unwrap();
        let mut presences = hub.admit(&name, identity.digest());
        let (stop, stopped) = watch::channel(false);
        let parts = Parts { bus: bus.clone(), engine: engine.clone(), identity };
        let builder = tokio::spawn(builder::run(parts, config.clone(), stopped));
        // What is offered to a builder that has not opened its queue yet is lost, as offers may be.
        let here = tokio::time::timeout(Duration::from_secs(60), presences.recv()).await;
        assert!(matches!(here, Ok(Some(_))), "the builder does not come");
        let image = image.to_owned();
        Self {
            hub,
            engine,
            bus,
            name,
            image,
            folder,
            presences,
            stop,
            builder,
            config,
            is_up: false,
            jobs: 0,
        }
    }

    /// Ends the builder's life and begins another, with what the first left on disk and in the engine; between the two
    /// `change` sees to the configuration.
    pub(crate) async fn restart(&mut self, change: impl FnOnce(&mut Config)) {
        self.stop();
        (&mut self.builder).await.unwrap().unwrap();
        change(&mut self.config);
        let identity = Identity::fresh(&self.name).unwrap();
        self.presences = self.hub.admit(&self.name, identity.digest());
        let (stop, stopped) = watch::channel(false);
        let parts = Parts { bus: self.bus.clone(), engine: self.engine.clone(), identity };
        (self.stop, self.is_up) = (stop, false);
        self.builder = tokio::spawn(builder::run(parts, self.config.clone(), stopped));
    }

    /// A recipe with small limits.
    pub(crate) fn recipe(&self, work: Work) -> Recipe {
        Recipe {
            image: self.image.clone(),
            arch: Arch::native().unwrap(),
            work,
            repos: Vec::new(),
            macros: [("dist".to_owned(), ".g1".to_owned())].into(),
            limits: Limits { seconds: 120, memory_mb: 1024, disk_mb: 256, log_mb: 4, ..Limits::default() },
            sharing: Some(Sharing { target: "demo9s-any-el9s".to_owned(), scratch: false, ccache_mb: 0 }),
        }
    }

    /// A recipe that builds an SRPM of which nothing but the name is looked at.
    pub(crate) fn any_build(&self) -> Recipe {
        let srpm = self.hub.input("any-1-1.src.rpm", b"a source package");
        let mut recipe = self.recipe(Work::Build { srpm });
        recipe.repos = vec![self.repo(&[("repodata/repomd.xml", b"<repomd/>")])];
        recipe
    }

    /// A snapshot with these files, as a repo.
    pub(crate) fn repo(&self, files: &[(&str, &[u8])]) -> RepoSource {
        RepoSource {
            name: "farm".to_owned(),
            priority: 10,
            origin: RepoOrigin::Snapshot { id: self.hub.snapshot(files) },
        }
    }

    /// Offers a job.
    pub(crate) async fn offer(&mut self, recipe: Recipe) -> JobId {
        if !self.is_up {
            // Before it is there, nothing is offered to a builder.
            self.present(|_| true).await;
            self.is_up = true;
        }
        self.jobs += 1;
        let job: JobId = Minter::new(self.jobs).mint(now());
        self.hub.expect(job, TICKET);
        let until = now() + Duration::from_secs(600);
        let offer = Offer { job, turn: 1, ticket: TICKET.to_owned(), until, recipe };
        self.bus.offer(&self.name, offer).await;
        job
    }

    /// Offers a job and waits for its end.
    pub(crate) async fn done(&mut self, recipe: Recipe) -> (Outcome, Attempt) {
        let job = self.offer(recipe).await;
        self.ended(job).await
    }

    /// Waits for a job's end.
    pub(crate) async fn ended(&self, job: JobId) -> (Outcome, Attempt) {
        let attempt = self.until(job, |attempt| attempt.outcome.is_some()).await;
        (attempt.outcome.clone().unwrap(), attempt)
    }

    /// Waits until the hub knows this of a job.
    pub(crate) async fn until(&self, job: JobId, is: impl Fn(&Attempt) -> bool) -> Attempt {
        for _ in 0..12_000 {
            if let Some(attempt) = self.hub.attempt(job).filter(&is) {
                return attempt;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not come: {:?}", self.hub.attempt(job))
    }

    /// Waits for a presence like this.
    pub(crate) async fn present(&mut self, is: impl Fn(&Presence) -> bool) -> Presence {
        let wait = async {
            loop {
                let presence = self.presences.recv().await.unwrap();
                if is(&presence) {
                    return presence;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("no such presence")
    }

    /// Sends a stop over the bus.
    pub(crate) async fn send_stop(&self, job: JobId) {
        self.bus.stop(Stop { job, turn: 1 }).await;
    }

    /// Tells the builder to stop.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops the builder and checks that nothing of any attempt is left.
    pub(crate) async fn close(self) {
        self.stop();
        self.builder.await.unwrap().unwrap();
        let kept = builder::kept_images(&self.config.data).unwrap();
        let left = self.engine.leftovers(&self.name, &kept).await.unwrap();
        assert_eq!(left, 0, "containers or images are left");
        self.engine.reap_all(&self.name, &Kept::new()).await.unwrap();
        let work = self.folder.path().join("data/work");
        assert_eq!(std::fs::read_dir(work).unwrap().count(), 0, "workspaces are left");
    }
}

/// A folder as an uncompressed tar, with executable files as they are.
pub(crate) fn tar_of(folder: &std::path::Path) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", folder).unwrap();
    archive.into_inner().unwrap()
}

/// An input of that name and content; it must be in the hub.
pub(crate) fn input(name: &str, content: &[u8]) -> Input {
    let size = content.len() as u64;
    Input { name: name.to_owned(), digest: farm::digest::Digest::of(content), size }
}

pub(crate) fn now() -> Stamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

//! A farm without builders, schedulers or a network: the keeper, the ledger and the disk are real, what builders would do is done
//! here, by dice.

use std::path::Path;
use std::time::Duration;

use farm::buildroot::{LOCK_FILE, Lock};
use farm::digest::Digest;
use farm::gate::UNDER_TEST;
use farm::ids::Minter;
use farm::job::{Event, Job, JobKind};
use farm::ledger::{Artifact, Db, Person, PromotionFilter};
use farm::outcome::Outcome;
use farm::promotion::PromotionState;
use farm::recipe::{Input, RepoOrigin};
use farm::request::{Request, RequestKind, Source};
use farm::sig::{Stage, template};
use farm::stamp::Stamp;
use farm::wire::Bus;
use hub::rpms::sample::sample_rpm;
use hub::state::Hub;
use hub::{keeper, promotions};
use tests::audit;
use tokio::task::JoinSet;

pub(crate) const FRUIT: [&str; 3] = ["apple", "pear", "plum"];
pub(crate) const TARGET: &str = "demo9s-fruit-1-el9s";

/// SplitMix64: the same seed, the same story.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// How tests end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taste {
    /// One in three fails.
    Dice,
    /// Those fail in whose snapshot this package is.
    Spoilt(&'static str),
}

pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) db: Db,
    pub(crate) data: tempfile::TempDir,
    pub(crate) dice: Dice,
    pub(crate) taste: Taste,
    minter: Minter,
    packages: Vec<String>,
    version: u64,
    /// What of a buildroot's lock reaches the hub.
    pub(crate) forge: Forge,
    /// The hub's port and the signer, which end with the hub they are of.
    _around: JoinSet<()>,
}

pub(crate) type Forge = fn(Vec<u8>) -> Option<Vec<u8>>;

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        Self::with(seed, &FRUIT.map(str::to_owned)).await
    }

    /// A world whose SIG has these packages.
    pub(crate) async fn with(seed: u64, packages: &[String]) -> Self {
        let template_text = TEMPLATE.replace("PACKAGES", &format!("{packages:?}"));
        let data = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", data.path().join("ledger.sqlite").display())).await.unwrap();
        let sig = template::parse("sim.toml", &template_text).unwrap();
        let mut tx = db.write().await.unwrap();
        tx.apply_sig(&sig, &template_text, "root", Stamp::ZERO).await.unwrap().unwrap();
        tx.put_person("rex", &Digest::of(b"rex-token"), false, Stamp::ZERO).await.unwrap();
        tx.commit().await.unwrap();
        let hub = open(&db, data.path());
        let (dice, minter, packages) = (Dice(seed), Minter::new(seed), packages.to_vec());
        let (forge, _around): (Forge, _) = (Some, around(&db, &hub, data.path()).await);
        Self { hub, db, data, dice, taste: Taste::Dice, minter, packages, version: 0, forge, _around }
    }

    pub(crate) async fn step(&mut self) {
        match self.dice.roll(24) {
            0..=2 => self.build().await,
            3..=8 => self.work(true).await,
            9..=12 => self.promote().await,
            13 => self.withdraw().await,
            14 | 15 => {
                // A hub that has lost its memory, and finds only what is on disk and in the ledger.
                self._around.abort_all();
                self.hub = open(&self.db, self.data.path());
                self._around = around(&self.db, &self.hub, self.data.path()).await;
            }
            16 | 17 => self.settle().await,
            _ => self.keep_for_a_moment().await,
        }
    }

    /// Somebody builds the next version of a package.
    pub(crate) async fn build(&mut self) {
        let number = self.dice.roll(self.packages.len() as u64);
        let package = self.packages[usize::try_from(number).unwrap()].clone();
        self.build_of(&package).await;
    }

    /// Somebody builds the next version of this package.
    pub(crate) async fn build_of(&mut self, package: &str) {
        self.version += 1;
        let sample = sample_rpm(package, &self.version.to_string(), "1", "src");
        let stored = self.hub.artifacts.put_bytes(&sample.bytes().unwrap()).await.unwrap();
        let request = Request {
            id: self.minter.mint(self.hub.now()),
            kind: RequestKind::Build,
            sig: "demo".into(),
            target: TARGET.into(),
            package: package.into(),
            by: "ada".into(),
            source: Source::Srpm {
                srpm: Input { name: sample.file_name(), digest: stored.digest, size: stored.size },
            },
            created: self.hub.now(),
            retry_of: None,
            closed: None,
            chain: None,
        };
        let mut tx = self.db.write().await.unwrap();
        tx.insert_request(&request).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Builders do what waits: builds put out RPMs, tests pass or fail. With `faults`, some never come back, and every
    /// message may come twice.
    pub(crate) async fn work(&mut self, faults: bool) {
        let patience = self.hub.config.patience.clone();
        let now = self.hub.now();
        let overdue = self.db.read().await.unwrap().overdue(now, true).await.unwrap();
        for id in overdue {
            let mut tx = self.db.write().await.unwrap();
            tx.step_job(id, Event::Lapse, now, &patience).await.unwrap();
            tx.commit().await.unwrap();
        }
        let backlog = self.db.read().await.unwrap().backlog(now, 1_000).await.unwrap();
        for candidate in backlog {
            let (ticket, token) = (Digest::of(b"ticket"), Digest::of(candidate.job.to_string().as_bytes()));
            let mut tx = self.db.write().await.unwrap();
            let offer = Event::Offer { builder: "b".into(), ticket: ticket.clone() };
            let turn = tx.step_job(candidate.job, offer, now, &patience).await.unwrap().job.turn;
            let claim = Event::Claim {
                turn,
                ticket,
                builder: "b".into(),
                token: token.clone(),
                born: ::farm::stamp::Stamp::ZERO,
            };
            let job = tx.step_job(candidate.job, claim, now, &patience).await.unwrap().job;
            tx.commit().await.unwrap();
            if faults && self.dice.roll(8) == 0 {
                continue;
            }
            let mut outcome = Outcome::Passed;
            if job.kind == JobKind::Build {
                let request = self.db.read().await.unwrap().request(job.request).await.unwrap().unwrap();
                let Source::Srpm { srpm } = &request.source else {
                    panic!("the simulation builds source RPMs")
                };
                let version = srpm.name.split('-').nth(1).unwrap();
                let sample = sample_rpm(&request.package, version, "1", job.arch.as_str());
                let stored = self.hub.artifacts.put_bytes(&sample.bytes().unwrap()).await.unwrap();
                let artifact = Artifact {
                    job: job.id,
                    turn,
                    name: sample.file_name(),
                    digest: stored.digest,
                    size: stored.size,
                };
                let installed = Lock::of_listing(
                    &job.recipe,
                    &format!("sha256:{}", Digest::of(b"image")),
                    "base-1-1.noarch (none)",
                );
                let lock = serde_json::to_vec(&installed.unwrap()).unwrap();
                let mut uploads = vec![artifact.clone()];
                if let Some(lock) = (self.forge)(lock) {
                    let stored = self.hub.artifacts.put_bytes(&lock).await.unwrap();
                    let (digest, size) = (stored.digest, stored.size);
                    uploads.push(Artifact { name: LOCK_FILE.to_owned(), digest, size, ..artifact });
                }
                let mut tx = self.db.write().await.unwrap();
                for upload in &uploads {
                    tx.put_artifact(upload, now).await.unwrap();
                }
                tx.commit().await.unwrap();
            } else if self.is_bad(&job).await {
                outcome = Outcome::FailedByPackage { reason: "it does not taste".into() };
            }
            for _ in 0..=self.dice.roll(2) {
                let finish = Event::Finish { turn, token: token.clone(), outcome: outcome.clone() };
                let mut tx = self.db.write().await.unwrap();
                let _the_second_time_it_is_refused = tx.step_job(job.id, finish, now, &patience).await;
                tx.commit().await.unwrap();
            }
        }
    }

    async fn is_bad(&mut self, test: &Job) -> bool {
        let Taste::Spoilt(package) = self.taste else { return self.dice.roll(3) == 0 };
        let under_test = test.recipe.repos.iter().find(|repo| repo.name == UNDER_TEST).unwrap();
        let RepoOrigin::Snapshot { id } = under_test.origin else { panic!("a snapshot is under test") };
        let snapshot = self.db.read().await.unwrap().snapshot(id).await.unwrap().unwrap();
        snapshot.members.iter().any(|member| member.package == package)
    }

    /// A release manager promotes what is in testing, or any build, whatever became of its tests.
    pub(crate) async fn promote(&mut self) {
        let mut tx = self.db.read().await.unwrap();
        let filter = farm::ledger::BuildFilter { limit: 50, ..Default::default() };
        let any = tx.builds(&filter).await.unwrap().into_iter().map(|build| build.nvr.to_string()).collect();
        let tested = tx.live("demo9s-fruit-1-testing").await.unwrap();
        let tested: Vec<String> =
            tested.into_iter().flat_map(|s| s.members).map(|member| member.nvr).collect();
        drop(tx);
        let from: Vec<String> = if self.dice.roll(4) == 0 || tested.is_empty() { any } else { tested };
        if from.is_empty() {
            return;
        }
        let nvr = from[usize::try_from(self.dice.roll(from.len() as u64)).unwrap()].clone();
        let to = if self.dice.roll(6) == 0 { Stage::Testing } else { Stage::Release };
        let new = promotion_of(vec![nvr], to);
        let _refused_or_not = promotions::open(&self.hub, &rex(), new).await;
    }

    /// Everything moves that moves without tests: also what the signer has to do meanwhile.
    pub(crate) async fn settle(&self) {
        loop {
            keeper::settle(&self.hub).await.unwrap();
            let mut is_signing = false;
            let mut tx = self.db.read().await.unwrap();
            for id in tx.unsettled_promotions().await.unwrap() {
                let promotion = tx.promotion(id).await.unwrap().unwrap();
                is_signing |= matches!(
                    promotion.state,
                    PromotionState::Approved { .. } | PromotionState::Publishing { .. }
                );
            }
            drop(tx);
            if !is_signing {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn withdraw(&mut self) {
        let open = self.db.read().await.unwrap().unsettled_promotions().await.unwrap();
        if !open.is_empty() {
            let id = open[usize::try_from(self.dice.roll(open.len() as u64)).unwrap()];
            let _refused_or_not = promotions::withdraw(&self.hub, &rex(), id).await;
        }
    }

    /// The keeper runs, and dies after a moment, wherever it is.
    pub(crate) async fn keep_for_a_moment(&mut self) {
        let moment = Duration::from_micros(1 << (8 + self.dice.roll(14)));
        let _died = tokio::time::timeout(moment, keeper::settle(&self.hub)).await;
    }

    /// Once nothing fails any more, everything settles, and every repo shows what its pointer says. Gives how many promotions
    /// to production were published, and how many were refused.
    pub(crate) async fn comes_to_rest(&mut self, seed: u64) -> (u64, u64) {
        for _ in 0..2_000 {
            keeper::settle(&self.hub).await.unwrap();
            self.work(false).await;
            let mut tx = self.db.read().await.unwrap();
            let open =
                tx.open_requests().await.unwrap().len() + tx.unsettled_promotions().await.unwrap().len();
            drop(tx);
            if open == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        keeper::settle(&self.hub).await.unwrap();
        let mut tx = self.db.read().await.unwrap();
        assert!(tx.open_requests().await.unwrap().is_empty(), "seed {seed}: a request is open");
        assert!(tx.unsettled_promotions().await.unwrap().is_empty(), "seed {seed}: a promotion is unsettled");
        for repo in tx.repos().await.unwrap() {
            let tree = if repo.tag.ends_with("-candidate") { &self.hub.candidates } else { &self.hub.public };
            assert_eq!(tree.live(&repo.tag), repo.current, "seed {seed}: {}", repo.tag);
        }
        let all = PromotionFilter { limit: 10_000, ..Default::default() };
        let promotions = tx.promotions(&all).await.unwrap();
        let to_release = promotions.iter().filter(|promotion| promotion.to == Stage::Release);
        let published = to_release.filter(|p| matches!(p.state, PromotionState::Published { .. })).count();
        let refused =
            promotions.iter().filter(|p| matches!(p.state, PromotionState::Rejected { .. })).count();
        let violations = audit(&self.db, self.data.path()).await;
        assert!(violations.is_empty(), "seed {seed}, at rest: {violations:?}");
        (published as u64, refused as u64)
    }
}

pub(crate) fn rex() -> Person {
    Person { name: "rex".into(), admin: false, created: Stamp::ZERO }
}

/// What a person asks for who names builds and nothing else.
pub(crate) fn promotion_of(nvrs: Vec<String>, to: Stage) -> farm::api::NewPromotion {
    farm::api::NewPromotion { nvrs, to, target: None, stack: None, remove: Vec::new(), confirm: false }
}

/// Serves the hub on a port of its own, and has a signer work for it.
async fn around(db: &Db, hub: &Hub, data: &Path) -> JoinSet<()> {
    let _another_story_did = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (parts, config) = tests::signer(db, hub, &url, &data.join("keys"));
    let (never, stopped) = tokio::sync::watch::channel(false);
    let mut around = JoinSet::new();
    let (hub, stop) = (hub.clone(), stopped.clone());
    around.spawn(async move {
        hub::serve(hub, listener, stop).await.unwrap();
    });
    around.spawn(async move {
        let _never_told = never;
        signer::run(parts, config, stopped).await.unwrap();
    });
    around
}

fn open(db: &Db, data: &Path) -> Hub {
    let patience = farm::job::Patience {
        offer_ms: 20,
        lease_ms: 20,
        stop_ms: 20,
        max_tries: 1_000,
        backoff_ms: 0,
        ..Default::default()
    };
    let config = hub::config::Config { data: data.to_owned(), patience, ..Default::default() };
    Hub::open(db.clone(), Bus::local(), config).unwrap()
}

const TEMPLATE: &str = r#"
name = "demo"
[[member]]
name = "rex"
roles = ["release-manager"]
[[project]]
name = "fruit"
release = "1"
dist = "9s"
arches = ["x86_64"]
packages = PACKAGES
[project.tests]
required = ["installs"]
"#;

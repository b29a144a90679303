//! Moves of a large repo for `dev/bench`, in a whole hub with its signer: what a way back and a promotion cost from the call to
//! where the public pointer leads, and what the look with a client's eyes before it costs. It prints a line of JSON for each round.
//! With `RUST_LOG=steps=trace` it tells on stderr when each step of a move was done.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use farm::api::NewRollback;
use farm::arch::Arch;
use farm::build::Build;
use farm::digest::Digest;
use farm::ids::PromotionId;
use farm::ledger::{Db, Person};
use farm::openpgp::{DEFAULT_BITS, PublicKey};
use farm::outcome::Outcome;
use farm::promotion::{Course, Promotion, PromotionState};
use farm::recipe::Input;
use farm::request::{Closed, Request, RequestKind, Source, Verdict};
use farm::sig::{Stage, template};
use farm::signing::Purpose;
use farm::snapshot::Rpm;
use farm::stamp::Stamp;
use farm::wire::Bus;
use hub::promotions::rollback;
use hub::repos::verify::{Expected, verify_staged};
use hub::rpms::read_rpm;
use hub::signing::signed_files;
use hub::state::Hub;
use serde_json::json;
use tests::typical_package;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

const TARGET: &str = "bench9s-everything-1-el9s";
const TAG: &str = "bench9s-everything-1-testing";
const CANDIDATE: &str = "bench9s-everything-1-candidate";
/// The build that comes and goes.
const LAST: &str = "stack0-2-1";
/// Packages that one build has.
const OF_A_BUILD: usize = 5;
/// Between two looks where the pointer leads.
const LOOK: Duration = Duration::from_millis(1);
/// The longest that anything takes.
const PATIENCE: Duration = Duration::from_secs(900);
const TEMPLATE: &str = r#"
name = "bench"
[[member]]
name = "rex"
roles = ["release-manager"]
[[project]]
name = "everything"
release = "1"
dist = "9s"
arches = ["x86_64"]
packages = ["stack"]
[project.tests]
required = ["installs"]
"#;

#[derive(Parser)]
struct Arguments {
    /// Where everything is. What an earlier run has left there is not made again.
    #[arg(long)]
    folder: PathBuf,
    /// How many packages the repo has.
    packages: usize,
    /// How many times it goes back and forth.
    rounds: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _first = rustls::crypto::ring::default_provider().install_default();
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false);
    log.with_env_filter(EnvFilter::from_default_env()).init();
    let Arguments { folder, packages, rounds } = Arguments::parse();
    let mut bench = Bench::open(folder).await?;
    let known = bench.hub.db.read().await?.build_by_nvr(LAST).await?;
    let next = match known {
        Some(last) => [last],
        None => [bench.fill(packages.div_ceil(OF_A_BUILD)).await?],
    };
    let revision = bench.hub.db.read().await?.repo(TAG).await?.revision - 1;
    for _ in 0..rounds {
        let shown = bench.hub.public.live(TAG).map(|shown| bench.hub.public.dir(shown));
        let (rollback_ms, back) = bench.moved(async |bench| bench.go_back(revision).await).await?;
        bench.is_published(back).await?;
        let verify_ms = bench.look(shown).await?;
        let (promote_ms, forth) = bench.moved(async |bench| bench.promote(&next).await).await?;
        bench.is_published(forth).await?;
        println!("{}", json!({"rollback_ms": rollback_ms, "promote_ms": promote_ms, "verify_ms": verify_ms}));
    }
    Ok(())
}

struct Bench {
    hub: Hub,
    rex: Person,
    _never: watch::Sender<bool>,
}

impl Bench {
    async fn open(folder: PathBuf) -> anyhow::Result<Bench> {
        let db = Db::open(&format!("sqlite:{}", folder.join("ledger.sqlite").display())).await?;
        let sig = template::parse("bench.toml", TEMPLATE).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        let mut tx = db.write().await?;
        let applied = tx.apply_sig(&sig, TEMPLATE, "root", Stamp::ZERO).await?;
        applied.map_err(|why| anyhow::anyhow!("{why:?}"))?;
        tx.put_person("rex", &Digest::of(b"rex-token"), false, Stamp::ZERO).await?;
        tx.commit().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        let config = hub::config::Config { data, public_url: url.clone(), ..Default::default() };
        let hub = Hub::open(db.clone(), Bus::local(), config)?;
        let (never, stopped) = watch::channel(false);
        let (parts, config) = tests::signer(&db, &hub, &url, &folder.join("keys"));
        let config = signer::Config { rsa_bits: DEFAULT_BITS, ..config };
        tokio::spawn(hub::run(hub.clone(), listener, stopped.clone()));
        tokio::spawn(signer::run(parts, config, stopped));
        let rex = Person { name: "rex".into(), admin: false, created: Stamp::ZERO };
        Ok(Bench { hub, rex, _never: never })
    }

    /// Publishes so many builds, and then the last one instead of the first; gives that.
    async fn fill(&mut self, builds: usize) -> anyhow::Result<Build> {
        let mut made = Vec::new();
        for number in 0..builds {
            made.push(self.build(&format!("stack{number}-1-1"), number * OF_A_BUILD).await?);
        }
        self.import(&made).await?;
        let first = self.promote(&made).await?;
        self.is_published(first).await?;
        let last = [self.build(LAST, builds * OF_A_BUILD).await?];
        self.import(&last).await?;
        let second = self.promote(&last).await?;
        self.is_published(second).await?;
        let [last] = last;
        Ok(last)
    }

    /// A build with the packages that have these numbers.
    async fn build(&mut self, nvr: &str, from: usize) -> anyhow::Result<Build> {
        let mut rpms: Vec<Rpm> = Vec::new();
        for number in from..from + OF_A_BUILD {
            let stored = self.hub.artifacts.put_bytes(&typical_package(number)?).await?;
            rpms.push(read_rpm(&self.hub.artifacts.path(&stored.digest), Some(Arch::X86_64))?.rpm);
            self.hub.engine.learn(&stored.digest)?;
        }
        Ok(Build {
            id: self.hub.mint(),
            nvr: nvr.parse()?,
            sig: "bench".into(),
            target: TARGET.into(),
            request: self.hub.mint(),
            imported: self.hub.now(),
            rpms,
            roots: BTreeMap::new(),
        })
    }

    async fn import(&self, builds: &[Build]) -> anyhow::Result<()> {
        let mut tx = self.hub.db.write().await?;
        for build in builds {
            tx.insert_request(&asked_for(build)).await?;
            ensure!(tx.insert_build(build).await?, "{} is there already", build.nvr);
            tx.tag_build(CANDIDATE, build, self.hub.now()).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Opens a promotion to testing, as an import does.
    async fn promote(&self, builds: &[Build]) -> anyhow::Result<PromotionId> {
        let promotion = Promotion {
            id: self.hub.mint(),
            sig: "bench".into(),
            target: TARGET.into(),
            to: Stage::Testing,
            builds: builds.iter().map(|build| build.id).collect(),
            nvrs: builds.iter().map(|build| build.nvr.to_string()).collect(),
            remove: Vec::new(),
            stack: None,
            brings: None,
            course: Course::Forward,
            confirmed: true,
            by: "gate".into(),
            approvals: Vec::new(),
            suites: BTreeMap::new(),
            base: None,
            created: self.hub.now(),
            state: PromotionState::Composing,
        };
        let mut tx = self.hub.db.write().await?;
        tx.insert_promotion(&promotion).await?;
        tx.commit().await?;
        self.hub.hurry().await;
        Ok(promotion.id)
    }

    async fn go_back(&self, revision: i64) -> anyhow::Result<PromotionId> {
        let new = NewRollback {
            tag: TAG.to_owned(),
            revision: Some(revision),
            reason: "the bench goes back".to_owned(),
            confirm: true,
        };
        Ok(rollback(&self.hub, &self.rex, new).await.map_err(|problem| anyhow::anyhow!("{problem}"))?.id)
    }

    /// How many milliseconds it takes from a call to where the public pointer leads.
    async fn moved(
        &self,
        call: impl AsyncFnOnce(&Bench) -> anyhow::Result<PromotionId>,
    ) -> anyhow::Result<(f64, PromotionId)> {
        let before = self.hub.public.live(TAG);
        let begun = Instant::now();
        let promotion = call(self).await?;
        while self.hub.public.live(TAG) == before {
            ensure!(begun.elapsed() < PATIENCE, "the pointer does not move");
            tokio::time::sleep(LOOK).await;
        }
        Ok((millis(begun), promotion))
    }

    /// Waits until a promotion is published; its tests pass.
    async fn is_published(&self, id: PromotionId) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            self.pass_tests().await?;
            let promotion = self.hub.db.read().await?.promotion(id).await?.context("it was opened")?.value;
            match promotion.state {
                PromotionState::Published { .. } => return Ok(()),
                PromotionState::Rejected { why, .. } => anyhow::bail!("it is refused: {}", why.join("; ")),
                _ => ensure!(begun.elapsed() < PATIENCE, "it takes too long: {:?}", promotion.state),
            }
            tokio::time::sleep(LOOK * 20).await;
        }
    }

    /// Does what builders would.
    async fn pass_tests(&self) -> anyhow::Result<()> {
        let (now, patience) = (self.hub.now(), self.hub.config.patience.clone());
        for candidate in self.hub.db.read().await?.backlog(now, 1_000).await? {
            let mut tx = self.hub.db.write().await?;
            let taken = tests::turns::take(&mut tx, candidate.job, now, &patience).await?;
            tx.step_job(candidate.job, taken.finish(Outcome::Passed), now, &patience).await?;
            tx.commit().await?;
            self.hub.hurry().await;
        }
        Ok(())
    }

    /// Looks at what is live as if it were staged, and the former one live; gives how many milliseconds that takes.
    async fn look(&self, former: Option<PathBuf>) -> anyhow::Result<f64> {
        let said = |problem| anyhow::anyhow!("{problem}");
        let mut tx = self.hub.db.read().await?;
        let snapshot = tx.live(TAG).await?.context("something is live")?;
        let keys = tx.signing_keys().await?;
        drop(tx);
        let signed = signed_files(&self.hub, &snapshot).await.map_err(said)?.context("all is signed")?;
        let keys = keys.iter().filter(|key| key.purpose == Purpose::Packages);
        let expected = Expected {
            arches: vec![Arch::X86_64],
            signed,
            keys: keys.map(|key| PublicKey::from_armored(&key.public)).collect::<Result<_, _>>()?,
            former: Vec::new(),
            live: former,
            artifacts: self.hub.artifacts.clone(),
            snapshot,
        };
        let place = self.hub.public.dir(expected.snapshot.id);
        let begun = Instant::now();
        let looked = verify_staged(&place, expected).await;
        let took = millis(begun);
        looked.map_err(|faults| anyhow::anyhow!("{}", faults.join("; ")))?;
        Ok(took)
    }
}

/// The request a build came from: the signer wants to see it.
fn asked_for(build: &Build) -> Request {
    let srpm = Input { name: format!("{}.src.rpm", build.nvr), digest: Digest::of(b"a source RPM"), size: 1 };
    Request {
        id: build.request,
        kind: RequestKind::Build,
        sig: build.sig.clone(),
        target: build.target.clone(),
        package: "stack".into(),
        by: "bench".into(),
        source: Source::Srpm { srpm },
        created: build.imported,
        retry_of: None,
        closed: Some(Closed { at: build.imported, verdict: Verdict::Complete { build: Some(build.id) } }),
        chain: None,
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

//! What builders would do, by dice: builds put out RPMs, tests pass or fail, some never come back, some come late or twice.

use farm::arch::Arch;
use farm::gate::UNDER_TEST;
use farm::job::{Event, Job, JobKind};
use farm::ledger::Db;
use farm::outcome::Outcome;
use farm::recipe::{Input, RepoOrigin};
use farm::request::{Request, RequestKind, Source};
use farm::stamp::Stamp;
use hub::rpms::sample::sample_rpm;
use tests::turns;

use crate::world::{TARGET, World};

/// How tests end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taste {
    /// One in four fails.
    Dice,
    /// Those fail in whose snapshot this package is.
    Spoilt(&'static str),
}

/// What of a buildroot's lock reaches the hub.
pub(crate) type Forge = fn(Vec<u8>) -> Option<Vec<u8>>;

impl World {
    /// Somebody builds the next version of a package.
    pub(crate) async fn build(&mut self) {
        let packages = self.packages.clone();
        let package = self.dice.pick(&packages).unwrap();
        self.build_of(&package).await;
    }

    /// Somebody builds the next version of this package.
    pub(crate) async fn build_of(&mut self, package: &str) {
        self.version += 1;
        let hub = &self.first.hub;
        let sample = sample_rpm(package, &self.version.to_string(), "1", "src");
        let stored = hub.artifacts.put_bytes(&sample.bytes().unwrap()).await.unwrap();
        let request = Request {
            id: self.minter.mint(hub.now()),
            kind: RequestKind::Build,
            sig: "demo".into(),
            target: TARGET.into(),
            package: package.into(),
            by: "ada".into(),
            source: Source::Srpm {
                srpm: Input { name: sample.file_name(), digest: stored.digest, size: stored.size },
            },
            created: hub.now(),
            retry_of: None,
            closed: None,
            chain: None,
        };
        let mut tx = self.db.write().await.unwrap();
        tx.insert_request(&request).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Builders do what waits. With `faults`, some never come back, those of one architecture may come late, and every message
    /// may come twice.
    pub(crate) async fn work(&mut self, faults: bool) {
        let patience = self.first.hub.config.patience.clone();
        let now = self.first.hub.now();
        let overdue = self.db.read().await.unwrap().overdue(now, true).await.unwrap();
        for id in overdue {
            let mut tx = self.db.write().await.unwrap();
            tx.step_job(id, Event::Lapse, now, &patience).await.unwrap();
            tx.commit().await.unwrap();
        }
        let late = if faults && self.dice.roll(2) == 0 { Some(Arch::Aarch64) } else { None };
        let backlog = self.db.read().await.unwrap().backlog(now, 1_000).await.unwrap();
        for candidate in backlog {
            let job = self.db.read().await.unwrap().job(candidate.job).await.unwrap().unwrap();
            if late == Some(job.arch) {
                continue;
            }
            let mut tx = self.db.write().await.unwrap();
            let taken = turns::take(&mut tx, candidate.job, now, &patience).await.unwrap();
            tx.commit().await.unwrap();
            let job = &taken.job;
            if faults && self.dice.roll(8) == 0 {
                self.tally.count("lost a builder");
                continue;
            }
            let mut outcome = Outcome::Passed;
            if job.kind == JobKind::Build {
                self.bring(job).await;
            } else if self.is_bad(job).await {
                outcome = Outcome::FailedByPackage { reason: "it does not taste".into() };
            }
            for _ in 0..=self.dice.roll(2) {
                finish_job(&self.db, job, taken.finish(outcome.clone()), now, &patience).await;
            }
        }
    }

    /// Uploads what a build gives: its package, and what was installed when it was made.
    async fn bring(&mut self, job: &Job) {
        let hub = &self.first.hub;
        let request = self.db.read().await.unwrap().request(job.request).await.unwrap().unwrap();
        let Source::Srpm { srpm } = &request.source else { panic!("the simulation builds source RPMs") };
        let version = srpm.name.split('-').nth(1).unwrap();
        let sample = sample_rpm(&request.package, version, "1", job.arch.as_str());
        let (name, lock) = turns::lock(job);
        let lock = (self.forge)(lock).map(|forged| (name, forged));
        let made = (sample.file_name(), sample.bytes().unwrap());
        turns::bring(hub, &self.db, job, [made].into_iter().chain(lock)).await;
    }

    async fn is_bad(&mut self, test: &Job) -> bool {
        let Taste::Spoilt(package) = self.taste else { return self.dice.roll(4) == 0 };
        let under_test = test.recipe.repos.iter().find(|repo| repo.name == UNDER_TEST).unwrap();
        let RepoOrigin::Snapshot { id } = under_test.origin else { panic!("a snapshot is under test") };
        let snapshot = self.db.read().await.unwrap().snapshot(id).await.unwrap().unwrap();
        snapshot.members.iter().any(|member| member.package == package)
    }
}

async fn finish_job(db: &Db, job: &Job, finish: Event, now: Stamp, patience: &farm::job::Patience) {
    let mut tx = db.write().await.unwrap();
    let _the_second_time_it_is_refused = tx.step_job(job.id, finish, now, patience).await;
    tx.commit().await.unwrap();
}

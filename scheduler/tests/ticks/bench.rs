//! A ledger on a file, a bus, and rows to fill them with.

use std::collections::BTreeMap;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::ids::Minter;
use farm::job::{Class, Event, Job, JobKind, JobState, Patience};
use farm::ledger::{Db, Reported, StepError, Stepped};
use farm::message::Presence;
use farm::recipe::{Input, Limits, Recipe, Work};
use farm::stamp::Stamp;
use farm::wire::Bus;
use scheduler::{Config, Parts, Ticked, tick};

/// More than any of these tests has unsettled.
pub(crate) const SLOTS: u32 = 100;

pub(crate) const NOON: Stamp = Stamp::from_millis(1_800_000_000_000);

pub(crate) fn later(ms: i64) -> Stamp {
    Stamp::from_millis(NOON.millis() + ms)
}

pub(crate) struct Bench {
    pub(crate) parts: Parts,
    pub(crate) config: Config,
    pub(crate) url: String,
    secrets: u64,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
        let parts = Parts { db: Db::open(&url).await.unwrap(), bus: Bus::local() };
        Bench {
            parts,
            config: Config {
                patience: Patience { max_tries: 3, ..Patience::default() },
                ..Config::default()
            },
            url,
            secrets: 0,
            _folder: folder,
        }
    }

    pub(crate) async fn tick(&mut self, now: Stamp) -> Ticked {
        let secrets = &mut self.secrets;
        let mut secret = || {
            *secrets += 1;
            format!("{secrets:064x}")
        };
        tick(&self.parts, &self.config, now, &mut secret).await.unwrap()
    }

    /// A builder says that it is here.
    pub(crate) async fn present(&self, name: &str, slots: u32, now: Stamp) -> Reported {
        self.report(presence(name, slots), now).await
    }

    /// A builder says this of itself, with a clock that is right.
    pub(crate) async fn report(&self, presence: Presence, now: Stamp) -> Reported {
        let presence = Presence { clock: now, ..presence };
        let silent = std::time::Duration::from_millis(self.config.silent_ms);
        let mut tx = self.parts.db.write().await.unwrap();
        let secret = Digest::of(presence.builder.as_bytes());
        if tx.builder(&presence.builder).await.unwrap().is_none() {
            tx.admit_builder(&presence.builder, &secret).await.unwrap();
        }
        let reported = tx.report(presence, &secret, now, silent, &self.config.patience).await.unwrap();
        tx.commit().await.unwrap();
        reported.unwrap()
    }

    pub(crate) async fn insert(&self, jobs: &[Job]) {
        let mut tx = self.parts.db.write().await.unwrap();
        for job in jobs {
            tx.insert_job(job).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    pub(crate) async fn job(&self, job: &Job) -> Job {
        self.parts.db.read().await.unwrap().job(job.id).await.unwrap().unwrap().value
    }

    pub(crate) async fn step(&self, job: &Job, event: Event, now: Stamp) -> Result<Stepped, StepError> {
        step(&self.parts.db, job.id, event, now).await
    }
}

pub(crate) async fn step(
    db: &Db,
    job: farm::ids::JobId,
    event: Event,
    now: Stamp,
) -> Result<Stepped, StepError> {
    let mut tx = db.write().await.unwrap();
    let stepped = tx.step_job(job, event, now, &Patience::default()).await?;
    tx.commit().await.unwrap();
    Ok(stepped)
}

pub(crate) fn presence(name: &str, slots: u32) -> Presence {
    Presence {
        builder: name.to_owned(),
        arches: vec![Arch::X86_64],
        slots,
        running: Vec::new(),
        draining: false,
        born: ::farm::stamp::Stamp::ZERO,
        clock: later(0),
        count: 0,
        version: String::new(),
        emulated: Vec::new(),
        memory_mb: 1 << 20,
        disk_mb: 1 << 20,
        labels: std::collections::BTreeSet::new(),
    }
}

pub(crate) fn job(number: u64, sig: &str) -> Job {
    let srpm = Input { name: "hello.src.rpm".to_owned(), digest: Digest::of(b"hello"), size: 5 };
    let created = later(i64::try_from(number).unwrap() - 1_000_000);
    let mut minter = Minter::new(number);
    Job {
        id: minter.mint(created),
        request: minter.mint(created),
        sig: sig.to_owned(),
        class: Class::Push,
        kind: JobKind::Build,
        arch: Arch::X86_64,
        created,
        recipe: Recipe {
            image: "image".to_owned(),
            arch: Arch::X86_64,
            work: Work::Build { srpm },
            repos: Vec::new(),
            macros: BTreeMap::new(),
            limits: Limits::default(),
            sharing: None,
        },
        turn: 0,
        tries: 0,
        state: JobState::Waiting { not_before: created },
        history: Vec::new(),
        labels: std::collections::BTreeSet::new(),
        height: 0,
    }
}

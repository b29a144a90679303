//! Rows to fill a ledger with.

use std::collections::{BTreeMap, BTreeSet};

use farm::arch::Arch;
use farm::build::Build;
use farm::digest::Digest;
use farm::gate::{CLOSURE, TestResult, TestVerdict};
use farm::ids::{Id, Minter, PromotionId, RequestId, SnapshotId};
use farm::job::{Class, Event, Job, JobKind, JobState, Patience};
use farm::ledger::{Db, StepError, Stepped, Tx};
use farm::nvr::{Nevra, Nvr};
use farm::promotion::{Course, Promotion, PromotionState};
use farm::recipe::{Input, Limits, Recipe, Work};
use farm::request::{Request, RequestKind, Source};
use farm::sig::{Project, Role, Sig, Stage};
use farm::snapshot::{Rpm, RpmKind, Snapshot};
use farm::stamp::Stamp;

/// The moment at which most of the tests play.
pub(crate) const NOON: Stamp = Stamp::from_millis(1_800_000_000_000);

pub(crate) fn later(ms: i64) -> Stamp {
    Stamp::from_millis(NOON.millis() + ms)
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// The id with this number; smaller numbers are older.
pub(crate) fn id<T: Id>(number: i64) -> T {
    Minter::new(number.unsigned_abs()).mint(later(number))
}

pub(crate) fn input(name: &str) -> Input {
    Input { name: name.to_owned(), digest: digest(name), size: 3 }
}

pub(crate) fn request(number: i64, kind: RequestKind) -> Request {
    let source = Source::Git {
        repo: "rpms/hello".to_owned(),
        commit: "c".repeat(40),
        tree: Some(input(&format!("tree-{number}"))),
    };
    Request {
        id: id(number),
        kind,
        sig: "storage".to_owned(),
        target: "storage9s-gluster-11-el9s".to_owned(),
        package: "hello".to_owned(),
        by: "alice".to_owned(),
        source,
        created: later(number),
        retry_of: None,
        closed: None,
        chain: None,
    }
}

/// A job that makes a source RPM of `tree-<number>`.
pub(crate) fn job(number: i64, request: RequestId) -> Job {
    let work = Work::Srpm {
        tree: input(&format!("tree-{number}")),
        spec: "hello.spec".to_owned(),
        sources: vec![input("hello.tar")],
    };
    Job {
        id: id(number),
        request,
        sig: "storage".to_owned(),
        class: Class::Push,
        kind: JobKind::Srpm,
        arch: Arch::X86_64,
        created: later(number),
        recipe: Recipe {
            image: "image".to_owned(),
            arch: Arch::X86_64,
            work,
            repos: Vec::new(),
            macros: BTreeMap::new(),
            limits: Limits::default(),
            sharing: None,
        },
        turn: 0,
        tries: 0,
        state: JobState::Waiting { not_before: NOON },
        history: Vec::new(),
        labels: std::collections::BTreeSet::new(),
        height: 0,
    }
}

/// One step in a transaction of its own, as the hub and the scheduler take them.
pub(crate) async fn step(db: &Db, job: &Job, event: Event, now: Stamp) -> Result<Stepped, StepError> {
    let mut tx = db.write().await.unwrap();
    let stepped = tx.step_job(job.id, event, now, &Patience::default()).await?;
    tx.commit().await.unwrap();
    Ok(stepped)
}

pub(crate) async fn insert(db: &Db, jobs: &[Job]) {
    let mut tx = db.write().await.unwrap();
    for job in jobs {
        tx.insert_job(job).await.unwrap();
    }
    tx.commit().await.unwrap();
}

pub(crate) fn offer(builder: &str) -> Event {
    Event::Offer { builder: builder.to_owned(), ticket: digest("ticket") }
}

pub(crate) fn claim(turn: u32, builder: &str, token: &str) -> Event {
    Event::Claim {
        turn,
        ticket: digest("ticket"),
        builder: builder.to_owned(),
        token: digest(token),
        born: ::farm::stamp::Stamp::ZERO,
    }
}

/// The build of a package that consists of one RPM.
pub(crate) fn build(number: i64, package: &str, version: &str) -> Build {
    let nevra = Nevra {
        name: package.to_owned(),
        epoch: 0,
        version: version.to_owned(),
        release: "1.el9s".to_owned(),
        arch: "x86_64".to_owned(),
    };
    let file = nevra.file_name();
    Build {
        id: id(number),
        nvr: Nvr { name: package.to_owned(), version: version.to_owned(), release: "1.el9s".to_owned() },
        sig: "storage".to_owned(),
        target: "storage9s-gluster-11-el9s".to_owned(),
        request: id(number),
        imported: NOON,
        rpms: vec![Rpm {
            body: digest(&format!("body of {file}")),
            digest: digest(&file),
            nevra,
            file,
            kind: RpmKind::Binary,
            size: 7,
            built_on: Some(Arch::X86_64),
        }],
        roots: std::collections::BTreeMap::new(),
    }
}

/// A SIG with one project, whose gate requires that packages install. `rita` may release.
pub(crate) fn sig(name: &str) -> Sig {
    let roles = BTreeSet::from([Role::Maintainer, Role::ReleaseManager]);
    let project = Project {
        sig: name.to_owned(),
        name: "gluster".to_owned(),
        release: "11".to_owned(),
        dist: "9s".to_owned(),
        arches: vec![Arch::X86_64],
        packages: BTreeSet::from([format!("{name}-hello")]),
        image: "image-$arch".to_owned(),
        macros: BTreeMap::new(),
        branches: BTreeSet::from([format!("c9s-sig-{name}-gluster")]),
        inherit: Vec::new(),
        external: Vec::new(),
        required: vec!["installs".to_owned()],
        suites: None,
        metadata: None,
        nightly: false,
        approvers: 1,
        stacks: BTreeMap::new(),
        zstd: false,
        scratch_days: 14,
        ccache_mb: 256,
        limits: Limits::default(),
        labels: std::collections::BTreeSet::new(),
    };
    Sig {
        name: name.to_owned(),
        title: "A SIG".to_owned(),
        members: BTreeMap::from([("rita".to_owned(), roles)]),
        projects: vec![project],
        share: ::farm::sig::Share::default(),
    }
}

pub(crate) const TESTING: &str = "storage9s-gluster-11-testing";
pub(crate) const RELEASE: &str = "storage9s-gluster-11-release";
pub(crate) const CANDIDATE: &str = "storage9s-gluster-11-candidate";

/// What `tag`'s repo would hold with this build in it.
pub(crate) fn snapshot(number: i64, tag: &str, base: Option<&Snapshot>, build: &Build) -> Snapshot {
    Snapshot::compose(id::<SnapshotId>(number), tag, base, &[build.member()], &[], NOON)
}

/// A promotion whose snapshot is in test.
pub(crate) fn promotion(number: i64, to: Stage, snapshot: &Snapshot) -> Promotion {
    Promotion {
        id: id::<PromotionId>(number),
        sig: "storage".to_owned(),
        target: "storage9s-gluster-11-el9s".to_owned(),
        to,
        builds: snapshot.members.iter().map(|member| member.build).collect(),
        nvrs: snapshot.members.iter().map(|member| member.nvr.clone()).collect(),
        by: "gate".to_owned(),
        remove: Vec::new(),
        stack: None,
        brings: None,
        course: Course::Forward,
        confirmed: false,
        approvals: Vec::new(),
        suites: SUITES.map(|suite| (suite.to_owned(), digest(suite))).into(),
        base: snapshot.base,
        created: NOON,
        state: PromotionState::InTesting { snapshot: snapshot.id, request: None },
    }
}

/// The suites that must have passed.
pub(crate) const SUITES: [&str; 2] = [CLOSURE, "installs"];

/// A result for each required suite. Of one number they are the same.
pub(crate) fn passed(number: i64, content: &Digest) -> [TestResult; 2] {
    SUITES.map(|suite| TestResult {
        job: id(number * 10 + if suite == CLOSURE { 1 } else { 0 }),
        content: content.clone(),
        suite: suite.to_owned(),
        arch: Arch::X86_64,
        on: None,
        version: digest(suite),
        environment: farm::gate::environment("image-x86_64", &[]),
        against: None,
        verdict: TestVerdict::Passed,
        at: NOON,
    })
}

/// Everything required of a snapshot's content has passed, and the change of its base breaks nothing.
pub(crate) async fn pass(tx: &mut Tx, number: i64, shown: &Snapshot) {
    let base = match shown.base {
        Some(base) => tx.snapshot(base).await.unwrap(),
        None => None,
    };
    for result in passed(number, &shown.content) {
        let compared = base.as_ref().filter(|_| result.suite == CLOSURE);
        let against = compared.map(|base| base.content.clone());
        tx.insert_result(&TestResult { against, ..result }).await.unwrap();
    }
}

/// `rita`, who may release, is a person of the farm.
pub(crate) async fn rita(tx: &mut Tx) {
    tx.put_person("rita", &digest("rita's token"), false, NOON).await.unwrap();
}

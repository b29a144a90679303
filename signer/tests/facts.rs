//! What a signer does not sign: rows that contradict each other, and whatever the gate would not let through now.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeMap;

use farm::arch::Arch;
use farm::build::Build;
use farm::decision::Statement;
use farm::digest::Digest;
use farm::dsse::{DecisionKey, IN_TOTO};
use farm::extras::{Extra, ExtraKind, Extras};
use farm::gate::{CLOSURE, TestResult, TestVerdict, UNDER_TEST, environment};
use farm::ids::{Id, Minter, PromotionId, SnapshotId};
use farm::job::{Class, Job, JobKind, JobState};
use farm::ledger::Db;
use farm::nvr::{Nevra, Nvr};
use farm::outcome::Outcome;
use farm::promotion::{Approval, Course, Promotion, PromotionState};
use farm::recipe::{Limits, Recipe, RepoOrigin, RepoSource, Work};
use farm::request::{Request, RequestKind, Source};
use farm::sig::{Stage, template};
use farm::signing::{Endorsement, SignedFile};
use farm::snapshot::{Rpm, RpmKind, Snapshot, content_digest};
use farm::stamp::Stamp;
use signer::Trouble;
use signer::facts::{Facts, KnownMembers};

const NOON: Stamp = Stamp::from_millis(1_800_000_000_000);
const TEMPLATE: &str = r#"
name = "storage"
title = "Storage"

[[member]]
name = "rita"
roles = ["release-manager"]

[[project]]
name = "gluster"
release = "11"
dist = "9s"
arches = ["x86_64"]
packages = ["hello"]
image = "image"

[project.tests]
required = ["installs"]
"#;

fn id<T: Id>(number: u64) -> T {
    Minter::new(number).mint(NOON)
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// A ledger in which one promotion to production is let through; a test spoils one thing of it before it is written.
struct Case {
    request: Request,
    build: Build,
    snapshot: Snapshot,
    promotion: Promotion,
    results: Vec<TestResult>,
    job: Job,
    /// What the job tested.
    tested: Snapshot,
}

impl Case {
    fn good() -> Case {
        let nevra = Nevra {
            name: "hello".into(),
            epoch: 0,
            version: "1".into(),
            release: "1".into(),
            arch: "x86_64".into(),
        };
        let file = nevra.file_name();
        let rpm = Rpm {
            body: digest("body"),
            digest: digest("file"),
            nevra,
            file,
            kind: RpmKind::Binary,
            size: 4,
            built_on: Some(Arch::X86_64),
        };
        let target = "storage9s-gluster-11-el9s".to_owned();
        let build = Build {
            id: id(1),
            nvr: Nvr { name: "hello".into(), version: "1".into(), release: "1".into() },
            sig: "storage".into(),
            target: target.clone(),
            request: id(2),
            imported: NOON,
            rpms: vec![rpm],
            roots: BTreeMap::new(),
        };
        let request = Request {
            id: id(2),
            kind: RequestKind::Build,
            sig: "storage".into(),
            target: target.clone(),
            package: "hello".into(),
            by: "ada".into(),
            source: Source::Snapshot,
            created: NOON,
            retry_of: None,
            chain: None,
            closed: None,
        };
        let snapshot = |number: u64, stage: &str| {
            let tag = format!("storage9s-gluster-11-{stage}");
            Snapshot::compose(id::<SnapshotId>(number), &tag, None, &[build.member()], &[], NOON)
        };
        let (snapshot, tested) = (snapshot(3, "release"), snapshot(4, "testing"));
        let promotion = Promotion {
            id: id(5),
            sig: "storage".into(),
            target,
            to: Stage::Release,
            builds: vec![build.id],
            nvrs: vec!["hello-1-1".into()],
            remove: Vec::new(),
            stack: None,
            brings: None,
            course: Course::Forward,
            confirmed: false,
            by: "ada".into(),
            approvals: vec![Approval { by: "rita".into(), at: NOON }],
            suites: [CLOSURE, "installs"].map(|suite| (suite.to_owned(), digest(suite))).into(),
            base: None,
            created: NOON,
            state: PromotionState::Approved { snapshot: snapshot.id, by: "rita".into() },
        };
        let under_test = RepoSource {
            name: UNDER_TEST.into(),
            priority: 1,
            origin: RepoOrigin::Snapshot { id: tested.id },
        };
        let job = Job {
            id: id(6),
            request: id(7),
            sig: "storage".into(),
            class: Class::Push,
            kind: JobKind::Test { suite: "installs".into(), on: None },
            arch: Arch::X86_64,
            labels: std::collections::BTreeSet::new(),
            height: 0,
            created: NOON,
            recipe: Recipe {
                image: "image".into(),
                arch: Arch::X86_64,
                work: Work::Test { suite: "installs".into(), folder: None, packages: Vec::new() },
                repos: vec![under_test],
                macros: BTreeMap::new(),
                limits: Limits::default(),
                sharing: None,
            },
            turn: 1,
            tries: 1,
            state: JobState::Done { at: NOON, started: None, builder: None, outcome: Outcome::Passed },
            history: Vec::new(),
        };
        let result = |number: u64, suite: &str| TestResult {
            job: id(number),
            content: snapshot.content.clone(),
            suite: suite.into(),
            arch: Arch::X86_64,
            on: None,
            version: digest(suite),
            environment: environment("image", &[]),
            against: None,
            verdict: TestVerdict::Passed,
            at: NOON,
        };
        let results = vec![result(6, "installs"), result(8, CLOSURE)];
        Case { request, build, snapshot, promotion, results, job, tested }
    }

    /// The repo shows these packages of the build, and they were tested.
    fn shows(&mut self, rpms: Vec<Rpm>) {
        let mut member = self.build.member();
        member.rpms = rpms;
        for snapshot in [&mut self.snapshot, &mut self.tested] {
            snapshot.members = vec![member.clone()];
            snapshot.content = content_digest(&snapshot.members, None);
        }
        for result in &mut self.results {
            result.content = self.snapshot.content.clone();
        }
    }

    /// Writes it all down.
    async fn ledger(&self) -> (tempfile::TempDir, Db) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", folder.path().join("ledger").display())).await.unwrap();
        let sig = template::parse("storage.toml", TEMPLATE).unwrap();
        let mut tx = db.write().await.unwrap();
        tx.apply_sig(&sig, TEMPLATE, "root", NOON).await.unwrap().unwrap();
        tx.put_person("rita", &digest("token"), false, NOON).await.unwrap();
        tx.insert_request(&self.request).await.unwrap();
        assert!(tx.insert_build(&self.build).await.unwrap());
        tx.insert_snapshot(&self.snapshot).await.unwrap();
        tx.insert_snapshot(&self.tested).await.unwrap();
        let test = RequestKind::Test { promotion: self.promotion.id, snapshot: self.tested.id };
        tx.insert_request(&Request { id: id(7), kind: test, ..self.request.clone() }).await.unwrap();
        tx.insert_job(&self.job).await.unwrap();
        for result in &self.results {
            tx.insert_result(result).await.unwrap();
        }
        tx.insert_promotion(&self.promotion).await.unwrap();
        tx.commit().await.unwrap();
        (folder, db)
    }

    async fn asked(&self) -> Result<Facts, String> {
        let (_folder, db) = self.ledger().await;
        ask(&db, self.promotion.id, self.snapshot.id).await
    }

    async fn refused(&self) -> String {
        self.asked().await.expect_err("it must not be signed")
    }
}

async fn ask(db: &Db, promotion: PromotionId, snapshot: SnapshotId) -> Result<Facts, String> {
    let facts = Facts::read(db, promotion, snapshot, &[], &mut KnownMembers::default(), NOON).await;
    facts.map_err(|trouble| match trouble {
        Trouble::Refused(why) => why,
        other => panic!("{other:?}"),
    })
}

#[tokio::test]
async fn what_the_gate_lets_through_and_rows_agree_on_is_signed() {
    let case = Case::good();
    let facts = case.asked().await.unwrap();
    assert_eq!((facts.approved.by().as_str(), facts.revision), ("rita", 0));
    let key = DecisionKey::generate().unwrap();
    let signed =
        SignedFile { body: digest("body"), fingerprint: "ab".into(), digest: digest("signed"), size: 9 };
    let signed = BTreeMap::from([(digest("body"), signed)]);
    let metadata = BTreeMap::from([("x86_64".to_owned(), digest("repomd"))]);
    let statement =
        farm::decision::statement(&facts.grounds(), &metadata, &signed, &["ab".into()], NOON).unwrap();
    statement.must_be_about(&case.promotion, &case.snapshot, &metadata, &signed).unwrap();
    assert_eq!(statement.predicate.results.len(), 2);
    assert_eq!(statement.predicate.revision, 1);

    // A statement is about one snapshot, these files and this metadata, and nothing else.
    let mut other = case.snapshot.clone();
    other.id = id(99);
    let about =
        |snapshot: &Snapshot, metadata: &BTreeMap<String, Digest>, signed: &BTreeMap<Digest, SignedFile>| {
            statement.must_be_about(&case.promotion, snapshot, metadata, signed).unwrap_err()
        };
    assert!(about(&other, &metadata, &signed).contains("it is about snapshot"));
    let moved = BTreeMap::from([("x86_64".to_owned(), digest("another"))]);
    assert!(about(&case.snapshot, &moved, &signed).contains("other metadata"));
    let mut edited = case.snapshot.clone();
    edited.content = digest("another content");
    assert!(about(&edited, &metadata, &signed).contains("another content, repo or base"));
    let mut foreign = case.snapshot.clone();
    foreign.tag = "cloud9s-openstack-1-release".into();
    assert!(about(&foreign, &metadata, &signed).contains("another content, repo or base"));
    let files = vec![Extra { kind: ExtraKind::Group, digest: digest("groups"), size: 6 }];
    let beside = Extras { repo: "metadata/storage".into(), commit: "1".repeat(40), files };
    let mut with_groups = case.snapshot.clone();
    with_groups.extras = Some(beside);
    assert!(about(&with_groups, &metadata, &signed).contains("other files beside the packages"));
    let other_kind = farm::decision::Statement { kind: "a poem".into(), ..statement.clone() };
    let why = other_kind.must_be_about(&case.promotion, &case.snapshot, &metadata, &signed).unwrap_err();
    assert!(why.contains("it is a a poem"), "{why}");
    let mut files = signed.clone();
    files.get_mut(&digest("body")).unwrap().digest = digest("other file");
    assert!(about(&case.snapshot, &metadata, &files).contains("other packages"));

    let envelope = key.sign(IN_TOTO, &serde_json::to_vec(&statement).unwrap());
    let (payload, by) = envelope.open(IN_TOTO, &[key.public()]).unwrap();
    assert_eq!(serde_json::from_slice::<farm::decision::Statement>(&payload).unwrap(), statement);
    assert_eq!(by, key.id());
}

#[tokio::test]
async fn what_lost_its_approval_is_not_signed() {
    let mut case = Case::good();
    case.promotion.approvals.clear();
    assert!(case.refused().await.contains("a release manager's word is missing"));
    case.promotion.approvals = vec![Approval { by: "eve".into(), at: NOON }];
    assert!(case.refused().await.contains("eve approved it but is not a release manager"));
}

#[tokio::test]
async fn only_the_snapshot_that_the_promotion_stands_for_is_signed() {
    let mut case = Case::good();
    let (_folder, db) = case.ledger().await;
    let why = ask(&db, case.promotion.id, case.tested.id).await.unwrap_err();
    assert!(why.contains("not for snapshot"), "{why}");
    let why = ask(&db, id(77), case.snapshot.id).await.unwrap_err();
    assert!(why.contains("is not in the ledger"), "{why}");
    case.promotion.state = PromotionState::Ready { snapshot: case.snapshot.id };
    assert!(case.refused().await.contains("is ready"));
}

#[tokio::test]
async fn what_is_asked_for_in_the_name_of_another_sig_is_not_signed() {
    let mut case = Case::good();
    case.promotion.sig = "cloud".into();
    assert!(case.refused().await.contains("was made for another repo"));
}

#[tokio::test]
async fn an_edited_snapshot_is_not_signed() {
    let mut case = Case::good();
    // The content keeps its name, so that the results seem to be about it.
    case.snapshot.members[0].rpms[0].body = digest("other bytes");
    assert!(case.refused().await.contains("its content is not the one it names"));

    let mut case = Case::good();
    case.snapshot.members[0].rpms[0].digest = digest("other file");
    assert!(case.refused().await.contains("differ; one of them was edited"));

    let mut case = Case::good();
    case.build.rpms[0].body = digest("other bytes");
    assert!(case.refused().await.contains("differ; one of them was edited"));
}

#[tokio::test]
async fn a_build_is_signed_whole_but_for_architectures_that_are_no_more() {
    let mut case = Case::good();
    let native = case.build.rpms[0].clone();
    let made = |name: &str, arch: &str, built_on: Option<Arch>| {
        let mut rpm = native.clone();
        (rpm.nevra.name, rpm.nevra.arch, rpm.built_on) = (name.to_owned(), arch.to_owned(), built_on);
        (rpm.file, rpm.body) = (rpm.nevra.file_name(), digest(&format!("{name} {arch}")));
        rpm
    };
    let tool = made("hello-tool", "x86_64", Some(Arch::X86_64));
    let doc = made("hello-doc", "noarch", Some(Arch::Aarch64));
    let source = Rpm { kind: RpmKind::Source, ..made("hello", "src", None) };
    let foreign = made("hello", "aarch64", Some(Arch::Aarch64));
    let shown = vec![native, tool, doc, source];
    case.build.rpms.extend(shown[1..].iter().cloned().chain([foreign]));
    // The project is for x86_64 alone by now.
    case.shows(shown.clone());
    let facts = case.asked().await.unwrap();
    assert_eq!(facts.snapshot.rpms().count(), shown.len());
    for missing in 0..shown.len() {
        let mut fewer = shown.clone();
        fewer.remove(missing);
        case.shows(fewer);
        let said = case.refused().await;
        assert!(
            said.contains("the build's row and the snapshot's differ"),
            "{}: {said}",
            shown[missing].file
        );
    }
}

#[tokio::test]
async fn what_was_built_elsewhere_or_from_scratch_is_not_signed() {
    let mut case = Case::good();
    case.request.kind = RequestKind::Scratch { expires: NOON };
    assert!(case.refused().await.contains("it came from a scratch request"));

    let mut case = Case::good();
    case.build.target = "cloud9s-openstack-1-el9s".into();
    assert!(case.refused().await.contains("it was built for cloud9s"));

    let mut case = Case::good();
    case.build.request = id(55);
    assert!(case.refused().await.contains("is not in the ledger"));
}

#[tokio::test]
async fn a_result_that_no_job_has_shown_does_not_count() {
    let spoilt = |spoil: fn(&mut Case)| {
        let mut case = Case::good();
        spoil(&mut case);
        case
    };
    type Spoil = fn(&mut Case);
    let cases: [(&str, Spoil); 7] = [
        ("there is no such job", |case| case.results[0].job = id(66)),
        ("showed something else", |case| {
            case.job.state = JobState::Done {
                at: NOON,
                outcome: Outcome::FailedByPackage { reason: "no".into() },
                started: None,
                builder: None,
            };
        }),
        ("showed something else", |case| {
            (case.job.arch, case.job.recipe.arch) = (Arch::Aarch64, Arch::Aarch64);
        }),
        ("showed something else", |case| case.job.recipe.image = "another".into()),
        ("shows nothing, or is no test", |case| {
            case.job.state = JobState::Waiting { not_before: NOON };
        }),
        ("tested another content", |case| case.tested.members.clear()),
        ("more than one repo is called what it tested", |case| {
            let other = RepoOrigin::Snapshot { id: id(99) };
            let other = RepoSource { name: UNDER_TEST.into(), priority: 2, origin: other };
            case.job.recipe.repos.push(other);
        }),
    ];
    for (expected, spoil) in cases {
        let why = spoilt(spoil).refused().await;
        assert!(why.contains(expected), "{why} instead of {expected}");
    }
}

/// A ledger in which a way back is let through, because the rows say that its content was published; what was signed then, if
/// anything was, says this of itself.
async fn back(former: Option<fn(&mut Statement)>) -> Result<Facts, String> {
    let forward = Case::good();
    let (_folder, db) = forward.ledger().await;
    let key = DecisionKey::generate().unwrap();
    let facts = ask(&db, forward.promotion.id, forward.snapshot.id).await.unwrap();
    let file =
        SignedFile { body: digest("body"), fingerprint: "ab".into(), digest: digest("signed"), size: 9 };
    let signed = BTreeMap::from([(digest("body"), file)]);
    let lists = BTreeMap::from([("x86_64".to_owned(), digest("repomd.xml"))]);
    let mut statement = farm::decision::statement(&facts.grounds(), &lists, &signed, &[], NOON).unwrap();
    let mut tx = db.write().await.unwrap();
    if let Some(spoil) = former {
        spoil(&mut statement);
        let decision = key.sign(IN_TOTO, &serde_json::to_vec(&statement).unwrap()).to_json().unwrap();
        let endorsement = Endorsement {
            snapshot: forward.snapshot.id,
            promotion: forward.promotion.id,
            made: NOON,
            folders: BTreeMap::new(),
            keys: Vec::new(),
            decision,
            provenance: BTreeMap::new(),
        };
        tx.put_endorsement(&endorsement).await.unwrap();
    }
    tx.publish(&facts.approved, forward.promotion.id, NOON).await.unwrap();
    let live = Snapshot::holding(
        id(20),
        &forward.snapshot.tag,
        Some(forward.snapshot.as_base()),
        forward.snapshot.members.clone(),
        NOON,
    );
    let promotion = Promotion {
        id: id(21),
        course: Course::Back { to: forward.snapshot.id, reason: "it breaks".into() },
        base: Some(forward.snapshot.id),
        state: PromotionState::Approved { snapshot: live.id, by: "rita".into() },
        ..forward.promotion.clone()
    };
    tx.insert_snapshot(&live).await.unwrap();
    tx.insert_promotion(&promotion).await.unwrap();
    tx.commit().await.unwrap();
    let known = &mut KnownMembers::default();
    let facts = Facts::read(&db, promotion.id, live.id, &[key.public()], known, NOON).await;
    facts.map_err(|trouble| trouble.to_string())
}

#[tokio::test]
async fn what_is_gone_back_to_was_signed_before() {
    let mut case = Case::good();
    case.promotion.course = Course::Back { to: case.tested.id, reason: "it breaks".into() };
    // The gate itself asks whether it was published; the row alone would not do.
    let why = case.refused().await;
    assert!(why.contains("only what was published before"), "{why}");

    back(Some(|_| {})).await.unwrap();
    let refused = async |former| back(former).await.expect_err("it must not be signed");
    assert!(refused(None).await.contains("no signer ever signed it"));
    let spoils: [fn(&mut Statement); 3] = [
        |said| said.predicate.content = digest("another"),
        |said| said.predicate.tag = "storage9s-gluster-11-testing".into(),
        |said| said.predicate.snapshot = id(77),
    ];
    for spoil in spoils {
        let why = refused(Some(spoil)).await;
        assert!(why.contains("had another content, or was of another repo"), "{why}");
    }
    let elsewhere = refused(Some(|said| said.subject[0].name = "aarch64/repodata/repomd.xml".into())).await;
    assert!(elsewhere.contains("has no x86_64, which the project has now"), "{elsewhere}");
}

/// A second promotion of the same content, composed on what the first has published.
async fn second(snapshot: impl Fn(&Snapshot) -> Snapshot) -> Result<Facts, String> {
    let first = Case::good();
    let (_folder, db) = first.ledger().await;
    let facts = ask(&db, first.promotion.id, first.snapshot.id).await.unwrap();
    let mut snapshot = snapshot(&first.snapshot);
    snapshot.base = Some(first.snapshot.id);
    let promotion = Promotion {
        id: id(21),
        base: snapshot.base,
        state: PromotionState::Approved { snapshot: snapshot.id, by: "rita".into() },
        ..first.promotion.clone()
    };
    let mut tx = db.write().await.unwrap();
    tx.publish(&facts.approved, first.promotion.id, NOON).await.unwrap();
    tx.insert_snapshot(&snapshot).await.unwrap();
    let closure = first.results.iter().find(|result| result.suite == CLOSURE).unwrap().clone();
    let against = Some(first.snapshot.content.clone());
    tx.insert_result(&TestResult { job: id(22), against, ..closure }).await.unwrap();
    tx.insert_promotion(&promotion).await.unwrap();
    tx.commit().await.unwrap();
    ask(&db, promotion.id, snapshot.id).await
}

#[tokio::test]
async fn a_revision_that_falls_is_not_signed() {
    let on =
        |live: &Snapshot, base, now| Snapshot::holding(id(20), &live.tag, base, live.members.clone(), now);
    let early = Stamp::from_millis(NOON.millis() - 1);
    second(|live| on(live, Some(live.as_base()), early)).await.unwrap();
    for now in [early, NOON] {
        let why = second(|live| on(live, None, now)).await.expect_err("it must not be signed");
        assert!(
            why.contains(&format!(
                "its revision is {}, and what is live has {}",
                now.millis(),
                NOON.millis()
            )),
            "{why}"
        );
    }
}

//! Why something is not moving: one answer for every case.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use farm::arch::Arch;
use farm::chain::{Blocker, Need};
use farm::digest::Digest;
use farm::ids::{Id, Minter, PromotionId};
use farm::job::{Attempt, Class, Job, JobKind, JobState};
use farm::outcome::Outcome;
use farm::promotion::{Approval, Brings, Course, Promotion, PromotionState};
use farm::recipe::{Input, Limits, Recipe, Work};
use farm::request::{Closed, Request, RequestKind, Source, Verdict};
use farm::sig::Stage;
use farm::stamp::Stamp;
use farm::why::{Facts, Lane, RepoBehind, Standing, WhyCode, of_build, of_promotion};

const NOW: Stamp = Stamp::from_millis(1_800_000_000_000);

fn ago(seconds: i64) -> Stamp {
    Stamp::from_millis(NOW.millis() - seconds * 1000)
}

fn id<T: Id>(number: u64) -> T {
    Minter::new(number).mint(NOW)
}

fn request(closed: Option<Verdict>) -> Request {
    Request {
        id: id(1),
        kind: RequestKind::Build,
        sig: "storage".into(),
        target: "storage9s-gluster-11-el9s".into(),
        package: "hello".into(),
        by: "ada".into(),
        source: Source::Git { repo: "rpms/hello".into(), commit: "c".repeat(40), tree: None },
        created: ago(600),
        retry_of: None,
        chain: None,
        closed: closed.map(|verdict| Closed { at: NOW, verdict }),
    }
}

fn job(number: u64, arch: Arch, state: JobState) -> Job {
    let srpm = Input { name: "hello-1-1.src.rpm".into(), digest: Digest::of(b"srpm"), size: 4 };
    Job {
        id: id(number),
        request: id(1),
        sig: "storage".into(),
        class: Class::Push,
        kind: JobKind::Build,
        arch,
        labels: BTreeSet::new(),
        height: 0,
        created: ago(300),
        recipe: Recipe {
            image: "image".into(),
            arch,
            work: Work::Build { srpm },
            repos: Vec::new(),
            macros: BTreeMap::new(),
            limits: Limits::default(),
            sharing: None,
        },
        turn: 1,
        tries: 1,
        state,
        history: Vec::new(),
    }
}

fn waiting() -> JobState {
    JobState::Waiting { not_before: ago(60) }
}

fn building(builder: &str) -> JobState {
    JobState::Building {
        builder: builder.into(),
        token: Digest::of(b"token"),
        born: Stamp::ZERO,
        started: ago(120),
        lease: NOW + Duration::from_secs(20),
    }
}

fn facts<'a>(request: &'a Request, jobs: &'a [Job]) -> Facts<'a> {
    let lane = Lane { slots: 2, ahead: 3, busy: Some(Duration::from_secs(600)), ..Lane::default() };
    Facts {
        now: NOW,
        request,
        name: "hello-1-1".into(),
        jobs,
        blockers: Vec::new(),
        behind: None,
        lanes: Arch::ALL.map(|arch| (arch, lane.clone())).into(),
        silent: BTreeSet::new(),
        usual: Arch::ALL.map(|arch| (("build".to_owned(), arch), Duration::from_secs(300))).into(),
        promotion: None,
    }
}

#[test]
fn a_waiting_job_is_told_its_place_and_when_it_is_likely_to_begin_and_end() {
    let (request, jobs) = (request(None), [job(2, Arch::X86_64, waiting())]);
    let why = of_build(&facts(&request, &jobs));
    assert_eq!(why.code, WhyCode::WaitingForSlot);
    assert_eq!(why.sentence, "build on x86_64 waits for one of 2 slots, 3 jobs before it");
    assert_eq!(why.starts, Some(NOW + Duration::from_secs(300)), "two slots share ten minutes of work");
    assert_eq!(why.ends, Some(NOW + Duration::from_secs(600)));
}

#[test]
fn a_slot_without_room_beside_other_jobs_is_told_from_a_busy_one() {
    let (request, jobs) = (request(None), [job(2, Arch::X86_64, waiting())]);
    let mut facts = facts(&request, &jobs);
    let mut sentence = |free, cramped| {
        let lane = facts.lanes.get_mut(&Arch::X86_64).unwrap();
        (lane.ahead, lane.free, lane.cramped) = (0, free, cramped);
        of_build(&facts).sentence
    };
    assert_eq!(sentence(0, 0), "build on x86_64 is the next to get a slot; all 2 are busy");
    assert_eq!(sentence(1, 1), "build on x86_64 is about to be offered to a builder");
    assert_eq!(
        sentence(0, 1),
        "build on x86_64 waits until builders have room: it may use 4096 MiB of memory and 3072 MiB of disk, and where a \
         slot is free other jobs leave less"
    );
}

#[test]
fn what_keeps_a_build_from_ever_being_done_is_said_before_what_takes_time() {
    let request = request(None);
    let jobs = [
        job(2, Arch::X86_64, building("b1")),
        job(3, Arch::Aarch64, waiting()),
        job(4, Arch::S390x, waiting()),
    ];
    let mut facts = facts(&request, &jobs);
    facts.lanes.get_mut(&Arch::S390x).unwrap().nobody = Some("no s390x builder has been seen for 3 h".into());
    let why = of_build(&facts);
    assert_eq!(why.code, WhyCode::NoBuilder);
    assert_eq!(why.sentence, "build on s390x: no s390x builder has been seen for 3 h (1 of 3 jobs at work)");
    assert!(why.next.unwrap().contains("grange builders"));
    assert_eq!(why.ends, None, "nobody knows when such a build ends");
}

#[test]
fn a_silent_builder_a_pause_and_a_cap_are_named() {
    let request = request(None);
    let jobs = [job(2, Arch::X86_64, building("b1"))];
    let mut silent = facts(&request, &jobs);
    silent.silent.insert("b1".into());
    let why = of_build(&silent);
    assert_eq!((why.code, why.root.as_deref()), (WhyCode::WaitingForLease, Some("builder b1")));
    assert!(why.sentence.contains("another takes over in 20 s"), "{}", why.sentence);

    let mut paused = job(2, Arch::X86_64, JobState::Waiting { not_before: NOW + Duration::from_secs(8) });
    let why = "the disk is full".to_owned();
    paused.history.push(Attempt { turn: 1, builder: "b2".into(), started: None, ended: ago(1), why });
    let jobs = [paused];
    let why = of_build(&facts(&request, &jobs));
    assert_eq!(why.code, WhyCode::BackingOff);
    assert!(
        why.sentence.contains("in 8 s") && why.sentence.contains("the disk is full on b2"),
        "{}",
        why.sentence
    );

    let jobs = [job(2, Arch::X86_64, waiting())];
    let mut held = facts(&request, &jobs);
    held.lanes.get_mut(&Arch::X86_64).unwrap().cap = Some((4, 4));
    let why = of_build(&held);
    assert_eq!(why.code, WhyCode::HeldByCap);
    assert!(why.sentence.contains("storage has 4 of its 4 jobs at work there"), "{}", why.sentence);
}

#[test]
fn before_its_builds_are_planned_it_waits_for_its_chain_or_for_a_repo() {
    let request = request(None);
    let mut facts = facts(&request, &[]);
    facts.behind = Some(behind(None));
    let why = of_build(&facts);
    assert_eq!((why.code, why.root), (WhyCode::WaitingForRepo, Some(format!("tag {BELOW}"))));
    facts.behind = Some(behind(Some("the hub's disk is full")));
    let why = of_build(&facts);
    assert_eq!(why.code, WhyCode::BackingOff);
    assert!(
        why.sentence.contains(BELOW) && why.sentence.contains("the hub's disk is full"),
        "{}",
        why.sentence
    );
    let names = BTreeSet::from(["zlib-devel".to_owned()]);
    facts.blockers =
        vec![Blocker { request: id(9), package: "zlib".into(), need: Need::Names { names }, ended: None }];
    let why = of_build(&facts);
    assert_eq!(why.code, WhyCode::WaitingForChain);
    assert_eq!(why.sentence, "hello-1-1 waits for zlib: it needs zlib-devel");
    assert!(why.next.unwrap().starts_with("grange why "));
}

#[test]
fn an_ended_build_says_how_and_what_to_do() {
    let failed = |reason: &str| request(Some(Verdict::Failed { reason: reason.into() }));
    for (reason, code) in [
        ("missing from the lookaside: x.tar.gz (SHA512 ab)", WhyCode::MissingSource),
        ("needs zlib-devel from zlib, which failed: no", WhyCode::FailedDependency),
        ("build on x86_64: exit status 1", WhyCode::Failed),
    ] {
        let request = failed(reason);
        let why = of_build(&facts(&request, &[]));
        assert_eq!(why.code, code, "{reason}");
        assert!(why.next.is_some() && why.sentence.contains(reason));
    }
    let cancelled = request(Some(Verdict::Cancelled { by: "eve".into() }));
    let why = of_build(&facts(&cancelled, &[]));
    assert_eq!((why.code, &*why.sentence), (WhyCode::Cancelled, "hello-1-1 was cancelled by eve"));
    let outcome = Outcome::FailedByPackage { reason: "no".into() };
    let done = JobState::Done { at: NOW, started: None, builder: None, outcome };
    let (request, jobs) = (failed("build on x86_64: no"), [job(2, Arch::X86_64, done)]);
    assert_eq!(of_build(&facts(&request, &jobs)).root, Some(format!("job {}", jobs[0].id)));
}

const BELOW: &str = "storage9s-gluster-11-candidate";

fn behind(trouble: Option<&str>) -> RepoBehind {
    RepoBehind { tag: BELOW.to_owned(), trouble: trouble.map(str::to_owned) }
}

#[test]
fn a_promotion_that_cannot_be_composed_yet_names_the_repo_below_and_what_is_wrong_with_it() {
    let composing = promotion(Stage::Testing, PromotionState::Composing);
    let below =
        |trouble| of_promotion(&Standing { below: Some(behind(trouble)), ..Standing::alone(&composing) });
    let why = below(None);
    assert_eq!((why.code, why.root), (WhyCode::WaitingForRepo, Some(format!("tag {BELOW}"))));
    assert_eq!(
        why.sentence,
        format!("hello-1-1 to testing: it waits until the repo {BELOW} shows what was built last")
    );
    let why = below(Some("the hub's disk is full"));
    assert_eq!((why.code, why.root), (WhyCode::BackingOff, Some(format!("tag {BELOW}"))));
    assert!(why.sentence.contains("cannot go on: the hub's disk is full"), "{}", why.sentence);
}

fn promotion(to: Stage, state: PromotionState) -> Promotion {
    Promotion {
        id: id::<PromotionId>(5),
        sig: "storage".into(),
        target: "storage9s-gluster-11-el9s".into(),
        to,
        builds: Vec::new(),
        nvrs: vec!["hello-1-1".into()],
        by: "gate".into(),
        remove: Vec::new(),
        stack: None,
        brings: None,
        course: Course::Forward,
        confirmed: false,
        approvals: Vec::new(),
        suites: BTreeMap::new(),
        base: None,
        created: NOW,
        state,
    }
}

#[test]
fn a_built_package_says_what_its_promotion_waits_for() {
    let rejected = |why: &str| PromotionState::Rejected { why: vec![why.into()], at: NOW, snapshot: None };
    for (state, code) in [
        (PromotionState::Composing, WhyCode::WaitingForRepo),
        (PromotionState::InTesting { snapshot: id(6), request: Some(id(7)) }, WhyCode::Testing),
        (PromotionState::Approved { snapshot: id(6), by: "gate".into() }, WhyCode::Running),
        (PromotionState::Publishing { snapshot: id(6), by: "rex".into() }, WhyCode::Running),
        (PromotionState::Published { snapshot: id(6), by: "rex".into(), at: NOW }, WhyCode::Done),
        (rejected("suite runs failed on x86_64: no greeting"), WhyCode::Gate),
        (rejected("superseded: hello-1-2 was asked for later"), WhyCode::Superseded),
        (PromotionState::Withdrawn { by: "rex".into(), at: NOW }, WhyCode::Cancelled),
    ] {
        let promotion = promotion(Stage::Testing, state);
        assert_eq!(of_promotion(&Standing::alone(&promotion)).code, code, "{:?}", promotion.state);
        let complete = request(Some(Verdict::Complete { build: None }));
        let mut facts = facts(&complete, &[]);
        facts.promotion = Some(Standing::alone(&promotion));
        assert_eq!(of_build(&facts).code, code);
    }
}

/// A promotion of a project that asks for two words.
fn two(promotion: &Promotion) -> Standing<'_> {
    Standing { approvers: 2, ..Standing::alone(promotion) }
}

#[test]
fn a_promotion_names_what_is_ahead_whose_word_is_missing_and_what_the_signer_says() {
    let ready = || PromotionState::Ready { snapshot: id(6) };
    let mut one = promotion(Stage::Release, ready());
    let why = of_promotion(&Standing::alone(&one));
    assert_eq!((why.code, why.root), (WhyCode::WaitingForApproval, Some(format!("promotion {}", one.id))));
    assert_eq!(
        why.sentence,
        "hello-1-1 has passed its tests for release and waits for a release manager of storage"
    );
    assert_eq!(why.next, Some(format!("a release manager of storage: grange promote {}", one.id)));

    one.approvals = vec![Approval { by: "rex".into(), at: NOW }];
    let why = of_promotion(&two(&one));
    assert_eq!(why.code, WhyCode::WaitingForApproval);
    assert!(
        why.sentence.ends_with("waits for another release manager of storage (1 of 2 approvals, by rex)"),
        "{}",
        why.sentence
    );
    let why = of_promotion(&Standing::alone(&one));
    assert_eq!(why.code, WhyCode::Running, "one word is enough, and it is there");
    let ahead: PromotionId = id(77);
    let why = of_promotion(&Standing { behind: Some(ahead), ..Standing::alone(&one) });
    assert_eq!((why.code, why.next), (WhyCode::WaitingForQueue, Some(format!("grange why {ahead}"))));

    one.state = PromotionState::Composing;
    let why = of_promotion(&Standing { behind: Some(ahead), ..Standing::alone(&one) });
    assert_eq!((why.code, why.root), (WhyCode::WaitingForQueue, Some(format!("promotion {ahead}"))));
    one.state = PromotionState::InTesting { snapshot: id(6), request: Some(id(7)) };
    let tested = Standing {
        behind: Some(ahead),
        missing: vec!["suite runs on x86_64 is not done".into()],
        ..two(&one)
    };
    let why = of_promotion(&tested);
    assert_eq!(why.code, WhyCode::Testing, "its own tests come first");
    assert!(why.sentence.ends_with("suite runs on x86_64 is not done"), "{}", why.sentence);
    let why = of_promotion(&Standing { missing: Vec::new(), ..tested });
    assert_eq!(why.code, WhyCode::WaitingForQueue);
    assert!(why.sentence.contains(&format!("on top of promotion {ahead}")), "{}", why.sentence);

    one.state = PromotionState::Approved { snapshot: id(6), by: "rex".into() };
    let why = of_promotion(&Standing { signer: Some("its key is locked".into()), ..two(&one) });
    assert_eq!(why.code, WhyCode::WaitingForSigner);
    assert!(why.sentence.ends_with("waits for the signer: its key is locked"), "{}", why.sentence);
}

#[test]
fn a_rollback_and_a_removal_say_what_they_are() {
    let published = || PromotionState::Published { snapshot: id(6), by: "rex".into(), at: NOW };
    let mut back = promotion(Stage::Release, published());
    back.course = Course::Back { to: id(4), reason: "it does not start".into() };
    let why = of_promotion(&Standing::alone(&back));
    assert_eq!(why.code, WhyCode::Done);
    assert!(why.sentence.contains("(it does not start)"), "{}", why.sentence);
    back.state = PromotionState::Ready { snapshot: id(6) };
    // One release manager's word is enough for a way back, whatever the template asks for.
    back.approvals = vec![Approval { by: "rex".into(), at: NOW }];
    assert!(!two(&back).needs_word());
    let mut gone = promotion(Stage::Release, published());
    (gone.nvrs, gone.remove) = (Vec::new(), vec!["hello".into(), "world".into()]);
    assert_eq!(of_promotion(&Standing::alone(&gone)).sentence, "hello, world is not in release any more");
    let mut files = promotion(Stage::Testing, published());
    files.nvrs = Vec::new();
    files.brings = Some(Brings { repo: "metadata/storage".into(), commit: "a".repeat(40) });
    let sentence = of_promotion(&Standing::alone(&files)).sentence;
    assert!(
        sentence.starts_with("the files of metadata/storage") && sentence.ends_with("are in testing"),
        "{sentence}"
    );
}

//! The gate: a question to which it says yes, and every single thing that makes it say no.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sample;

use std::collections::{BTreeMap, BTreeSet};

use farm::arch::Arch;
use farm::digest::Digest;
use farm::gate::{
    CLOSURE, Decision, Layered, Question, ReleaseManagers, Requirement, TestResult, TestVerdict, UNDER_TEST,
    Waiver, WaiverScope, decide, environment, is_much_smaller, requirements,
};
use farm::ids::{BuildId, SnapshotId};
use farm::promotion::{Approval, Brings, Course, Promotion, PromotionState};
use farm::recipe::{RepoOrigin, RepoSource};
use farm::sig::{Project, Stage};
use farm::snapshot::Snapshot;
use farm::stamp::Stamp;
use sample::{at, digest, id, member, project};

/// The moment at which the gate is asked.
const NOW: Stamp = Stamp::from_millis(1_000);
/// A project that is layered on the one whose gate it is.
const ABOVE: &str = "viewers9s-viewer-3-el9s";

/// Everything the gate looks at, owned, so that a test can spoil one thing.
#[derive(Clone)]
struct Case {
    project: Project,
    promotion: Promotion,
    snapshot: Snapshot,
    live: Option<Snapshot>,
    ahead: Option<SnapshotId>,
    layered: Vec<Layered>,
    results: Vec<TestResult>,
    before: Vec<TestResult>,
    environments: BTreeMap<(Option<String>, Arch), Digest>,
    waivers: Vec<Waiver>,
    managers: ReleaseManagers,
    withdrawn: BTreeSet<BuildId>,
    was_published: bool,
}

fn names(people: &[&str]) -> BTreeSet<String> {
    people.iter().map(ToString::to_string).collect()
}

fn approval(by: &str) -> Approval {
    Approval { by: by.into(), at: at(2) }
}

fn passed(number: u64, content: &Digest, requirement: &Requirement) -> TestResult {
    TestResult {
        job: id(number),
        content: content.clone(),
        suite: requirement.suite.clone(),
        arch: requirement.arch,
        on: requirement.on.clone(),
        version: digest("suite"),
        environment: digest("environment"),
        against: None,
        verdict: TestVerdict::Passed,
        at: at(10),
    }
}

impl Case {
    /// A release with every result and a release manager's word.
    fn good() -> Case {
        let project = project();
        let tag = project.tag(Stage::Release);
        let base = Snapshot::compose(id(100), &tag, None, &[member("hello", "2.9")], &[], at(0));
        let snapshot = Snapshot::compose(id(101), &tag, Some(&base), &[member("hello", "2.10")], &[], at(1));
        let promotion = Promotion {
            id: id(1),
            sig: project.sig.clone(),
            target: project.target(),
            to: Stage::Release,
            builds: vec![member("hello", "2.10").build],
            nvrs: vec!["hello-2.10-1.el9s".into()],
            remove: Vec::new(),
            stack: None,
            brings: None,
            course: Course::Forward,
            confirmed: false,
            by: "ada".into(),
            approvals: vec![approval("rex")],
            suites: BTreeMap::new(),
            base: Some(base.id),
            created: at(0),
            state: PromotionState::Ready { snapshot: snapshot.id },
        };
        let mut case = Case {
            live: Some(base),
            ahead: None,
            layered: Vec::new(),
            results: Vec::new(),
            before: Vec::new(),
            environments: BTreeMap::new(),
            waivers: Vec::new(),
            managers: ReleaseManagers { own: names(&["rex", "rita"]), layered: BTreeMap::new() },
            withdrawn: BTreeSet::new(),
            was_published: false,
            project,
            promotion,
            snapshot,
        };
        case.show_all();
        case
    }

    /// Every result that is required, and the versions and environments they are about.
    fn show_all(&mut self) {
        let required = self.required();
        self.results =
            (200..).zip(&required).map(|(number, one)| passed(number, &self.snapshot.content, one)).collect();
        for closure in self.results.iter_mut().filter(|result| result.suite == CLOSURE) {
            closure.against = self.live.as_ref().map(|live| live.content.clone());
        }
        self.promotion.suites = required.iter().map(|one| (one.key(), digest("suite"))).collect();
        self.environments =
            required.into_iter().map(|one| ((one.on, one.arch), digest("environment"))).collect();
    }

    fn required(&self) -> Vec<Requirement> {
        requirements(&self.project, &self.layered)
    }

    fn decide_at(&self, now: Stamp) -> Decision {
        decide(&Question {
            project: &self.project,
            promotion: &self.promotion,
            snapshot: &self.snapshot,
            live: self.live.as_ref(),
            ahead: self.ahead,
            layered: &self.layered,
            results: &self.results,
            before: &self.before,
            environments: &self.environments,
            waivers: &self.waivers,
            release_managers: &self.managers,
            withdrawn: &self.withdrawn,
            was_published: self.was_published,
            now,
        })
    }

    fn decide(&self) -> Decision {
        self.decide_at(NOW)
    }

    fn spoilt(spoil: impl FnOnce(&mut Case)) -> Decision {
        let mut case = Case::good();
        spoil(&mut case);
        case.decide()
    }

    fn testing() -> Case {
        let mut case = Case::good();
        case.promotion.to = Stage::Testing;
        case.snapshot.tag = case.project.tag(Stage::Testing);
        case.promotion.approvals.clear();
        case
    }

    /// A project above it requires `opens` on the one architecture that both have, and has shown it.
    fn layered() -> Case {
        let mut case = Case::good();
        case.layered = vec![Layered {
            target: ABOVE.into(),
            required: vec!["opens".into()],
            arches: vec![Arch::X86_64],
        }];
        case.managers.layered.insert(ABOVE.into(), names(&["vera"]));
        case.show_all();
        case
    }

    /// A rollback by one release manager to what was published.
    fn back() -> Case {
        let mut case = Case::good();
        case.promotion.course = Course::Back { to: id(90), reason: "it does not start".into() };
        case.promotion.approvals = vec![approval("rex")];
        (case.results, case.promotion.suites, case.was_published) = (Vec::new(), BTreeMap::new(), true);
        case
    }

    /// The result of this suite on this architecture.
    fn result(&mut self, suite: &str, arch: Arch) -> &mut TestResult {
        self.results.iter_mut().find(|result| result.suite == suite && result.arch == arch).unwrap()
    }

    /// Nothing but a waiver of `runs` on x86_64 for exactly this content lets it through.
    fn waived() -> Case {
        let mut case = Case::good();
        case.result("runs", Arch::X86_64).verdict = failed();
        case.waivers = vec![Waiver {
            id: id(500),
            target: case.project.target(),
            suite: "runs".into(),
            arch: Some(Arch::X86_64),
            on: None,
            scope: WaiverScope::Content { content: case.snapshot.content.clone() },
            by: "rita".into(),
            reason: "the test host is wrong".into(),
            made: at(5),
            until: at(2_000),
            revoked: None,
        }];
        case
    }

    #[track_caller]
    fn without(mut self, spoil: impl FnOnce(&mut Case)) -> Decision {
        assert!(matches!(self.decide(), Decision::Approved(_)), "{:?}", self.decide());
        spoil(&mut self);
        self.decide()
    }
}

fn failed() -> TestVerdict {
    TestVerdict::Failed { reason: "greeting is wrong".into() }
}

fn errored() -> TestVerdict {
    TestVerdict::Errored { reason: "the builder fell silent".into() }
}

#[track_caller]
fn refused(decision: Decision, words: &str) {
    let Decision::Refused(why) = &decision else { panic!("{decision:?}") };
    assert!(why.iter().any(|sentence| sentence.contains(words)), "{why:?}");
}

#[track_caller]
fn approved(decision: Decision) -> farm::gate::Approved {
    match decision {
        Decision::Approved(approved) => approved,
        other => panic!("{other:?}"),
    }
}

#[test]
fn with_every_result_and_a_release_managers_word_it_says_yes() {
    let case = Case::good();
    let approved = approved(case.decide());
    assert_eq!(approved.tag(), "demo9s-hello-2-release");
    assert_eq!(approved.snapshot(), case.snapshot.id);
    assert_eq!(approved.base(), case.live.map(|live| live.id));
    assert_eq!((approved.by().as_str(), approved.waivers()), ("rex", &[][..]));
}

#[test]
fn testing_needs_results_alone() {
    let approved = approved(Case::testing().decide());
    assert_eq!((approved.tag(), approved.by().as_str()), ("demo9s-hello-2-testing", "gate"));
}

#[test]
fn every_suite_must_have_run_on_every_architecture_and_nothing_else_may_break() {
    let all = requirements(&project(), &[]);
    let suites: Vec<&str> = all.iter().map(|one| one.suite.as_str()).collect();
    assert_eq!(suites, [CLOSURE, CLOSURE, "installs", "installs", "runs", "runs"]);
    for (index, requirement) in all.iter().enumerate() {
        let decision = Case::spoilt(|case| drop(case.results.remove(index)));
        assert_eq!(decision, Decision::Missing(vec![requirement.clone()]));
    }
    assert_eq!(Case::spoilt(|case| case.results.clear()), Decision::Missing(all));
}

#[test]
fn one_bad_result_is_enough() {
    for index in 0..6 {
        refused(Case::spoilt(|case| case.results[index].verdict = failed()), "failed: greeting is wrong");
        refused(
            Case::spoilt(|case| case.results[index].verdict = errored()),
            "could not be run: the builder",
        );
    }
    // What speaks against it is said even while other results are missing.
    refused(
        Case::spoilt(|case| {
            case.result("installs", Arch::X86_64).verdict = failed();
            case.results.retain(|result| result.suite == "installs");
        }),
        "suite installs on x86_64 failed: greeting is wrong",
    );
}

#[test]
fn a_result_counts_for_its_own_suite_architecture_project_and_content_only() {
    let missing =
        Decision::Missing(vec![Requirement { suite: "installs".into(), arch: Arch::X86_64, on: None }]);
    let changes: [fn(&mut TestResult); 4] = [
        |result| result.arch = Arch::Ppc64le,
        |result| result.suite = "other".into(),
        |result| result.on = Some(ABOVE.into()),
        |result| result.content = digest("the same NVRs, built again"),
    ];
    for change in changes {
        assert_eq!(Case::spoilt(|case| change(case.result("installs", Arch::X86_64))), missing);
    }
    // A suite nobody asked for has no say.
    approved(Case::spoilt(|case| {
        let mut extra = case.results[0].clone();
        (extra.suite, extra.verdict) = ("experimental".into(), failed());
        case.results.push(extra);
    }));
}

#[test]
fn the_newest_run_speaks_in_whatever_order_they_are_read() {
    let rerun = |verdicts: [(i64, TestVerdict); 2], reverse: bool| {
        Case::spoilt(|case| {
            let first = case.results.remove(0);
            for (number, (moment, verdict)) in verdicts.into_iter().enumerate() {
                let job = id(300 + u64::try_from(number).unwrap());
                case.results.push(TestResult { job, at: at(moment), verdict, ..first.clone() });
            }
            if reverse {
                case.results.reverse();
            }
        })
    };
    for reverse in [false, true] {
        for bad in [failed(), errored()] {
            let mended = rerun([(10, bad.clone()), (20, TestVerdict::Passed)], reverse);
            assert!(matches!(mended, Decision::Approved(_)), "{mended:?}");
            let broken = rerun([(20, bad), (10, TestVerdict::Passed)], reverse);
            assert!(matches!(broken, Decision::Refused(_)), "{broken:?}");
        }
        // Of two in the same millisecond the later job speaks, always the same one.
        let tie = rerun([(10, TestVerdict::Passed), (10, failed())], reverse);
        assert!(matches!(tie, Decision::Refused(_)), "{tie:?}");
    }
}

#[test]
fn no_test_no_promotion() {
    refused(Case::spoilt(|case| case.project.required.clear()), "requires no suite");
    let mut testing = Case::testing();
    testing.project.required.clear();
    refused(testing.decide(), "no test, no promotion");
    // Nor do the suites of others stand in for its own.
    refused(Case::layered().without(|case| case.project.required.clear()), "requires no suite");
}

#[test]
fn a_snapshot_goes_where_it_was_composed_for() {
    refused(Case::spoilt(|case| case.promotion.to = Stage::Testing), "not for demo9s-hello-2-testing");
    refused(
        Case::spoilt(|case| case.snapshot.tag = "other9s-hello-2-release".into()),
        "the snapshot was composed for other9s-hello-2-release",
    );
}

#[test]
fn candidate_is_never_published() {
    let decision = Case::spoilt(|case| {
        case.promotion.to = Stage::Candidate;
        case.snapshot.tag = case.project.tag(Stage::Candidate);
    });
    refused(decision, "candidate repos are not published");
}

#[test]
fn what_the_repo_has_moved_on_from_is_composed_again() {
    let other = |case: &mut Case| case.live.as_mut().unwrap().id = id(999);
    assert_eq!(Case::spoilt(other), Decision::Outdated);
    assert_eq!(Case::spoilt(|case| case.live = None), Decision::Outdated);
    assert_eq!(Case::spoilt(|case| case.snapshot.base = None), Decision::Outdated);
    let first = Case::spoilt(|case| {
        (case.live, case.snapshot.base) = (None, None);
        case.show_all();
    });
    assert!(matches!(first, Decision::Approved(_)), "the first content of a repo has no base: {first:?}");
    // Whatever its results say: they are about a content that would take back what is live.
    let with_all = Case::spoilt(|case| {
        other(case);
        case.waivers = Case::waived().waivers;
        case.was_published = true;
    });
    assert_eq!(with_all, Decision::Outdated);
}

#[test]
fn what_is_for_an_architecture_that_is_no_more_is_composed_again() {
    let foreign = |case: &mut Case| {
        let rpms = &mut case.snapshot.members[0].rpms;
        let mut rpm = rpms.iter().find(|rpm| rpm.built_on.is_some()).unwrap().clone();
        (rpm.nevra.arch, rpm.built_on) = ("s390x".to_owned(), Some(Arch::S390x));
        rpms.push(rpm);
    };
    for case in [Case::good, Case::testing, Case::back] {
        assert_eq!(case().without(foreign), Decision::Outdated);
    }
    // What is for all of them may have been made anywhere.
    approved(Case::good().without(|case| {
        foreign(case);
        case.snapshot.members[0].rpms.last_mut().unwrap().nevra.arch = "noarch".to_owned();
    }));
}

#[test]
fn what_was_composed_on_one_that_is_ahead_waits_for_it() {
    let base = Case::good().snapshot.base;
    let behind = |spoil: fn(&mut Case)| {
        Case::spoilt(|case| {
            (case.live.as_mut().unwrap().id, case.ahead) = (id(999), base);
            spoil(case);
        })
    };
    assert_eq!(behind(|_| {}), Decision::Behind);
    // Whatever its tests have shown: what is ahead may still be refused, and then they mean nothing.
    assert_eq!(behind(|case| case.results.clear()), Decision::Behind);
    assert_eq!(behind(|case| case.results[0].verdict = failed()), Decision::Behind);
    assert_eq!(behind(|case| case.ahead = Some(id(998))), Decision::Outdated, "another one is ahead now");
    assert_eq!(behind(|case| case.ahead = None), Decision::Outdated, "nothing is ahead any more");
    let no_base = behind(|case| (case.snapshot.base, case.ahead) = (None, None));
    assert_eq!(no_base, Decision::Outdated, "no base and nobody ahead is no place in a queue");
}

#[test]
fn production_needs_a_release_managers_word() {
    assert_eq!(Case::spoilt(|case| case.promotion.approvals.clear()), Decision::NeedsApproval);
    refused(
        Case::spoilt(|case| case.managers.own = names(&["rita"])),
        "rex approved it but is not a release manager of SIG demo",
    );
    // A release manager of those above is none of the repo's own.
    refused(
        Case::layered().without(|case| case.promotion.approvals = vec![approval("vera")]),
        "vera approved it",
    );
    // The word makes up for nothing else.
    refused(Case::spoilt(|case| case.results[0].verdict = failed()), "failed");
    assert!(matches!(Case::spoilt(|case| case.results.clear()), Decision::Missing(_)));
}

#[test]
fn where_two_must_agree_two_people_must() {
    let two = |people: &[&str]| {
        Case::spoilt(|case| {
            case.project.approvers = 2;
            case.promotion.approvals = people.iter().map(|by| approval(by)).collect();
        })
    };
    assert_eq!(two(&[]), Decision::NeedsApproval);
    assert_eq!(two(&["rex"]), Decision::NeedsApproval);
    assert_eq!(approved(two(&["rex", "rita"])).by(), "rex, rita");
    assert_eq!(two(&["rex", "rex"]), Decision::NeedsApproval, "two words of one person are one");
    refused(two(&["rex", "ada"]), "ada approved it but is not a release manager");
    // No template can ask for nobody's word.
    let none = Case::spoilt(|case| {
        case.project.approvers = 0;
        case.promotion.approvals.clear();
    });
    assert_eq!(none, Decision::NeedsApproval);
}

#[test]
fn the_same_word_given_twice_is_one() {
    let twice = ["rex", "rex"].into_iter().fold(Case::good().promotion, |promotion, by| {
        promotion.on(farm::promotion::PromotionEvent::Approve { by: by.into() }, at(3)).unwrap()
    });
    assert_eq!(twice.approvals, [approval("rex")]);
}

#[test]
fn a_result_counts_for_its_version_of_the_suite_and_in_its_environment_only() {
    let other_suite = Case::spoilt(|case| {
        case.promotion.suites.insert("runs".into(), digest("a mended suite"));
    });
    assert!(matches!(other_suite, Decision::Missing(_)), "{other_suite:?}");
    let unknown_suite = Case::spoilt(|case| case.promotion.suites.clear());
    assert!(matches!(unknown_suite, Decision::Missing(_)), "{unknown_suite:?}");
    let move_layer = |case: &mut Case| {
        case.environments.values_mut().for_each(|environment| *environment = digest("a layer moved"));
    };
    assert_eq!(Case::spoilt(move_layer), Decision::Outdated);
    assert_eq!(Case::spoilt(|case| case.environments.clear()), Decision::Outdated);
    approved(Case::spoilt(|case| {
        move_layer(case);
        for mut result in case.results.clone() {
            (result.environment, result.at) = (digest("a layer moved"), at(20));
            case.results.push(result);
        }
    }));
}

#[test]
fn a_withdrawn_build_enters_nothing_but_need_not_leave_at_once() {
    let new = member("hello", "2.10").build;
    refused(
        Case::good().without(|case| {
            case.withdrawn.insert(new);
        }),
        "hello-2.10-1.el9s was withdrawn; build it anew",
    );
    // What is live already is not held against what comes beside it.
    approved(Case::good().without(|case| {
        let beside = [member("world", "1")];
        case.withdrawn.insert(member("hello", "2.9").build);
        case.snapshot =
            Snapshot::compose(case.snapshot.id, &case.snapshot.tag, case.live.as_ref(), &beside, &[], at(1));
        case.show_all();
    }));
    // Nor does a waiver, or that it was public once, bring one in.
    refused(
        Case::waived().without(|case| {
            case.withdrawn.insert(new);
        }),
        "was withdrawn",
    );
    refused(
        Case::back().without(|case| {
            case.withdrawn.insert(new);
        }),
        "was withdrawn",
    );
}

#[test]
fn a_repo_that_would_hold_much_less_was_meant_to() {
    for (before, after, smaller) in [
        (0, 0, false),
        (0, 9, false),
        (1, 0, true),
        (10, 8, false),
        (10, 7, true),
        (5, 4, false),
        (100, 79, true),
        (100, 80, false),
        (10, 11, false),
        (usize::MAX, usize::MAX, false),
    ] {
        assert_eq!(is_much_smaller(before, after), smaller, "{before} to {after}");
    }
    let shrunk = |confirmed: bool, case: Case| {
        case.without(|case| {
            let tag = case.snapshot.tag.clone();
            let set = [member("hello", "2.9"), member("world", "1")];
            let live = Snapshot::compose(id(100), &tag, None, &set, &[], at(0));
            case.snapshot = Snapshot::compose(id(101), &tag, Some(&live), &[], &["world".into()], at(1));
            (case.live, case.promotion.confirmed) = (Some(live), confirmed);
            if case.promotion.course == Course::Forward {
                case.show_all();
            }
        })
    };
    let of_files = || {
        let mut case = Case::testing();
        let brings = Brings { repo: "metadata/demo".into(), commit: "a".repeat(40) };
        (case.promotion.builds, case.promotion.nvrs) = (Vec::new(), Vec::new());
        case.promotion.brings = Some(brings);
        case
    };
    for (case, how) in [
        // Also what the gate has opened by itself, which nobody was asked about.
        (
            Case::good as fn() -> Case,
            "if that is meant: `grange promote --to release hello-2.10-1.el9s --confirm`",
        ),
        (Case::testing, "if that is meant: `grange promote --to testing hello-2.10-1.el9s --confirm`"),
        (of_files, "if that is meant: `grange promote --to testing hello-2.9-1.el9s --confirm`"),
        (Case::back, "if that is meant: ask again with --confirm"),
    ] {
        refused(shrunk(false, case()), &format!("would have 2 packages instead of 4; {how}"));
        approved(shrunk(true, case()));
    }
    // Knowing that it is meant makes up for no result.
    let mut case = Case::good();
    (case.promotion.confirmed, case.results) = (true, Vec::new());
    assert!(matches!(case.decide(), Decision::Missing(_)));
}

#[test]
fn going_back_is_to_what_was_published_and_one_persons_word() {
    assert_eq!(approved(Case::back().decide()).by(), "rex");
    refused(Case::back().without(|case| case.was_published = false), "only what was published before");
    assert_eq!(Case::back().without(|case| case.promotion.approvals.clear()), Decision::NeedsApproval);
    refused(Case::back().without(|case| case.managers.own.clear()), "is not a release manager");
    approved(Case::back().without(|case| case.project.approvers = 2));
    assert_eq!(Case::back().without(|case| case.live = None), Decision::Outdated);
    refused(Case::back().without(|case| case.project.required.clear()), "no test, no promotion");
    // Also testing goes back by somebody's word alone.
    let testing = |case: &mut Case| {
        (case.promotion.to, case.snapshot.tag) = (Stage::Testing, case.project.tag(Stage::Testing));
    };
    approved(Case::back().without(testing));
    let nobodys = Case::back().without(|case| {
        testing(case);
        case.promotion.approvals.clear();
    });
    assert_eq!(nobodys, Decision::NeedsApproval);
    // It was never shown on an architecture that its project has got since.
    let shown_on = |arches: &[Arch]| {
        let arches = arches.to_vec();
        Case::back().without(|case| case.snapshot.arches = arches)
    };
    approved(shown_on(&Arch::ALL));
    refused(shown_on(&[Arch::X86_64]), "was never shown, and never tested, on aarch64");
    // That it was public once lets nothing forward.
    let forward = Case::good().without(|case| (case.was_published, case.results) = (true, Vec::new()));
    assert!(matches!(forward, Decision::Missing(_)), "{forward:?}");
}

#[test]
fn a_waiver_stands_in_for_one_result_and_is_named() {
    let case = Case::waived();
    assert_eq!(approved(case.decide()).waivers(), [case.waivers[0].id]);
    // Also for one that is missing, or could not be run.
    for spoil in [(|case| case.result("runs", Arch::X86_64).verdict = errored()) as fn(&mut Case), |case| {
        case.results.retain(|result| (&*result.suite, result.arch) != ("runs", Arch::X86_64))
    }] {
        assert_eq!(approved(case.clone().without(spoil)).waivers().len(), 1);
    }
    // One that was not needed is not named.
    let unneeded = case.without(|case| case.result("runs", Arch::X86_64).verdict = TestVerdict::Passed);
    assert_eq!(approved(unneeded).waivers(), []);
}

/// Every single thing without which a waiver is worth nothing.
#[test]
fn a_waiver_is_worth_nothing_where_anything_of_it_does_not_fit() {
    type Spoil = fn(&mut Case);
    let spoils: [(&str, Spoil); 9] = [
        ("another suite", |case| case.waivers[0].suite = "installs".into()),
        ("another architecture", |case| case.waivers[0].arch = Some(Arch::Aarch64)),
        ("a suite of another project", |case| case.waivers[0].on = Some(ABOVE.into())),
        ("another content", |case| {
            case.waivers[0].scope = WaiverScope::Content { content: digest("another") };
        }),
        ("a build that is not in it", |case| {
            case.waivers[0].scope = WaiverScope::Build { build: id(777), nvr: "hello-2.10-1.el9s".into() };
        }),
        ("expired at this very moment", |case| case.waivers[0].until = NOW),
        ("taken back", |case| case.waivers[0].revoked = Some(("rex".into(), at(6)))),
        ("its giver is no release manager any more", |case| case.managers.own = names(&["rex"])),
        ("its giver is one of those above only", |case| {
            case.managers.own = names(&["rex"]);
            case.managers.layered.insert(ABOVE.into(), names(&["rita"]));
        }),
    ];
    for (what, spoil) in spoils {
        match Case::waived().without(spoil) {
            Decision::Refused(why) => {
                assert!(why[0].contains("suite runs on x86_64 failed"), "{what}: {why:?}")
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    // It expires between approval and publication as well.
    let case = Case::waived();
    assert!(matches!(case.decide_at(at(1_999)), Decision::Approved(_)));
    refused(case.decide_at(at(2_000)), "suite runs on x86_64 failed");
}

#[test]
fn a_waiver_for_a_build_holds_wherever_the_build_is_and_one_for_all_architectures_on_each() {
    approved(Case::waived().without(|case| {
        let build = member("hello", "2.10").build;
        case.waivers[0].scope = WaiverScope::Build { build, nvr: "hello-2.10-1.el9s".into() };
        let more = [member("hello", "2.10"), member("world", "1")];
        case.snapshot =
            Snapshot::compose(case.snapshot.id, &case.snapshot.tag, case.live.as_ref(), &more, &[], at(1));
        case.show_all();
        case.result("runs", Arch::X86_64).verdict = failed();
    }));
    let both = |case: &mut Case| case.result("runs", Arch::Aarch64).verdict = failed();
    refused(Case::waived().without(both), "suite runs on aarch64 failed");
    approved(Case::waived().without(|case| {
        both(case);
        case.waivers[0].arch = None;
    }));
}

#[test]
fn what_is_layered_on_it_must_not_break() {
    let opens = |case: &mut Case| case.results.iter().position(|result| result.suite == "opens").unwrap();
    let required = Case::layered().required();
    assert_eq!(required.len(), 7, "on the architecture that both have");
    assert_eq!(required[6].phrase(), "suite opens of viewers9s-viewer-3-el9s on x86_64");
    let missing = Case::layered().without(|case| {
        let opens = opens(case);
        case.results.remove(opens);
    });
    assert_eq!(missing, Decision::Missing(vec![required[6].clone()]));
    let fails = |case: &mut Case| {
        let opens = opens(case);
        case.results[opens].verdict = failed();
    };
    refused(Case::layered().without(fails), "suite opens of viewers9s-viewer-3-el9s on x86_64 failed");
    // A result of the repo's own suite of that name is about something else.
    let own = Case::layered().without(|case| {
        let opens = opens(case);
        case.results[opens].on = None;
    });
    assert!(matches!(own, Decision::Missing(_)), "{own:?}");

    // Release managers of the repo's SIG waive it, and those of the SIG above; but not another suite.
    for (by, holds) in [("vera", true), ("rita", true), ("ada", false)] {
        let decision = Case::layered().without(|case| {
            fails(case);
            let on = Some(ABOVE.to_owned());
            case.waivers = Case::waived().waivers;
            (case.waivers[0].suite, case.waivers[0].on, case.waivers[0].by) = ("opens".into(), on, by.into());
        });
        assert_eq!(matches!(decision, Decision::Approved(_)), holds, "{by}: {decision:?}");
    }
    let foreign = Case::layered().without(|case| {
        case.waivers = Case::waived().waivers;
        case.waivers[0].by = "vera".into();
        case.result("runs", Arch::X86_64).verdict = failed();
    });
    refused(foreign, "suite runs on x86_64 failed");
}

#[test]
fn what_was_broken_before_on_what_is_layered_holds_up_nobody() {
    let broken = |before: Option<TestVerdict>, verdict: TestVerdict| {
        Case::layered().without(|case| {
            let opens = case.required()[6].clone();
            let content = case.live.as_ref().unwrap().content.clone();
            case.before = before
                .map(|verdict| TestResult { verdict, at: at(3), ..passed(400, &content, &opens) })
                .into_iter()
                .collect();
            case.results.iter_mut().find(|result| result.suite == "opens").unwrap().verdict = verdict;
        })
    };
    approved(broken(Some(failed()), failed()));
    // What could not be run shows nothing: neither then nor now.
    refused(broken(Some(errored()), failed()), "opens");
    refused(broken(Some(failed()), errored()), "opens");
    refused(broken(Some(TestVerdict::Passed), failed()), "opens");
    refused(broken(None, failed()), "opens");
    // The repo's own suites must pass, whatever was before.
    let own = Case::good().without(|case| {
        let runs = case.required()[4].clone();
        let content = case.live.as_ref().unwrap().content.clone();
        case.before = vec![TestResult { verdict: failed(), ..passed(400, &content, &runs) }];
        case.result("runs", Arch::X86_64).verdict = failed();
    });
    refused(own, "suite runs on x86_64 failed");
    // And the newest word on what was before counts.
    let mended = Case::layered().without(|case| {
        let opens = case.required()[6].clone();
        let content = case.live.as_ref().unwrap().content.clone();
        case.before = vec![
            TestResult { verdict: failed(), at: at(3), ..passed(400, &content, &opens) },
            TestResult { at: at(4), ..passed(401, &content, &opens) },
        ];
        case.results.iter_mut().find(|result| result.suite == "opens").unwrap().verdict = failed();
    });
    refused(mended, "opens");
}

/// The project above has released another one since, say: what it failed with before tells nothing of that.
#[test]
fn what_was_broken_before_beside_something_else_excuses_nothing() {
    let broken_in = |environment: &str| {
        Case::layered().without(|case| {
            let opens = case.required()[6].clone();
            let content = case.live.as_ref().unwrap().content.clone();
            let before = TestResult { verdict: failed(), at: at(3), ..passed(400, &content, &opens) };
            case.before = vec![TestResult { environment: digest(environment), ..before }];
            case.results.iter_mut().find(|result| result.suite == "opens").unwrap().verdict = failed();
        })
    };
    approved(broken_in("environment"));
    refused(broken_in("before the release above"), "opens");
}

/// An architecture that its project has got since it was composed would have a folder that nobody has tested.
#[test]
fn what_lacks_a_new_architecture_is_composed_again() {
    let shown_on = |arches: &'static [Arch]| Case::spoilt(|case| case.snapshot.arches = arches.to_vec());
    approved(shown_on(&Arch::ALL));
    assert_eq!(shown_on(&[Arch::X86_64]), Decision::Outdated);
}

/// A second promotion to the same content would be compared with that content, and nothing is broken by no change.
#[test]
fn what_a_change_breaks_is_asked_of_the_change_of_what_is_live() {
    let against = |content: Option<Digest>| {
        Case::spoilt(|case| {
            let newer = TestResult {
                job: id(900),
                at: at(20),
                against: content,
                ..case.result(CLOSURE, Arch::X86_64).clone()
            };
            case.result(CLOSURE, Arch::X86_64).verdict = failed();
            case.results.push(newer);
        })
    };
    let content = Case::good().snapshot.content;
    refused(against(Some(content)), "suite repoclosure on x86_64 failed");
    refused(against(None), "suite repoclosure on x86_64 failed");
    approved(against(Case::good().live.map(|live| live.content)));
    // Nothing else is known of it: it is compared with what is live, and asked again.
    let elsewhere = Case::spoilt(|case| {
        case.result(CLOSURE, Arch::X86_64).against = Some(digest("what was live before"))
    });
    assert_eq!(elsewhere, Decision::Outdated);
}

/// Whatever a test runs in besides what it is about: another image, another snapshot of a layer, another repo outside.
#[test]
fn an_environment_is_the_image_and_every_layer() {
    let snapshot = |number: u64| RepoSource {
        name: format!("layer {number}"),
        priority: 10,
        origin: RepoOrigin::Snapshot { id: id(number) },
    };
    let outside = |url: &str| RepoSource {
        name: "outside".into(),
        priority: 15,
        origin: RepoOrigin::External { baseurl: url.into() },
    };
    let layers = [snapshot(1), outside("http://one/")];
    let known = environment("image", &layers);
    let under_test = RepoSource { name: UNDER_TEST.into(), ..snapshot(9) };
    let with_it = [under_test, layers[0].clone(), layers[1].clone()];
    assert_eq!(environment("image", &with_it), known, "what is under test is no part of it");
    let outside_of_its_name = RepoSource { name: UNDER_TEST.into(), ..outside("http://three/") };
    let with_both = [with_it.as_slice(), std::slice::from_ref(&outside_of_its_name)].concat();
    assert_ne!(environment("image", &with_both), known, "a repo outside is part of it, whatever its name");
    let about = |repos: &[RepoSource]| farm::gate::under_test(repos);
    assert_eq!((about(&with_it), about(&layers)), (Some(id(9)), None));
    assert_eq!(
        (about(&with_both), about(&[outside_of_its_name])),
        (None, None),
        "nobody can tell what it was"
    );
    for (image, layers) in [
        ("another", layers.clone()),
        ("image", [snapshot(2), layers[1].clone()]),
        ("image", [layers[0].clone(), outside("http://two/")]),
        ("image", [layers[1].clone(), layers[0].clone()]),
    ] {
        assert_ne!(environment(image, &layers), known, "{image} {layers:?}");
    }
}

#[test]
fn a_layer_above_that_moved_is_tested_with_again() {
    let moved = Case::layered().without(|case| {
        let place = (Some(ABOVE.to_owned()), Arch::X86_64);
        case.environments.insert(place, digest("viewer released something"));
    });
    assert_eq!(moved, Decision::Outdated);
}

//! The gate: a question to which it says yes, and every single thing that makes it say no.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sample;

use std::collections::BTreeMap;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::gate::{Decision, Question, Requirement, TestResult, TestVerdict, decide, requirements};
use farm::ids::SnapshotId;
use farm::sig::{Project, Stage};
use farm::snapshot::Snapshot;
use sample::{at, digest, id, member, project};

/// Everything the gate looks at, owned, so that a test can spoil one thing.
#[derive(Clone)]
struct Case {
    project: Project,
    stage: Stage,
    snapshot: Snapshot,
    live: Option<SnapshotId>,
    results: Vec<TestResult>,
    suites: BTreeMap<String, Digest>,
    environments: BTreeMap<Arch, Digest>,
    approver: Option<&'static str>,
    approver_may: bool,
}

impl Case {
    /// A release with every result and a release manager's word.
    fn good() -> Case {
        let project = project();
        let base =
            Snapshot::compose(id(100), &project.tag(Stage::Release), None, &[member("hello", "2.9")], at(0));
        let snapshot = Snapshot::compose(
            id(101),
            &project.tag(Stage::Release),
            Some(&base),
            &[member("hello", "2.10")],
            at(1),
        );
        let results = requirements(&project)
            .into_iter()
            .enumerate()
            .map(|(index, requirement)| TestResult {
                job: id(200 + u64::try_from(index).unwrap()),
                content: snapshot.content.clone(),
                suite: requirement.suite,
                arch: requirement.arch,
                version: digest("suite"),
                environment: digest("environment"),
                verdict: TestVerdict::Passed,
                at: at(10),
            })
            .collect();
        Case {
            suites: project.required.iter().map(|suite| (suite.clone(), digest("suite"))).collect(),
            environments: project.arches.iter().map(|arch| (*arch, digest("environment"))).collect(),
            live: Some(base.id),
            stage: Stage::Release,
            snapshot,
            results,
            approver: Some("rex"),
            approver_may: true,
            project,
        }
    }

    fn decide(&self) -> Decision {
        decide(&Question {
            project: &self.project,
            stage: self.stage,
            snapshot: &self.snapshot,
            live: self.live,
            results: &self.results,
            suites: &self.suites,
            environments: &self.environments,
            approver: self.approver,
            approver_may: self.approver_may,
        })
    }

    fn spoilt(spoil: impl FnOnce(&mut Case)) -> Decision {
        let mut case = Case::good();
        spoil(&mut case);
        case.decide()
    }

    fn testing() -> Case {
        let mut case = Case::good();
        case.stage = Stage::Testing;
        case.snapshot.tag = case.project.tag(Stage::Testing);
        (case.approver, case.approver_may) = (None, false);
        case
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

#[test]
fn with_every_result_and_a_release_managers_word_it_says_yes() {
    let case = Case::good();
    let Decision::Approved(approved) = case.decide() else { panic!("{:?}", case.decide()) };
    assert_eq!(approved.tag(), "demo9s-hello-2-release");
    assert_eq!(approved.snapshot(), case.snapshot.id);
    assert_eq!(approved.base(), case.live);
    assert_eq!(approved.by(), "rex");
}

#[test]
fn testing_needs_results_alone() {
    let Decision::Approved(approved) = Case::testing().decide() else { panic!() };
    assert_eq!((approved.tag(), approved.by()), ("demo9s-hello-2-testing", "gate"));
}

#[test]
fn every_suite_must_have_run_on_every_architecture() {
    let all = requirements(&project());
    assert_eq!(all.len(), 4);
    for (index, requirement) in all.iter().enumerate() {
        let decision = Case::spoilt(|case| drop(case.results.remove(index)));
        assert_eq!(decision, Decision::Missing(vec![requirement.clone()]));
    }
    assert_eq!(Case::spoilt(|case| case.results.clear()), Decision::Missing(all));
}

#[test]
fn one_bad_result_is_enough() {
    for index in 0..4 {
        refused(Case::spoilt(|case| case.results[index].verdict = failed()), "failed on");
        refused(Case::spoilt(|case| case.results[index].verdict = errored()), "could not be run on");
    }
    // What speaks against it is said even while other results are missing.
    refused(
        Case::spoilt(|case| {
            case.results.truncate(1);
            case.results[0].verdict = failed();
        }),
        "suite installs failed on x86_64: greeting is wrong",
    );
}

#[test]
fn a_result_counts_for_its_own_suite_architecture_and_content_only() {
    let missing = |suite: &str, arch| Decision::Missing(vec![Requirement { suite: suite.into(), arch }]);
    assert_eq!(Case::spoilt(|case| case.results[0].arch = Arch::Ppc64le), missing("installs", Arch::X86_64));
    assert_eq!(
        Case::spoilt(|case| case.results[0].suite = "other".into()),
        missing("installs", Arch::X86_64)
    );
    assert_eq!(
        Case::spoilt(|case| case.results[0].content = digest("the same NVRs, built again")),
        missing("installs", Arch::X86_64)
    );
    // A suite nobody asked for has no say.
    assert!(matches!(
        Case::spoilt(|case| {
            let mut extra = case.results[0].clone();
            (extra.suite, extra.verdict) = ("experimental".into(), failed());
            case.results.push(extra);
        }),
        Decision::Approved(_)
    ));
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
    refused(Case::spoilt(|case| case.project.arches.clear()), "requires no suite");
    let mut testing = Case::testing();
    testing.project.required.clear();
    refused(testing.decide(), "no test, no promotion");
}

#[test]
fn a_snapshot_goes_where_it_was_composed_for() {
    refused(Case::spoilt(|case| case.stage = Stage::Testing), "not for demo9s-hello-2-testing");
    refused(
        Case::spoilt(|case| case.snapshot.tag = "other9s-hello-2-release".into()),
        "the snapshot was composed for other9s-hello-2-release",
    );
}

#[test]
fn candidate_is_never_published() {
    let decision = Case::spoilt(|case| {
        case.stage = Stage::Candidate;
        case.snapshot.tag = case.project.tag(Stage::Candidate);
    });
    refused(decision, "candidate repos are not published");
}

#[test]
fn what_the_repo_has_moved_on_from_is_composed_again() {
    assert_eq!(Case::spoilt(|case| case.live = Some(id(999))), Decision::Outdated);
    assert_eq!(Case::spoilt(|case| case.live = None), Decision::Outdated);
    assert_eq!(Case::spoilt(|case| case.snapshot.base = None), Decision::Outdated);
    let first = Case::spoilt(|case| (case.live, case.snapshot.base) = (None, None));
    assert!(matches!(first, Decision::Approved(_)), "the first content of a repo has no base: {first:?}");
}

#[test]
fn production_needs_a_release_managers_word() {
    assert_eq!(Case::spoilt(|case| case.approver = None), Decision::NeedsApproval);
    assert_eq!(
        Case::spoilt(|case| (case.approver, case.approver_may) = (None, true)),
        Decision::NeedsApproval
    );
    refused(
        Case::spoilt(|case| case.approver_may = false),
        "rex approved it but is not a release manager of SIG demo",
    );
    // The word makes up for nothing else.
    refused(Case::spoilt(|case| case.results[0].verdict = failed()), "failed on");
    assert!(matches!(Case::spoilt(|case| case.results.clear()), Decision::Missing(_)));
}

#[test]
fn a_result_counts_for_its_version_of_the_suite_and_in_its_environment_only() {
    let other_suite = Case::spoilt(|case| {
        case.suites.insert(case.project.required[0].clone(), digest("a mended suite"));
    });
    assert!(matches!(other_suite, Decision::Missing(_)), "{other_suite:?}");
    let unknown_suite = Case::spoilt(|case| case.suites.clear());
    assert!(matches!(unknown_suite, Decision::Missing(_)), "{unknown_suite:?}");
    let moved_layer = Case::spoilt(|case| {
        case.environments.values_mut().for_each(|environment| *environment = digest("a layer moved"));
    });
    assert_eq!(moved_layer, Decision::Outdated);
    let tested_again = Case::spoilt(|case| {
        case.environments.values_mut().for_each(|environment| *environment = digest("a layer moved"));
        for mut result in case.results.clone() {
            (result.environment, result.at) = (digest("a layer moved"), at(20));
            case.results.push(result);
        }
    });
    assert!(matches!(tested_again, Decision::Approved(_)), "{tested_again:?}");
}

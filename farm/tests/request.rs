//! Requests: what is to be done next, in tables, and where a source builds.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sample;

use farm::arch::Arch;
use farm::gate::Requirement;
use farm::ids::{JobId, Minter};
use farm::job::{Class, Job, JobKind, JobState};
use farm::outcome::Outcome;
use farm::recipe::{Input, Work};
use farm::request::{
    Closed, Next, Planner, Request, RequestKind, Source, SourceArches, Status, Verdict, build_arches, next,
    status,
};
use sample::{at, digest, id, job, project};

fn request(kind: RequestKind) -> Request {
    Request {
        id: id(9_000),
        kind,
        sig: "demo".into(),
        target: "demo9s-hello-2-el9s".into(),
        package: "hello".into(),
        by: "ada".into(),
        source: Source::Snapshot,
        created: at(0),
        retry_of: None,
        closed: None,
        chain: None,
    }
}

fn push() -> Request {
    request(RequestKind::Push { branch: "c9s-sig-demo-hello".into() })
}

fn scratch() -> Request {
    request(RequestKind::Scratch { expires: at(1_000) })
}

fn test() -> Request {
    request(RequestKind::Test { promotion: id(1), snapshot: id(2) })
}

fn in_state(number: u64, kind: JobKind, state: JobState) -> Job {
    Job { state, ..job(number, kind, Arch::X86_64) }
}

fn waiting(number: u64) -> Job {
    job(number, JobKind::Build, Arch::X86_64)
}

fn offered(number: u64) -> Job {
    let state = JobState::Offered { builder: "b".into(), ticket: digest("t"), until: at(9) };
    in_state(number, JobKind::Build, state)
}

fn building(number: u64) -> Job {
    let state = JobState::Building {
        builder: "b".into(),
        token: digest("t"),
        started: at(1),
        lease: at(9),
        born: ::farm::stamp::Stamp::ZERO,
    };
    in_state(number, JobKind::Build, state)
}

fn stopping(number: u64) -> Job {
    let state = JobState::Stopping {
        builder: "b".into(),
        token: digest("t"),
        started: at(1),
        until: at(9),
        by: "ada".into(),
    };
    in_state(number, JobKind::Build, state)
}

fn done_as(number: u64, kind: JobKind, moment: i64, outcome: Outcome) -> Job {
    in_state(number, kind, JobState::Done { at: at(moment), started: None, builder: None, outcome })
}

fn done(number: u64, moment: i64, outcome: Outcome) -> Job {
    done_as(number, JobKind::Build, moment, outcome)
}

fn passed(number: u64) -> Job {
    done(number, 5, Outcome::Passed)
}

fn srpm() -> Job {
    done_as(1, JobKind::Srpm, 3, Outcome::Passed)
}

fn broken(reason: &str) -> Outcome {
    Outcome::FailedByPackage { reason: reason.into() }
}

fn cancelled(by: &str) -> Outcome {
    Outcome::Cancelled { by: by.into() }
}

fn failed(reason: &str) -> Next {
    Next::Close(Verdict::Failed { reason: reason.into() })
}

fn jobs(numbers: &[u64]) -> Next {
    Next::CancelJobs(numbers.iter().map(|number| id::<JobId>(*number)).collect())
}

#[test]
fn a_build_walks_from_source_to_import() {
    let table: [(&str, Vec<Job>, Next); 9] = [
        ("an uploaded source RPM needs no job to be made", vec![], Next::PlanBuilds),
        ("the source RPM waits", vec![job(1, JobKind::Srpm, Arch::X86_64)], Next::Wait),
        ("the source RPM is there", vec![srpm()], Next::PlanBuilds),
        ("builds wait", vec![srpm(), waiting(2), waiting(3)], Next::Wait),
        ("one is offered", vec![srpm(), offered(2), waiting(3)], Next::Wait),
        ("one is at work", vec![srpm(), building(2), waiting(3)], Next::Wait),
        ("one is done", vec![srpm(), passed(2), building(3)], Next::Wait),
        ("all are done", vec![srpm(), passed(2), passed(3)], Next::Import),
        (
            "the source RPM cannot be made",
            vec![done_as(1, JobKind::Srpm, 3, broken("no Version"))],
            failed("srpm on x86_64: no Version"),
        ),
    ];
    for (what, jobs, expected) in table {
        assert_eq!(next(&push(), &jobs), expected, "{what}");
        assert_eq!(next(&request(RequestKind::Build), &jobs), expected, "{what}");
        let scratched =
            if expected == Next::Import { Next::Close(Verdict::Complete { build: None }) } else { expected };
        assert_eq!(next(&scratch(), &jobs), scratched, "{what}, scratch");
    }
}

#[test]
fn one_failure_stops_the_others_and_then_closes() {
    let bad = || done(2, 5, broken("%check"));
    let table: [(&str, Vec<Job>, Next); 6] = [
        ("the others go on", vec![srpm(), bad(), waiting(3), offered(4), building(5)], jobs(&[3, 4, 5])),
        ("one is being stopped already", vec![srpm(), bad(), stopping(3), building(4)], jobs(&[4])),
        ("all are being stopped", vec![srpm(), bad(), stopping(3)], Next::Wait),
        (
            "all are over",
            vec![srpm(), bad(), done(3, 6, cancelled("build failed"))],
            failed("build on x86_64: %check"),
        ),
        ("the rest had passed", vec![srpm(), passed(3), bad()], failed("build on x86_64: %check")),
        (
            "the farm is to blame, and says so",
            vec![srpm(), done(2, 5, Outcome::Lost { tries: 3 })],
            failed("build on x86_64: lost: 3 builders started it and none came back"),
        ),
    ];
    for (what, jobs, expected) in table {
        for request in [push(), request(RequestKind::Build), scratch()] {
            assert_eq!(next(&request, &jobs), expected, "{what}");
        }
    }
}

#[test]
fn the_failure_that_is_shown_is_the_first_that_was_no_consequence() {
    let consequence = || done(2, 1, cancelled("build failed"));
    assert_eq!(
        next(&push(), &[srpm(), consequence(), done(3, 7, broken("late")), done(4, 6, broken("early"))]),
        failed("build on x86_64: early")
    );
    // In the same millisecond the order of ids decides, whatever the order they are read in.
    for order in [[3, 4], [4, 3]] {
        let jobs = order.map(|number| done(number, 6, broken(&format!("job {number}"))));
        assert_eq!(next(&push(), &jobs), failed("build on x86_64: job 3"));
    }
}

#[test]
fn what_a_person_stopped_is_cancelled() {
    for request in [push(), scratch(), test()] {
        let over = next(&request, &[srpm(), done(2, 5, cancelled("ada")), done(3, 6, cancelled("ada"))]);
        assert_eq!(over, Next::Close(Verdict::Cancelled { by: "ada".into() }));
    }
}

#[test]
fn every_suite_runs_to_its_end() {
    let suite =
        |number, outcome| done_as(number, JobKind::Test { suite: "runs".into(), on: None }, 5, outcome);
    assert_eq!(next(&test(), &[suite(1, broken("greeting is wrong")), building(2)]), Next::Wait);
    assert_eq!(next(&test(), &[suite(1, broken("greeting is wrong")), waiting(2), stopping(3)]), Next::Wait);
    assert_eq!(
        next(&test(), &[suite(1, broken("greeting is wrong")), suite(2, Outcome::Passed)]),
        failed("test runs on x86_64: greeting is wrong")
    );
    assert_eq!(
        next(&test(), &[suite(1, Outcome::Passed), suite(2, Outcome::Passed)]),
        Next::Close(Verdict::Complete { build: None })
    );
}

/// Of whatever jobs: nothing is imported or complete unless every job has passed, and what is unsettled is never closed.
#[test]
fn nothing_is_imported_unless_everything_passed() {
    let makers: [fn(u64) -> Job; 9] = [
        |_| srpm(),
        passed,
        waiting,
        offered,
        building,
        stopping,
        |number| done(number, 5, broken("x")),
        |number| done(number, 5, cancelled("ada")),
        |number| done(number, 5, Outcome::FailedByFarm { reason: "disk".into() }),
    ];
    for first in makers {
        for second in makers {
            for third in makers {
                let jobs = [first(2), second(3), third(4)];
                let all_passed = jobs.iter().all(Job::passed);
                let all_over = jobs.iter().all(|job| job.outcome().is_some());
                for request in [push(), request(RequestKind::Build), scratch(), test()] {
                    match next(&request, &jobs) {
                        Next::Import | Next::PlanBuilds | Next::Close(Verdict::Complete { .. }) => {
                            assert!(all_passed)
                        }
                        Next::Close(Verdict::Failed { .. } | Verdict::Cancelled { .. }) => {
                            assert!(all_over && !all_passed);
                        }
                        Next::Wait => assert!(!all_over),
                        Next::CancelJobs(some) => {
                            assert!(!some.is_empty());
                            for id in some {
                                let job = jobs.iter().find(|job| job.id == id).unwrap();
                                assert!(matches!(job.phase(), "waiting" | "offered" | "building"));
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn status_is_computed_from_the_jobs() {
    let table: [(Vec<Job>, Status); 9] = [
        (vec![], Status::Queued),
        (vec![waiting(1)], Status::Queued),
        (vec![offered(1), waiting(2)], Status::Queued),
        (vec![building(1)], Status::Running),
        (vec![srpm(), waiting(2)], Status::Running),
        (vec![srpm(), passed(2)], Status::Running),
        (vec![stopping(1)], Status::Running),
        (vec![done(1, 5, broken("x")), building(2)], Status::Failing),
        (vec![done(1, 5, cancelled("ada")), stopping(2)], Status::Failing),
    ];
    for (jobs, expected) in &table {
        assert_eq!(status(&push(), jobs), *expected, "{jobs:?}");
        for (verdict, closed) in [
            (Verdict::Complete { build: None }, Status::Complete),
            (Verdict::Failed { reason: "x".into() }, Status::Failed),
            (Verdict::Cancelled { by: "ada".into() }, Status::Cancelled),
        ] {
            let over = Request { closed: Some(Closed { at: at(9), verdict }), ..push() };
            assert_eq!(status(&over, jobs), closed, "a closed request is what it was closed as");
            assert!(closed.is_final() && !expected.is_final());
        }
    }
}

#[test]
fn a_source_builds_where_target_and_spec_agree() {
    let both = [Arch::X86_64, Arch::Aarch64];
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let source = |exclusive: &[&str], excluded: &[&str], noarch| SourceArches {
        exclusive: set(exclusive),
        excluded: set(excluded),
        noarch,
    };
    let table: [(SourceArches, &[Arch]); 9] = [
        (source(&[], &[], false), &both),
        (source(&["x86_64", "ppc64le"], &[], false), &[Arch::X86_64]),
        (source(&[], &["x86_64"], false), &[Arch::Aarch64]),
        (source(&["x86_64", "aarch64"], &["x86_64"], false), &[Arch::Aarch64]),
        (source(&[], &[], true), &[Arch::X86_64]),
        (source(&[], &["x86_64"], true), &[Arch::Aarch64]),
        (source(&["aarch64"], &[], true), &[Arch::Aarch64]),
        (source(&["aarch64", "noarch"], &[], true), &[Arch::X86_64]),
        (source(&["noarch"], &[], true), &[Arch::X86_64]),
    ];
    for (source, expected) in table {
        assert_eq!(build_arches(&both, &source).unwrap(), expected, "{source:?}");
    }
    let said = build_arches(&both, &source(&["s390x"], &["ppc64le"], false)).unwrap_err();
    assert!(
        said.contains("x86_64 aarch64") && said.contains("[s390x]") && said.contains("[ppc64le]"),
        "{said}"
    );
    assert!(build_arches(&both, &source(&["noarch"], &[], false)).is_err());
    assert!(build_arches(&[], &source(&[], &[], false)).is_err());
}

#[test]
fn planned_jobs_carry_what_the_project_says() {
    let project = project();
    let mut minter = Minter::new(1);
    let mut planner = Planner { minter: &mut minter, now: at(7), request: id(9_000), class: Class::Release };
    let input = |name: &str| Input { name: name.into(), digest: digest(name), size: 1 };
    let mut all = planner.builds(&project, &input("hello.src.rpm"), &project.arches, &[]);
    let sources = vec![input("hello.tar.gz")];
    all.push(planner.srpm(&project, Arch::X86_64, input("tree.tar"), "hello.spec".into(), sources));
    let runs = Requirement { suite: "runs".into(), arch: Arch::Aarch64, on: None };
    all.push(planner.test(&project, &runs, None, vec!["hello-2.10-1.x86_64".into()], vec![]));
    assert_eq!(
        all.iter().map(|job| job.arch).collect::<Vec<_>>(),
        [Arch::X86_64, Arch::Aarch64, Arch::X86_64, Arch::Aarch64]
    );
    assert_eq!(
        all.iter().map(|job| job.kind.label()).collect::<Vec<_>>(),
        ["build", "build", "srpm", "test runs"]
    );
    let mut ids: Vec<JobId> = all.iter().map(|job| job.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    for job in &all {
        assert_eq!((job.request, job.class, job.created), (id(9_000), Class::Release, at(7)));
        assert_eq!((job.turn, job.tries, job.phase()), (0, 0, "waiting"));
        assert_eq!(job.recipe.arch, job.arch);
        assert_eq!(job.recipe.image, project.image_for(job.arch));
        assert_eq!(job.recipe.macros["dist"], ".el9s");
    }
    assert_eq!(all[2].recipe.work.inputs().len(), 2);
    assert!(matches!(&all[3].recipe.work, Work::Test { suite, .. } if suite == "runs"));
}

#[test]
fn only_builds_that_are_no_scratch_builds_may_have_a_ccache() {
    let without = project();
    let with = farm::sig::Project { ccache_mb: 512, ..project() };
    let input = |name: &str| Input { name: name.into(), digest: digest(name), size: 1 };
    for class in [Class::Release, Class::Push, Class::Scratch, Class::Nightly] {
        let mut minter = Minter::new(1);
        let mut planner = Planner { minter: &mut minter, now: at(7), request: id(9_000), class };
        let allowed = if class == Class::Scratch { 0 } else { 512 };
        for (project, builds) in [(&with, allowed), (&without, 0)] {
            let srpm =
                planner.srpm(project, Arch::X86_64, input("tree.tar"), "hello.spec".into(), Vec::new());
            assert_eq!(srpm.recipe.sharing.unwrap().ccache_mb, 0, "{class:?}: it compiles nothing");
            for mut job in planner.builds(project, &input("hello.src.rpm"), &project.arches, &[]) {
                assert_eq!(job.recipe.ccache_mb(), builds, "{class:?}");
                // Whatever a recipe says, a builder holds to this.
                let sharing = job.recipe.sharing.as_mut().unwrap();
                (sharing.ccache_mb, sharing.scratch) = (512, true);
                assert_eq!(job.recipe.ccache_mb(), 0);
                job.recipe.sharing = None;
                assert_eq!(job.recipe.ccache_mb(), 0);
            }
        }
    }
}

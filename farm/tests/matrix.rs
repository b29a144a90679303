//! The grid of what works on what.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeMap;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::gate::{CLOSURE, ReleaseManagers, TestResult, TestVerdict, Waiver, WaiverScope};
use farm::ids::{Id, Minter};
use farm::matrix::{Cell, Facts, Matrix, grid};
use farm::recheck::{Cause, LayerVersion, Red, Surroundings, WHOLE, standing};
use farm::sig::template;
use farm::sig::{Project, Stage};
use farm::snapshot::Snapshot;
use farm::stamp::Stamp;

fn at(millis: i64) -> Stamp {
    Stamp::from_millis(millis)
}

fn id<T: Id>(number: u64) -> T {
    Minter::new(number).mint(at(0))
}

fn project() -> Project {
    let text = r#"
name = "above"
[[project]]
name = "moon"
release = "1"
dist = "9s"
arches = ["x86_64", "s390x"]
packages = ["moon"]
image = "image"
[project.tests]
required = ["installs", "runs"]
"#;
    template::parse("above.toml", text).unwrap().projects.remove(0)
}

fn environment(revision: i64, arch: Arch) -> Digest {
    Digest::of(format!("{revision} {arch}").as_bytes())
}

fn result(number: u64, suite: &str, arch: Arch, revision: i64, verdict: TestVerdict) -> TestResult {
    TestResult {
        job: id(number),
        content: live().content,
        suite: suite.to_owned(),
        arch,
        on: None,
        version: Digest::of(suite.as_bytes()),
        environment: environment(revision, arch),
        against: None,
        verdict,
        at: at(i64::try_from(number).unwrap()),
    }
}

fn live() -> Snapshot {
    Snapshot::compose(id(1), "above9s-moon-1-release", None, &[], &[], at(0))
}

fn shown(results: &[TestResult], running: bool, waivers: &[Waiver]) -> Matrix {
    let (project, snapshot) = (project(), live());
    let mut surroundings = BTreeMap::new();
    for revision in [2, 1] {
        for arch in [Arch::X86_64, Arch::S390x] {
            let layers = vec![LayerVersion::tag("a9s-b-1-release", revision)];
            let around = Surroundings { image: "image".to_owned(), layers };
            surroundings.insert(environment(revision, arch), (around, at(revision)));
        }
    }
    let present = [Arch::X86_64, Arch::S390x].map(|arch| (arch, environment(2, arch))).into();
    let managers = ReleaseManagers { own: ["rex".to_owned()].into(), ..ReleaseManagers::default() };
    let facts = Facts {
        project: &project,
        live: Some(&snapshot),
        results,
        surroundings: &surroundings,
        present: &present,
        running: running.then(|| id(9)),
        waivers,
        managers: &managers,
        now: at(1_000),
    };
    grid("above", "moon", Stage::Release, &[facts])
}

#[test]
fn rows_are_targets_and_architectures_and_the_newest_layers_are_on_the_right() {
    let failed = || TestVerdict::Failed { reason: "exit code 3".to_owned() };
    let passed = || TestVerdict::Passed;
    let mut results = vec![
        result(1, CLOSURE, Arch::X86_64, 1, passed()),
        result(2, "installs", Arch::X86_64, 1, passed()),
        result(3, "runs", Arch::X86_64, 1, failed()),
        result(4, "runs", Arch::X86_64, 1, passed()),
        result(5, "installs", Arch::X86_64, 2, passed()),
        result(6, "runs", Arch::X86_64, 2, failed()),
        result(7, "installs", Arch::S390x, 2, passed()),
    ];
    let view = shown(&results, false, &[]);
    let layers: Vec<_> = view.columns.iter().map(|column| column.layers.join(" ")).collect();
    assert_eq!(layers, ["a9s-b-1-release@r1", "a9s-b-1-release@r2"], "both architectures share them");
    assert_eq!(view.rows.iter().map(|row| row.arch).collect::<Vec<_>>(), project().arches);
    let of = |view: &Matrix, arch| view.rows.iter().find(|row| row.arch == arch).unwrap().cells.clone();
    let broken = Cell::Failed { suites: [("runs".to_owned(), "exit code 3".to_owned())].into() };
    assert_eq!(of(&view, Arch::X86_64), [Some(Cell::Passed), Some(broken)]);
    let partly = Cell::NotRun { suites: vec!["runs".to_owned()] };
    assert_eq!(of(&view, Arch::S390x), [None, Some(partly)], "it was never on the older ones");

    let view = shown(&results, true, &[]);
    assert_eq!(of(&view, Arch::X86_64), [Some(Cell::Passed), Some(Cell::Running { request: id(9) })]);

    let waiver = Waiver {
        id: id(1),
        target: project().target(),
        suite: "runs".to_owned(),
        arch: None,
        on: None,
        scope: WaiverScope::Content { content: live().content },
        by: "rex".to_owned(),
        reason: "known".to_owned(),
        made: at(0),
        until: at(2_000),
        revoked: None,
    };
    let view = shown(&results, false, std::slice::from_ref(&waiver));
    assert_eq!(of(&view, Arch::X86_64)[1], Some(Cell::Waived { suites: vec!["runs".to_owned()] }));
    // What the hub itself found to be broken is not covered by that word.
    results.push(result(8, WHOLE, Arch::X86_64, 2, TestVerdict::Errored { reason: "away".to_owned() }));
    let view = shown(&results, false, &[waiver]);
    let broken = Cell::Failed { suites: [(WHOLE.to_owned(), "away".to_owned())].into() };
    assert_eq!(of(&view, Arch::X86_64)[1], Some(broken));
}

/// What `grange why TAG` says of a repo that nobody has to look at: no more than what is known.
#[test]
fn how_a_repo_stands_is_said_as_it_is() {
    let tag = "above9s-moon-1-release";
    let (project, live) = (project(), live());
    let says = |results: &[TestResult], waived: &[Red]| standing(tag, &project, Some(&live), results, waived);
    assert_eq!(standing(tag, &project, None, &[], &[]), format!("{tag} shows nothing yet"));
    let lax = Project { required: Vec::new(), ..project.clone() };
    let said = standing(tag, &lax, Some(&live), &[], &[]);
    assert_eq!(said, format!("{tag} shows what it shows untested: its project requires no suite"));

    let passed = |number, suite, arch| result(number, suite, arch, 1, TestVerdict::Passed);
    let mut results = vec![
        passed(1, "installs", Arch::X86_64),
        passed(2, "installs", Arch::S390x),
        passed(3, "runs", Arch::X86_64),
    ];
    let begin = format!(
        "{tag} has not passed all of its tests; what is missing is waived, or was when it was published: "
    );
    assert_eq!(says(&results, &[]), format!("{begin}suite runs was not run on s390x"));
    results.push(passed(4, "runs", Arch::S390x));
    assert_eq!(says(&results, &[]), format!("{tag} passed its tests on what is below it"));
    let failed = TestVerdict::Failed { reason: "exit code 3".to_owned() };
    results.push(result(5, "runs", Arch::S390x, 1, failed));
    assert_eq!(says(&results, &[]), format!("{begin}suite runs failed on s390x: exit code 3"));
    // What the last recheck found is said once, with what it came from.
    let red = Red {
        suite: "runs".to_owned(),
        arch: Arch::S390x,
        failed: true,
        reason: "exit code 3".to_owned(),
        since: vec![Cause::Nightly],
        at: at(5),
        request: None,
    };
    let said = says(&results, &[red]);
    assert_eq!(said, format!("{begin}suite runs fails on s390x since nightly: exit code 3"));
}

//! When what is live is tested again, and what is said to be the cause.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeMap;
use std::time::Duration;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::gate::{TestResult, TestVerdict};
use farm::ids::{Id, Minter};
use farm::recheck::{
    Cause, Ground, LayerVersion, Look, Rules, Surroundings, WHOLE, Watch, causes, phrase, promoted_on, reds,
};
use farm::stamp::Stamp;

const BELOW: &str = "cloud9s-openstack-epoxy-release";
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn at(millis: i64) -> Stamp {
    // Noon of a day.
    Stamp::from_millis(1_800_014_400_000 + millis)
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn baseos(state: &str) -> LayerVersion {
    LayerVersion::outside("baseos", Some(&[digest(state)]))
}

/// On BELOW at a revision, and an outside repo in some state.
fn ground(revision: i64, outside: LayerVersion) -> Ground {
    Ground {
        content: digest("content"),
        around: Surroundings {
            image: "image".to_owned(),
            layers: vec![LayerVersion::tag(BELOW, revision), outside],
        },
        suites: [("runs".to_owned(), digest("runs 1"))].into(),
    }
}

fn rules() -> Rules {
    Rules { wait: Duration::from_secs(60), night: None }
}

fn watch(tested: &Ground) -> Watch {
    Watch::first("storage9s-gluster-11-release", tested.clone(), tested, at(0))
}

#[test]
fn every_cause_is_named_with_what_was_and_what_is() {
    let before = ground(3, baseos("a"));
    assert_eq!(causes(Some(&before), &before, false), []);
    assert_eq!(causes(None, &before, false), [], "its own promotion has tested what was never looked at");
    let mut now = ground(4, baseos("b"));
    now.around.image = "newer".to_owned();
    now.suites.insert("runs".to_owned(), digest("runs 2"));
    now.suites.insert("stays".to_owned(), digest("stays 1"));
    let found = causes(Some(&before), &now, true);
    let layer = BELOW.to_owned();
    let version = |state: &str| baseos(state).version.unwrap();
    assert_eq!(
        found,
        [
            Cause::ImageChanged { from: "image".to_owned(), to: "newer".to_owned() },
            Cause::LayerMoved { layer, from: Some("r3".to_owned()), to: Some("r4".to_owned()) },
            Cause::OutsideChanged { name: "baseos".to_owned(), from: version("a"), to: version("b") },
            Cause::SuiteChanged { suite: "runs".to_owned() },
            Cause::SuiteChanged { suite: "stays".to_owned() },
            Cause::Nightly,
        ]
    );
    assert_eq!(version("a"), digest("a").as_str()[..8]);
    assert!(phrase(&found).contains("cloud9s-openstack-epoxy-release@r4, baseos@"), "{}", phrase(&found));
    assert_eq!(found.iter().filter(|cause| cause.needs_all()).count(), 2);
}

#[test]
fn a_layer_that_comes_or_goes_is_a_cause_and_one_that_was_never_seen_is_none() {
    let unseen = ground(3, LayerVersion::outside("baseos", None));
    assert_eq!(causes(Some(&unseen), &ground(3, baseos("a")), false), []);
    assert_eq!(causes(Some(&ground(3, baseos("a"))), &unseen, false), []);
    let mut less = ground(3, baseos("a"));
    less.around.layers.remove(0);
    let [gone] = &*causes(Some(&ground(3, baseos("a"))), &less, false) else { panic!("one") };
    assert_eq!(gone.phrase(), format!("{BELOW} is no layer any more"));
    let [new] = &*causes(Some(&less), &ground(3, baseos("a")), false) else { panic!("one") };
    assert_eq!(new.phrase(), format!("{BELOW}@r3"));
}

#[test]
fn several_architectures_of_one_repo_are_one_version() {
    let both = |one: &str, other: &str| LayerVersion::outside("b", Some(&[digest(one), digest(other)]));
    assert_eq!(both("a", "b"), both("a", "b"));
    assert_ne!(both("a", "b"), both("a", "c"));
    assert_eq!(both("a", "b").label().len(), "b@".len() + 8);
}

#[test]
fn three_changes_in_a_row_are_one_recheck_and_it_waits_for_quiet() {
    let tested = ground(1, baseos("a"));
    let mut kept = watch(&tested);
    assert_eq!(kept.look(&tested, false, rules(), at(HOUR)), Look::Same);
    for (revision, minute) in [(2, 60), (3, 61), (4, 62)] {
        let seen = at(minute * MINUTE - 1);
        let Look::Note(next) = kept.look(&ground(revision, baseos("a")), false, rules(), seen) else {
            panic!("revision {revision} is only noted")
        };
        kept = next;
    }
    let now = ground(4, baseos("a"));
    assert_eq!(kept.look(&now, false, rules(), at(63 * MINUTE - 2)), Look::Same, "not yet");
    let Look::Check { watch, causes } = kept.look(&now, false, rules(), at(63 * MINUTE - 1)) else {
        panic!("it is quiet")
    };
    assert_eq!(phrase(&causes), format!("{BELOW}@r4"));
    assert_eq!(watch.tested, now);
    assert_eq!(watch.look(&now, false, rules(), at(2 * HOUR)), Look::Same, "that was the recheck");
}

#[test]
fn one_at_a_time_and_then_it_is_compared_again() {
    let kept = watch(&ground(1, baseos("a")));
    let moved = ground(2, baseos("a"));
    let Look::Note(kept) = kept.look(&moved, true, rules(), at(HOUR)) else { panic!("noted") };
    assert_eq!(kept.look(&moved, true, rules(), at(2 * HOUR)), Look::Same, "another one is under way");
    assert!(matches!(kept.look(&moved, false, rules(), at(2 * HOUR)), Look::Check { .. }));
    let back = ground(1, baseos("a"));
    let Look::Note(back) = kept.look(&back, false, rules(), at(3 * HOUR)) else { panic!("nothing to test") };
    assert_eq!(back.tested, back.seen);
}

#[test]
fn a_repo_outside_that_was_seen_for_the_first_time_is_remembered() {
    let kept = watch(&ground(1, LayerVersion::outside("baseos", None)));
    let Look::Note(kept) = kept.look(&ground(1, baseos("a")), false, rules(), at(1)) else { panic!("noted") };
    let Look::Note(kept) = kept.look(&ground(1, baseos("b")), false, rules(), at(2)) else { panic!("noted") };
    assert!(matches!(kept.look(&ground(1, baseos("b")), false, rules(), at(HOUR)), Look::Check { .. }));
}

#[test]
fn once_in_each_night_and_only_where_that_is_wanted() {
    let there = ground(1, baseos("a"));
    let nightly = Rules { night: Some(2), ..rules() };
    let mut kept = watch(&there);
    // Seen first at noon: the next 02:00 UTC is 14 hours later.
    assert_eq!(kept.look(&there, false, nightly, at(14 * HOUR - 1)), Look::Same);
    assert_eq!(kept.look(&there, false, rules(), at(90 * HOUR)), Look::Same);
    for night in 0..3 {
        let hour = 14 + night * 24;
        let Look::Check { watch, causes } = kept.look(&there, false, nightly, at(hour * HOUR)) else {
            panic!("night {night}")
        };
        assert_eq!(causes, [Cause::Nightly]);
        kept = watch;
        for later in [1, 12, 23] {
            assert_eq!(kept.look(&there, false, nightly, at((hour + later) * HOUR)), Look::Same);
        }
    }
    // A hub that was away at night does it in the morning, once.
    let Look::Check { watch, .. } = kept.look(&there, false, nightly, at(200 * HOUR)) else { panic!("late") };
    assert_eq!(watch.look(&there, false, nightly, at(201 * HOUR)), Look::Same);
}

#[test]
fn what_its_own_promotion_has_tested_is_no_cause() {
    let now = ground(5, baseos("b"));
    let result = |number: u64, text: &str, moment: Stamp| TestResult {
        job: id(number),
        content: now.content.clone(),
        suite: "runs".to_owned(),
        arch: Arch::X86_64,
        on: None,
        version: digest(text),
        environment: digest("environment"),
        against: None,
        verdict: TestVerdict::Passed,
        at: moment,
    };
    let shown = [result(1, "runs 0", at(5)), result(2, "runs 1", at(10))];
    let moved = |moment| BTreeMap::from([("baseos".to_owned(), moment)]);
    let promoted = promoted_on(&now, None, &shown, &moved(at(9)));
    assert_eq!(promoted, now);
    // The outside has moved since its tests.
    let promoted = promoted_on(&now, None, &shown, &moved(at(11)));
    let [cause] = &*causes(Some(&promoted), &now, false) else { panic!("one") };
    assert!(matches!(cause, Cause::OutsideChanged { .. }), "{cause:?}");
    // It was tested on an older layer, with an older suite.
    let older = ground(4, baseos("a")).around;
    let promoted = promoted_on(&now, Some(&older), &shown[..1], &moved(at(1)));
    let found = causes(Some(&promoted), &now, false);
    assert_eq!(phrase(&found), format!("{BELOW}@r5, suite runs was changed"));
    // A suite that is required since, and was never run.
    assert_eq!(
        phrase(&causes(Some(&promoted_on(&now, None, &[], &moved(at(1)))), &now, false)),
        "suite runs was changed"
    );
}

#[test]
fn what_breaks_is_said_with_what_broke_it_and_stays_so_until_it_is_mended() {
    let now = ground(14, baseos("a"));
    let run = |number: u64, suite: &str, version: &str, verdict: TestVerdict| TestResult {
        job: id(number),
        content: now.content.clone(),
        suite: suite.to_owned(),
        arch: Arch::X86_64,
        on: None,
        version: digest(version),
        environment: digest("environment"),
        against: None,
        verdict,
        at: at(i64::try_from(number).unwrap()),
    };
    let failed = || TestVerdict::Failed { reason: "exit code 3".to_owned() };
    let layer = BELOW.to_owned();
    let moved = Cause::LayerMoved { layer, from: Some("r13".to_owned()), to: Some("r14".to_owned()) };
    let mut kept = Watch { causes: vec![moved.clone()], request: Some(id(7)), ..watch(&now) };
    let mut results = vec![run(1, "runs", "runs 1", TestVerdict::Passed), run(2, "runs", "runs 1", failed())];
    // What an older suite showed, and what was shown of another project's suite, is nothing of ours.
    results.push(run(3, "runs", "runs 0", TestVerdict::Passed));
    results.push(TestResult { on: Some("x".to_owned()), ..run(4, "runs", "runs 1", TestVerdict::Passed) });
    kept.red = reds(&kept, &[Arch::X86_64], &results);
    let [red] = &*kept.red else { panic!("{:?}", kept.red) };
    assert_eq!(red.phrase(), format!("suite runs fails on x86_64 since {BELOW}@r14: exit code 3"));
    // The night finds it again: it is still broken since then.
    kept.causes = vec![Cause::Nightly];
    results.push(run(5, "runs", "runs 1", failed()));
    kept.red = reds(&kept, &[Arch::X86_64], &results);
    assert_eq!((&kept.red[0].since, kept.red[0].at), (&vec![moved], at(2)));
    results.push(run(6, WHOLE, "any", TestVerdict::Errored { reason: "away".to_owned() }));
    results.push(run(7, "runs", "runs 1", TestVerdict::Passed));
    kept.red = reds(&kept, &[Arch::X86_64], &results);
    let [red] = &*kept.red else { panic!("{:?}", kept.red) };
    assert_eq!(red.phrase(), "suite repoclosure-whole cannot be run on x86_64 since nightly: away");
    assert_eq!(kept.promoted(now.clone()).red, [], "another content is another matter");
}

fn id<T: Id>(number: u64) -> T {
    Minter::new(number).mint(at(0))
}

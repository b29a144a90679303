//! One story each: a universe, and what the check must say of it.

use std::sync::Arc;

use farm::arch::Arch;

use super::dsl::{BASE, FIRST, Repos, data};
use crate::closure::{Layer, Question, World, check};

/// A universe and the verdict.
pub(super) struct Story {
    pub(super) name: &'static str,
    pub(super) universe: &'static str,
    world: World,
    /// What is broken: the package, and parts of the reason.
    broken: &'static [(&'static str, &'static [&'static str])],
    /// What was broken already.
    was: &'static [&'static str],
    /// How many packages are looked at.
    checked: usize,
}

const FINE: &[(&str, &[&str])] = &[];

const fn complete(
    name: &'static str,
    universe: &'static str,
    checked: usize,
    broken: &'static [(&'static str, &'static [&'static str])],
) -> Story {
    Story { name, universe, world: World::Complete, broken, was: &[], checked }
}

pub(super) const STORIES: &[Story] = &[
    complete(
        "nothing changes, though the file is signed anew",
        "base:
           libc-2 provides libc.so
         live:
           app-1 requires libc.so, nothing-has-this
         candidate:
           app-1 requires libc.so, nothing-has-this",
        0,
        FINE,
    ),
    complete(
        "a soname goes and an unchanged package needs it",
        "live:
           libs-11.1 provides libgfapi.so.0()(64bit)
           cli-11 requires libgfapi.so.0()(64bit)
         candidate:
           libs-11.2 provides libgfapi.so.1()(64bit)
           cli-11 requires libgfapi.so.0()(64bit)",
        2,
        &[(
            "cli-11-1.x86_64",
            &[
                "cli-11-1.x86_64 needs libgfapi.so.0()(64bit), which nothing provides",
                "it was provided by libs-11.1-1.x86_64 before",
            ],
        )],
    ),
    complete(
        "a need deep down is told with its chain",
        "live:
           bottom-1 provides cap
           middle-1 requires cap; provides mid
           top-1 requires mid
         candidate:
           middle-1 requires cap; provides mid
           top-1 requires mid",
        3,
        &[
            (
                "middle-1-1.x86_64",
                &["middle-1-1.x86_64 needs cap, which nothing provides; it was provided by bottom-1"],
            ),
            (
                "top-1-1.x86_64",
                &["top-1-1.x86_64 needs mid, which middle-1-1.x86_64 provides; middle-1-1.x86_64 needs cap"],
            ),
        ],
    ),
    complete(
        "whoever needs what is broken is broken, also in the layers below",
        "base:
           middle-1 requires cap
           top-1 requires middle
         live:
           bottom-1 provides cap
         candidate:
           other-1",
        4,
        &[
            ("middle-1-1.x86_64", &["needs cap, which nothing provides; it was provided by bottom-1"]),
            (
                "top-1-1.x86_64",
                &[
                    "top-1-1.x86_64 needs middle, which middle-1-1.x86_64 provides; middle-1-1.x86_64 needs cap",
                ],
            ),
        ],
    ),
    complete(
        "a boolean need that was met by what is gone",
        "base:
           user-1 requires (lib or absent)
         live:
           lib-1
         candidate:
           other-1",
        3,
        &[("user-1-1.x86_64", &["user-1-1.x86_64 needs (lib or absent), which nothing meets"])],
    ),
    complete(
        "another version of what is needed is named",
        "base:
           lib-1
         candidate:
           app-1 requires lib >= 2",
        1,
        &[("app-1-1.x86_64", &["needs lib >= 2, which nothing provides; there is only lib-1-1.x86_64"])],
    ),
    complete(
        "a better repo does not hide what a need asks for from a worse one",
        "base:
           lib-2
         candidate:
           lib-1
           app-1 requires lib >= 2",
        2,
        FINE,
    ),
    complete(
        "what was broken before in the same way stays so",
        "live:
           app-1 requires absent
         candidate:
           app-2 requires absent",
        1,
        FINE,
    ),
    complete(
        "what was broken before in another way is broken",
        "live:
           app-1 requires absent
         candidate:
           app-2 requires other",
        1,
        &[("app-2-1.x86_64", &["needs other, which nothing provides"])],
    ),
    complete(
        "a subpackage that is left behind holds back the others",
        "live:
           foo-1 requires foo-data = 1
           foo-data-1
           foo-gui-1 requires foo = 1
         candidate:
           foo-2 requires foo-data = 2
           foo-data-2",
        3,
        &[(
            "foo-gui-1-1.x86_64",
            &["where foo-gui-1-1.x86_64 is installed, foo-1-1.x86_64 cannot be upgraded to foo-2-1.x86_64 \
             without removing foo-gui-1-1.x86_64, which needs foo = 1 and has no successor"],
        )],
    ),
    complete(
        "a subpackage that is obsoleted goes",
        "live:
           foo-1 requires foo-data = 1
           foo-data-1
           foo-gui-1 requires foo = 1
         candidate:
           foo-2 requires foo-data = 2; obsoletes foo-gui < 2
           foo-data-2",
        3,
        FINE,
    ),
    complete(
        "a package that obsoletes what another needs breaks that other",
        "base:
           tool-1
           user-1 requires tool
         live:
           new-1
         candidate:
           new-2 obsoletes tool < 2",
        2,
        &[(
            "user-1-1.x86_64",
            &["tool-1-1.x86_64 cannot be upgraded to new-2-1.x86_64 without removing user-1-1.x86_64"],
        )],
    ),
    complete(
        "a package that replaces one and provides its name breaks nobody",
        "base:
           tool-1
           user-1 requires tool
         live:
           new-1
         candidate:
           new-2 obsoletes tool < 2; provides tool = 2",
        2,
        FINE,
    ),
    complete(
        "a dependent in the base that wants the version of before cannot stay",
        "base:
           lib-1
           lib-devel-1 requires lib = 1-1
         candidate:
           lib-2",
        2,
        &[(
            "lib-devel-1-1.x86_64",
            &["lib-1-1.x86_64 cannot be upgraded to lib-2-1.x86_64 without removing lib-devel-1-1"],
        )],
    ),
    complete(
        "two needs that exclude each other",
        "base:
           one-1 conflicts two
           two-1
         candidate:
           app-1 requires one, two",
        1,
        &[(
            "app-1-1.x86_64",
            &["needs one (one-1-1.x86_64) and two (two-1-1.x86_64), which cannot be installed together"],
        )],
    ),
    complete(
        "a package that conflicts with what it needs",
        "base:
           lib-1
         candidate:
           app-1 requires lib; conflicts lib < 2",
        1,
        &[("app-1-1.x86_64", &["needs lib, and conflicts with whatever provides it"])],
    ),
    complete(
        "a new conflict with what people have",
        "base:
           other-1
         live:
           app-1 requires other
         candidate:
           app-2 conflicts other",
        1,
        &[("app-2-1.x86_64", &["where app-1-1.x86_64 is installed", "without removing other-1-1.x86_64"])],
    ),
    complete(
        "an upgrade is offered by the best repo only",
        "base:
           other-1
           app-3
         live:
           app-1 requires other
         candidate:
           app-2 conflicts other",
        1,
        &[(
            "app-2-1.x86_64",
            &[
                "where app-1-1.x86_64 is installed, it cannot be upgraded to app-2-1.x86_64 without removing other-1-1.x86_64",
            ],
        )],
    ),
    complete(
        "boolean needs",
        "base:
           a-1
           b-1
           both-1 provides x, y
           onlyx-1 provides x
         candidate:
           fine1-1 requires (absent if nowhere)
           fine2-1 requires (absent or a)
           fine3-1 requires (x with y)
           fine4-1 requires (a if b else absent), b
           bad1-1 requires (absent if b), b
           bad2-1 requires (a without a)
           bad3-1 requires (a and absent)
           bad4-1 requires a, b; conflicts (a unless absent)",
        8,
        &[
            ("bad1-1-1.x86_64", &["(absent if b)"]),
            ("bad2-1-1.x86_64", &["needs (a without a), which nothing meets"]),
            ("bad3-1-1.x86_64", &["needs (a and absent), which nothing meets"]),
            ("bad4-1-1.x86_64", &["needs a, and conflicts with whatever provides it"]),
        ],
    ),
    complete(
        "files in the main index and beside it",
        "base:
           sh-1 files /usr/bin/sh, /usr/share/data/a&b
         candidate:
           fine-1 requires /usr/bin/sh, /usr/share/data/a&b
           bad-1 requires /usr/share/data/c",
        2,
        &[("bad-1-1.x86_64", &["needs /usr/share/data/c, which nothing provides"])],
    ),
    complete(
        "a file that goes",
        "live:
           data-1 files /usr/share/data/a
           app-1 requires /usr/share/data/a
         candidate:
           data-2 files /usr/share/data/b
           app-1 requires /usr/share/data/a",
        2,
        &[(
            "app-1-1.x86_64",
            &["needs /usr/share/data/a, which nothing provides; it was provided by data-1-1.x86_64 before"],
        )],
    ),
    complete(
        "sources and other architectures are not looked at",
        "candidate:
           app-1.src requires build-tool
           app-1.aarch64 requires absent
           app-1.x86_64",
        1,
        FINE,
    ),
    complete(
        "another architecture of the machine is beside its own in the same version only",
        "base:
           lib-1.i686 provides lib32
           lib-1.x86_64 provides lib64
           two-1.i686 provides two32
           two-2.x86_64 provides two64
         candidate:
           fine-1 requires lib32, lib64
           bad-1 requires two32, two64",
        2,
        &[("bad-1-1.x86_64", &["two32 (two-1-1.i686) and two64 (two-2-1.x86_64)"])],
    ),
    complete(
        "what a package needs and provides itself is there; rpm and weak needs do not count",
        "candidate:
           app-1 requires own, rpmlib(PayloadIsZstd) <= 5.4.18-1; provides own; recommends absent",
        1,
        FINE,
    ),
    Story {
        name: "what nobody ever provided is the image's",
        universe: "live:
           lib-1 provides l.so.1
           app-1 requires l.so.1, libc.so.6, /usr/bin/sh, (x if bash)
         candidate:
           lib-2 provides l.so.2
           app-1 requires l.so.1, libc.so.6, /usr/bin/sh, (x if bash)
           new-1 requires python(abi) = 3.9",
        world: World::ImageIsTheRest,
        broken: &[("app-1-1.x86_64", &["needs l.so.1, which nothing provides"])],
        was: &[],
        checked: 3,
    },
    Story {
        name: "a package that was uninstallable and has a sound dependent elsewhere",
        universe: "live:
           lib-1 provides l
           app-1 requires l, absent
         candidate:
           lib-2 provides l
           app-1 requires l, absent",
        world: World::Complete,
        broken: FINE,
        was: &["app-1-1.x86_64"],
        checked: 2,
    },
];

#[test]
fn every_story_ends_as_it_should() {
    for story in STORIES {
        let report = Repos::parse(story.universe).check(story.world).unwrap();
        let told = format!("{}: {report:#?}", story.name);
        let broken: Vec<&str> = report.broken.iter().map(|breakage| breakage.nevra.as_str()).collect();
        let expected: Vec<&str> = story.broken.iter().map(|(nevra, _)| *nevra).collect();
        assert_eq!(broken, expected, "{told}");
        for (breakage, (_, parts)) in report.broken.iter().zip(story.broken) {
            for part in *parts {
                assert!(breakage.why.contains(part), "{part:?} is missing in {told}");
            }
        }
        if !story.was.is_empty() {
            let was: Vec<&str> = report.was_broken.iter().map(|breakage| breakage.nevra.as_str()).collect();
            assert_eq!(was, story.was, "{told}");
        }
        assert_eq!(report.checked, story.checked, "{told}");
    }
}

#[test]
fn a_downgrade_is_said_and_blocks_nothing() {
    let report = Repos::parse("live:\napp-2\ncandidate:\napp-1").check(World::Complete).unwrap();
    assert!(report.broken.is_empty(), "{report:#?}");
    let [downgrade] = report.downgrades.as_slice() else { panic!("{report:#?}") };
    assert_eq!(downgrade.why.split(':').next(), Some("app-1-1.x86_64 is older than app-2-1.x86_64"));
}

#[test]
fn filelists_that_cannot_be_read_are_no_yes() {
    let repos = Repos::parse("base:\nsh-1 files /usr/share/x\ncandidate:\napp-1 requires /usr/share/x");
    let [before, mut after] = repos.layers();
    let torn = || Err(std::io::Error::other("the line was cut"));
    let base = crate::closure::RepoData::read(super::dsl::primary(&repos.base).as_bytes()).unwrap();
    after[1] = Layer { priority: BASE, data: Arc::new(base.with_filelists(Box::new(torn))) };
    let question = Question { arch: Arch::X86_64, before: &before, after: &after, world: World::Complete };
    assert!(check(&question).unwrap_err().to_string().contains("the line was cut"));
}

#[test]
fn a_long_list_of_breakages_is_cut() {
    let dependents: String = (0..300).map(|at| format!("user{at}-1 requires lib\n")).collect();
    let live = Repos::parse(&format!("live:\nlib-1\n{dependents}candidate:\n{dependents}"));
    let report = live.check(World::Complete).unwrap();
    assert!(report.cut_short && (100..=132).contains(&report.broken.len()), "{}", report.broken.len());
    assert_eq!(report.checked, 301);
}

#[test]
fn indexes_that_are_cut_off_or_no_indexes_are_refused() {
    let whole = super::dsl::primary(&Repos::parse("base:\na-1").base);
    for bad in [&whole[..whole.len() - 20], "", "<html></html>", "not xml at all"] {
        assert!(crate::closure::RepoData::read(bad.as_bytes()).is_err(), "{bad}");
    }
    let layer = Layer { priority: FIRST, data: data(&[]) };
    assert!(layer.data.is_empty());
}

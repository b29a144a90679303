//! Builders: who can do what, and how it is said that nobody can.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use farm::arch::Arch;
use farm::builder::{Builder, Condition, Wish, easiest_first, nobody_builds};
use farm::recipe::Limits;
use farm::stamp::Stamp;

const SILENT_AFTER: Duration = Duration::from_secs(15);
const NOW: Stamp = Stamp::from_millis(100_000_000);
const HOUR: i64 = 3_600_000;

fn builder(name: &str, arches: &[Arch], emulated: &[Arch]) -> Builder {
    Builder {
        name: name.into(),
        born: Stamp::ZERO,
        count: 0,
        version: String::new(),
        arches: arches.to_vec(),
        emulated: emulated.to_vec(),
        slots: 2,
        memory_mb: 8192,
        disk_mb: 8192,
        labels: BTreeSet::new(),
        running: Vec::new(),
        draining: false,
        ahead_ms: 0,
        seen: NOW,
        wish: Wish::Work,
    }
}

fn unseen(builder: Builder, for_ms: i64) -> Builder {
    Builder { seen: Stamp::from_millis(NOW.millis() - for_ms), ..builder }
}

fn said(arch: Arch, builders: &[Builder]) -> Option<String> {
    nobody_builds(arch, &BTreeSet::new(), &Limits::default(), builders, NOW, SILENT_AFTER)
}

#[test]
fn it_is_said_that_nobody_builds_and_why() {
    let x = || builder("b1", &[Arch::X86_64], &[]);
    let s = |name| builder(name, &[Arch::X86_64], &[Arch::S390x]);
    let draining = |name| Builder { draining: true, ..s(name) };
    let table: [(Vec<Builder>, Option<&str>); 12] = [
        (vec![], Some("no s390x builder has ever joined")),
        (vec![x()], Some("no s390x builder has ever joined")),
        (vec![x(), s("b7")], None),
        (vec![unseen(s("b7"), 3 * HOUR)], Some("no s390x builder has been seen for 3 h")),
        (
            vec![unseen(s("b7"), 3 * HOUR), unseen(s("b8"), 5 * HOUR)],
            Some("no s390x builder has been seen for 3 h"),
        ),
        (vec![unseen(s("b7"), 3 * HOUR), s("b8")], None),
        (vec![draining("b7"), x()], Some("the only s390x builder, b7, is draining")),
        (vec![Builder { wish: Wish::Drain, ..s("b7") }], Some("the only s390x builder, b7, is draining")),
        (vec![Builder { wish: Wish::Disabled, ..s("b7") }], Some("the only s390x builder, b7, is disabled")),
        (
            vec![Builder { ahead_ms: -90_000, ..s("b7") }],
            Some("the only s390x builder, b7, has a clock that is 90 s behind"),
        ),
        (
            vec![Builder { memory_mb: 2048, ..s("b7") }, draining("b8")],
            Some(
                "no s390x builder has 4096 MiB of memory and 3072 MiB of disk for one job; the largest, b7, has 2048 and 8192",
            ),
        ),
        (
            vec![draining("b7"), unseen(s("b8"), 3 * HOUR)],
            Some("no s390x builder takes work: b7 is draining, b8 has not been seen for 3 h"),
        ),
    ];
    for (builders, expected) in table {
        assert_eq!(said(Arch::S390x, &builders).as_deref(), expected);
    }
}

#[test]
fn a_busy_builder_is_somebody_and_one_without_the_label_is_nobody() {
    let busy = Builder { slots: 0, ..builder("b1", &[Arch::X86_64], &[]) };
    assert_eq!(busy.condition(0, NOW, SILENT_AFTER), Condition::Free { slots: 0 });
    assert_eq!(said(Arch::X86_64, &[busy]), None);
    let labels = BTreeSet::from(["big".to_owned()]);
    let small = builder("b1", &[Arch::X86_64], &[]);
    let nobody = |builders: &[Builder]| {
        nobody_builds(Arch::X86_64, &labels, &Limits::default(), builders, NOW, SILENT_AFTER)
    };
    let why = nobody(std::slice::from_ref(&small));
    assert_eq!(why.as_deref(), Some("no x86_64 builder labelled big has ever joined"));
    assert_eq!(nobody(&[Builder { labels: labels.clone(), ..small }]), None);
}

#[test]
fn what_may_be_done_anywhere_is_done_where_it_is_native() {
    let all = [Arch::Aarch64, Arch::S390x, Arch::X86_64];
    let order = |builders: &[Builder]| easiest_first(&all, builders, NOW, SILENT_AFTER);
    assert_eq!(order(&[]), all, "when nobody is here the order given stands");
    let one = builder("b1", &[Arch::X86_64], &[Arch::S390x]);
    assert_eq!(order(std::slice::from_ref(&one)), [Arch::X86_64, Arch::S390x, Arch::Aarch64]);
    assert_eq!(order(&[unseen(one.clone(), HOUR)]), all, "who is gone does not count");
    let native = builder("b2", &[Arch::S390x], &[]);
    assert_eq!(order(&[one, native]), [Arch::S390x, Arch::X86_64, Arch::Aarch64]);
}

//! Snapshots: what a repo becomes, and what names its content.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sample;

use std::collections::BTreeMap;

use farm::arch::Arch;
use farm::ids::SnapshotId;
use farm::snapshot::{Member, RpmKind, Snapshot, content_digest};
use proptest::prelude::*;
use sample::{at, digest, id, member};

fn compose(base: Option<&Snapshot>, set: &[Member]) -> Snapshot {
    Snapshot::compose(id(1), "demo9s-hello-2-testing", base, set, at(5))
}

fn nvrs(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.members.iter().map(|member| &*member.nvr).collect()
}

#[test]
fn a_build_takes_the_place_of_its_packages_older_one() {
    let base = compose(None, &[member("zsh", "5"), member("hello", "2.9")]);
    let next = compose(Some(&base), &[member("hello", "2.10"), member("bash", "5.2")]);
    assert_eq!(nvrs(&next), ["bash-5.2-1.el9s", "hello-2.10-1.el9s", "zsh-5-1.el9s"]);
    assert_eq!((next.base, next.created), (Some(base.id), at(5)));
    // Also an older one: who moves a set knows what they do.
    let back = compose(Some(&next), &[member("hello", "2.9")]);
    assert_eq!(nvrs(&back), ["bash-5.2-1.el9s", "hello-2.9-1.el9s", "zsh-5-1.el9s"]);
}

/// Each of these is different content, and a signature, an id or a file's size is not.
#[test]
fn content_is_names_and_bodies_and_nothing_else() {
    let good = vec![member("hello", "2.10")];
    let content = content_digest(&good);
    type Change = fn(&mut Member);
    let differ: [Change; 6] = [
        |m| m.rpms[1].body = digest("built again"),
        |m| m.rpms[1].nevra.epoch = 1,
        |m| m.rpms[1].nevra.release = "2.el9s".into(),
        |m| m.rpms[1].nevra.arch = "noarch".into(),
        |m| m.rpms[1].kind = RpmKind::Debug,
        |m| drop(m.rpms.pop()),
    ];
    for change in differ {
        let mut changed = good.clone();
        change(&mut changed[0]);
        assert_ne!(content_digest(&changed), content);
    }
    let same: [Change; 4] = [
        |m| m.rpms[1].digest = digest("signed"),
        |m| m.rpms[1].size += 536,
        |m| m.build = id(77),
        |m| m.rpms.reverse(),
    ];
    for change in same {
        let mut changed = good.clone();
        change(&mut changed[0]);
        assert_eq!(content_digest(&changed), content);
    }
}

#[test]
fn folders_hold_each_package_where_a_client_looks_for_it() {
    let mut hello = member("hello", "2.10");
    let binary = hello.rpms[1].clone();
    let variant = |name: &str, arch: &str, kind, built_on| {
        let mut rpm = binary.clone();
        (rpm.nevra.name, rpm.nevra.arch) = (name.into(), arch.into());
        (rpm.kind, rpm.built_on) = (kind, Some(built_on));
        rpm
    };
    hello.rpms.extend([
        variant("hello-doc", "noarch", RpmKind::Binary, Arch::X86_64),
        variant("hello-debuginfo", "x86_64", RpmKind::Debug, Arch::X86_64),
        variant("hello", "aarch64", RpmKind::Binary, Arch::Aarch64),
        // What an x86_64 build makes for 32 bits belongs to the x86_64 repo.
        variant("hello-libs", "i686", RpmKind::Binary, Arch::X86_64),
    ]);
    let snapshot = compose(None, &[hello]);
    let folders = snapshot.folders(&[Arch::X86_64, Arch::Aarch64, Arch::S390x]);
    let named: BTreeMap<&str, Vec<String>> = folders
        .iter()
        .map(|(folder, rpms)| {
            (&**folder, rpms.iter().map(|rpm| format!("{}.{}", rpm.nevra.name, rpm.nevra.arch)).collect())
        })
        .collect();
    let expected: BTreeMap<&str, Vec<String>> = [
        ("x86_64", vec!["hello.x86_64", "hello-doc.noarch", "hello-libs.i686"]),
        ("aarch64", vec!["hello-doc.noarch", "hello.aarch64"]),
        ("s390x", vec!["hello-doc.noarch"]),
        ("debug-x86_64", vec!["hello-debuginfo.x86_64"]),
        ("source", vec!["hello.src"]),
    ]
    .map(|(folder, names)| (folder, names.into_iter().map(str::to_owned).collect()))
    .into();
    assert_eq!(named, expected);
    let empty = compose(None, &[]);
    assert_eq!(empty.folders(&Arch::ALL).len(), 4, "an empty repo is still a repo");
}

/// Some packages, each in one version.
fn any_set() -> impl Strategy<Value = Vec<Member>> {
    prop::collection::btree_map("[a-e]", 0_u8..3, 0..5).prop_map(|set| {
        set.into_iter().map(|(package, version)| member(&package, &version.to_string())).collect()
    })
}

proptest! {
    #[test]
    fn the_order_of_a_set_says_nothing((set, shuffled) in any_set().prop_flat_map(|set| (Just(set.clone()), Just(set).prop_shuffle()))) {
        let (one, other) = (compose(None, &set), compose(None, &shuffled));
        prop_assert_eq!(&one.content, &content_digest(&shuffled));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn equal_contents_have_equal_digests_and_different_ones_do_not(one in any_set(), other in any_set()) {
        let same = one.iter().map(|m| &m.nvr).collect::<Vec<_>>() == other.iter().map(|m| &m.nvr).collect::<Vec<_>>();
        prop_assert_eq!(compose(None, &one).content == compose(None, &other).content, same);
    }

    #[test]
    fn composing_is_base_with_the_set_on_top(base in any_set(), set in any_set()) {
        let base = compose(None, &base);
        let next = compose(Some(&base), &set);
        let mut expected: BTreeMap<&str, &Member> = base.members.iter().map(|m| (&*m.package, m)).collect();
        expected.extend(set.iter().map(|m| (&*m.package, m)));
        prop_assert_eq!(next.members.iter().collect::<Vec<_>>(), expected.into_values().collect::<Vec<_>>());
        prop_assert_eq!(&next.content, &content_digest(&next.members));
        // Doing it again, or in another repo under another id, changes nothing.
        let again = Snapshot::compose(id::<SnapshotId>(2), "other", Some(&next), &set, at(9));
        prop_assert_eq!(again.content, next.content);
    }
}

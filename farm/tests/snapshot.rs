//! Snapshots: what a repo becomes, and what names its content.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sample;

use std::collections::BTreeMap;

use farm::arch::Arch;
use farm::extras::{Extra, ExtraKind, Extras};
use farm::ids::SnapshotId;
use farm::snapshot::{Member, RpmKind, Snapshot, content_digest};
use proptest::prelude::*;
use sample::{at, digest, id, member};

fn compose(base: Option<&Snapshot>, set: &[Member]) -> Snapshot {
    Snapshot::compose(id(1), "demo9s-hello-2-testing", base, set, &[], at(5))
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

#[test]
fn what_is_removed_is_gone_and_nothing_else() {
    let base = compose(None, &[member("bash", "5"), member("hello", "2.9"), member("zsh", "5")]);
    let remove = ["zsh".to_owned(), "never-there".to_owned()];
    let next = Snapshot::compose(id(2), &base.tag, Some(&base), &[member("hello", "2.10")], &remove, at(6));
    assert_eq!(nvrs(&next), ["bash-5-1.el9s", "hello-2.10-1.el9s"]);
    assert_eq!(next.content, compose(None, &[member("bash", "5"), member("hello", "2.10")]).content);
    let all: Vec<String> = base.members.iter().map(|member| member.package.clone()).collect();
    let empty = Snapshot::compose(id(3), &base.tag, Some(&base), &[], &all, at(7));
    assert_eq!((empty.members.len(), empty.base), (0, Some(base.id)));
}

#[test]
fn what_no_folder_would_show_is_left_out() {
    let arches = [Arch::X86_64, Arch::Aarch64];
    let base = compose(None, &[member("bash", "5"), member("hello", "2.9")]);
    let foreign = |snapshot: &Snapshot| {
        let of = snapshot.rpms().filter(|rpm| rpm.built_on == Some(Arch::Aarch64)).cloned();
        of.collect::<Vec<_>>()
    };
    let mut two = base.clone();
    for member in &mut two.members {
        // As a build for another architecture gives: packages of it, and one for all of them that happens to be made there.
        for (name, arch, kind) in [
            (member.package.clone(), "aarch64", RpmKind::Binary),
            (format!("{}-debuginfo", member.package), "aarch64", RpmKind::Debug),
            (format!("{}-doc", member.package), "noarch", RpmKind::Binary),
        ] {
            let mut rpm = member.rpms[0].clone();
            (rpm.nevra.name, rpm.nevra.arch) = (name, arch.to_owned());
            (rpm.kind, rpm.built_on) = (kind, Some(Arch::Aarch64));
            rpm.body = digest(&rpm.nevra.to_string());
            member.rpms.push(rpm);
        }
    }
    two.content = content_digest(&two.members, None);
    assert_eq!(two.lacks(&arches), [], "it is not known where it is shown");
    two.arches = arches.to_vec();
    assert_eq!(two.clone().shown_on(&arches), two, "nothing is left out of what is shown");

    let one = two.clone().shown_on(&[Arch::X86_64]);
    assert_eq!((one.lacks(&arches), two.lacks(&arches)), (vec![Arch::Aarch64], Vec::new()));
    assert_eq!(nvrs(&one), nvrs(&two), "no build is left out");
    let kept: Vec<String> = foreign(&one).iter().map(|rpm| rpm.nevra.arch.clone()).collect();
    assert_eq!(kept, ["noarch", "noarch"]);
    assert_eq!(one.rpms().count(), two.rpms().count() - 4);
    let sources = |snapshot: &Snapshot| snapshot.rpms().filter(|rpm| rpm.kind == RpmKind::Source).count();
    assert_eq!(sources(&one), sources(&two));
    // It is another content, and the one that is named: results for the old one do not count.
    assert_ne!(one.content, two.content);
    assert_eq!(one.content, content_digest(&one.members, None));
    assert_eq!((one.id, one.base, one.revision()), (two.id, two.base, two.revision()));
    // Everything that is left is in some folder.
    let folders = one.folders(&[Arch::X86_64]);
    assert!(one.rpms().all(|rpm| folders.values().flatten().any(|shown| *shown == rpm)));
}

#[test]
fn going_back_is_the_same_content_under_another_id_and_on_another_base() {
    let first = compose(None, &[member("hello", "2.9")]);
    let second = Snapshot::compose(id(2), &first.tag, Some(&first), &[member("hello", "2.10")], &[], at(6));
    let back = Snapshot::holding(id(3), &first.tag, Some(second.as_base()), first.members.clone(), at(7));
    assert_eq!((&back.content, back.base, back.created), (&first.content, Some(second.id), at(7)));
    assert_eq!(back.members, first.members);
}

/// A clock that goes back, that stands still and that comes back in the end: the revision grows all the same.
#[test]
fn the_revision_grows_also_when_a_clock_goes_back_and_on_the_way_back() {
    let mut base = compose(None, &[member("hello", "2.9")]);
    assert_eq!(base.revision(), 5);
    let first = base.members.clone();
    for (number, (now, revision)) in
        [(6, 6), (2, 7), (-3, 8), (8, 9), (9, 10), (10, 11), (400, 400)].into_iter().enumerate()
    {
        let fresh = id(number as u64 + 2);
        let next = match number % 2 {
            0 => Snapshot::compose(fresh, &base.tag, Some(&base), &[member("hello", "2.10")], &[], at(now)),
            _ => Snapshot::holding(fresh, &base.tag, Some(base.as_base()), first.clone(), at(now)),
        };
        assert_eq!((next.revision(), next.created), (revision, at(now)));
        base = next;
    }
    // Those that were composed before it was written down had the time alone.
    let mut doc = serde_json::to_value(&base).unwrap();
    doc.as_object_mut().unwrap().remove("revision").unwrap();
    let old: Snapshot = serde_json::from_value(doc).unwrap();
    assert_eq!((old.revision(), old.as_base().revision()), (400, 400));
    assert_eq!(Snapshot::compose(id(99), &old.tag, Some(&old), &[], &[], at(1)).revision(), 401);
}

/// Each of these is different content, and a signature, an id or a file's size is not.
#[test]
fn content_is_names_and_bodies_and_nothing_else() {
    let good = vec![member("hello", "2.10")];
    let content = content_digest(&good, None);
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
        assert_ne!(content_digest(&changed, None), content);
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
        assert_eq!(content_digest(&changed, None), content);
    }
}

/// What stands beside the packages is content like they are; the commit it is of is not.
#[test]
fn files_beside_the_packages_are_content_and_their_absence_is_none() {
    let extra = |kind, text: &str| Extra { kind, digest: digest(text), size: text.len() as u64 };
    let of = |commit: &str, files: Vec<Extra>| {
        Some(Extras { repo: "metadata/demo".into(), commit: commit.into(), files })
    };
    let plain = compose(None, &[member("hello", "2.10")]);
    let with = |extras: Option<Extras>| plain.clone().with_extras(extras);
    let groups = with(of("1", vec![extra(ExtraKind::Group, "a")]));
    assert_eq!(with(of("2", vec![extra(ExtraKind::Group, "a")])).content, groups.content);
    let others = [
        with(None),
        with(of("1", vec![extra(ExtraKind::Group, "b")])),
        with(of("1", vec![extra(ExtraKind::Modules, "a")])),
        with(of("1", vec![extra(ExtraKind::Group, "a"), extra(ExtraKind::Modules, "a")])),
    ];
    for other in &others {
        assert_ne!(other.content, groups.content, "{:?}", other.extras);
    }
    assert_eq!(with(of("1", Vec::new())).content, plain.content);
    // Neither what is shown nor what comes next loses them by accident, or keeps them without being told to.
    assert_eq!(groups.clone().shown_on(&[Arch::X86_64]).content, groups.content);
    let next = Snapshot::compose(id(2), &groups.tag, Some(&groups), &[], &[], at(6));
    assert_eq!((next.extras, next.content), (None, plain.content.clone()));

    // Rows of before there were such files read as having none, and are written as they were.
    let doc = serde_json::to_value(&plain).unwrap();
    assert!(doc.get("extras").is_none());
    assert_eq!(serde_json::from_value::<Snapshot>(doc).unwrap(), plain);
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
        prop_assert_eq!(&one.content, &content_digest(&shuffled, None));
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
        prop_assert_eq!(&next.content, &content_digest(&next.members, None));
        // Doing it again, or in another repo under another id, changes nothing.
        let again = Snapshot::compose(id::<SnapshotId>(2), "other", Some(&next), &set, &[], at(9));
        prop_assert_eq!(again.content, next.content);
    }
}

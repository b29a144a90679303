//! All SIGs together: who owns a branch, and what a build may install from.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sample;

use farm::sig::{Community, Layer, Role, Sig};
use proptest::prelude::*;
use sample::community;

fn project(sig: &str, inherit: &[&str], external: &[&str]) -> String {
    let mut text = format!(
        "name = '{sig}'\n[[project]]\nname = 'p'\nrelease = '1'\ndist = '9s'\narches = ['x86_64']\n\
         packages = []\ninherit = {inherit:?}\n"
    );
    for name in external {
        text +=
            &format!("[[project.external-repo]]\nname = '{name}'\nbaseurl = 'https://{name}.example.org/'\n");
    }
    text
}

fn names(layers: Vec<Layer>) -> Vec<String> {
    layers
        .into_iter()
        .map(|layer| match layer {
            Layer::Tag { tag } => tag,
            Layer::External(repo) => repo.name,
        })
        .collect()
}

#[test]
fn layers_are_own_inherited_behind_them_theirs_then_external() {
    let all = community(&[
        &project("top", &["left9s-p-1-release", "right9s-p-1-testing"], &["crb", "base"]),
        &project("left", &["bottom9s-p-1-release"], &["base", "left-repo"]),
        &project("right", &["bottom9s-p-1-candidate", "bottom9s-p-1-release"], &["right-repo"]),
        &project("bottom", &[], &["bottom-repo"]),
    ]);
    all.check().unwrap();
    let top = &all.sig("top").unwrap().projects[0];
    let expected = [
        "top9s-p-1-candidate",
        "left9s-p-1-release",
        "bottom9s-p-1-release",
        "right9s-p-1-testing",
        "bottom9s-p-1-candidate",
        "crb",
        "base",
        "left-repo",
        "bottom-repo",
        "right-repo",
    ];
    assert_eq!(names(all.layers(top)), expected);
    assert_eq!(names(all.layers_below(top)), expected[1..]);
}

#[test]
fn layers_end_even_where_inheritance_goes_round() {
    let all =
        community(&[&project("a", &["b9s-p-1-release"], &[]), &project("b", &["a9s-p-1-release"], &[])]);
    assert!(all.check().is_err());
    assert_eq!(
        names(all.layers(&all.sig("a").unwrap().projects[0])),
        ["a9s-p-1-candidate", "b9s-p-1-release", "a9s-p-1-release"]
    );
}

#[test]
fn names_lead_to_their_project() {
    let all = community(&[&project("a", &[], &[]), &project("a-b", &[], &[])]);
    assert_eq!(all.target("a-b9s-p-1-el9s").unwrap().sig, "a-b");
    assert_eq!(all.tag("a9s-p-1-testing").unwrap().0.sig, "a");
    assert_eq!(all.branch("c9s-sig-a-b-p").unwrap().sig, "a-b");
    assert!(
        all.tag("a9s-p-1").is_none() && all.tag("a9s-p-1-build").is_none() && all.target("a9s-p-1").is_none()
    );
}

/// Each SIG has one maintainer, who bears its name.
fn sigs(names: &[String]) -> Community {
    names.iter().fold(Community::default(), |all, name| {
        all.with(Sig {
            name: name.clone(),
            title: name.clone(),
            members: [(name.clone(), [Role::Maintainer].into())].into(),
            projects: Vec::new(),
            share: ::farm::sig::Share::default(),
        })
    })
}

proptest! {
    /// Whatever SIGs there are, the maintainer of one pushes a branch exactly when no other SIG's longer name fits it.
    #[test]
    fn a_branch_is_pushed_by_the_longest_fitting_sig_only(
        names in prop::collection::btree_set("[ab](-?[ab]){0,3}", 1..6),
        tail in "[ab](-?[ab]){0,4}",
        dist in "(9|9s|10|10s)",
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let all = sigs(&names);
        let branch = format!("c{dist}-sig-{tail}");
        let fits = |name: &&String| tail == **name || tail.starts_with(&format!("{name}-"));
        let owner = names.iter().filter(fits).max_by_key(|name| name.len());
        prop_assert_eq!(all.owner(&branch).map(|sig| &sig.name), owner);
        for name in &names {
            let may = all.may_push(name, false, "any", &branch).is_ok();
            prop_assert_eq!(may, Some(name) == owner, "{} on {}", name, branch);
        }
        prop_assert_eq!(all.may_push("admin", true, "any", &branch).is_ok(), owner.is_some());
        prop_assert!(all.may_push("stranger", false, "any", &branch).is_err());
    }

    /// Nothing that does not begin as a SIG's branch does is anybody's.
    #[test]
    fn other_branches_are_nobodys(branch in "(c9s|c10s|main|c9|c|xc9s-sig-a|c9s-a|c9x-sig-a|sig-a|c9s_sig_a|c9999-sig-a|c-sig-a)") {
        let all = sigs(&["a".to_owned()]);
        prop_assert!(all.owner(&branch).is_none());
        prop_assert!(all.may_push("a", true, "any", &branch).is_err());
    }
}

#[test]
fn storage_is_not_storagex() {
    let all = sigs(&["storage".to_owned(), "storagex".to_owned(), "storage-x".to_owned()]);
    for (branch, owner) in [
        ("c9s-sig-storage", "storage"),
        ("c9s-sig-storage-gluster", "storage"),
        ("c10-sig-storage-gluster", "storage"),
        ("c9s-sig-storagex", "storagex"),
        ("c9s-sig-storagex-gluster", "storagex"),
        ("c9s-sig-storage-x", "storage-x"),
        ("c9s-sig-storage-x-y", "storage-x"),
        ("c9s-sig-storage-xy", "storage"),
    ] {
        assert_eq!(all.owner(branch).unwrap().name, owner, "{branch}");
    }
    assert!(all.owner("c9s-sig-storagey").is_none());
    assert!(all.owner("c9s-sig-storage/x").is_none());
}

#[test]
fn a_suite_repo_is_pushed_by_those_who_take_suites_from_it() {
    let sig = |name: &str, project: &str, suites: &str| {
        format!(
            "name = '{name}'\n[[member]]\nname = '{name}'\nroles = ['maintainer']\n\
             [[member]]\nname = 'rex'\nroles = ['release-manager']\n\
             [[project]]\nname = '{project}'\nrelease = '1'\ndist = '9s'\narches = ['x86_64']\npackages = []\n{suites}"
        )
    };
    let suites = |repo: &str| format!("[project.tests]\nsuites = {{ repo = '{repo}', branch = 'main' }}\n");
    let all = community(&[
        &sig("a", "p", &suites("tests/a")),
        &sig("b", "p", &suites("tests/shared")),
        &sig("c", "p", &suites("tests/shared")),
        &sig("d", "p", ""),
    ]);
    let may = |person: &str, repo: &str| all.may_push_files(person, false, repo);
    assert_eq!(may("a", "tests/a"), Ok(()));
    assert_eq!(may("b", "tests/shared"), Ok(()));
    assert_eq!(may("c", "tests/shared"), Ok(()));
    for (person, repo, said) in [
        ("b", "tests/a", "b is not a maintainer of SIG a,"),
        ("d", "tests/a", "d is not a maintainer of SIG a,"),
        ("rex", "tests/a", "rex is not a maintainer of SIG a,"),
        ("stranger", "tests/shared", "stranger is not a maintainer of SIG b or c,"),
        ("d", "tests/d", "no SIG takes suites or metadata from tests/d"),
        ("a", "tests/a-b", "no SIG takes suites or metadata from tests/a-b"),
    ] {
        let refused = may(person, repo).unwrap_err();
        assert!(refused.what.starts_with(said), "{refused}");
        assert_eq!(all.may_push_files("root", true, repo), Ok(()));
    }
    let fix = may("d", "tests/d").unwrap_err().fix;
    assert!(fix.contains("[project.tests]: suites = { repo = \"tests/d\", branch = \"main\" }"), "{fix}");
}

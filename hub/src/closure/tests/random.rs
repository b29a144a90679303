//! Universes nobody thought of.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::dsl::{Repos, Spec};
use super::hawkey;

/// Universes that are made; always the same ones.
const UNIVERSES: usize = 100;
/// Those of them in which upgrades are tried: each needs real RPMs and a database of its own.
const UPGRADED: usize = 60;

/// A name, or something provided, with a range or without.
fn plain() -> impl Strategy<Value = String> {
    let name =
        prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "x", "y", "z", "/usr/bin/f", "/usr/lib/g"]);
    let range = prop::sample::select(vec!["", "", "", " = 1", " >= 2", " < 2", " = 2-1", " > 1", " <= 1-2"]);
    (name, range).prop_map(
        |(name, range)| {
            if name.starts_with('/') { name.to_owned() } else { format!("{name}{range}") }
        },
    )
}

fn rich() -> impl Strategy<Value = String> {
    let operator = prop::sample::select(vec!["if", "or", "and", "with", "without"]);
    let simple =
        (plain(), operator, plain()).prop_map(|(one, operator, other)| format!("({one} {operator} {other})"));
    let deeper = (plain(), plain(), plain(), plain())
        .prop_map(|(a, b, c, d)| format!("({a} if ({b} and {c}) else {d})"));
    prop_oneof![4 => simple, 1 => deeper]
}

fn relation() -> impl Strategy<Value = (String, String)> {
    let kind = |kind: &'static str| move |dependency: String| (kind.to_owned(), dependency);
    let provided =
        (prop::sample::select(vec!["x", "y", "z"]), prop::sample::select(vec!["", " = 1", " = 2", " = 2-1"]));
    prop_oneof![
        5 => plain().prop_map(kind("requires")),
        2 => rich().prop_map(kind("requires")),
        3 => provided.prop_map(|(name, version)| ("provides".to_owned(), format!("{name}{version}"))),
        1 => plain().prop_filter("no path", |text| !text.starts_with('/')).prop_map(kind("conflicts")),
        1 => plain().prop_filter("no path", |text| !text.starts_with('/')).prop_map(kind("obsoletes")),
    ]
}

fn package() -> impl Strategy<Value = Spec> {
    let name = prop::sample::select(vec!["a", "b", "c", "d", "e", "f"]);
    let evr = prop::sample::select(vec!["1-1", "1-2", "2-1", "3-1"]);
    // Of a second architecture libsolv has rules of its own (it wants the first one's package of that version beside it),
    // which are told in a story and are not ours in full.
    let arch = prop::sample::select(vec!["x86_64", "x86_64", "x86_64", "noarch"]);
    let files = prop::collection::vec(prop::sample::select(vec!["/usr/bin/f", "/usr/lib/g"]), 0..2);
    (name, evr, arch, prop::collection::vec(relation(), 0..4), files).prop_map(
        |(name, evr, arch, relations, files)| Spec {
            name: name.to_owned(),
            evr: evr.to_owned(),
            arch: arch.to_owned(),
            relations,
            files: files.into_iter().map(str::to_owned).collect(),
        },
    )
}

fn repo(most: usize) -> impl Strategy<Value = Vec<Spec>> {
    prop::collection::vec(package(), 0..most).prop_map(|mut specs| {
        specs.sort_by_key(Spec::nevra);
        specs.dedup_by_key(|spec| spec.nevra());
        specs
    })
}

/// The first of an endless row of universes.
fn universes(count: usize) -> Vec<Repos> {
    let mut runner = TestRunner::deterministic();
    let universe =
        (repo(10), repo(6), repo(6)).prop_map(|(base, live, candidate)| Repos { base, live, candidate });
    (0..count).map(|_| universe.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn what_can_be_installed_is_what_dnf_installs() {
    hawkey::compare(&universes(UNIVERSES));
}

#[test]
fn who_can_go_on_is_whom_dnf_upgrades_in_any_universe() {
    let mut all = universes(UPGRADED);
    for repos in &mut all {
        // Everything in the candidate is newer than what anybody has.
        repos.candidate.iter_mut().for_each(|spec| spec.evr = "4-1".to_owned());
        repos.candidate.dedup_by_key(|spec| spec.name.clone());
    }
    hawkey::compare_upgrades(&all);
}

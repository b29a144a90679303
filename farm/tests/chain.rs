//! Who waits for whom: by what is known, in circles, and whatever happens meanwhile.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::{BTreeMap, BTreeSet};

use farm::chain::{Before, Link, Member, Need, Order, SourceFacts, Standing, names_of, provided_names};
use farm::ids::{ChainId, Id as _, RequestId};
use farm::request::SourceArches;
use farm::stamp::Stamp;
use proptest::prelude::*;

const TAG: &str = "demo9s-hello-2-candidate";
/// When everything was asked for, and when everything was read.
const ASKED: Stamp = Stamp::from_millis(1_000);
const READ: Stamp = Stamp::from_millis(9_000);

fn id(number: usize) -> RequestId {
    RequestId::from_ulid(ulid(number))
}

fn ulid(number: usize) -> ulid::Ulid {
    ulid::Ulid::from_parts(1_000, number as u128)
}

fn chain(level: Option<u32>) -> Option<Link> {
    Some(Link { id: ChainId::from_ulid(ulid(99)), level })
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A package called `p<number>` that was asked for as the `number`th and whose source is read.
fn member(number: usize, requires: &[&str], provides: &[&str]) -> Member {
    let package = format!("p{number}");
    let facts = SourceFacts {
        nvr: format!("{package}-1-1").parse().unwrap(),
        arches: SourceArches::default(),
        requires: set(requires),
        provides: provides.iter().copied().chain([package.as_str()]).map(str::to_owned).collect(),
        read: READ,
    };
    Member {
        request: id(number),
        package,
        created: ASKED,
        link: None,
        tag: TAG.to_owned(),
        sees: set(&[TAG]),
        source: Some(facts),
        before: None,
        unknown: BTreeSet::new(),
        standing: Standing::Open,
    }
}

fn chained(number: usize, requires: &[&str], provides: &[&str]) -> Member {
    Member { link: chain(None), ..member(number, requires, provides) }
}

/// Whom a request waits for, by their numbers.
fn waits(order: &Order, number: usize) -> Vec<usize> {
    order.blockers(id(number)).iter().map(|blocker| blocker.package[1..].parse().unwrap()).collect()
}

#[test]
fn what_needs_another_waits_for_it_whoever_was_asked_for_first() {
    let order = Order::of(vec![
        member(1, &["b-devel", "gcc"], &[]),
        member(2, &["pkgconfig(c)", "gcc"], &["b-devel"]),
        member(3, &["gcc"], &["pkgconfig(c)"]),
    ]);
    assert_eq!([1, 2, 3].map(|number| waits(&order, number)), [vec![2], vec![3], vec![]]);
    assert_eq!([1, 2, 3].map(|number| order.height(id(number))), [0, 1, 2]);
    assert_eq!(order.listed(), [3, 2, 1].map(id));
    assert_eq!(order.blockers(id(1))[0].need.sentence(), "needs b-devel");
}

#[test]
fn what_a_build_showed_before_counts_for_names_that_no_spec_says() {
    let mut lib = member(2, &[], &["lib-devel"]);
    lib.before = Some(Before { provides: set(&["pkgconfig(lib)", "lib-old"]), requires: BTreeSet::new() });
    let order =
        Order::of(vec![member(1, &["pkgconfig(lib)"], &[]), lib.clone(), member(3, &["lib-old"], &[])]);
    assert_eq!(waits(&order, 1), [2]);
    assert!(waits(&order, 3).is_empty(), "its spec does not say lib-old any more");

    lib.source = None;
    let order = Order::of(vec![lib, member(3, &["lib-old"], &[])]);
    assert_eq!(waits(&order, 3), [2], "nothing newer is known");
}

#[test]
fn what_may_matter_must_be_read_first_unless_it_was_asked_for_later() {
    let unread = Member { source: None, ..member(2, &[], &[]) };
    let needs =
        |order: &Order| order.blockers(id(1)).into_iter().map(|blocker| blocker.need).collect::<Vec<_>>();
    assert_eq!(needs(&Order::of(vec![member(1, &["x"], &[]), unread.clone()])), [Need::Unread]);

    let later = Member { created: Stamp::from_millis(9_001), ..unread.clone() };
    assert_eq!(needs(&Order::of(vec![member(1, &["x"], &[]), later])), []);
    let later = Member { created: Stamp::from_millis(9_001), ..member(2, &[], &["x"]) };
    assert_eq!(
        needs(&Order::of(vec![member(1, &["x"], &[]), later])),
        [],
        "even if it is known to provide it"
    );
    let elsewhere = Member { tag: "other9s-x-1-candidate".into(), ..unread.clone() };
    assert_eq!(needs(&Order::of(vec![member(1, &["x"], &[]), elsewhere])), []);

    // A package that was built before provides what it did; who needs nothing new need not wait to know.
    let known = Some(Before { provides: set(&["y"]), requires: set(&["x"]) });
    let rebuilt = Member { before: known.clone(), ..unread };
    let mine = Member { before: known, ..member(1, &["x"], &[]) };
    assert_eq!(needs(&Order::of(vec![mine, rebuilt.clone()])), []);
    assert_eq!(needs(&Order::of(vec![member(1, &["x"], &[]), rebuilt])), [Need::Unread]);
}

#[test]
fn a_circle_begins_with_the_oldest() {
    let order = Order::of(vec![
        member(1, &["b"], &["a"]),
        member(2, &["c"], &["b"]),
        member(3, &["a"], &["c"]),
        member(4, &["a"], &[]),
    ]);
    assert_eq!([1, 2, 3, 4].map(|number| waits(&order, number)), [vec![], vec![3], vec![1], vec![1]]);
    assert_eq!(order.given_up(id(1))[0].package, "p2");
    assert!(order.given_up(id(4)).is_empty(), "who waits for a circle is in none");
    assert_eq!(order.height(id(1)), 2);
}

#[test]
fn levels_are_a_persons_word() {
    let on = |level: u32, member: Member| Member { link: chain(Some(level)), ..member };
    let order = Order::of(vec![
        on(0, member(1, &["b"], &["a"])),
        on(1, member(2, &[], &["b"])),
        on(1, member(3, &["b"], &[])),
    ]);
    assert_eq!([1, 2, 3].map(|number| waits(&order, number)), [vec![], vec![1], vec![1, 2]]);
    // A stranger in between does not turn them round.
    let order = Order::of(vec![
        on(1, member(1, &[], &["a"])),
        on(0, member(2, &["x"], &[])),
        member(3, &["a"], &["x"]),
    ]);
    assert_eq!([1, 2, 3].map(|number| waits(&order, number)), [vec![2], vec![], vec![1]]);
}

#[test]
fn a_name_nobody_is_known_to_provide_keeps_the_listed_order() {
    let unsure = |member: Member, name: &str| Member { unknown: set(&[name]), ..member };
    let order = Order::of(vec![
        chained(1, &["c-devel"], &[]),
        chained(2, &[], &[]),
        unsure(chained(3, &["pkgconfig(new)"], &["c-devel"]), "pkgconfig(new)"),
        chained(4, &[], &[]),
    ]);
    assert_eq!([1, 2, 3, 4].map(|number| waits(&order, number)), [vec![3], vec![], vec![2], vec![]]);
}

#[test]
fn who_needs_a_member_that_failed_hears_why() {
    let failed = Member {
        standing: Standing::Ended("failed: build on x86_64: %build".into()),
        ..chained(1, &[], &["a-devel"])
    };
    let order = Order::of(vec![failed.clone(), chained(2, &["a-devel"], &[]), chained(3, &[], &[])]);
    let failures: Vec<_> = order.blockers(id(2)).iter().filter_map(farm::chain::Blocker::failure).collect();
    assert_eq!(failures, ["needs a-devel from p1, which failed: build on x86_64: %build"]);
    assert!(waits(&order, 3).is_empty());

    // It failed before anybody knew what it would provide.
    let early = Member { source: None, ..failed };
    let order = Order::of(vec![
        early.clone(),
        chained(2, &["p1-devel"], &[]),
        chained(3, &["pkgconfig(p1)", "p10"], &[]),
    ]);
    assert_eq!([waits(&order, 2), waits(&order, 3)], [vec![1], vec![1]]);
    // Whoever is not of its chain goes on with what the repo has.
    assert!(waits(&Order::of(vec![early, member(2, &["p1-devel"], &[])]), 2).is_empty());
}

#[test]
fn a_package_does_not_wait_for_itself() {
    let again = Member { package: "p1".into(), ..member(2, &["p1-devel"], &["p1-devel"]) };
    let order = Order::of(vec![member(1, &["p1-devel"], &["p1-devel"]), again]);
    assert!(order.blockers(id(1)).is_empty() && order.blockers(id(2)).is_empty());
}

#[test]
fn all_names_of_a_rich_dependency_count() {
    for (text, names) in [
        ("zlib-devel", vec!["zlib-devel"]),
        ("pkgconfig(zlib)", vec!["pkgconfig(zlib)"]),
        ("(a or b)", vec!["a", "b"]),
        ("(pkgconfig(x) >= 1.2 and (b if c))", vec!["b", "c", "pkgconfig(x)"]),
        ("((foo with foo < 2) or libx.so.1()(64bit))", vec!["foo", "libx.so.1()(64bit)"]),
        ("", vec![]),
        ("((((", vec![]),
        (")", vec![")"]),
    ] {
        assert_eq!(names_of(text), set(&names), "{text}");
    }
    let told = "zlib = 1.3-1\nzlib-devel(x86-64) = 1.3-1\n\nconfig(zlib)\n";
    assert_eq!(provided_names(told), set(&["zlib", "zlib-devel(x86-64)", "config(zlib)"]));
}

/// Any set of requests: some read, some not, chained or not, with levels or without, asked for before or after.
fn anything() -> impl Strategy<Value = Vec<Member>> {
    let one = (
        proptest::collection::btree_set(0..6_usize, 0..4),
        proptest::collection::btree_set(0..6_usize, 0..3),
        0..4_u8,
        proptest::option::of(0..3_u32),
        any::<bool>(),
        0..3_i64,
        any::<bool>(),
    );
    proptest::collection::vec(one, 1..9).prop_map(|all| {
        let names =
            |set: BTreeSet<usize>| set.into_iter().map(|name| format!("n({name})")).collect::<Vec<_>>();
        all.into_iter()
            .enumerate()
            .map(|(number, (requires, provides, in_chain, level, is_read, late, is_unsure))| {
                let (requires, provides) = (names(requires), names(provides));
                let requires: Vec<&str> = requires.iter().map(String::as_str).collect();
                let provides: Vec<&str> = provides.iter().map(String::as_str).collect();
                let mut member = member(number, &requires, &provides);
                member.created = Stamp::from_millis(8_000 + 1_000 * late);
                if in_chain > 1 {
                    member.link = chain(level);
                    if is_unsure {
                        member.unknown = set(&requires);
                    }
                }
                if !is_read {
                    member.source = None;
                }
                member
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is open: something can go on, and when it has, something else can, until nothing is left. Of what is
    /// read nobody waits for somebody who waits for it.
    #[test]
    fn everything_is_built_in_the_end(members in anything()) {
        let mut open: BTreeMap<RequestId, Member> =
            members.iter().cloned().map(|member| (member.request, member)).collect();
        let mut steps = 0;
        while !open.is_empty() {
            steps += 1;
            prop_assert!(steps <= 2 * members.len(), "it does not end");
            let order = Order::of(open.values().cloned().collect());
            prop_assert_eq!(order.listed().len(), open.len(), "a circle is left");
            // The srpm jobs run by themselves; here as late as they can.
            let free = open.values().find(|member| member.source.is_some() && order.blockers(member.request).is_empty());
            match free.map(|member| member.request) {
                Some(free) => {
                    open.remove(&free);
                }
                None => {
                    let unread = open.values_mut().find(|member| member.source.is_none());
                    let Some(unread) = unread else { return Err(TestCaseError::fail("nobody can go on")) };
                    unread.source = member(0, &[], &[]).source;
                }
            }
        }
    }

    /// Where the needs make no circle and nothing contradicts them, everything needed comes first.
    #[test]
    fn needs_without_a_circle_are_kept(needs in proptest::collection::vec((0..8_usize, 0..8_usize), 0..16)) {
        // The higher number needs the lower one; who was asked for first is the other way round.
        let edges: BTreeSet<(usize, usize)> =
            needs.into_iter().filter(|(one, other)| one != other).map(|(one, other)| (one.min(other), one.max(other))).collect();
        let members = (0..8_usize).map(|number| {
            let requires: Vec<String> = edges.iter().filter(|(_, waiter)| *waiter == 7 - number).map(|(first, _)| format!("n{first}")).collect();
            let requires: Vec<&str> = requires.iter().map(String::as_str).collect();
            chained(number, &requires, &[&format!("n{}", 7 - number)])
        });
        let order = Order::of(members.collect());
        let listed = order.listed();
        let place = |number: usize| listed.iter().position(|request| *request == id(7 - number)).unwrap();
        for (first, waiter) in edges {
            prop_assert!(place(first) < place(waiter));
            prop_assert!(order.height(id(7 - first)) > order.height(id(7 - waiter)));
        }
    }
}

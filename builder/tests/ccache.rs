//! Which builds get a ccache, and what they may leave in it, told with an engine that runs no containers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod farmyard;

use builder::Engine;
use builder::engine::{Dummy, Script, Step};
use farm::arch::Arch;
use farm::buildroot::LOCK_FILE;
use farm::outcome::Outcome;
use farm::recipe::Recipe;

use farmyard::{Attempt, Farmyard};

/// A ccache as large as this is taken.
const MOST_MB: u64 = 1;
const COUNTS: &str = "cache_miss\t2\ndirect_cache_hit\t3\n";

/// A tar of one file; what it holds is what `says` says.
fn cache(name: &str, kind: tar::EntryType, says: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(says.len() as u64);
    header.set_cksum();
    archive.append(&header, says).unwrap();
    archive.into_inner().unwrap()
}

/// What the build leaves is what the macro `leaves` says.
fn builds(recipe: &Recipe, step: Step) -> Script {
    let rpm = Script::default().puts_out("any-1-1.x86_64.rpm", "an RPM");
    let file = tar::EntryType::Regular;
    let leaving = |cache: Vec<u8>| rpm.clone().puts_out("ccache.txt", COUNTS).puts_out("ccache.tar", cache);
    match (step, recipe.macros.get("leaves").map_or("", String::as_str)) {
        (Step::Build, "something") => leaving(cache("3/e/aR", file, b"compiled")),
        (Step::Build, "something else") => leaving(cache("3/e/aR", file, b"compiled anew")),
        (Step::Build, "and fails") => leaving(cache("3/e/aR", file, b"half")).exits(1),
        (Step::Build, "a link") => leaving(cache("3/e/aR", tar::EntryType::Symlink, b"")),
        (Step::Build, "a way out") => leaving(cache("../../3/e/aR", file, b"elsewhere")),
        (Step::Build, "a configuration") => leaving(cache("ccache.conf", file, b"compiler = mine")),
        (Step::Build, "too much") => leaving(cache("3/e/aR", file, &vec![0; 1024 * 1024])),
        (Step::Build, "nothing new") => rpm.puts_out("ccache.txt", COUNTS),
        (Step::Build, "no ccache") => rpm,
        _ => Script::default(),
    }
}

async fn build(farm: &mut Farmyard, leaves: &str, change: impl FnOnce(&mut Recipe)) -> (Outcome, Attempt) {
    let mut recipe = farm.any_build();
    recipe.macros.insert("leaves".to_owned(), leaves.to_owned());
    recipe.sharing.as_mut().unwrap().ccache_mb = MOST_MB;
    change(&mut recipe);
    farm.done(recipe).await
}

/// What the builder keeps of that target.
fn kept(farm: &Farmyard, target: &str) -> Option<Vec<u8>> {
    let arch = Arch::native().unwrap();
    std::fs::read(farm.folder.path().join(format!("data/ccache/{target}.{arch}.tar"))).ok()
}

const TARGET: &str = "demo9s-any-el9s";

#[tokio::test(flavor = "multi_thread")]
async fn a_build_leaves_its_ccache_to_the_next_of_its_target_and_to_no_other() {
    let mut farm = Farmyard::start(Engine::Dummy(Dummy::new(builds)), "base").await;
    let lock_says_so =
        |attempt: &Attempt| String::from_utf8_lossy(&attempt.files[LOCK_FILE]).contains("\"ccache\":true");

    let (outcome, first) = build(&mut farm, "something", |_| {}).await;
    assert_eq!(outcome, Outcome::Passed);
    let state = first.log("state.log");
    assert!(state.contains("Ccache: there is none of demo9s-any-el9s"), "{state}");
    assert!(state.contains("Ccache: 3 hits, 2 misses; ") && state.contains(" bytes kept"), "{state}");
    assert!(!lock_says_so(&first), "nothing went in");
    let mut names: Vec<&String> = first.files.keys().collect();
    names.sort();
    assert_eq!(names, ["any-1-1.x86_64.rpm", LOCK_FILE], "a ccache is no result");
    let before = kept(&farm, TARGET).unwrap();

    farm.restart(|_| {}).await;
    for (leaves, told) in [
        ("nothing new", "; kept as it was"),
        ("no ccache", "there is no ccache in the image; it was built without"),
        ("a link", "not kept: it was refused: \"3/e/aR\" is not a regular file"),
        ("a way out", "not kept: it was refused: \"../../3/e/aR\" is no file"),
        ("a configuration", "not kept: it was refused: \"ccache.conf\" is no file"),
        ("too much", "not kept: it was refused: it has "),
    ] {
        let (outcome, attempt) = build(&mut farm, leaves, |_| {}).await;
        let state = attempt.log("state.log");
        assert_eq!(outcome, Outcome::Passed, "{leaves}: {state}");
        assert!(state.contains(&format!("{} bytes of earlier builds", before.len())), "{leaves}: {state}");
        assert!(state.contains(told), "{leaves}: {state}");
        assert!(lock_says_so(&attempt), "{leaves}");
        assert_eq!(kept(&farm, TARGET).as_ref(), Some(&before), "{leaves}");
    }
    let (outcome, _) = build(&mut farm, "and fails", |_| {}).await;
    assert!(matches!(outcome, Outcome::FailedByPackage { .. }), "{outcome:?}");
    assert_eq!(kept(&farm, TARGET).as_ref(), Some(&before), "a build that failed leaves nothing");

    let (_, other) =
        build(&mut farm, "nothing new", |recipe| recipe.sharing.as_mut().unwrap().target.push('x')).await;
    assert!(other.log("state.log").contains("Ccache: there is none of demo9s-any-el9sx"));
    assert!(!lock_says_so(&other));
    let (outcome, _) = build(&mut farm, "something else", |_| {}).await;
    assert_eq!(outcome, Outcome::Passed);
    assert_ne!(kept(&farm, TARGET).unwrap(), before, "the last wins");
    farm.close().await;
}

/// Scratch builds, targets that do not ask for it, and builders that keep none.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_has_a_ccache() {
    let mut farm = Farmyard::start(Engine::Dummy(Dummy::new(builds)), "base").await;
    let (_, first) = build(&mut farm, "something", |_| {}).await;
    assert!(first.log("state.log").contains("bytes kept"));
    let before = kept(&farm, TARGET).unwrap();
    for what in ["a scratch build", "a target without", "nothing shared"] {
        let change = |recipe: &mut Recipe| match (what, &mut recipe.sharing) {
            ("a scratch build", Some(sharing)) => sharing.scratch = true,
            ("a target without", Some(sharing)) => sharing.ccache_mb = 0,
            (_, sharing) => *sharing = None,
        };
        let (outcome, attempt) = build(&mut farm, "no ccache", change).await;
        assert_eq!(outcome, Outcome::Passed, "{what}");
        assert!(!attempt.log("state.log").contains("Ccache"), "{what}: {}", attempt.log("state.log"));
        assert!(!String::from_utf8_lossy(&attempt.files[LOCK_FILE]).contains("ccache"), "{what}");
        let (outcome, _) = build(&mut farm, "something else", change).await;
        assert!(
            matches!(&outcome, Outcome::FailedByPackage { reason } if reason.contains("ccache")),
            "{outcome:?}"
        );
        assert_eq!(kept(&farm, TARGET).as_ref(), Some(&before), "{what}");
    }
    farm.restart(|config| config.ccache_mb = 0).await;
    let (outcome, attempt) = build(&mut farm, "no ccache", |_| {}).await;
    assert_eq!(outcome, Outcome::Passed);
    assert!(!attempt.log("state.log").contains("Ccache"));
    assert_eq!(kept(&farm, TARGET), None, "without room nothing is kept");
    farm.close().await;
}

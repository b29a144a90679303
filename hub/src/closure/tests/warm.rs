//! What was read once is not read again.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use super::dsl::{Repos, primary};
use crate::closure::{Cache, RepoData};

fn text(packages: usize) -> String {
    let lines: String = (0..packages).map(|at| format!("p{at}-1 provides x{at}\n")).collect();
    primary(&Repos::parse(&format!("base:\n{lines}")).base)
}

#[test]
fn a_repo_is_read_once_and_what_was_not_asked_for_the_longest_goes_first() {
    let xml = text(50);
    let reads = Cell::new(0);
    let weight = RepoData::read(xml.as_bytes()).unwrap().weight();
    let cache = Cache::new(2 * weight);
    let get = |key: &str| {
        let read = || {
            reads.set(reads.get() + 1);
            RepoData::read(xml.as_bytes())
        };
        cache.get_or_read(key, read).unwrap()
    };
    let first = get("one");
    assert!(Arc::ptr_eq(&first, &get("one")));
    get("two");
    get("one");
    assert_eq!(reads.get(), 2);
    // Three are too many: "two" goes, as "one" was asked for since.
    get("three");
    get("one");
    assert_eq!(reads.get(), 3);
    get("two");
    assert_eq!(reads.get(), 4);
}

#[test]
fn what_could_not_be_read_is_not_kept() {
    let cache = Cache::new(1 << 20);
    let failed = cache.get_or_read("one", || Err(io::Error::other("cut off")));
    assert_eq!(failed.unwrap_err().to_string(), "cut off");
    assert_eq!(cache.get_or_read("one", || RepoData::read(text(3).as_bytes())).unwrap().len(), 3);
}

//! The list of guards fits the tree: what it takes out is there, and so are the tests that notice. `dev/guards` takes them out.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn guards() -> Vec<toml::Table> {
    let text = std::fs::read_to_string(root().join("dev/guards.toml")).unwrap();
    let list: toml::Table = text.parse().unwrap();
    list["guard"].as_array().unwrap().iter().map(|guard| guard.as_table().unwrap().clone()).collect()
}

fn word<'a>(table: &'a toml::Table, key: &str) -> &'a str {
    table.get(key).and_then(toml::Value::as_str).unwrap_or_else(|| panic!("a guard has no {key}: {table:?}"))
}

/// What is taken out of which file.
fn edits(guard: &toml::Table) -> Vec<(&str, &str, &str)> {
    let of = |edit| (word(edit, "file"), word(edit, "find"), word(edit, "replace"));
    match guard.get("edit") {
        Some(edits) => edits.as_array().unwrap().iter().map(|edit| of(edit.as_table().unwrap())).collect(),
        None => vec![of(guard)],
    }
}

/// Every Rust file below a path, or the path itself, as one text.
fn sources(place: &Path) -> String {
    if place.is_file() {
        return std::fs::read_to_string(place).unwrap();
    }
    let Ok(entries) = std::fs::read_dir(place) else { return String::new() };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| sources(&path))
        .collect()
}

#[test]
fn what_a_guard_is_taken_out_of_is_there_once() {
    let mut ids = BTreeSet::new();
    let mut taken: BTreeMap<String, Vec<(usize, usize, String)>> = BTreeMap::new();
    for guard in guards() {
        let id = word(&guard, "id").to_owned();
        assert!(ids.insert(id.clone()), "two guards are called {id}");
        assert!(word(&guard, "prevents").ends_with('.'), "{id} does not say in a sentence what it prevents");
        for (file, find, replace) in edits(&guard) {
            let text = std::fs::read_to_string(root().join(file))
                .unwrap_or_else(|why| panic!("{id}: {file}: {why}"));
            let count = text.matches(find).count();
            assert_eq!(
                count, 1,
                "{id}: `{find}` is {count} times in {file}: dev/guards.toml must name it anew"
            );
            let off = replace.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "OFF");
            assert!(off, "{id}: the replacement does not say when it is OFF");
            let begin = text.find(find).unwrap();
            taken.entry(file.to_owned()).or_default().push((begin, begin + find.len(), id.clone()));
        }
    }
    for (file, mut places) in taken {
        places.sort();
        for pair in places.windows(2) {
            let [(_, end, one), (begin, _, other)] = pair else { continue };
            assert!(end <= begin, "{one} and {other} take out the same text of {file}");
        }
    }
}

#[test]
fn the_test_that_notices_is_there() {
    for guard in guards() {
        let (id, test) = (word(&guard, "id"), word(&guard, "test"));
        let words: Vec<&str> = test.split(' ').collect();
        let (krate, text, name) = match words.as_slice() {
            ["-p", krate, "--lib", name] => (krate, sources(&root().join(krate).join("src")), name),
            ["-p", krate, "--test", target, name] => {
                let tests = root().join(krate).join("tests");
                let text = sources(&tests.join(format!("{target}.rs"))) + &sources(&tests.join(target));
                (krate, text, name)
            }
            _ => panic!("{id}: `{test}` is not `-p CRATE --lib NAME` or `-p CRATE --test TARGET NAME`"),
        };
        // A contract is one function, and a test on each database; a story is one, on the embedded defaults and on real services.
        let function =
            ["::sqlite", "::postgres", "::embedded"].iter().fold(*name, |name, on| name.trim_end_matches(on));
        let last = function.rsplit("::").next().unwrap();
        assert!(text.contains(&format!("fn {last}(")), "{id}: {krate} has no test {name}");
    }
}

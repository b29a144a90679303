//! What ARCHITECTURE.md says of the crates and of who may use what is held against the tree.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn manifest(path: &Path) -> toml::Table {
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

fn members() -> BTreeSet<String> {
    let members = manifest(&root().join("Cargo.toml"))["workspace"]["members"].as_array().unwrap().clone();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

/// Every Rust file of a crate's sources with its text, by path below the root.
fn sources(member: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(member).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.insert(name, std::fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_code_map_has_a_paragraph_for_each_crate_and_no_other() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map = text.split("## Code map").nth(1).unwrap().split("### Who may import whom").next().unwrap();
    let named: BTreeSet<String> = map
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`').map(str::to_owned))
        .collect();
    assert_eq!(named, members());
}

#[test]
fn the_code_map_names_every_room() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map = text.split("## Code map").nth(1).unwrap().split("### Who may import whom").next().unwrap();
    for member in members() {
        let paragraph = map.split(&format!("### `{member}`")).nth(1).unwrap().split("### `").next().unwrap();
        for entry in std::fs::read_dir(root().join(&member).join("src")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && name != "bin" {
                let named =
                    [format!("`{name}`"), format!("`{name}/"), format!("`{name}::"), format!("`{name} ")];
                assert!(
                    named.iter().any(|named| paragraph.contains(named)),
                    "the paragraph of {member} does not say what is in `{name}/`"
                );
            }
        }
    }
    for folder in ["ansible", "dev", "monitoring", "sig-templates"] {
        assert!(
            root().join(folder).is_dir() && map.contains(&format!("`{folder}/`")),
            "{folder} is not on the map"
        );
    }
}

#[test]
fn roles_do_not_know_each_other() {
    let may = |member: &str| -> &[&str] {
        match member {
            "farm" => &[],
            "hub" | "scheduler" | "builder" | "signer" | "git-hooks" => &["farm"],
            "cli" => &["farm", "hub", "scheduler", "builder", "signer"],
            "tests" => &["farm", "hub", "scheduler", "builder", "signer", "cli", "git-hooks"],
            other => panic!("say in this test whom {other} may import"),
        }
    };
    let members = members();
    for member in &members {
        let manifest = manifest(&root().join(member).join("Cargo.toml"));
        for imported in
            manifest["dependencies"].as_table().unwrap().keys().filter(|name| members.contains(*name))
        {
            assert!(may(member).contains(&imported.as_str()), "{member} imports {imported}");
        }
    }
}

#[test]
fn each_outside_library_has_its_room() {
    let rooms: [(&str, &[&str]); 10] = [
        ("sqlx", &["farm/src/ledger/"]),
        ("lapin", &["farm/src/wire/"]),
        // A small listener of the roles that have no HTTP of their own, and what lies below axum.
        ("hyper", &["cli/src/roles/", "hub/src/http/"]),
        ("hyper_util", &["cli/src/roles/", "hub/src/http/"]),
        ("metrics_exporter_prometheus", &["hub/src/metrics"]),
        ("bollard", &["builder/src/engine/"]),
        ("git2", &["hub/src/intake/", "git-hooks/src/"]),
        ("object_store", &["hub/src/bucket"]),
        ("resolvo", &["hub/src/closure/"]),
        ("axum", &["hub/src/http/", "hub/src/gitserver", "hub/src/logs"]),
    ];
    for member in members().iter().filter(|member| *member != "tests") {
        for (file, text) in sources(member) {
            // A file's own tests may play the other side.
            let text = text.split("#[cfg(test)]").next().unwrap();
            for (library, allowed) in rooms {
                let used = text.contains(&format!("{library}::")) || text.contains(&format!("use {library}"));
                let at_home = allowed.iter().any(|room| file.starts_with(room));
                assert!(!used || at_home, "{file} uses {library}, which lives in {allowed:?}");
            }
        }
    }
}

#[test]
fn what_is_counted_is_counted_in_few_rooms() {
    let rooms = [
        "farm/src/ledger/counted.rs",
        "hub/src/http/guard.rs",
        "scheduler/src/run.rs",
        "signer/src/round.rs",
    ];
    for member in members().iter().filter(|member| *member != "tests") {
        for (file, text) in sources(member) {
            let counts = ["counter!(", "gauge!(", "histogram!("].iter().any(|word| text.contains(word));
            assert!(
                !counts || rooms.contains(&file.as_str()),
                "{file} counts; the rooms for that are {rooms:?}"
            );
        }
    }
}

#[test]
fn no_line_is_left_to_be_done() {
    for member in members() {
        for (file, text) in sources(&member) {
            for word in ["TODO", "FIXME", "XXX", "TEMPORARY"] {
                assert!(!text.contains(word), "{file} has a {word}");
            }
        }
    }
}

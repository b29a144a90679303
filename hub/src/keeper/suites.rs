//! Suites: where they come from, and how several become one.
//!
//! A suite is a folder with an executable `run.sh`. Every package of a snapshot may bring one as `tests/<suite>/` in its
//! dist-git tree, and the project's suite repo may have one as a top-level folder. All that are found run, each in its
//! own folder, under one small script; the suite passes when all of them do.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::{Component, Path, PathBuf};

/// The suite that every farm has: the snapshot's packages can be installed.
pub(super) const INSTALLS: &str = "installs";

/// Files of one suite folder, by path below it.
type Folder = BTreeMap<PathBuf, (u32, Content)>;

enum Content {
    File(Vec<u8>),
    Link(PathBuf),
}

/// A suite's folder out of a tree's tar, if the tree has it.
///
/// # Errors
/// When the tar cannot be read.
pub(super) fn folder_of(tree: &[u8], folder: &str) -> std::io::Result<Option<Suite>> {
    let mut files = Folder::new();
    let mut archive = tar::Archive::new(Cursor::new(tree));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Ok(below) = path.strip_prefix(folder) else { continue };
        if below.as_os_str().is_empty()
            || !below.components().all(|part| matches!(part, Component::Normal(_)))
        {
            continue;
        }
        let mode = entry.header().mode()?;
        let content = match entry.header().entry_type() {
            tar::EntryType::Regular => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                Content::File(bytes)
            }
            tar::EntryType::Symlink => match entry.link_name()? {
                // A link that leaves the suite's folder would point to something else where the suite runs.
                Some(target) if target.components().all(|part| matches!(part, Component::Normal(_))) => {
                    Content::Link(target.into_owned())
                }
                Some(_) | None => continue,
            },
            _ => continue,
        };
        files.insert(below.to_owned(), (mode, content));
    }
    Ok(files.contains_key(Path::new("run.sh")).then_some(Suite(files)))
}

/// One suite folder.
pub(super) struct Suite(Folder);

/// All providers' folders of one suite as one tar: each below its provider's name, with a script on top that runs them.
///
/// # Errors
/// When the tar cannot be written.
pub(super) fn combine(suites: &BTreeMap<String, Suite>) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    append_file(&mut builder, Path::new("run.sh"), 0o755, RUN_ALL.as_bytes())?;
    for (provider, Suite(files)) in suites {
        for (path, (mode, content)) in files {
            let path = Path::new(provider).join(path);
            match content {
                Content::File(bytes) => append_file(&mut builder, &path, *mode, bytes)?,
                Content::Link(target) => {
                    let mut header = tar::Header::new_gnu();
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    header.set_mode(0o777);
                    owned_by_root(&mut header);
                    builder.append_link(&mut header, &path, target)?;
                }
            }
        }
    }
    builder.into_inner()
}

fn append_file(
    builder: &mut tar::Builder<Vec<u8>>,
    path: &Path,
    mode: u32,
    bytes: &[u8],
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode & 0o777);
    owned_by_root(&mut header);
    builder.append_data(&mut header, path, bytes)
}

/// Equal folders make equal tars, and readers want an owner.
fn owned_by_root(header: &mut tar::Header) {
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
}

/// Runs one provider's suite after the other. The first that fails is the last that runs, so that the log ends with what went
/// wrong; a skipped one (exit 77) is a skip of all unless another fails. Results of different providers do not overwrite each
/// other.
const RUN_ALL: &str = r#"#!/bin/bash
# Runs the suite of every package that brings one. Exit 0: all passed; 77: one was skipped; otherwise: one failed.
verdict=0
results=${GRANGE_RESULTS:-/tmp}
for folder in */; do
    provider=${folder%/}
    [ -f "$provider/run.sh" ] || continue
    echo "== $provider"
    export GRANGE_RESULTS="$results/.$provider"
    mkdir -p "$GRANGE_RESULTS"
    (cd "$provider" && if [ -x run.sh ]; then exec ./run.sh; else exec bash run.sh; fi)
    code=$?
    for file in "$GRANGE_RESULTS"/*.xml; do
        [ -f "$file" ] && mv "$file" "$results/$provider-${file##*/}"
    done
    rm -rf "$GRANGE_RESULTS"
    case $code in
        0) ;;
        77) verdict=77 ;;
        *) exit "$code" ;;
    esac
done
exit $verdict
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in files {
            append_file(&mut builder, Path::new(path), 0o755, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_suite_is_found_in_its_tree_and_nowhere_else() {
        let tree =
            tree(&[("hello.spec", "x"), ("tests/runs/run.sh", "true"), ("tests/runs-not/run.sh", "false")]);
        assert_eq!(folder_of(&tree, "tests/runs").unwrap().unwrap().0.len(), 1);
        assert!(folder_of(&tree, "tests/other").unwrap().is_none());
    }

    #[test]
    fn all_providers_run_and_one_failure_fails_the_suite() {
        for (first, second, code) in [
            ("exit 0", "exit 0", 0),
            ("exit 0", "exit 3", 3),
            ("exit 77", "exit 0", 77),
            ("exit 3", "exit 77", 3),
            ("exit 77", "exit 3", 3),
        ] {
            let suites = [("a", first), ("b", second)]
                .into_iter()
                .map(|(name, script)| {
                    let tree = tree(&[("tests/runs/run.sh", &format!("#!/bin/sh\n{script}\n"))]);
                    (name.to_owned(), folder_of(&tree, "tests/runs").unwrap().unwrap())
                })
                .collect();
            let dir = tempfile::tempdir().unwrap();
            tar::Archive::new(Cursor::new(combine(&suites).unwrap())).unpack(dir.path()).unwrap();
            let results = tempfile::tempdir().unwrap();
            let status = std::process::Command::new("./run.sh")
                .current_dir(dir.path())
                .env("GRANGE_RESULTS", results.path())
                .output()
                .unwrap()
                .status;
            assert_eq!(status.code(), Some(code), "{first} and {second}");
        }
    }
}

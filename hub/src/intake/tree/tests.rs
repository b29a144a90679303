use std::collections::BTreeMap;
use std::io::Read as _;

use git2::{FileMode, Oid, Signature};

use super::*;

const MIB: u64 = 1024 * 1024;

/// A repo whose commits are written object by object, so that they may hold what git's own commands refuse.
struct Bench {
    _dir: tempfile::TempDir,
    git: DistGit,
}

type Files<'a> = &'a [(&'a str, FileMode, &'a str)];
type Split<'a> = (Vec<&'a str>, FileMode, &'a str);

const FILE: FileMode = FileMode::Blob;
const PROGRAM: FileMode = FileMode::BlobExecutable;
const LINK: FileMode = FileMode::Link;

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Repository::init_bare(dir.path()).unwrap();
        let git = DistGit::open(dir.path(), "rpms/hello").unwrap();
        Self { _dir: dir, git }
    }

    /// Commits exactly these files. A submodule's content is the commit it is at.
    fn commit(&self, files: Files<'_>) -> String {
        let files: Vec<Split<'_>> =
            files.iter().map(|(path, mode, content)| (path.split('/').collect(), *mode, *content)).collect();
        let tree = self.tree(&files);
        let tree = self.git.repo.find_tree(tree).unwrap();
        let me = Signature::new("me", "me@localhost", &git2::Time::new(0, 0)).unwrap();
        let branch = "refs/heads/c9s-sig-storage-gluster";
        let parent = self.git.repo.refname_to_id(branch).ok();
        let parent = parent.map(|id| self.git.repo.find_commit(id).unwrap());
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        let id =
            self.git.repo.commit(Some(branch), &me, &me, "Update to 2.10\n\nMore.", &tree, &parents).unwrap();
        id.to_string()
    }

    fn tree(&self, files: &[Split<'_>]) -> Oid {
        let repo = &self.git.repo;
        let mut builder = repo.treebuilder(None).unwrap();
        let mut folders: BTreeMap<&str, Vec<Split<'_>>> = BTreeMap::new();
        for (path, mode, content) in files {
            match path.as_slice() {
                [name] if *mode == FileMode::Commit => {
                    builder.insert(name, Oid::from_str(content).unwrap(), (*mode).into()).unwrap();
                }
                [name] => {
                    let blob = repo.blob(content.as_bytes()).unwrap();
                    builder.insert(name, blob, (*mode).into()).unwrap();
                }
                [folder, rest @ ..] => {
                    folders.entry(folder).or_default().push((rest.to_vec(), *mode, content));
                }
                [] => unreachable!(),
            }
        }
        for (name, files) in folders {
            builder.insert(name, self.tree(&files), FileMode::Tree.into()).unwrap();
        }
        builder.write().unwrap()
    }

    fn refusal(&self, files: Files<'_>) -> String {
        let commit = self.commit(files);
        match self.git.read(&commit, "hello") {
            Err(error) => error.to_string(),
            Ok(_) => self.git.tar(&commit, MIB).unwrap_err().to_string(),
        }
    }
}

#[test]
fn a_flat_repo_is_read() {
    let bench = Bench::new();
    let sources = format!("SHA512 (hello-2.10.tar.gz) = {}\n", "a".repeat(128));
    let commit = bench.commit(&[
        ("hello.spec", FILE, "Name: hello\n"),
        ("helper.spec", FILE, ""),
        ("sources", FILE, &sources),
        (".hello.metadata", FILE, "left over from an import"),
        ("tests/smoke/run.sh", PROGRAM, "#!/bin/sh\n"),
        ("tests/plain/run.sh", FILE, ""),
        ("tests/no-program/README", FILE, ""),
        ("tests/-bad/run.sh", PROGRAM, ""),
        ("tests/run.sh", PROGRAM, ""),
    ]);
    let read = bench.git.read(&commit, "hello").unwrap();
    assert_eq!((read.layout, read.spec.as_str()), (Layout::Flat, "hello.spec"));
    assert_eq!((read.commit.as_str(), read.subject.as_str()), (commit.as_str(), "Update to 2.10"));
    assert_eq!(read.sources.len(), 1);
    assert_eq!(read.suites, ["plain", "smoke"]);
    assert_eq!(bench.git.suites(&commit, "tests").unwrap(), ["plain", "smoke"]);
    assert_eq!(bench.git.suites(&commit, "").unwrap(), ["tests"]);
    assert_eq!(bench.git.head("c9s-sig-storage-gluster").unwrap(), Some(commit.clone()));
    assert_eq!(bench.git.head("c9s").unwrap(), None);
    assert_eq!(bench.git.branches().unwrap(), [("c9s-sig-storage-gluster".to_owned(), commit)]);
}

#[test]
fn a_file_at_the_top_is_read_as_it_is_or_refused() {
    let bench = Bench::new();
    let commit = bench.commit(&[
        ("comps.xml", FILE, "<comps/>\n"),
        ("updateinfo.xml", FileMode::Link, "/etc/passwd"),
        ("modules.yaml/x", FILE, ""),
    ]);
    let read = |name: &str, most: u64| bench.git.file(&commit, name, most);
    assert_eq!(read("comps.xml", 9).unwrap(), Some(b"<comps/>\n".to_vec()));
    assert_eq!(read("README", 9).unwrap(), None);
    let why = |name: &str, most: u64| read(name, most).unwrap_err().to_string();
    let at = format!("rpms/hello at {}", &commit[..8]);
    assert_eq!(why("comps.xml", 8), format!("`comps.xml` in {at} has more than the 0 MiB that it may have"));
    for name in ["updateinfo.xml", "modules.yaml"] {
        assert!(why(name, 99).starts_with(&format!("`{name}` in {at} is no regular file")), "{name}");
    }
}

#[test]
fn an_exploded_repo_is_read() {
    let bench = Bench::new();
    let metadata = format!("{} SOURCES/hello-2.10.tar.gz\n", "b".repeat(40));
    let commit = bench.commit(&[
        ("SPECS/hello.spec", FILE, ""),
        ("SOURCES/fix.patch", FILE, ""),
        (".hello.metadata", FILE, &metadata),
    ]);
    let read = bench.git.read(&commit, "hello").unwrap();
    assert_eq!((read.layout, read.spec.as_str()), (Layout::Exploded, "SPECS/hello.spec"));
    assert_eq!(read.sources[0].file, "hello-2.10.tar.gz");
}

#[test]
fn what_cannot_be_built_is_said_to_the_maintainer() {
    let bench = Bench::new();
    let spec = ("hello.spec", FILE, "");
    let cases: [(Files<'_>, &str); 13] = [
        (&[("README", FILE, "")], "no .spec file in the root or in SPECS/ of rpms/hello at "),
        (&[("hello.spec", LINK, "other.spec")], "no .spec file in the root or in SPECS/"),
        (&[("a.spec", FILE, ""), ("b.spec", FILE, "")], "a.spec, b.spec; keep one, or call one hello.spec"),
        (&[("a b.spec", FILE, "")], "is called `a b.spec`"),
        (&[("-x.spec", FILE, "")], "is called `-x.spec`"),
        (&[spec, ("sources", FILE, "nonsense")], "line 1 of `sources` is `nonsense`"),
        (
            &[spec, ("sub", FileMode::Commit, "1234567890123456789012345678901234567890")],
            "`sub` in rpms/hello at",
        ),
        (&[spec, ("link", LINK, "/etc/passwd")], "is a symlink that leaves the tree"),
        (&[spec, ("link", LINK, "../x")], "is a symlink that leaves the tree"),
        (&[spec, ("a/b/link", LINK, "../../../x")], "`a/b/link` in rpms/hello at"),
        (&[spec, ("a/up", LINK, "b/../../x")], "is a symlink that leaves the tree"),
        (&[spec, ("a\nb", FILE, "")], "`a?b` in rpms/hello at"),
        (&[spec, ("a\\b", FILE, "")], "has a name that a build cannot use safely"),
    ];
    for (files, expected) in cases {
        let refusal = bench.refusal(files);
        assert!(refusal.contains(expected), "{refusal}");
    }
    let unknown = bench.git.read(&"1".repeat(40), "hello").unwrap_err().to_string();
    assert!(unknown.contains("push it first"), "{unknown}");
    for id in ["main", "HEAD", "1234", "--upload-pack=x"] {
        assert!(matches!(bench.git.read(id, "hello"), Err(TreeError::NoCommit { .. })), "{id}");
    }
}

#[test]
fn a_tar_is_sorted_and_the_same_for_the_same_content() {
    let bench = Bench::new();
    let long = format!("SOURCES/{}.patch", "x".repeat(150));
    let files: Files<'_> = &[
        ("hello.spec", FILE, "Name: hello\n"),
        ("tests/smoke/run.sh", PROGRAM, "#!/bin/sh\n"),
        ("tests/smoke/data/link", LINK, "../run.sh"),
        ("a-b", FILE, "1"),
        ("a/c", FILE, "22"),
        (&long, FILE, "long"),
    ];
    let first = bench.commit(files);
    let second = bench.commit(files);
    assert_ne!(first, second);
    let bytes = bench.git.tar(&first, MIB).unwrap();
    assert_eq!(bytes, bench.git.tar(&second, MIB).unwrap());
    let listed = list(&bytes);
    let expected = [
        ("SOURCES/", 0o755, String::new()),
        (&long, 0o644, "long".into()),
        ("a/", 0o755, String::new()),
        ("a-b", 0o644, "1".into()),
        ("a/c", 0o644, "22".into()),
        ("hello.spec", 0o644, "Name: hello\n".into()),
        ("tests/", 0o755, String::new()),
        ("tests/smoke/", 0o755, String::new()),
        ("tests/smoke/data/", 0o755, String::new()),
        ("tests/smoke/data/link", 0o777, "-> ../run.sh".into()),
        ("tests/smoke/run.sh", 0o755, "#!/bin/sh\n".into()),
    ];
    let expected: Vec<_> =
        expected.into_iter().map(|(path, mode, content)| (path.to_owned(), mode, content)).collect();
    assert_eq!(listed, expected);

    let suite = bench.git.tar_folder(&first, "tests/smoke", MIB).unwrap();
    let paths: Vec<String> = list(&suite).into_iter().map(|(path, _, _)| path).collect();
    assert_eq!(paths, ["data/", "data/link", "run.sh"]);
    let absent = bench.git.tar_folder(&first, "tests/none", MIB).unwrap_err().to_string();
    assert!(absent.starts_with("there is no folder `tests/none` in rpms/hello at "), "{absent}");
    let large = bench.git.tar(&first, 20).unwrap_err().to_string();
    assert!(large.contains("holds more than 20 bytes; keep large files in the lookaside"), "{large}");
}

#[test]
fn a_suite_may_not_link_to_what_is_outside_of_it() {
    let bench = Bench::new();
    let commit = bench.commit(&[("hello.spec", FILE, ""), ("tests/smoke/run.sh", LINK, "../../hello.spec")]);
    assert!(bench.git.tar(&commit, MIB).is_ok());
    let refused = bench.git.tar_folder(&commit, "tests/smoke", MIB).unwrap_err().to_string();
    assert!(refused.contains("`run.sh` in tests/smoke of rpms/hello at"), "{refused}");
}

fn list(bytes: &[u8]) -> Vec<(String, u32, String)> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        let mode = header.mode().unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = String::new();
        match entry.link_name().unwrap() {
            Some(target) => content = format!("-> {}", target.display()),
            None => {
                entry.read_to_string(&mut content).unwrap();
            }
        }
        (path, mode, content)
    });
    entries.collect()
}

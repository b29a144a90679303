//! Whole repos: that clients read them, that a change costs what changed, and that the same is always the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use farm::extras::{Extra, ExtraKind};
use farm::nvr::Nevra;

use super::oracle::{createrepo, packages_of, read_document};
use crate::artifacts::Artifacts;
use crate::repos::engine::{Compression, Engine, EngineError, Entry, Written, store::files_below};
use crate::repos::samples::dnf_lists;
use crate::rpms::sample::sample_rpm;

const COMPS: &str = "<?xml version=\"1.0\"?>\n<comps><group><id>greeters</id><name>Greeters</name>\
    <description>d</description><default>true</default><uservisible>true</uservisible>\
    <packagelist><packagereq type=\"mandatory\">hello</packagereq></packagelist></group></comps>\n";
const ADVISORY: &str = "<?xml version=\"1.0\"?>\n<updates><update from=\"x\" status=\"final\" type=\"security\" version=\"1\">\
    <id>FARM-2026:1</id><title>t</title><issued date=\"2026-01-01 00:00:00\"/><severity>Important</severity>\
    <description>d</description><pkglist><collection short=\"c\"><name>c</name>\
    <package name=\"hello\" version=\"2\" release=\"1\" epoch=\"0\" arch=\"x86_64\"><filename>hello-2-1.x86_64.rpm</filename>\
    </package></collection></pkglist></update></updates>\n";
const MODULES: &str = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: greet\n  stream: \"1\"\n  version: 1\n  context: abc\n  \
    arch: x86_64\n  summary: s\n  description: d\n  license:\n    module: [MIT]\n  artifacts:\n    rpms:\n    - other-0:1-1.x86_64\n...\n";

struct Room {
    dir: tempfile::TempDir,
    artifacts: Artifacts,
    engine: Engine,
}

impl Room {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(&dir.path().join("artifacts")).unwrap();
        let engine = Engine::open(&dir.path().join("engine"), &artifacts).unwrap();
        Self { dir, artifacts, engine }
    }

    async fn package(&self, name: &str, version: &str) -> Entry {
        let sample = sample_rpm(name, version, "1", "x86_64");
        let stored = self.artifacts.put_bytes(&sample.bytes().unwrap()).await.unwrap();
        let nevra = Nevra {
            name: name.to_owned(),
            epoch: 0,
            version: version.to_owned(),
            release: "1".into(),
            arch: "x86_64".into(),
        };
        Entry::new(&nevra, &stored.digest, stored.size)
    }

    async fn packages(&self, count: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        for number in 0..count {
            entries.push(self.package(&format!("package-{number}"), "1").await);
        }
        entries
    }

    fn write(&self, name: &str, packages: &[Entry]) -> (PathBuf, Vec<Written>) {
        self.write_as(name, packages, &[], Compression::Gzip)
    }

    fn write_as(
        &self,
        name: &str,
        packages: &[Entry],
        extras: &[Extra],
        compression: Compression,
    ) -> (PathBuf, Vec<Written>) {
        let folder = self.dir.path().join(name);
        let written = self.engine.write(&folder, packages, extras, 1_700_000_000_123, compression).unwrap();
        (folder, written)
    }

    /// Puts the packages where the metadata says they are.
    fn lay_out(&self, folder: &Path, packages: &[Entry]) {
        for entry in packages {
            let path = folder.join(entry.href());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            self.artifacts.link_to(entry.digest(), &path).unwrap();
        }
    }

    fn kept_buckets(&self) -> BTreeSet<PathBuf> {
        files_below(&self.dir.path().join("engine/members")).unwrap().into_iter().collect()
    }
}

#[tokio::test]
async fn createrepo_and_dnf_read_what_it_writes_in_either_compression() {
    let room = Room::new();
    let packages = room.packages(200).await;
    for compression in [Compression::Gzip, Compression::Zstd] {
        let (folder, written) = room.write_as(compression.suffix(), &packages, &[], compression);
        for file in &written {
            let bytes = fs::read(folder.join("repodata").join(&file.name)).unwrap();
            assert_eq!(
                (farm::digest::Digest::of(&bytes), bytes.len() as u64),
                (file.digest.clone(), file.size)
            );
        }
        let ours = packages_of(&folder.join("repodata"));
        assert_eq!(
            fs::read_dir(folder.join("repodata")).unwrap().count(),
            written.len(),
            "nothing else is left"
        );
        room.lay_out(&folder, &packages);
        let listed = dnf_lists(&format!("file://{}", folder.display()));
        assert_eq!(listed.len(), 200);
        // It looks what is new, finds nothing, and says what we said: but for the time and the place of a file, which it
        // has looked at.
        let repomd = fs::read_to_string(folder.join("repodata/repomd.xml")).unwrap();
        assert!(repomd.contains("<revision>1700000000123</revision>"), "{repomd}");
        let theirs = createrepo(&folder);
        assert_eq!(theirs.len(), 200);
        for (digest, [_, filelists, other]) in &ours {
            assert_eq!((filelists, other), (&theirs[digest][1], &theirs[digest][2]));
        }
    }
}

#[tokio::test]
async fn createrepo_updates_from_what_it_writes() {
    let room = Room::new();
    let packages = room.packages(3).await;
    let (folder, _) = room.write("repo", &packages);
    room.lay_out(&folder, &packages);
    let output = Command::new("createrepo_c")
        .args(["--update", "--skip-stat", "--no-database", "--verbose"])
        .arg(&folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("CACHE HIT"), "{said}");
    assert_eq!(packages_of(&folder.join("repodata")).len(), 3);
}

#[tokio::test]
async fn a_new_package_costs_one_bucket() {
    let room = Room::new();
    let mut packages = room.packages(300).await;
    room.write("one", &packages);
    let before = room.kept_buckets();
    packages.push(room.package("one-more", "1").await);
    let (folder, _) = room.write("two", &packages);
    let after = room.kept_buckets();
    assert_eq!(after.difference(&before).count(), 3, "one of each document");
    assert_eq!(packages_of(&folder.join("repodata")).len(), 301);
    // A new version takes the place of the old one.
    *packages.last_mut().unwrap() = room.package("one-more", "2").await;
    room.write("three", &packages);
    assert_eq!(room.kept_buckets().difference(&after).count(), 3);
}

#[tokio::test]
async fn equal_packages_give_equal_files_wherever_and_whenever() {
    let (one, other) = (Room::new(), Room::new());
    let mut packages = one.packages(140).await;
    other.packages(140).await;
    let (_, written) = one.write("repo", &packages);
    packages.reverse();
    assert_eq!(other.write("repo", &packages).1, written);
    assert_eq!(one.write("again", &packages).1, written);
    let again = Engine::open(&one.dir.path().join("engine"), &one.artifacts).unwrap();
    let folder = one.dir.path().join("third");
    assert_eq!(again.write(&folder, &packages, &[], 1_700_000_000_123, Compression::Gzip).unwrap(), written);
}

#[tokio::test]
async fn what_was_kept_and_is_damaged_is_made_again() {
    let room = Room::new();
    let packages = room.packages(140).await;
    let (_, written) = room.write("repo", &packages);
    let kept: Vec<PathBuf> = ["members", "fragments"]
        .into_iter()
        .flat_map(|name| files_below(&room.dir.path().join("engine").join(name)).unwrap())
        .collect();
    assert!(kept.len() > 140);
    for path in kept {
        fs::write(path, "").unwrap();
    }
    assert_eq!(room.write("again", &packages).1, written);
}

#[tokio::test]
async fn tidying_keeps_what_is_used() {
    let room = Room::new();
    let packages = room.packages(3).await;
    room.write("repo", &packages);
    assert_eq!(room.engine.tidy().unwrap(), 0);
    room.artifacts.remove(packages[0].digest()).unwrap();
    assert_eq!(room.engine.tidy().unwrap(), 1, "the fragment of what is not stored");
    for path in room.kept_buckets() {
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 24 * 3600);
        fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    room.write("again", &packages[..]);
    assert_eq!(room.engine.tidy().unwrap(), 0, "it was used just now");
    for path in room.kept_buckets() {
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 24 * 3600);
        fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    assert_eq!(room.engine.tidy().unwrap(), 3);
}

#[tokio::test]
async fn what_is_no_package_is_named() {
    let room = Room::new();
    let stored = room.artifacts.put_bytes(b"no RPM").await.unwrap();
    let error = room.engine.learn(&stored.digest).unwrap_err();
    assert!(matches!(&error, EngineError::Package { digest, .. } if *digest == stored.digest), "{error}");
    let absent = farm::digest::Digest::of(b"absent");
    assert!(matches!(room.engine.learn(&absent), Err(EngineError::Missing(_))));
}

#[tokio::test]
async fn groups_advisories_and_modules_are_carried_through() {
    let room = Room::new();
    let packages = [room.package("hello", "2").await];
    let mut extras = Vec::new();
    for (kind, text) in
        [(ExtraKind::Group, COMPS), (ExtraKind::Updateinfo, ADVISORY), (ExtraKind::Modules, MODULES)]
    {
        let stored = room.artifacts.put_bytes(text.as_bytes()).await.unwrap();
        extras.push(Extra { kind, digest: stored.digest, size: stored.size });
    }
    let (folder, _) = room.write_as("repo", &packages, &extras, Compression::Gzip);
    room.lay_out(&folder, &packages);
    let repodata = folder.join("repodata");
    for (name, content) in [("comps.xml", COMPS), ("updateinfo.xml", ADVISORY), ("modules.yaml", MODULES)] {
        assert_eq!(read_document(&repodata, name), content);
    }
    let dnf = |extra: &[&str]| {
        let root = room.dir.path();
        fs::create_dir_all(root.join("none")).unwrap();
        let output = Command::new("dnf")
            .args(["--quiet", "--releasever=9", "--forcearch=x86_64", "--repo=sample"])
            .arg(format!("--installroot={}", root.join("root").display()))
            .arg(format!("--repofrompath=sample,file://{}", folder.display()))
            .arg(format!("--setopt=reposdir={}", root.join("none").display()))
            .arg(format!("--setopt=cachedir={}", root.join("cache").display()))
            .args(["--setopt=skip_if_unavailable=0", "--setopt=sample.skip_if_unavailable=0"])
            .args(["--setopt=module_platform_id=platform:el9"])
            .args(extra)
            .output()
            .expect("dnf must be installed (Debian: apt install dnf)");
        assert!(output.status.success(), "dnf: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(dnf(&["group", "list"]).contains("Greeters"));
    assert_eq!(dnf(&["repoquery", "--advisory=FARM-2026:1"]), "hello-0:2-1.x86_64\n");
    assert!(dnf(&["module", "list"]).contains("greet"));

    // What the store has lost, or has another file for, is in no repo.
    let write = |extra: &Extra| {
        let place = room.dir.path().join("damaged");
        room.engine.write(&place, &packages, std::slice::from_ref(extra), 1, Compression::Gzip)
    };
    let stored = room.artifacts.path(&extras[0].digest);
    fs::remove_file(&stored).unwrap();
    assert!(matches!(write(&extras[0]), Err(EngineError::Extra { name: "comps.xml", .. })));
    fs::write(&stored, "<comps/>").unwrap();
    assert!(matches!(write(&extras[0]), Err(EngineError::Extra { name: "comps.xml", .. })));
}

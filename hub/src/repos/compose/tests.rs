use super::*;
use crate::files::link_or_copy;
use crate::repos::samples::{Bench, X86, dnf_lists};
use crate::rpms::sample::sample_rpm;
use farm::digest::Digest;

const PATIENT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_snapshot_becomes_repos_that_dnf_reads() {
    let mut bench = Bench::new();
    let hello = bench.hello("2.10").await;
    let snapshot = bench.snapshot("storage9s-gluster-11-candidate", None, &[hello]);
    let dir = compose(&bench.staging(), &bench.artifacts, &snapshot, &X86, PATIENT).await.unwrap();
    assert_eq!(dir, bench.staging().join(snapshot.id.to_string()));
    let lists = |folder: &str| dnf_lists(&format!("file://{}", dir.join(folder).display()));
    assert_eq!(lists("x86_64"), ["hello-2.10-1.el9s.x86_64", "hello-doc-2.10-1.el9s.noarch"]);
    assert_eq!(lists("debug-x86_64"), ["hello-debuginfo-2.10-1.el9s.x86_64"]);
    assert_eq!(lists("source"), ["hello-2.10-1.el9s.src"]);
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o755);
    let repomd = fs::read_to_string(dir.join("x86_64/repodata/repomd.xml")).unwrap();
    assert!(repomd.contains(&format!("<revision>{}</revision>", snapshot.created.millis())), "{repomd}");

    let again = compose(&bench.staging(), &bench.artifacts, &snapshot, &X86, PATIENT).await.unwrap();
    assert_eq!(again, dir);
}

#[tokio::test]
async fn the_manifest_names_every_file_with_its_digest() {
    let mut bench = Bench::new();
    let hello = bench.hello("2.10").await;
    let snapshot = bench.snapshot("storage9s-gluster-11-candidate", None, &[hello]);
    let dir = compose(&bench.staging(), &bench.artifacts, &snapshot, &X86, PATIENT).await.unwrap();
    for folder in manifest::folder_names(&X86) {
        let manifest = manifest::read(&dir, snapshot.id, &folder).unwrap();
        assert_eq!(manifest.id, snapshot.id);
        for file in &manifest.files {
            let path = manifest::file_in(&dir, &folder, &file.path).unwrap();
            let bytes = fs::read(path).unwrap();
            assert_eq!((Digest::of(&bytes), bytes.len() as u64), (file.digest.clone(), file.size));
        }
        let on_disk = walk(&dir.join(&folder));
        assert_eq!(manifest.files.len(), on_disk, "{folder}");
    }
    let missing = manifest::read(&dir, snapshot.id, "aarch64").unwrap_err().to_string();
    assert_eq!(missing, format!("snapshot {} has no folder `aarch64`", snapshot.id));
}

fn walk(dir: &Path) -> usize {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { walk(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn an_empty_snapshot_is_an_empty_repo() {
    let mut bench = Bench::new();
    let snapshot = bench.snapshot("storage9s-gluster-11-candidate", None, &[]);
    let dir = compose(&bench.staging(), &bench.artifacts, &snapshot, &X86, PATIENT).await.unwrap();
    assert_eq!(dnf_lists(&format!("file://{}", dir.join("x86_64").display())), Vec::<String>::new());
}

#[tokio::test]
async fn two_composers_at_once_make_one() {
    let mut bench = Bench::new();
    let hello = bench.hello("2.10").await;
    let snapshot = bench.snapshot("storage9s-gluster-11-candidate", None, &[hello]);
    let staging = bench.staging();
    let one = compose(&staging, &bench.artifacts, &snapshot, &X86, PATIENT);
    let other = compose(&staging, &bench.artifacts, &snapshot, &X86, PATIENT);
    let (one, other) = tokio::join!(one, other);
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 1);
}

#[tokio::test]
async fn what_cannot_be_composed_leaves_nothing() {
    let mut bench = Bench::new();
    let tag = "storage9s-gluster-11-candidate";
    let mut lost = bench.hello("2.10").await;
    bench.artifacts.remove(&lost.rpms[0].digest).unwrap();
    let snapshot = bench.snapshot(tag, None, std::slice::from_ref(&lost));
    let error = compose(&bench.staging(), &bench.artifacts, &snapshot, &X86, PATIENT).await.unwrap_err();
    assert!(error.to_string().contains("hello-2.10-1.el9s.x86_64.rpm: there is no artifact"), "{error}");

    lost.rpms[0].file = "../../evil.rpm".into();
    let snapshot = bench.snapshot(tag, None, &[lost]);
    let error = compose(&bench.staging(), &bench.artifacts, &snapshot, &X86, PATIENT).await.unwrap_err();
    assert!(matches!(error, ComposeError::BadFile { .. }), "{error}");

    let one = bench.member(&[sample_rpm("hello", "1", "1", "x86_64")]).await;
    let mut other = bench.member(&[sample_rpm("hello", "1", "1", "x86_64")]).await;
    other.package = "another".into();
    let snapshot = bench.snapshot(tag, None, &[one, other]);
    let error = compose(&bench.staging(), &bench.artifacts, &snapshot, &X86, PATIENT).await.unwrap_err();
    assert!(matches!(error, ComposeError::TwoFiles { .. }), "{error}");

    let mut broken = bench.member(&[sample_rpm("hello", "1", "1", "x86_64")]).await;
    broken.rpms[0].digest = bench.artifacts.put_bytes(b"no RPM").await.unwrap().digest;
    let snapshot = bench.snapshot(tag, None, &[broken]);
    let error = compose(&bench.staging(), &bench.artifacts, &snapshot, &X86, PATIENT).await.unwrap_err();
    assert!(matches!(error, ComposeError::Createrepo { .. }), "{error}");

    let late = bench.hello("2.11").await;
    let snapshot = bench.snapshot(tag, None, &[late]);
    let error =
        compose(&bench.staging(), &bench.artifacts, &snapshot, &X86, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, ComposeError::TimedOut { .. }), "{error}");
    assert_eq!(fs::read_dir(bench.staging()).unwrap().count(), 0);
}

#[test]
fn cleaning_removes_what_the_dead_left_and_nothing_of_the_living() {
    let mut bench = Bench::new();
    let staging = bench.staging();
    let id = bench.snapshot("x9-y-1-candidate", None, &[]).id;
    fs::create_dir_all(staging.join(format!("{id}.dead.partial/x86_64"))).unwrap();
    fs::create_dir_all(staging.join(id.to_string())).unwrap();
    let alive = Partial::create(&staging, id).unwrap();
    clean(&staging).unwrap();
    assert!(alive.path().is_dir() && staging.join(id.to_string()).is_dir());
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 2);
}

#[test]
fn what_cannot_be_linked_is_copied() {
    let here = tempfile::tempdir().unwrap();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
    let (from, to) = (here.path().join("a"), elsewhere.path().join("b"));
    fs::write(&from, "hello").unwrap();
    link_or_copy(&from, &to).unwrap();
    assert_eq!(fs::read(to).unwrap(), b"hello");
}

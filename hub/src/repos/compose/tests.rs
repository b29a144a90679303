use super::*;
use crate::files::link_or_copy;
use crate::repos::publish::SnapshotTree;
use crate::repos::samples::{Bench, X86, dnf_lists};
use crate::rpms::sample::sample_rpm;
use farm::digest::Digest;

#[tokio::test]
async fn a_snapshot_becomes_repos_that_dnf_reads() {
    let mut bench = Bench::new();
    let hello = bench.hello("2.10").await;
    let snapshot = bench.snapshot("storage9s-gluster-11-candidate", None, &[hello]);
    let dir = bench.compose(&snapshot).await.unwrap();
    assert_eq!(dir, bench.staging().join(snapshot.id.to_string()));
    let tree = SnapshotTree::open(&bench.dir.path().join("candidate"), &bench.artifacts).unwrap();
    tree.enter(&snapshot.tag, snapshot.id, &dir).await.unwrap();
    let dir = tree.dir(snapshot.id);
    let lists = |folder: &str| dnf_lists(&format!("file://{}", dir.join(folder).display()));
    assert_eq!(lists("x86_64"), ["hello-2.10-1.el9s.x86_64", "hello-doc-2.10-1.el9s.noarch"]);
    assert_eq!(lists("debug-x86_64"), ["hello-debuginfo-2.10-1.el9s.x86_64"]);
    assert_eq!(lists("source"), ["hello-2.10-1.el9s.src"]);
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o755);
    let repomd = fs::read_to_string(dir.join("x86_64/repodata/repomd.xml")).unwrap();
    assert!(repomd.contains(&format!("<revision>{}</revision>", snapshot.created.millis())), "{repomd}");
}

#[tokio::test]
async fn the_manifest_names_every_file_with_its_digest() {
    let mut bench = Bench::new();
    let hello = bench.hello("2.10").await;
    let snapshot = bench.snapshot("storage9s-gluster-11-candidate", None, &[hello]);
    let dir = bench.compose(&snapshot).await.unwrap();
    for folder in manifest::folder_names(&X86) {
        let manifest = manifest::read(&dir, snapshot.id, &folder).unwrap();
        assert_eq!(manifest.id, snapshot.id);
        let mut on_disk = 0;
        for file in &manifest.files {
            let path = if manifest::is_package(&file.path) {
                bench.artifacts.path(&file.digest)
            } else {
                on_disk += 1;
                manifest::file_in(&dir, &folder, &file.path).unwrap()
            };
            let bytes = fs::read(path).unwrap();
            assert_eq!((Digest::of(&bytes), bytes.len() as u64), (file.digest.clone(), file.size));
        }
        assert_eq!(walk(&dir.join(&folder)), on_disk, "{folder}");
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
    let dir = bench.compose(&snapshot).await.unwrap();
    assert_eq!(dnf_lists(&format!("file://{}", dir.join("x86_64").display())), Vec::<String>::new());
}

#[tokio::test]
async fn composing_again_changes_nothing_and_what_is_signed_stands_beside() {
    let mut bench = Bench::new();
    let hello = bench.hello("2.10").await;
    let snapshot = bench.snapshot("storage9s-gluster-11-testing", None, &[hello]);
    let built = bench.compose(&snapshot).await.unwrap();
    assert_eq!(bench.compose(&snapshot).await.unwrap(), built);

    // Another file of each package, as signing makes it.
    let mut signed = std::collections::BTreeMap::new();
    for rpm in snapshot.rpms() {
        let mut sample = sample_rpm(&rpm.nevra.name, "2.10", "1.el9s", &rpm.nevra.arch);
        sample.content = "signed".into();
        let stored = bench.artifacts.put_bytes(&sample.bytes().unwrap()).await.unwrap();
        signed.insert(rpm.body.clone(), Shipped { digest: stored.digest, size: stored.size });
    }
    let plan = Plan::public(&snapshot, &X86, |rpm| signed.get(&rpm.body).cloned()).unwrap();
    let public = compose(&bench.staging(), &bench.engine, plan).await.unwrap();
    assert_eq!(public, bench.staging().join(public_name(snapshot.id)));
    for dir in [&built, &public] {
        let name = dir.file_name().unwrap().to_str().unwrap();
        assert_eq!(staged_id(name), Some(snapshot.id));
    }
    let packages = |dir: &Path| -> Vec<Digest> {
        let files = manifest::read(dir, snapshot.id, "x86_64").unwrap().files;
        files.into_iter().filter(|file| manifest::is_package(&file.path)).map(|file| file.digest).collect()
    };
    assert!(packages(&public).iter().all(|digest| signed.values().any(|shipped| shipped.digest == *digest)));
    assert!(packages(&built).iter().all(|digest| !packages(&public).contains(digest)));
}

#[tokio::test]
async fn two_composers_at_once_make_one() {
    let mut bench = Bench::new();
    let hello = bench.hello("2.10").await;
    let snapshot = bench.snapshot("storage9s-gluster-11-candidate", None, &[hello]);
    let staging = bench.staging();
    let one = bench.compose(&snapshot);
    let other = bench.compose(&snapshot);
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
    let error = bench.compose(&snapshot).await.unwrap_err();
    assert!(error.to_string().contains("hello-2.10-1.el9s.x86_64.rpm: there is no artifact"), "{error}");

    lost.rpms[0].file = "../../evil.rpm".into();
    let snapshot = bench.snapshot(tag, None, &[lost]);
    let error = bench.compose(&snapshot).await.unwrap_err();
    assert!(matches!(error, ComposeError::BadFile { .. }), "{error}");

    let one = bench.member(&[sample_rpm("hello", "1", "1", "x86_64")]).await;
    let mut other = bench.member(&[sample_rpm("hello", "1", "1", "x86_64")]).await;
    other.package = "another".into();
    let snapshot = bench.snapshot(tag, None, &[one.clone(), other]);
    let error = bench.compose(&snapshot).await.unwrap_err();
    assert!(matches!(error, ComposeError::TwoFiles { .. }), "{error}");

    let mut broken = bench.member(&[sample_rpm("hello", "1", "1", "x86_64")]).await;
    broken.rpms[0].digest = bench.artifacts.put_bytes(b"no RPM").await.unwrap().digest;
    let snapshot = bench.snapshot(tag, None, &[broken]);
    let error = bench.compose(&snapshot).await.unwrap_err();
    assert!(matches!(error, ComposeError::Package { .. }), "{error}");
    assert!(error.to_string().contains("hello-1-1.x86_64.rpm: artifact"), "{error}");

    let plan = Plan::public(&bench.snapshot(tag, None, &[one]), &X86, |_| None);
    assert!(matches!(plan, Err(ComposeError::NotShipped { .. })));
    assert_eq!(fs::read_dir(bench.staging()).unwrap().count(), 0);
}

#[test]
fn cleaning_removes_what_the_dead_left_and_nothing_of_the_living() {
    let mut bench = Bench::new();
    let staging = bench.staging();
    let id = bench.snapshot("x9-y-1-candidate", None, &[]).id;
    fs::create_dir_all(staging.join(format!("{id}.dead.partial/x86_64"))).unwrap();
    fs::create_dir_all(staging.join(id.to_string())).unwrap();
    let alive = Partial::create(&staging, &id.to_string()).unwrap();
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

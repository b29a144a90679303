//! Artifacts and what is published in a bucket of an S3-compatible store, which is a real server process.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod care;
mod faults;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cli::verify::{self, Keys, Place, Violation};
use farm::digest::Digest;
use farm::ids::SnapshotId;
use farm::promotion::{Promotion, PromotionState};
use hub::artifacts::{ArtifactError, Artifacts, key};
use hub::bucket::{Bucket, S3};
use hub::repos::manifest;
use serde_json::json;
use tempfile::TempDir;
use tests::{Behaviour, Farm, Fault, FaultyLine, Options, Package, S3Server};

const TESTING: &str = "demo9s-hello-2-testing";
const NEVER: Duration = Duration::from_secs(3600);

fn hello(version: &str) -> Package {
    Package::new("hello", version, Behaviour::Builds)
}

/// What outlives a hub's disk: the ledger, the signer's keys, and the bucket.
struct Kept {
    place: TempDir,
    server: S3Server,
}

impl Kept {
    async fn new() -> Option<Self> {
        let server = S3Server::start().await?;
        Some(Self { place: tempfile::tempdir().unwrap(), server })
    }

    fn options(&self, s3: S3) -> Options {
        let ledger = format!("sqlite:{}", self.place.path().join("ledger.sqlite").display());
        let keys = Some(self.place.path().join("keys"));
        Options { s3: Some(s3), ledger: Some(ledger), keys, ..Options::default() }
    }
}

/// Builds a version of hello and waits until everybody can test it.
async fn publish(farm: &Farm, version: &str) -> Promotion {
    let view = farm.closed(farm.build(&hello(version))).await;
    assert!(view.nvr.is_some(), "{:?}", view.reason);
    let promotion = farm.tested(&format!("hello-{version}-1")).await;
    assert!(matches!(promotion.state, PromotionState::Published { .. }), "{:?}", promotion.state);
    promotion
}

/// A store on a disk of its own before this bucket.
fn store(dir: &Path, server: &S3Server, cache: u64) -> Artifacts {
    let _another_test_did = rustls::crypto::ring::default_provider().install_default();
    Artifacts::open(dir).unwrap().behind(server.bucket(), cache)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_in_the_bucket_and_comes_back_whole_or_not_at_all() {
    let Some(mut server) = S3Server::start().await else { return };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = store(one.path(), &server, u64::MAX);
    // One that goes in one piece, and one that goes in several.
    let large: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    let small = first.put_bytes(b"small").await.unwrap().digest;
    let large = first.put_bytes(&large).await.unwrap().digest;
    assert_eq!(server.bucket().look(&key(&large)).await.unwrap().unwrap().size, 20_000_000);

    let second = store(two.path(), &server, u64::MAX);
    assert!(!second.contains(&small));
    for digest in [&small, &large] {
        let path = second.local(digest).await.unwrap();
        assert_eq!(Digest::of(&std::fs::read(path).unwrap()), *digest);
    }
    let mut all = [small.clone(), large.clone()];
    all.sort();
    assert_eq!(second.list().await.unwrap(), all);

    // The bucket has something else under the name: it is not used, and not kept.
    second.remove(&small).unwrap();
    std::fs::write(server.object(&key(&small)), b"other").unwrap();
    let error = second.local(&small).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Damaged { .. }), "{error}");
    assert!(!second.contains(&small));
    let none = second.local(&Digest::of(b"none")).await;
    assert!(matches!(none, Err(ArtifactError::Missing(_))));

    let refused = S3 { access_key: Some("nobody".to_owned()), ..server.config(None) };
    let refused = Artifacts::open(two.path()).unwrap().behind(Bucket::open(&refused).unwrap(), u64::MAX);
    let error = refused.put_bytes(b"refused").await.unwrap_err().to_string();
    assert!(error.contains(&server.address.to_string()) && error.contains("403"), "{error}");
    assert_eq!(second.only_here().await.unwrap(), [Digest::of(b"refused")]);
    second.remove(&Digest::of(b"refused")).unwrap();

    server.kill();
    let error = second.put_bytes(b"nowhere").await.unwrap_err().to_string();
    assert!(error.contains(&server.address.to_string()), "{error}");
    assert!(first.local(&large).await.is_ok(), "what the disk has can be used");
    server.resume().await;
    assert_eq!(second.only_here().await.unwrap(), [Digest::of(b"nowhere")]);
    second.put_bytes(b"nowhere").await.unwrap();
    assert_eq!(second.only_here().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_keeps_what_was_used_last_and_nothing_that_only_it_has_goes() {
    let Some(server) = S3Server::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), &server, 250);
    let mut digests = Vec::new();
    for (age, content) in [(40, 1_u8), (30, 2), (20, 3), (10, 4)] {
        let digest = store.put_bytes(&[content; 100]).await.unwrap().digest;
        let file = std::fs::File::open(store.path(&digest)).unwrap();
        file.set_modified(std::time::SystemTime::now() - NEVER * age).unwrap();
        digests.push(digest);
    }
    // Reading it makes it the latest; what the bucket has lost stays; a name elsewhere stays too.
    store.local(&digests[0]).await.unwrap();
    server.bucket().remove(&key(&digests[1])).await.unwrap();
    let elsewhere = dir.path().join("elsewhere");
    store.link_to(&digests[2], &elsewhere).unwrap();
    assert_eq!(store.trim(NEVER).await.unwrap(), 1);
    let here: Vec<bool> = digests.iter().map(|digest| store.contains(digest)).collect();
    assert_eq!(here, [true, true, true, false]);
    assert!(store.local(&digests[3]).await.is_ok(), "it comes back");

    // Sweeping: neither what was stored just now here or there goes, nor what another store has stored since.
    assert!(!store.remove_stale(&digests[3], NEVER).await.unwrap());
    let another = tempfile::tempdir().unwrap();
    assert!(!self::store(another.path(), &server, 250).remove_stale(&digests[3], NEVER).await.unwrap());
    assert!(store.remove_stale(&digests[3], Duration::ZERO).await.unwrap());
    assert!(server.bucket().look(&key(&digests[3])).await.unwrap().is_none());
    assert!(!store.contains(&digests[3]) && elsewhere.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn from_push_to_users_through_the_bucket_and_a_disk_that_is_lost() {
    let Some(kept) = Kept::new().await else { return };
    let config = S3 { local_packages: false, ..kept.server.config(None) };
    let farm = Farm::bare(kept.options(config.clone())).await;
    farm.apply_demo().await;
    publish(&farm, "1").await;
    let (status, body) = farm.promote("rex", &["hello-1-1"]).await;
    assert!((200..300).contains(&status), "{body}");
    farm.settled(body["id"].as_str().unwrap().parse().unwrap()).await;
    farm.repo_holds("release", &["hello-1-1"]).await;
    let packages =
        |stage: &str| files_below(&kept.server.below(&format!("public/pool/demo9s-hello-2-{stage}")), ".rpm");
    assert!(!packages("release").is_empty());
    assert_eq!(packages("release").len(), packages("testing").len());
    assert_eq!(files_below(&farm.data.join("public"), ".rpm"), Vec::<String>::new(), "the disk has none");
    assert_eq!(audit(&farm).await, []);
    install(&farm, "1").await;
    let (id, old) = shown(&farm);
    publish(&farm, "2").await;
    let plain = "buildlogs/centos/9-stream/demo/x86_64/hello-2";
    for place in [plain.to_owned(), format!("snap/{id}/x86_64")] {
        fetch_all(&farm, &place, &old).await;
    }
    let former: Vec<_> = kept.server.bucket().list("public/snap").await.unwrap();
    farm.ends_well().await;

    // Another machine, with nothing but the ledger, the keys and the bucket. Users are not sent there any more: the hub fetches
    // what it has not, also for those who have an older metalink. Somebody has said that the first disk is gone.
    kept.server.bucket().remove("owner").await.unwrap();
    let config = S3 { public_url: None, ..config };
    let data = kept.place.path().join("data");
    let options = || Options { data: Some(data.clone()), ..kept.options(config.clone()) };
    let farm = Farm::bare(options()).await;
    farm.until("the new disk shows what users had", || async {
        ["testing", "release"]
            .iter()
            .all(|stage| farm.data.join(format!("public/live/demo9s-hello-2-{stage}")).exists())
            .then_some(())
    })
    .await;
    assert!(!farm.data.join(format!("public/snap/{id}")).exists());
    fetch_all(&farm, &format!("snap/{id}/x86_64"), &old).await;
    let packages_alone = old.iter().filter(|(path, _)| path.ends_with(".rpm")).cloned().collect::<Vec<_>>();
    fetch_all(&farm, plain, &packages_alone).await;
    for none in [format!("snap/{id}/x86_64/repodata/none"), format!("snap/{id}")] {
        assert_eq!(reqwest::get(format!("{}/repos/{none}", farm.url)).await.unwrap().status(), 404, "{none}");
    }
    farm.ends_well().await;

    // And nothing is kept for long any more.
    let farm = Farm::bare(Options { keep_public_hours: 0, ..options() }).await;
    farm.until("what nobody is shown has left the bucket", || async {
        let there = kept.server.bucket().list("public/snap").await.unwrap();
        let of_two = packages("testing").iter().all(|name| name.contains("-2-"));
        (there.len() < former.len() && of_two && !packages("testing").is_empty()).then_some(())
    })
    .await;
    assert_eq!(audit(&farm).await, []);
    install(&farm, "2").await;
    publish(&farm, "3").await;
    install(&farm, "3").await;
    assert_eq!(audit(&farm).await, []);
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_goes_away_in_the_middle_stops_nothing_but_that_and_it_goes_on() {
    let Some(mut kept) = Kept::new().await else { return };
    let line = FaultyLine::to(kept.server.address).await;
    let farm = Farm::bare(kept.options(kept.server.config(Some(line.address)))).await;
    farm.apply_demo().await;
    publish(&farm, "1").await;
    let live = || std::fs::read_link(farm.data.join("public/live").join(TESTING)).unwrap();
    let before = live();
    let known = snapshots_in(&kept.server);

    // One object of the new snapshot arrives, and none after it, until there is nobody to take any.
    let taken = AtomicUsize::new(0);
    line.does(move |asked| {
        let is_of_it = asked.method == "PUT" && asked.path.contains("/public/snap/");
        let is_late = is_of_it && taken.fetch_add(1, Ordering::SeqCst) > 0;
        if is_late { Fault::Refused(503) } else { Fault::None }
    });
    farm.closed(farm.build(&hello("2"))).await;
    farm.until("the new snapshot is on its way", || async {
        (snapshots_in(&kept.server).len() > known.len()).then_some(())
    })
    .await;
    // A store that is worth its name has no halves when it comes back; this one has what it was killed at.
    let mut earlier = None;
    loop {
        let now = kept.server.at_rest();
        if now.is_some() && now == earlier {
            break;
        }
        earlier = now;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    kept.server.kill();
    line.is_well();
    let whom = line.address.to_string();
    let id = farm
        .until("the hub says what it could not do, and where", || async {
            let id = farm.db.read().await.unwrap().unsettled_promotions().await.unwrap().first()?.id;
            let said = farm.promotion(id).await.sentence;
            let is_gone = said.contains(&whom) && !said.replace(&whom, "").contains(" 503");
            (is_gone && said.contains("is not where users fetch it")).then_some(id)
        })
        .await;
    assert_eq!(live(), before, "users are shown what they were shown");
    let metalink = format!("{}/metalink?repo={TESTING}&folder=x86_64", farm.url);
    let named = reqwest::get(metalink).await.unwrap().text().await.unwrap();
    assert!(named.contains(before.file_name().unwrap().to_str().unwrap()), "{named}");
    kept.server.resume().await;
    assert_eq!(audit(&farm).await, [], "and nothing else");

    let settled = farm.settled(id).await.promotion;
    assert!(matches!(settled.state, PromotionState::Published { .. }), "{:?}", settled.state);
    assert_ne!(live(), before);
    assert_eq!(audit(&farm).await, []);
    install(&farm, "2").await;

    // Back again: what is live is another one at once, of packages that are there already.
    let pool = || files_below(&kept.server.below("public/pool"), ".rpm");
    let packages = pool();
    let back = json!({"tag": TESTING, "reason": "the story goes back"});
    let (status, body) = farm.post("rex-token", "/api/v1/rollbacks", &back).await;
    assert!((200..300).contains(&status), "{status} {body}");
    farm.repo_holds("testing", &["hello-1-1"]).await;
    farm.until("the rollback is shown", || async { audit(&farm).await.is_empty().then_some(()) }).await;
    install(&farm, "1").await;
    assert_eq!(pool(), packages);
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_in_the_bucket_is_found() {
    let Some(kept) = Kept::new().await else { return };
    let farm = Farm::bare(kept.options(kept.server.config(None))).await;
    farm.apply_demo().await;
    publish(&farm, "1").await;
    assert_eq!(audit(&farm).await, []);
    let bucket = kept.server.bucket();
    let all = bucket.list("public").await.unwrap();
    for part in ["hello-1-1.x86_64.rpm", "x86_64/repodata/repomd.xml", "primary", "decision.dsse.json"] {
        let object = all.iter().find(|object| object.key.contains(part) && !object.key.contains("debug"));
        let file = kept.server.object(&object.unwrap().key);
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        std::fs::write(&file, damaged).unwrap();
        let found = audit(&farm).await;
        assert!(!found.is_empty(), "nobody noticed {part}");
        std::fs::write(&file, whole).unwrap();
    }
    assert_eq!(audit(&farm).await, []);
    farm.ends_well().await;
}

/// What the testing repo shows, and the files of its folder for x86_64.
fn shown(farm: &Farm) -> (SnapshotId, Vec<(String, Digest)>) {
    let live = farm.data.join("public/live").join(TESTING).canonicalize().unwrap();
    let id: SnapshotId = live.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let files = manifest::read(&live, id, "x86_64").unwrap().files.into_iter();
    // The list of what is live is another one after the pointer has moved.
    let files: Vec<_> = files
        .filter(|file| !file.path.ends_with("repomd.xml"))
        .map(|file| (file.path, file.digest))
        .collect();
    assert!(files.iter().any(|(path, _)| path.ends_with(".rpm")), "{files:?}");
    (id, files)
}

/// Fetches files below a folder of the public tree.
async fn fetch_all(farm: &Farm, folder: &str, files: &[(String, Digest)]) {
    for (path, digest) in files {
        let url = format!("{}/repos/{folder}/{path}", farm.url);
        let answer = reqwest::get(&url).await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        assert_eq!(Digest::of(&answer.bytes().await.unwrap()), *digest, "{url}");
    }
}

fn snapshots_in(server: &S3Server) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(server.below("public/snap")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The files below a folder whose names contain this.
fn files_below(folder: &Path, part: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&path, part));
        } else if name.contains(part) && !name.ends_with("md5") && !name.ends_with("json") {
            found.push(name);
        }
    }
    found
}

/// What an auditor with the public keys finds at the farm's address, every package read.
async fn audit(farm: &Farm) -> Vec<Violation> {
    let keys = Keys::read(&farm.data.join("public/keys")).unwrap();
    let place = Place::open(&format!("{}/repos/", farm.url)).unwrap();
    let options = verify::Options { deep: true, tag: None, memory: None };
    let report = verify::audit(&place, &keys, &options).await.unwrap();
    assert!(!report.repos.is_empty(), "{report:?}");
    report.all_violations().cloned().collect()
}

/// Installs hello with a real dnf that checks every signature, by the farm's own `.repo` file.
async fn install(farm: &Farm, version: &str) {
    if Command::new("dnf").arg("--version").output().is_err() {
        println!("SKIPPED: dnf is not installed");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("repos")).unwrap();
    let repo = reqwest::get(format!("{}/api/v1/repos/{TESTING}.repo", farm.url)).await.unwrap();
    let repo = repo.error_for_status().unwrap().text().await.unwrap();
    assert!(repo.contains("repo_gpgcheck=1") && repo.contains("metalink="), "{repo}");
    std::fs::write(place.path().join("repos/farm.repo"), repo).unwrap();
    let conf = place.path().join("dnf.conf");
    let text = format!(
        "[main]\ngpgcheck=1\nrepo_gpgcheck=1\nreposdir={0}/repos\ncachedir={0}/cache\nlogdir={0}\nplugins=0\nskip_if_unavailable=0\n",
        place.path().display()
    );
    std::fs::write(&conf, text).unwrap();
    let root = place.path().join("root");
    let output = tokio::process::Command::new("dnf")
        .arg("-c")
        .arg(&conf)
        .arg(format!("--installroot={}", root.display()))
        .args(["-y", "--releasever=9", "--forcearch=x86_64", "install"])
        .arg(format!("hello-{version}"))
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(root.join("usr/share/hello").exists(), "{said}");
}

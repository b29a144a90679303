//! What operators do with a farm whose files are in a bucket: back it up and put it back, put a copy beside it, and mend what
//! somebody has changed in the bucket.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser as _;
use cli::Cli;
use cli::failure::Failure;
use cli::screen::{Look, Screen};
use cli::settings::Environment;
use farm::digest::Digest;
use farm::stamp::Stamp;
use hub::artifacts::{Artifacts, key};
use hub::bucket::{Bucket, S3};
use hub::shelf::{Shelf, ShelfError};
use tests::{Behaviour, Farm, Fault, FaultyLine, Options, Package};

use super::{Kept, TESTING, audit, install, publish};

/// Calls a command of an operator on a farm before this bucket.
async fn admin(verb: &str, folder: &Path, data: &Path, ledger: &str, s3: &S3) -> Result<(), String> {
    let words = ["grange", "admin", verb, folder.to_str().unwrap()];
    let secret = s3.secret_key_file.as_ref().unwrap().to_str().unwrap();
    let environment: Environment = [
        ("GRANGE_HUB__DATA", data.to_str().unwrap()),
        ("GRANGE_LEDGER__URL", ledger),
        ("GRANGE_HUB__S3__ENDPOINT", &s3.endpoint),
        ("GRANGE_HUB__S3__BUCKET", &s3.bucket),
        ("GRANGE_HUB__S3__PREFIX", &s3.prefix),
        ("GRANGE_HUB__S3__ACCESS_KEY", s3.access_key.as_deref().unwrap()),
        ("GRANGE_HUB__S3__SECRET_KEY_FILE", secret),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let now = Stamp::from_millis(1_700_000_000_000);
    let mut screen = Screen::plain(Box::new(std::io::sink()), false, now);
    let done = cli::run(Cli::try_parse_from(words).unwrap(), &environment, &mut screen).await;
    done.map_err(|failure: Failure| failure.told(&Look::plain(now)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_the_bucket_make_the_farm_again() {
    let Some(kept) = Kept::new().await else { return };
    let config = S3 { local_packages: false, ..kept.server.config(None) };
    let farm = Farm::bare(kept.options(config.clone())).await;
    farm.apply_demo().await;
    publish(&farm, "1").await;
    // What was not used for long is in the bucket alone.
    let held = farm.db.read().await.unwrap().held().await.unwrap();
    for digest in held.iter().skip(1) {
        let file = farm.data.join("artifacts").join(&digest.as_str()[..2]).join(digest.as_str());
        std::fs::remove_file(file).unwrap();
    }
    let folder = kept.place.path().join("backup");
    let url = |name: &str| format!("sqlite:{}", kept.place.path().join(name).display());
    admin("backup", &folder, &farm.data, &url("ledger.sqlite"), &config).await.unwrap();
    publish(&farm, "2").await;
    farm.ends_well().await;

    let (data, ledger) = (kept.place.path().join("new/data"), url("restored.sqlite"));
    admin("restore", &folder, &data, &ledger, &config).await.unwrap();
    let options = Options { data: Some(data), ledger: Some(ledger), ..kept.options(config.clone()) };
    let farm = Farm::bare(options).await;
    farm.repo_holds("testing", &["hello-1-1"]).await;
    assert_eq!(audit(&farm).await, []);
    install(&farm, "1").await;
    publish_world(&farm).await;
    assert_eq!(audit(&farm).await, []);
    farm.ends_well().await;

    // What neither has is missed.
    let lost = held.iter().find(|digest| !stored_in(&folder, digest)).unwrap();
    kept.server.bucket().remove(&key(lost)).await.unwrap();
    let said =
        admin("restore", &folder, &kept.place.path().join("third"), &url("third.sqlite"), &config).await;
    let said = said.unwrap_err();
    assert!(
        said.contains("files that the ledger names are missing") && said.contains(lost.as_str()),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_back_is_not_fetched_again_and_a_damaged_disk_is_not_believed() {
    let Some(kept) = Kept::new().await else { return };
    let data = kept.place.path().join("data");
    let options = Options { data: Some(data.clone()), ..kept.options(kept.server.config(None)) };
    let farm = Farm::bare(options).await;
    farm.apply_demo().await;
    publish(&farm, "1").await;
    let id = farm.db.read().await.unwrap().repo(TESTING).await.unwrap().current.unwrap();
    farm.ends_well().await;

    let line = FaultyLine::to(kept.server.address).await;
    let fetched = Arc::new(AtomicUsize::new(0));
    let count = fetched.clone();
    line.does(move |asked| {
        if asked.method == "GET" && !asked.path.contains("list-type") {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Fault::None
    });
    let bucket = Bucket::open(&kept.server.config(Some(line.address))).unwrap();
    let artifacts = Artifacts::open(&data.join("artifacts")).unwrap().behind(bucket.clone(), u64::MAX);
    let shelf =
        |notes: &str| Shelf::new(bucket.clone(), &artifacts, &data.join("public"), &data.join(notes), None);
    shelf("shelf").bring(TESTING, id).await.unwrap();
    assert!(fetched.swap(0, Ordering::SeqCst) > 4, "of a bucket at another address nothing is remembered");
    shelf("shelf").bring(TESTING, id).await.unwrap();
    assert_eq!(fetched.load(Ordering::SeqCst), 0);
    shelf("lost").bring(TESTING, id).await.unwrap();
    assert!(fetched.load(Ordering::SeqCst) > 4, "who remembers nothing looks");

    // The disk has gone bad, and the bucket has lost the same file.
    let folder = format!("snap/{id}/x86_64/repodata");
    let file = std::fs::read_dir(data.join("public").join(&folder)).unwrap();
    let mut names = file.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = names.find(|name| name.contains("primary")).unwrap();
    let (file, key) = (data.join("public").join(&folder).join(&name), format!("public/{folder}/{name}"));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, vec![7; whole.len()]).unwrap();
    bucket.remove(&key).await.unwrap();
    let brought = shelf("shelf").bring(TESTING, id).await;
    assert!(matches!(&brought, Err(ShelfError::Changed { path }) if *path == file), "{brought:?}");
    assert!(bucket.look(&key).await.unwrap().is_none(), "users are given nothing rather than that");
    std::fs::write(&file, &whole).unwrap();
    shelf("shelf").bring(TESTING, id).await.unwrap();
    assert_eq!(bucket.digest(&key).await.unwrap().unwrap().0, Digest::of(&whole));

    // What does not say which packages it needs is taken to need all.
    let packages = || async { bucket.list("public/pool").await.unwrap().len() };
    let (before, manifest) = (packages().await, data.join(format!("public/snap/{id}/manifests/x86_64")));
    let listed = std::fs::read_to_string(&manifest).unwrap();
    let (head, lines) = listed.split_once('\n').unwrap();
    std::fs::write(&manifest, format!("{head}\n{}", lines.replacen(' ', "?", 2))).unwrap();
    assert!(shelf("shelf").sweep(&BTreeMap::from([(id, TESTING.to_owned())])).await.is_err());
    assert_eq!(packages().await, before);
    std::fs::write(&manifest, listed).unwrap();
    assert_eq!(shelf("shelf").sweep(&BTreeMap::from([(id, TESTING.to_owned())])).await.unwrap(), 0);
}

/// Publishes something else besides.
async fn publish_world(farm: &Farm) {
    let view = farm.closed(farm.build(&Package::new("world", "1", Behaviour::Builds))).await;
    assert!(view.nvr.is_some(), "{:?}", view.reason);
    farm.tested("world-1-1").await;
    farm.repo_holds("testing", &["hello-1-1", "world-1-1"]).await;
    farm.until("it is shown", || async { audit(farm).await.is_empty().then_some(()) }).await;
}

fn stored_in(backup: &Path, digest: &Digest) -> bool {
    backup.join("data/artifacts").join(&digest.as_str()[..2]).join(digest.as_str()).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_beside_it_removes_nothing_from_its_bucket() {
    let Some(kept) = Kept::new().await else { return };
    let config = kept.server.config(None);
    let farm = Farm::bare(kept.options(config.clone())).await;
    farm.apply_demo().await;
    publish(&farm, "1").await;
    farm.until("the bucket is its own", || async {
        kept.server.bucket().look("owner").await.unwrap().is_some().then_some(())
    })
    .await;
    let all = || async {
        let mut keys = Vec::new();
        for folder in ["artifacts", "public"] {
            let objects = kept.server.bucket().list(folder).await.unwrap();
            keys.extend(objects.into_iter().map(|object| object.key));
        }
        keys.sort();
        keys
    };
    let before = all().await;

    // It knows of none of that, and would keep nothing.
    let beside = Options { s3: Some(config), keep_public_hours: 0, ..Options::default() };
    let beside = Farm::bare(beside).await;
    beside
        .until("it has looked whose the bucket is", || async {
            beside.data.join("shelf/owner").exists().then_some(())
        })
        .await;
    beside.apply_demo().await;
    publish(&beside, "7").await;
    beside.ends_well().await;
    let after = all().await;
    assert!(before.iter().all(|key| after.contains(key)), "{before:#?} {after:#?}");
    assert_eq!(audit(&farm).await, []);
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_has_replaced_in_the_bucket_is_put_there_anew() {
    let Some(kept) = Kept::new().await else { return };
    let farm = Farm::bare(kept.options(kept.server.config(None))).await;
    farm.apply_demo().await;
    publish(&farm, "1").await;
    let bucket = kept.server.bucket();
    let pool = bucket.list(&format!("public/pool/{TESTING}")).await.unwrap();
    let package = pool.iter().find(|object| object.key.contains("hello-1-1.x86_64")).unwrap();
    let (digest, _) = bucket.digest(&package.key).await.unwrap().unwrap();
    // Of the same size, and what it would be copied from too.
    let other = vec![7; usize::try_from(package.size).unwrap()];
    for key in [package.key.clone(), key(&digest)] {
        bucket.put_bytes(&key, other.clone()).await.unwrap();
    }
    assert!(!audit(&farm).await.is_empty());

    // The next that is published finds it.
    publish_world(&farm).await;
    for key in [package.key.clone(), key(&digest)] {
        assert_eq!(bucket.digest(&key).await.unwrap().unwrap().0, digest, "{key}");
    }
    assert_eq!(audit(&farm).await, []);
    farm.ends_well().await;
}

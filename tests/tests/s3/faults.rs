//! A store that answers with errors, with half of what it has, or with something else: nothing of it is taken for what was asked
//! for, and everything goes on by itself when that ends.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use farm::digest::Digest;
use farm::promotion::PromotionState;
use hub::artifacts::{ArtifactError, Artifacts};
use hub::bucket::{Bucket, S3};
use tests::{Asked, Farm, Fault, FaultyLine, S3Server};

use super::{Kept, TESTING, audit, hello, install, publish};

/// A store on a disk of its own before this bucket, at the other end of a line.
fn store(dir: &Path, server: &S3Server, line: &FaultyLine) -> Artifacts {
    let _another_test_did = rustls::crypto::ring::default_provider().install_default();
    let bucket = Bucket::open(&server.config(Some(line.address))).unwrap();
    Artifacts::open(dir).unwrap().behind(bucket, u64::MAX)
}

/// The first so many of these calls are refused.
fn refusing(method: &'static str, status: u16, times: usize) -> impl Fn(&Asked) -> Fault {
    let refused = AtomicUsize::new(0);
    move |asked| {
        let is_due = asked.method == method && refused.fetch_add(1, Ordering::SeqCst) < times;
        if is_due { Fault::Refused(status) } else { Fault::None }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_busy_for_a_moment_is_asked_again() {
    let Some(server) = S3Server::start().await else { return };
    let line = FaultyLine::to(server.address).await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (store(one.path(), &server, &line), store(two.path(), &server, &line));
    for status in [500, 503] {
        let before = line.faults();
        line.does(refusing("PUT", status, 2));
        let stored = first.put_bytes(status.to_string().as_bytes()).await.unwrap();
        line.does(refusing("GET", status, 2));
        let path = second.local(&stored.digest).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), status.to_string().as_bytes());
        assert_eq!(line.faults() - before, 4);
    }

    // One that does not stop is told of, with what the store says; and what was stored is not lost.
    line.does(|_| Fault::Refused(503));
    let error = first.put_bytes(b"refused").await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, ArtifactError::Bucket(_)) && said.contains("503"), "{said}");
    assert!(said.contains(&line.address.to_string()), "{said}");
    let read = second.local(&Digest::of(b"refused")).await;
    assert!(matches!(read, Err(ArtifactError::Bucket(_))), "it does not say that there is none: {read:?}");
    line.is_well();
    assert_eq!(first.only_here().await.unwrap(), [Digest::of(b"refused")]);
    first.secure(&Digest::of(b"refused")).await.unwrap();
    assert!(second.local(&Digest::of(b"refused")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn half_an_answer_is_not_taken_for_all_of_it() {
    let Some(server) = S3Server::start().await else { return };
    let line = FaultyLine::to(server.address).await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = store(one.path(), &server, &line);
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = first.put_bytes(&content).await.unwrap().digest;
    let second = store(two.path(), &server, &line);
    for fault in [Fault::CutOff, Fault::Short, Fault::Twisted] {
        let before = line.faults();
        line.does(move |_| fault);
        let error = second.local(&digest).await.unwrap_err();
        assert!(
            matches!(error, ArtifactError::Damaged { .. } | ArtifactError::Bucket(_)),
            "{fault:?}: {error}"
        );
        assert!(line.faults() > before, "{fault:?}");
        assert!(!second.contains(&digest), "{fault:?}");
        assert_eq!(std::fs::read_dir(two.path().join("tmp")).unwrap().count(), 0, "{fault:?}");
    }
    line.is_well();
    assert_eq!(std::fs::read(second.local(&digest).await.unwrap()).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_busy_for_long_delays_builds_and_publication_and_spoils_none() {
    let Some(kept) = Kept::new().await else { return };
    let line = FaultyLine::to(kept.server.address).await;
    let farm = Farm::bare(kept.options(kept.server.config(Some(line.address)))).await;
    farm.apply_demo().await;
    publish(&farm, "1").await;
    let live = || std::fs::read_link(farm.data.join("public/live").join(TESTING)).unwrap();
    let before = live();

    // Nothing that is built can be stored, and then it can.
    let is_stored = |asked: &Asked| asked.method == "PUT" && asked.path.contains("/artifacts/");
    let build = farm.build(&hello("2"));
    let spoiled = line.faults();
    line.does(move |asked| if is_stored(asked) { Fault::Refused(500) } else { Fault::None });
    farm.until("the store has refused something", || async { (line.faults() > spoiled + 8).then_some(()) })
        .await;
    // Then nothing that is published can.
    let is_published = |asked: &Asked| asked.method == "PUT" && asked.path.contains("/public/");
    line.does(move |asked| if is_published(asked) { Fault::Refused(503) } else { Fault::None });
    let view = farm.closed(build).await;
    assert!(view.nvr.is_some(), "{:?}", view.reason);
    let (id, said) = farm
        .until("the hub says what it could not do, and where", || async {
            let id = farm.db.read().await.unwrap().unsettled_promotions().await.unwrap().first()?.id;
            let said = farm.promotion(id).await.sentence;
            said.contains("is not where users fetch it").then_some((id, said))
        })
        .await;
    for part in ["cannot go on", "503", "it is tried again", &line.address.to_string()] {
        assert!(said.contains(part), "it does not say `{part}`: {said}");
    }
    assert_eq!(live(), before, "users are shown what they were shown");
    assert_eq!(audit(&farm).await, []);

    // What comes back from the store when it was put there is not what was put there.
    line.does(|asked| match asked.method.as_str() {
        "GET" if asked.path.contains("/public/") => Fault::Short,
        _ => Fault::None,
    });
    farm.until("the hub says that the store gives something else", || async {
        farm.promotion(id).await.sentence.contains("gives something else").then_some(())
    })
    .await;
    assert_eq!(live(), before, "users are shown what they were shown");

    line.is_well();
    let settled = farm.settled(id).await.promotion;
    assert!(matches!(settled.state, PromotionState::Published { .. }), "{:?}", settled.state);
    farm.until("it is shown", || async { (live() != before).then_some(()) }).await;
    assert_eq!(audit(&farm).await, []);
    install(&farm, "2").await;
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_disk_shows_nothing_that_came_back_by_halves() {
    let Some(kept) = Kept::new().await else { return };
    let config = S3 { local_packages: false, public_url: None, ..kept.server.config(None) };
    let farm = Farm::bare(kept.options(config.clone())).await;
    farm.apply_demo().await;
    publish(&farm, "1").await;
    farm.ends_well().await;

    // Somebody who can write to the bucket has made the list of a snapshot fit to what it has instead.
    let bucket = kept.server.bucket();
    let snap = bucket.list("public/snap").await.unwrap();
    let object = |part: &str| snap.iter().find(|object| object.key.ends_with(part)).unwrap().key.clone();
    let (repomd, manifest) = (object("/x86_64/repodata/repomd.xml"), object("/manifests/x86_64"));
    let signed = [&repomd, &manifest].map(|key| std::fs::read(kept.server.object(key)).unwrap());
    let other = [signed[0].as_slice(), b"<!-- -->"].concat();
    let line_of = |bytes: &[u8]| format!("{} {} repodata/repomd.xml", Digest::of(bytes), bytes.len());
    let listed = String::from_utf8(signed[1].clone()).unwrap();
    let forged = listed.replacen(&line_of(&signed[0]), &line_of(&other), 1);
    assert_ne!(forged, listed);
    bucket.put_bytes(&repomd, other).await.unwrap();
    // And has put rubbish, which stays, in place of the signatures: the ledger has them too.
    for part in ["/x86_64/repodata/repomd.xml.asc", "/decision.dsse.json"] {
        bucket.put_bytes(&object(part), b"rubbish".to_vec()).await.unwrap();
    }
    bucket.put_bytes(&manifest, forged.into_bytes()).await.unwrap();
    let line = FaultyLine::to(kept.server.address).await;
    let asked_for = Arc::new(AtomicUsize::new(0));
    let count = asked_for.clone();
    line.does(move |asked| {
        if asked.method == "GET" && asked.path.ends_with("/x86_64/repodata/repomd.xml") {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Fault::None
    });
    let there = S3 { endpoint: format!("http://{}", line.address), ..config.clone() };
    let farm = Farm::bare(kept.options(there)).await;
    farm.until("it has tried more than once", || async {
        (asked_for.load(Ordering::SeqCst) > 2).then_some(())
    })
    .await;
    assert!(!farm.data.join("public/live").join(TESTING).exists());
    for (key, bytes) in [repomd, manifest].iter().zip(signed) {
        bucket.put_bytes(key, bytes).await.unwrap();
    }
    farm.until("the new disk shows what users had", || async {
        farm.data.join("public/live").join(TESTING).exists().then_some(())
    })
    .await;
    farm.ends_well().await;

    for fault in [Fault::Short, Fault::Twisted, Fault::CutOff] {
        let line = FaultyLine::to(kept.server.address).await;
        // But for the one that was signed, which names the others.
        line.does(move |asked| {
            let is_metadata = asked.path.contains("/public/snap/") && asked.path.contains("/repodata/");
            let is_other = asked.method == "GET" && !asked.path.ends_with("/repomd.xml");
            if is_metadata && is_other { fault } else { Fault::None }
        });
        let there = S3 { endpoint: format!("http://{}", line.address), ..config.clone() };
        let farm = Farm::bare(kept.options(there)).await;
        let live = farm.data.join("public/live").join(TESTING);
        let some = line.faults();
        farm.until("it has tried more than once", || async { (line.faults() > some + 12).then_some(()) })
            .await;
        assert!(!live.exists(), "{fault:?}");
        line.is_well();
        farm.until("the new disk shows what users had", || async { live.exists().then_some(()) }).await;

        // Users are given no half of a package either.
        line.does(move |asked| match asked.path.contains("/artifacts/") {
            true if asked.method == "GET" => fault,
            _ => Fault::None,
        });
        let all = kept.server.bucket().list(&format!("public/pool/{TESTING}/x86_64")).await.unwrap();
        let package = all.iter().find(|object| object.key.contains("hello-1-1.x86_64")).unwrap();
        let inner = package.key.split_once("x86_64/").unwrap().1;
        let url = format!("{}/repos/live/{TESTING}/x86_64/{inner}", farm.url);
        let answer = reqwest::get(&url).await.unwrap();
        assert!(!answer.status().is_success(), "{fault:?}: {}", answer.status());
        line.is_well();
        let given = reqwest::get(&url).await.unwrap().error_for_status().unwrap().bytes().await.unwrap();
        assert_eq!(given, std::fs::read(kept.server.object(&package.key)).unwrap());
        assert_eq!(audit(&farm).await, []);
        farm.ends_well().await;
    }
}

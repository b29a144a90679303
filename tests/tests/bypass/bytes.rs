//! Somebody with the hub's disk, or a builder, gives other bytes than were built and tested.

use farm::ledger::RequestFilter;
use farm::promotion::PromotionState;
use farm::request::RequestKind;
use farm::request::Verdict;
use hub::rpms::sample::sample_rpm;

use crate::scene::{CANDIDATE, RIVAL, Scene, TARGET, TESTING, honest, only, rewrite};

/// The list of packages is exchanged after the packages were signed, and before the list is.
#[tokio::test(flavor = "multi_thread")]
async fn staged_metadata_that_was_exchanged_before_it_was_signed_is_not_signed() {
    let mut scene = Scene::new().await;
    let promotion = scene.built(TARGET, "apple", "1").await;
    scene.signer_works();
    scene.packages_are_signed(&promotion).await;
    scene.signer_leaves().await;
    scene.works().await;
    let repodata = scene.staged(&promotion).join("x86_64/repodata");
    let staged = scene.staged(&promotion);
    // A folder more, and one less.
    std::fs::create_dir_all(staged.join("aarch64/repodata")).unwrap();
    std::fs::copy(repodata.join("repomd.xml"), staged.join("aarch64/repodata/repomd.xml")).unwrap();
    scene.signer_works();
    scene.signer_refuses(promotion.id, "the snapshot has no folder aarch64, but it is staged").await;
    std::fs::remove_dir_all(staged.join("aarch64")).unwrap();
    std::fs::rename(staged.join("source"), staged.join("aside")).unwrap();
    scene.signer_refuses(promotion.id, "folder source is not staged").await;
    std::fs::rename(staged.join("aside"), staged.join("source")).unwrap();
    // A revision that would keep clients and mirrors from ever taking what comes later.
    let honest = std::fs::read_to_string(repodata.join("repomd.xml")).unwrap();
    rewrite(&repodata.join("repomd.xml"), honest.replace("<revision>", "<revision>9").as_bytes());
    scene.signer_refuses(promotion.id, "the metadata of x86_64 has revision `9").await;
    rewrite(&repodata.join("repomd.xml"), honest.as_bytes());
    rewrite(&only(&repodata, "-primary.xml.gz"), b"another list");
    scene.signer_refuses(promotion.id, "is not the file that repomd.xml names").await;
    assert_eq!(scene.live(TESTING), None);
}

/// It is exchanged after it was signed: clients would not take it, so nobody is shown it; it is composed and signed anew.
#[tokio::test(flavor = "multi_thread")]
async fn staged_metadata_that_was_exchanged_after_it_was_signed_is_never_shown() {
    let mut scene = Scene::new().await;
    let promotion = scene.built(TARGET, "apple", "1").await;
    scene.signer_works();
    scene.is_endorsed(&promotion).await;
    scene.signer_leaves().await;
    let repodata = scene.staged(&promotion).join("x86_64/repodata");
    rewrite(&only(&repodata, "-filelists.xml.gz"), b"another list");
    scene.works().await;
    assert_eq!(scene.live(TESTING), None);
    assert!(!scene.staged(&promotion).exists(), "what clients would not take is removed");
    scene.signer_works();
    scene.published(promotion.id).await;
    scene.is_clean().await;
}

/// A package is exchanged in the store after it was signed, for one of the same size.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_package_that_was_exchanged_in_the_store_is_never_shown() {
    let mut scene = Scene::new().await;
    let promotion = scene.built(TARGET, "apple", "1").await;
    scene.signer_works();
    let signed = scene.packages_are_signed(&promotion).await;
    let path = scene.artifact(&signed[0].digest);
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    let last = bad.len() - 12;
    bad[last] ^= 1;
    rewrite(&path, &bad);
    scene.is_endorsed(&promotion).await;
    scene.works().await;
    assert_eq!(scene.live(TESTING), None);
    let shown = scene.public();
    assert!(shown.keys().all(|path| path.extension().is_none_or(|end| end != "rpm")), "{shown:?}");
    rewrite(&path, &good);
    scene.published(promotion.id).await;
    scene.is_clean().await;
}

/// A builder gives an RPM for another architecture, under another name, or of another build.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_builder_should_not_have_made_is_not_imported() {
    type Made = fn(&str, &str, &str) -> (String, Vec<u8>);
    let cases: [(Made, &str); 3] = [
        (
            |package, version, _| honest(package, version, "aarch64"),
            "is for aarch64, but it was built on x86_64",
        ),
        (
            |package, version, arch| (honest(package, "0.1", arch).0, honest(package, version, arch).1),
            "the file is called `apple-0.1-1.x86_64.rpm`, but the RPM in it is apple-1-1.x86_64.rpm",
        ),
        (
            |package, _, arch| honest(package, "666", arch),
            "it names apple-666-1.src.rpm as its source RPM, but the build's is apple-3-1.src.rpm",
        ),
    ];
    let mut scene = Scene::new().await;
    let before = scene.public();
    for (version, (made, words)) in ["0", "1", "3"].into_iter().zip(cases) {
        scene.made = made;
        scene.ask_for(RequestKind::Build, TARGET, "apple", version).await;
        scene.works().await;
        last_failed(&scene, words).await;
    }
    assert!(scene.db.read().await.unwrap().tagged(CANDIDATE).await.unwrap().is_empty());
    scene.shows_only(&before);

    // Another build of a tested NVR: the one that was tested stays.
    scene.made = honest;
    scene.signer_works();
    let promotion = scene.built(TARGET, "apple", "5").await;
    assert!(matches!(promotion.state, PromotionState::Published { .. }));
    let before = scene.public();
    scene.made = |package, version, arch| {
        let mut sample = sample_rpm(package, version, "1", arch);
        sample.content = "other bytes".to_owned();
        (sample.file_name(), sample.bytes().unwrap())
    };
    scene.ask_for(RequestKind::Build, TARGET, "apple", "5").await;
    scene.works().await;
    last_failed(&scene, "apple-5-1 exists already").await;
    scene.shows_only(&before);
    scene.is_clean().await;
}

/// What is staged for one SIG cannot be read: what others publish is signed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn staged_metadata_that_cannot_be_read_holds_up_nobody_else() {
    let mut scene = Scene::new().await;
    let promotion = scene.built(TARGET, "apple", "1").await;
    scene.signer_works();
    scene.packages_are_signed(&promotion).await;
    scene.signer_leaves().await;
    scene.works().await;
    let repomd = scene.staged(&promotion).join("x86_64/repodata/repomd.xml");
    std::fs::remove_file(&repomd).unwrap();
    std::fs::create_dir(&repomd).unwrap();
    scene.signer_works();
    let other = scene.built(RIVAL, "carrot", "1").await;
    assert!(matches!(other.state, PromotionState::Published { .. }), "{:?}", other.state);
    assert_eq!(scene.promotion(promotion.id).await.phase(), "approved");
    // Somebody throws away what is broken, and it is staged anew.
    std::fs::remove_dir_all(scene.staged(&promotion)).unwrap();
    scene.published(promotion.id).await;
    scene.is_clean().await;
}

/// The last request failed, and says why in these words among others.
async fn last_failed(scene: &Scene, words: &str) {
    let filter = RequestFilter { limit: 1, ..Default::default() };
    let last = scene.db.read().await.unwrap().requests(&filter).await.unwrap().remove(0);
    let verdict = last.closed.map(|closed| closed.verdict);
    assert!(
        matches!(&verdict, Some(Verdict::Failed { reason }) if reason.contains(words)),
        "{words}: {verdict:?}"
    );
}

//! A suite that tested nothing is mended while a promotion that it has passed is still on its way.

use std::path::Path;

use farm::ids::PromotionId;
use farm::outcome::Outcome;
use farm::promotion::PromotionState;
use serde_json::json;

use crate::scene::{DEMO, Scene, TARGET, git_commit};

/// Commits to the suite repo a version of the suite `tastes`, or takes the suite out of it.
fn commit(data: &Path, script: Option<&str>) {
    let files: Vec<(&str, &str)> = script.map(|script| ("tastes/run.sh", script)).into_iter().collect();
    git_commit(data, "tests/demo", &files);
}

/// apple-1 has passed the suite, which tests nothing yet, and is in testing; the signer is away.
async fn scene() -> Scene {
    let mut scene = Scene::new().await;
    let suites = "suites = { repo = \"tests/demo\", branch = \"main\" }";
    let required = "required = [\"installs\", \"tastes\"]";
    scene.apply(&DEMO.replace("required = [\"installs\"]", &format!("{required}\n{suites}"))).await;
    commit(scene.data.path(), Some("true"));
    scene.signer_works();
    scene.built(TARGET, "apple", "1").await;
    scene.signer_leaves().await;
    scene
}

/// The suite is mended, and what passed it does not pass any more; or it is gone.
fn changes(scene: &mut Scene, is_gone: bool) {
    commit(scene.data.path(), (!is_gone).then_some("eat the apple"));
    scene.tests = Outcome::FailedByPackage { reason: "it is sour".into() };
}

async fn is_refused(scene: &Scene, id: PromotionId, is_gone: bool) {
    let promotion = scene.settled(id).await;
    let PromotionState::Rejected { why, .. } = &promotion.state else { panic!("{:?}", promotion.state) };
    let words =
        if is_gone { "suite tastes is required, but no package" } else { "suite tastes on x86_64 failed" };
    assert!(why[0].contains(words), "{why:?}");
    scene.is_clean().await;
}

/// It is ready, and waits for a word; the word is given for what the suite showed that is there then. No signer is asked.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_word_is_tested_with_the_suite_as_it_is_when_the_word_is_given() {
    for is_gone in [false, true] {
        let mut scene = scene().await;
        let id = scene.promote("ada", &["apple-1-1"]).await;
        assert_eq!(scene.promotion(id).await.phase(), "ready");
        let before = scene.public();
        changes(&mut scene, is_gone);
        scene.works().await;
        assert_eq!(scene.promotion(id).await.phase(), "ready", "nobody looks while there is no word");
        let (status, said) = scene.post("rex", &format!("promotions/{id}/approve"), &json!({})).await;
        assert_eq!(status, 204, "{said}");
        is_refused(&scene, id, is_gone).await;
        scene.shows_only(&before);
    }
}

/// The gate has said yes, and it waits for the signer.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_signer_is_tested_with_the_suite_as_it_is_when_it_is_signed() {
    for is_gone in [false, true] {
        let mut scene = scene().await;
        let id = scene.promote("rex", &["apple-1-1"]).await;
        assert_eq!(scene.promotion(id).await.phase(), "approved");
        let before = scene.public();
        changes(&mut scene, is_gone);
        scene.signer_works();
        is_refused(&scene, id, is_gone).await;
        scene.shows_only_provenance_beside(&before);
    }
}

/// A suite that is mended and still passes costs its own run, and nobody's word is asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn what_passes_the_mended_suite_too_is_published_with_the_word_it_has() {
    let mut scene = scene().await;
    let id = scene.promote("rex", &["apple-1-1"]).await;
    let before = scene.promotion(id).await;
    let old = before.suites["tastes"].clone();
    commit(scene.data.path(), Some("eat the apple"));
    scene.signer_works();
    let promotion = scene.published(id).await;
    assert_ne!(promotion.suites["tastes"], old);
    assert_eq!(promotion.approvals, before.approvals);
    let snapshot = scene.snapshot(&promotion).await;
    let results = scene.db.read().await.unwrap().results(&snapshot.content).await.unwrap();
    let runs = |suite: &str| results.iter().filter(|result| result.suite == suite).count();
    assert_eq!((runs("installs"), runs("tastes")), (1, 2), "{results:?}");
    scene.is_clean().await;
}

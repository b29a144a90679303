//! Somebody with a database client edits a row.

use farm::digest::Digest;
use farm::outcome::Outcome;
use farm::promotion::PromotionState;
use serde_json::json;

use crate::scene::{DEMO, RELEASE, RIVAL, RIVAL_TESTING, Scene, TARGET, TESTING};

fn fails() -> Outcome {
    Outcome::FailedByPackage { reason: "it does not taste".into() }
}

/// What was refused is said to be approved, or published.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_was_written_by_hand_moves_nothing() {
    let mut scene = Scene::new().await;
    scene.signer_works();
    let shown = scene.built(TARGET, "pear", "1").await;
    scene.tests = fails();
    let refused = scene.built(TARGET, "apple", "1").await;
    let PromotionState::Rejected { snapshot: Some(snapshot), .. } = refused.state else {
        panic!("{:?}", refused.state)
    };
    let before = scene.public();
    let open = format!("UPDATE promotion SET settled = 0 WHERE id = '{}'", refused.id);
    let said = |phase: &str| json!({ "phase": phase, "snapshot": snapshot, "by": "rex" });

    scene.edit_promotion(refused.id, "$.state", &said("approved")).await;
    assert_eq!(scene.edit(&open).await, 1);
    let promotion = scene.settled(refused.id).await;
    let PromotionState::Rejected { why, .. } = &promotion.state else { panic!("{:?}", promotion.state) };
    assert!(why[0].contains("suite installs on x86_64 failed: it does not taste"), "{why:?}");
    scene.shows_only(&before);

    scene.edit_promotion(refused.id, "$.state", &said("publishing")).await;
    assert_eq!(scene.edit(&open).await, 1);
    scene.works().await;
    let promotion = scene.promotion(refused.id).await;
    assert_eq!(promotion.phase(), "publishing", "nobody is told that it was published");
    scene.shows_only(&before);
    assert_eq!(scene.live(TESTING), shown.snapshot());
    scene.is_clean().await;
}

/// A failed test is said to have passed.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_was_edited_gets_no_signature() {
    let mut scene = Scene::new().await;
    scene.tests = fails();
    let refused = scene.built(TARGET, "apple", "1").await;
    let snapshot = scene.snapshot(&refused).await;
    let before = scene.public();
    let results = scene.db.read().await.unwrap().results(&snapshot.content).await.unwrap();
    let failed = results.iter().find(|result| result.suite == "installs").unwrap();
    scene.edit_doc("result", "job", failed.job, "$.verdict", &json!({ "kind": "passed" })).await;
    let (status, body) =
        scene.post("rex", "promotions", &json!({ "nvrs": ["apple-1-1"], "to": "testing" })).await;
    assert_eq!(status, 202, "{body}");
    let id = body["id"].as_str().unwrap().parse().unwrap();
    scene.works().await;
    assert_eq!(scene.promotion(id).await.phase(), "approved", "the gate believes the row");
    scene.signer_works();
    scene.signer_refuses(id, "its job showed something else").await;
    scene.shows_only_keys_beside(&before);
    assert_eq!(scene.live(TESTING), None);
}

/// A tested snapshot is said to have another package in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_edited_gets_no_signature() {
    let mut scene = Scene::new().await;
    let promotion = scene.built(TARGET, "apple", "1").await;
    assert_eq!(promotion.phase(), "approved");
    let other = Digest::of(b"other bytes");
    let id = promotion.snapshot().unwrap();
    scene.edit_doc("snapshot", "id", id, "$.members[0].rpms[0].body", &json!(other)).await;
    scene.signer_works();
    scene.signer_refuses(promotion.id, "the row of snapshot").await;
    assert_eq!(scene.live(TESTING), None);
    // Also not when the build's row says the same, for then the tests were not about this content.
    let build = scene.snapshot(&promotion).await.members[0].build;
    scene.edit_doc("build", "id", build, "$.rpms[0].body", &json!(other)).await;
    scene.signer_refuses(promotion.id, "was edited").await;
    assert_eq!(scene.live(TESTING), None);
}

/// The signed form of a package is said to be another file: the one without a signature.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_file_that_was_exchanged_in_its_row_gets_no_signature_of_the_whole() {
    let mut scene = Scene::new().await;
    let promotion = scene.built(TARGET, "apple", "1").await;
    let rpms: Vec<_> = scene.snapshot(&promotion).await.rpms().cloned().collect();
    scene.signer_works();
    scene.packages_are_signed(&promotion).await;
    let sql = format!(
        "UPDATE signed SET digest = '{}', size = {} WHERE body = '{}'",
        rpms[0].digest.as_str(),
        rpms[0].size,
        rpms[0].body.as_str()
    );
    assert_eq!(scene.edit(&sql).await, 1);
    scene.signer_refuses(promotion.id, "the signature is not accepted").await;
    assert_eq!(scene.live(TESTING), None);
    assert_eq!(
        scene.db.read().await.unwrap().endorsement(promotion.snapshot().unwrap()).await.unwrap(),
        None
    );
}

/// What a signer put its name to is replaced, between its signature and publication: the decision, and where a build comes from.
#[tokio::test(flavor = "multi_thread")]
async fn an_endorsement_that_was_edited_is_signed_anew() {
    let mut scene = Scene::new().await;
    for (version, path) in [("1", "$.decision"), ("2", "$.provenance.\"apple-2-1\"")] {
        scene.signer_leaves().await;
        let promotion = scene.built(TARGET, "apple", version).await;
        scene.signer_works();
        scene.is_endorsed(&promotion).await;
        scene.signer_leaves().await;
        scene.edit_doc("endorsement", "snapshot", promotion.snapshot().unwrap(), path, &json!("{}")).await;
        scene.works().await;
        assert_ne!(scene.live(TESTING), promotion.snapshot(), "{path}");
        scene.signer_works();
        scene.published(promotion.id).await;
        scene.is_clean().await;
    }
}

/// Production is pointed at what only testing may show, and at what another SIG has published.
#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_that_was_moved_by_hand_is_not_followed() {
    let mut scene = Scene::new().await;
    scene.signer_works();
    scene.built(TARGET, "apple", "1").await;
    let released = scene.promote("rex", &["apple-1-1"]).await;
    let released = scene.published(released).await;
    scene.built(TARGET, "apple", "2").await;
    let former = released.snapshot().unwrap();
    let released = scene.promote("rex", &["apple-2-1"]).await;
    let released = scene.published(released).await;
    let tested = scene.built(TARGET, "apple", "3").await;
    let rivals = scene.built(RIVAL, "carrot", "1").await;
    let before = scene.public();
    // Back to what it showed before, which is a release manager's word to say.
    assert_eq!(scene.edit(&format!("UPDATE repo SET current = '{former}' WHERE tag = '{RELEASE}'")).await, 1);
    scene.works().await;
    scene.shows_only(&before);
    for wrong in [&tested, &rivals] {
        let id = wrong.snapshot().unwrap();
        let point = format!("UPDATE repo SET current = '{id}' WHERE tag = '{RELEASE}'");
        assert_eq!(scene.edit(&point).await, 1);
        scene.works().await;
        scene.shows_only(&before);
        // Not even when the move is written down as if the gate had made it.
        let forged = format!(
            "INSERT INTO publication SELECT '{RELEASE}', 1 + (SELECT revision FROM repo WHERE tag = '{RELEASE}'), snapshot, \
             content, promotion, 'rex', at FROM publication WHERE snapshot = '{id}'"
        );
        assert_eq!(scene.edit(&forged).await, 1);
        scene.edit(&format!("UPDATE repo SET revision = revision + 1 WHERE tag = '{RELEASE}'")).await;
        scene.works().await;
        scene.shows_only(&before);
        scene.edit(&format!("DELETE FROM publication WHERE tag = '{RELEASE}' AND snapshot = '{id}'")).await;
        scene.edit(&format!("UPDATE repo SET revision = revision - 1 WHERE tag = '{RELEASE}'")).await;
    }
    let right = released.snapshot().unwrap();
    scene.edit(&format!("UPDATE repo SET current = '{right}' WHERE tag = '{RELEASE}'")).await;
    scene.works().await;
    assert_eq!(scene.live(RELEASE), Some(right));
    scene.is_clean().await;
}

/// One person's word is written down twice where two people's are needed.
#[tokio::test(flavor = "multi_thread")]
async fn one_word_that_was_written_twice_is_one() {
    let mut scene = Scene::new().await;
    scene.apply(&format!("{DEMO}[project.promotion]\napprovers = 2\n")).await;
    scene.signer_works();
    scene.built(TARGET, "apple", "1").await;
    let before = scene.public();
    let id = scene.promote("rex", &["apple-1-1"]).await;
    let word = json!(scene.promotion(id).await.approvals[0]);
    scene.edit_promotion(id, "$.approvals", &json!([word, word])).await;
    scene.works().await;
    assert_eq!(scene.promotion(id).await.phase(), "ready", "another release manager must agree");
    scene.shows_only(&before);
    scene.is_clean().await;
}

/// A SIG's promotion is said to bring another SIG's build.
#[tokio::test(flavor = "multi_thread")]
async fn anothers_build_in_a_promotions_row_gets_no_signature() {
    let mut scene = Scene::new().await;
    scene.signer_works();
    scene.built(TARGET, "apple", "1").await;
    scene.signer_leaves().await;
    let before = scene.public();
    let rivals = scene.built(RIVAL, "carrot", "1").await;
    let apple = scene.db.read().await.unwrap().build_by_nvr("apple-1-1").await.unwrap().unwrap();
    let builds = json!([rivals.builds[0], apple.id]);
    scene.edit_promotion(rivals.id, "$.builds", &builds).await;
    scene.edit_promotion(rivals.id, "$.state", &json!({ "phase": "composing" })).await;
    scene.works().await;
    let promotion = scene.promotion(rivals.id).await;
    assert_eq!(scene.snapshot(&promotion).await.members.len(), 2);
    scene.signer_works();
    scene.signer_refuses(rivals.id, "apple-1-1: it was built for demo9s-fruit-1-el9s").await;
    assert_eq!(scene.live(RIVAL_TESTING), None);
    scene.shows_only_keys_beside(&before);
}

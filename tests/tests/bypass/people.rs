//! Somebody with a token asks for more than is theirs.

use farm::outcome::Outcome;
use farm::promotion::PromotionState;
use farm::request::RequestKind;
use hub::keeper;
use serde_json::{Value, json};
use std::time::Duration;

use crate::scene::{CANDIDATE, DEMO, RELEASE, RIVAL, Scene, TARGET, TESTING};

/// A SIG's release manager tries everything on another SIG's builds and repos.
#[tokio::test(flavor = "multi_thread")]
async fn one_sig_moves_nothing_of_another() {
    let mut scene = Scene::new().await;
    scene.signer_works();
    scene.built(TARGET, "apple", "1").await;
    scene.built(RIVAL, "carrot", "1").await;
    let waiting = scene.promote("ada", &["apple-1-1"]).await;
    let before = scene.public();
    let reason = "because nobody is looking at it";
    for (path, body, status, words) in [
        ("promotions", json!({ "nvrs": ["apple-1-1"], "to": "release" }), 403, "SIG demo"),
        (
            "promotions",
            json!({ "nvrs": ["apple-1-1"], "to": "release", "target": RIVAL }),
            422,
            "was built for",
        ),
        (
            "promotions",
            json!({ "nvrs": ["carrot-1-1", "apple-1-1"], "to": "release" }),
            422,
            "one target at a time",
        ),
        (
            "promotions",
            json!({ "remove": ["apple"], "to": "testing", "target": TARGET, "confirm": true }),
            403,
            "SIG demo",
        ),
        ("rollbacks", json!({ "tag": TESTING, "reason": reason, "confirm": true }), 403, "SIG demo"),
        ("withdrawals", json!({ "nvr": "apple-1-1", "reason": reason }), 403, "SIG demo"),
        (&format!("promotions/{waiting}/approve"), json!({}), 403, "SIG demo"),
        (&format!("promotions/{waiting}/withdraw"), json!({}), 403, "SIG demo"),
        (
            &format!("promotions/{waiting}/waivers"),
            json!({ "suite": "installs", "reason": reason, "days": 1 }),
            403,
            "SIG demo",
        ),
    ] as [(&str, Value, u16, &str); 9]
    {
        let (answered, said) = scene.post("vic", path, &body).await;
        let words_are_there = said["detail"].as_str().unwrap_or_default().contains(words)
            || said["fix"].as_str().unwrap_or_default().contains(words);
        assert!(answered == status && words_are_there, "{path} {body}: {answered} {said}");
    }
    scene.works().await;
    assert_eq!(scene.promotion(waiting).await.phase(), "ready");
    scene.shows_only(&before);
    scene.is_clean().await;
}

/// A call is repeated, by whoever made it and by others, for this promotion and for another.
#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_approval_is_no_second_one() {
    let mut scene = Scene::new().await;
    scene.apply(&format!("{DEMO}[project.promotion]\napprovers = 2\n")).await;
    scene.signer_works();
    scene.built(TARGET, "apple", "1").await;
    scene.built(TARGET, "pear", "1").await;
    let id = scene.promote("rex", &["apple-1-1"]).await;
    let other = scene.promote("ada", &["pear-1-1"]).await;
    let before = scene.public();
    let approve = format!("promotions/{id}/approve");
    for (person, status) in
        [("rex", 409), ("rex", 409), ("ada", 403), ("eve", 403), ("vic", 403), ("root", 403)]
    {
        let (answered, said) = scene.post(person, &approve, &json!({})).await;
        assert_eq!(answered, status, "{person}: {said}");
    }
    scene.works().await;
    for waiting in [id, other] {
        assert_eq!(scene.promotion(waiting).await.phase(), "ready");
    }
    scene.shows_only(&before);

    let (answered, said) = scene.post("rita", &approve, &json!({})).await;
    assert_eq!(answered, 204, "{said}");
    scene.published(id).await;
    for person in ["rex", "rita"] {
        assert_eq!(scene.post(person, &approve, &json!({})).await.0, 409);
    }
    assert_eq!(scene.promotion(other).await.phase(), "ready", "a word for one promotion is none for another");
    scene.is_clean().await;
}

/// Whoever approved it is no release manager any more when it comes to be published.
#[tokio::test(flavor = "multi_thread")]
async fn the_word_of_who_has_left_does_not_count_any_more() {
    for has_left_the_farm in [false, true] {
        who_has_left(has_left_the_farm).await;
    }
}

async fn who_has_left(has_left_the_farm: bool) {
    let mut scene = Scene::new().await;
    scene.signer_works();
    scene.built(TARGET, "apple", "1").await;
    scene.signer_leaves().await;
    let id = scene.promote("rex", &["apple-1-1"]).await;
    assert_eq!(scene.promotion(id).await.phase(), "approved");
    let before = scene.public();
    if has_left_the_farm {
        assert_eq!(scene.edit("DELETE FROM person WHERE name = 'rex'").await, 1);
    } else {
        let rex = "name = \"rex\"\nroles = [\"release-manager\"]";
        scene.apply(&DEMO.replace(rex, &rex.replace("release-manager", "maintainer"))).await;
    }
    scene.signer_works();
    let promotion = scene.settled(id).await;
    let PromotionState::Rejected { why, .. } = &promotion.state else { panic!("{:?}", promotion.state) };
    assert!(why[0].contains("rex approved it but is not a release manager of SIG demo"), "{why:?}");
    scene.shows_only(&before);
    scene.is_clean().await;
}

/// A waiver let it through, and has expired when it comes to be published.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiver_that_expires_before_publication_stops_it() {
    let mut scene = Scene::new().await;
    scene.tests = Outcome::FailedByPackage { reason: "it does not taste".into() };
    let refused = scene.built(TARGET, "apple", "1").await;
    let waiver =
        json!({ "suite": "installs", "reason": "the taster has a cold", "days": 1, "nvr": "apple-1-1" });
    let path = format!("promotions/{}/waivers", refused.id);
    let (status, body) = scene.post("rita", &path, &waiver).await;
    assert_eq!(status, 201, "{body}");
    let (status, again) =
        scene.post("ada", "promotions", &json!({ "nvrs": ["apple-1-1"], "to": "testing" })).await;
    assert_eq!(status, 202, "{again}");
    let id = again["id"].as_str().unwrap().parse().unwrap();
    scene.works().await;
    assert_eq!(scene.promotion(id).await.phase(), "approved");
    let before = scene.public();
    // The day goes by.
    let waiver = body["waiver"]["id"].as_str().unwrap();
    scene.edit_doc("waiver", "id", waiver, "$.until", &json!(scene.hub.now().millis() - 1)).await;
    scene.signer_works();
    let promotion = scene.settled(id).await;
    let PromotionState::Rejected { why, .. } = &promotion.state else { panic!("{:?}", promotion.state) };
    assert!(why[0].contains("suite installs on x86_64 failed"), "{why:?}");
    scene.shows_only_keys_beside(&before);
    assert_eq!(scene.live(TESTING), None);
}

/// A build is withdrawn in the very moment in which it is brought in.
#[tokio::test(flavor = "multi_thread")]
async fn the_gate_is_asked_once_more_when_the_pointer_moves() {
    let mut scene = Scene::new().await;
    scene.signer_works();
    let before = scene.built(TARGET, "pear", "1").await;
    scene.signer_leaves().await;
    let shown = scene.public();
    let promotion = scene.built(TARGET, "apple", "1").await;
    scene.signer_works();
    scene.is_endorsed(&promotion).await;
    let held = scene.hub.public.hold().await.unwrap();
    let hub = scene.hub.clone();
    let keeper = tokio::spawn(async move { keeper::settle(&hub).await });
    scene.tree_is_waited_for().await;
    let body = json!({ "nvr": "apple-1-1", "reason": "it eats the data of its users" });
    let (status, said) = scene.post("ada", "withdrawals", &body).await;
    assert_eq!(status, 200, "{said}");
    drop(held);
    keeper.await.unwrap().unwrap();
    let promotion = scene.settled(promotion.id).await;
    let PromotionState::Rejected { why, .. } = &promotion.state else { panic!("{:?}", promotion.state) };
    assert!(why[0].contains("apple-1-1 was withdrawn"), "{why:?}");
    assert_eq!(scene.live(TESTING), before.snapshot());
    scene.shows_only_provenance_beside(&shown);
    scene.is_clean().await;
}

/// What was built from scratch is in no repo, and nobody can promote it.
#[tokio::test(flavor = "multi_thread")]
async fn a_scratch_build_is_promoted_by_nobody() {
    let mut scene = Scene::new().await;
    scene.signer_works();
    scene.built(TARGET, "apple", "1").await;
    let before = scene.public();
    let expires = scene.hub.now() + Duration::from_secs(3600);
    scene.ask_for(RequestKind::Scratch { expires }, TARGET, "pear", "9").await;
    scene.works().await;
    for to in ["testing", "release"] {
        for person in ["ada", "rex", "root"] {
            let (status, said) =
                scene.post(person, "promotions", &json!({ "nvrs": ["pear-9-1"], "to": to })).await;
            assert_eq!(status, 404, "{person}: {said}");
        }
    }
    let tagged = scene.db.read().await.unwrap().tagged(CANDIDATE).await.unwrap();
    assert_eq!(tagged.len(), 1, "{tagged:?}");
    scene.works().await;
    scene.shows_only(&before);
    assert_eq!(scene.live(RELEASE), None);
}

/// A promotion to production that is composed anew when testing shows another build by now.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_left_testing_is_not_released() {
    let mut scene = Scene::new().await;
    scene.signer_works();
    scene.built(TARGET, "apple", "1").await;
    let id = scene.promote("ada", &["apple-1-1"]).await;
    scene.built(TARGET, "apple", "2").await;
    let before = scene.public();
    scene.edit_promotion(id, "$.state", &json!({ "phase": "composing" })).await;
    let promotion = scene.settled(id).await;
    let PromotionState::Rejected { why, .. } = &promotion.state else { panic!("{:?}", promotion.state) };
    assert!(why[0].contains("apple-1-1 is not in demo9s-fruit-1-testing any more"), "{why:?}");
    scene.shows_only(&before);
}

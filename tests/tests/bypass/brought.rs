//! What was brought into the public tree, where nothing leads to it yet, and must not be published any more when it comes to that.
//! Nobody can fetch it from then on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use farm::promotion::{Promotion, PromotionState};
use farm::signing::Purpose;
use farm::stamp::Stamp;
use hub::keeper;
use serde_json::json;
use signer::keys::Keys;
use tests::SIGNER_BITS;

use crate::scene::{Scene, TARGET, TESTING};

/// pear-1, and after it pear-2 and apple-1: that one is signed and approved, and a hub has died when it had brought it in.
async fn brought_in(scene: &mut Scene) -> Promotion {
    let (promotion, keeper, hold) = about_to_be_brought_in(scene).await;
    keeper.abort();
    drop(hold);
    let id = promotion.snapshot().unwrap();
    let public = scene.hub.public.clone();
    scene.watch("it is in the tree", || async { public.contains(id).then_some(()) }).await;
    assert_eq!(scene.promotion(promotion.id).await.phase(), "approved");
    promotion
}

/// The same, with a hub at work that cannot bring it in before the tree is let go.
async fn about_to_be_brought_in(
    scene: &mut Scene,
) -> (Promotion, tokio::task::JoinHandle<()>, hub::repos::publish::Hold) {
    scene.signer_works();
    scene.built(TARGET, "pear", "1").await;
    scene.built(TARGET, "pear", "2").await;
    scene.signer_leaves().await;
    let promotion = scene.built(TARGET, "apple", "1").await;
    scene.signer_works();
    scene.is_endorsed(&promotion).await;
    let hold = scene.hub.public.hold().await.unwrap();
    let hub = scene.hub.clone();
    let keeper = tokio::spawn(async move { keeper::settle(&hub).await.unwrap() });
    scene.tree_is_waited_for().await;
    (promotion.value, keeper, hold)
}

/// Everybody can fetch packages of these builds, and of no other.
#[track_caller]
fn only_these_can_be_fetched(scene: &Scene, builds: &[&str]) {
    let public = scene.public();
    assert_eq!(public.keys().find(|path| is_moved_aside(path)), None, "what was taken out has gone");
    let files: Vec<String> = public.keys().map(|path| path.display().to_string()).collect();
    let packages: BTreeSet<&str> = files
        .iter()
        .filter(|path| path.ends_with(".rpm"))
        .map(|path| path.rsplit('/').next().unwrap().trim_end_matches(".rpm").rsplit_once('.').unwrap().0)
        .collect();
    assert_eq!(packages, builds.iter().copied().collect());
}

/// Is it in a snapshot that was taken out, and is only not removed yet?
fn is_moved_aside(path: &Path) -> bool {
    path.to_string_lossy().contains("/snap/.gone-")
}

/// A person takes the promotion back.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_withdraws_when_it_was_brought_in_cannot_be_fetched_any_more() {
    let mut scene = Scene::new().await;
    let promotion = brought_in(&mut scene).await;
    let id = promotion.snapshot().unwrap();
    let (status, said) =
        scene.post("rex", &format!("promotions/{}/withdraw", promotion.id), &json!({})).await;
    assert_eq!(status, 204, "{said}");
    let public = scene.hub.public.clone();
    scene.watch("it is gone", || async { (!public.contains(id)).then_some(()) }).await;
    // The hub goes on with that after its answer: first the packages leave the pool, then what was moved aside is removed.
    let is_of_it = |path: &PathBuf| path.ends_with("apple-1-1.x86_64.rpm") || is_moved_aside(path);
    scene.watch("all of it is", || async { (!scene.public().keys().any(is_of_it)).then_some(()) }).await;
    only_these_can_be_fetched(&scene, &["pear-1-1", "pear-2-1"]);
    scene.is_clean().await;
}

/// A build is withdrawn, and the gate lets it through no more.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_when_it_was_brought_in_cannot_be_fetched_any_more() {
    let mut scene = Scene::new().await;
    let promotion = brought_in(&mut scene).await;
    let body = json!({ "nvr": "apple-1-1", "reason": "it eats the data of its users" });
    let (status, said) = scene.post("ada", "withdrawals", &body).await;
    assert_eq!(status, 200, "{said}");
    let promotion = scene.settled(promotion.id).await;
    assert!(matches!(promotion.state, PromotionState::Rejected { .. }), "{:?}", promotion.state);
    assert!(!scene.hub.public.contains(promotion.snapshot().unwrap()));
    only_these_can_be_fetched(&scene, &["pear-1-1", "pear-2-1"]);
    scene.is_clean().await;
}

/// It is held up, and the repo goes back meanwhile: what was brought in stands on what is live no more.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cast_off_when_it_was_brought_in_cannot_be_fetched_any_more() {
    let mut scene = Scene::new().await;
    let promotion = brought_in(&mut scene).await;
    let decision = scene.hub.public.dir(promotion.snapshot().unwrap()).join("decision.dsse.json");
    std::fs::remove_file(decision).unwrap();
    let body = json!({ "tag": TESTING, "revision": 1, "reason": "pear-2 is no good", "confirm": true });
    let (status, said) = scene.post("rex", "rollbacks", &body).await;
    assert!((200..300).contains(&status), "{said}");
    let back = said["id"].as_str().unwrap().parse().unwrap();
    scene.published(back).await;
    let published = scene.published(promotion.id).await;
    assert_ne!(published.snapshot(), promotion.snapshot());
    assert!(!scene.hub.public.contains(promotion.snapshot().unwrap()));
    only_these_can_be_fetched(&scene, &["apple-1-1", "pear-1-1", "pear-2-1"]);
    scene.is_clean().await;
}

/// The key that has signed it is retired, because it is in wrong hands: when a hub has died, or while one brings it in.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_retired_key_has_signed_is_not_published_though_it_was_brought_in() {
    for has_died in [true, false] {
        let mut scene = Scene::new().await;
        let (promotion, keeper) = if has_died {
            (brought_in(&mut scene).await, None)
        } else {
            let (promotion, keeper, hold) = about_to_be_brought_in(&mut scene).await;
            (promotion, Some((keeper, hold)))
        };
        scene.signer_leaves().await;
        let leaked = retire(&scene);
        scene.signer_works();
        scene
            .watch("the hub has heard of it", || async {
                let keys = scene.db.read().await.unwrap().signing_keys().await.unwrap();
                keys.iter().find(|key| key.fingerprint == leaked)?.until
            })
            .await;
        if let Some((keeper, hold)) = keeper {
            drop(hold);
            keeper.await.unwrap();
        }
        let published = scene.published(promotion.id).await;
        let id = published.snapshot().unwrap();
        assert_ne!(Some(id), promotion.snapshot(), "it is composed and signed anew");
        assert!(!scene.hub.public.contains(promotion.snapshot().unwrap()));
        let endorsement = scene.db.read().await.unwrap().endorsement(id).await.unwrap().unwrap();
        assert!(!endorsement.keys.contains(&leaked), "{:?}", endorsement.keys);
        assert_eq!(scene.live(TESTING), Some(id));
        scene.is_clean().await;
    }
}

/// Another key follows the one that signs the packages of the SIG `demo`, and that one counts no more. Gives its name.
fn retire(scene: &Scene) -> String {
    let keys = Keys::open(&scene.keys(), None).unwrap();
    let known = keys.list().unwrap();
    let old = known.iter().find(|key| key.purpose == Purpose::Packages && key.sig == "demo").unwrap();
    let now = Stamp::from_millis(scene.hub.now().millis() - 1);
    keys.new_packages("demo", "SIG $sig", SIGNER_BITS, now, now).unwrap();
    keys.set_times(&old.fingerprint, old.since, Some(now)).unwrap();
    old.fingerprint.clone()
}

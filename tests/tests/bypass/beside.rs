//! Somebody has other files published beside the packages than were tested with them.

use std::io::Write as _;
use std::path::Path;

use farm::extras::{ExtraKind, files};
use farm::promotion::PromotionState;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::scene::{DEMO, Scene, TARGET, TESTING, git_commit, only, rewrite};

const FIRST: &str = "<comps><group><id>first</id></group></comps>";
const OTHER: &str = "<comps><group><id>other</id></group></comps>";

/// Commits a list of groups, and nothing else, to the branch that the template names.
fn commit(data: &Path, comps: &str) {
    git_commit(data, "metadata/demo", &[("comps.xml", comps)]);
}

async fn scene() -> Scene {
    let scene = Scene::new().await;
    scene.apply(&format!("{DEMO}[project.metadata]\nrepo = \"metadata/demo\"\nbranch = \"main\"\n")).await;
    commit(scene.data.path(), FIRST);
    scene
}

/// The digest of the groups of what is live.
async fn shown(scene: &Scene) -> Option<farm::digest::Digest> {
    let live = scene.db.read().await.unwrap().live(TESTING).await.unwrap()?;
    let group = files(live.extras.as_ref()).iter().find(|extra| extra.kind == ExtraKind::Group)?;
    Some(group.digest.clone())
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A push that comes when the gate has said yes, and before anything is signed, is not in what is published then.
#[tokio::test(flavor = "multi_thread")]
async fn groups_pushed_between_approval_and_publication_are_not_published_untested() {
    let mut scene = scene().await;
    let promotion = scene.built(TARGET, "apple", "1").await;
    assert_eq!(promotion.phase(), "approved");
    commit(scene.data.path(), OTHER);
    scene.works().await;
    scene.signer_works();
    scene.published(promotion.id).await;
    let tested = scene.snapshot(&promotion).await;
    let first = farm::digest::Digest::of(FIRST.as_bytes());
    assert_eq!(files(tested.extras.as_ref())[0].digest, first);
    // They come by themselves, with tests of their own.
    let other = farm::digest::Digest::of(OTHER.as_bytes());
    scene
        .until("the other groups are live", || async {
            (shown(&scene).await == Some(other.clone())).then_some(())
        })
        .await;
    let live = scene.db.read().await.unwrap().live(TESTING).await.unwrap().unwrap();
    assert_ne!(live.content, tested.content);
    let results = scene.db.read().await.unwrap().results(&live.content).await.unwrap();
    assert!(results.iter().any(|result| result.suite == "installs"), "{results:?}");
    scene.is_clean().await;
}

/// A tested snapshot is said to have other groups, or none.
#[tokio::test(flavor = "multi_thread")]
async fn groups_that_were_edited_in_a_snapshots_row_get_no_signature() {
    let mut scene = scene().await;
    let promotion = scene.built(TARGET, "apple", "1").await;
    let id = promotion.snapshot().unwrap();
    let stored = scene.hub.artifacts.put_bytes(OTHER.as_bytes()).await.unwrap();
    scene.edit_doc("snapshot", "id", id, "$.extras.files[0].digest", &json!(stored.digest)).await;
    scene.signer_works();
    scene.signer_refuses(promotion.id, "the row of snapshot").await;
    scene.edit_doc("snapshot", "id", id, "$.extras", &json!(null)).await;
    scene.signer_refuses(promotion.id, "the row of snapshot").await;
    assert_eq!(scene.live(TESTING), None);
}

/// The staged groups are exchanged before they are signed, and listed as if they were the right ones.
#[tokio::test(flavor = "multi_thread")]
async fn staged_groups_that_were_exchanged_are_not_signed() {
    let mut scene = scene().await;
    let promotion = scene.built(TARGET, "apple", "1").await;
    scene.signer_works();
    scene.packages_are_signed(&promotion).await;
    scene.signer_leaves().await;
    scene.works().await;
    let repodata = scene.staged(&promotion).join("x86_64/repodata");
    let path = only(&repodata, "-comps.xml.gz");
    let (good, bad) = (std::fs::read(&path).unwrap(), gzip(OTHER));
    rewrite(&path, &bad);
    scene.signer_works();
    scene.signer_refuses(promotion.id, "is not the file that repomd.xml names").await;
    let list = std::fs::read_to_string(repodata.join("repomd.xml")).unwrap();
    let digest = |bytes: &[u8]| format!(">{}<", farm::digest::Digest::of(bytes).as_str());
    let size = |bytes: &[u8]| format!("<size>{}<", bytes.len());
    let relisted =
        list.replace(&digest(&good), &digest(&bad)).replacen(&size(&good), &size(&bad), usize::MAX);
    rewrite(&repodata.join("repomd.xml"), relisted.as_bytes());
    scene.signer_refuses(promotion.id, "the group of x86_64 is not the one that was tested").await;
    assert_eq!(scene.live(TESTING), None);
}

/// They are exchanged in the store once they were tested: nothing is staged with them.
#[tokio::test(flavor = "multi_thread")]
async fn groups_that_were_exchanged_in_the_store_are_never_staged() {
    let mut scene = scene().await;
    let promotion = scene.built(TARGET, "apple", "1").await;
    let path = scene.artifact(&farm::digest::Digest::of(FIRST.as_bytes()));
    rewrite(&path, OTHER.as_bytes());
    scene.signer_works();
    scene.packages_are_signed(&promotion).await;
    scene.works().await;
    assert!(!scene.staged(&promotion).exists());
    assert_eq!(scene.live(TESTING), None);
    rewrite(&path, FIRST.as_bytes());
    let published = scene.published(promotion.id).await;
    assert!(matches!(published.state, PromotionState::Published { .. }));
    scene.is_clean().await;
}

/// What is at the head of the branch is no list of groups: nothing is composed with it, and what was published stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_list_of_groups_is_composed_for_nobody() {
    let mut scene = scene().await;
    commit(scene.data.path(), "<comps>");
    let promotion = scene.built(TARGET, "apple", "1").await;
    assert_eq!(promotion.phase(), "composing");
    scene.signer_works();
    scene.works().await;
    assert_eq!(scene.promotion(promotion.id).await.phase(), "composing");
    assert_eq!(scene.live(TESTING), None);
    commit(scene.data.path(), FIRST);
    scene.published(promotion.id).await;
    assert_eq!(shown(&scene).await, Some(farm::digest::Digest::of(FIRST.as_bytes())));
    scene.is_clean().await;
}

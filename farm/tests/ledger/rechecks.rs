//! What live repos were last tested on, and what surrounds them.

use farm::arch::Arch;
use farm::ledger::{Db, LedgerError};
use farm::recheck::{Cause, Ground, LayerVersion, Surroundings, Watch};
use farm::request::{Request, RequestKind, Source};

use crate::on_both;
use crate::samples::{NOON, RELEASE, digest, id, later, request};

on_both!(
    contract_a_watch_is_kept_at_the_version_that_was_seen,
    contract_surroundings_keep_their_age,
    contract_a_repo_outside_changes_once,
    contract_a_check_tells_its_causes,
);

fn around(revision: i64) -> Surroundings {
    Surroundings { image: "image".to_owned(), layers: vec![LayerVersion::tag("a9s-b-1-release", revision)] }
}

fn watch(revision: i64) -> Watch {
    let ground = Ground {
        content: digest("content"),
        around: around(revision),
        suites: [("installs".to_owned(), digest("installs"))].into(),
    };
    Watch::first(RELEASE, ground.clone(), &ground, NOON)
}

async fn contract_a_watch_is_kept_at_the_version_that_was_seen(db: Db) {
    let mut tx = db.write().await.unwrap();
    assert_eq!(tx.watch(RELEASE).await.unwrap(), None);
    tx.keep_watch(None, &watch(1)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    let before = tx.watch(RELEASE).await.unwrap().unwrap();
    let again = tx.keep_watch(None, &watch(2)).await.unwrap_err();
    assert!(matches!(again, LedgerError::LostRace { table: "recheck", .. }), "{again}");
    drop(tx);
    let next = Watch { request: Some(id(7)), changed: later(5), ..watch(2) };
    let mut tx = db.write().await.unwrap();
    tx.keep_watch(Some(&before), &next).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    let again = tx.keep_watch(Some(&before), &watch(3)).await.unwrap_err();
    assert!(matches!(again, LedgerError::LostRace { table: "recheck", .. }), "{again}");
    drop(tx);
    assert_eq!(db.read().await.unwrap().watch(RELEASE).await.unwrap().unwrap().value, next);
}

async fn contract_surroundings_keep_their_age(db: Db) {
    let mut tx = db.write().await.unwrap();
    let environment = digest("environment");
    assert_eq!(tx.surroundings(&environment).await.unwrap(), None);
    tx.note_surroundings(&environment, &around(1), NOON).await.unwrap();
    tx.note_surroundings(&environment, &around(2), later(9)).await.unwrap();
    let known = tx.surroundings(&environment).await.unwrap().unwrap();
    assert_eq!((known.around, known.since), (around(2), NOON));
}

async fn contract_a_repo_outside_changes_once(db: Db) {
    let mut tx = db.write().await.unwrap();
    let mut note = async |state: &str, at| {
        tx.note_outside("https://example.org/$basearch", Arch::X86_64, &digest(state), at).await.unwrap()
    };
    assert!(!note("a", NOON).await, "the first look is no change");
    assert!(!note("a", later(1)).await);
    assert!(note("b", later(2)).await);
    assert!(!note("b", later(3)).await);
    tx.note_outside("https://example.org/$basearch", Arch::S390x, &digest("c"), later(4)).await.unwrap();
    let known = tx.outside().await.unwrap();
    assert_eq!(known.len(), 2);
    let here = &known[&("https://example.org/$basearch".to_owned(), Arch::X86_64)];
    assert_eq!((&here.digest, here.changed, here.seen), (&digest("b"), later(2), later(3)));
}

async fn contract_a_check_tells_its_causes(db: Db) {
    let causes = vec![Cause::Nightly];
    let kind = RequestKind::Check { tag: RELEASE.to_owned(), snapshot: id(3), causes: causes.clone() };
    let check = Request { source: Source::Snapshot, ..request(1, kind) };
    let mut tx = db.write().await.unwrap();
    tx.insert_request(&check).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.request(check.id).await.unwrap().unwrap().value, check);
    let told = tx.events(9).await.unwrap();
    assert_eq!(told[0].facts["tag"], RELEASE);
    assert_eq!(told[0].facts["causes"], serde_json::to_value(&causes).unwrap());
}

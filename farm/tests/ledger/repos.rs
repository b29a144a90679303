//! Repos and snapshots.

use farm::digest::Digest;
use farm::extras::{Extra, ExtraKind, Extras};
use farm::gate::{Approved, Decision};
use farm::ledger::{Db, LedgerError};
use farm::sig::Stage;
use farm::snapshot::Snapshot;

use crate::on_both;
use crate::samples::{CANDIDATE, NOON, TESTING, build, id, pass, promotion, sig, snapshot};

on_both!(
    contract_a_candidate_repo_follows_its_membership,
    contract_only_the_gate_moves_a_public_repo,
    contract_a_repo_that_lost_its_snapshot_is_no_empty_repo,
    contract_what_stands_beside_packages_is_kept_as_long_as_its_snapshot,
);

/// The gate's yes to a snapshot for the testing repo.
pub(crate) async fn approved(db: &Db, number: i64, snapshot: &Snapshot) -> Approved {
    let mut tx = db.write().await.unwrap();
    tx.apply_sig(&sig("storage"), "", "root", NOON).await.unwrap().unwrap();
    tx.insert_snapshot(snapshot).await.unwrap();
    pass(&mut tx, number, snapshot).await;
    let decision = tx.ask_gate(&promotion(number, Stage::Testing, snapshot), NOON).await.unwrap();
    tx.commit().await.unwrap();
    match decision {
        Decision::Approved(approved) => approved,
        other => panic!("{other:?}"),
    }
}

async fn contract_a_candidate_repo_follows_its_membership(db: Db) {
    let (first, second) = (build(1, "a", "1"), build(2, "b", "1"));
    let shown = snapshot(1, CANDIDATE, None, &first);
    let mut tx = db.write().await.unwrap();
    let never = tx.repo(CANDIDATE).await.unwrap();
    assert_eq!((never.current, never.revision), (None, 0));
    assert_eq!((tx.repos().await.unwrap(), tx.live(CANDIDATE).await.unwrap()), (vec![], None));
    tx.insert_build(&first).await.unwrap();
    tx.tag_build(CANDIDATE, &first, NOON).await.unwrap();
    tx.insert_snapshot(&shown).await.unwrap();
    tx.insert_snapshot(&shown).await.unwrap();
    let before = tx.repo(CANDIDATE).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.write().await.unwrap();
    tx.insert_build(&second).await.unwrap();
    tx.tag_build(CANDIDATE, &second, NOON).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.write().await.unwrap();
    let late = tx.point_candidate(&before, shown.id, NOON).await.unwrap_err();
    assert!(matches!(late, LedgerError::LostRace { table: "repo", .. }), "a package came in meanwhile");
    let before = tx.repo(CANDIDATE).await.unwrap();
    tx.point_candidate(&before, shown.id, NOON).await.unwrap();
    assert_eq!(tx.uncomposed().await.unwrap(), []);
    assert_eq!(tx.live(CANDIDATE).await.unwrap(), Some(shown.clone().into()));
    assert_eq!(tx.base(shown.id).await.unwrap(), Some(shown.as_base()));
    assert_eq!(tx.snapshot(shown.id).await.unwrap(), Some(shown.into()));
    let repos = tx.repos().await.unwrap();
    assert_eq!((repos.len(), repos[0].revision, repos[0].composed), (1, 1, 2));
    tx.commit().await.unwrap();
}

async fn contract_only_the_gate_moves_a_public_repo(db: Db) {
    let first = snapshot(1, TESTING, None, &build(1, "a", "1"));
    let yes = approved(&db, 1, &first).await;
    let mut tx = db.write().await.unwrap();
    let before = tx.repo(TESTING).await.unwrap();
    let refused = tx.point_candidate(&before, first.id, NOON).await.unwrap_err();
    assert!(matches!(refused, LedgerError::Refused(_)));
    assert_eq!(tx.publish(&yes, id(1), NOON).await.unwrap(), 1);
    tx.commit().await.unwrap();

    // The same approval a second time: the repo is not at its base any more.
    let mut tx = db.write().await.unwrap();
    assert!(matches!(tx.publish(&yes, id(1), NOON).await, Err(LedgerError::LostRace { table: "repo", .. })));
    drop(tx);

    let second = snapshot(2, TESTING, Some(&first), &build(2, "b", "1"));
    let yes = approved(&db, 2, &second).await;
    let mut tx = db.write().await.unwrap();
    assert_eq!(tx.publish(&yes, id(1), NOON).await.unwrap(), 2);
    tx.commit().await.unwrap();
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.live(TESTING).await.unwrap(), Some(second.into()));
    assert_eq!(tx.snapshot(first.id).await.unwrap(), Some(first.into()), "an older snapshot stays readable");
    assert_eq!(tx.uncomposed().await.unwrap(), []);
}

async fn contract_a_repo_that_lost_its_snapshot_is_no_empty_repo(db: Db) {
    let shown = snapshot(1, CANDIDATE, None, &build(1, "a", "1"));
    let mut tx = db.write().await.unwrap();
    tx.insert_build(&build(1, "a", "1")).await.unwrap();
    tx.tag_build(CANDIDATE, &build(1, "a", "1"), NOON).await.unwrap();
    let before = tx.repo(CANDIDATE).await.unwrap();
    tx.point_candidate(&before, shown.id, NOON).await.unwrap();
    assert!(matches!(tx.live(CANDIDATE).await, Err(LedgerError::Corrupt { table: "repo", .. })));
}

async fn contract_what_stands_beside_packages_is_kept_as_long_as_its_snapshot(db: Db) {
    let first = build(1, "a", "1");
    let digest = Digest::of(b"groups");
    let files = vec![Extra { kind: ExtraKind::Group, digest: digest.clone(), size: 6 }];
    let extras = Extras { repo: "metadata/storage".into(), commit: "1".repeat(40), files };
    let plain = snapshot(1, CANDIDATE, None, &first);
    let shown = snapshot(2, CANDIDATE, None, &first).with_extras(Some(extras.clone()));
    let mut tx = db.write().await.unwrap();
    tx.insert_build(&first).await.unwrap();
    tx.tag_build(CANDIDATE, &first, NOON).await.unwrap();
    tx.insert_snapshot(&plain).await.unwrap();
    assert!(!tx.is_held(&digest).await.unwrap());
    tx.insert_snapshot(&shown).await.unwrap();
    tx.insert_snapshot(&shown).await.unwrap();
    assert!(tx.is_held(&digest).await.unwrap());
    assert_eq!(tx.extras_of(shown.id).await.unwrap(), Some(extras));
    assert_eq!(tx.extras_of(plain.id).await.unwrap(), None);
    assert_eq!(tx.snapshot(shown.id).await.unwrap(), Some(shown.clone().into()));

    // They change, and nothing else: the repo is composed anew, once.
    let before = tx.repo(CANDIDATE).await.unwrap();
    tx.point_candidate(&before, shown.id, NOON).await.unwrap();
    assert_eq!(tx.uncomposed().await.unwrap(), []);
    let before = tx.repo(CANDIDATE).await.unwrap();
    tx.compose_anew(&before).await.unwrap();
    let again = tx.compose_anew(&before).await.unwrap_err();
    assert!(matches!(again, LedgerError::LostRace { table: "repo", .. }), "{again}");
    assert_eq!(tx.uncomposed().await.unwrap().len(), 1);
    tx.commit().await.unwrap();
}

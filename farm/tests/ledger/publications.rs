//! What public repos showed: every move of a pointer is kept, and only what was shown can be gone back to.

use farm::gate::Decision;
use farm::ledger::{Db, Publication, Tx};
use farm::promotion::{Approval, Course, Promotion};
use farm::sig::Stage;
use farm::snapshot::Snapshot;

use crate::on_both;
use crate::samples::{NOON, TESTING, build, id, later, pass, promotion, rita, sig, snapshot};

on_both!(
    contract_every_move_of_a_pointer_is_kept,
    contract_only_what_was_published_is_gone_back_to,
    contract_packages_are_counted_without_being_read,
);

async fn ready(db: &Db) -> Tx {
    let mut tx = db.write().await.unwrap();
    tx.apply_sig(&sig("storage"), "", "root", NOON).await.unwrap().unwrap();
    rita(&mut tx).await;
    tx
}

/// Publishes a snapshot to testing; gives the revision.
async fn publish(tx: &mut Tx, number: i64, shown: &Snapshot) -> i64 {
    tx.insert_snapshot(shown).await.unwrap();
    pass(tx, number, shown).await;
    let one = promotion(number, Stage::Testing, shown);
    match tx.ask_gate(&one, later(number)).await.unwrap() {
        Decision::Approved(yes) => tx.publish(&yes, one.id, later(number)).await.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Back to what an earlier snapshot held, by rita's word.
fn back(number: i64, former: &Snapshot, live: &Snapshot) -> (Promotion, Snapshot) {
    let shown =
        Snapshot::holding(id(number), TESTING, Some(live.as_base()), former.members.clone(), later(number));
    let course = Course::Back { to: former.id, reason: "it does not start".to_owned() };
    let approvals = vec![Approval { by: "rita".to_owned(), at: NOON }];
    (Promotion { course, approvals, ..promotion(number, Stage::Testing, &shown) }, shown)
}

async fn contract_every_move_of_a_pointer_is_kept(db: Db) {
    let mut tx = ready(&db).await;
    let first = snapshot(1, TESTING, None, &build(1, "a", "1"));
    let second = snapshot(2, TESTING, Some(&first), &build(2, "a", "2"));
    assert_eq!(tx.publications(TESTING, 9).await.unwrap(), []);
    assert_eq!(publish(&mut tx, 1, &first).await, 1);
    assert_eq!(publish(&mut tx, 2, &second).await, 2);
    let (promotion, third) = back(3, &first, &second);
    tx.insert_snapshot(&third).await.unwrap();
    let Decision::Approved(yes) = tx.ask_gate(&promotion, later(3)).await.unwrap() else {
        panic!("it was published")
    };
    assert_eq!(tx.publish(&yes, promotion.id, later(3)).await.unwrap(), 3, "the revision grows, also back");
    tx.commit().await.unwrap();

    let mut tx = db.read().await.unwrap();
    let one = |revision: i64, shown: &Snapshot, by: &str| Publication {
        tag: TESTING.to_owned(),
        revision,
        snapshot: shown.id,
        content: shown.content.clone(),
        promotion: id(revision),
        by: by.to_owned(),
        at: later(revision),
    };
    let all = [one(3, &third, "rita"), one(2, &second, "gate"), one(1, &first, "gate")];
    assert_eq!(tx.publications(TESTING, 9).await.unwrap(), all);
    assert_eq!(tx.publications(TESTING, 2).await.unwrap(), all[..2]);
    assert_eq!(tx.publications("another", 9).await.unwrap(), []);
    assert_eq!(tx.publications_of(second.id).await.unwrap(), all[1..2]);
    let mut replaced = Vec::new();
    for shown in [first.id, second.id, third.id, id(9)] {
        replaced.push(tx.replaced(shown).await.unwrap());
    }
    assert_eq!(replaced, [Some(later(2)), Some(later(3)), None, None]);
    assert!(tx.was_published(TESTING, &second.content).await.unwrap());
    assert!(!tx.was_published("another", &second.content).await.unwrap());
}

async fn contract_only_what_was_published_is_gone_back_to(db: Db) {
    let mut tx = ready(&db).await;
    let first = snapshot(1, TESTING, None, &build(1, "a", "1"));
    publish(&mut tx, 1, &first).await;
    let never = snapshot(2, TESTING, Some(&first), &build(2, "a", "2"));
    tx.insert_snapshot(&never).await.unwrap();
    pass(&mut tx, 2, &never).await;
    let (promotion, shown) = back(3, &never, &first);
    tx.insert_snapshot(&shown).await.unwrap();
    let refused = tx.ask_gate(&promotion, NOON).await.unwrap();
    assert!(
        matches!(&refused, Decision::Refused(why) if why[0].contains("never showed this content")),
        "{refused:?}"
    );
    publish(&mut tx, 2, &never).await;
    let (promotion, shown) = back(4, &first, &never);
    tx.insert_snapshot(&shown).await.unwrap();
    assert!(matches!(tx.ask_gate(&promotion, NOON).await.unwrap(), Decision::Approved(_)));
    let nobodys = Promotion { approvals: Vec::new(), ..promotion };
    assert_eq!(tx.ask_gate(&nobodys, NOON).await.unwrap(), Decision::NeedsApproval);
}

async fn contract_packages_are_counted_without_being_read(db: Db) {
    let mut tx = db.write().await.unwrap();
    let first = snapshot(1, TESTING, None, &build(1, "a", "1"));
    let second = snapshot(2, TESTING, Some(&first), &build(2, "b", "1"));
    tx.insert_snapshot(&first).await.unwrap();
    tx.insert_snapshot(&second).await.unwrap();
    assert_eq!(tx.packages_in(first.id).await.unwrap(), Some(1));
    assert_eq!(tx.packages_in(second.id).await.unwrap(), Some(second.rpms().count()));
    assert_eq!(tx.packages_in(id(9)).await.unwrap(), None);
}

//! Promotions, test results and the gate.

use farm::gate::Decision;
use farm::ids::PromotionId;
use farm::ledger::{Db, LedgerError, PromotionFilter};
use farm::promotion::{Approval, Course, Promotion, PromotionEvent, PromotionState};
use farm::sig::Stage;
use farm::stamp::Stamp;

use crate::on_both;
use crate::samples::{
    NOON, RELEASE, TESTING, build, id, later, pass, passed, promotion, rita, sig, snapshot,
};

on_both!(
    contract_a_promotion_steps_on_once,
    contract_promotions_are_filtered_and_paged,
    contract_what_is_approved_is_found_however_much_is_open,
    contract_a_job_gives_one_result,
    contract_the_gate_sees_what_the_transaction_sees,
    contract_the_gate_knows_who_is_ahead,
);

async fn contract_a_promotion_steps_on_once(db: Db) {
    let shown = snapshot(1, TESTING, None, &build(1, "a", "1"));
    let one = promotion(1, Stage::Testing, &shown);
    let mut tx = db.write().await.unwrap();
    tx.insert_promotion(&one).await.unwrap();
    tx.insert_promotion(&promotion(2, Stage::Release, &shown)).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.write().await.unwrap();
    let before = tx.promotion(one.id).await.unwrap().unwrap();
    assert_eq!(before.value, one);
    assert_eq!(tx.promotion(id(9)).await.unwrap(), None);
    assert_eq!(ids(tx.unsettled_promotions().await.unwrap()), [one.id, id(2)]);
    let visible = tx.step_promotion(&before, PromotionEvent::Visible, NOON).await.unwrap_err();
    assert!(matches!(visible, LedgerError::Refused(_)));
    let withdraw = || PromotionEvent::Withdraw { by: "alice".to_owned() };
    let next = tx.step_promotion(&before, withdraw(), NOON).await.unwrap();
    assert!(matches!(next.state, PromotionState::Withdrawn { .. }));
    let again = tx.step_promotion(&before, withdraw(), NOON).await.unwrap_err();
    assert!(matches!(again, LedgerError::LostRace { table: "promotion", .. }));
    tx.commit().await.unwrap();
    assert_eq!(ids(db.read().await.unwrap().unsettled_promotions().await.unwrap()), [id(2)]);
}

fn ids(promotions: Vec<Promotion>) -> Vec<PromotionId> {
    promotions.into_iter().map(|promotion| promotion.id).collect()
}

async fn contract_promotions_are_filtered_and_paged(db: Db) {
    let shown = snapshot(1, TESTING, None, &build(1, "a", "1"));
    let mut tx = db.write().await.unwrap();
    for number in 1..=6 {
        let mut one = promotion(number, Stage::Testing, &shown);
        if number % 2 == 0 {
            one.state = PromotionState::Withdrawn { by: "alice".to_owned(), at: Stamp::ZERO };
        }
        if number > 4 {
            "cloud".clone_into(&mut one.sig);
            "cloud9s-x-1-el9s".clone_into(&mut one.target);
        }
        tx.insert_promotion(&one).await.unwrap();
    }
    let all = PromotionFilter { limit: 9, ..PromotionFilter::default() };
    let text = |text: &str| Some(text.to_owned());
    let cases: [(PromotionFilter, &[i64]); 6] = [
        (all.clone(), &[6, 5, 4, 3, 2, 1]),
        (PromotionFilter { sig: text("cloud"), ..all.clone() }, &[6, 5]),
        (PromotionFilter { target: text("cloud9s-x-1-el9s"), settled: Some(true), ..all.clone() }, &[6]),
        (PromotionFilter { settled: Some(false), ..all.clone() }, &[5, 3, 1]),
        (PromotionFilter { settled: Some(true), before: Some(id(6)), ..all.clone() }, &[4, 2]),
        (PromotionFilter { before: Some(id(5)), limit: 2, ..all.clone() }, &[4, 3]),
    ];
    for (filter, expected) in cases {
        let found = ids(tx.promotions(&filter).await.unwrap());
        assert_eq!(found, expected.iter().map(|number| id(*number)).collect::<Vec<_>>(), "{filter:?}");
    }
}

async fn contract_what_is_approved_is_found_however_much_is_open(db: Db) {
    let shown = snapshot(1, TESTING, None, &build(1, "a", "1"));
    let approved = PromotionState::Approved { snapshot: shown.id, by: "gate".to_owned() };
    let mut tx = db.write().await.unwrap();
    for number in 1..=1_200 {
        let mut one = promotion(number, Stage::Testing, &shown);
        match number {
            1 | 600 => one.state = approved.clone(),
            2 => one.state = PromotionState::Ready { snapshot: shown.id },
            3 => one.state = PromotionState::Publishing { snapshot: shown.id, by: "gate".to_owned() },
            4 => one.state = PromotionState::Withdrawn { by: "alice".to_owned(), at: Stamp::ZERO },
            // What somebody says of it is no state.
            5 => {
                let reason = r#"{"state":{"phase":"approved"},"x":{}}"#.to_owned();
                one.course = Course::Back { to: shown.id, reason };
            }
            _ => one.state = PromotionState::Composing,
        }
        tx.insert_promotion(&one).await.unwrap();
    }
    let found = ids(tx.approved_promotions().await.unwrap());
    assert_eq!(found, [id(1), id(600)]);
}

async fn contract_a_job_gives_one_result(db: Db) {
    let shown = snapshot(1, TESTING, None, &build(1, "a", "1"));
    let other = snapshot(2, TESTING, None, &build(2, "a", "2"));
    let [first, second] = passed(1, &shown.content);
    let mut tx = db.write().await.unwrap();
    pass(&mut tx, 1, &shown).await;
    tx.insert_result(&farm::gate::TestResult { at: later(5), ..first.clone() }).await.unwrap();
    pass(&mut tx, 2, &other).await;
    let mut kept = tx.results(&shown.content).await.unwrap();
    kept.sort_by(|one, other| other.suite.cmp(&one.suite));
    assert_eq!(kept, [first, second]);
}

async fn contract_the_gate_sees_what_the_transaction_sees(db: Db) {
    let shown = snapshot(1, TESTING, None, &build(1, "a", "1"));
    let one = promotion(1, Stage::Testing, &shown);
    let mut tx = db.write().await.unwrap();
    assert!(
        matches!(tx.ask_gate(&one, NOON).await.unwrap(), Decision::Refused(_)),
        "there is no such target"
    );
    tx.apply_sig(&sig("storage"), "", "root", NOON).await.unwrap().unwrap();
    assert!(matches!(tx.ask_gate(&one, NOON).await.unwrap(), Decision::Refused(_)), "no such snapshot");
    tx.insert_snapshot(&shown).await.unwrap();
    assert!(
        matches!(tx.ask_gate(&one, NOON).await.unwrap(), Decision::Missing(missing) if missing.len() == 2)
    );
    pass(&mut tx, 1, &shown).await;
    let Decision::Approved(yes) = tx.ask_gate(&one, NOON).await.unwrap() else {
        panic!("nothing speaks against it")
    };
    assert_eq!((yes.tag(), yes.snapshot(), yes.base()), (TESTING, shown.id, None));
    tx.publish(&yes, one.id, NOON).await.unwrap();
    assert_eq!(tx.ask_gate(&one, NOON).await.unwrap(), Decision::Outdated);

    let release = snapshot(2, RELEASE, None, &build(1, "a", "1"));
    let mut to_release = promotion(2, Stage::Release, &release);
    tx.insert_snapshot(&release).await.unwrap();
    assert_eq!(tx.ask_gate(&to_release, NOON).await.unwrap(), Decision::NeedsApproval);
    to_release.approvals = vec![approval("alice")];
    assert!(matches!(tx.ask_gate(&to_release, NOON).await.unwrap(), Decision::Refused(_)));
    to_release.approvals = vec![approval("rita")];
    assert!(
        matches!(tx.ask_gate(&to_release, NOON).await.unwrap(), Decision::Refused(_)),
        "rita is no person any more"
    );
    rita(&mut tx).await;
    assert!(
        matches!(tx.ask_gate(&to_release, NOON).await.unwrap(), Decision::Approved(yes) if yes.by() == "rita")
    );

    to_release.state = PromotionState::Composing;
    assert!(matches!(tx.ask_gate(&to_release, NOON).await, Err(LedgerError::Refused(_))));
}

fn approval(by: &str) -> Approval {
    Approval { by: by.to_owned(), at: NOON }
}

/// The place in the queue is read in the transaction, too: who is ahead, and whether that one's word is there.
async fn contract_the_gate_knows_who_is_ahead(db: Db) {
    let (first, second) = (build(1, "a", "1"), build(2, "b", "1"));
    let ahead = snapshot(1, RELEASE, None, &first);
    let shown = snapshot(2, RELEASE, Some(&ahead), &second);
    let mut leader = promotion(1, Stage::Release, &ahead);
    leader.approvals = vec![approval("rita")];
    let mut follower = promotion(2, Stage::Release, &shown);
    follower.approvals = vec![approval("rita")];
    let mut tx = db.write().await.unwrap();
    tx.apply_sig(&sig("storage"), "", "root", NOON).await.unwrap().unwrap();
    rita(&mut tx).await;
    for snapshot in [&ahead, &shown] {
        tx.insert_snapshot(snapshot).await.unwrap();
        pass(&mut tx, if snapshot.id == ahead.id { 1 } else { 2 }, snapshot).await;
    }
    assert_eq!(tx.ask_gate(&follower, NOON).await.unwrap(), Decision::Outdated, "nobody is ahead");
    tx.insert_promotion(&leader).await.unwrap();
    tx.insert_promotion(&follower).await.unwrap();
    assert_eq!(tx.unsettled_of(&leader.target).await.unwrap(), [leader.clone(), follower.clone()]);
    assert_eq!(tx.unsettled_of("another").await.unwrap(), []);
    assert_eq!(tx.ask_gate(&follower, NOON).await.unwrap(), Decision::Behind);
    let Decision::Approved(yes) = tx.ask_gate(&leader, NOON).await.unwrap() else {
        panic!("it is the first")
    };
    tx.publish(&yes, leader.id, NOON).await.unwrap();
    assert!(
        matches!(tx.ask_gate(&follower, NOON).await.unwrap(), Decision::Approved(_)),
        "what it was composed on is live"
    );
}

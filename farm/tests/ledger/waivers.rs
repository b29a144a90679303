//! Waivers and withdrawn builds: what people say about content, and what the gate makes of it.

use farm::gate::{CLOSURE, Decision, TestVerdict, Waiver, WaiverScope};
use farm::ids::WaiverId;
use farm::ledger::{Db, LedgerError, Tx, Withdrawal};
use farm::promotion::Promotion;
use farm::sig::Stage;
use farm::snapshot::Snapshot;

use crate::on_both;
use crate::samples::{
    CANDIDATE, NOON, TESTING, build, digest, id, later, pass, passed, promotion, rita, sig, snapshot,
};

on_both!(
    contract_a_waiver_is_kept_for_ever,
    contract_a_waiver_is_taken_back_once,
    contract_the_gate_takes_a_waiver_until_it_is_worth_nothing,
    contract_a_withdrawn_build_is_withdrawn_once_and_leaves_candidate,
    contract_the_gate_lets_no_withdrawn_build_in,
);

fn waiver(number: i64, target: &str, content: &farm::digest::Digest) -> Waiver {
    Waiver {
        id: id::<WaiverId>(number),
        target: target.to_owned(),
        suite: "installs".to_owned(),
        arch: None,
        on: None,
        scope: WaiverScope::Content { content: content.clone() },
        by: "rita".to_owned(),
        reason: "the mirror is away".to_owned(),
        made: NOON,
        until: later(1_000),
        revoked: None,
    }
}

async fn contract_a_waiver_is_kept_for_ever(db: Db) {
    let mut tx = db.write().await.unwrap();
    let (target, content) = ("storage9s-gluster-11-el9s", digest("content"));
    let all = [3, 1, 2].map(|number| waiver(number, target, &content));
    for one in all.iter().chain([&waiver(4, "another", &content)]) {
        tx.insert_waiver(one).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = db.read().await.unwrap();
    let [third, first, second] = all;
    assert_eq!(tx.waivers(target).await.unwrap(), [first.clone(), second, third], "the oldest first");
    assert_eq!(tx.waiver(first.id).await.unwrap().unwrap().value, first);
    assert_eq!(tx.waiver(id(9)).await.unwrap(), None);
    assert_eq!(tx.waivers("nothing").await.unwrap(), []);
}

async fn contract_a_waiver_is_taken_back_once(db: Db) {
    let one = waiver(1, "storage9s-gluster-11-el9s", &digest("content"));
    let mut tx = db.write().await.unwrap();
    tx.insert_waiver(&one).await.unwrap();
    let before = tx.waiver(one.id).await.unwrap().unwrap();
    tx.revoke_waiver(&before, "rita", later(5)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    let again = tx.revoke_waiver(&before, "eve", later(6)).await.unwrap_err();
    assert!(matches!(again, LedgerError::LostRace { table: "waiver", .. }), "{again}");
    drop(tx);
    let kept = db.read().await.unwrap().waivers(&one.target).await.unwrap();
    assert_eq!(kept, [Waiver { revoked: Some(("rita".to_owned(), later(5))), ..one }]);
}

/// A promotion to testing whose `installs` has failed.
async fn failed(tx: &mut Tx) -> (Promotion, Snapshot) {
    let shown = snapshot(1, TESTING, None, &build(1, "a", "1"));
    tx.apply_sig(&sig("storage"), "", "root", NOON).await.unwrap().unwrap();
    rita(tx).await;
    tx.insert_snapshot(&shown).await.unwrap();
    for mut result in passed(1, &shown.content) {
        if result.suite != CLOSURE {
            result.verdict = TestVerdict::Failed { reason: "no".to_owned() };
        }
        tx.insert_result(&result).await.unwrap();
    }
    (promotion(1, Stage::Testing, &shown), shown)
}

async fn contract_the_gate_takes_a_waiver_until_it_is_worth_nothing(db: Db) {
    let mut tx = db.write().await.unwrap();
    let (one, shown) = failed(&mut tx).await;
    assert!(matches!(tx.ask_gate(&one, NOON).await.unwrap(), Decision::Refused(_)));
    let given = waiver(1, &one.target, &shown.content);
    tx.insert_waiver(&given).await.unwrap();
    let Decision::Approved(yes) = tx.ask_gate(&one, NOON).await.unwrap() else { panic!("it was waived") };
    assert_eq!(yes.waivers(), [given.id]);
    assert!(matches!(tx.ask_gate(&one, later(1_000)).await.unwrap(), Decision::Refused(_)), "it has expired");
    let kept = tx.waiver(given.id).await.unwrap().unwrap();
    tx.revoke_waiver(&kept, "rita", NOON).await.unwrap();
    assert!(matches!(tx.ask_gate(&one, NOON).await.unwrap(), Decision::Refused(_)), "it was taken back");
    tx.insert_waiver(&waiver(2, &one.target, &shown.content)).await.unwrap();
    assert!(matches!(tx.ask_gate(&one, NOON).await.unwrap(), Decision::Approved(_)));
    let mut without = sig("storage");
    without.members.clear();
    tx.apply_sig(&without, "", "root", NOON).await.unwrap().unwrap();
    assert!(
        matches!(tx.ask_gate(&one, NOON).await.unwrap(), Decision::Refused(_)),
        "rita is no release manager"
    );
}

async fn contract_a_withdrawn_build_is_withdrawn_once_and_leaves_candidate(db: Db) {
    let (one, other) = (build(1, "a", "1"), build(2, "b", "1"));
    let mut tx = db.write().await.unwrap();
    for build in [&one, &other] {
        tx.insert_build(build).await.unwrap();
        tx.tag_build(CANDIDATE, build, NOON).await.unwrap();
    }
    let wanted = tx.repo(CANDIDATE).await.unwrap().wanted;
    assert_eq!(tx.withdrawal(one.id).await.unwrap(), None);
    assert!(tx.withdraw_build(&one, CANDIDATE, "rita", "it eats data", later(1)).await.unwrap());
    assert_eq!(tx.repo(CANDIDATE).await.unwrap().wanted, wanted + 1, "the repo is to be composed without it");
    assert!(!tx.withdraw_build(&one, CANDIDATE, "eve", "me too", later(2)).await.unwrap());
    assert_eq!(tx.repo(CANDIDATE).await.unwrap().wanted, wanted + 1);
    tx.commit().await.unwrap();
    let mut tx = db.read().await.unwrap();
    let (by, reason) = ("rita".to_owned(), "it eats data".to_owned());
    assert_eq!(
        tx.withdrawal(one.id).await.unwrap(),
        Some(Withdrawal { build: one.id, by, reason, at: later(1) })
    );
    assert_eq!(tx.tagged(CANDIDATE).await.unwrap(), std::slice::from_ref(&other));
    let first = snapshot(1, TESTING, None, &one);
    let both = snapshot(2, TESTING, Some(&first), &other);
    assert_eq!(tx.withdrawn_of(&both).await.unwrap(), [one.id].into());
    assert_eq!(tx.withdrawn_of(&snapshot(3, TESTING, None, &other)).await.unwrap(), [].into());
}

async fn contract_the_gate_lets_no_withdrawn_build_in(db: Db) {
    let (one, other) = (build(1, "a", "1"), build(2, "b", "1"));
    let first = snapshot(1, TESTING, None, &one);
    let mut tx = db.write().await.unwrap();
    tx.apply_sig(&sig("storage"), "", "root", NOON).await.unwrap().unwrap();
    tx.insert_build(&one).await.unwrap();
    tx.insert_snapshot(&first).await.unwrap();
    pass(&mut tx, 1, &first).await;
    let enters = promotion(1, Stage::Testing, &first);
    let Decision::Approved(yes) = tx.ask_gate(&enters, NOON).await.unwrap() else {
        panic!("nothing is against it")
    };
    tx.withdraw_build(&one, CANDIDATE, "rita", "it eats data", NOON).await.unwrap();
    let refused = tx.ask_gate(&enters, NOON).await.unwrap();
    assert!(
        matches!(&refused, Decision::Refused(why) if why[0].contains("a-1-1.el9s was withdrawn")),
        "{refused:?}"
    );
    // What is live already holds up nothing that comes beside it.
    tx.publish(&yes, enters.id, NOON).await.unwrap();
    let second = snapshot(2, TESTING, Some(&first), &other);
    tx.insert_snapshot(&second).await.unwrap();
    pass(&mut tx, 2, &second).await;
    let beside = tx.ask_gate(&promotion(2, Stage::Testing, &second), NOON).await.unwrap();
    assert!(matches!(beside, Decision::Approved(_)), "{beside:?}");
}

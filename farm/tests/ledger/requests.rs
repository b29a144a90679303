//! Requests, and the pushes they come from.

use farm::job::Event;
use farm::ledger::{Artifact, Db, LedgerError, PushSeen, RequestFilter};
use farm::outcome::Outcome;
use farm::request::{Closed, Request, RequestKind, Verdict};

use crate::on_both;
use crate::samples::{NOON, claim, digest, id, insert, job, later, offer, request, step};

on_both!(
    contract_a_request_is_closed_once,
    contract_requests_whose_jobs_are_all_under_way_are_not_looked_at,
    contract_requests_are_filtered_and_paged,
    contract_a_push_is_noted_once,
    contract_scratch_results_expire_once_they_are_closed,
);

fn complete() -> Closed {
    Closed { at: later(9), verdict: Verdict::Complete { build: None } }
}

async fn insert_all(db: &Db, requests: &[Request]) {
    let mut tx = db.write().await.unwrap();
    for request in requests {
        tx.insert_request(request).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn contract_a_request_is_closed_once(db: Db) {
    let (first, second) = (request(1, RequestKind::Build), request(2, RequestKind::Build));
    insert_all(&db, &[second.clone(), first.clone()]).await;
    let mut tx = db.write().await.unwrap();
    tx.lock_request(first.id).await.unwrap();
    let before = tx.request(first.id).await.unwrap().unwrap();
    assert_eq!(before.value, first);
    assert_eq!(tx.request(id(7)).await.unwrap(), None);
    assert_eq!(tx.open_requests().await.unwrap(), [first.id, second.id]);
    tx.close_request(&before, complete()).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.write().await.unwrap();
    let lost = tx.close_request(&before, complete()).await.unwrap_err();
    assert!(matches!(lost, LedgerError::LostRace { table: "request", .. }));
    assert_eq!(tx.open_requests().await.unwrap(), [second.id]);
    let closed = tx.request(first.id).await.unwrap().unwrap();
    assert_eq!((closed.version, &closed.closed), (1, &Some(complete())));
}

async fn contract_requests_whose_jobs_are_all_under_way_are_not_looked_at(db: Db) {
    let scratch = || RequestKind::Scratch { expires: later(99) };
    let [fresh, waiting, ended, half, over] = [1, 2, 3, 4, 5].map(|number| request(number, scratch()));
    insert_all(&db, &[&over, &half, &ended, &waiting, &fresh].map(Request::clone)).await;
    let jobs = [(1, &waiting), (2, &ended), (3, &half), (4, &half), (5, &over)];
    let jobs = jobs.map(|(number, request)| job(number, request.id));
    insert(&db, &jobs).await;
    for index in [1, 2, 4] {
        let cancel = Event::Cancel { by: "alice".to_owned() };
        step(&db, &jobs[index], cancel, later(6)).await.unwrap();
    }
    let mut tx = db.write().await.unwrap();
    let before = tx.request(over.id).await.unwrap().unwrap();
    tx.close_request(&before, complete()).await.unwrap();
    tx.commit().await.unwrap();
    let movable = || async { db.read().await.unwrap().movable_requests().await.unwrap() };
    assert_eq!(movable().await, [fresh.id, ended.id, half.id]);

    step(&db, &jobs[0], offer("b1"), NOON).await.unwrap();
    assert_eq!(movable().await, [fresh.id, ended.id, half.id], "one that is under way is waited for");
    step(&db, &jobs[0], claim(1, "b1", "token"), NOON).await.unwrap();
    let finish = Event::Finish { turn: 1, token: digest("token"), outcome: Outcome::Passed };
    step(&db, &jobs[0], finish, later(7)).await.unwrap();
    assert_eq!(movable().await, [fresh.id, waiting.id, ended.id, half.id]);
}

async fn contract_requests_are_filtered_and_paged(db: Db) {
    let scratch = RequestKind::Scratch { expires: later(1) };
    let push = RequestKind::Push { branch: "c9s-sig-storage-gluster".to_owned() };
    let mut requests = Vec::new();
    for number in 1..=12 {
        let kind = if number % 2 == 0 { scratch.clone() } else { push.clone() };
        let mut one = request(number, kind);
        one.package = format!("package-{}", number % 3);
        one.by = format!("person-{}", number % 4);
        if number > 10 {
            "cloud".clone_into(&mut one.sig);
            "cloud9s-x-1-el9s".clone_into(&mut one.target);
            one.closed = Some(complete());
        }
        requests.push(one);
    }
    insert_all(&db, &requests).await;
    let mut tx = db.read().await.unwrap();
    let all = RequestFilter { limit: 99, ..RequestFilter::default() };
    let text = |text: &str| Some(text.to_owned());
    let cases: [(RequestFilter, &[i64]); 8] = [
        (all.clone(), &[12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (RequestFilter { sig: text("cloud"), ..all.clone() }, &[12, 11]),
        (RequestFilter { target: text("cloud9s-x-1-el9s"), ..all.clone() }, &[12, 11]),
        (RequestFilter { package: text("package-0"), ..all.clone() }, &[12, 9, 6, 3]),
        (RequestFilter { kind: text("push"), open: Some(true), ..all.clone() }, &[9, 7, 5, 3, 1]),
        (RequestFilter { open: Some(false), ..all.clone() }, &[12, 11]),
        (RequestFilter { by: text("person-1"), before: Some(id(9)), ..all.clone() }, &[5, 1]),
        (RequestFilter { before: Some(id(8)), limit: 3, ..all.clone() }, &[7, 6, 5]),
    ];
    for (filter, expected) in cases {
        let found: Vec<_> =
            tx.requests(&filter).await.unwrap().into_iter().map(|request| request.id).collect();
        assert_eq!(found, expected.iter().map(|number| id(*number)).collect::<Vec<_>>(), "{filter:?}");
    }
}

async fn contract_a_push_is_noted_once(db: Db) {
    let mut tx = db.write().await.unwrap();
    assert!(tx.note_push("rpms/a", "main", "c1", Some(id(1)), "queued", NOON).await.unwrap());
    assert!(!tx.note_push("rpms/a", "main", "c1", Some(id(2)), "again", NOON).await.unwrap());
    assert!(tx.note_push("rpms/a", "other", "c1", None, "not built", NOON).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = db.read().await.unwrap();
    let seen = PushSeen { request: Some(id(1)), note: "queued".to_owned() };
    assert_eq!(tx.push_seen("rpms/a", "main", "c1").await.unwrap(), Some(seen));
    let seen = PushSeen { request: None, note: "not built".to_owned() };
    assert_eq!(tx.push_seen("rpms/a", "other", "c1").await.unwrap(), Some(seen));
    assert_eq!(tx.push_seen("rpms/a", "main", "c2").await.unwrap(), None);
}

async fn contract_scratch_results_expire_once_they_are_closed(db: Db) {
    let scratch = RequestKind::Scratch { expires: later(1_000) };
    let (closed, open) = (request(1, scratch.clone()), request(2, scratch));
    let kept = request(3, RequestKind::Build);
    insert_all(&db, &[closed.clone(), open, kept]).await;
    insert(&db, &[job(1, closed.id)]).await;
    let mut tx = db.write().await.unwrap();
    let file = Artifact { job: id(1), turn: 1, name: "a.rpm".to_owned(), digest: digest("a"), size: 1 };
    tx.put_artifact(&file, NOON).await.unwrap();
    let before = tx.request(closed.id).await.unwrap().unwrap();
    tx.close_request(&before, complete()).await.unwrap();
    assert_eq!(tx.expired(later(999)).await.unwrap(), []);
    assert_eq!(tx.expired(later(1_000)).await.unwrap(), [closed.id]);
    tx.forget_files_of(closed.id).await.unwrap();
    assert_eq!(tx.expired(later(1_000)).await.unwrap(), [], "what is removed need not be removed again");
    tx.commit().await.unwrap();
}

//! Imported builds and candidate tags.

use farm::ids::BuildId;
use farm::ledger::{BuildFilter, Db, LedgerError};

use crate::on_both;
use crate::samples::{CANDIDATE, NOON, TESTING, build, id};

on_both!(
    contract_an_nvr_is_imported_once,
    contract_builds_are_filtered,
    contract_a_candidate_tag_holds_one_build_of_each_package,
);

async fn contract_an_nvr_is_imported_once(db: Db) {
    let first = build(1, "hello", "1.0");
    let same_nvr = build(2, "hello", "1.0");
    let mut same_request = build(3, "hello", "2.0");
    same_request.request = first.request;
    let mut tx = db.write().await.unwrap();
    assert!(tx.insert_build(&first).await.unwrap());
    assert!(!tx.insert_build(&first).await.unwrap());
    assert!(!tx.insert_build(&same_nvr).await.unwrap());
    assert!(!tx.insert_build(&same_request).await.unwrap());
    tx.commit().await.unwrap();

    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.build(first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(tx.build(same_nvr.id).await.unwrap(), None);
    assert_eq!(tx.build_by_nvr("hello-1.0-1.el9s").await.unwrap(), Some(first.clone()));
    assert_eq!(tx.build_by_nvr("hello-2.0-1.el9s").await.unwrap(), None);
    assert_eq!(tx.build_of(first.request).await.unwrap(), Some(first.clone()));
    assert!(tx.is_held(&first.rpms[0].digest).await.unwrap());
    assert!(!tx.is_held(&same_request.rpms[0].digest).await.unwrap(), "what was not imported is not needed");
}

async fn contract_builds_are_filtered(db: Db) {
    let mut tx = db.write().await.unwrap();
    for number in 1..=6 {
        let mut one = build(number, if number % 2 == 0 { "even" } else { "odd" }, &format!("{number}"));
        if number > 4 {
            "elsewhere".clone_into(&mut one.target);
        }
        tx.insert_build(&one).await.unwrap();
    }
    let all = BuildFilter { limit: 9, ..BuildFilter::default() };
    let text = |text: &str| Some(text.to_owned());
    let cases: [(BuildFilter, &[i64]); 4] = [
        (all.clone(), &[6, 5, 4, 3, 2, 1]),
        (BuildFilter { limit: 2, ..all.clone() }, &[6, 5]),
        (BuildFilter { package: text("even"), ..all.clone() }, &[6, 4, 2]),
        (BuildFilter { target: text("elsewhere"), package: text("odd"), ..all.clone() }, &[5]),
    ];
    for (filter, expected) in cases {
        let found: Vec<BuildId> =
            tx.builds(&filter).await.unwrap().into_iter().map(|build| build.id).collect();
        assert_eq!(found, expected.iter().map(|number| id(*number)).collect::<Vec<_>>(), "{filter:?}");
    }
}

async fn contract_a_candidate_tag_holds_one_build_of_each_package(db: Db) {
    let builds = [build(1, "b", "1"), build(2, "a", "1"), build(3, "b", "2")];
    let mut tx = db.write().await.unwrap();
    for build in &builds {
        tx.insert_build(build).await.unwrap();
        let refused = tx.tag_build(TESTING, build, NOON).await.unwrap_err();
        assert!(matches!(refused, LedgerError::Refused(_)));
        tx.tag_build(CANDIDATE, build, NOON).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.tagged(CANDIDATE).await.unwrap(), [builds[1].clone(), builds[2].clone()]);
    assert_eq!(tx.tagged(TESTING).await.unwrap(), []);
    let repo = tx.repo(CANDIDATE).await.unwrap();
    assert_eq!((repo.wanted, repo.composed, repo.current), (3, 0, None));
    assert_eq!(tx.uncomposed().await.unwrap(), [repo]);
}

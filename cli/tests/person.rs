//! People and their tokens, straight in the ledger.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{code, grange, told};
use farm::digest::Digest;
use farm::ledger::Db;
use serde_json::Value;

#[tokio::test]
async fn a_person_is_added_given_a_new_token_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let (_, result) = grange(&["person", "add", "ada", "--data", data], &[]).await;
    assert_eq!(code(&result), 2, "a folder without a farm is most probably the wrong one");
    assert!(told(result).contains("there is no ledger"));

    let url = format!("sqlite:{data}/ledger.sqlite");
    let db = Db::open(&url).await.unwrap();
    let (printed, result) = grange(&["person", "add", "ada", "--admin", "--data", data, "--json"], &[]).await;
    result.unwrap();
    let said: Value = serde_json::from_str(&printed).unwrap();
    let first = said["token"].as_str().unwrap().to_owned();
    let person = |token: String| {
        let db = db.clone();
        async move {
            let digest = Digest::of(token.as_bytes());
            db.read().await.unwrap().person_by_token(&digest).await.unwrap().map(|person| person.name)
        }
    };
    assert_eq!(first.len(), 64);
    assert_eq!(person(first.clone()).await.as_deref(), Some("ada"));

    let (printed, _) = grange(&["person", "add", "ada", "--data", data], &[]).await;
    let second = printed.trim().to_owned();
    assert_eq!(person(first).await, None, "the old token is worth nothing any more");
    assert_eq!(person(second).await.as_deref(), Some("ada"));

    let (printed, _) = grange(&["person", "add", "bob", "--database", &url], &[]).await;
    assert_eq!(printed.trim().len(), 64);
    let (printed, _) = grange(&["person", "list", "--data", data], &[]).await;
    assert_eq!(printed.lines().count(), 3, "{printed}");

    let (_, result) = grange(&["person", "remove", "bob", "--data", data], &[]).await;
    result.unwrap();
    let (_, result) = grange(&["person", "remove", "bob", "--data", data], &[]).await;
    assert_eq!(code(&result), 3);
    let (_, result) = grange(&["person", "add", "../eve", "--data", data], &[]).await;
    assert_eq!(code(&result), 2);
}

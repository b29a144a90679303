//! Keys, signed files and endorsements.

use std::collections::BTreeMap;

use farm::build::Build;
use farm::gate::Decision;
use farm::ids::BuildId;
use farm::ledger::{Db, LedgerError};
use farm::request::RequestKind;
use farm::sig::Stage;
use farm::signing::{Endorsement, Purpose, SignedFile, SignedMetadata, SignerWord, SigningKey};

use super::on_both;
use super::samples::{TESTING, build, digest, id, later, pass, promotion, request, sig, snapshot};

on_both!(
    a_key_changes_its_times_and_nothing_else,
    the_first_signed_file_of_a_body_counts_and_is_held,
    many_are_found_at_once,
    an_endorsement_is_replaced_until_it_is_published,
    signers_are_heard,
);

fn key(name: &str, sig: &str) -> SigningKey {
    SigningKey {
        fingerprint: name.to_owned(),
        purpose: Purpose::Packages,
        sig: sig.to_owned(),
        public: format!("the public part of {name}"),
        since: later(0),
        until: None,
    }
}

async fn a_key_changes_its_times_and_nothing_else(db: Db) {
    let mut tx = db.write().await.unwrap();
    let first = key("aa", "storage");
    assert!(tx.tell_key(&first).await.unwrap());
    assert!(!tx.tell_key(&first).await.unwrap(), "it was known");
    let ending = SigningKey { until: Some(later(9)), since: later(1), ..first.clone() };
    assert!(tx.tell_key(&ending).await.unwrap());
    assert!(!tx.tell_key(&ending).await.unwrap());
    assert!(tx.tell_key(&SigningKey { until: Some(later(10)), ..ending.clone() }).await.unwrap());
    assert!(tx.tell_key(&SigningKey { until: None, ..ending.clone() }).await.unwrap());
    assert!(tx.tell_key(&ending).await.unwrap());
    for other in [
        SigningKey { sig: "cloud".to_owned(), ..ending.clone() },
        SigningKey { public: "another".to_owned(), ..ending.clone() },
        SigningKey { purpose: Purpose::Decisions, ..ending.clone() },
    ] {
        assert!(matches!(tx.tell_key(&other).await, Err(LedgerError::Refused(_))), "{other:?}");
    }
    assert_eq!(tx.signing_keys().await.unwrap(), [ending]);
}

fn signed(body: &str, by: &str, file: &str) -> SignedFile {
    SignedFile { body: digest(body), fingerprint: by.to_owned(), digest: digest(file), size: 7 }
}

async fn the_first_signed_file_of_a_body_counts_and_is_held(db: Db) {
    let mut tx = db.write().await.unwrap();
    let (first, second) = (signed("body", "aa", "one"), signed("body", "aa", "two"));
    assert_eq!(tx.put_signed(&first, later(0)).await.unwrap(), first);
    assert_eq!(tx.put_signed(&second, later(1)).await.unwrap(), first, "two signers were at it");
    assert!(tx.is_held(&first.digest).await.unwrap());
    assert!(!tx.is_held(&second.digest).await.unwrap(), "nothing names it");
    let other = signed("body", "bb", "three");
    assert_eq!(tx.put_signed(&other, later(2)).await.unwrap(), other);
    let of = |file: &SignedFile| BTreeMap::from([(digest("body"), file.clone())]);
    assert_eq!(tx.signed_by("aa", &[digest("body"), digest("none")]).await.unwrap(), of(&first));
    assert_eq!(tx.signed_by("bb", &[digest("body")]).await.unwrap(), of(&other));
    assert!(tx.signed_by("cc", &[digest("body")]).await.unwrap().is_empty());
    assert!(tx.signed_by("aa", &[]).await.unwrap().is_empty());
}

async fn many_are_found_at_once(db: Db) {
    const MANY: i64 = 4_500;
    let mut tx = db.write().await.unwrap();
    let bodies: Vec<_> = (0..MANY).map(|number| digest(&number.to_string())).collect();
    for body in bodies.iter().step_by(100) {
        let file =
            SignedFile { body: body.clone(), fingerprint: "aa".to_owned(), digest: body.clone(), size: 1 };
        tx.put_signed(&file, later(0)).await.unwrap();
    }
    let twice = [bodies.clone(), bodies].concat();
    let found = tx.signed_by("aa", &twice).await.unwrap();
    assert_eq!(found.len(), 45);
    assert!(found.iter().all(|(body, file)| file.body == *body && file.digest == *body && file.size == 1));
    let known: Build = build(1, "hello", "1");
    tx.insert_request(&request(1, RequestKind::Build)).await.unwrap();
    assert!(tx.insert_build(&known).await.unwrap());
    let ids: Vec<BuildId> = (1..MANY).map(id).collect();
    let found = tx.builds_with_requests(&ids).await.unwrap();
    assert_eq!(found.len(), 1);
    let (found, of) = &found[&known.id];
    assert_eq!((found, of.as_ref().map(|request| request.id)), (&known, Some(id(1))));
}

async fn an_endorsement_is_replaced_until_it_is_published(db: Db) {
    let mut tx = db.write().await.unwrap();
    tx.apply_sig(&sig("storage"), "", "root", later(0)).await.unwrap().unwrap();
    let hello = build(1, "hello", "1");
    let snapshot = snapshot(2, TESTING, None, &hello);
    let promotion = promotion(3, Stage::Testing, &snapshot);
    tx.insert_snapshot(&snapshot).await.unwrap();
    tx.insert_promotion(&promotion).await.unwrap();
    pass(&mut tx, 1, &snapshot).await;
    let endorsed = |at: i64| Endorsement {
        snapshot: snapshot.id,
        promotion: promotion.id,
        made: later(at),
        folders: BTreeMap::from([(
            "x86_64".to_owned(),
            SignedMetadata { repomd: digest("repomd"), signature: "signature".to_owned() },
        )]),
        keys: vec!["aa".to_owned(), "dd".to_owned()],
        decision: "{}".to_owned(),
        provenance: BTreeMap::new(),
    };
    assert_eq!(tx.endorsement(snapshot.id).await.unwrap(), None);
    assert_eq!(tx.decision(snapshot.id).await.unwrap(), None);
    assert_eq!(tx.endorsed_by(snapshot.id).await.unwrap(), Vec::<String>::new());
    for at in [1, 2] {
        tx.put_endorsement(&endorsed(at)).await.unwrap();
        assert_eq!(tx.endorsement(snapshot.id).await.unwrap(), Some(endorsed(at)));
    }
    assert_eq!(tx.decision(snapshot.id).await.unwrap(), Some(endorsed(2).decision));
    assert_eq!(tx.endorsed_by(snapshot.id).await.unwrap(), endorsed(2).keys);
    assert!(tx.keys_in_use().await.unwrap().is_empty(), "it is not live");
    let Decision::Approved(approved) = tx.ask_gate(&promotion, later(3)).await.unwrap() else {
        panic!("the gate lets it through");
    };
    tx.publish(&approved, promotion.id, later(3)).await.unwrap();
    assert!(matches!(tx.put_endorsement(&endorsed(4)).await, Err(LedgerError::Refused(_))));
    assert_eq!(tx.endorsement(snapshot.id).await.unwrap(), Some(endorsed(2)));
    let in_use: Vec<String> = tx.keys_in_use().await.unwrap().into_iter().collect();
    assert_eq!(in_use, ["aa", "dd"]);
}

async fn signers_are_heard(db: Db) {
    let mut tx = db.write().await.unwrap();
    let troubled = SignerWord {
        name: "signer".to_owned(),
        troubles: BTreeMap::from([(id(1), "the key is locked".to_owned())]),
    };
    tx.hear_signer(&troubled, later(1)).await.unwrap();
    let well = SignerWord { troubles: BTreeMap::new(), ..troubled };
    tx.hear_signer(&well, later(2)).await.unwrap();
    let heard = tx.signers().await.unwrap();
    assert_eq!(heard.len(), 1);
    assert_eq!((&heard[0].word, heard[0].at), (&well, later(2)));
}

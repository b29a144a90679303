//! What provenance is made of, and finding the build that a package is of.

use farm::ledger::{Artifact, Db, LookasideFile};
use farm::provenance::{BODY, External, statement};
use farm::request::RequestKind;

use crate::on_both;
use crate::samples::{NOON, build, digest, id, input, insert, job, later, request};

on_both!(contract_provenance_is_what_the_ledger_says, contract_a_build_is_found_by_its_packages);

async fn contract_provenance_is_what_the_ledger_says(db: Db) {
    let mut one = build(1, "hello", "1.0");
    one.imported = later(100);
    let mut asked = request(1, RequestKind::Push { branch: "c9s-sig-storage-gluster".to_owned() });
    asked.id = one.request;
    let mut tx = db.write().await.unwrap();
    tx.insert_request(&asked).await.unwrap();
    tx.insert_build(&one).await.unwrap();
    let stored = LookasideFile { digest: input("hello.tar").digest, size: 3 };
    for (kind, at) in [("sha512", NOON), ("md5", later(200))] {
        tx.put_lookaside("hello", "hello.tar", kind, &format!("{kind}-of-it"), &stored, "ada", at)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let srpm = job(3, one.request);
    insert(&db, std::slice::from_ref(&srpm)).await;
    let mut tx = db.write().await.unwrap();
    let made =
        Artifact { job: srpm.id, turn: 0, name: "provides.txt".to_owned(), digest: digest("p"), size: 1 };
    tx.put_artifact(&made, NOON).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.provenance(id(77)).await.unwrap(), None);
    let facts = tx.provenance(one.id).await.unwrap().unwrap();
    let made = statement(&facts);
    assert_eq!(made, statement(&tx.provenance(one.id).await.unwrap().unwrap()), "asked twice, told the same");
    let subjects: Vec<(&str, &str)> =
        made.subject.iter().map(|subject| (subject.name.as_str(), subject.digest[BODY].as_str())).collect();
    let rpms: Vec<(&str, &str)> = one.rpms.iter().map(|rpm| (rpm.file.as_str(), rpm.body.as_str())).collect();
    assert_eq!(subjects, rpms);
    let definition = &made.predicate.build_definition;
    let External { by, branch, commit, .. } = &definition.external_parameters;
    assert_eq!((by.as_str(), branch.as_deref()), ("alice", Some("c9s-sig-storage-gluster")));
    assert_eq!(commit.as_deref(), Some("c".repeat(40).as_str()));
    let source = definition.resolved_dependencies.iter().find(|one| one.name == "hello.tar").unwrap();
    assert_eq!(source.digest["sha256"], stored.digest.as_str());
    assert_eq!(source.digest["sha512"], "sha512-of-it");
    assert_eq!(source.digest.get("md5"), None, "what was uploaded after the build was not known to it");
    let byproducts = &made.predicate.run_details.byproducts;
    assert!(byproducts.iter().any(|one| one.digest["sha256"] == digest("p").as_str()), "{byproducts:?}");
}

async fn contract_a_build_is_found_by_its_packages(db: Db) {
    let (one, other) = (build(1, "hello", "1.0"), build(2, "hello", "2.0"));
    let mut tx = db.write().await.unwrap();
    for build in [&one, &other] {
        tx.insert_build(build).await.unwrap();
    }
    let rpm = &one.rpms[0];
    assert_eq!(tx.builds_with_body(&rpm.body).await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(tx.builds_with_file(&rpm.file).await.unwrap(), std::slice::from_ref(&one));
    // The digest of the file is in the row, too, but it is no body.
    assert_eq!(tx.builds_with_body(&rpm.digest).await.unwrap(), []);
    assert_eq!(tx.builds_with_file("hello").await.unwrap(), []);
    assert_eq!(tx.builds_with_file("%").await.unwrap(), []);
}

//! What sources require and packages provide.

use std::collections::BTreeSet;

use farm::chain::{Before, Link, SourceFacts};
use farm::ids::ChainId;
use farm::ledger::Db;
use farm::recipe::RepoOrigin;
use farm::request::{Closed, Request, RequestKind, SourceArches, Verdict};
use farm::sig::Layer;

use crate::on_both;
use crate::samples::{CANDIDATE, NOON, build, id, job, later, request, snapshot};

on_both!(
    contract_what_a_source_says_is_kept_once,
    contract_whoever_others_may_wait_for_is_found_with_what_is_known,
    contract_a_repo_that_lacks_what_its_tag_holds_is_told,
);

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn facts(package: &str, requires: &[&str]) -> SourceFacts {
    SourceFacts {
        nvr: format!("{package}-1-1").parse().unwrap(),
        arches: SourceArches::default(),
        requires: names(requires),
        provides: names(&[package]),
        read: later(5),
    }
}

fn chained(number: i64, chain: ChainId) -> Request {
    Request { chain: Some(Link { id: chain, level: None }), ..request(number, RequestKind::Build) }
}

async fn contract_what_a_source_says_is_kept_once(db: Db) {
    let mut tx = db.write().await.unwrap();
    assert_eq!(tx.source(id(1)).await.unwrap(), None);
    tx.put_source(id(1), &facts("a", &["gcc"])).await.unwrap();
    tx.put_source(id(1), &facts("a", &["clang"])).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.source(id(1)).await.unwrap(), Some(facts("a", &["gcc"])));
    assert_eq!(tx.source(id(2)).await.unwrap(), None);
}

async fn contract_whoever_others_may_wait_for_is_found_with_what_is_known(db: Db) {
    let (open, over): (ChainId, ChainId) = (id(50), id(51));
    let closed = || Some(Closed { at: NOON, verdict: Verdict::Failed { reason: "no".into() } });
    let mut tx = db.write().await.unwrap();
    let lone = Request { package: "lone".into(), ..request(1, RequestKind::Build) };
    let scratch = request(2, RequestKind::Scratch { expires: later(9) });
    let ended = Request { closed: closed(), ..chained(3, open) };
    let waiting = chained(4, open);
    let history = Request { closed: closed(), ..chained(5, over) };
    let lone_and_over = Request { closed: closed(), ..request(6, RequestKind::Build) };
    for one in [&lone, &scratch, &ended, &waiting, &history, &lone_and_over] {
        tx.insert_request(one).await.unwrap();
    }
    tx.put_source(waiting.id, &facts("hello", &["lone-devel"])).await.unwrap();
    tx.insert_job(&job(1, lone.id)).await.unwrap();
    tx.insert_job(&job(2, lone.id)).await.unwrap();
    tx.insert_job(&job(3, waiting.id)).await.unwrap();

    // What the tag holds of their packages: by the request that made it, what its build required.
    let mut known = build(7, "lone", "0");
    known.request = id(70);
    tx.insert_build(&known).await.unwrap();
    tx.put_source(id(70), &facts("lone", &["gcc"])).await.unwrap();
    tx.put_provides(known.id, &names(&["lone", "pkgconfig(lone)"])).await.unwrap();
    tx.put_provides(known.id, &names(&["lone"])).await.unwrap();
    tx.tag_build(CANDIDATE, &known, NOON).await.unwrap();
    let stranger = build(8, "stranger", "0");
    tx.insert_build(&stranger).await.unwrap();
    tx.put_provides(stranger.id, &names(&["stranger", "pkgconfig(lone)"])).await.unwrap();
    tx.tag_build(CANDIDATE, &stranger, NOON).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.read().await.unwrap();
    let found = tx.concerned(None).await.unwrap();
    let told: Vec<_> = found.iter().map(|one| (one.request.id, one.planned, one.source.is_some())).collect();
    assert_eq!(told, [(lone.id, true, false), (ended.id, false, false), (waiting.id, false, true)]);
    assert_eq!(found[2].request, waiting);
    let found = tx.concerned(Some(over)).await.unwrap();
    assert!(found.iter().any(|one| one.request.id == history.id));
    assert_eq!(tx.chain(open).await.unwrap(), [ended, waiting]);

    let before = tx.before(CANDIDATE, None).await.unwrap();
    let expected = Before { provides: names(&["lone", "pkgconfig(lone)"]), requires: names(&["gcc"]) };
    assert_eq!(before.into_iter().collect::<Vec<_>>(), [("lone".to_owned(), expected)]);
    assert_eq!(tx.providers("pkgconfig(lone)").await.unwrap(), [known.id, stranger.id]);
    assert!(tx.providers("nobody").await.unwrap().is_empty());
}

async fn contract_a_repo_that_lacks_what_its_tag_holds_is_told(db: Db) {
    let (first, second) = (build(1, "a", "1"), build(2, "b", "1"));
    let shown = snapshot(1, CANDIDATE, None, &first);
    let layers = || vec![Layer::Tag { tag: CANDIDATE.to_owned() }];
    let mut tx = db.write().await.unwrap();
    assert_eq!(tx.layer_sources(layers()).await.unwrap(), Some(vec![]), "nothing was ever published");
    for build in [&first, &second] {
        tx.insert_build(build).await.unwrap();
        tx.tag_build(CANDIDATE, build, NOON).await.unwrap();
    }
    assert_eq!(tx.layer_sources(layers()).await.unwrap(), None, "it is being composed");
    assert!(tx.layer_states(layers()).await.unwrap()[0].is_behind());
    tx.insert_snapshot(&shown).await.unwrap();
    let before = tx.repo(CANDIDATE).await.unwrap();
    tx.point_candidate(&before, shown.id, NOON).await.unwrap();
    let sources = tx.layer_sources(layers()).await.unwrap().unwrap();
    assert_eq!((sources.len(), sources[0].priority), (1, 10));
    assert_eq!(sources[0].origin, RepoOrigin::Snapshot { id: shown.id });
    assert_eq!(tx.lacking(CANDIDATE, shown.id).await.unwrap(), ["b-1-1.el9s"]);
    assert_eq!(tx.shown(CANDIDATE).await.unwrap(), BTreeSet::from([first.id]));
}

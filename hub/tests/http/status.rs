//! What an operator sees at a glance.

use farm::api::StatusView;
use farm::digest::Digest;
use farm::ids::{PromotionId, SnapshotId};
use farm::job::Event;
use farm::outcome::Outcome;
use farm::promotion::{Approval, Course, Promotion, PromotionState};
use farm::sig::Stage;
use farm::stamp::Stamp;

use crate::bench::{Bench, TOKEN};

async fn status(bench: &Bench) -> StatusView {
    bench.get("/api/v1/status").send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn what_waits_what_went_wrong_and_what_needs_a_person_is_said() {
    let bench = Bench::open().await;
    let calm = status(&bench).await;
    assert!(
        calm.queues.is_empty() && calm.troubles.is_empty() && calm.unapproved.is_empty() && !calm.bus_away
    );

    let work = bench.building().await;
    assert!(status(&bench).await.queues.is_empty(), "what is at work does not wait");
    let outcome = Outcome::FailedByFarm { reason: "the disk is full".to_owned() };
    bench.step(work.job, Event::Finish { turn: 1, token: Digest::of(TOKEN.as_bytes()), outcome }).await;

    let ready = |id: PromotionId, approver: Option<&str>| Promotion {
        id,
        sig: "demo".to_owned(),
        target: "demo9s-hello-1-el9s".to_owned(),
        to: Stage::Release,
        builds: Vec::new(),
        nvrs: vec!["hello-1-1".to_owned()],
        by: "ada".to_owned(),
        remove: Vec::new(),
        stack: None,
        brings: None,
        course: Course::Forward,
        confirmed: false,
        approvals: approver.into_iter().map(|by| Approval { by: by.to_owned(), at: Stamp::ZERO }).collect(),
        suites: Default::default(),
        base: None,
        created: bench.hub.now(),
        state: PromotionState::Ready { snapshot: bench.hub.mint::<SnapshotId>() },
    };
    let (unapproved, approved) = (bench.hub.mint(), bench.hub.mint());
    let mut tx = bench.hub.db.write().await.unwrap();
    tx.insert_promotion(&ready(unapproved, None)).await.unwrap();
    tx.insert_promotion(&ready(approved, Some("rex"))).await.unwrap();
    tx.commit().await.unwrap();

    let seen = status(&bench).await;
    let [queue] = &seen.queues[..] else { panic!("{:?}", seen.queues) };
    assert_eq!((queue.sig.as_str(), queue.arch.as_str(), queue.jobs), ("demo", "x86_64", 1));
    let [trouble] = &seen.troubles[..] else { panic!("{:?}", seen.troubles) };
    assert_eq!((trouble.job, trouble.request), (work.job, work.request.id));
    assert_eq!((trouble.label.as_str(), trouble.phase.as_str()), ("build", "waiting"));
    assert_eq!(trouble.attempt.builder, "b1");
    assert!(trouble.attempt.why.contains("the disk is full"), "{}", trouble.attempt.why);
    assert_eq!(seen.unapproved.iter().map(|promotion| promotion.id).collect::<Vec<_>>(), [unapproved]);
    assert!(
        seen.untold.events > 0 && seen.untold.oldest.is_some(),
        "no scheduler tells these: {:?}",
        seen.untold
    );
    bench.stop().await;
}

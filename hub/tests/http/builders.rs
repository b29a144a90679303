//! Builders: how they join, what they say of themselves, and how they are shut out.

use std::time::Duration;

use farm::api::{BuilderView, Enrolment};
use farm::builder::{CLOCK_TOLERANCE_MS, Condition, Wish};
use farm::job::{Event, JobState};
use farm::message::{Presence, Welcome};
use farm::stamp::Stamp;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::bench::{ADA, ADMIN, Assignment, B1, B2, Bench, TICKET, TOKEN, problem};

fn presence(bench: &Bench, name: &str, born: Stamp) -> Presence {
    Presence {
        builder: name.to_owned(),
        born,
        clock: bench.hub.now(),
        count: 0,
        version: "1.2.3".to_owned(),
        arches: vec![farm::arch::Arch::X86_64],
        emulated: vec![farm::arch::Arch::S390x],
        slots: 2,
        memory_mb: 8192,
        disk_mb: 100_000,
        labels: ["ssd".to_owned()].into(),
        running: Vec::new(),
        draining: false,
    }
}

async fn present(bench: &Bench, secret: &str, presence: &Presence) -> Response {
    let path = format!("/api/v1/builders/{}/presence", presence.builder);
    bench.post(&path, secret).json(presence).send().await.unwrap()
}

async fn view(bench: &Bench, name: &str) -> BuilderView {
    bench.get(&format!("/api/v1/builders/{name}")).send().await.unwrap().json().await.unwrap()
}

async fn wish(bench: &Bench, name: &str, wish: Wish) -> Value {
    let path = format!("/api/v1/builders/{name}/wish");
    let answer =
        bench.call(Method::PUT, &path).bearer_auth(ADMIN).json(&json!({"wish": wish})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

async fn invite(bench: &Bench, name: &str, seconds: u64) -> Enrolment {
    let body = json!({"builder": name, "seconds": seconds});
    let answer = bench.post("/api/v1/builders/enrolments", ADMIN).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    answer.json().await.unwrap()
}

async fn enrol(bench: &Bench, token: &str, secret: &str) -> Response {
    let body = json!({"token": token, "secret": secret});
    bench.call(Method::POST, "/api/v1/builders/enrol").json(&body).send().await.unwrap()
}

#[tokio::test]
async fn a_token_lets_one_machine_in_however_often_it_asks() {
    let bench = Bench::open().await;
    let invited = invite(&bench, "new", 60).await;
    assert_eq!(invited.token.len(), 64);
    let (mine, other) = ("1a".repeat(32), "2b".repeat(32));
    for _ in 0..2 {
        let joined: Value = enrol(&bench, &invited.token, &mine).await.json().await.unwrap();
        assert_eq!(joined["builder"], "new", "an answer that was lost is given again");
    }
    let reused = problem(enrol(&bench, &invited.token, &other).await, 403, "forbidden").await;
    assert!(reused["detail"].as_str().unwrap().contains("used before"), "{reused}");
    assert!(reused["fix"].as_str().unwrap().contains("grange builders enrol new"), "{reused}");
    let never_reported = view(&bench, "new").await;
    assert_eq!(never_reported.condition, Condition::Silent);

    let here = presence(&bench, "new", Stamp::from_millis(1));
    let welcome: Welcome = present(&bench, &mine, &here).await.json().await.unwrap();
    assert_eq!(welcome.wish, Wish::Work);
    problem(present(&bench, &other, &here).await, 401, "unknown-token").await;

    // The name is given to another machine: the secret of the first is worth nothing any more.
    let again = invite(&bench, "new", 60).await;
    assert_eq!(enrol(&bench, &again.token, &other).await.status(), 200);
    problem(present(&bench, &mine, &here).await, 401, "unknown-token").await;
    assert_eq!(present(&bench, &other, &here).await.status(), 200);
    problem(enrol(&bench, &invited.token, &mine).await, 403, "forbidden").await;
}

#[tokio::test]
async fn what_is_no_good_token_is_refused_by_name() {
    let bench = Bench::open().await;
    let secret = "1a".repeat(32);
    problem(enrol(&bench, "nobody's", &secret).await, 401, "unknown-token").await;
    let replaced = invite(&bench, "new", 60).await;
    let good = invite(&bench, "new", 60).await;
    problem(enrol(&bench, &replaced.token, &secret).await, 401, "unknown-token").await;
    for weak in ["", "short", &"zz".repeat(32)] {
        problem(enrol(&bench, &good.token, weak).await, 422, "invalid").await;
    }
    let short = invite(&bench, "late", 1).await;
    while bench.hub.now() <= short.expires {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let expired = problem(enrol(&bench, &short.token, &secret).await, 403, "forbidden").await;
    assert!(expired["detail"].as_str().unwrap().contains("has expired"), "{expired}");

    let ask = |token: &str, body: Value| bench.post("/api/v1/builders/enrolments", token).json(&body).send();
    problem(ask(ADA, json!({"builder": "x"})).await.unwrap(), 403, "forbidden").await;
    for wrong in [
        json!({"builder": "../x"}),
        json!({"builder": "x", "seconds": 0}),
        json!({"builder": "x", "seconds": 1e9 as u64}),
    ] {
        problem(ask(ADMIN, wrong).await.unwrap(), 422, "invalid").await;
    }
}

#[tokio::test]
async fn a_builder_speaks_for_itself_alone() {
    let bench = Bench::open().await;
    let b1 = presence(&bench, "b1", Stamp::ZERO);
    for (secret, status, code) in
        [("nobody's", 401, "unknown-token"), (B2, 403, "forbidden"), (ADMIN, 401, "unknown-token")]
    {
        problem(present(&bench, secret, &b1).await, status, code).await;
    }
    let none = bench.call(Method::POST, "/api/v1/builders/b1/presence").json(&b1).send().await.unwrap();
    problem(none, 401, "unauthenticated").await;
    let forged = bench.post("/api/v1/builders/b2/presence", B2).json(&b1).send().await.unwrap();
    problem(forged, 403, "forbidden").await;
    assert_eq!(present(&bench, B1, &b1).await.status(), 200);
    let shown = view(&bench, "b1").await;
    assert_eq!(shown.condition, Condition::Free { slots: 2 });
    assert_eq!(shown.builder.arches_in_words(), "x86_64 s390x (emulated)");

    let work = bench.offered().await;
    for (secret, status, code) in [
        ("nobody's", 401, "unknown-token"),
        (B2, 403, "forbidden"),
        (ADMIN, 401, "unknown-token"),
        (TICKET, 401, "unknown-token"),
    ] {
        problem(bench.claim_as(&work, secret, TICKET, TOKEN).await, status, code).await;
    }
    assert_eq!(bench.job(work.job).await.phase(), "offered");
    assert_eq!(bench.claim(&work, TICKET, TOKEN).await.0, 200);
}

#[tokio::test]
async fn what_an_earlier_life_had_is_given_to_others_at_once() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    let (earlier, later) = (Stamp::from_millis(1), Stamp::from_millis(2));
    assert_eq!(present(&bench, B1, &presence(&bench, "b1", Stamp::ZERO)).await.status(), 200);
    assert_eq!(bench.job(work.job).await.phase(), "building", "the life that has it goes on");

    assert_eq!(present(&bench, B1, &presence(&bench, "b1", later)).await.status(), 200);
    let job = bench.job(work.job).await;
    assert_eq!((job.phase(), job.tries), ("waiting", 1));
    assert_eq!(job.history.last().unwrap().why, "builder b1 was restarted");
    refused_everywhere(&bench, &work).await;

    // What the earlier life still says changes nothing.
    let late = Presence { slots: 9, ..presence(&bench, "b1", earlier) };
    assert_eq!(present(&bench, B1, &late).await.status(), 200);
    assert_eq!(view(&bench, "b1").await.builder.slots, 2);
    let offered = bench.offered().await;
    assert_eq!(bench.claim(&offered, TICKET, TOKEN).await.0, 409, "a claim of the life before");
}

/// The token of the first attempt opens nothing any more.
async fn refused_everywhere(bench: &Bench, work: &Assignment) {
    let digest = farm::digest::Digest::of(b"x");
    for (method, verb) in [
        (Method::POST, "beat".to_owned()),
        (Method::GET, format!("inputs/{}", work.input.digest)),
        (Method::GET, format!("snapshots/{}?arch=x86_64", work.snapshot)),
        (Method::GET, format!("snapshots/{}/files/repodata/repomd.xml?arch=x86_64", work.snapshot)),
        (Method::POST, "logs/build.log?offset=0".to_owned()),
        (Method::PUT, format!("files/x?digest={digest}")),
    ] {
        let call = bench.call(method, &work.at(&verb)).bearer_auth(TOKEN).body("x");
        problem(call.send().await.unwrap(), 409, "stale").await;
    }
    let passed = json!({"outcome": {"kind": "passed"}});
    let finish = bench.post(&work.at("finish"), TOKEN).json(&passed).send().await.unwrap();
    problem(finish, 409, "stale").await;
}

#[tokio::test]
async fn a_disabled_builder_has_nothing_and_may_say_nothing() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    let offered = bench.offered().await;
    let b1 = presence(&bench, "b1", Stamp::ZERO);
    assert_eq!(present(&bench, B1, &b1).await.status(), 200);
    let said = wish(&bench, "b1", Wish::Disabled).await;
    assert_eq!(said["taken"].as_array().unwrap().len(), 2);
    assert_eq!(said["condition"]["state"], "disabled");
    let job = bench.job(work.job).await;
    assert_eq!(job.phase(), "waiting");
    assert_eq!(job.history.last().unwrap().why, "builder b1 was disabled by root");
    assert_eq!(bench.job(offered.job).await.phase(), "waiting");
    refused_everywhere(&bench, &work).await;
    let refused = problem(present(&bench, B1, &b1).await, 403, "builder-disabled").await;
    assert!(refused["fix"].as_str().unwrap().contains("grange builders enable b1"), "{refused}");
    problem(bench.claim_as(&offered, B1, TICKET, TOKEN).await, 403, "builder-disabled").await;

    wish(&bench, "b1", Wish::Work).await;
    assert_eq!(present(&bench, B1, &b1).await.status(), 200);
    refused_everywhere(&bench, &work).await;
}

#[tokio::test]
async fn a_draining_builder_ends_what_it_has() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    let said = wish(&bench, "b1", Wish::Drain).await;
    assert_eq!(said["taken"], json!([]));
    let welcome: Welcome =
        present(&bench, B1, &presence(&bench, "b1", Stamp::ZERO)).await.json().await.unwrap();
    assert_eq!(welcome.wish, Wish::Drain);
    assert_eq!(view(&bench, "b1").await.condition, Condition::Draining);
    let passed = json!({"outcome": {"kind": "passed"}});
    let finish = bench.post(&work.at("finish"), TOKEN).json(&passed).send().await.unwrap();
    assert_eq!(finish.status(), 204);
    assert!(matches!(bench.job(work.job).await.state, JobState::Done { .. }));
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_and_shown() {
    let bench = Bench::open().await;
    for ahead in [CLOCK_TOLERANCE_MS + 60_000, -(CLOCK_TOLERANCE_MS + 60_000)] {
        let mut off = presence(&bench, "b1", Stamp::ZERO);
        off.clock = Stamp::from_millis(off.clock.millis() + ahead);
        let welcome: Welcome = present(&bench, B1, &off).await.json().await.unwrap();
        assert!((off.clock.millis() - welcome.clock.millis() - ahead).abs() < 30_000, "{welcome:?}");
        let Condition::ClockOff { ahead_ms } = view(&bench, "b1").await.condition else {
            panic!("it is not off")
        };
        assert!((ahead_ms - ahead).abs() < 30_000, "{ahead_ms}");
    }
    assert_eq!(present(&bench, B1, &presence(&bench, "b1", Stamp::ZERO)).await.status(), 200);
    assert_eq!(view(&bench, "b1").await.condition, Condition::Free { slots: 2 });
}

#[tokio::test]
async fn a_builder_is_removed_when_it_has_nothing() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    let remove = |token: &str| bench.call(Method::DELETE, "/api/v1/builders/b1").bearer_auth(token).send();
    problem(remove(ADA).await.unwrap(), 403, "forbidden").await;
    let busy = problem(remove(ADMIN).await.unwrap(), 409, "conflict").await;
    assert!(busy["detail"].as_str().unwrap().contains("still has 1"), "{busy}");
    bench.step(work.job, Event::Cancel { by: "ada".into() }).await;
    let finish = json!({"outcome": {"kind": "cancelled", "by": "x"}});
    bench.post(&work.at("finish"), TOKEN).json(&finish).send().await.unwrap();
    assert_eq!(remove(ADMIN).await.unwrap().status(), 204);
    problem(remove(ADMIN).await.unwrap(), 404, "not-found").await;
    problem(present(&bench, B1, &presence(&bench, "b1", Stamp::ZERO)).await, 401, "unknown-token").await;
    let unknown = bench.call(Method::PUT, "/api/v1/builders/b1/wish").bearer_auth(ADMIN);
    problem(unknown.json(&json!({"wish": "drain"})).send().await.unwrap(), 404, "not-found").await;
}

//! What one tick does.

use farm::arch::Arch;
use farm::digest::Digest;
use farm::job::{Class, Event, JobState};
use farm::message::Presence;
use farm::outcome::Outcome;
use scheduler::Ticked;

use crate::bench::{Bench, NOON, SLOTS, job, later, presence};

fn claim(ticket: &str, builder: &str) -> Event {
    Event::Claim {
        turn: 1,
        ticket: Digest::of(ticket.as_bytes()),
        builder: builder.to_owned(),
        token: Digest::of(b"token"),
        born: ::farm::stamp::Stamp::ZERO,
    }
}

#[tokio::test]
async fn a_free_slot_gets_an_offer_that_its_ticket_claims() {
    let mut bench = Bench::new().await;
    let one = job(1, "storage");
    bench.insert(std::slice::from_ref(&one)).await;
    assert_eq!(bench.tick(NOON).await, Ticked::default(), "nobody is here");

    let mut offers = bench.parts.bus.offers("b1", &Arch::ALL, SLOTS).await;
    bench.present("b1", 1, NOON).await;
    assert_eq!(bench.tick(NOON).await.offered, 1);
    assert_eq!(bench.tick(NOON).await.offered, 0);
    let offer = offers.next().await.settled().await;
    assert_eq!((offer.job, offer.turn, offer.until), (one.id, 1, later(10_000)));
    assert_eq!(offer.recipe, one.recipe);
    assert!(bench.step(&one, claim("guessed", "b1"), NOON).await.is_err());
    bench.step(&one, claim(&offer.ticket, "b1"), NOON).await.unwrap();
}

#[tokio::test]
async fn slots_are_filled_with_what_is_most_urgent_and_no_more_than_there_are() {
    let mut bench = Bench::new().await;
    let mut jobs: Vec<_> = (1..=50).map(|number| job(number, "storage")).collect();
    jobs[40].class = Class::Release;
    jobs[41].arch = Arch::S390x;
    jobs[41].class = Class::Release;
    let small = job(51, "small");
    bench.insert(&jobs).await;
    bench.insert(std::slice::from_ref(&small)).await;
    bench.present("b1", 2, NOON).await;
    bench.present("b2", 1, NOON).await;
    assert_eq!(bench.tick(NOON).await.offered, 3);
    for job in [&jobs[40], &jobs[0], &small] {
        assert_eq!(bench.job(job).await.phase(), "offered");
    }
    let held = bench.parts.db.read().await.unwrap().held_by_builder().await.unwrap();
    assert_eq!((held["b1"], held["b2"]), (2, 1));
}

#[tokio::test]
async fn silent_and_draining_builders_get_nothing() {
    let mut bench = Bench::new().await;
    bench.insert(&[job(1, "storage")]).await;
    bench.present("silent", 4, NOON).await;
    let draining = Presence { draining: true, ..presence("draining", 4) };
    bench.report(draining, later(20_000)).await;
    assert_eq!(bench.tick(later(20_000)).await.offered, 0);
    bench.present("silent", 4, later(20_000)).await;
    assert_eq!(bench.tick(later(20_000)).await.offered, 1);
}

#[tokio::test]
async fn an_offer_that_is_not_taken_goes_to_another_builder_in_the_tick_that_finds_it() {
    let mut bench = Bench::new().await;
    let one = job(1, "storage");
    bench.insert(std::slice::from_ref(&one)).await;
    bench.present("deaf", 9, NOON).await;
    bench.tick(NOON).await;
    assert_eq!(bench.job(&one).await.builder(), Some("deaf"));
    bench.present("deaf", 9, later(10_000)).await;
    bench.present("b2", 1, later(10_000)).await;
    let ticked = bench.tick(later(10_000)).await;
    assert_eq!((ticked.lapsed, ticked.offered), (1, 1));
    assert_eq!(bench.job(&one).await.builder(), Some("b2"), "though the other one has more room");
}

#[tokio::test]
async fn a_silent_builders_job_is_tried_again_and_at_last_lost() {
    let mut bench = Bench::new().await;
    let one = job(1, "storage");
    bench.insert(std::slice::from_ref(&one)).await;
    let mut offers = bench.parts.bus.offers("b1", &Arch::ALL, SLOTS).await;
    let mut now = NOON;
    for turn in 1..=3 {
        bench.present("b1", 1, now).await;
        bench.tick(now).await;
        let ticket = Digest::of(offers.next().await.settled().await.ticket.as_bytes());
        let token = Digest::of(b"token");
        bench
            .step(
                &one,
                Event::Claim {
                    turn,
                    ticket,
                    builder: "b1".to_owned(),
                    token,
                    born: ::farm::stamp::Stamp::ZERO,
                },
                now,
            )
            .await
            .unwrap();
        now = now + std::time::Duration::from_secs(60);
        assert_eq!(bench.tick(now).await.lapsed, 1);
        now = now + std::time::Duration::from_secs(60);
    }
    assert_eq!(bench.job(&one).await.outcome(), Some(&Outcome::Lost { tries: 3 }));
}

#[tokio::test]
async fn a_cancelled_job_is_recalled_at_each_tick_until_its_time_is_up() {
    let mut bench = Bench::new().await;
    let one = job(1, "storage");
    bench.insert(std::slice::from_ref(&one)).await;
    let mut offers = bench.parts.bus.offers("b1", &Arch::ALL, SLOTS).await;
    let mut stops = bench.parts.bus.stops().await;
    bench.present("b1", 1, NOON).await;
    bench.tick(NOON).await;
    let ticket = offers.next().await.settled().await.ticket;
    bench.step(&one, claim(&ticket, "b1"), NOON).await.unwrap();
    bench.step(&one, Event::Cancel { by: "alice".to_owned() }, NOON).await.unwrap();
    for ms in [1, 2] {
        assert_eq!(bench.tick(later(ms)).await.recalled, 1);
        let stop = stops.next().await;
        assert_eq!((stop.job, stop.turn), (one.id, 1));
    }
    assert_eq!(bench.tick(later(20_000)).await.lapsed, 1);
    assert_eq!(bench.job(&one).await.outcome(), Some(&Outcome::Cancelled { by: "alice".to_owned() }));
}

#[tokio::test]
async fn an_unreadable_row_stops_nobody_else() {
    let mut bench = Bench::new().await;
    let mut bad = job(1, "storage");
    // A digest of this length is written, but never read.
    bad.recipe.work = farm::recipe::Work::Build {
        srpm: farm::recipe::Input { name: "x".to_owned(), digest: Digest::from_bytes(b"x"), size: 1 },
    };
    let mut overdue = bad.clone();
    overdue.id = job(2, "storage").id;
    overdue.state = JobState::Offered { builder: "b1".to_owned(), ticket: Digest::of(b""), until: NOON };
    let good = job(3, "storage");
    bench.insert(&[bad.clone(), overdue.clone(), good.clone()]).await;
    bench.present("b1", 1, later(1)).await;
    let ticked = bench.tick(later(1)).await;
    assert_eq!(ticked.unreadable.into_keys().collect::<Vec<_>>(), [bad.id, overdue.id]);
    assert_eq!(bench.job(&good).await.phase(), "offered");
}

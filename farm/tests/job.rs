//! The job machine: every state it can reach within a few steps, and long random lives.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sample;

use std::collections::BTreeMap;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::job::{Effect, Event, Job, JobKind, JobState, Patience, Refused};
use farm::outcome::Outcome;
use farm::stamp::Stamp;
use proptest::prelude::*;
use sample::{at, digest, job};

const PATIENCE: Patience = Patience {
    offer_ms: 10,
    lease_ms: 30,
    stop_ms: 20,
    max_tries: 2,
    backoff_ms: 5,
    usage_half_life_s: 21_600,
};
const MAX_DEPTH: usize = 9;

fn ticket(turn: u32) -> Digest {
    digest(&format!("ticket {turn}"))
}

fn token(turn: u32) -> Digest {
    digest(&format!("token {turn}"))
}

fn farm_failed() -> Outcome {
    Outcome::FailedByFarm { reason: "no disk".into() }
}

/// Whose attempt an event claims to be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The job's newest turn, with its secret.
    Now,
    /// The turn before it, with that turn's own secret.
    Before,
    /// The newest turn, with the secret of the one before.
    Thief,
    /// The turn before it, with the newest one's secret.
    Mixed,
    /// A turn that has never been opened.
    Future,
}

const ALL_OF: [Of; 5] = [Of::Now, Of::Before, Of::Thief, Of::Mixed, Of::Future];

impl Of {
    fn turn(self, job: &Job) -> (u32, u32) {
        match self {
            Of::Now => (job.turn, job.turn),
            Of::Before => (job.turn.wrapping_sub(1), job.turn.wrapping_sub(1)),
            Of::Thief => (job.turn, job.turn.wrapping_sub(1)),
            Of::Mixed => (job.turn.wrapping_sub(1), job.turn),
            Of::Future => (job.turn + 1, job.turn + 1),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Offer,
    Claim(Of),
    Beat(Of),
    Finish(Of, Outcome),
    Lapse,
    Cancel,
}

impl Step {
    fn alphabet() -> Vec<Step> {
        let mut all = vec![Step::Offer, Step::Lapse, Step::Cancel];
        for of in ALL_OF {
            all.extend([Step::Claim(of), Step::Beat(of)]);
            all.extend(
                [
                    Outcome::Passed,
                    Outcome::FailedByPackage { reason: "%check".into() },
                    farm_failed(),
                    Outcome::Cancelled { by: "somebody".into() },
                    Outcome::Lost { tries: 7 },
                ]
                .map(|outcome| Step::Finish(of, outcome)),
            );
        }
        all
    }

    /// Is it about an attempt that is not the job's current one?
    fn is_foreign(&self) -> bool {
        match self {
            Step::Claim(of) | Step::Beat(of) | Step::Finish(of, _) => *of != Of::Now,
            Step::Offer | Step::Lapse | Step::Cancel => false,
        }
    }

    fn event(&self, job: &Job) -> Event {
        match self {
            Step::Offer => Event::Offer { builder: "b".into(), ticket: ticket(job.turn + 1) },
            Step::Claim(of) => {
                let (turn, secret) = of.turn(job);
                Event::Claim {
                    turn,
                    ticket: ticket(secret),
                    builder: "b".into(),
                    token: token(secret),
                    born: ::farm::stamp::Stamp::ZERO,
                }
            }
            Step::Beat(of) => {
                let (turn, secret) = of.turn(job);
                Event::Beat { turn, token: token(secret) }
            }
            Step::Finish(of, outcome) => {
                let (turn, secret) = of.turn(job);
                Event::Finish { turn, token: token(secret), outcome: outcome.clone() }
            }
            Step::Lapse => Event::Lapse,
            Step::Cancel => Event::Cancel { by: "ada".into() },
        }
    }
}

/// What holds for every step of every job.
fn check(before: &Job, step: &Step, now: Stamp) -> Option<Job> {
    let answer = before.on(step.event(before), now, &PATIENCE);
    let said = || format!("{step:?} at {now:?} on {:?} turn {} -> {answer:?}", before.state, before.turn);
    let (after, effect) = match &answer {
        Err(Refused::Settled) => {
            assert!(matches!(before.state, JobState::Done { .. }), "{}", said());
            return None;
        }
        Err(refused) => {
            assert!(!matches!(before.state, JobState::Done { .. }), "{}", said());
            if step.is_foreign() {
                assert_eq!(*refused, Refused::Stale, "{}", said());
            }
            return None;
        }
        Ok(done) => done,
    };
    assert!(!matches!(before.state, JobState::Done { .. }), "Done is for ever: {}", said());
    assert!(!step.is_foreign(), "another attempt's word counts for nothing: {}", said());
    let opened = u32::from(matches!(step, Step::Offer));
    assert_eq!(after.turn, before.turn + opened, "only an offer opens a turn: {}", said());
    let started = u32::from(matches!(step, Step::Claim(_)) && before.phase() == "offered");
    assert_eq!(after.tries, before.tries + started, "only a claim starts a try: {}", said());
    assert!(after.tries <= PATIENCE.max_tries, "{}", said());
    let settled = matches!(after.state, JobState::Done { .. });
    assert_eq!(after.due().is_none(), settled, "what is unsettled is found again: {}", said());
    assert_eq!(after.outcome().is_some(), settled, "{}", said());
    assert_eq!(*effect == Some(Effect::Settled), settled, "whoever waits is told: {}", said());
    let requeued = matches!(after.state, JobState::Waiting { .. });
    assert_eq!(*effect == Some(Effect::Requeued), requeued, "{}", said());
    let stop = after.phase() == "stopping";
    assert_eq!(*effect == Some(Effect::Stop { turn: after.turn }), stop, "its builder is told: {}", said());
    assert!(after.history.len() >= before.history.len().saturating_sub(1), "{}", said());
    let attempts_ended = usize::try_from(after.tries).unwrap() + usize::try_from(after.turn).unwrap();
    assert!(after.history.len() <= attempts_ended, "{}", said());
    let may_write = after.admits(after.turn, &token(after.turn));
    assert_eq!(may_write, matches!(after.phase(), "building" | "stopping"), "{}", said());
    assert!(!after.admits(after.turn, &token(after.turn + 1)), "{}", said());
    assert!(!after.admits(after.turn + 1, &token(after.turn)), "{}", said());
    if !settled {
        check_cancel(after, now);
        check_lapse(after, now);
    } else if let Step::Finish(_, Outcome::Cancelled { .. } | Outcome::Lost { .. }) = step {
        assert_ne!(after.outcome(), Some(&Outcome::Cancelled { by: "somebody".into() }), "{}", said());
        assert_ne!(after.outcome(), Some(&Outcome::Lost { tries: 7 }), "{}", said());
    }
    if before.phase() == "stopping" && settled {
        assert!(matches!(after.outcome(), Some(Outcome::Cancelled { .. })), "{}", said());
    }
    let mut same = after.clone();
    same.state = before.state.clone();
    same.turn = before.turn;
    same.tries = before.tries;
    same.history = before.history.clone();
    assert_eq!(same, *before, "a step changes nothing else: {}", said());
    Some(after.clone())
}

/// A cancel, and if need be the lapse of its patience, ends every job.
fn check_cancel(job: &Job, now: Stamp) {
    let (stopping, _) = job.on(Step::Cancel.event(job), now, &PATIENCE).unwrap();
    let over = match stopping.due() {
        None => stopping,
        Some(due) => stopping.on(Event::Lapse, due, &PATIENCE).unwrap().0,
    };
    assert_eq!(over.outcome(), Some(&Outcome::Cancelled { by: "ada".into() }), "{:?}", job.state);
}

/// A deadline is due when it says so and no millisecond earlier; the backlog has none, it is offered.
fn check_lapse(job: &Job, now: Stamp) {
    let due = job.due().unwrap();
    let early = at(due.millis() - 1);
    if job.phase() == "waiting" {
        assert_eq!(job.on(Event::Lapse, due, &PATIENCE).unwrap_err(), Refused::NotDue);
        assert_eq!(job.on(Step::Offer.event(job), early, &PATIENCE).unwrap_err(), Refused::NotDue);
        assert!(job.on(Step::Offer.event(job), due.max(now), &PATIENCE).is_ok());
    } else {
        assert_eq!(job.on(Event::Lapse, early, &PATIENCE).unwrap_err(), Refused::NotDue);
        assert_ne!(job.on(Event::Lapse, due, &PATIENCE).unwrap().0.phase(), job.phase());
    }
}

/// All events from all states reachable in [`MAX_DEPTH`] steps, each at once and at the moment the state is due.
#[test]
fn every_step_from_every_reachable_state() {
    let alphabet = Step::alphabet();
    let start = job(1, JobKind::Build, Arch::X86_64);
    let mut layer = BTreeMap::from([(format!("{:?}", start.state), (start, at(0)))]);
    let (mut seen, mut steps) = (BTreeMap::new(), 0_u64);
    let mut phases = BTreeMap::new();
    for _ in 0..MAX_DEPTH {
        let mut next = BTreeMap::new();
        for (job, now) in layer.values() {
            for step in &alphabet {
                for moment in [*now, job.due().unwrap_or(*now).max(*now)] {
                    steps += 1;
                    if let Some(after) = check(job, step, moment) {
                        let key = format!(
                            "{} {} {:?} {} {moment:?}",
                            after.turn,
                            after.tries,
                            after.state,
                            after.history.len()
                        );
                        *phases.entry(after.phase()).or_insert(0) += 1;
                        if seen.insert(key.clone(), ()).is_none() {
                            next.insert(key, (after, moment));
                        }
                    }
                }
            }
        }
        layer = next;
    }
    assert_eq!(phases.len(), 5, "{phases:?}");
    assert!(seen.len() > 500 && steps > 10_000, "{} states, {steps} steps", seen.len());
}

fn moved(job: &Job, step: Step, now: i64) -> (Job, Option<Effect>) {
    job.on(step.event(job), at(now), &PATIENCE).unwrap()
}

fn building() -> Job {
    let offered = moved(&job(1, JobKind::Build, Arch::X86_64), Step::Offer, 0).0;
    moved(&offered, Step::Claim(Of::Now), 1).0
}

#[test]
fn a_failure_of_the_package_is_final_and_one_of_the_farm_is_tried_again() {
    let package = Outcome::FailedByPackage { reason: "%check".into() };
    assert_eq!(moved(&building(), Step::Finish(Of::Now, package.clone()), 5).0.outcome(), Some(&package));

    let (again, effect) = moved(&building(), Step::Finish(Of::Now, farm_failed()), 5);
    assert_eq!(effect, Some(Effect::Requeued));
    assert_eq!(again.state, JobState::Waiting { not_before: at(10) });
    assert_eq!((again.history[0].turn, &*again.history[0].why), (1, "no disk"));
    let second = moved(&moved(&again, Step::Offer, 10).0, Step::Claim(Of::Now), 11).0;
    assert_eq!((second.turn, second.tries), (2, 2));
    let over = moved(&second, Step::Finish(Of::Now, farm_failed()), 12).0;
    assert_eq!(over.outcome(), Some(&farm_failed()));
    let lost = moved(&second, Step::Lapse, 41).0;
    assert_eq!(lost.outcome(), Some(&Outcome::Lost { tries: 2 }));
}

#[test]
fn a_token_opens_nothing_when_the_lease_is_over_until_a_beat_renews_it() {
    let job = building();
    let over = job.due().unwrap();
    let before = Stamp::from_millis(over.millis() - 1);
    assert!(!job.is_overdue(before) && job.is_overdue(over));
    let renewed = job.on(Step::Beat(Of::Now).event(&job), over, &PATIENCE).unwrap().0;
    assert!(!renewed.is_overdue(over), "nobody has given it up yet");
    let given_up = job.on(Step::Lapse.event(&job), over, &PATIENCE).unwrap().0;
    assert!(
        !given_up.is_overdue(over) && !given_up.admits(job.turn, &token(job.turn)),
        "it is over for good"
    );
    assert_eq!(given_up.on(Step::Beat(Of::Now).event(&job), over, &PATIENCE), Err(Refused::Stale));
}

#[test]
fn a_builder_cannot_cancel() {
    for outcome in [Outcome::Cancelled { by: "ada".into() }, Outcome::Lost { tries: 1 }] {
        let again = moved(&building(), Step::Finish(Of::Now, outcome), 5).0;
        assert_eq!(again.phase(), "waiting");
        assert_eq!(again.history[0].why, "builder b stopped without being asked to");
    }
}

#[test]
fn back_off_doubles_and_never_overflows() {
    let patience = Patience { max_tries: u32::MAX, backoff_ms: u64::MAX / 4, ..PATIENCE };
    let mut job = job(1, JobKind::Build, Arch::X86_64);
    job.tries = 5;
    let offered = job.on(Step::Offer.event(&job), at(0), &patience).unwrap().0;
    let building = offered.on(Step::Claim(Of::Now).event(&offered), at(0), &patience).unwrap().0;
    let again =
        building.on(Step::Finish(Of::Now, farm_failed()).event(&building), at(0), &patience).unwrap().0;
    assert_eq!(again.due(), Some(at(i64::MAX)));

    let patience = Patience { max_tries: 9, ..PATIENCE };
    let (mut job, mut now, mut waits) = (sample::job(1, JobKind::Build, Arch::X86_64), at(0), Vec::new());
    for _ in 0..4 {
        for step in [Step::Offer, Step::Claim(Of::Now), Step::Finish(Of::Now, farm_failed())] {
            job = job.on(step.event(&job), now, &patience).unwrap().0;
        }
        waits.push((job.due().unwrap() - now).as_millis());
        now = job.due().unwrap();
    }
    assert_eq!(waits, [5, 10, 20, 40]);
}

#[test]
fn a_repeated_claim_is_answered_and_changes_nothing() {
    let job = building();
    assert_eq!(moved(&job, Step::Claim(Of::Now), 9), (job.clone(), None));
    // With the ticket alone, which somebody may have overheard, a running attempt is not taken over.
    let taken = Event::Claim {
        turn: 1,
        ticket: ticket(1),
        builder: "thief".into(),
        token: digest("thief"),
        born: ::farm::stamp::Stamp::ZERO,
    };
    assert_eq!(job.on(taken, at(9), &PATIENCE), Err(Refused::Stale));
}

#[test]
fn an_offer_that_lapsed_cannot_be_claimed() {
    let offered = moved(&job(1, JobKind::Build, Arch::X86_64), Step::Offer, 0).0;
    let waiting = moved(&offered, Step::Lapse, 10).0;
    let again = moved(&waiting, Step::Offer, 10).0;
    for job in [&waiting, &again] {
        let late = Event::Claim {
            turn: 1,
            ticket: ticket(1),
            builder: "b".into(),
            token: token(1),
            born: ::farm::stamp::Stamp::ZERO,
        };
        assert_eq!(job.on(late, at(11), &PATIENCE), Err(Refused::Stale));
    }
    assert_eq!(again.tries, 0, "an offer is no try");
}

#[test]
fn an_offer_is_claimed_by_the_builder_it_was_made_to() {
    let offered = moved(&job(1, JobKind::Build, Arch::X86_64), Step::Offer, 0).0;
    let claim = |builder: &str| Event::Claim {
        turn: 1,
        ticket: ticket(1),
        builder: builder.into(),
        token: token(1),
        born: ::farm::stamp::Stamp::ZERO,
    };
    let offered_to = offered.builder().unwrap().to_owned();
    assert_eq!(offered.on(claim("another"), at(1), &PATIENCE), Err(Refused::Stale));
    assert!(offered.on(claim(&offered_to), at(1), &PATIENCE).is_ok());
}

#[test]
fn offers_to_a_deaf_builder_do_not_fill_the_history() {
    let mut job = job(1, JobKind::Build, Arch::X86_64);
    for round in 0..50 {
        job = moved(&job, Step::Offer, round * 10).0;
        job = moved(&job, Step::Lapse, round * 10 + 10).0;
    }
    assert_eq!((job.turn, job.tries, job.history.len()), (50, 0, 1));
    assert_eq!(job.history[0].turn, 50);
}

fn any_step() -> impl Strategy<Value = Step> {
    prop::sample::select(Step::alphabet())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever happens in whatever order at whatever pace, every step keeps the rules; and a farm that goes on offering
    /// and lapsing settles the job in the end.
    #[test]
    fn long_lives_keep_the_rules(steps in prop::collection::vec((any_step(), 0_i64..40), 0..80)) {
        let (mut job, mut now) = (job(1, JobKind::Build, Arch::X86_64), 0);
        for (step, pause) in steps {
            now += pause;
            if let Some(after) = check(&job, &step, at(now)) {
                job = after;
            }
        }
        for _ in 0..20 {
            let Some(due) = job.due() else { break };
            let now = due.max(at(now));
            let step = match job.phase() {
                "waiting" => Step::Offer,
                "offered" => Step::Claim(Of::Now),
                _ => Step::Lapse,
            };
            job = check(&job, &step, now).unwrap();
        }
        prop_assert!(job.outcome().is_some(), "{:?}", job.state);
    }
}

//! The promotion machine: every state it can reach.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sample;

use std::collections::BTreeMap;

use farm::ids::{RequestId, SnapshotId};
use farm::promotion::{Promotion, PromotionEvent as Event, PromotionState as State};
use farm::sig::Stage;
use sample::{at, id};

const MAX_DEPTH: usize = 9;

fn start() -> Promotion {
    Promotion {
        id: id(1),
        sig: "demo".into(),
        target: "demo9s-hello-2-el9s".into(),
        to: Stage::Release,
        builds: vec![id(2)],
        nvrs: vec!["hello-2.10-1.el9s".into()],
        by: "ada".into(),
        approver: None,
        suites: BTreeMap::new(),
        created: at(0),
        state: State::Composing,
    }
}

fn snapshots() -> [SnapshotId; 2] {
    [id(10), id(11)]
}

fn alphabet() -> Vec<Event> {
    let mut all = vec![
        Event::Outdated,
        Event::NeedsApproval,
        Event::Approve { by: "rex".into() },
        Event::PointerMoved,
        Event::Visible,
        Event::Reject { why: vec!["suite runs failed".into()] },
        Event::Withdraw { by: "ada".into() },
    ];
    for snapshot in snapshots() {
        all.push(Event::Composed { snapshot, request: Some(id::<RequestId>(20)), suites: BTreeMap::new() });
        all.push(Event::Approved { snapshot, by: "rex".into() });
    }
    all
}

/// Every promotion that can be reached, by how it got there.
fn reachable() -> Vec<(Vec<Event>, Promotion)> {
    let mut seen = BTreeMap::from([(format!("{:?}", start()), (Vec::new(), start()))]);
    let mut layer = vec![(Vec::new(), start())];
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for (path, promotion) in layer {
            for event in alphabet() {
                let Ok(after) = promotion.on(event.clone(), at(1)) else { continue };
                let path: Vec<Event> = path.iter().cloned().chain([event]).collect();
                if seen.insert(format!("{after:?}"), (path.clone(), after.clone())).is_none() {
                    next.push((path, after));
                }
            }
        }
        layer = next;
    }
    assert!(layer.is_empty(), "the walk must end before its depth does");
    seen.into_values().collect()
}

/// Which phases an event may lead to from a phase. What is not listed is out of step.
fn expected(phase: &str, event: &Event) -> Option<&'static str> {
    Some(match (phase, event) {
        ("composing", Event::Composed { .. }) => "in-testing",
        ("in-testing" | "ready" | "approved", Event::Outdated) => "composing",
        ("in-testing" | "approved", Event::NeedsApproval) => "ready",
        ("in-testing" | "ready", Event::Approved { .. }) => "approved",
        ("approved", Event::PointerMoved) => "publishing",
        ("publishing", Event::Visible) => "published",
        ("composing" | "in-testing" | "ready" | "approved", Event::Reject { .. }) => "rejected",
        ("composing" | "in-testing" | "ready" | "approved", Event::Withdraw { .. }) => "withdrawn",
        ("composing", Event::Approve { .. }) => "composing",
        ("in-testing", Event::Approve { .. }) => "in-testing",
        ("ready", Event::Approve { .. }) => "ready",
        ("approved", Event::Approve { .. }) => "approved",
        _ => return None,
    })
}

#[test]
fn every_event_in_every_state() {
    let mut phases = BTreeMap::new();
    for (_, promotion) in reachable() {
        *phases.entry(promotion.phase()).or_insert(0) += 1;
        for event in alphabet() {
            let wrong_snapshot =
                matches!(event, Event::Approved { snapshot, .. } if promotion.snapshot() != Some(snapshot));
            let wanted = expected(promotion.phase(), &event).filter(|_| !wrong_snapshot);
            match (promotion.on(event.clone(), at(1)), wanted) {
                (Ok(after), Some(phase)) => {
                    assert_eq!(after.phase(), phase, "{event:?} on {:?}", promotion.state);
                    let mut same = after.clone();
                    same.state = promotion.state.clone();
                    same.approver = promotion.approver.clone();
                    assert_eq!(same, promotion, "a step changes nothing else");
                    if let Event::Approve { by } = event {
                        assert_eq!((after.approver, after.state), (Some(by), promotion.state.clone()));
                    }
                }
                (Err(refused), None) => assert_eq!(refused.phase, promotion.phase()),
                (answer, wanted) => panic!("{event:?} on {:?}: {answer:?}, not {wanted:?}", promotion.state),
            }
        }
    }
    assert_eq!(phases.len(), 8, "{phases:?}");
}

#[test]
fn settled_states_never_change() {
    let mut settled = 0;
    for (_, promotion) in reachable().into_iter().filter(|(_, promotion)| promotion.is_settled()) {
        settled += 1;
        for event in alphabet() {
            assert!(promotion.on(event, at(2)).is_err());
        }
    }
    assert!(settled >= 3);
}

/// Along every path: only the gate's yes to the composed snapshot, then the pointer, then the tree, publish; and what
/// is published is that very snapshot.
#[test]
fn nothing_is_published_but_what_was_approved() {
    let mut published = 0;
    for (path, promotion) in reachable() {
        let State::Published { snapshot, .. } = &promotion.state else { continue };
        published += 1;
        let last = |wanted: fn(&Event) -> bool| path.iter().rposition(wanted).unwrap();
        let composed = last(|event| matches!(event, Event::Composed { .. }));
        let approved = last(|event| matches!(event, Event::Approved { .. }));
        let moved = last(|event| matches!(event, Event::PointerMoved));
        let visible = last(|event| matches!(event, Event::Visible));
        assert!(composed < approved && approved < moved && moved < visible, "{path:?}");
        assert!(path[approved..].iter().all(|event| !matches!(event, Event::Outdated)), "{path:?}");
        assert!(matches!(path[composed], Event::Composed { snapshot: tested, .. } if tested == *snapshot));
        assert!(matches!(path[approved], Event::Approved { snapshot: tested, .. } if tested == *snapshot));
    }
    assert!(published > 0);
}

#[test]
fn a_word_given_early_outlives_a_new_composition() {
    let walk = |events: &[Event]| {
        events.iter().fold(start(), |promotion, event| promotion.on(event.clone(), at(1)).unwrap())
    };
    let [first, second] = snapshots();
    let promotion = walk(&[
        Event::Approve { by: "rex".into() },
        Event::Composed { snapshot: first, request: None, suites: BTreeMap::new() },
        Event::Outdated,
        Event::Composed { snapshot: second, request: None, suites: BTreeMap::new() },
    ]);
    assert_eq!(promotion.approver.as_deref(), Some("rex"));
    assert_eq!(promotion.snapshot(), Some(second));
    let rejected = promotion.on(Event::Reject { why: vec!["no".into()] }, at(7)).unwrap();
    assert_eq!(rejected.snapshot(), Some(second), "what was tested can still be looked at");
}

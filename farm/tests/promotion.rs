//! The promotion machine: every state it can reach.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sample;

use std::collections::BTreeMap;

use farm::ids::{RequestId, SnapshotId};
use farm::promotion::{Approval, Course, Promotion, PromotionEvent as Event, PromotionState as State};
use farm::sig::Stage;
use sample::{at, digest, id};

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
        remove: Vec::new(),
        stack: None,
        brings: None,
        course: Course::Forward,
        confirmed: false,
        approvals: Vec::new(),
        suites: BTreeMap::new(),
        base: None,
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
        let suites = BTreeMap::from([("runs".to_owned(), digest("suite"))]);
        all.push(Event::Composed {
            snapshot,
            base: Some(id(30)),
            request: Some(id::<RequestId>(20)),
            suites,
        });
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
                    same.approvals = promotion.approvals.clone();
                    (same.base, same.suites) = (promotion.base, promotion.suites.clone());
                    assert_eq!(same, promotion, "a step changes nothing else");
                    match event {
                        Event::Approve { by } => {
                            assert_eq!((&*after.approvals[0].by, after.approvals.len()), (&*by, 1));
                            assert_eq!(after.state, promotion.state);
                        }
                        Event::Composed { base, suites, .. } => {
                            assert_eq!((after.base, after.suites), (base, suites));
                        }
                        _ => assert_eq!(
                            (after.base, after.approvals),
                            (promotion.base, promotion.approvals.clone())
                        ),
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
        Event::Composed { snapshot: first, base: None, request: None, suites: BTreeMap::new() },
        Event::Outdated,
        Event::Composed { snapshot: second, base: None, request: None, suites: BTreeMap::new() },
    ]);
    assert_eq!(promotion.approvals, [Approval { by: "rex".into(), at: at(1) }]);
    assert_eq!(promotion.snapshot(), Some(second));
    let rejected = promotion.on(Event::Reject { why: vec!["no".into()] }, at(7)).unwrap();
    assert_eq!(rejected.snapshot(), Some(second), "what was tested can still be looked at");
}

#[test]
fn what_it_does_is_said_and_can_be_asked_for_again() {
    let text = |change: fn(&mut Promotion)| {
        let mut promotion = start();
        change(&mut promotion);
        (promotion.headline(), promotion.again())
    };
    let again = |words: &str| Some(format!("grange promote --to release {words}"));
    assert_eq!(text(|_| {}), ("hello-2.10-1.el9s to release".into(), again("hello-2.10-1.el9s")));
    assert_eq!(
        text(|promotion| promotion.remove = vec!["old".into(), "older".into()]),
        (
            "hello-2.10-1.el9s, without old, older to release".into(),
            again("hello-2.10-1.el9s --remove old --remove older")
        )
    );
    assert_eq!(
        text(|promotion| {
            (promotion.nvrs, promotion.remove, promotion.confirmed) = (Vec::new(), vec!["old".into()], true);
        }),
        ("removing old to release".into(), again("--target demo9s-hello-2-el9s --remove old --confirm"))
    );
    assert_eq!(
        text(|promotion| {
            promotion.stack = Some("all".into());
            promotion.nvrs = (1..=10).map(|number| format!("p{number}-1-1")).collect();
        }),
        (
            "stack all (p1-1-1, p2-1-1, p3-1-1, p4-1-1, p5-1-1, p6-1-1, p7-1-1, p8-1-1 and 2 more) to release".into(),
            again("--stack all --target demo9s-hello-2-el9s")
        )
    );
    let back = text(|promotion| {
        promotion.course = Course::Back { to: id(10), reason: "it does not start".into() };
    });
    assert_eq!(back, (format!("release back to snapshot {} (it does not start)", snapshots()[0]), None));
}

/// What an older program wrote is read: it went forward, and nobody's word is lost that was never kept as one.
#[test]
fn a_promotion_of_an_older_program_is_read() {
    let mut value = serde_json::to_value(start()).unwrap();
    let row = value.as_object_mut().unwrap();
    for key in ["remove", "stack", "course", "confirmed", "approvals", "base"] {
        assert!(row.remove(key).is_some(), "{key}");
    }
    row.insert("approver".to_owned(), serde_json::json!("rex"));
    assert_eq!(serde_json::from_value::<Promotion>(value).unwrap(), start());
}

//! The farm at a glance: what an operator looks at first. What is stuck comes before what is well.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use farm::api::{QueueView, StatusView, StuckView, TroubleView};
use farm::builder::Condition;
use farm::promotion::Promotion;

use super::words::count;
use super::{Cell, Table, ago, builders, span};
use crate::screen::{Look, Tone};

/// Changes are told within a moment; when one has waited for so long, something is in the way.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// The farm at a glance.
#[must_use]
pub fn status(view: &StatusView, look: &Look) -> String {
    let mut text = String::new();
    let you = view.you.as_deref().unwrap_or("nobody (no token)");
    let _ = writeln!(text, "grange {}, and you are {you}", look.paint(Tone::Strong, &view.version));
    let jobs: Vec<String> = view
        .jobs
        .iter()
        .filter(|(phase, _)| phase.as_str() != "done")
        .map(|(phase, count)| format!("{count} {phase}"))
        .collect();
    let jobs = if jobs.is_empty() { "none at work".to_owned() } else { jobs.join(", ") };
    let _ = writeln!(
        text,
        "{} open, jobs: {jobs}; {} under way",
        count(view.open_requests, "build"),
        count(view.open_promotions, "promotion")
    );
    if !view.builders.is_empty() {
        let _ = writeln!(text, "{}: {}", count(view.builders.len(), "builder"), conditions(view));
    }
    for warning in warnings(view, look) {
        let _ = writeln!(text, "{} {warning}", look.paint(Tone::Busy, "warning:"));
    }
    for part in [
        queues(&view.queues, look),
        stuck(&view.stuck, look),
        unapproved(&view.unapproved, look),
        troubles(&view.troubles, look),
    ] {
        if !part.is_empty() {
            text.push('\n');
            text.push_str(&part);
        }
    }
    text.push('\n');
    text.push_str(&builders(&view.builders, look));
    text
}

/// `2 free, 1 silent`
fn conditions(view: &StatusView) -> String {
    let mut counts = BTreeMap::<(u8, &str), usize>::new();
    for builder in &view.builders {
        let word = match builder.condition {
            Condition::Free { slots: 0 } => (1, "busy"),
            Condition::Free { .. } => (0, "free"),
            Condition::Draining => (2, "draining"),
            Condition::ClockOff { .. } => (3, "with a wrong clock"),
            Condition::Silent => (4, "silent"),
            Condition::Disabled => (5, "disabled"),
        };
        *counts.entry(word).or_default() += 1;
    }
    counts.iter().map(|((_, word), count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

fn warnings(view: &StatusView, look: &Look) -> Vec<String> {
    let mut said = view.nobody.clone();
    said.extend(view.red.iter().map(|red| red.sentence.clone()));
    if view.bus_away {
        said.push(
            "the bus is away from the hub that answers: nothing is lost, but jobs start and stop later"
                .to_owned(),
        );
    }
    if let Some(oldest) = view.untold.oldest.filter(|oldest| look.now - *oldest > TOLD_WITHIN) {
        said.push(format!(
            "{} of state not told to the outside yet, the oldest for {}",
            count(usize::try_from(view.untold.events).unwrap_or(0), "change"),
            span(look.now - oldest)
        ));
    }
    said
}

fn queues(items: &[QueueView], look: &Look) -> String {
    if items.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["WAITING FOR", "SIG", "JOBS", "OLDEST"]);
    for item in items {
        table.row([
            Cell::new(Tone::Strong, item.arch.as_str()),
            item.sig.as_str().into(),
            item.jobs.to_string().into(),
            span(look.now - item.oldest).into(),
        ]);
    }
    table.render(look)
}

fn stuck(items: &[StuckView], look: &Look) -> String {
    if items.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["CANNOT GO ON", "SIG", "WHAT", "WHY"]);
    for item in items {
        table.row([
            Cell::new(Tone::Strong, item.promotion.to_string()),
            item.sig.as_str().into(),
            item.what.as_str().into(),
            Cell::new(Tone::Bad, item.why.as_str()),
        ]);
    }
    table.render(look)
}

fn unapproved(items: &[Promotion], look: &Look) -> String {
    if items.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["TO BE APPROVED", "SIG", "TO", "OPENED", "BUILDS"]);
    for item in items {
        table.row([
            Cell::new(Tone::Strong, item.id.to_string()),
            item.sig.as_str().into(),
            item.to.as_str().into(),
            ago(item.created, look.now).into(),
            item.nvrs.join(" ").into(),
        ]);
    }
    table.render(look)
}

fn troubles(items: &[TroubleView], look: &Look) -> String {
    if items.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["THE FARM FAILED", "BUILD", "JOB", "ON", "BUILDER", "NOW", "WHY"]);
    for item in items {
        table.row([
            ago(item.attempt.ended, look.now).into(),
            item.request.to_string().into(),
            item.label.as_str().into(),
            item.arch.as_str().into(),
            item.attempt.builder.as_str().into(),
            item.phase.as_str().into(),
            Cell::new(Tone::Bad, item.attempt.why.as_str()),
        ]);
    }
    table.render(look)
}

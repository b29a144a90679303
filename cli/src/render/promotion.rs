//! Promotions and what the gate looks at.

use std::fmt::Write as _;

use farm::api::PromotionView;
use farm::gate::{Requirement, TestResult, TestVerdict, suite_key};
use farm::promotion::{Brings, Course, Promotion, PromotionState};

use super::{Cell, Table, ago, promotion_phase, waivers};
use crate::screen::{Look, Tone};

/// A listing of promotions.
#[must_use]
pub fn promotions(items: &[Promotion], look: &Look) -> String {
    if items.is_empty() {
        return "no promotions\n".to_owned();
    }
    let mut table = Table::new(&["ID", "STATE", "TO", "TARGET", "BY", "OPENED", "BUILDS", "WHY"]);
    for item in items {
        table.row([
            item.id.to_string().into(),
            promotion_phase(item),
            item.to.as_str().into(),
            item.target.as_str().into(),
            item.by.as_str().into(),
            ago(item.created, look.now).into(),
            Cell::new(Tone::Strong, what(item)),
            match on_top_of(item, items) {
                Some(ahead) => format!("{}, on top of {}", standing(item), ahead.id),
                None => standing(item),
            }
            .into(),
        ]);
    }
    table.render(look)
}

/// What it moves, in a listing's place: all of it, so that it can be searched.
fn what(promotion: &Promotion) -> String {
    let stack = promotion.stack.iter().map(|stack| format!("[{stack}]"));
    let gone = promotion.remove.iter().map(|package| format!("-{package}"));
    let back = (promotion.course != Course::Forward).then(|| "(back)".to_owned());
    let files = promotion.brings.iter().map(Brings::at);
    let words: Vec<String> = back
        .into_iter()
        .chain(files)
        .chain(stack)
        .chain(promotion.nvrs.iter().cloned())
        .chain(gone)
        .collect();
    words.join(" ")
}

/// Why it is where it is, and what it waits for; nothing when it has arrived.
#[must_use]
pub(super) fn standing(promotion: &Promotion) -> String {
    let by: Vec<&str> = promotion.approvals.iter().map(|approval| approval.by.as_str()).collect();
    match &promotion.state {
        PromotionState::Composing => "the repo that would result is being composed".to_owned(),
        PromotionState::InTesting { .. } => match promotion.course {
            Course::Forward => "the repo that would result is being tested".to_owned(),
            Course::Back { .. } => "the gate is being asked".to_owned(),
        },
        PromotionState::Ready { .. } if by.is_empty() => {
            format!("tests have passed; a release manager of {} must approve", promotion.sig)
        }
        PromotionState::Ready { .. } => {
            format!("tests have passed and {} approved", have(&by))
        }
        PromotionState::Approved { by, .. } => format!("approved by {by}, being signed and staged"),
        PromotionState::Publishing { by, .. } => format!("approved by {by}, being published"),
        PromotionState::Published { .. } => match &promotion.course {
            Course::Forward => String::new(),
            Course::Back { reason, .. } => format!("rolled back: {reason}"),
        },
        PromotionState::Rejected { why, .. } => why.join("; "),
        PromotionState::Withdrawn { by, .. } => format!("withdrawn by {by}"),
    }
}

/// `rex has`, `rex and rita have`
fn have(people: &[&str]) -> String {
    format!("{} {}", people.join(" and "), if people.len() == 1 { "has" } else { "have" })
}

/// Of those of a listing, the one that this was composed on top of.
fn on_top_of<'a>(promotion: &Promotion, items: &'a [Promotion]) -> Option<&'a Promotion> {
    let base = promotion.base.filter(|_| !promotion.is_settled())?;
    let is_ahead = |other: &&Promotion| {
        other.id != promotion.id && !other.is_settled() && other.snapshot() == Some(base)
    };
    items.iter().find(is_ahead)
}

/// One promotion: where it stands first, then what was required and what was shown.
#[must_use]
pub fn promotion(view: &PromotionView, look: &Look) -> String {
    let promotion = &view.promotion;
    // Who looks at one promotion wants to read all of it.
    let look = &Look { width: None, ..*look };
    let mut text = format!("{}\n", look.paint(Tone::Strong, &view.sentence));
    if let PromotionState::Rejected { why, .. } = &promotion.state {
        for reason in why.iter().filter(|reason| !view.sentence.contains(reason.as_str())) {
            let _ = writeln!(text, "  {}", look.paint(Tone::Bad, reason));
        }
    }
    text.push('\n');
    let mut facts = Table::new(&["", ""]).indented(2);
    facts.row([Cell::new(Tone::Dim, "id"), promotion.id.to_string().into()]);
    if let Some(stack) = &promotion.stack {
        facts.row([Cell::new(Tone::Dim, "stack"), stack.as_str().into()]);
    }
    if let Some(brings) = &promotion.brings {
        facts.row([Cell::new(Tone::Dim, "files of"), brings.at().into()]);
    }
    if !promotion.nvrs.is_empty() {
        facts.row([Cell::new(Tone::Dim, "builds"), promotion.nvrs.join(" ").into()]);
    }
    if !promotion.remove.is_empty() {
        facts.row([Cell::new(Tone::Dim, "removed"), promotion.remove.join(" ").into()]);
    }
    facts.row([Cell::new(Tone::Dim, "to"), promotion.to.as_str().into()]);
    if let Course::Back { to, reason } = &promotion.course {
        facts.row([Cell::new(Tone::Dim, "back to"), format!("snapshot {to}").into()]);
        facts.row([Cell::new(Tone::Dim, "because"), reason.as_str().into()]);
    }
    facts.row([Cell::new(Tone::Dim, "state"), promotion_phase(promotion)]);
    facts.row([Cell::new(Tone::Dim, "target"), promotion.target.as_str().into()]);
    facts.row([
        Cell::new(Tone::Dim, "opened"),
        format!("{} by {}", ago(promotion.created, look.now), promotion.by).into(),
    ]);
    if let Some(approvals) = approvals(view) {
        facts.row([Cell::new(Tone::Dim, "approved by"), approvals.into()]);
    }
    if let Some(ahead) = &view.behind {
        facts.row([
            Cell::new(Tone::Dim, "behind"),
            format!("promotion {ahead}, in the queue of its repo").into(),
        ]);
    }
    if let Some(said) = &view.signer {
        facts.row([Cell::new(Tone::Dim, "signer"), said.as_str().into()]);
    }
    if let PromotionState::InTesting { request: Some(request), .. } = &promotion.state {
        facts.row([Cell::new(Tone::Dim, "tests"), format!("grange watch {request}").into()]);
    }
    text.push_str(&facts.render(look));
    let tests = tests(view, look);
    if !tests.is_empty() {
        text.push('\n');
        text.push_str(&tests.render(look));
    }
    if !view.waivers.is_empty() {
        text.push('\n');
        text.push_str(&waivers(&view.waivers, look));
    }
    let needs_word = promotion.approvals.len() < view.approvals_needed.max(1);
    if matches!(promotion.state, PromotionState::Ready { .. }) && needs_word {
        let _ = writeln!(
            text,
            "\n{} grange promote {}   (a release manager)",
            look.paint(Tone::Dim, "next:"),
            promotion.id
        );
    }
    text
}

/// `rex (1 of 2)`; nothing where nobody has and nobody needs to.
fn approvals(view: &PromotionView) -> Option<String> {
    let given = &view.promotion.approvals;
    let by: Vec<&str> = given.iter().map(|approval| approval.by.as_str()).collect();
    let by = if by.is_empty() { "nobody yet".to_owned() } else { by.join(", ") };
    match (given.len(), view.approvals_needed) {
        (0, 0) => None,
        (_, 0) => Some(by),
        (1, 1) => Some(by),
        (given, needed) => Some(format!("{by} ({given} of {needed})")),
    }
}

/// Everything required with the newest result for it, then whatever else was run.
fn tests(view: &PromotionView, look: &Look) -> Table {
    let mut table = Table::new(&["SUITE", "ARCH", "RESULT", "RAN", "JOB", "WHY"]).indented(2);
    let is_of = |result: &TestResult, requirement: &Requirement| {
        (&result.suite, &result.on, result.arch) == (&requirement.suite, &requirement.on, requirement.arch)
    };
    for requirement in &view.required {
        let newest = view
            .results
            .iter()
            .filter(|result| is_of(result, requirement))
            .max_by_key(|result| (result.at, result.job));
        match newest {
            Some(result) => table.row(row(requirement.key(), result, look)),
            None => table.row([
                requirement.key().into(),
                requirement.arch.as_str().into(),
                Cell::new(Tone::Dim, "missing"),
            ]),
        }
    }
    let is_required =
        |result: &&TestResult| view.required.iter().any(|requirement| is_of(result, requirement));
    for result in view.results.iter().filter(|result| !is_required(result)) {
        let name = format!("{} (not required)", suite_key(&result.suite, result.on.as_deref()));
        table.row(row(name, result, look));
    }
    table
}

fn row(name: String, result: &TestResult, look: &Look) -> [Cell; 6] {
    [
        name.into(),
        result.arch.as_str().into(),
        verdict(&result.verdict),
        ago(result.at, look.now).into(),
        result.job.to_string().into(),
        why(&result.verdict).into(),
    ]
}

fn verdict(verdict: &TestVerdict) -> Cell {
    match verdict {
        TestVerdict::Passed => Cell::new(Tone::Good, "passed"),
        TestVerdict::Failed { .. } => Cell::new(Tone::Bad, "failed"),
        TestVerdict::Errored { .. } => Cell::new(Tone::Bad, "not run"),
    }
}

fn why(verdict: &TestVerdict) -> &str {
    match verdict {
        TestVerdict::Passed => "",
        TestVerdict::Failed { reason } | TestVerdict::Errored { reason } => reason,
    }
}

//! Promotions and what the gate looks at.

use std::fmt::Write as _;

use farm::api::PromotionView;
use farm::gate::TestVerdict;
use farm::promotion::{Promotion, PromotionState};

use super::{Cell, Table, ago, promotion_phase};
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
            Cell::new(Tone::Strong, item.nvrs.join(" ")),
            standing(item).into(),
        ]);
    }
    table.render(look)
}

/// Its builds in a sentence's place: `hello-2.10-1.el9s, foo-1-1`.
#[must_use]
pub fn nvrs(promotion: &Promotion) -> String {
    promotion.nvrs.join(", ")
}

/// Why it is where it is, and what it waits for; nothing when it has arrived.
#[must_use]
pub(super) fn standing(promotion: &Promotion) -> String {
    match (&promotion.state, &promotion.approver) {
        (PromotionState::Composing, _) => "the repo that would result is being composed".to_owned(),
        (PromotionState::InTesting { .. }, _) => "the repo that would result is being tested".to_owned(),
        (PromotionState::Ready { .. }, None) => {
            format!("tests have passed; a release manager of {} must approve", promotion.sig)
        }
        (PromotionState::Ready { .. }, Some(by)) => {
            format!("tests have passed and {by} has approved; the gate is being asked")
        }
        (PromotionState::Approved { by, .. } | PromotionState::Publishing { by, .. }, _) => {
            format!("approved by {by}, being published")
        }
        (PromotionState::Published { .. }, _) => String::new(),
        (PromotionState::Rejected { why, .. }, _) => why.join("; "),
        (PromotionState::Withdrawn { by, .. }, _) => format!("withdrawn by {by}"),
    }
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
    facts.row([Cell::new(Tone::Dim, "builds"), promotion.nvrs.join(" ").into()]);
    facts.row([Cell::new(Tone::Dim, "to"), promotion.to.as_str().into()]);
    facts.row([Cell::new(Tone::Dim, "state"), promotion_phase(promotion)]);
    facts.row([Cell::new(Tone::Dim, "target"), promotion.target.as_str().into()]);
    facts.row([
        Cell::new(Tone::Dim, "opened"),
        format!("{} by {}", ago(promotion.created, look.now), promotion.by).into(),
    ]);
    if let Some(approver) = &promotion.approver {
        facts.row([Cell::new(Tone::Dim, "approved by"), approver.as_str().into()]);
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
    if matches!(promotion.state, PromotionState::Ready { .. }) {
        let _ = writeln!(
            text,
            "\n{} grange promote {}   (a release manager)",
            look.paint(Tone::Dim, "next:"),
            promotion.id
        );
    }
    text
}

/// Everything required with the newest result for it, then whatever else was run.
fn tests(view: &PromotionView, look: &Look) -> Table {
    let mut table = Table::new(&["SUITE", "ARCH", "RESULT", "RAN", "JOB", "WHY"]).indented(2);
    let newest = |suite: &str, arch| {
        view.results
            .iter()
            .filter(|result| result.suite == suite && result.arch == arch)
            .max_by_key(|result| (result.at, result.job))
    };
    for requirement in &view.required {
        match newest(&requirement.suite, requirement.arch) {
            Some(result) => table.row([
                result.suite.as_str().into(),
                result.arch.as_str().into(),
                verdict(&result.verdict),
                ago(result.at, look.now).into(),
                result.job.to_string().into(),
                why(&result.verdict).into(),
            ]),
            None => table.row([
                requirement.suite.as_str().into(),
                requirement.arch.as_str().into(),
                Cell::new(Tone::Dim, "missing"),
            ]),
        }
    }
    let is_required = |suite: &str, arch| {
        view.required.iter().any(|requirement| requirement.suite == suite && requirement.arch == arch)
    };
    for result in view.results.iter().filter(|result| !is_required(&result.suite, result.arch)) {
        table.row([
            format!("{} (not required)", result.suite).into(),
            result.arch.as_str().into(),
            verdict(&result.verdict),
            ago(result.at, look.now).into(),
            result.job.to_string().into(),
            why(&result.verdict).into(),
        ]);
    }
    table
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

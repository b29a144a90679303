//! Builds: requests with their jobs.

use std::fmt::Write as _;

use farm::api::{JobView, RequestView};
use farm::promotion::{Promotion, PromotionState};
use farm::recheck::phrase;
use farm::request::{RequestKind, Source};

use super::{Cell, Table, ago, expiry, job_state, promotion_phase, request_status, size, span, standing};
use crate::screen::{Look, Tone};

/// How much of a commit id tells two apart.
const COMMIT_SHOWN: usize = 12;

/// A listing of builds.
#[must_use]
pub fn builds(items: &[RequestView], look: &Look) -> String {
    if items.is_empty() {
        return "no builds\n".to_owned();
    }
    let mut table = Table::new(&["ID", "STATUS", "BUILD", "TARGET", "KIND", "BY", "ASKED", "WHY"]);
    for item in items {
        table.row([
            item.request.id.to_string().into(),
            request_status(item.status),
            Cell::new(Tone::Strong, item.nvr.as_deref().unwrap_or(&item.request.package)),
            item.request.target.as_str().into(),
            label(&item.request.kind, look).into(),
            item.request.by.as_str().into(),
            ago(item.request.created, look.now).into(),
            item.reason.as_deref().unwrap_or_default().into(),
        ]);
    }
    table.render(look)
}

/// One build: why it failed first, then what it is, its jobs, its promotions, and what to do next.
#[must_use]
pub fn request(view: &RequestView, look: &Look) -> String {
    let request = &view.request;
    // Who looks at one build wants to read all of it.
    let look = &Look { width: None, ..*look };
    let mut text = String::new();
    let name = look.paint(Tone::Strong, view.nvr.as_deref().unwrap_or(&request.package));
    let _ = writeln!(text, "{name}  {}", request_status(view.status).painted(look));
    if let Some(reason) = &view.reason {
        let _ = writeln!(text, "  {}", look.paint(Tone::Bad, reason));
    }
    if let Some(Promotion { to, state: PromotionState::Rejected { why, .. }, .. }) = view.promotions.last() {
        let refused = format!("not let into {to}: {}", why.join("; "));
        let _ = writeln!(text, "  {}", look.paint(Tone::Bad, &refused));
    }
    text.push('\n');
    let mut facts = Table::new(&["", ""]).indented(2);
    facts.row([Cell::new(Tone::Dim, "id"), request.id.to_string().into()]);
    facts.row([Cell::new(Tone::Dim, "target"), request.target.as_str().into()]);
    facts.row([Cell::new(Tone::Dim, "source"), source(&request.source).into()]);
    if let Some(link) = request.chain {
        facts.row([Cell::new(Tone::Dim, "chain"), link.id.to_string().into()]);
    }
    facts.row([
        Cell::new(Tone::Dim, "asked"),
        format!("{} by {} ({})", ago(request.created, look.now), request.by, kind(&request.kind)).into(),
    ]);
    if let Some(earlier) = request.retry_of {
        facts.row([Cell::new(Tone::Dim, "repeats"), earlier.to_string().into()]);
    }
    if let RequestKind::Scratch { expires } = &request.kind {
        facts.row([Cell::new(Tone::Dim, "repo"), "none: a scratch build enters no repo".into()]);
        let (word, when) = expiry(*expires, look.now);
        facts.row([Cell::new(Tone::Dim, word), when.into()]);
    }
    facts.row([Cell::new(Tone::Dim, "page"), view.url.as_str().into()]);
    text.push_str(&facts.render(look));
    if !view.jobs.is_empty() {
        text.push('\n');
        text.push_str(&jobs(&view.jobs, look));
    }
    if !view.roots.is_empty() {
        text.push('\n');
        text.push_str(&super::buildroot::roots(&view.roots, look));
    }
    for job in &view.jobs {
        for attempt in &job.history {
            let _ = writeln!(
                text,
                "  {}",
                look.paint(
                    Tone::Dim,
                    &format!(
                        "{} on {}: attempt {} on {} ended {}: {}",
                        job.label,
                        job.arch,
                        attempt.turn,
                        attempt.builder,
                        ago(attempt.ended, look.now),
                        attempt.why
                    )
                )
            );
        }
    }
    if !view.promotions.is_empty() {
        text.push('\n');
        text.push_str(&promotions_of(&view.promotions, look));
    }
    if let Some(next) = next(view) {
        let _ = writeln!(text, "\n{} {next}", look.paint(Tone::Dim, "next:"));
    }
    text
}

fn source(source: &Source) -> String {
    match source {
        Source::Git { repo, commit, tree: _ } => {
            format!("{repo}#{}", commit.chars().take(COMMIT_SHOWN).collect::<String>())
        }
        Source::Srpm { srpm } => format!("{} ({})", srpm.name, size(srpm.size)),
        Source::Snapshot => "a snapshot under test".to_owned(),
    }
}

/// The kind in a listing.
fn label(kind: &RequestKind, look: &Look) -> String {
    match kind {
        RequestKind::Scratch { expires } if *expires <= look.now => "scratch, expired".to_owned(),
        RequestKind::Push { .. }
        | RequestKind::Build
        | RequestKind::Scratch { .. }
        | RequestKind::Test { .. }
        | RequestKind::Check { .. } => kind.label().to_owned(),
    }
}

fn kind(kind: &RequestKind) -> String {
    match kind {
        RequestKind::Push { branch } => format!("push of {branch}"),
        RequestKind::Build | RequestKind::Scratch { .. } => kind.label().to_owned(),
        RequestKind::Test { promotion, .. } => format!("test for promotion {promotion}"),
        RequestKind::Check { tag, causes, .. } => format!("check of {tag}: {}", phrase(causes)),
    }
}

fn jobs(jobs: &[JobView], look: &Look) -> String {
    let mut table = Table::new(&["JOB", "ARCH", "STATE", "TIME", "BUILDER", "FILES", "WHY"]).indented(2);
    for job in jobs {
        let time = job.started.map(|started| span(job.ended.unwrap_or(look.now) - started));
        let why = job.outcome.as_ref().filter(|outcome| !outcome.passed()).map(|outcome| outcome.sentence());
        let files = if job.files.is_empty() { String::new() } else { job.files.len().to_string() };
        let (tone, state) = job_state(job);
        table.row([
            job.label.as_str().into(),
            job.arch.as_str().into(),
            Cell::new(tone, state),
            time.unwrap_or_default().into(),
            job.builder.as_deref().unwrap_or_default().into(),
            files.into(),
            why.unwrap_or_default().into(),
        ]);
    }
    table.render(look)
}

fn promotions_of(promotions: &[Promotion], look: &Look) -> String {
    let mut table = Table::new(&["PROMOTION", "TO", "STATE", "WHY"]).indented(2);
    for promotion in promotions {
        table.row([
            promotion.id.to_string().into(),
            promotion.to.as_str().into(),
            promotion_phase(promotion),
            standing(promotion).into(),
        ]);
    }
    table.render(look)
}

/// The command that most probably comes next.
fn next(view: &RequestView) -> Option<String> {
    use farm::request::Status;
    use farm::sig::Stage;
    let id = view.request.id;
    match view.status {
        Status::Queued | Status::Running => Some(format!("grange watch {id}")),
        Status::Failing | Status::Failed if !view.jobs.is_empty() => Some(format!("grange log {id}")),
        Status::Failing | Status::Failed | Status::Cancelled => Some(format!("grange retry {id}")),
        Status::Complete => {
            let newest = view.promotions.last()?;
            match (&newest.state, newest.to) {
                (PromotionState::InTesting { request: Some(request), .. }, _) => {
                    Some(format!("grange watch {request}"))
                }
                (PromotionState::Ready { .. }, _) => Some(format!("grange promote {}", newest.id)),
                (PromotionState::Rejected { .. }, _) => Some(format!("grange promotions {}", newest.id)),
                (PromotionState::Published { .. }, Stage::Testing) => {
                    Some(format!("grange promote {}", view.nvr.as_deref()?))
                }
                (
                    PromotionState::Composing
                    | PromotionState::InTesting { request: None, .. }
                    | PromotionState::Approved { .. }
                    | PromotionState::Publishing { .. }
                    | PromotionState::Published { .. }
                    | PromotionState::Withdrawn { .. },
                    _,
                ) => None,
            }
        }
    }
}

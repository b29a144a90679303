//! Waiting for something at the hub, with a sign of life on a terminal and patience for a hub that is away for a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use farm::api::{JobView, RequestView};
use farm::ids::{JobId, PromotionId, RequestId};
use farm::outcome::Outcome;
use farm::promotion::{Promotion, PromotionState};
use farm::request::{RequestKind, Status};
use farm::sig::Stage;
use farm::stamp::Stamp;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::client::{Body, Client, Query};
use crate::failure::Failure;
use crate::render::{clock, expiry, job_state, span};
use crate::screen::{Look, Screen, Tone};

/// How long a hub that has answered before may be away.
const AWAY: Duration = Duration::from_secs(300);
/// Between two tries to reach a hub that is away.
const RETRY: Duration = Duration::from_secs(2);
/// The spinner's pace.
const SPIN: Duration = Duration::from_millis(120);
/// How wide the name of what changed is shown.
const NAME_WIDTH: usize = 22;

/// Until when a person is willing to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<(Instant, u64)>);

impl Deadline {
    /// So many seconds from now, or never.
    pub(crate) fn after(seconds: Option<u64>) -> Self {
        Deadline(seconds.map(|seconds| (Instant::now() + Duration::from_secs(seconds), seconds)))
    }

    /// Has it not passed?
    pub(crate) fn check(self, waited_for: &str) -> Result<(), Failure> {
        match self.0 {
            Some((at, seconds)) if Instant::now() >= at => {
                Err(Failure::Failed(format!("gave up after {seconds} s of waiting for {waited_for}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A client that waits for a hub to come back, once it has answered at all.
#[derive(Debug)]
pub(crate) struct Patient<'a> {
    client: &'a Client,
    answered: bool,
}

impl<'a> Patient<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Patient { client, answered: false }
    }

    /// Reads something, again and again while the hub is away.
    pub(crate) async fn get(
        &mut self,
        path: &[&str],
        spinner: &mut Spinner,
        screen: &mut Screen,
    ) -> Result<Body, Failure> {
        let mut away_since = None;
        let no_query: Query<'_> = &[];
        loop {
            let failure = match self.client.get(path, no_query).await {
                Ok(body) => {
                    self.answered = true;
                    return Ok(body);
                }
                Err(failure) => failure,
            };
            let since = *away_since.get_or_insert_with(Instant::now);
            if !self.answered || !failure.may_pass() || since.elapsed() > AWAY {
                return Err(failure);
            }
            if since.elapsed() < RETRY && !screen.json {
                spinner.above(screen, "the hub does not answer; trying again\n")?;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// A sign of life below what is printed, on a terminal only.
#[derive(Debug)]
pub(crate) struct Spinner(Option<ProgressBar>);

impl Spinner {
    pub(crate) fn new(screen: &Screen) -> Self {
        Spinner(screen.animated.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(SPIN);
            bar
        }))
    }

    /// What is being waited for.
    pub(crate) fn says(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
        }
    }

    /// Prints above it.
    pub(crate) fn above(&self, screen: &mut Screen, text: &str) -> std::io::Result<()> {
        self.bytes_above(screen, text.as_bytes())
    }

    /// Prints bytes above it.
    pub(crate) fn bytes_above(&self, screen: &mut Screen, bytes: &[u8]) -> std::io::Result<()> {
        match &self.0 {
            Some(bar) => bar.suspend(|| screen.bytes(bytes)),
            None => screen.bytes(bytes),
        }
    }

    /// Takes it away.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

/// What was said already, so that each change is said once.
#[derive(Debug, Default)]
pub(crate) struct News {
    statuses: BTreeMap<RequestId, Status>,
    jobs: BTreeMap<JobId, (String, usize)>,
    promotions: BTreeMap<PromotionId, &'static str>,
}

impl News {
    /// One line for everything that changed since the last look.
    pub(crate) fn of(&mut self, view: &RequestView, look: &Look) -> Vec<String> {
        let mut lines = Vec::new();
        for job in &view.jobs {
            self.of_job(job, look, &mut lines);
        }
        if self.statuses.insert(view.request.id, view.status) != Some(view.status) && view.status.is_final() {
            let tone = if view.status == Status::Complete { Tone::Good } else { Tone::Bad };
            let at = view.request.closed.as_ref().map_or(look.now, |closed| closed.at);
            let took = span(at - view.request.created);
            let name = match &view.request.kind {
                RequestKind::Test { .. } | RequestKind::Check { .. } => "tests",
                RequestKind::Push { .. } | RequestKind::Build | RequestKind::Scratch { .. } => {
                    view.nvr.as_deref().unwrap_or(&view.request.package)
                }
            };
            let said = look.paint(tone, view.status.as_str());
            let reason = match (&view.reason, &view.request.kind) {
                (Some(reason), _) => format!(": {reason}"),
                (None, RequestKind::Scratch { expires }) => {
                    let (word, when) = expiry(*expires, look.now);
                    format!("; it is in no repo and {word} {when}")
                }
                (None, _) => String::new(),
            };
            lines.push(line(
                at,
                name,
                &format!("{said} after {took}{}", look.paint(Tone::Plain, &reason)),
                look,
            ));
        }
        for promotion in &view.promotions {
            self.of_promotion(promotion, look, &mut lines);
        }
        lines
    }

    fn of_job(&mut self, job: &JobView, look: &Look, lines: &mut Vec<String>) {
        let name = format!("{} {}", job.label, job.arch);
        let said = said_of_job(job, look);
        let (before, attempts) = self.jobs.get(&job.id).cloned().unwrap_or_default();
        for attempt in job.history.iter().skip(attempts) {
            let why = format!("attempt {} on {} ended: {}", attempt.turn, attempt.builder, attempt.why);
            lines.push(line(attempt.ended, &name, &look.paint(Tone::Busy, &why), look));
        }
        if said != before {
            let at = job.ended.or(job.started).unwrap_or(if job.turn == 0 { job.created } else { look.now });
            lines.push(line(at, &name, &said, look));
        }
        self.jobs.insert(job.id, (said, job.history.len()));
    }

    fn of_promotion(&mut self, promotion: &Promotion, look: &Look, lines: &mut Vec<String>) {
        let phase = promotion.phase();
        if self.promotions.insert(promotion.id, phase) == Some(phase) {
            return;
        }
        let (tone, why) = match &promotion.state {
            PromotionState::Published { .. } => (Tone::Good, String::new()),
            PromotionState::Rejected { why, .. } => (Tone::Bad, format!(": {}", why.join("; "))),
            PromotionState::Withdrawn { by, .. } => (Tone::Bad, format!(" by {by}")),
            PromotionState::Composing
            | PromotionState::InTesting { .. }
            | PromotionState::Ready { .. }
            | PromotionState::Approved { .. }
            | PromotionState::Publishing { .. } => (Tone::Busy, String::new()),
        };
        let at = match &promotion.state {
            PromotionState::Published { at, .. }
            | PromotionState::Rejected { at, .. }
            | PromotionState::Withdrawn { at, .. } => *at,
            PromotionState::Composing
            | PromotionState::InTesting { .. }
            | PromotionState::Ready { .. }
            | PromotionState::Approved { .. }
            | PromotionState::Publishing { .. } => look.now,
        };
        let said = format!("{}{}", look.paint(tone, phase), look.paint(Tone::Plain, &why));
        lines.push(line(at, &format!("promotion to {}", promotion.to), &said, look));
    }
}

fn said_of_job(job: &JobView, look: &Look) -> String {
    let (tone, state) = job_state(job);
    let state = look.paint(tone, state);
    let builder = job.builder.as_deref().unwrap_or_default();
    match &job.outcome {
        Some(Outcome::Passed) => match job.started.zip(job.ended) {
            Some((started, ended)) => format!("{state} after {}", span(ended - started)),
            None => state,
        },
        Some(outcome) => format!("{state}: {}", look.paint(Tone::Plain, &outcome.sentence())),
        None if builder.is_empty() || job.phase == "waiting" => state,
        None => format!("{state} on {builder}"),
    }
}

fn line(at: Stamp, name: &str, said: &str, look: &Look) -> String {
    let name = look.paint(Tone::Plain, name);
    format!("{}  {name:NAME_WIDTH$}  {said}\n", look.paint(Tone::Dim, &clock(at)))
}

/// How far what is watched has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something is still under way.
    Going,
    /// The build is done and the promotion that it should open is not there yet.
    NoPromotionYet,
    /// It is done.
    Done,
    /// It is over, and badly.
    Failed(String),
}

/// How far a build has come; `tests`: up to the decision on its way to testing.
pub(crate) fn progress(view: &RequestView, tests: bool) -> Progress {
    let name = view.nvr.as_deref().unwrap_or(&view.request.package);
    match view.status {
        Status::Queued | Status::Running | Status::Failing => return Progress::Going,
        Status::Failed | Status::Cancelled => {
            let reason = view.reason.as_deref().unwrap_or("no reason was given");
            return Progress::Failed(format!("{name} {}: {reason}", view.status.as_str()));
        }
        Status::Complete if !tests || !view.request.kind.is_imported() => return Progress::Done,
        Status::Complete => {}
    }
    let Some(newest) = testing(view) else { return Progress::NoPromotionYet };
    match &newest.state {
        PromotionState::Published { .. } => Progress::Done,
        PromotionState::Rejected { why, .. } => {
            Progress::Failed(format!("{name} was built but not let into testing: {}", why.join("; ")))
        }
        PromotionState::Withdrawn { by, .. } => {
            Progress::Failed(format!("{name} was built, but its promotion to testing was withdrawn by {by}"))
        }
        PromotionState::Composing
        | PromotionState::InTesting { .. }
        | PromotionState::Ready { .. }
        | PromotionState::Approved { .. }
        | PromotionState::Publishing { .. } => Progress::Going,
    }
}

/// The newest of the build's promotions to testing.
pub(crate) fn testing(view: &RequestView) -> Option<&Promotion> {
    view.promotions
        .iter()
        .filter(|promotion| promotion.to == Stage::Testing)
        .max_by_key(|promotion| promotion.id)
}

/// What is under way, in a few words for the spinner.
pub(crate) fn gist(view: &RequestView, look: &Look) -> String {
    let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
    for job in view.jobs.iter().filter(|job| job.outcome.is_none()) {
        *phases.entry(job.phase.as_str()).or_default() += 1;
    }
    let mut parts: Vec<String> = phases.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
    if let Some(promotion) = testing(view).filter(|promotion| !promotion.is_settled()) {
        parts.push(format!("testing: {}", promotion.phase()));
    }
    if parts.is_empty() {
        parts.push(view.status.as_str().to_owned());
    }
    format!("{} · {}", parts.join(", "), span(look.now - view.request.created))
}

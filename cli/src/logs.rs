//! Logs: which one matters, and reading it as it grows.

use std::collections::BTreeSet;

use farm::api::{JobView, RequestView};
use farm::ids::JobId;
use farm::outcome::Outcome;

use crate::client::Client;
use crate::failure::Failure;
use crate::follow::Spinner;
use crate::screen::{Screen, Tone};

/// Bytes of a log that are held at once.
const PIECE: u64 = 4 * 1024 * 1024;
/// What a builder did and when: not what a maintainer looks for.
const DIARY: &str = "state.log";

/// One log of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogName {
    pub(crate) job: JobId,
    pub(crate) turn: u32,
    pub(crate) name: String,
}

/// Picks the job a person means: by its id, the end of it, its label, its suite, its architecture or label/architecture.
/// Without a word it is the one that matters: the first that failed, else one at work, else the last.
pub(crate) fn choose_job<'a>(jobs: &'a [JobView], word: Option<&str>) -> Option<&'a JobView> {
    let meant: Vec<&JobView> =
        jobs.iter().filter(|job| word.is_none_or(|word| is_meant(job, word))).collect();
    let failed = |job: &&&JobView| match &job.outcome {
        Some(Outcome::FailedByPackage { .. } | Outcome::FailedByFarm { .. } | Outcome::Lost { .. }) => true,
        Some(Outcome::Passed | Outcome::Cancelled { .. }) | None => false,
    };
    meant
        .iter()
        .filter(failed)
        .min_by_key(|job| (job.ended, job.id))
        .or_else(|| meant.iter().find(|job| job.outcome.is_none() && !job.logs.is_empty()))
        .or_else(|| meant.iter().rev().find(|job| !job.logs.is_empty()))
        .or_else(|| meant.last())
        .copied()
}

fn is_meant(job: &JobView, word: &str) -> bool {
    let id = job.id.to_string();
    let word_upper = word.to_ascii_uppercase();
    let suite = job.label.strip_prefix("test ");
    let arch = job.arch.as_str();
    id == word_upper
        || (word.len() >= 6 && id.ends_with(&word_upper))
        || [Some(job.label.as_str()), suite, Some(arch)].contains(&Some(word))
        || word
            .split_once('/')
            .is_some_and(|(label, of)| of == arch && (label == job.label || Some(label) == suite))
}

/// Picks the log of a job that matters: the one the reason names, else the furthest the job came.
pub(crate) fn choose_log(job: &JobView) -> Option<&str> {
    let reason = job.outcome.as_ref().filter(|outcome| !outcome.passed()).map(Outcome::sentence);
    let named = reason.and_then(|reason| job.logs.iter().find(|log| reason.contains(&log.name)));
    named
        .or_else(|| job.logs.iter().rev().find(|log| log.size > 0 && log.name != DIARY))
        .or_else(|| job.logs.iter().rev().find(|log| log.size > 0))
        .or_else(|| job.logs.last())
        .map(|log| log.name.as_str())
}

/// A piece of a log.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    /// Nothing will be added to the log.
    pub(crate) complete: bool,
    /// How long the log is now.
    pub(crate) size: Option<u64>,
}

/// Reads a piece of a log from an offset on.
pub(crate) async fn read(
    client: &Client,
    job: &str,
    name: &str,
    turn: u32,
    offset: u64,
) -> Result<Piece, Failure> {
    let query = [("turn", turn.to_string()), ("offset", offset.to_string()), ("limit", PIECE.to_string())];
    let response = client.open(&["jobs", job, "logs", name], &query).await?;
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let complete = header("x-log-complete").as_deref() == Some("true");
    let size = header("x-log-size").and_then(|size| size.parse().ok());
    let bytes = response.bytes().await.map_err(|error| client.broken_off(&error))?.to_vec();
    Ok(Piece { bytes, complete, size })
}

/// A log is written by the package: on a terminal nothing in it may move the cursor or do worse.
pub(crate) fn tamed(bytes: Vec<u8>, screen: &Screen) -> Vec<u8> {
    if screen.look().width.is_none() {
        return bytes;
    }
    bytes.into_iter().filter(|byte| !byte.is_ascii_control() || matches!(byte, b'\n' | b'\t')).collect()
}

/// Follows the logs of builds as they are written, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    only: Option<JobId>,
    /// Jobs that were seen at work.
    live: BTreeSet<JobId>,
    current: Option<(LogName, u64)>,
    finished: BTreeSet<LogName>,
}

impl Tail {
    /// Follows one job, even when it is over already.
    pub(crate) fn of_job(job: JobId) -> Self {
        Tail { only: Some(job), live: BTreeSet::from([job]), ..Tail::default() }
    }

    /// Prints whatever has been added since the last look. Gives `false` when there was nothing, so that the caller can
    /// tell that all is read once the jobs are over.
    pub(crate) async fn step(
        &mut self,
        jobs: &[&JobView],
        client: &Client,
        spinner: &Spinner,
        screen: &mut Screen,
    ) -> Result<bool, Failure> {
        let mut printed = false;
        for job in jobs.iter().filter(|job| self.only.is_none_or(|only| only == job.id)) {
            // A failure is shown even when the whole job took place between two looks.
            if job.phase == "building" || job.outcome.as_ref().is_some_and(|outcome| !outcome.passed()) {
                self.live.insert(job.id);
            }
        }
        loop {
            let (log, offset) = match self.current.take() {
                Some(current) => current,
                None => match self.next(jobs) {
                    Some((log, job)) => {
                        let title = format!("── {} {}: {} ──\n", job.label, job.arch, log.name);
                        let title = screen.look().paint(Tone::Strong, &title);
                        spinner.above(screen, &title)?;
                        (log, 0)
                    }
                    None => return Ok(printed),
                },
            };
            let piece = match read(client, &log.job.to_string(), &log.name, log.turn, offset).await {
                Ok(piece) => piece,
                Err(failure) if failure.may_pass() => {
                    self.current = Some((log, offset));
                    return Ok(printed);
                }
                Err(failure) => return Err(failure),
            };
            let empty = piece.bytes.is_empty();
            let end = offset + piece.bytes.len() as u64;
            if !empty {
                printed = true;
                spinner.bytes_above(screen, &tamed(piece.bytes, screen))?;
            }
            if piece.complete && piece.size.is_none_or(|size| end >= size) || empty && is_over(&log, jobs) {
                self.finished.insert(log);
            } else {
                self.current = Some((log, end));
                if empty {
                    return Ok(printed);
                }
            }
        }
    }

    /// The first log that has something to read.
    fn next<'a>(&self, jobs: &[&'a JobView]) -> Option<(LogName, &'a JobView)> {
        jobs.iter()
            .filter(|job| self.live.contains(&job.id))
            .flat_map(|job| job.logs.iter().map(move |log| (log, *job)))
            .filter(|(log, _)| log.size > 0 && log.name != DIARY)
            .map(|(log, job)| (LogName { job: job.id, turn: job.turn, name: log.name.clone() }, job))
            .find(|(log, _)| !self.finished.contains(log))
    }
}

/// Will nothing be added to this log: its attempt is over, or its job writes a later log already?
fn is_over(log: &LogName, jobs: &[&JobView]) -> bool {
    let Some(job) = jobs.iter().find(|job| job.id == log.job) else { return true };
    job.turn != log.turn
        || job.outcome.is_some()
        || job.logs.iter().skip_while(|other| other.name != log.name).skip(1).any(|later| later.size > 0)
}

/// Every job of these builds.
pub(crate) fn jobs_of(views: &[RequestView]) -> Vec<&JobView> {
    views.iter().flat_map(|view| &view.jobs).collect()
}

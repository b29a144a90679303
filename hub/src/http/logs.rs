//! Logs for people: read, and followed as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use farm::ids::JobId;
use farm::job::{Job, JobState};
use futures_util::{Stream, StreamExt as _};
use serde::Deserialize;
use tokio::io::AsyncSeekExt as _;
use utoipa::IntoParams;

use super::extract::{Path, Query};
use super::jobs::{self, WhichTurn};
use super::serve::Stopping;
use super::stream;
use crate::logs::{self, Follower, is_log_name};
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Bytes of the log there are.
const LOG_SIZE: &str = "x-log-size";
/// Will nothing be added to it?
const LOG_COMPLETE: &str = "x-log-complete";
/// One answer lasts at most this long; a client that still listens comes back and goes on where it was.
const LONGEST: Duration = Duration::from_secs(3600);

/// Which part of a log is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// The attempt; the newest when it is not given.
    turn: Option<u32>,
    /// Bytes to skip.
    #[serde(default)]
    offset: u64,
    /// At most so many bytes.
    limit: Option<u64>,
}

/// A log, or a part of one.
#[utoipa::path(get, path = "/api/v1/jobs/{job}/logs/{name}", tag = "jobs",
    params(("job" = JobId, Path, description = "The job"), ("name" = String, Path, description = "`build.log`"), Part),
    responses((status = 200, body = String, content_type = "text/plain",
        headers(("x-log-size" = u64, description = "Its size now"),
                ("x-log-complete" = bool, description = "Will nothing be added to it?")))))]
pub(super) async fn read(
    State(hub): State<Hub>,
    Path((id, name)): Path<(JobId, String)>,
    Query(part): Query<Part>,
) -> Answer<Response> {
    let job = of_known_name(&hub, id, &name).await?;
    let turn = part.turn.unwrap_or(job.turn);
    // Asked before the size is: what is complete at this moment has all of its bytes.
    let complete = is_complete(&job, turn);
    let path = hub.log_path(id, turn, &name);
    let size = match logs::size(&path).await? {
        Some(size) => size,
        None if complete => return Err(Problem::not_found("log", &name)),
        None => 0,
    };
    let wanted = part.limit.unwrap_or(u64::MAX).min(size.saturating_sub(part.offset));
    let body = if wanted == 0 {
        Body::empty()
    } else {
        let mut file = tokio::fs::File::open(&path).await?;
        file.seek(std::io::SeekFrom::Start(part.offset)).await?;
        stream::body_of(file, wanted)
    };
    Response::builder()
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(header::CONTENT_LENGTH, wanted)
        .header(LOG_SIZE, size)
        .header(LOG_COMPLETE, complete.to_string())
        .body(body)
        .map_err(|error| Problem::Internal(error.into()))
}

/// A log while it grows, as server-sent events.
///
/// Each event's data are lines and its id is the byte after them; `Last-Event-ID` goes on there. When nothing will be
/// added any more an event named `end` comes.
#[utoipa::path(get, path = "/api/v1/jobs/{job}/logs/{name}/events", tag = "jobs",
    params(("job" = JobId, Path, description = "The job"), ("name" = String, Path, description = "`build.log`"), WhichTurn,
        ("last-event-id" = Option<u64>, Header, description = "The byte to go on at")),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(super) async fn events(
    State(hub): State<Hub>,
    Path((id, name)): Path<(JobId, String)>,
    Query(WhichTurn { turn }): Query<WhichTurn>,
    stopping: Option<Extension<Stopping>>,
    headers: HeaderMap,
) -> Answer<Response> {
    let job = of_known_name(&hub, id, &name).await?;
    let offset = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(0);
    let pinned = turn.is_some() || offset > 0;
    let turn = turn.unwrap_or(job.turn);
    let follower = Follower::new(hub.log_path(id, turn, &name), offset);
    let stopping = stopping.map(|Extension(stopping)| stopping);
    let events = follow(Watched { hub, id, turn, pinned, name, follower }, stopping);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// A log somebody follows.
struct Watched {
    hub: Hub,
    id: JobId,
    turn: u32,
    /// Is this very turn meant? Otherwise the newest is, until something of it was read.
    pinned: bool,
    name: String,
    follower: Follower,
}

fn follow(
    watched: Watched,
    stopping: Option<Stopping>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let over = async {
        match stopping {
            Some(mut stopping) => drop(tokio::time::timeout(LONGEST, stopping.wait()).await),
            None => tokio::time::sleep(LONGEST).await,
        }
    };
    futures_util::stream::unfold(Some(watched), move |watched| async move {
        let mut watched = watched?;
        let (event, goes_on) = watched
            .next()
            .await
            .inspect_err(|problem| tracing::error!(%problem, job = %watched.id, "a log cannot be followed"))
            .ok()?;
        Some((Ok(event), goes_on.then_some(watched)))
    })
    .take_until(Box::pin(over))
}

impl Watched {
    /// The next event, and whether others follow.
    async fn next(&mut self) -> Answer<(Event, bool)> {
        loop {
            // Asked before reading: a log that is complete now has all of its bytes.
            let job = jobs::find(&mut self.hub.db.read().await?, self.id).await?;
            let complete = self.look_at(&job);
            match self.follower.read(complete).await? {
                Some(lines) => {
                    self.pinned = true;
                    let text = lines.text.replace('\r', "\n");
                    return Ok((Event::default().id(lines.offset.to_string()).data(text), true));
                }
                None if complete => return Ok((Event::default().event("end").data("complete"), false)),
                None => self.follower.wait().await,
            }
        }
    }

    /// Is the log complete? Goes over to a newer turn where that is what the client wants.
    fn look_at(&mut self, job: &Job) -> bool {
        if self.pinned {
            return is_complete(job, self.turn);
        }
        if job.turn != self.turn {
            self.turn = job.turn;
            self.follower = Follower::new(self.hub.log_path(self.id, self.turn, &self.name), 0);
        }
        matches!(job.state, JobState::Done { .. })
    }
}

async fn of_known_name(hub: &Hub, id: JobId, name: &str) -> Answer<Job> {
    if !is_log_name(name) {
        return Err(Problem::not_found("log", name.chars().take(60).collect::<String>()));
    }
    jobs::find(&mut hub.db.glance().await?, id).await
}

/// Will nothing be added to the logs of this turn?
fn is_complete(job: &Job, turn: u32) -> bool {
    if turn != job.turn {
        return turn < job.turn;
    }
    match &job.state {
        JobState::Offered { .. } | JobState::Building { .. } | JobState::Stopping { .. } => false,
        JobState::Done { .. } => true,
        // The newest turn has ended without settling the job; before the first there is nothing yet.
        JobState::Waiting { .. } => turn > 0,
    }
}

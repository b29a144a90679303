//! One call: sent, judged by its answer, and sent again if that may help.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use farm::message::LEASE_OVER;
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use url::Url;

use super::{AttemptClient, ClientError};
use crate::attempt::{Key, Token};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a beat may take that renews a lease which has run out.
const BEAT: Duration = Duration::from_secs(10);
/// Bytes of a file's part that is sent in one piece.
const PIECE: usize = 256 * 1024;
/// Characters of the hub's own words that are passed on.
const QUOTE: usize = 300;

/// The one call whose conflict is an answer.
pub(super) const A_LOG: &str = "a log";

/// One call that failed: whether it makes sense to repeat it.
pub(super) enum Trouble {
    Repeat(String),
    /// The lease must be renewed first.
    LeaseOver,
    Final(ClientError),
}

/// One request, which can be sent again and again.
pub(super) struct Call<'a> {
    pub(super) what: &'a str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Payload<'a>,
    /// What the call shows: the attempt's token, or the builder's own secret.
    pub(super) bearer: &'a Token,
}

pub(super) enum Payload<'a> {
    Nothing,
    Json(serde_json::Value),
    Bytes(&'a [u8]),
    Slice(Slice<'a>),
}

/// Part of a file on the builder's disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice<'a> {
    pub(crate) file: &'a Path,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl AttemptClient {
    /// Repeats the call until it is answered for good, or the attempt is lost.
    pub(super) async fn insist(&self, call: Call<'_>) -> Result<Response, ClientError> {
        let mut pause = FIRST_PAUSE;
        let calls = async {
            loop {
                match judge(call.what, self.request(&call).await?.send().await).await {
                    Ok(response) => return Ok(response),
                    Err(Trouble::Final(error)) => return Err(error),
                    Err(Trouble::LeaseOver) => {
                        let Key { job, turn } = self.key;
                        tracing::info!(%job, turn, what = call.what, "the lease has run out; renewing it");
                        self.beat(BEAT).await?;
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                    Err(Trouble::Repeat(why)) => {
                        let Key { job, turn } = self.key;
                        tracing::info!(%job, turn, what = call.what, why, "the hub did not answer; trying again");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        };
        tokio::select! {
            () = self.lost.cancelled() => Err(ClientError::Lost),
            answer = calls => answer,
        }
    }

    async fn request(&self, call: &Call<'_>) -> Result<RequestBuilder, ClientError> {
        let request = self.hub.http.request(call.method.clone(), call.url.clone());
        let request = request.bearer_auth(call.bearer.as_str());
        Ok(match &call.body {
            Payload::Nothing => request,
            Payload::Json(value) => request.json(value),
            Payload::Bytes(bytes) => request.body(bytes.to_vec()),
            Payload::Slice(slice) => {
                let disk = |source| ClientError::Disk { what: call.what.to_owned(), source };
                let body = slice.body().await.map_err(disk)?;
                request.header(reqwest::header::CONTENT_LENGTH, slice.size).body(body)
            }
        })
    }
}

impl Slice<'_> {
    async fn body(&self) -> io::Result<Body> {
        let file = File::open(self.file)?;
        match usize::try_from(self.size) {
            Ok(size) if size <= PIECE => {
                let mut piece = vec![0; size];
                file.read_exact_at(&mut piece, self.offset)?;
                Ok(piece.into())
            }
            Ok(_) | Err(_) => {
                let mut file = tokio::fs::File::from_std(file);
                file.seek(io::SeekFrom::Start(self.offset)).await?;
                Ok(Body::wrap_stream(ReaderStream::with_capacity(file.take(self.size), PIECE)))
            }
        }
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> Payload<'static> {
    // These types have no maps with strange keys, the only thing that cannot be JSON.
    Payload::Json(serde_json::to_value(value).unwrap_or_default())
}

/// What an answer means: done, again, or never.
pub(super) async fn judge(what: &str, answer: Result<Response, reqwest::Error>) -> Result<Response, Trouble> {
    let response = answer.map_err(|error| Trouble::Repeat(error.to_string()))?;
    let status = response.status();
    match status {
        _ if status.is_success() => Ok(response),
        // A log's conflict says how much of it the hub has, and is an answer.
        StatusCode::CONFLICT if what == A_LOG => Ok(response),
        StatusCode::CONFLICT | StatusCode::UNAUTHORIZED | StatusCode::GONE => {
            Err(Trouble::Final(ClientError::Lost))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(Trouble::Repeat(status.to_string()))
        }
        _ if status.is_server_error() => {
            let body = response.text().await.unwrap_or_default();
            let over = field(&body, "type").is_some_and(|kind| kind.ends_with(LEASE_OVER));
            Err(if over { Trouble::LeaseOver } else { Trouble::Repeat(status.to_string()) })
        }
        _ => {
            let why = explanation(&response.text().await.unwrap_or_default());
            let why = if why.is_empty() { status.to_string() } else { why };
            Err(Trouble::Final(ClientError::Refused { what: what.to_owned(), status, why }))
        }
    }
}

/// The sentence in a problem document (RFC 9457) and what to do, or the body itself.
pub(super) fn explanation(body: &str) -> String {
    let said = field(body, "detail").or_else(|| field(body, "title"));
    let said = said.as_deref().unwrap_or(body).trim();
    let fix = field(body, "fix").map(|fix| format!("; {fix}")).unwrap_or_default();
    said.chars().chain(fix.chars()).take(QUOTE).collect()
}

/// A field of a problem document.
fn field(body: &str, name: &str) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_str(body).ok()?;
    problem.get(name)?.as_str().map(str::to_owned)
}

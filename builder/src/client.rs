//! The hub's attempts API, from the builder's side.
//!
//! Every call may be repeated and is, until it succeeds, is refused, or the attempt is lost. The beat alone decides
//! when an unreachable hub means a lost attempt.

use std::io;
use std::path::Path;
use std::time::Duration;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::ids::SnapshotId;
use farm::message::{Claim, Finish, Lease, LogSize, Manifest, Offer};
use farm::outcome::Outcome;
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::attempt::{Key, Token};

const CONNECT: Duration = Duration::from_secs(10);
/// A hub that says nothing for this long has forgotten the call.
const SILENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Characters of the hub's own words that are passed on.
const QUOTE: usize = 300;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The attempt is no longer this builder's, or the hub has been out of reach for too long.
    #[error("the attempt is no longer ours")]
    Lost,
    /// The hub will not have it, however often it is asked.
    #[error("the hub refused {what}: {why}")]
    Refused { what: String, status: StatusCode, why: String },
    /// The builder's own disk.
    #[error("cannot read {what}: {source}")]
    Disk { what: String, source: io::Error },
}

/// The one call whose conflict is an answer.
const A_LOG: &str = "a log";

/// One call that failed: whether it makes sense to repeat it.
enum Trouble {
    Repeat(String),
    Final(ClientError),
}

/// One request, which can be sent again and again.
struct Call<'a> {
    what: &'a str,
    method: Method,
    url: Url,
    body: Payload<'a>,
}

enum Payload<'a> {
    Nothing,
    Json(serde_json::Value),
    Bytes(&'a [u8]),
    Slice(Slice<'a>),
}

/// Where the hub is; made once.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    http: reqwest::Client,
    base: Url,
}

/// One attempt's calls; clones share them.
#[derive(Clone)]
pub(crate) struct AttemptClient {
    http: reqwest::Client,
    base: Url,
    key: Key,
    token: Token,
    lost: CancellationToken,
}

/// Part of a file on the builder's disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice<'a> {
    pub(crate) file: &'a Path,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl Hub {
    pub(crate) fn new(base: Url) -> Result<Self, reqwest::Error> {
        // Whoever starts the process may have chosen a provider before; then that one stays.
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE).build()?;
        Ok(Self { http, base })
    }

    pub(crate) fn attempt(&self, key: Key, token: Token, lost: CancellationToken) -> AttemptClient {
        AttemptClient { http: self.http.clone(), base: self.base.clone(), key, token, lost }
    }
}

impl AttemptClient {
    /// Takes up the offer. Repeatable, because the token proves that it is the same builder that asks.
    pub(crate) async fn claim(&self, offer: &Offer, builder: &str) -> Result<Lease, ClientError> {
        let claim = Claim {
            ticket: offer.ticket.clone(),
            builder: builder.to_owned(),
            token_digest: self.token.digest(),
        };
        let response = self.post("the claim", self.url(&["claim"], &[]), json(&claim)).await?;
        self.understand("the claim", response).await
    }

    /// Tells the hub that the attempt is alive. One try, bounded in time; `None` is a hub out of reach.
    pub(crate) async fn beat(&self, within: Duration) -> Result<Option<Lease>, ClientError> {
        let url = self.url(&["beat"], &[]);
        let request = self.http.post(url).bearer_auth(self.token.as_str()).timeout(within);
        match judge("the beat", request.send().await).await {
            Ok(response) => Ok(response.json().await.ok()),
            Err(Trouble::Repeat(_)) => Ok(None),
            Err(Trouble::Final(error)) => Err(error),
        }
    }

    /// Fetches an input. The body is the caller's to check.
    pub(crate) async fn input(&self, digest: &Digest) -> Result<Response, ClientError> {
        self.get("an input", self.url(&["inputs", digest.as_str()], &[])).await
    }

    /// Asks what a snapshot consists of.
    pub(crate) async fn manifest(&self, snapshot: SnapshotId, arch: Arch) -> Result<Manifest, ClientError> {
        let url = self.url(&["snapshots", &snapshot.to_string()], &[("arch", arch.as_str())]);
        let response = self.get("a repo's manifest", url).await?;
        self.understand("a repo's manifest", response).await
    }

    /// Fetches a file of a snapshot. The body is the caller's to check.
    pub(crate) async fn snapshot_file(
        &self,
        snapshot: SnapshotId,
        arch: Arch,
        path: &str,
    ) -> Result<Response, ClientError> {
        let snapshot = snapshot.to_string();
        let segments: Vec<&str> =
            ["snapshots", &snapshot, "files"].into_iter().chain(path.split('/')).collect();
        self.get("a repo's file", self.url(&segments, &[("arch", arch.as_str())])).await
    }

    /// Appends to a log at `offset`; the answer is the size the hub has now, which may be another than expected.
    pub(crate) async fn log(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<LogSize, ClientError> {
        let url = self.url(&["logs", name], &[("offset", &offset.to_string())]);
        let response = self.post(A_LOG, url, Payload::Bytes(bytes)).await?;
        self.understand(A_LOG, response).await
    }

    /// Uploads a file.
    pub(crate) async fn file(
        &self,
        name: &str,
        digest: &Digest,
        content: Slice<'_>,
    ) -> Result<(), ClientError> {
        let url = self.url(&["files", name], &[("digest", digest.as_str())]);
        let what = format!("the file {name}");
        let call = Call { what: &what, method: Method::PUT, url, body: Payload::Slice(content) };
        self.insist(call).await.map(drop)
    }

    /// Reports the end; every log and file must be uploaded by then.
    pub(crate) async fn finish(&self, outcome: &Outcome) -> Result<(), ClientError> {
        let finish = Finish { outcome: outcome.clone() };
        let url = self.url(&["finish"], &[]);
        self.post("the end of the attempt", url, json(&finish)).await.map(drop)
    }

    async fn get(&self, what: &str, url: Url) -> Result<Response, ClientError> {
        self.insist(Call { what, method: Method::GET, url, body: Payload::Nothing }).await
    }

    async fn post(&self, what: &str, url: Url, body: Payload<'_>) -> Result<Response, ClientError> {
        self.insist(Call { what, method: Method::POST, url, body }).await
    }

    /// Repeats the call until it is answered for good, or the attempt is lost.
    async fn insist(&self, call: Call<'_>) -> Result<Response, ClientError> {
        let mut pause = FIRST_PAUSE;
        let calls = async {
            loop {
                match judge(call.what, self.request(&call).await?.send().await).await {
                    Ok(response) => return Ok(response),
                    Err(Trouble::Final(error)) => return Err(error),
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
        // The claim carries the token too, whose digest is all the hub looks at.
        let request =
            self.http.request(call.method.clone(), call.url.clone()).bearer_auth(self.token.as_str());
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

    async fn understand<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        response: Response,
    ) -> Result<T, ClientError> {
        let status = response.status();
        response.json().await.map_err(|error| ClientError::Refused {
            what: what.to_owned(),
            status,
            why: format!("its answer is not understood: {error}"),
        })
    }

    fn url(&self, segments: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            let (job, turn) = (self.key.job.to_string(), self.key.turn.to_string());
            path.pop_if_empty().extend(["api", "v1", "attempts", &job, &turn]).extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

impl Slice<'_> {
    async fn body(&self) -> io::Result<Body> {
        let mut file = tokio::fs::File::open(self.file).await?;
        file.seek(io::SeekFrom::Start(self.offset)).await?;
        Ok(Body::wrap_stream(ReaderStream::with_capacity(file.take(self.size), 256 * 1024)))
    }
}

fn json(value: &impl serde::Serialize) -> Payload<'static> {
    // These types have no maps with strange keys, the only thing that cannot be JSON.
    Payload::Json(serde_json::to_value(value).unwrap_or_default())
}

/// What an answer means: done, again, or never.
async fn judge(what: &str, answer: Result<Response, reqwest::Error>) -> Result<Response, Trouble> {
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
        _ if status.is_server_error() => Err(Trouble::Repeat(status.to_string())),
        _ => {
            let why = explanation(&response.text().await.unwrap_or_default());
            let why = if why.is_empty() { status.to_string() } else { why };
            Err(Trouble::Final(ClientError::Refused { what: what.to_owned(), status, why }))
        }
    }
}

/// The sentence in a problem document (RFC 9457), or the body itself.
fn explanation(body: &str) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let field = |name| problem.as_ref()?.get(name)?.as_str();
    field("detail").or_else(|| field("title")).unwrap_or(body).trim().chars().take(QUOTE).collect()
}

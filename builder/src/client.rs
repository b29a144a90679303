//! The hub's API, from the builder's side: the builder's own calls, and those about an attempt.
//!
//! Every call about an attempt may be repeated and is, until it succeeds, is refused, or the attempt is lost. The beat alone decides
//! when an unreachable hub means a lost attempt.

mod call;

use std::io;
use std::time::Duration;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::ids::SnapshotId;
use farm::message::{Claim, Enrol, Enrolled, Finish, Lease, LogSize, Manifest, Offer, Presence, Welcome};
use farm::outcome::Outcome;
use farm::stamp::Stamp;
use reqwest::{Method, Response, StatusCode};
use tokio_util::sync::CancellationToken;
use url::Url;

use call::{A_LOG, Call, Payload, Trouble, explanation, json, judge};

pub(crate) use call::Slice;

use crate::attempt::{Key, Token};

const CONNECT: Duration = Duration::from_secs(10);
/// A hub that says nothing for this long has forgotten the call.
const SILENCE: Duration = Duration::from_secs(60);
/// How often a file that arrives damaged is sent again.
const UPLOADS: u32 = 3;

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

/// Why the hub did not take a builder's word.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwelcome {
    /// It cannot be reached, or fails itself.
    #[error("{0}")]
    Away(String),
    /// It does not want to.
    #[error("{why}")]
    Refused { why: String },
}

/// Where the hub is, and the builder's own secret; made once.
#[derive(Clone)]
pub(crate) struct Hub {
    http: reqwest::Client,
    base: Url,
    secret: Token,
}

/// One attempt's calls; clones share them.
#[derive(Clone)]
pub(crate) struct AttemptClient {
    hub: Hub,
    key: Key,
    token: Token,
    lost: CancellationToken,
}

impl Hub {
    pub(crate) fn new(base: Url, secret: Token) -> Result<Self, reqwest::Error> {
        // Whoever starts the process may have chosen a provider before; then that one stays.
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE).build()?;
        Ok(Self { http, base, secret })
    }

    pub(crate) fn attempt(&self, key: Key, token: Token, lost: CancellationToken) -> AttemptClient {
        AttemptClient { hub: self.clone(), key, token, lost }
    }

    /// Tells what the builder has. One try.
    pub(crate) async fn presence(&self, presence: &Presence) -> Result<Welcome, Unwelcome> {
        let url = self.url(&["builders", &presence.builder, "presence"]);
        told("a presence", self.http.post(url).bearer_auth(self.secret.as_str()).json(presence)).await
    }

    /// Joins the farm with a one-time token. One try; the token may be shown again with the same secret.
    pub(crate) async fn enrol(&self, token: &str) -> Result<Enrolled, Unwelcome> {
        let enrol = Enrol { token: token.to_owned(), secret: self.secret.as_str().to_owned() };
        told("an enrolment", self.http.post(self.url(&["builders", "enrol"])).json(&enrol)).await
    }

    /// What speaks to others than the hub, and shows them no secret.
    pub(crate) fn outside(&self) -> &reqwest::Client {
        &self.http
    }

    /// An address of the API.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        url
    }
}

async fn told<T: serde::de::DeserializeOwned>(
    what: &str,
    request: reqwest::RequestBuilder,
) -> Result<T, Unwelcome> {
    let response = request.send().await.map_err(|error| Unwelcome::Away(error.to_string()))?;
    let status = response.status();
    if status.is_success() {
        let unclear = |error| Unwelcome::Away(format!("its answer to {what} is not understood: {error}"));
        return response.json().await.map_err(unclear);
    }
    let why = explanation(&response.text().await.unwrap_or_default());
    let why = if why.is_empty() { status.to_string() } else { why };
    let passes = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    Err(if passes || status.is_server_error() { Unwelcome::Away(why) } else { Unwelcome::Refused { why } })
}

impl AttemptClient {
    /// Takes up the offer. Repeatable, because the token proves that it is the same builder that asks.
    pub(crate) async fn claim(
        &self,
        offer: &Offer,
        builder: &str,
        born: Stamp,
    ) -> Result<Lease, ClientError> {
        let claim = Claim {
            ticket: offer.ticket.clone(),
            builder: builder.to_owned(),
            token_digest: self.token.digest(),
            born,
        };
        let call = Call {
            what: "the claim",
            method: Method::POST,
            url: self.url(&["claim"], &[]),
            body: json(&claim),
            bearer: &self.hub.secret,
        };
        let response = self.insist(call).await?;
        self.understand("the claim", response).await
    }

    /// Tells the hub that the attempt is alive. One try, bounded in time; `None` is a hub out of reach.
    pub(crate) async fn beat(&self, within: Duration) -> Result<Option<Lease>, ClientError> {
        let url = self.url(&["beat"], &[]);
        let request = self.hub.http.post(url).bearer_auth(self.token.as_str()).timeout(within);
        match judge("the beat", request.send().await).await {
            Ok(response) => Ok(response.json().await.ok()),
            Err(Trouble::Repeat(_) | Trouble::LeaseOver) => Ok(None),
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
        let conflict = response.status() == StatusCode::CONFLICT;
        match self.understand(A_LOG, response).await {
            // The other kind of conflict: not the size is another, the whole attempt is over.
            Err(ClientError::Refused { .. }) if conflict => Err(ClientError::Lost),
            answer => answer,
        }
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
        let mut damaged = 0;
        loop {
            let body = Payload::Slice(content);
            let call = Call { what: &what, method: Method::PUT, url: url.clone(), body, bearer: &self.token };
            match self.insist(call).await {
                // What arrived was not what was sent.
                Err(ClientError::Refused { status: StatusCode::UNPROCESSABLE_ENTITY, .. })
                    if damaged < UPLOADS =>
                {
                    damaged += 1;
                }
                answer => return answer.map(drop),
            }
        }
    }

    /// Reports the end; every log and file must be uploaded by then.
    pub(crate) async fn finish(&self, outcome: &Outcome) -> Result<(), ClientError> {
        let finish = Finish { outcome: outcome.clone() };
        let url = self.url(&["finish"], &[]);
        self.post("the end of the attempt", url, json(&finish)).await.map(drop)
    }

    async fn get(&self, what: &str, url: Url) -> Result<Response, ClientError> {
        self.insist(Call { what, method: Method::GET, url, body: Payload::Nothing, bearer: &self.token })
            .await
    }

    async fn post(&self, what: &str, url: Url, body: Payload<'_>) -> Result<Response, ClientError> {
        self.insist(Call { what, method: Method::POST, url, body, bearer: &self.token }).await
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
        let (job, turn) = (self.key.job.to_string(), self.key.turn.to_string());
        let mut url = self.hub.url(&[&["attempts", &*job, &*turn], segments].concat());
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

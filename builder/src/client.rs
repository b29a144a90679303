//! The hub's attempts API, from the builder's side.
//!
//! Every call may be repeated and is, until it succeeds, is refused, or the attempt is lost. The beat alone decides
//! when an unreachable hub means a lost attempt.

mod call;

use std::io;
use std::time::Duration;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::ids::SnapshotId;
use farm::message::{Claim, Finish, Lease, LogSize, Manifest, Offer};
use farm::outcome::Outcome;
use reqwest::{Method, Response, StatusCode};
use tokio_util::sync::CancellationToken;
use url::Url;

use call::{A_LOG, Call, Payload, Trouble, json, judge};

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
            let call = Call { what: &what, method: Method::PUT, url: url.clone(), body };
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
        self.insist(Call { what, method: Method::GET, url, body: Payload::Nothing }).await
    }

    async fn post(&self, what: &str, url: Url, body: Payload<'_>) -> Result<Response, ClientError> {
        self.insist(Call { what, method: Method::POST, url, body }).await
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

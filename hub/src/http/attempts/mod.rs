//! What a builder does with its attempt: claim it, beat, fetch, upload, finish. Each verb is fenced by the turn in its
//! address and the token it shows, and may be repeated.

pub(super) mod claim;
pub(super) mod fetch;
pub(super) mod files;
pub(super) mod logs;
pub(super) mod snapshots;
pub(super) mod step;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use farm::digest::Digest;
use farm::ids::JobId;
use farm::job::Job;
use farm::ledger::Tx;
use serde::Deserialize;

use super::auth::token_of;
use super::extract::Path;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// The attempt an address names.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Turn {
    /// The job.
    pub(super) job: JobId,
    /// The turn.
    pub(super) turn: u32,
}

/// The job's current attempt, by the builder that has it and was heard in time: nobody else gets one.
pub(super) struct Attempt {
    /// The job.
    pub(super) job: Job,
    /// The turn.
    pub(super) turn: u32,
    /// Digest of the token.
    pub(super) token: Digest,
}

impl Attempt {
    /// Refuses if the attempt has ended since it was let in: to be asked in the transaction that writes.
    pub(super) async fn must_be_current(&self, tx: &mut Tx) -> Answer<()> {
        match tx.job(self.job.id).await? {
            Some(job) if job.admits(self.turn, &self.token) => Ok(()),
            Some(_) | None => Err(Problem::Stale),
        }
    }
}

/// Digest of the token a builder shows.
pub(super) fn token_digest(parts: &Parts) -> Answer<Digest> {
    token_of(&parts.headers).map(|token| Digest::of(token.as_bytes())).ok_or(Problem::Unauthenticated)
}

impl FromRequestParts<Hub> for Attempt {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Answer<Self> {
        let token = token_digest(parts)?;
        let Path(Turn { job: id, turn }) = Path::from_request_parts(parts, hub).await?;
        let job = super::jobs::find(&mut hub.db.glance().await?, id).await?;
        if !job.admits(turn, &token) {
            return Err(Problem::Stale);
        }
        if job.is_overdue(hub.now()) {
            return Err(Problem::LeaseOver);
        }
        Ok(Attempt { job, turn, token })
    }
}

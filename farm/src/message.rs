//! What the roles say to each other: over the bus (hurry-ups, which may be lost, doubled or late) and in the HTTP
//! calls a builder makes about its attempt (each answered from the ledger, each safe to repeat).

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::digest::Digest;
use crate::ids::{JobId, SnapshotId};
use crate::outcome::Outcome;
use crate::recipe::Recipe;
use crate::stamp::Stamp;

/// Scheduler to one builder: here is work for your free slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The job.
    pub job: JobId,
    /// The turn this offer opened.
    pub turn: u32,
    /// The secret that claims it: 64 hexadecimal digits. The ledger keeps only its digest.
    pub ticket: String,
    /// After this it is no use to claim.
    pub until: Stamp,
    /// What to do.
    pub recipe: Recipe,
}

/// Scheduler to all builders: whoever has this turn, stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The job.
    pub job: JobId,
    /// The turn.
    pub turn: u32,
}

/// Builder to scheduler: I am here, and this is what I have. Sent at start, every few seconds, and when a slot falls free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The builder's name.
    pub builder: String,
    /// What it runs.
    pub arches: Vec<Arch>,
    /// How many jobs it takes at once.
    pub slots: u32,
    /// The attempts it has now.
    pub running: Vec<(JobId, u32)>,
    /// It takes nothing new and leaves when the last attempt ends.
    pub draining: bool,
}

/// Builder to hub, `POST /api/v1/attempts/{job}/{turn}/claim`: I take up the offer. Repeatable with the same token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Claim {
    /// The offer's ticket.
    pub ticket: String,
    /// The builder's name.
    pub builder: String,
    /// SHA-256 of the token the builder made for this attempt and will send as `Authorization: Bearer`.
    pub token_digest: Digest,
}

/// Hub to builder, in answer to a claim or a beat (`POST …/beat`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Lease {
    /// Milliseconds after which the attempt counts as lost unless it beats before.
    pub lease_ms: u64,
    /// The job was cancelled: stop, then finish with [`Outcome::Cancelled`].
    pub stop: bool,
}

/// Builder to hub, `POST …/finish`: the attempt is over; every log and file is already uploaded. Repeatable.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Finish {
    /// What came of it.
    pub outcome: Outcome,
}

/// Hub to builder, `GET …/snapshots/{id}`: what a snapshot's repo for one architecture consists of.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Manifest {
    /// The snapshot.
    pub id: SnapshotId,
    /// Every file below the architecture's folder: `repodata/repomd.xml`, `Packages/h/hello-….rpm`, …
    /// Each is at `GET …/snapshots/{id}/{path}`.
    pub files: Vec<ManifestFile>,
}

/// One file of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ManifestFile {
    /// Its path below the architecture's folder.
    pub path: String,
    /// Its SHA-256.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Hub to builder, in answer to `POST …/logs/{name}?offset=N`: how much of the log the hub has. Code 409 with the same
/// body means that N was not the size the hub had; go on from there.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogSize {
    /// Bytes.
    pub size: u64,
}

/// Git hook to hub, `POST /api/v1/pushes`: these branches moved. Repeatable: a commit of a branch is taken in once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PushReport {
    /// The repo: its path on the farm's own git server (`rpms/hello`), or the clone URL of a repo on another server.
    pub repo: String,
    /// Who pushed.
    pub pusher: String,
    /// The branches, without `refs/heads/`.
    pub updates: Vec<BranchUpdate>,
}

/// One branch of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BranchUpdate {
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// The full commit id it had; all zeros when it is new.
    pub old: String,
    /// The full commit id it has now.
    pub new: String,
}

/// Hub to git hook: what to tell the person who pushed, one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PushAnswer {
    /// Such as `build hello queued: http://…`.
    pub lines: Vec<String>,
}

/// Hub to git hook, `GET /api/v1/git/policy`: everything the update hook decides by. The hub also writes it to a file
/// beside the repos it serves itself, so that a push is judged even while the hub is down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Policy {
    /// Every applied SIG.
    pub community: crate::sig::Community,
    /// People who may push everywhere.
    pub admins: Vec<String>,
}

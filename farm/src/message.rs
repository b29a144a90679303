//! What the roles say to each other: over the bus (hurry-ups, which may be lost, doubled or late) and in the HTTP
//! calls a builder makes about its attempt (each answered from the ledger, each safe to repeat).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::builder::Wish;
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

/// The code of the problem by which the hub answers an attempt that it has not heard of for too long, and that may still renew
/// its lease: beat, then ask again.
pub const LEASE_OVER: &str = "lease-over";

/// Builder to hub, `POST /api/v1/builders/{name}/presence` with the builder's own secret: I am here, and this is what I
/// have. Sent at start, every few seconds, and when it begins to drain. Repeatable; what was said earlier, by `born` and `count`,
/// changes nothing when it arrives later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Presence {
    /// The builder's name.
    pub builder: String,
    /// When this life of the builder began, by its own clock. A later life knows nothing of the attempts of an earlier one.
    pub born: Stamp,
    /// How many this life of the builder has sent before this one.
    #[serde(default)]
    pub count: u64,
    /// The time by the builder's clock as this was sent.
    pub clock: Stamp,
    /// The program's version.
    pub version: String,
    /// What it runs natively.
    pub arches: Vec<Arch>,
    /// What it runs under qemu-user emulation besides.
    pub emulated: Vec<Arch>,
    /// How many jobs it takes at once.
    pub slots: u32,
    /// MiB of memory all its jobs together may use.
    pub memory_mb: u64,
    /// MiB of disk all its jobs together may use.
    pub disk_mb: u64,
    /// What its operator says of it (`ssd`, `big`); a target may ask for labels.
    pub labels: BTreeSet<String>,
    /// The attempts it has now.
    pub running: Vec<(JobId, u32)>,
    /// It takes nothing new and leaves when the last attempt ends.
    pub draining: bool,
}

/// Hub to builder, in answer to a presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Welcome {
    /// What the farm's operators want of the builder.
    pub wish: Wish,
    /// The time by the hub's clock.
    pub clock: Stamp,
}

/// Builder to hub, `POST /api/v1/builders/enrol`: a new builder shows its one-time token and learns its own secret.
/// Repeatable with the same key for as long as the builder has not reported: an answer may be lost.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// The token an admin made for it.
    pub token: String,
    /// The secret the builder made for itself, 64 hexadecimal digits; the hub keeps only its digest.
    pub secret: String,
}

/// Hub to builder, in answer to an enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Enrolled {
    /// What the builder is called from now on: the token was made for this name.
    pub builder: String,
}

/// Builder to hub, `POST /api/v1/attempts/{job}/{turn}/claim`: I take up the offer. Repeatable with the same token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Claim {
    /// The offer's ticket.
    pub ticket: String,
    /// The builder's name: the one whose secret the call shows as `Authorization: Bearer`.
    pub builder: String,
    /// When this life of the builder began, as in [`Presence::born`].
    #[serde(default)]
    pub born: Stamp,
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
    /// Every file below the architecture's folder: `repodata/repomd.xml`, `Packages/h/0123456789abcdef/hello-….rpm`, …
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

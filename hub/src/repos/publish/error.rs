//! Why nothing was published, as sentences.

use std::path::PathBuf;

use farm::ids::SnapshotId;

use crate::artifacts::ArtifactError;
use crate::files::FileError;
use crate::repos::manifest::ManifestError;

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The approval is for another repo.
    #[error("the approval is for {approved}, not for {tag}")]
    WrongTag {
        /// What was approved.
        approved: String,
        /// What was to be published.
        tag: String,
    },
    /// A tag of the wrong stage for this tree.
    #[error("{tag} is not a candidate tag; other repos are published with the gate's approval")]
    NotCandidate {
        /// The tag.
        tag: String,
    },
    /// Something else is live than what the snapshot was composed on.
    #[error("{tag} is at {live} by now, not at {base}; compose the snapshot again")]
    Moved {
        /// The tag.
        tag: String,
        /// What the snapshot was composed on.
        base: String,
        /// What is live.
        live: String,
    },
    /// A snapshot of another tag.
    #[error("snapshot {id} was brought in for `{of}`, so {tag} does not show it")]
    Foreign {
        /// The snapshot.
        id: SnapshotId,
        /// What was to show it.
        tag: String,
        /// What it was approved for.
        of: String,
    },
    /// The snapshot is neither staged nor in the tree.
    #[error("snapshot {0} is not composed")]
    NotComposed(SnapshotId),
    /// A live snapshot is not removed.
    #[error("snapshot {id} is live as {tag}")]
    Live {
        /// The snapshot.
        id: SnapshotId,
        /// A repo it is live in.
        tag: String,
    },
    /// A package cannot be put where users download it.
    #[error("{} cannot be published: {why}", path.display())]
    Artifact {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        why: ArtifactError,
    },
    /// The list of what a snapshot has cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] FileError),
}

//! What a SIG publishes beside its packages: groups, advisories and module streams, as files of a git repo.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Bytes that one such file may have.
pub const LARGEST: u64 = 16 << 20;

/// What may stand beside packages in a repo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ExtraKind {
    /// Groups of packages (`comps.xml`).
    Group,
    /// Advisories (`updateinfo.xml`).
    Updateinfo,
    /// Module streams (`modules.yaml`).
    Modules,
}

/// One such file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Extra {
    /// What it is.
    pub kind: ExtraKind,
    /// SHA-256 of the file as it was read, under which the artifact store keeps it. In a repo it is compressed.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The files of one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Extras {
    /// The git repo they were read from: `metadata/storage`.
    pub repo: String,
    /// The commit, in full.
    pub commit: String,
    /// The files, in the order of kinds, each kind at most once; none when the commit has none.
    pub files: Vec<Extra>,
}

impl ExtraKind {
    /// All of them, in their order.
    pub const ALL: [ExtraKind; 3] = [ExtraKind::Group, ExtraKind::Updateinfo, ExtraKind::Modules];

    /// The name of its type in `repomd.xml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ExtraKind::Group => "group",
            ExtraKind::Updateinfo => "updateinfo",
            ExtraKind::Modules => "modules",
        }
    }

    /// What the file is called.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            ExtraKind::Group => "comps.xml",
            ExtraKind::Updateinfo => "updateinfo.xml",
            ExtraKind::Modules => "modules.yaml",
        }
    }
}

impl fmt::Display for ExtraKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Extras {
    /// Where they are from, for people: `metadata/storage at 1234abcd`.
    #[must_use]
    pub fn at(&self) -> String {
        at(&self.repo, &self.commit)
    }
}

/// A commit of a repo, for people: `metadata/storage at 1234abcd`.
#[must_use]
pub fn at(repo: &str, commit: &str) -> String {
    /// Digits by which people know a commit.
    const SHORT: usize = 8;
    format!("{repo} at {}", commit.get(..SHORT).unwrap_or(commit))
}

/// The files, whichever commit they are of; none where there are no extras at all.
#[must_use]
pub fn files(extras: Option<&Extras>) -> &[Extra] {
    extras.map(|extras| extras.files.as_slice()).unwrap_or_default()
}

/// Are these the same files, whichever commit they are of?
#[must_use]
pub fn same_files(one: Option<&Extras>, other: Option<&Extras>) -> bool {
    files(one) == files(other)
}

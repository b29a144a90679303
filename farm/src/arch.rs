//! The machine architectures Grange builds for, under the names rpm gives them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An architecture a builder can have and a target can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[allow(missing_docs, reason = "the variants are the architectures' own names")]
pub enum Arch {
    #[serde(rename = "x86_64")]
    X86_64,
    #[serde(rename = "aarch64")]
    Aarch64,
    #[serde(rename = "ppc64le")]
    Ppc64le,
    #[serde(rename = "s390x")]
    S390x,
}

impl Arch {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Arch; 4] = [Arch::X86_64, Arch::Aarch64, Arch::Ppc64le, Arch::S390x];

    /// The name rpm, dnf and `uname -m` use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
            Arch::Ppc64le => "ppc64le",
            Arch::S390x => "s390x",
        }
    }

    /// The architecture this program was compiled for, if Grange builds for it.
    #[must_use]
    pub fn native() -> Option<Arch> {
        match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => Some(Arch::Ppc64le),
            name => name.parse().ok(),
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that is none of the four architectures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an architecture Grange builds for; they are x86_64, aarch64, ppc64le and s390x")]
pub struct UnknownArch(pub String);

impl FromStr for Arch {
    type Err = UnknownArch;
    fn from_str(text: &str) -> Result<Self, UnknownArch> {
        Arch::ALL.into_iter().find(|arch| arch.as_str() == text).ok_or_else(|| UnknownArch(text.to_owned()))
    }
}

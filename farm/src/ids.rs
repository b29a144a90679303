//! Identities of the farm's things: ULIDs in newtypes, so that a job can never be asked for by a build's id.
//!
//! Nothing here reads a clock or a random source: a [`Minter`] is seeded by its process (production from the
//! operating system, a simulation from its seed) and told the time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::stamp::Stamp;

/// What every id type can do, so that [`Minter::mint`] can make any of them.
pub trait Id: Sized {
    /// Wraps a ULID.
    fn from_ulid(ulid: ulid::Ulid) -> Self;
}

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id: expected 26 characters of Crockford base 32")]
pub struct BadId {
    kind: &'static str,
    text: String,
}

macro_rules! id {
    ($name:ident, $kind:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(ulid::Ulid);

        impl $name {
            /// When it was minted.
            #[must_use]
            pub fn minted(&self) -> Stamp {
                Stamp::from_millis(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
            }
        }

        impl Id for $name {
            fn from_ulid(ulid: ulid::Ulid) -> Self {
                Self(ulid)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($kind, ":{}"), self.0)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                ulid::Ulid::from_string(text)
                    .map(Self)
                    .map_err(|_| BadId { kind: $kind, text: text.chars().take(64).collect() })
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
        #[cfg(feature = "schema")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                String::schema()
            }
        }
        #[cfg(feature = "schema")]
        impl utoipa::ToSchema for $name {}
    };
}

id!(
    RequestId,
    "request",
    "Names one request: what a person or a push asked for. Users call it the build's id."
);
id!(JobId, "job", "Names one job: one container's worth of work.");
id!(BuildId, "build", "Names one imported build: a package's RPMs on all its architectures.");
id!(SnapshotId, "snapshot", "Names one immutable content of a repo.");
id!(PromotionId, "promotion", "Names one promotion: a set of builds moving together into a repo.");
id!(ChainId, "chain", "Names one chain: requests that were asked for together and order themselves.");
id!(EventId, "event", "Names one change of state, as it is told to the outside.");
id!(PersonId, "person", "Names one person.");
id!(WaiverId, "waiver", "Names one waiver: a release manager's word in place of a test's result.");

/// Makes ids that are unique across processes: the time in milliseconds, then 80 bits from a SplitMix64 stream.
#[derive(Debug, Clone)]
pub struct Minter {
    state: u64,
}

impl Minter {
    /// Starts a stream. Two processes must not share a seed; a simulation gives a fixed one to be repeatable.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A fresh id of the type the caller expects.
    pub fn mint<T: Id>(&mut self, now: Stamp) -> T {
        let random = (u128::from(self.next()) << 64) | u128::from(self.next());
        T::from_ulid(ulid::Ulid::from_parts(now.millis().unsigned_abs(), random))
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_sorts_by_time() {
        let mut minter = Minter::new(7);
        let first: JobId = minter.mint(Stamp::from_millis(1_000));
        let second: JobId = minter.mint(Stamp::from_millis(2_000));
        assert_eq!(first.to_string().parse::<JobId>(), Ok(first));
        assert!(first < second);
        assert_eq!(second.minted(), Stamp::from_millis(2_000));
        assert!("nonsense".parse::<JobId>().unwrap_err().to_string().contains("is not a job id"));
    }
}

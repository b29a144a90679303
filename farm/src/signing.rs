//! Signing: which keys there are and which of them count at a moment, what is signed, and what hub and signer say to each
//! other. Signatures themselves are made and checked in `openpgp` and `dsse`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{PromotionId, SnapshotId};
use crate::snapshot::Rpm;
use crate::stamp::Stamp;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// OpenPGP: a SIG's packages and the metadata of its repos.
    Packages,
    /// Ed25519: the decisions of the gate.
    Decisions,
}

impl Purpose {
    /// As the ledger keeps it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Packages => "packages",
            Purpose::Decisions => "decisions",
        }
    }
}

impl std::str::FromStr for Purpose {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "packages" => Ok(Purpose::Packages),
            "decisions" => Ok(Purpose::Decisions),
            other => Err(format!("`{other}` is no purpose of a key")),
        }
    }
}

/// The public part of a key, as its signer told of it.
///
/// A new one is announced, and published, before `since`; from then on it is the one that signs. The one before stays valid
/// until its `until`, so that what it has signed can be replaced in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SigningKey {
    /// What names it, in lower-case hexadecimal digits: the OpenPGP fingerprint, or for a key for decisions the SHA-256 of
    /// its public part in DER.
    pub fingerprint: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Whose it is; empty for keys for decisions, which are the farm's.
    pub sig: String,
    /// The public part: armoured OpenPGP, or PEM.
    pub public: String,
    /// From when on it signs.
    pub since: Stamp,
    /// From when on nothing it signed counts any more; absent while that is open.
    pub until: Option<Stamp>,
}

/// Where a key stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Published, and not yet signing.
    Announced,
    /// Its signatures count.
    Valid,
    /// They do not count any more.
    Retired,
}

impl SigningKey {
    /// Where it stands now.
    #[must_use]
    pub fn standing(&self, now: Stamp) -> Standing {
        if self.until.is_some_and(|until| until <= now) {
            Standing::Retired
        } else if self.since > now {
            Standing::Announced
        } else {
            Standing::Valid
        }
    }

    /// Does it count now?
    #[must_use]
    pub fn is_valid(&self, now: Stamp) -> bool {
        self.standing(now) == Standing::Valid
    }

    fn is_of(&self, purpose: Purpose, sig: &str) -> bool {
        self.purpose == purpose && self.sig == sig
    }
}

/// The keys whose signatures count now, the one that signs first. `sig` is empty for decisions.
#[must_use]
pub fn valid<'a>(keys: &'a [SigningKey], purpose: Purpose, sig: &str, now: Stamp) -> Vec<&'a SigningKey> {
    let mut valid: Vec<&SigningKey> =
        keys.iter().filter(|key| key.is_of(purpose, sig) && key.is_valid(now)).collect();
    valid.sort_by(|one, other| (other.since, &other.fingerprint).cmp(&(one.since, &one.fingerprint)));
    valid
}

/// The key that signs now: the newest of those that count.
#[must_use]
pub fn current<'a>(
    keys: &'a [SigningKey],
    purpose: Purpose,
    sig: &str,
    now: Stamp,
) -> Option<&'a SigningKey> {
    valid(keys, purpose, sig, now).into_iter().next()
}

/// The keys that are published now, the oldest first: those announced and valid, and those retired ones that are `in_use`
/// because something that is live was signed with them.
#[must_use]
pub fn published<'a>(
    keys: &'a [SigningKey],
    purpose: Purpose,
    sig: &str,
    now: Stamp,
    in_use: impl Fn(&str) -> bool,
) -> Vec<&'a SigningKey> {
    let shown = |key: &&SigningKey| {
        key.is_of(purpose, sig)
            && match key.standing(now) {
                Standing::Announced | Standing::Valid => true,
                Standing::Retired => in_use(&key.fingerprint),
            }
    };
    let mut published: Vec<&SigningKey> = keys.iter().filter(shown).collect();
    published.sort_by(|one, other| (one.since, &one.fingerprint).cmp(&(other.since, &other.fingerprint)));
    published
}

/// The signed form of an RPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedFile {
    /// SHA-256 of header and payload, which signing leaves unchanged.
    pub body: Digest,
    /// The key.
    pub fingerprint: String,
    /// SHA-256 of the signed file, under which the artifact store keeps it.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// What a signer has put its name to: the metadata of a snapshot's folders, and the decision that let it through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Endorsement {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The promotion.
    pub promotion: PromotionId,
    /// When.
    pub made: Stamp,
    /// Each folder's `repomd.xml`.
    pub folders: BTreeMap<String, SignedMetadata>,
    /// The fingerprints of the keys that signed them, and of the one that signed the decision.
    pub keys: Vec<String>,
    /// The decision: a DSSE envelope around an in-toto statement, as text.
    pub decision: String,
    /// The provenance of builds that the snapshot before did not have, by NVR: such envelopes too.
    #[serde(default)]
    pub provenance: BTreeMap<String, String>,
}

/// A `repomd.xml` and its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SignedMetadata {
    /// SHA-256 of `repomd.xml`.
    pub repomd: Digest,
    /// The content of `repomd.xml.asc`: one signature for each key that counts.
    pub signature: String,
}

/// What there is to sign. The signer believes none of it: it looks into the ledger itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Work {
    /// Names this list: whoever asks with it waits for another one.
    pub seen: String,
    /// One for each promotion that waits for a signer.
    pub items: Vec<WorkItem>,
}

/// What one promotion needs of a signer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WorkItem {
    /// The promotion.
    pub promotion: PromotionId,
    /// Its snapshot.
    pub snapshot: SnapshotId,
    /// The SIG whose key is asked for.
    pub sig: String,
    /// The fingerprint of the key that is to sign, if the hub knows one.
    pub key: Option<String>,
    /// Packages without a signature of it; only some, when there are many.
    pub packages: Vec<Rpm>,
    /// SHA-256 of each staged folder's `repomd.xml`, once everything is signed and staged.
    pub staged: Option<BTreeMap<String, Digest>>,
}

/// What a signer says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignerWord {
    /// What it is called.
    pub name: String,
    /// What it could not do, and why: one sentence each, by the promotion it was about.
    pub troubles: BTreeMap<PromotionId, String>,
}

/// What a signer said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardSigner {
    /// It.
    pub word: SignerWord,
    /// When.
    pub at: Stamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, sig: &str, since: i64, until: Option<i64>) -> SigningKey {
        SigningKey {
            fingerprint: name.to_owned(),
            purpose: Purpose::Packages,
            sig: sig.to_owned(),
            public: String::new(),
            since: Stamp::from_millis(since),
            until: until.map(Stamp::from_millis),
        }
    }

    #[test]
    fn a_key_is_announced_then_signs_then_overlaps_then_is_retired() {
        let keys = [
            key("old", "storage", 0, Some(300)),
            key("new", "storage", 100, None),
            key("x", "cloud", 0, None),
        ];
        let at = |now: i64| {
            let now = Stamp::from_millis(now);
            let names =
                |keys: Vec<&SigningKey>| keys.iter().map(|key| key.fingerprint.clone()).collect::<Vec<_>>();
            let in_use = |name: &str| name == "old";
            (
                current(&keys, Purpose::Packages, "storage", now).map(|key| key.fingerprint.clone()),
                names(valid(&keys, Purpose::Packages, "storage", now)),
                names(published(&keys, Purpose::Packages, "storage", now, |_| false)),
                names(published(&keys, Purpose::Packages, "storage", now, in_use)),
            )
        };
        let some = |name: &str| Some(name.to_owned());
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let both = list(&["old", "new"]);
        assert_eq!(at(50), (some("old"), list(&["old"]), both.clone(), both.clone()));
        assert_eq!(at(100), (some("new"), list(&["new", "old"]), both.clone(), both.clone()));
        assert_eq!(at(300), (some("new"), list(&["new"]), list(&["new"]), both));
        assert_eq!(current(&keys, Purpose::Decisions, "storage", Stamp::ZERO), None);
    }
}

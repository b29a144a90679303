//! Signing, from the hub's side: what waits for a signer, taking in what one has signed, and writing it into what users get.
//!
//! The hub has no private key. It hands a signer ([`work`]) what the gate has let through, and takes from it ([`accept`]) only
//! what is signed by a key that counts, of exactly what was asked for. The signer believes the hub as little: it looks into
//! the ledger itself.

pub mod accept;
pub mod publish;
pub mod told;
pub mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use farm::digest::Digest;
use farm::ids::SnapshotId;
use farm::ledger::Tx;
use farm::signing::{Endorsement, Purpose, SignedFile, SigningKey, current};
use farm::snapshot::{Rpm, Snapshot};
use farm::stamp::Stamp;
use tokio::sync::watch;

use crate::files::{blocking, remove_tree};
use crate::problem::{Answer, Problem};
use crate::repos::{compose, manifest};
use crate::state::Hub;

/// Endorsements that this process remembers to have checked.
const REMEMBERED: usize = 256;

/// Wakes whoever waits for something to sign, and remembers what was taken in.
#[derive(Debug)]
pub struct Bell {
    rung: watch::Sender<u64>,
    /// What names each endorsement that was checked here, by snapshot.
    checked: Mutex<BTreeMap<SnapshotId, Digest>>,
}

impl Default for Bell {
    fn default() -> Self {
        Self { rung: watch::Sender::new(0), checked: Mutex::default() }
    }
}

impl Bell {
    /// There may be something to sign.
    pub fn ring(&self) {
        self.rung.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn heard(&self) -> watch::Receiver<u64> {
        self.rung.subscribe()
    }

    fn remember(&self, snapshot: SnapshotId, name: Digest) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.len() >= REMEMBERED {
            checked.pop_first();
        }
        checked.insert(snapshot, name);
    }

    fn knows(&self, snapshot: SnapshotId, name: &Digest) -> bool {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).get(&snapshot) == Some(name)
    }
}

/// A snapshot's RPMs, as far as the key that signs now has signed them.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The SIG whose repo it is.
    pub sig: String,
    /// The key that signs now; `None` when no signer has told of one.
    pub key: Option<SigningKey>,
    /// The signed files, by body digest.
    pub files: BTreeMap<Digest, SignedFile>,
}

impl Signed {
    /// Reads it.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn of(hub: &Hub, tx: &mut Tx, snapshot: &Snapshot) -> Answer<Signed> {
        let community = tx.community().await?;
        let Some((project, _)) = community.tag(&snapshot.tag) else {
            return Err(Problem::not_found("tag", &snapshot.tag));
        };
        let sig = project.sig.clone();
        let key = current(&tx.signing_keys().await?, Purpose::Packages, &sig, hub.now()).cloned();
        let files = match &key {
            Some(key) => {
                let bodies: Vec<Digest> = snapshot.rpms().map(|rpm| rpm.body.clone()).collect();
                tx.signed_by(&key.fingerprint, &bodies).await?
            }
            None => BTreeMap::new(),
        };
        Ok(Signed { sig, key, files })
    }

    /// The RPMs that are not signed yet.
    pub fn missing<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a Rpm> {
        snapshot.rpms().filter(|rpm| !self.files.contains_key(&rpm.body))
    }
}

/// The signed file of each RPM of a snapshot, by body digest: digest and size. `None` while one is missing.
///
/// # Errors
/// When the ledger fails.
pub async fn signed_files(hub: &Hub, snapshot: &Snapshot) -> Answer<Option<BTreeMap<Digest, (Digest, u64)>>> {
    let signed = Signed::of(hub, &mut hub.db.read().await?, snapshot).await?;
    if signed.key.is_none() || signed.missing(snapshot).next().is_some() {
        return Ok(None);
    }
    let place = |(body, file): (Digest, SignedFile)| (body, (file.digest, file.size));
    Ok(Some(signed.files.into_iter().map(place).collect()))
}

/// What a signer has put its name to, if that is what is staged for the public now, or in the public tree already, every key of
/// it still counts, and nobody has edited it since.
///
/// # Errors
/// When the ledger or the disk fails.
pub async fn endorsement(hub: &Hub, id: SnapshotId) -> Answer<Option<Endorsement>> {
    let mut tx = hub.db.read().await?;
    let Some(endorsement) = tx.endorsement(id).await? else { return Ok(None) };
    let (keys, now) = (tx.signing_keys().await?, hub.now());
    drop(tx);
    if !all_count(&keys, &endorsement.keys, now) {
        return Ok(None);
    }
    let Some(staged) = staged(hub, id).await? else { return Ok(None) };
    let signed: BTreeMap<&String, &Digest> =
        endorsement.folders.iter().map(|(folder, metadata)| (folder, &metadata.repomd)).collect();
    let is_staged = signed == staged.iter().collect();
    Ok(if is_staged && accept::still_holds(hub, &endorsement).await? { Some(endorsement) } else { None })
}

/// Does every key still count with which a signer has put its name to a snapshot? Asked in the transaction that publishes it: from
/// then on these keys are in use, and users find them although they are retired.
///
/// # Errors
/// When the ledger fails.
pub async fn keys_count(tx: &mut Tx, id: SnapshotId, now: Stamp) -> Answer<bool> {
    let (keys, by) = (tx.signing_keys().await?, tx.endorsed_by(id).await?);
    Ok(!by.is_empty() && all_count(&keys, &by, now))
}

/// Does each of the keys with these fingerprints count now?
fn all_count<'a>(keys: &[SigningKey], by: impl IntoIterator<Item = &'a String>, now: Stamp) -> bool {
    by.into_iter().all(|name| keys.iter().any(|key| key.fingerprint == *name && key.is_valid(now)))
}

/// Removes what is staged for the public if it has other files than these, as it does when a key has followed another one since
/// it was staged, or if somebody died who wrote into it. It is staged anew then.
///
/// # Errors
/// When the disk fails.
pub async fn discard_unfit(hub: &Hub, id: SnapshotId, files: &BTreeMap<Digest, (Digest, u64)>) -> Answer<()> {
    let staged = hub.staging.join(compose::public_name(id));
    let expected: BTreeSet<Digest> = files.values().map(|(digest, _)| digest.clone()).collect();
    let work = move || -> anyhow::Result<()> {
        if has_leftovers(&staged)? {
            return Ok(remove_tree(&staged)?);
        }
        for folder in manifest::folders_of(&staged)? {
            let listing = manifest::Listing::read(&staged, id, &folder)?;
            let mut packages = listing.files().filter(|listed| manifest::is_package(listed.path));
            let fits =
                packages.all(|listed| listed.digest().is_some_and(|digest| expected.contains(&digest)));
            if !fits {
                return Ok(remove_tree(&staged)?);
            }
        }
        Ok(())
    };
    Ok(blocking(work).await?)
}

/// Is there a file in this directory, or below it, that never got its name?
fn has_leftovers(dir: &Path) -> std::io::Result<bool> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let is_unnamed = entry.file_name().as_encoded_bytes().starts_with(b".");
        if is_unnamed || (entry.file_type()?.is_dir() && has_leftovers(&entry.path())?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where a snapshot is, as the public gets it: staged, or in the public tree already.
#[must_use]
pub fn place(hub: &Hub, id: SnapshotId) -> Option<PathBuf> {
    let staged = hub.staging.join(compose::public_name(id));
    if staged.is_dir() {
        return Some(staged);
    }
    hub.public.contains(id).then(|| hub.public.dir(id))
}

/// SHA-256 of the `repomd.xml` of each folder of a snapshot, as the public gets it. `None` when it is not staged.
///
/// # Errors
/// When the disk fails.
pub async fn staged(hub: &Hub, id: SnapshotId) -> Answer<Option<BTreeMap<String, Digest>>> {
    let Some(place) = place(hub, id) else { return Ok(None) };
    let read = move || -> anyhow::Result<Option<BTreeMap<String, Digest>>> {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(&place)? {
            let Ok(folder) = entry?.file_name().into_string() else { continue };
            if !manifest::is_folder(&folder) {
                continue;
            }
            let repomd = place.join(&folder).join("repodata/repomd.xml");
            let bytes =
                std::fs::read(&repomd).with_context(|| format!("cannot read {}", repomd.display()))?;
            found.insert(folder, Digest::of(&bytes));
        }
        Ok((!found.is_empty()).then_some(found))
    };
    Ok(blocking(read).await?)
}

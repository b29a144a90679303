//! Writing signatures and public keys into what users get.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use farm::signing::{Endorsement, Purpose, SigningKey, Standing, published};

use crate::files::{At as _, FileError, blocking, ensure_dir, sync_dir};
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// The folder of the public keys, below the public root and in every published snapshot.
pub const KEYS: &str = "keys";
/// The public keys of decisions, in that folder.
pub const DECISION_KEYS: &str = "decisions.pub";
/// The signed decision, in a published snapshot.
pub const DECISION: &str = "decision.dsse.json";

/// What the file with a SIG's public keys is called.
#[must_use]
pub fn key_file(sig: &str) -> String {
    format!("RPM-GPG-KEY-{sig}")
}

/// Writes into a staged snapshot what the signer gave: `<folder>/repodata/repomd.xml.asc`, `decision.dsse.json`, and the public
/// keys of now. Doing it again changes nothing.
///
/// # Errors
/// When the ledger or the disk fails.
pub async fn endorse(hub: &Hub, endorsement: &Endorsement, staged: &Path) -> Answer<()> {
    let files = key_files(hub).await?;
    let sig = {
        let mut tx = hub.db.read().await?;
        tx.promotion(endorsement.promotion).await?.map(|promotion| promotion.value.sig)
    };
    let wanted = sig.map(|sig| key_file(&sig));
    let (endorsement, staged) = (endorsement.clone(), staged.to_owned());
    let write = move || -> Result<(), FileError> {
        for (folder, metadata) in &endorsement.folders {
            let path = staged.join(folder).join("repodata/repomd.xml.asc");
            put(&path, metadata.signature.as_bytes())?;
        }
        put(&staged.join(DECISION), endorsement.decision.as_bytes())?;
        for (name, text) in &files {
            if name == DECISION_KEYS || Some(name) == wanted.as_ref() {
                put(&staged.join(KEYS).join(name), text.as_bytes())?;
            }
        }
        Ok(())
    };
    blocking(write).await.map_err(|error| Problem::Internal(error.into()))
}

/// Makes `keys/` below the public root show the keys of now: `RPM-GPG-KEY-<sig>` of each SIG, and `decisions.pub`.
///
/// # Errors
/// When the ledger or the disk fails.
pub async fn keys(hub: &Hub) -> Answer<()> {
    let files = key_files(hub).await?;
    let root = hub.public.root().join(KEYS);
    let write = move || -> Result<(), FileError> {
        for (name, text) in &files {
            put(&root.join(name), text.as_bytes())?;
        }
        Ok(())
    };
    blocking(write).await.map_err(|error| Problem::Internal(error.into()))
}

/// The files with public keys, by name. In a file with several stands the oldest first.
async fn key_files(hub: &Hub) -> Answer<Vec<(String, String)>> {
    let mut tx = hub.db.read().await?;
    let (keys, now) = (tx.signing_keys().await?, hub.now());
    let in_use = match keys.iter().any(|key| key.standing(now) == Standing::Retired) {
        true => tx.keys_in_use().await?,
        false => BTreeSet::new(),
    };
    let owners: BTreeSet<(Purpose, &str)> = keys.iter().map(|key| (key.purpose, key.sig.as_str())).collect();
    let file = |(purpose, sig): (Purpose, &str)| {
        let shown = published(&keys, purpose, sig, now, |fingerprint| in_use.contains(fingerprint));
        let name = match purpose {
            Purpose::Packages => key_file(sig),
            Purpose::Decisions => DECISION_KEYS.to_owned(),
        };
        (name, text_of(&shown))
    };
    Ok(owners.into_iter().map(file).collect())
}

fn text_of(keys: &[&SigningKey]) -> String {
    keys.iter().map(|key| format!("{}\n", key.public.trim_end())).collect()
}

/// Writes a file in one step, unless it has this content already.
pub(crate) fn put(path: &Path, content: &[u8]) -> Result<(), FileError> {
    if fs::read(path).is_ok_and(|known| known == content) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    ensure_dir(folder)?;
    let mut fresh =
        tempfile::Builder::new().prefix(".").tempfile_in(folder).at("create a file in", folder)?;
    fresh.write_all(content).at("write", path)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fresh.as_file().set_permissions(readable).at("set the mode of", path)?;
    fresh.as_file().sync_all().at("flush", path)?;
    tracing::trace!(target: "steps", "a signature is written, and not in its place");
    let file: File = fresh.persist(path).map_err(|error| error.error).at("rename a file to", path)?;
    drop(file);
    sync_dir(folder)
}

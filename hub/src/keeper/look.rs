//! A last look at what is staged for the public, with a client's eyes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use farm::digest::Digest;
use farm::openpgp::PublicKey;
use farm::sig::Project;
use farm::signing::{Purpose, SigningKey};
use farm::snapshot::Snapshot;

use crate::files::blocking;
use crate::problem::{Answer, Problem};
use crate::repos::compose;
use crate::repos::verify::{Expected, verify_staged};
use crate::state::Hub;

/// Makes sure that clients would take what is staged. What they would not take is removed: it is composed and signed anew.
///
/// # Errors
/// When they would not, or it cannot be found out.
pub(super) async fn look(
    hub: &Hub,
    snapshot: &Arc<Snapshot>,
    project: &Project,
    signed: BTreeMap<Digest, (Digest, u64)>,
    staged: &Path,
) -> Answer<()> {
    let keys = hub.db.glance().await?.signing_keys().await?;
    let own: Vec<&SigningKey> =
        keys.iter().filter(|key| key.purpose == Purpose::Packages && key.sig == project.sig).collect();
    let read = |key: &&SigningKey| PublicKey::from_armored(&key.public).context("a key in the ledger");
    let (now, former): (Vec<_>, Vec<_>) = own.iter().partition(|key| key.is_valid(hub.now()));
    let expected = Expected {
        snapshot: snapshot.clone(),
        arches: project.arches.clone(),
        signed,
        keys: now.into_iter().map(read).collect::<anyhow::Result<_>>()?,
        former: former.into_iter().map(read).collect::<anyhow::Result<_>>()?,
        live: hub.public.live(&snapshot.tag).map(|live| hub.public.dir(live)),
        artifacts: hub.artifacts.clone(),
    };
    let Err(faults) = verify_staged(staged, expected).await else { return Ok(()) };
    let gone = staged.to_owned();
    blocking(move || compose::discard(&gone)).await.context("cannot remove what is staged")?;
    Err(Problem::Internal(anyhow::anyhow!(
        "clients would not take snapshot {} of {}: {}; it is composed and signed anew",
        snapshot.id,
        snapshot.tag,
        faults.join("; ")
    )))
}

//! A repo's snapshot, laid out as the directory it would be on a mirror.

use std::path::Path;

use farm::arch::Arch;
use farm::ids::SnapshotId;
use farm::message::Manifest;
use futures_util::{TryStreamExt as _, stream};

use crate::cache::Cache;
use crate::check;
use crate::client::AttemptClient;
use crate::halt::{Halt, OrFarm as _};
use crate::workspace::make_folder;

/// Files fetched at the same time.
const AT_ONCE: usize = 4;

/// What a snapshot consists of; no path in it leads out of its folder.
pub(crate) async fn manifest(
    client: &AttemptClient,
    snapshot: SnapshotId,
    arch: Arch,
) -> Result<Manifest, Halt> {
    let manifest = client.manifest(snapshot, arch).await?;
    match manifest.files.iter().find(|file| !check::is_inner_path(&file.path)) {
        Some(file) => {
            Err(Halt::Farm(format!("the manifest of snapshot {snapshot} names the path {:?}", file.path)))
        }
        None => Ok(manifest),
    }
}

/// Fetches what is not cached and links everything into `folder`, which is made. `false` when there is no repo: the snapshot is
/// of a project that does not have the architecture, or did not have it then.
pub(crate) async fn lay_out(
    client: &AttemptClient,
    cache: &Cache,
    snapshot: SnapshotId,
    arch: Arch,
    folder: &Path,
) -> Result<bool, Halt> {
    let doing = "lay out a repo";
    let manifest = manifest(client, snapshot, arch).await?;
    if manifest.files.is_empty() {
        return Ok(false);
    }
    make_folder(folder).or_farm(doing)?;
    stream::iter(manifest.files.iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, |file| async move {
            let place = folder.join(&file.path);
            make_folder(place.parent().unwrap_or(folder)).or_farm(doing)?;
            let fetch = || client.snapshot_file(snapshot, arch, &file.path);
            cache.place(&file.digest, file.size, &place, fetch).await
        })
        .await?;
    Ok(true)
}

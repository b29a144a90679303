//! What was installed when a build ran: read from what its jobs have uploaded, of which nothing is believed unchecked.

use std::collections::BTreeMap;

use anyhow::Context as _;
use farm::arch::Arch;
use farm::buildroot::{LARGEST_LOCK, LOCK_FILE, Lock, RootFacts, input_digest};
use farm::job::{Job, JobKind};
use farm::recipe::Work;
use tokio::io::AsyncReadExt as _;

use crate::problem::Answer;
use crate::state::Hub;

/// The buildroot of each architecture; `Err` is why the build cannot be imported.
pub(super) async fn roots(hub: &Hub, jobs: &[Job]) -> Answer<Result<BTreeMap<Arch, RootFacts>, String>> {
    let mut roots = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.kind == JobKind::Build) {
        let Work::Build { srpm } = &job.recipe.work else { continue };
        let lock = match lock_of(hub, job).await? {
            Ok(lock) => lock,
            Err(reason) => return Ok(Err(reason)),
        };
        let facts = RootFacts {
            image: lock.image.clone(),
            image_digest: lock.image_digest.clone(),
            lock: lock.digest(),
            input: input_digest(&srpm.digest, &lock, &job.recipe),
            ccache: lock.ccache,
        };
        roots.insert(job.arch, facts);
    }
    Ok(Ok(roots))
}

/// What the job's newest attempt says was installed.
async fn lock_of(hub: &Hub, job: &Job) -> Answer<Result<Lock, String>> {
    let arch = job.arch;
    let files = hub.db.glance().await?.artifacts_of(job.id, job.turn).await?;
    let Some(file) = files.into_iter().find(|file| file.name == LOCK_FILE) else {
        return Ok(Err(format!(
            "its builder did not say what was installed on {arch} ({LOCK_FILE} is missing)"
        )));
    };
    if file.size > LARGEST_LOCK {
        return Ok(Err(format!("{LOCK_FILE} from {arch} has {} bytes, more than {LARGEST_LOCK}", file.size)));
    }
    let mut bytes = Vec::new();
    let stored = hub.artifacts.read(&file.digest).await.context("cannot open a buildroot's lock")?;
    stored.take(LARGEST_LOCK).read_to_end(&mut bytes).await.context("cannot read a buildroot's lock")?;
    Ok(Lock::read(&job.recipe, &bytes).map_err(|fault| format!("{LOCK_FILE} from {arch}: {fault}")))
}

//! For which architectures somebody builds right now.

use std::time::Duration;

use farm::arch::Arch;
use farm::builder;
use farm::ledger::Tx;
use farm::sig::{Community, Project};

use crate::problem::Answer;
use crate::state::Hub;

/// A target's architectures, in the order in which work that may be done on any of them is best done.
///
/// # Errors
/// When the ledger fails.
pub(crate) async fn easiest_first(hub: &Hub, tx: &mut Tx, project: &Project) -> Answer<Vec<Arch>> {
    Ok(builder::easiest_first(&project.arches, &tx.builders().await?, hub.now(), silent_after(hub)))
}

/// A sentence for each architecture of the target that nobody builds for.
///
/// # Errors
/// When the ledger fails.
pub(crate) async fn nobody_for(hub: &Hub, tx: &mut Tx, project: &Project) -> Answer<Vec<String>> {
    let builders = tx.builders().await?;
    let nobody = |arch: &Arch| {
        builder::nobody_builds(
            *arch,
            &project.labels,
            &project.limits,
            &builders,
            hub.now(),
            silent_after(hub),
        )
    };
    Ok(project.arches.iter().filter_map(nobody).collect())
}

/// What will hold up a build for this target that was just asked for.
///
/// # Errors
/// When the ledger fails.
pub(crate) async fn warnings(hub: &Hub, target: &str) -> Answer<Vec<String>> {
    let mut tx = hub.db.glance().await?;
    let community = tx.community().await?;
    match community.target(target) {
        Some(project) => nobody_for(hub, &mut tx, project).await,
        None => Ok(Vec::new()),
    }
}

/// A sentence for each architecture that some target asks for and nobody builds for, once each.
///
/// # Errors
/// When the ledger fails.
pub(crate) async fn nobody_for_any(hub: &Hub, tx: &mut Tx, community: &Community) -> Answer<Vec<String>> {
    let mut said: Vec<String> = Vec::new();
    for project in community.projects() {
        said.extend(nobody_for(hub, tx, project).await?);
    }
    said.sort();
    said.dedup();
    Ok(said)
}

fn silent_after(hub: &Hub) -> Duration {
    Duration::from_millis(hub.config.silent_ms)
}

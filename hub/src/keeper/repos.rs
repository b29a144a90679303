//! Repos on disk: candidate repos follow their tags, and every tree follows its pointer in the ledger.

use std::time::Duration;

use anyhow::Context as _;
use farm::ledger::{Kept, Repo};
use farm::sig::{Project, Stage};
use farm::snapshot::{Member, Snapshot, content_digest};

use super::Progress;
use crate::problem::{Answer, Problem};
use crate::repos::compose::{self, ComposeError};
use crate::repos::publish::SnapshotTree;
use crate::state::Hub;

/// How long the metadata of one folder may take.
const COMPOSE_TIMEOUT: Duration = Duration::from_secs(600);

pub(super) async fn step_all(hub: &Hub) -> Answer<Progress> {
    let behind = hub.db.read().await?.uncomposed().await?;
    let mut progress = Progress::None;
    for repo in behind {
        match follow_tag(hub, &repo).await {
            Ok(Progress::Made) => progress = Progress::Made,
            Ok(Progress::None) => {}
            Err(problem) => super::log("a candidate repo", &problem),
        }
    }
    let repos = hub.db.read().await?.repos().await?;
    for repo in repos {
        if let Err(problem) = follow_pointer(hub, &repo).await {
            super::log("a repo's tree", &problem);
        }
    }
    Ok(progress)
}

/// Composes a candidate repo from what its tag holds now, and points it there.
async fn follow_tag(hub: &Hub, repo: &Kept<Repo>) -> Answer<Progress> {
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    let members: Vec<Member> = tx.tagged(&repo.tag).await?.iter().map(farm::build::Build::member).collect();
    drop(tx);
    let Some((project, Stage::Candidate)) = community.tag(&repo.tag) else { return Ok(Progress::None) };
    let snapshot = Snapshot {
        id: hub.mint(),
        tag: repo.tag.clone(),
        base: repo.current,
        content: content_digest(&members),
        created: hub.now(),
        members,
    };
    if let Err(reason) = compose(hub, &snapshot, project).await? {
        // Import sees to it that this never happens; if it does, an operator must hear of it.
        return Err(Problem::Internal(anyhow::anyhow!(
            "the builds in {} do not fit into one repo: {reason}",
            repo.tag
        )));
    }
    let mut tx = hub.db.write().await?;
    tx.insert_snapshot(&snapshot).await?;
    tx.point_candidate(repo, snapshot.id).await?;
    tx.commit().await?;
    tracing::info!(repo = repo.tag, builds = snapshot.members.len(), "the candidate repo shows its tag");
    Ok(Progress::Made)
}

/// Makes a tree show its pointer, after a crash between the two or a move by another hub.
async fn follow_pointer(hub: &Hub, repo: &Repo) -> Answer<()> {
    let Some(current) = repo.current else { return Ok(()) };
    let tree = tree(hub, &repo.tag);
    if tree.live(&repo.tag) == Some(current) {
        return Ok(());
    }
    let snapshot = hub.db.read().await?.snapshot(current).await?;
    let snapshot = snapshot.ok_or_else(|| {
        Problem::Internal(anyhow::anyhow!("{} points at {current}, which is not in the ledger", repo.tag))
    })?;
    show(hub, &snapshot).await
}

/// Composes a snapshot on disk, where no user sees it. `Ok(Err(reason))` says that its builds do not fit into one repo.
pub(super) async fn compose(hub: &Hub, snapshot: &Snapshot, project: &Project) -> Answer<Result<(), String>> {
    let composed =
        compose::compose(&hub.staging, &hub.artifacts, snapshot, &project.arches, COMPOSE_TIMEOUT).await;
    match composed {
        Ok(_) => Ok(Ok(())),
        Err(error @ (ComposeError::TwoFiles { .. } | ComposeError::BadFile { .. })) => {
            Ok(Err(error.to_string()))
        }
        Err(
            error @ (ComposeError::Artifact { .. }
            | ComposeError::Createrepo { .. }
            | ComposeError::TimedOut { .. }
            | ComposeError::Disk(_)),
        ) => {
            let context = format!("cannot compose snapshot {} of {}", snapshot.id, snapshot.tag);
            Err(Problem::Internal(anyhow::Error::new(error).context(context)))
        }
    }
}

/// Makes a tag's tree show the snapshot its pointer names.
pub(super) async fn show(hub: &Hub, snapshot: &Snapshot) -> Answer<()> {
    let shown = if snapshot.tag.ends_with("-candidate") {
        let staged = hub.staging.join(snapshot.id.to_string());
        hub.candidates.enter(&snapshot.tag, snapshot.id, &staged).await
    } else {
        hub.public.follow(&snapshot.tag, snapshot.id).await
    };
    shown.with_context(|| format!("cannot show snapshot {} of {}", snapshot.id, snapshot.tag))?;
    Ok(())
}

fn tree<'a>(hub: &'a Hub, tag: &str) -> &'a SnapshotTree {
    if tag.ends_with("-candidate") { &hub.candidates } else { &hub.public }
}

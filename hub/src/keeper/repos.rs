//! Repos on disk: candidate repos follow their tags, and every tree follows its pointer in the ledger.

use anyhow::Context as _;
use farm::extras::Extras;
use farm::ids::SnapshotId;
use farm::ledger::{Kept, Repo, Tx};
use farm::sig::{Project, Stage};
use farm::snapshot::{Member, Snapshot};

use super::Progress;
use super::trouble::{Subject, step_one};
use crate::extras::{self, Unfit};
use crate::problem::{Answer, Problem};
use crate::repos::compose::{self, ComposeError};
use crate::signing;
use crate::state::Hub;

pub(super) async fn step_all(hub: &Hub) -> Answer<Progress> {
    let behind = hub.db.glance().await?.uncomposed().await?;
    let mut progress = Progress::None;
    for repo in behind {
        let subject = Subject {
            name: &repo.tag,
            version: repo.wanted,
            what: "a candidate repo",
            span: tracing::info_span!("keeper", repo = repo.tag),
        };
        progress |= step_one(hub, subject, Box::pin(follow_tag(hub, &repo))).await;
    }
    let repos = hub.db.glance().await?.repos().await?;
    for repo in repos {
        let subject = Subject {
            name: &format!("the tree of {}", repo.tag),
            version: repo.revision,
            what: "a repo's tree",
            span: tracing::info_span!("keeper", repo = repo.tag),
        };
        let shown = async { follow_pointer(hub, &repo.tag).await.map(|()| Progress::None) };
        progress |= step_one(hub, subject, Box::pin(shown)).await;
    }
    Ok(progress)
}

/// Composes a candidate repo from what its tag holds now, and points it there.
async fn follow_tag(hub: &Hub, repo: &Kept<Repo>) -> Answer<Progress> {
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    let members: Vec<Member> = tx.tagged(&repo.tag).await?.iter().map(farm::build::Build::member).collect();
    let base = match repo.current {
        Some(id) => tx.base(id).await?,
        None => None,
    };
    drop(tx);
    let Some((project, Stage::Candidate)) = community.tag(&repo.tag) else { return Ok(Progress::None) };
    let beside = beside(hub, repo, project).await?;
    let snapshot = Snapshot::holding(hub.mint(), &repo.tag, base, members, hub.now()).with_extras(beside);
    if let Err(reason) = compose(hub, &snapshot, project).await? {
        // Import sees to it that this never happens; if it does, an operator must hear of it.
        return Err(Problem::Internal(anyhow::anyhow!(
            "the builds in {} do not fit into one repo: {reason}",
            repo.tag
        )));
    }
    let mut tx = hub.db.write().await?;
    tx.insert_snapshot(&snapshot).await?;
    tx.point_candidate(repo, snapshot.id, hub.now()).await?;
    tx.commit().await?;
    tracing::info!(repo = repo.tag, builds = snapshot.members.len(), "the candidate repo shows its tag");
    Ok(Progress::Made)
}

/// What stands beside a candidate repo's packages: what is at the head, or, while that is no good, what stood there before. Builds
/// wait for this repo, and must not wait for somebody to mend a list of groups; what is published is not composed so.
async fn beside(hub: &Hub, repo: &Repo, project: &Project) -> Answer<Option<Extras>> {
    match (extras::read(hub, project).await?, repo.current) {
        (Ok(found), _) => Ok(found),
        (Err(Unfit(why)), before) => {
            tracing::warn!(repo = repo.tag, why, "the files beside its packages stay what they were");
            Ok(match before {
                Some(before) => hub.db.read().await?.extras_of(before).await?,
                None => None,
            })
        }
    }
}

/// Makes a tag's tree show the snapshot its pointer names now. One at a time, and the pointer is read only then: whoever
/// read it earlier could otherwise put back what another has just replaced.
pub(super) async fn follow_pointer(hub: &Hub, tag: &str) -> Answer<()> {
    let _one_at_a_time = hub.pointing().await?;
    let mut tx = hub.db.read().await?;
    let repo = tx.repo(tag).await?.value;
    let Some(current) = repo.current else { return Ok(()) };
    let is_candidate = tag.ends_with("-candidate");
    let tree = if is_candidate { &hub.candidates } else { &hub.public };
    if tree.live(tag) == Some(current) {
        return Ok(());
    }
    if !is_candidate {
        must_be_published(&mut tx, &repo, current).await?;
    }
    let community = tx.community().await?;
    drop(tx);
    if !tree.contains(current) {
        bring_back(hub, tag, current).await?;
    }
    let shown = if is_candidate {
        tree.enter(tag, current, &hub.staging.join(current.to_string())).await
    } else {
        tree.follow(tag, current, community.tag(tag)).await
    };
    shown.with_context(|| format!("cannot show snapshot {current} of {tag}"))?;
    Ok(())
}

/// A public pointer is moved by the gate, which writes down every move in the same transaction. Of one that names something else
/// somebody has edited the row, and nobody is shown it.
async fn must_be_published(tx: &mut Tx, repo: &Repo, current: SnapshotId) -> Answer<()> {
    let moves = tx.publications_of(current).await?;
    if moves.iter().any(|publication| publication.tag == repo.tag && publication.revision == repo.revision) {
        return Ok(());
    }
    Err(Problem::Internal(anyhow::anyhow!(
        "the pointer of {} names snapshot {current}, which was never published as revision {}: the row was edited; put it back",
        repo.tag,
        repo.revision
    )))
}

/// Makes anew what a repo shows and a disk that was lost had: a candidate repo of its builds, a public one from the bucket.
/// Does nothing where that cannot be: then there is nothing to show.
async fn bring_back(hub: &Hub, tag: &str, id: SnapshotId) -> Answer<()> {
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    let Some((project, stage)) = community.tag(tag) else { return Ok(()) };
    if stage == Stage::Candidate {
        if hub.staging.join(id.to_string()).is_dir() {
            return Ok(());
        }
        let Some(snapshot) = tx.snapshot(id).await? else { return Ok(()) };
        drop(tx);
        let composed = compose(hub, &snapshot, project).await?;
        return composed
            .map_err(|why| Problem::Internal(anyhow::anyhow!("{tag} cannot be made anew: {why}")));
    }
    let (Some(shelf), Some(endorsement)) = (&hub.shelf, tx.endorsement(id).await?) else { return Ok(()) };
    let Some(snapshot) = tx.snapshot(id).await? else { return Ok(()) };
    drop(tx);
    let signed = endorsement.folders.iter();
    let signed = signed.map(|(folder, metadata)| (folder.clone(), metadata.repomd.clone())).collect();
    let staged = hub.staging.join(compose::public_name(id));
    let context = || format!("cannot bring snapshot {id} of {tag} back from the bucket");
    shelf.recall(tag, id, &signed, &staged).await.with_context(context)?;
    // No manifest lists these, and the ledger has them.
    signing::publish::endorse(hub, &endorsement, &staged).await?;
    crate::provenance::publish(hub, &snapshot, &endorsement, &staged).await?;
    hub.public.readmit(project, stage, id, &staged).await.with_context(context)?;
    signing::publish::keys(hub).await?;
    tracing::info!(snapshot = %id, repo = tag, "a repo was brought back from the bucket");
    Ok(())
}

/// Removes a snapshot from the staging folder, as far as that goes.
pub(super) async fn discard(hub: &Hub, id: SnapshotId) {
    let folder = hub.staging.join(id.to_string());
    if let Err(error) = tokio::fs::remove_dir_all(&folder).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, folder = %folder.display(), "a staged snapshot could not be removed");
    }
}

/// Composes a snapshot on disk, where no user sees it. `Ok(Err(reason))` says that its builds do not fit into one repo.
pub(super) async fn compose(hub: &Hub, snapshot: &Snapshot, project: &Project) -> Answer<Result<(), String>> {
    let composed = match compose::Plan::built(snapshot, &project.arches) {
        Ok(plan) => compose::compose(&hub.staging, &hub.engine, plan.compressed_for(project)).await,
        Err(error) => Err(error),
    };
    match composed {
        Ok(_) => Ok(Ok(())),
        Err(error @ (ComposeError::TwoFiles { .. } | ComposeError::BadFile { .. })) => {
            Ok(Err(error.to_string()))
        }
        Err(
            error @ (ComposeError::NotShipped { .. }
            | ComposeError::Package { .. }
            | ComposeError::Metadata { .. }
            | ComposeError::Disk(_)),
        ) => {
            let context = format!("cannot compose snapshot {} of {}", snapshot.id, snapshot.tag);
            Err(Problem::Internal(anyhow::Error::new(error).context(context)))
        }
    }
}

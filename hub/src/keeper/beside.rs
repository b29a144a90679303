//! What SIGs publish beside their packages: when the head of such a branch moves, candidate is composed anew, and a promotion to
//! testing opens by itself, which has the same packages tested with the new files.

use std::collections::BTreeMap;

use farm::extras::same_files;
use farm::ids::SnapshotId;
use farm::ledger::{PromotionFilter, Tx};
use farm::promotion::{Brings, Course, Promotion, PromotionState};
use farm::sig::{Project, RepoBranch, Stage};

use super::Progress;
use super::import::GATE;
use super::trouble::{Subject, step_one};
use crate::extras;
use crate::problem::Answer;
use crate::state::Hub;

/// The newest promotions, and the newest contents, among which the commit is looked for.
const NEWEST: u32 = 100;

/// For each repo, the head and the live snapshot with which there was nothing to do: to find that out again means reading much.
#[derive(Default)]
pub(super) struct Seen(BTreeMap<String, (String, SnapshotId)>);

impl Seen {
    fn has(&self, tag: &str, head: &str, live: SnapshotId) -> bool {
        self.0.get(tag).is_some_and(|(known, then)| known == head && *then == live)
    }

    fn note(&mut self, tag: String, head: &str, live: SnapshotId) {
        self.0.insert(tag, (head.to_owned(), live));
    }
}

/// Looks at every project that publishes such files.
pub(super) async fn step_all(hub: &Hub, seen: &mut Seen) -> Answer<Progress> {
    let community = hub.community().await?;
    let mut progress = Progress::None;
    for project in community.projects() {
        let Some(from) = &project.metadata else { continue };
        let what = format!("metadata of {}", project.target());
        let subject = Subject {
            name: &what,
            version: 0,
            what: "what is published beside packages",
            span: tracing::info_span!("keeper", target = project.target()),
        };
        progress |= step_one(hub, subject, Box::pin(step(hub, project, from, seen))).await;
    }
    Ok(progress)
}

/// Looks at one project: is anything to be composed because of it?
async fn step(hub: &Hub, project: &Project, from: &RepoBranch, seen: &mut Seen) -> Answer<Progress> {
    let Some(head) = extras::head(hub, from).await? else { return Ok(Progress::None) };
    let mut progress = follow(hub, project, &head, seen).await?;
    progress |= bring(hub, project, from, &head, seen).await?;
    Ok(progress)
}

/// Has candidate composed anew when it shows other files than the head has.
async fn follow(hub: &Hub, project: &Project, head: &str, seen: &mut Seen) -> Answer<Progress> {
    let tag = project.tag(Stage::Candidate);
    let mut tx = hub.db.read().await?;
    let repo = tx.repo(&tag).await?;
    let Some(live) = repo.current.filter(|live| !seen.has(&tag, head, *live)) else {
        return Ok(Progress::None);
    };
    let shown = tx.extras_of(live).await?;
    drop(tx);
    if repo.composed < repo.wanted {
        return Ok(Progress::None);
    }
    // Of a head that is no good candidate shows what it did: builds must not wait for it to be mended.
    let wanted =
        extras::read(hub, project).await?.is_ok_and(|wanted| !same_files(wanted.as_ref(), shown.as_ref()));
    if !wanted {
        seen.note(tag, head, live);
        return Ok(Progress::None);
    }
    let mut tx = hub.db.write().await?;
    tx.compose_anew(&repo).await?;
    tx.commit().await?;
    tracing::info!(repo = tag, head, "the files beside its packages have changed");
    Ok(Progress::Made)
}

/// Opens a promotion to testing when that shows other files than the head has, and nothing on its way will bring them.
async fn bring(
    hub: &Hub,
    project: &Project,
    from: &RepoBranch,
    head: &str,
    seen: &mut Seen,
) -> Answer<Progress> {
    let tag = project.tag(Stage::Testing);
    let mut tx = hub.db.read().await?;
    let live = tx.repo(&tag).await?.current;
    let Some(live) = live.filter(|live| !seen.has(&tag, head, *live)) else { return Ok(Progress::None) };
    if project.required.is_empty() || is_on_its_way(&mut tx, project).await? {
        return Ok(Progress::None);
    }
    let shown = tx.extras_of(live).await?;
    let is_known = shown.as_ref().is_some_and(|shown| shown.commit == head)
        || was_brought(&mut tx, project, &tag, head).await?;
    drop(tx);
    // One that is no good is opened too: it says what is wrong to whoever asks, and goes on when that is mended.
    if is_known
        || extras::read(hub, project).await?.is_ok_and(|wanted| same_files(wanted.as_ref(), shown.as_ref()))
    {
        seen.note(tag, head, live);
        return Ok(Progress::None);
    }
    let mut tx = hub.db.write().await?;
    tx.lock_promotions(&project.target()).await?;
    if is_on_its_way(&mut tx, project).await? {
        return Ok(Progress::None);
    }
    let promotion = promotion(hub, project, from, head);
    tx.insert_promotion(&promotion).await?;
    tx.commit().await?;
    tracing::info!(promotion = %promotion.id, repo = tag, what = promotion.what(), "a promotion was opened for the files beside the packages");
    Ok(Progress::Made)
}

/// Will something be composed for testing anyway, with the head as it is then?
async fn is_on_its_way(tx: &mut Tx, project: &Project) -> Answer<bool> {
    let unsettled = tx.unsettled_of(&project.target()).await?;
    Ok(unsettled.iter().any(|promotion| promotion.to == Stage::Testing))
}

/// Was this commit brought, or tried, before? Then somebody has gone back from it, or its tests have failed; what is tried again is
/// the next commit.
async fn was_brought(tx: &mut Tx, project: &Project, tag: &str, head: &str) -> Answer<bool> {
    let filter =
        PromotionFilter { target: Some(project.target()), limit: NEWEST, ..PromotionFilter::default() };
    let newest = tx.promotions(&filter).await?;
    if newest.iter().filter_map(|promotion| promotion.brings.as_ref()).any(|brings| brings.commit == head) {
        return Ok(true);
    }
    for publication in tx.publications(tag, NEWEST).await? {
        if tx.extras_of(publication.snapshot).await?.is_some_and(|extras| extras.commit == head) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn promotion(hub: &Hub, project: &Project, from: &RepoBranch, head: &str) -> Promotion {
    Promotion {
        id: hub.mint(),
        sig: project.sig.clone(),
        target: project.target(),
        to: Stage::Testing,
        builds: Vec::new(),
        nvrs: Vec::new(),
        remove: Vec::new(),
        stack: None,
        brings: Some(Brings { repo: from.repo.clone(), commit: head.to_owned() }),
        course: Course::Forward,
        confirmed: false,
        by: GATE.to_owned(),
        approvals: Vec::new(),
        suites: BTreeMap::new(),
        base: None,
        created: hub.now(),
        state: PromotionState::Composing,
    }
}

//! Unsettled promotions, each one step on: compose the snapshot that would result, have it tested, ask the gate, move
//! the pointer, show it.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context as _;
use farm::digest::Digest;
use farm::gate::Decision;
use farm::ids::PromotionId;
use farm::ledger::{Kept, Tx};
use farm::promotion::{Promotion, PromotionEvent, PromotionState};
use farm::recipe::RepoSource;
use farm::sig::{Project, Stage};
use farm::snapshot::{Member, Snapshot};

use super::import::GATE;
use super::trial::{Folders, find_suites, test_request, untested, version};
use super::{Progress, repos};
use crate::problem::{Answer, Problem};
use crate::state::Hub;

pub(super) async fn step_all(hub: &Hub) -> Answer<Progress> {
    let unsettled = hub.db.read().await?.unsettled_promotions().await?;
    let mut progress = Progress::None;
    for id in unsettled {
        let what = id.to_string();
        if !hub.troubles.may_try(&what, 0, Instant::now()) {
            continue;
        }
        match step(hub, id).await {
            Ok(made) => {
                hub.troubles.well(&what);
                if made == Progress::Made {
                    progress = Progress::Made;
                }
            }
            Err(problem) => {
                if matches!(problem, Problem::Internal(_)) {
                    hub.troubles.failed(&what, 0, Instant::now());
                }
                tracing::info_span!("keeper", promotion = %id)
                    .in_scope(|| super::log("a promotion", &problem));
            }
        }
    }
    Ok(progress)
}

async fn step(hub: &Hub, id: PromotionId) -> Answer<Progress> {
    let Some(promotion) = hub.db.read().await?.promotion(id).await? else { return Ok(Progress::None) };
    match &promotion.state {
        PromotionState::Composing => compose(hub, &promotion).await,
        PromotionState::InTesting { request: Some(request), .. } => {
            let over =
                hub.db.read().await?.request(*request).await?.is_none_or(|request| request.closed.is_some());
            if over { ask(hub, &promotion).await } else { Ok(Progress::None) }
        }
        PromotionState::Ready { .. } if is_waiting(hub, &promotion).await? => Ok(Progress::None),
        PromotionState::InTesting { request: None, .. } | PromotionState::Ready { .. } => {
            ask(hub, &promotion).await
        }
        PromotionState::Approved { .. } => move_pointer(hub, &promotion).await,
        PromotionState::Publishing { .. } => show(hub, &promotion).await,
        PromotionState::Published { .. }
        | PromotionState::Rejected { .. }
        | PromotionState::Withdrawn { .. } => Ok(Progress::None),
    }
}

/// Does a promotion that is ready still wait for nothing but a person? Asked without the lock, since nothing is done about it.
async fn is_waiting(hub: &Hub, promotion: &Promotion) -> Answer<bool> {
    Ok(hub.db.read().await?.gate_says(promotion).await? == Decision::NeedsApproval)
}

async fn reject(hub: &Hub, promotion: &Kept<Promotion>, why: Vec<String>) -> Answer<Progress> {
    tracing::info!(promotion = %promotion.id, nvrs = promotion.nvrs.join(" "), why = why.join("; "), "the promotion is refused");
    advance(hub, promotion, PromotionEvent::Reject { why }).await
}

async fn advance(hub: &Hub, promotion: &Kept<Promotion>, event: PromotionEvent) -> Answer<Progress> {
    let mut tx = hub.db.write().await?;
    tx.step_promotion(promotion, event, hub.now()).await?;
    tx.commit().await?;
    Ok(Progress::Made)
}

/// The gate's own words for a project without required suites; there is nothing to compose for that.
fn no_suite(project: &Project) -> String {
    format!(
        "no test, no promotion: {} requires no suite; add at least `required = [\"installs\"]` to its [project.tests]",
        project.target()
    )
}

/// What a promotion would make live, and on what.
struct Draft {
    project: Project,
    live: Option<Snapshot>,
    set: Vec<Member>,
}

/// Reads what the snapshot is made of, or says why it cannot be.
async fn draft(tx: &mut Tx, promotion: &Promotion) -> Answer<Result<Draft, Vec<String>>> {
    let community = tx.community().await?;
    let Some(project) = community.target(&promotion.target) else {
        return Ok(Err(vec![format!("target {} is no more", promotion.target)]));
    };
    let live = tx.live(&project.tag(promotion.to)).await?;
    let tested = match promotion.to {
        Stage::Release => tx.live(&project.tag(Stage::Testing)).await?,
        Stage::Testing | Stage::Candidate => None,
    };
    let mut set = Vec::new();
    let mut against = Vec::new();
    for id in &promotion.builds {
        let Some(build) = tx.build(*id).await? else {
            against.push(format!("build {id} is not in the ledger"));
            continue;
        };
        let in_testing = tested.as_ref().is_some_and(|s| s.members.iter().any(|member| member.build == *id));
        if promotion.to == Stage::Release && !in_testing {
            against.push(format!("{} is not in {} any more", build.nvr, project.tag(Stage::Testing)));
        }
        let newer =
            live.iter().flat_map(|s| &s.members).find(|m| m.package == build.nvr.name && m.build > *id);
        if promotion.by == GATE
            && let Some(newer) = newer
        {
            against.push(format!("superseded: {} has passed meanwhile", newer.nvr));
        }
        set.push(build.member());
    }
    if against.is_empty() { Ok(Ok(Draft { project: project.clone(), live, set })) } else { Ok(Err(against)) }
}

/// Composes the snapshot that would result, and asks for the tests whose results are not known yet.
async fn compose(hub: &Hub, promotion: &Kept<Promotion>) -> Answer<Progress> {
    let mut tx = hub.db.read().await?;
    let draft = draft(&mut tx, promotion).await?;
    drop(tx);
    let Draft { project, live, set } = match draft {
        Ok(draft) => draft,
        Err(why) => return reject(hub, promotion, why).await,
    };
    if project.required.is_empty() {
        return reject(hub, promotion, vec![no_suite(&project)]).await;
    }
    let mut tx = hub.db.read().await?;
    let below = tx.community().await?.layers_below(&project);
    let layers = tx.layer_sources(below).await?;
    drop(tx);
    let Some(layers) = layers else { return Ok(Progress::None) };
    let snapshot = Snapshot::compose(hub.mint(), &project.tag(promotion.to), live.as_ref(), &set, hub.now());
    let folders = match find_suites(hub, &project, &snapshot.members).await? {
        Ok(folders) => folders,
        Err(why) => return reject(hub, promotion, why).await,
    };
    if let Err(reason) = repos::compose(hub, &snapshot, &project).await? {
        return reject(hub, promotion, vec![reason]).await;
    }
    let filed = file(hub, promotion, &project, &snapshot, &folders, &layers).await;
    if filed.is_err() {
        // The next try composes anew; this one would lie about until it is old.
        repos::discard(hub, snapshot.id).await;
    }
    filed
}

/// Writes down the snapshot, the request that tests it and the promotion's step, in one transaction.
async fn file(
    hub: &Hub,
    promotion: &Kept<Promotion>,
    project: &Project,
    snapshot: &Snapshot,
    folders: &Folders,
    layers: &[RepoSource],
) -> Answer<Progress> {
    let suites: BTreeMap<String, Digest> =
        folders.iter().map(|(suite, folder)| (suite.clone(), version(suite, folder.as_ref()))).collect();
    let mut tx = hub.db.write().await?;
    let wanted = untested(&mut tx, project, snapshot, &suites, layers).await?;
    tx.insert_snapshot(snapshot).await?;
    let mut request = None;
    if !wanted.is_empty() {
        let (asked, jobs) = test_request(hub, promotion, project, snapshot, &wanted, folders, layers);
        tx.insert_request(&asked).await?;
        for job in &jobs {
            tx.insert_job(job).await?;
        }
        request = Some(asked.id);
    }
    let event = PromotionEvent::Composed { snapshot: snapshot.id, request, suites };
    tx.step_promotion(promotion, event, hub.now()).await?;
    tx.commit().await?;
    tracing::info!(promotion = %promotion.id, snapshot = %snapshot.id, tests = wanted.len(), "the snapshot is composed and its tests are queued");
    Ok(Progress::Made)
}

/// Asks the gate and does what it says.
async fn ask(hub: &Hub, promotion: &Kept<Promotion>) -> Answer<Progress> {
    let mut tx = hub.db.write().await?;
    let event = match tx.ask_gate(promotion).await? {
        Decision::Approved(approved) => {
            PromotionEvent::Approved { snapshot: approved.snapshot(), by: approved.by().to_owned() }
        }
        Decision::NeedsApproval if matches!(promotion.state, PromotionState::Ready { .. }) => {
            return Ok(Progress::None);
        }
        Decision::NeedsApproval => PromotionEvent::NeedsApproval,
        // A run that is over has shown something of everything it was asked for. What is missing is asked for since.
        Decision::Outdated | Decision::Missing(_) => PromotionEvent::Outdated,
        Decision::Later => return Ok(Progress::None),
        Decision::Refused(why) => {
            drop(tx);
            return reject(hub, promotion, why).await;
        }
    };
    tx.step_promotion(promotion, event, hub.now()).await?;
    tx.commit().await?;
    Ok(Progress::Made)
}

/// Brings the snapshot into the public tree, where nothing points to it, then moves the repo's pointer in the transaction in
/// which the gate says yes once more. Users see it when [`show`] swaps the link: whichever line is the last before a crash,
/// they see what was live or what is.
async fn move_pointer(hub: &Hub, promotion: &Kept<Promotion>) -> Answer<Progress> {
    let mut tx = hub.db.write().await?;
    let Decision::Approved(approved) = tx.ask_gate(promotion).await? else {
        drop(tx);
        return take_back(hub, promotion).await;
    };
    let community = tx.community().await?;
    drop(tx);
    let Some((project, stage)) = community.tag(approved.tag()) else {
        return Err(Problem::Internal(anyhow::anyhow!("{} was approved, but it is no tag", approved.tag())));
    };
    let staged = hub.staging.join(approved.snapshot().to_string());
    hub.public
        .admit(&approved, project, stage, &staged)
        .await
        .with_context(|| format!("cannot bring snapshot {} into the public tree", approved.snapshot()))?;

    let mut tx = hub.db.write().await?;
    let Decision::Approved(approved) = tx.ask_gate(promotion).await? else {
        drop(tx);
        return take_back(hub, promotion).await;
    };
    let revision = tx.publish(&approved, hub.now()).await?;
    tx.step_promotion(promotion, PromotionEvent::PointerMoved, hub.now()).await?;
    tx.commit().await?;
    tracing::info!(promotion = %promotion.id, repo = approved.tag(), revision, by = approved.by(), "the repo's pointer moved");
    Ok(Progress::Made)
}

/// The gate has changed its mind between approval and publication.
async fn take_back(hub: &Hub, promotion: &Kept<Promotion>) -> Answer<Progress> {
    let mut tx = hub.db.write().await?;
    let event = match tx.ask_gate(promotion).await? {
        Decision::Approved(_) | Decision::Later => return Ok(Progress::None),
        Decision::NeedsApproval => PromotionEvent::NeedsApproval,
        Decision::Outdated | Decision::Missing(_) => PromotionEvent::Outdated,
        Decision::Refused(why) => PromotionEvent::Reject { why },
    };
    tx.step_promotion(promotion, event, hub.now()).await?;
    tx.commit().await?;
    Ok(Progress::Made)
}

/// Makes the public tree show what the pointer says, then says that it does. A later promotion may have moved the pointer
/// already; the tree then shows that one.
async fn show(hub: &Hub, promotion: &Kept<Promotion>) -> Answer<Progress> {
    let community = hub.community().await?;
    if let Some(project) = community.target(&promotion.target) {
        repos::follow_pointer(hub, &project.tag(promotion.to)).await?;
    }
    let progress = advance(hub, promotion, PromotionEvent::Visible).await?;
    tracing::info!(promotion = %promotion.id, nvrs = promotion.nvrs.join(" "), to = %promotion.to, "published");
    Ok(progress)
}

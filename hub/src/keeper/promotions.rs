//! Unsettled promotions, each one step on: compose the snapshot that would result, have it tested, ask the gate, move
//! the pointer, show it.

use std::collections::BTreeMap;

use anyhow::Context as _;
use farm::gate::Decision;
use farm::ids::PromotionId;
use farm::ledger::Kept;
use farm::promotion::{Brings, Course, Promotion, PromotionEvent, PromotionState};
use farm::queue;
use farm::request::RequestKind;
use farm::sig::Project;

use super::builds::{stop_tests, tell};
use super::draft::{Draft, Queue, Undrafted, draft};
use super::import::GATE;
use super::reading::{self, Read};
use super::trial::{self, Asked, Folders, Place, find_suites, test_request, untested};
use super::trouble::{Subject, step_one};
use super::{Progress, closure, publish, recheck, refused, repos, versions};
use crate::extras;
use crate::problem::Answer;
use crate::state::Hub;

pub(super) async fn step_all(hub: &Hub) -> Answer<Progress> {
    let unsettled = hub.db.glance().await?.unsettled_promotions().await?;
    let mut progress = Progress::None;
    for id in in_order(unsettled) {
        let name = id.to_string();
        let subject = Subject {
            name: &name,
            version: hub.readings.ready(&name),
            what: "a promotion",
            span: tracing::info_span!("keeper", promotion = %id),
        };
        progress |= step_one(hub, subject, Box::pin(step(hub, id))).await;
    }
    Ok(progress)
}

/// What a round begins with: what users wait for, which takes a moment. Composing may take long.
fn in_order(unsettled: Vec<Promotion>) -> impl Iterator<Item = PromotionId> {
    let (first, later): (Vec<_>, Vec<_>) = unsettled.into_iter().partition(queue::goes_first);
    first.into_iter().chain(later).map(|promotion| promotion.id)
}

async fn step(hub: &Hub, id: PromotionId) -> Answer<Progress> {
    let mut tx = hub.db.read().await?;
    let Some(promotion) = tx.promotion(id).await? else { return Ok(Progress::None) };
    let place = Queue::of(&mut tx, &promotion).await?;
    drop(tx);
    match &promotion.state {
        PromotionState::Composing => compose(hub, &promotion, place).await,
        PromotionState::InTesting { .. } | PromotionState::Ready { .. } | PromotionState::Approved { .. }
            if place.is_adrift(&promotion) =>
        {
            cast_off(hub, &promotion).await
        }
        PromotionState::InTesting { request, .. } => {
            let is_over = match request {
                Some(request) => hub
                    .db
                    .read()
                    .await?
                    .request(*request)
                    .await?
                    .is_none_or(|request| request.closed.is_some()),
                None => true,
            };
            // What is ahead is published or refused first; its own results mean nothing before.
            if is_over && place.is_first(&promotion) {
                ask(hub, &promotion).await
            } else {
                Ok(Progress::None)
            }
        }
        PromotionState::Ready { .. } if is_waiting(hub, &promotion).await? => Ok(Progress::None),
        PromotionState::Ready { .. } => ask(hub, &promotion).await,
        PromotionState::Approved { snapshot, .. } => {
            let moved = publish::move_pointer(hub, &promotion).await;
            // Also when somebody was quicker: what came to nothing may have been brought in since they looked.
            refused::take_out(hub, *snapshot).await;
            moved
        }
        PromotionState::Publishing { .. } => publish::show(hub, &promotion).await,
        PromotionState::Published { .. }
        | PromotionState::Rejected { .. }
        | PromotionState::Withdrawn { .. } => Ok(Progress::None),
    }
}

/// Does a promotion that is ready still wait for nothing but a person? Asked without the lock, since nothing is done about it.
async fn is_waiting(hub: &Hub, promotion: &Promotion) -> Answer<bool> {
    let decision = hub.db.read().await?.gate_says(promotion, hub.now()).await?;
    Ok(matches!(decision, Decision::NeedsApproval | Decision::Behind))
}

async fn reject(hub: &Hub, promotion: &Kept<Promotion>, why: Vec<String>) -> Answer<Progress> {
    tracing::info!(promotion = %promotion.id, nvrs = promotion.nvrs.join(" "), why = why.join("; "), "the promotion is refused");
    advance(hub, promotion, PromotionEvent::Reject { why }).await
}

pub(super) async fn advance(
    hub: &Hub,
    promotion: &Kept<Promotion>,
    event: PromotionEvent,
) -> Answer<Progress> {
    let mut tx = hub.db.write().await?;
    tx.step_promotion(promotion, event, hub.now()).await?;
    tx.commit().await?;
    Ok(Progress::Made)
}

/// What it was composed on will never be live: back to composing, and its tests, which are about nothing any more, end.
async fn cast_off(hub: &Hub, promotion: &Kept<Promotion>) -> Answer<Progress> {
    let mut tx = hub.db.write().await?;
    tx.step_promotion(promotion, PromotionEvent::Outdated, hub.now()).await?;
    let stops = stop_tests(hub, &mut tx, promotion, GATE).await?;
    tx.commit().await?;
    tell(&hub.bus, stops).await;
    if let Some(approved) = promotion.to_sign() {
        refused::take_out(hub, approved).await;
    }
    tracing::info!(promotion = %promotion.id, nvrs = promotion.nvrs.join(" "), "what is ahead has changed: it is composed anew");
    Ok(Progress::Made)
}

/// The gate's own words for a project without required suites; there is nothing to compose for that.
fn no_suite(project: &Project) -> String {
    format!(
        "no test, no promotion: {} requires no suite; add at least `required = [\"installs\"]` to its [project.tests]",
        project.target()
    )
}

/// Composes the snapshot that would result, and asks for the tests whose results are not known yet.
async fn compose(hub: &Hub, promotion: &Kept<Promotion>, place: Queue) -> Answer<Progress> {
    let mut tx = hub.db.read().await?;
    let drafted = draft(hub, &mut tx, promotion, &place).await?;
    drop(tx);
    let mut draft = match drafted {
        Ok(draft) => draft,
        Err(Undrafted::NotYet) => return Ok(Progress::None),
        Err(Undrafted::Refused(why)) => return reject(hub, promotion, why).await,
    };
    if draft.project.required.is_empty() {
        return reject(hub, promotion, vec![no_suite(&draft.project)]).await;
    }
    let trial = match promotion.course {
        Course::Forward => {
            draft.snapshot = draft.snapshot.with_extras(extras::read(hub, &draft.project).await??);
            let mut tx = hub.db.read().await?;
            let Draft { community, project, snapshot, .. } = &draft;
            let places = trial::places(&mut tx, community, project, promotion.to, snapshot).await?;
            drop(tx);
            let Some(places) = places else { return Ok(Progress::None) };
            let folders = match find_suites(hub, &places).await? {
                Ok(folders) => folders,
                Err(why) => return reject(hub, promotion, why).await,
            };
            let own = places.first().context("a project is tested in its own place")?;
            let outside = reading::layers(hub, &promotion.id.to_string(), own)?;
            Some((places, folders, outside))
        }
        // It was tested when it was live.
        Course::Back { .. } => None,
    };
    // What nobody tests now nobody needs as it was built.
    if trial.is_some()
        && let Err(reason) = repos::compose(hub, &draft.snapshot, &draft.project).await?
    {
        return reject(hub, promotion, vec![reason]).await;
    }
    let filed = file(hub, promotion, &draft, trial).await;
    if filed.is_err() {
        // The next try composes anew; this one would lie about until it is old.
        repos::discard(hub, draft.snapshot.id).await;
    }
    filed
}

/// Writes down the snapshot, what is known of it, the request that tests the rest and the promotion's step, in one transaction.
async fn file(
    hub: &Hub,
    promotion: &Kept<Promotion>,
    draft: &Draft,
    trial: Option<(Vec<Place>, Folders, Read)>,
) -> Answer<Progress> {
    let Draft { community, project, base, snapshot } = draft;
    let (places, folders, outside) = trial.unwrap_or_default();
    let (mut suites, mut closures) = (BTreeMap::new(), Vec::new());
    if let Some(own) = places.first() {
        suites = versions::all(&folders);
        closures = closure::results(hub, own, &outside, base.as_deref(), snapshot).await?;
    }
    tracing::trace!(target: "steps", "{}: composed for its tests", snapshot.tag);
    let mut tx = hub.db.write().await?;
    let wanted = untested(&mut tx, &places, project, snapshot, &suites).await?;
    tx.insert_snapshot(snapshot).await?;
    for result in &closures {
        tx.insert_result(result).await?;
    }
    recheck::note_surroundings(hub, &mut tx, &outside, community, project).await?;
    let mut request = None;
    if !wanted.is_empty() {
        let asked = Asked {
            kind: RequestKind::Test { promotion: promotion.id, snapshot: snapshot.id },
            project,
            what: promotion
                .brings
                .iter()
                .map(Brings::at)
                .chain(promotion.nvrs.iter().cloned())
                .chain(promotion.remove.iter().map(|gone| format!("-{gone}")))
                .collect::<Vec<_>>()
                .join(" "),
            by: promotion.by.clone(),
        };
        let (asked, jobs) = test_request(hub, asked, snapshot, &wanted, &folders);
        tx.insert_request(&asked).await?;
        for job in &jobs {
            tx.insert_job(job).await?;
        }
        request = Some(asked.id);
    }
    let base = base.as_ref().map(|base| base.id);
    let event = PromotionEvent::Composed { snapshot: snapshot.id, base, request, suites };
    tx.step_promotion(promotion, event, hub.now()).await?;
    tx.commit().await?;
    hub.readings.done(&promotion.id.to_string());
    hub.bus.nudge().await;
    tracing::trace!(target: "steps", "{}: its tests are asked for", snapshot.tag);
    tracing::info!(promotion = %promotion.id, snapshot = %snapshot.id, tests = wanted.len(), "the snapshot is composed and its tests are queued");
    Ok(Progress::Made)
}

/// Asks the gate and does what it says, unless what it would count was shown by suites that have changed since.
async fn ask(hub: &Hub, promotion: &Kept<Promotion>) -> Answer<Progress> {
    if let Some(progress) = versions::catch_up(hub, promotion).await? {
        return Ok(progress);
    }
    let mut tx = hub.db.write().await?;
    let event = match tx.ask_gate(promotion, hub.now()).await? {
        Decision::Approved(approved) => {
            PromotionEvent::Approved { snapshot: approved.snapshot(), by: approved.by() }
        }
        Decision::NeedsApproval if matches!(promotion.state, PromotionState::Ready { .. }) => {
            return Ok(Progress::None);
        }
        Decision::NeedsApproval => PromotionEvent::NeedsApproval,
        // A run that is over has shown something of everything it was asked for. What is missing is asked for since.
        Decision::Outdated | Decision::Missing(_) => PromotionEvent::Outdated,
        Decision::Later | Decision::Behind => return Ok(Progress::None),
        Decision::Refused(why) => {
            drop(tx);
            return reject(hub, promotion, why).await;
        }
    };
    tx.step_promotion(promotion, event, hub.now()).await?;
    tx.commit().await?;
    Ok(Progress::Made)
}

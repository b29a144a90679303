//! Promotions as people read them.

use std::time::Duration;

use farm::api::PromotionView;
use farm::gate::{Decision, Requirement, Waiver, WaiverScope, requirements};
use farm::ids::PromotionId;
use farm::ledger::{LayerState, Tx};
use farm::promotion::{Course, Promotion, PromotionState};
use farm::queue;
use farm::sig::{Community, Layer, Project};
use farm::snapshot::Snapshot;
use farm::stamp::Stamp;
use farm::why::{RepoBehind, Standing, needed, span};

use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// After so long a signer is silent: one that is there asks for work at least once a minute.
const SIGNER_SILENT: Duration = Duration::from_secs(180);

/// A promotion with what the gate looks at.
///
/// # Errors
/// That there is none.
pub async fn view(hub: &Hub, id: PromotionId) -> Answer<PromotionView> {
    let mut tx = hub.db.read().await?;
    let promotion = tx.promotion(id).await?.ok_or_else(|| Problem::not_found("promotion", id))?.value;
    let community = tx.community().await?;
    let snapshot = match promotion.snapshot() {
        Some(snapshot) => tx.snapshot(snapshot).await?,
        None => None,
    };
    let results = match &snapshot {
        Some(snapshot) => tx.results(&snapshot.content).await?,
        None => Vec::new(),
    };
    let required = required(&mut tx, &community, &promotion).await?;
    let mut waivers = tx.waivers(&promotion.target).await?;
    waivers.retain(|waiver| speaks_about(waiver, &promotion, snapshot.as_deref()));
    let standing = standing(hub, &mut tx, &community, &promotion).await?;
    let (behind, signer) = (standing.behind, standing.signer.clone());
    let approvals_needed = needed(&promotion, standing.approvers);
    let sentence = sentence(&standing);
    Ok(PromotionView { sentence, results, required, waivers, behind, approvals_needed, signer, promotion })
}

async fn required(tx: &mut Tx, community: &Community, promotion: &Promotion) -> Answer<Vec<Requirement>> {
    // What goes back was tested before it was published the first time.
    let (Course::Forward, Some(project)) = (&promotion.course, community.target(&promotion.target)) else {
        return Ok(Vec::new());
    };
    let places = tx.places(community, project, promotion.to).await?;
    let layered = places.map(|(layered, _)| layered).unwrap_or_default();
    Ok(requirements(project, &layered))
}

/// Is it about one of the promotion's builds, or about what it would make of the repo?
fn speaks_about(waiver: &Waiver, promotion: &Promotion, snapshot: Option<&Snapshot>) -> bool {
    match &waiver.scope {
        WaiverScope::Content { content } => snapshot.is_some_and(|snapshot| snapshot.content == *content),
        WaiverScope::Build { build, .. } => {
            promotion.builds.contains(build)
                || snapshot.is_some_and(|snapshot| snapshot.members.iter().any(|m| m.build == *build))
        }
    }
}

/// A promotion with what it depends on besides itself.
pub(crate) async fn standing<'a>(
    hub: &Hub,
    tx: &mut Tx,
    community: &Community,
    promotion: &'a Promotion,
) -> Answer<Standing<'a>> {
    let now = hub.now();
    let mut standing = Standing::alone(promotion);
    let Some(project) = community.target(&promotion.target) else { return Ok(standing) };
    standing.approvers = project.approvers;
    if promotion.is_settled() {
        return Ok(standing);
    }
    let unsettled = tx.unsettled_of(&promotion.target).await?;
    let ahead = queue::ahead(promotion, &unsettled, project);
    standing.behind = ahead.map(|ahead| ahead.id);
    standing.signer = signer(tx, promotion, now).await?;
    standing.trouble = hub.troubles.told(&promotion.id.to_string());
    let mut waits_below = promotion.state == PromotionState::Composing && promotion.course == Course::Forward;
    if promotion.snapshot().is_some() {
        let decision = tx.gate_says(promotion, now).await?;
        waits_below = decision == Decision::Later;
        standing.missing = missing(decision);
    }
    if waits_below {
        standing.below = to_name(hub, behind_below(tx, community, project, promotion).await?);
    }
    if let Some(repo) = standing.below.as_ref().filter(|_| !standing.missing.is_empty()) {
        standing.missing = vec![format!("it {}", repo.phrase())];
    }
    Ok(standing)
}

/// Of repos that are behind their tags the one to tell of: one that cannot be composed rather than one that is being composed.
pub(crate) fn to_name(hub: &Hub, tags: Vec<String>) -> Option<RepoBehind> {
    let known = tags.into_iter().map(|tag| RepoBehind { trouble: hub.troubles.told(&tag), tag });
    known.min_by_key(|repo| repo.trouble.is_none())
}

/// What went wrong when a hub tried to take an unsettled promotion on, or to compose a repo below it that it waits for.
pub(crate) async fn trouble(
    hub: &Hub,
    tx: &mut Tx,
    community: &Community,
    promotion: &Promotion,
) -> Answer<Option<String>> {
    let own = hub.troubles.told(&promotion.id.to_string());
    let project = community.target(&promotion.target);
    if own.is_some() || promotion.state != PromotionState::Composing || promotion.course != Course::Forward {
        return Ok(own);
    }
    let Some(project) = project else { return Ok(None) };
    let below = to_name(hub, behind_below(tx, community, project, promotion).await?);
    Ok(below.filter(|repo| repo.trouble.is_some()).map(|repo| format!("it {}", repo.phrase())))
}

/// The tags of the repos behind theirs that a promotion is tested on: below its project, and below those layered on it.
async fn behind_below(
    tx: &mut Tx,
    community: &Community,
    project: &Project,
    promotion: &Promotion,
) -> Answer<Vec<String>> {
    let own = project.tag(promotion.to);
    let mut layers = community.layers_below(project);
    for above in community.layered_on(&own) {
        let tag = above.tag(promotion.to);
        if tx.repo(&tag).await?.current.is_some() {
            layers.push(Layer::Tag { tag });
            layers.extend(community.layers_below(above));
        }
    }
    layers.retain(|layer| !matches!(layer, Layer::Tag { tag } if *tag == own));
    let states = tx.layer_states(layers).await?;
    Ok(states
        .into_iter()
        .filter(LayerState::is_behind)
        .filter_map(|state| state.repo)
        .map(|repo| repo.tag)
        .collect())
}

/// What the signers said last of a promotion that the gate has said yes to, or that they are silent.
async fn signer(tx: &mut Tx, promotion: &Promotion, now: Stamp) -> Answer<Option<String>> {
    if !matches!(promotion.state, PromotionState::Approved { .. }) {
        return Ok(None);
    }
    let signers = tx.signers().await?;
    let trouble = signers.iter().find_map(|heard| {
        heard.word.troubles.get(&promotion.id).map(|said| format!("{}: {said}", heard.word.name))
    });
    // One that can is enough.
    let latest = signers.iter().max_by_key(|heard| heard.at).filter(|heard| now - heard.at > SIGNER_SILENT);
    let silent =
        latest.map(|heard| format!("{} has not been heard of for {}", heard.word.name, span(now - heard.at)));
    Ok(trouble.or(silent))
}

/// What the tests of a promotion have not shown yet.
fn missing(decision: Decision) -> Vec<String> {
    match decision {
        Decision::Missing(what) => what.iter().map(|what| format!("{} is not done", what.phrase())).collect(),
        Decision::Refused(why) => why,
        Decision::Later => vec!["a repo below is being composed".to_owned()],
        Decision::Outdated => vec!["the repo has moved on, so it is composed and tested anew".to_owned()],
        Decision::Behind | Decision::Approved(_) | Decision::NeedsApproval => Vec::new(),
    }
}

/// Does it miss nothing but a release manager's word?
pub(crate) fn needs_word(community: &Community, promotion: &Promotion) -> bool {
    let approvers = community.target(&promotion.target).map_or(1, |project| project.approvers);
    matches!(promotion.state, PromotionState::Ready { .. })
        && promotion.approvals.len() < needed(promotion, approvers)
}

/// One sentence on where a promotion stands.
#[must_use]
pub fn sentence(standing: &Standing<'_>) -> String {
    let promotion = standing.promotion;
    let what = promotion.headline();
    let queued = standing
        .behind
        .map_or_else(String::new, |ahead| format!(", on top of promotion {ahead}, which is ahead of it"));
    if let Some(trouble) = standing.trouble.as_ref().filter(|_| !promotion.is_settled()) {
        return format!("{what}: it cannot go on: {trouble}; it is tried again and again");
    }
    match &promotion.state {
        PromotionState::Composing => match &standing.below {
            Some(repo) => format!("{what}: it {}", repo.phrase()),
            None => format!("{what}: the repo that would result is being composed{queued}"),
        },
        PromotionState::InTesting { .. } => match promotion.course {
            Course::Forward => format!("{what}: the repo that would result is being tested{queued}"),
            Course::Back { .. } => format!("{what}: the gate is being asked"),
        },
        PromotionState::Ready { .. } if !standing.needs_word() => {
            format!("{what}: tests have passed and it is approved; the gate is being asked{queued}")
        }
        PromotionState::Ready { .. } => {
            let whom = if promotion.approvals.is_empty() { "a" } else { "another" };
            let count =
                if standing.approvers > 1 { format!(" ({})", standing.approvals()) } else { String::new() };
            format!(
                "{what}: tests have passed; {whom} release manager of {} must approve{count}",
                promotion.sig
            )
        }
        PromotionState::Approved { by, .. } => match &standing.signer {
            Some(said) => format!("{what}: approved by {by}; the signer: {said}"),
            None => format!("{what}: approved by {by}, being signed and staged"),
        },
        PromotionState::Publishing { by, .. } => format!("{what}: approved by {by}, being published"),
        PromotionState::Published { by, .. } => format!("{what}: published, approved by {by}"),
        PromotionState::Rejected { why, .. } => format!("{what}: refused: {}", why.join("; ")),
        PromotionState::Withdrawn { by, .. } => format!("{what}: withdrawn by {by}"),
    }
}

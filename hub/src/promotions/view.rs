//! Promotions as people read them.

use std::time::Duration;

use farm::api::PromotionView;
use farm::gate::{Decision, Requirement, Waiver, WaiverScope, requirements};
use farm::ids::PromotionId;
use farm::ledger::Tx;
use farm::promotion::{Course, Promotion, PromotionState};
use farm::queue;
use farm::sig::Community;
use farm::snapshot::Snapshot;
use farm::stamp::Stamp;
use farm::why::{Standing, needed, span};

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
    if promotion.snapshot().is_some() {
        standing.missing = missing(tx, promotion, now).await?;
    }
    Ok(standing)
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
async fn missing(tx: &mut Tx, promotion: &Promotion, now: Stamp) -> Answer<Vec<String>> {
    Ok(match tx.gate_says(promotion, now).await? {
        Decision::Missing(what) => what.iter().map(|what| format!("{} is not done", what.phrase())).collect(),
        Decision::Refused(why) => why,
        Decision::Later => vec!["a repo below is being composed".to_owned()],
        Decision::Outdated => vec!["the repo has moved on, so it is composed and tested anew".to_owned()],
        Decision::Behind | Decision::Approved(_) | Decision::NeedsApproval => Vec::new(),
    })
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
        PromotionState::Composing => format!("{what}: the repo that would result is being composed{queued}"),
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

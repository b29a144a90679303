//! Waivers: a release manager's word in place of a test's result.

use std::time::Duration;

use farm::api::{NewWaiver, Waived};
use farm::gate::{ReleaseManagers, Requirement, Waiver, WaiverScope, requirements};
use farm::ids::{PromotionId, WaiverId};
use farm::ledger::{Person, Tx};
use farm::promotion::{Promotion, PromotionState};
use farm::sig::{Community, Project, Role};
use farm::stamp::Stamp;

use super::reasons::reason;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Days a waiver may hold: whoever needs longer mends the suite.
const DAYS: std::ops::RangeInclusive<u32> = 1..=90;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A release manager waives a result that a promotion lacks. The waiver is kept for ever.
///
/// # Errors
/// That the promotion needs no such result, or is published; that the reason says nothing; that the person may not.
pub async fn waive(hub: &Hub, person: &Person, id: PromotionId, new: NewWaiver) -> Answer<Waived> {
    let why = reason(&new.reason, "a waiver")?;
    if !DAYS.contains(&new.days) {
        return Err(Problem::invalid(
            format!("a waiver of {} days", new.days),
            format!(
                "it holds for {} to {} days; a suite that is wrong for longer is mended",
                DAYS.start(),
                DAYS.end()
            ),
        ));
    }
    let mut tx = hub.db.write().await?;
    let promotion = tx.promotion(id).await?.ok_or_else(|| Problem::not_found("promotion", id))?.value;
    let community = tx.community().await?;
    let project =
        community.target(&promotion.target).ok_or_else(|| Problem::not_found("target", &promotion.target))?;
    is_open_to_waivers(&promotion)?;
    let required = required(&mut tx, &community, project, &promotion).await?;
    let meant = meant(&required, &new)?;
    may_waive(&community, person, project, meant)?;
    let now = hub.now();
    let waiver = Waiver {
        id: hub.mint(),
        target: promotion.target.clone(),
        suite: new.suite,
        arch: new.arch,
        on: new.on,
        scope: scope(&mut tx, &promotion, new.nvr.as_deref()).await?,
        by: person.name.clone(),
        reason: why,
        made: now,
        until: now + DAY * new.days,
        revoked: None,
    };
    let then = then(&promotion, &waiver);
    // A call that is repeated because its answer was lost gives one waiver.
    let known = tx.waivers(&promotion.target).await?;
    if let Some(known) = known.into_iter().find(|known| says_the_same(known, &waiver, now)) {
        return Ok(Waived { waiver: known, then });
    }
    tx.insert_waiver(&waiver).await?;
    tx.commit().await?;
    tracing::info!(waiver = %waiver.id, promotion = %id, by = person.name, suite = waiver.suite, reason = waiver.reason, "a result was waived");
    hub.hurry().await;
    Ok(Waived { waiver, then })
}

fn is_open_to_waivers(promotion: &Promotion) -> Answer<()> {
    match &promotion.state {
        PromotionState::Composing
        | PromotionState::InTesting { .. }
        | PromotionState::Ready { .. }
        | PromotionState::Approved { .. }
        | PromotionState::Rejected { .. } => Ok(()),
        PromotionState::Publishing { .. }
        | PromotionState::Published { .. }
        | PromotionState::Withdrawn { .. } => Err(Problem::conflict(
            format!("promotion {} is {}: there is nothing to waive", promotion.id, promotion.phase()),
            "waive a result of a promotion that is under way or was refused",
        )),
    }
}

async fn required(
    tx: &mut Tx,
    community: &Community,
    project: &Project,
    promotion: &Promotion,
) -> Answer<Vec<Requirement>> {
    let places = tx.places(community, project, promotion.to).await?;
    let Some((layered, _)) = places else {
        return Err(Problem::unavailable("a repo below is being composed", "try again in a moment"));
    };
    Ok(requirements(project, &layered))
}

/// The first of the promotion's requirements that the waiver would stand in for. They differ in nothing but the architecture.
fn meant<'a>(required: &'a [Requirement], new: &NewWaiver) -> Answer<&'a Requirement> {
    let is_meant = |requirement: &&Requirement| {
        requirement.suite == new.suite
            && requirement.on == new.on
            && new.arch.is_none_or(|arch| arch == requirement.arch)
    };
    required.iter().find(is_meant).ok_or_else(|| {
        let phrases: Vec<String> = required.iter().map(Requirement::phrase).collect();
        let shown: String = new.suite.chars().take(100).collect();
        let of = new
            .on
            .as_ref()
            .map_or_else(String::new, |on| format!(" of {}", on.chars().take(200).collect::<String>()));
        let on = new.arch.map_or_else(String::new, |arch| format!(" on {arch}"));
        Problem::invalid(
            format!("the promotion does not require suite {shown}{of}{on}"),
            format!("it requires these: {}", phrases.join("; ")),
        )
    })
}

/// The release managers who may waive this: those of the repo's SIG, and of the layered SIG whose suite it is. Being an admin of the
/// farm is no such thing.
fn may_waive(
    community: &Community,
    person: &Person,
    project: &Project,
    requirement: &Requirement,
) -> Answer<()> {
    let managers_of = |sig: &str| {
        let sig = community.sig(sig);
        let members = sig.into_iter().flat_map(|sig| sig.members.keys().map(move |name| (sig, name)));
        members
            .filter(|(sig, name)| sig.has_role(name, Role::ReleaseManager))
            .map(|(_, name)| name.clone())
            .collect()
    };
    let above = requirement.on.as_deref().and_then(|target| community.target(target));
    let managers = ReleaseManagers {
        own: managers_of(&project.sig),
        layered: above.iter().map(|above| (above.target(), managers_of(&above.sig))).collect(),
    };
    if managers.may_waive(&person.name, requirement) {
        return Ok(());
    }
    let or = above.map_or_else(String::new, |above| format!(" or {}", above.sig));
    Err(Problem::forbidden(
        format!("{} is no release-manager of SIG {}{or}", person.name, project.sig),
        format!("ask a release manager of {}{or}", project.sig),
    ))
}

/// What the waiver is about: one of the promotion's builds, or exactly the content that was tested.
async fn scope(tx: &mut Tx, promotion: &Promotion, nvr: Option<&str>) -> Answer<WaiverScope> {
    if let Some(nvr) = nvr {
        let of_set = promotion.nvrs.iter().zip(&promotion.builds).find(|(known, _)| *known == nvr);
        let (nvr, build) = of_set.ok_or_else(|| {
            let shown: String = nvr.chars().take(200).collect();
            Problem::invalid(
                format!("{shown} is no build of promotion {}", promotion.id),
                format!("it has these: {}", promotion.nvrs.join(" ")),
            )
        })?;
        return Ok(WaiverScope::Build { build: *build, nvr: nvr.clone() });
    }
    let snapshot = match promotion.snapshot() {
        Some(id) => tx.snapshot(id).await?,
        None => None,
    };
    match snapshot {
        Some(snapshot) => Ok(WaiverScope::Content { content: snapshot.content.clone() }),
        None => Err(Problem::conflict(
            format!("promotion {} has no content yet that a waiver could be about", promotion.id),
            "wait until it is composed, or name one of its builds with --nvr",
        )),
    }
}

/// How much longer a waiver must hold than one that says the same, to be another one.
const LONGER: Duration = Duration::from_secs(3600);

fn says_the_same(known: &Waiver, waiver: &Waiver, now: Stamp) -> bool {
    known.revoked.is_none()
        && now < known.until
        && waiver.until <= known.until + LONGER
        && (&known.suite, known.arch, &known.on) == (&waiver.suite, waiver.arch, &waiver.on)
        && (&known.scope, &known.by, &known.reason) == (&waiver.scope, &waiver.by, &waiver.reason)
}

/// What follows for the promotion.
fn then(promotion: &Promotion, waiver: &Waiver) -> String {
    let holds = match &waiver.scope {
        WaiverScope::Content { .. } => {
            "it holds for exactly the content that was tested, so not if the repo moves first (--nvr holds for a build wherever it is)".to_owned()
        }
        WaiverScope::Build { nvr, .. } => format!(
            "until then {} stops nothing in {} that has {nvr}, whatever else changes there",
            waiver.suite, waiver.target
        ),
    };
    if !matches!(promotion.state, PromotionState::Rejected { .. }) {
        return format!(
            "the gate takes it into account: `grange why {}` says what it waits for; {holds}",
            promotion.id
        );
    }
    let again = promotion.again().unwrap_or_else(|| "ask again".to_owned());
    format!("the promotion was refused before this: ask again with `{again}`; {holds}")
}

/// Every waiver that was ever given for a target, the oldest first.
///
/// # Errors
/// That there is no such target.
pub async fn waivers(hub: &Hub, target: &str) -> Answer<Vec<Waiver>> {
    let mut tx = hub.db.read().await?;
    let waivers = tx.waivers(target).await?;
    // Those of a target that is no more stay readable.
    if waivers.is_empty() && tx.community().await?.target(target).is_none() {
        return Err(Problem::not_found("target", target.chars().take(200).collect::<String>()));
    }
    Ok(waivers)
}

/// Takes a waiver back. It stays, for everybody to read; what was published with it stays as well.
///
/// # Errors
/// That there is none, that it was taken back before, or that the person may not.
pub async fn revoke(hub: &Hub, person: &Person, id: WaiverId) -> Answer<Waiver> {
    let mut tx = hub.db.write().await?;
    let waiver = tx.waiver(id).await?.ok_or_else(|| Problem::not_found("waiver", id))?;
    let community = tx.community().await?;
    if person.name != waiver.by {
        let project =
            community.target(&waiver.target).ok_or_else(|| Problem::not_found("target", &waiver.target))?;
        let arch = waiver.arch.or(project.arches.first().copied());
        let arch = arch.ok_or_else(|| Problem::not_found("architecture of target", &waiver.target))?;
        let requirement = Requirement { suite: waiver.suite.clone(), arch, on: waiver.on.clone() };
        may_waive(&community, person, project, &requirement)?;
    }
    if let Some((by, _)) = &waiver.revoked {
        return Err(Problem::conflict(
            format!("waiver {id} was taken back by {by} before"),
            format!("`grange waivers {}` lists all of them", waiver.target),
        ));
    }
    tx.revoke_waiver(&waiver, &person.name, hub.now()).await?;
    let revoked = tx.waiver(id).await?.ok_or_else(|| Problem::not_found("waiver", id))?.value;
    tx.commit().await?;
    tracing::info!(waiver = %id, by = person.name, "a waiver was taken back");
    hub.hurry().await;
    Ok(revoked)
}

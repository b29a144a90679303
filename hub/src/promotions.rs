//! Promotions, as people ask for them.

use farm::api::{NewPromotion, PromotionView};
use farm::gate::requirements;
use farm::ids::PromotionId;
use farm::ledger::{Person, PromotionFilter, Tx};
use farm::promotion::{Promotion, PromotionEvent, PromotionState};
use farm::sig::{Role, Stage};

use crate::keeper::{cancel_in, tell};
use crate::problem::{Answer, Problem};
use crate::state::{Hub, require_role};

/// How many of a target's newest promotions are searched for the one that refused a build.
const LOOK_BACK: u32 = 200;

/// Opens a promotion of builds that move together or not at all. A release manager who opens one approves it with that;
/// a maintainer's waits, once its tests have passed, for a release manager.
///
/// # Errors
/// What speaks against it already: unknown builds, several targets, tests that were not passed; or that the person may not.
pub async fn open(hub: &Hub, person: &Person, new: NewPromotion) -> Answer<PromotionId> {
    if new.to == Stage::Candidate {
        return Err(Problem::invalid(
            "builds enter candidate by being built",
            "promote to `testing` or `release`",
        ));
    }
    if new.nvrs.is_empty() {
        return Err(Problem::invalid(
            "no build is named",
            "name at least one NVR, such as hello-2.10-1.el9s",
        ));
    }
    let mut tx = hub.db.write().await?;
    let mut builds = Vec::new();
    for nvr in &new.nvrs {
        let build = tx.build_by_nvr(nvr).await?.ok_or_else(|| Problem::not_found("build", nvr))?;
        if builds.iter().any(|known: &farm::build::Build| known.nvr.name == build.nvr.name) {
            return Err(Problem::invalid(
                format!("{} is named twice, or in two versions", build.nvr.name),
                "a repo holds one build of a package: name one",
            ));
        }
        builds.push(build);
    }
    let target = builds[0].target.clone();
    if let Some(other) = builds.iter().find(|build| build.target != target) {
        return Err(Problem::invalid(
            format!("{} was built for {target}, but {} for {}", builds[0].nvr, other.nvr, other.target),
            "promote the builds of one target at a time",
        ));
    }
    let community = tx.community().await?;
    let project = community.target(&target).ok_or_else(|| Problem::not_found("target", &target))?;
    let approver = match require_role(&community, person, &project.sig, Role::ReleaseManager) {
        Ok(()) => Some(person.name.clone()),
        Err(_) => {
            require_role(&community, person, &project.sig, Role::Maintainer)?;
            None
        }
    };
    if new.to == Stage::Release {
        let tested = tx.live(&project.tag(Stage::Testing)).await?;
        for build in &builds {
            if !tested.iter().flat_map(|s| &s.members).any(|member| member.build == build.id) {
                return Err(
                    refusal(&mut tx, &build.nvr.to_string(), &target, &project.tag(Stage::Testing)).await?
                );
            }
        }
    }
    let same = PromotionFilter {
        target: Some(target.clone()),
        settled: Some(false),
        limit: LOOK_BACK,
        ..Default::default()
    };
    // In the order of packages, so that the same set named in another order is found to be the same.
    builds.sort_by(|one, other| one.nvr.name.cmp(&other.nvr.name));
    let ids: Vec<_> = builds.iter().map(|build| build.id).collect();
    tx.lock_promotions(&target).await?;
    if let Some(known) =
        tx.promotions(&same).await?.iter().find(|known| known.to == new.to && known.builds == ids)
    {
        return Err(Problem::conflict(
            format!("promotion {} of the same builds is {}", known.id, known.phase()),
            format!("watch it at {}", hub.promotion_url(known.id)),
        ));
    }
    let promotion = Promotion {
        id: hub.mint(),
        sig: project.sig.clone(),
        target,
        to: new.to,
        builds: ids,
        nvrs: builds.iter().map(|build| build.nvr.to_string()).collect(),
        by: person.name.clone(),
        approver,
        suites: std::collections::BTreeMap::new(),
        created: hub.now(),
        state: PromotionState::Composing,
    };
    tx.insert_promotion(&promotion).await?;
    tx.commit().await?;
    hub.hurry().await;
    Ok(promotion.id)
}

/// Why a build is not in testing: what the gate said of it, or that it has not spoken yet.
async fn refusal(tx: &mut Tx, nvr: &str, target: &str, testing: &str) -> Answer<Problem> {
    let filter = PromotionFilter { target: Some(target.to_owned()), limit: LOOK_BACK, ..Default::default() };
    let newest =
        tx.promotions(&filter).await?.into_iter().find(|promotion| {
            promotion.to == Stage::Testing && promotion.nvrs.iter().any(|known| known == nvr)
        });
    let (what, fix) = match newest.map(|promotion| (promotion.id, promotion.state)) {
        Some((id, PromotionState::Rejected { why, .. })) => (
            format!("{nvr} has not passed its tests: {}", why.join("; ")),
            format!(
                "mend it and push again; `grange promotions {id}` has the results, `grange promote --to testing {nvr}` runs them again"
            ),
        ),
        Some((id, PromotionState::Withdrawn { by, .. })) => (
            format!("{nvr} was withdrawn by {by} before it reached {testing} (promotion {id})"),
            format!("`grange promote --to testing {nvr}` starts over"),
        ),
        Some((id, PromotionState::Published { .. })) => (
            format!("{nvr} is not in {testing} any more: another build took its place after promotion {id}"),
            format!("`grange promote --to testing {nvr}` puts it back"),
        ),
        Some((
            id,
            PromotionState::Composing
            | PromotionState::InTesting { .. }
            | PromotionState::Ready { .. }
            | PromotionState::Approved { .. }
            | PromotionState::Publishing { .. },
        )) => (
            format!("{nvr} is still being tested (promotion {id})"),
            "wait for it with `grange watch`, then promote again".to_owned(),
        ),
        None => (
            format!("{nvr} never came to {testing}"),
            format!("`grange promote --to testing {nvr}` tests it"),
        ),
    };
    Ok(Problem::conflict(what, fix))
}

/// A release manager agrees to a promotion.
///
/// # Errors
/// That it is over, or that the person is no release manager of its SIG.
pub async fn approve(hub: &Hub, person: &Person, id: PromotionId) -> Answer<()> {
    let mut tx = hub.db.write().await?;
    let promotion = tx.promotion(id).await?.ok_or_else(|| Problem::not_found("promotion", id))?;
    require_role(&tx.community().await?, person, &promotion.sig, Role::ReleaseManager)?;
    tx.step_promotion(&promotion, PromotionEvent::Approve { by: person.name.clone() }, hub.now()).await?;
    tx.commit().await?;
    hub.hurry().await;
    Ok(())
}

/// Takes a promotion back before it is published.
///
/// # Errors
/// That it is over or being published, or that the person may not.
pub async fn withdraw(hub: &Hub, person: &Person, id: PromotionId) -> Answer<()> {
    let mut tx = hub.db.write().await?;
    let promotion = tx.promotion(id).await?.ok_or_else(|| Problem::not_found("promotion", id))?;
    if person.name != promotion.by {
        require_role(&tx.community().await?, person, &promotion.sig, Role::ReleaseManager)?;
    }
    tx.step_promotion(&promotion, PromotionEvent::Withdraw { by: person.name.clone() }, hub.now()).await?;
    let mut stops = Vec::new();
    if let PromotionState::InTesting { request: Some(request), .. } = promotion.state {
        let jobs = tx.jobs_of(request).await?;
        let unsettled: Vec<_> = jobs.iter().filter(|job| job.outcome().is_none()).map(|job| job.id).collect();
        stops = cancel_in(hub, &mut tx, &unsettled, &person.name).await?;
    }
    tx.commit().await?;
    tell(&hub.bus, stops).await;
    hub.hurry().await;
    Ok(())
}

/// A promotion with what the gate looks at.
///
/// # Errors
/// That there is none.
pub async fn view(hub: &Hub, id: PromotionId) -> Answer<PromotionView> {
    let mut tx = hub.db.read().await?;
    let promotion = tx.promotion(id).await?.ok_or_else(|| Problem::not_found("promotion", id))?.value;
    let required = match tx.community().await?.target(&promotion.target) {
        Some(project) => requirements(project),
        None => Vec::new(),
    };
    let results = match promotion.snapshot() {
        Some(snapshot) => match tx.snapshot(snapshot).await? {
            Some(snapshot) => tx.results(&snapshot.content).await?,
            None => Vec::new(),
        },
        None => Vec::new(),
    };
    Ok(PromotionView { sentence: sentence(&promotion), promotion, results, required })
}

/// One sentence on where a promotion stands.
#[must_use]
pub fn sentence(promotion: &Promotion) -> String {
    let what = format!("{} to {}", promotion.nvrs.join(", "), promotion.to);
    match &promotion.state {
        PromotionState::Composing => format!("{what}: the repo that would result is being composed"),
        PromotionState::InTesting { .. } => format!("{what}: the repo that would result is being tested"),
        PromotionState::Ready { .. } => {
            format!("{what}: tests have passed; a release manager of {} must approve", promotion.sig)
        }
        PromotionState::Approved { by, .. } => format!("{what}: approved by {by}"),
        PromotionState::Publishing { by, .. } => format!("{what}: approved by {by}, being published"),
        PromotionState::Published { by, .. } => format!("{what}: published, approved by {by}"),
        PromotionState::Rejected { why, .. } => format!("{what}: refused: {}", why.join("; ")),
        PromotionState::Withdrawn { by, .. } => format!("{what}: withdrawn by {by}"),
    }
}

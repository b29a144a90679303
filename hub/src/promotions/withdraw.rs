//! Taking back: a promotion that is under way, or a build that must not be published any more.

use farm::api::{NewWithdrawal, Withdrawn};
use farm::ids::PromotionId;
use farm::ledger::Person;
use farm::promotion::PromotionEvent;
use farm::sig::{Role, Stage};

use super::reasons::reason;
use crate::keeper::{stop_tests, tell};
use crate::problem::{Answer, Problem};
use crate::state::{Hub, require_role};

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
    let stops = stop_tests(hub, &mut tx, &promotion, &person.name).await?;
    tx.commit().await?;
    tell(&hub.bus, stops).await;
    hub.hurry().await;
    Ok(())
}

/// Withdraws a build for good: it leaves the candidate repo, and the gate lets nothing through that it would newly be part of. From
/// a public repo that shows it only a rollback, a newer build or a removal takes it.
///
/// # Errors
/// That there is no such build, that the reason says nothing, or that the person is neither release manager nor maintainer of its
/// SIG.
pub async fn withdraw_build(hub: &Hub, person: &Person, new: NewWithdrawal) -> Answer<Withdrawn> {
    let why = reason(&new.reason, "a withdrawal")?;
    let mut tx = hub.db.write().await?;
    let shown: String = new.nvr.chars().take(200).collect();
    let build = tx.build_by_nvr(&new.nvr).await?.ok_or_else(|| Problem::not_found("build", shown))?;
    let community = tx.community().await?;
    if require_role(&community, person, &build.sig, Role::ReleaseManager).is_err() {
        require_role(&community, person, &build.sig, Role::Maintainer)?;
    }
    let project =
        community.target(&build.target).ok_or_else(|| Problem::not_found("target", &build.target))?;
    let mut warnings = Vec::new();
    if let Some(before) = tx.withdrawal(build.id).await? {
        warnings.push(format!("it was withdrawn by {} before: {}", before.by, before.reason));
    }
    let candidate = project.tag(Stage::Candidate);
    let was_candidate = tx.tagged(&candidate).await?.iter().any(|tagged| tagged.id == build.id);
    tx.withdraw_build(&build, &candidate, &person.name, &why, hub.now()).await?;
    let mut live_in = Vec::new();
    for stage in [Stage::Testing, Stage::Release] {
        let tag = project.tag(stage);
        let live = tx.live(&tag).await?;
        if live.iter().flat_map(|live| &live.members).any(|member| member.build == build.id) {
            live_in.push(tag);
        }
    }
    tx.commit().await?;
    tracing::info!(nvr = %build.nvr, by = person.name, reason = why, "a build was withdrawn");
    hub.hurry().await;
    if was_candidate {
        warnings.push(format!("{candidate} has no build of {} now: build it anew", build.nvr.name));
    }
    if let Some(tag) = live_in.last() {
        warnings.push(format!(
            "users still see it: `grange rollback {tag}`, a newer build, or `grange promote --target {} --remove {}` takes it away",
            build.target, build.nvr.name
        ));
    }
    Ok(Withdrawn { nvr: build.nvr.to_string(), live_in, warnings })
}

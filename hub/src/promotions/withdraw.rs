//! Taking back: a promotion that is under way, or a build that must not be published any more.

use farm::api::{NewWithdrawal, Withdrawn};
use farm::build::Build;
use farm::gate::is_much_smaller;
use farm::ids::PromotionId;
use farm::ledger::{Person, Tx};
use farm::promotion::PromotionEvent;
use farm::sig::{Project, Role, Stage};
use farm::snapshot::Snapshot;

use super::reasons::reason;
use super::rollback::way_back;
use crate::keeper::{stop_tests, take_out, tell};
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
    if let Some(approved) = promotion.to_sign() {
        let hub = hub.clone();
        // Where users fetch it may be a store that does not answer now; the person need not wait for that.
        tokio::spawn(async move { take_out(&hub, approved).await });
    }
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
    let (mut live_in, mut still_seen) = (Vec::new(), Vec::new());
    for stage in [Stage::Testing, Stage::Release] {
        let tag = project.tag(stage);
        let Some(live) = tx.live(&tag).await? else { continue };
        if shows(&live, &build) {
            let ways = ways_out(&mut tx, project, stage, &build, &live).await?;
            still_seen.push(format!(
                "users of {tag} still see it: {ways} takes it away, and so does a newer build"
            ));
            live_in.push(tag);
        }
    }
    tx.commit().await?;
    tracing::info!(nvr = %build.nvr, by = person.name, reason = why, "a build was withdrawn");
    hub.hurry().await;
    if was_candidate {
        warnings.push(format!("{candidate} has no build of {} now: build it anew", build.nvr.name));
    }
    warnings.extend(still_seen);
    Ok(Withdrawn { nvr: build.nvr.to_string(), live_in, warnings })
}

fn shows(snapshot: &Snapshot, build: &Build) -> bool {
    snapshot.members.iter().any(|member| member.build == build.id)
}

/// What takes a build out of the public repo that shows it, as it is typed: leaving it out always does, going back only where that
/// leads to something without it.
async fn ways_out(
    tx: &mut Tx,
    project: &Project,
    stage: Stage,
    build: &Build,
    live: &Snapshot,
) -> Answer<String> {
    let (target, package) = (&build.target, &build.nvr.name);
    let confirm = |after: usize| match is_much_smaller(live.rpms().count(), after) {
        true => " --confirm",
        false => "",
    };
    let left = live.members.iter().filter(|member| member.package != *package);
    let flag = confirm(left.flat_map(|member| &member.rpms).count());
    let removal = format!("`grange promote --target {target} --to {stage} --remove {package}{flag}`");
    let tag = project.tag(stage);
    Ok(match way_back(tx, &tag, live).await? {
        Some(former) if !shows(&former, build) => {
            let flag = confirm(former.rpms().count());
            let reason = format!("{} was withdrawn", build.nvr);
            format!("`grange rollback {tag} --reason \"{reason}\"{flag}` or {removal}")
        }
        Some(_) | None => removal,
    })
}

//! The way back: a public repo shows again what it showed before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use farm::api::{NewRollback, PublicationView};
use farm::gate::is_much_smaller;
use farm::ids::BuildId;
use farm::ledger::{Person, Publication, Tx};
use farm::promotion::{Approval, Course, Promotion, PromotionState};
use farm::sig::{Community, Project, Role, Stage};
use farm::snapshot::Snapshot;

use super::Opened;
use super::reasons::reason;
use crate::problem::{Answer, Problem};
use crate::state::{Hub, require_role};

/// Moves of a pointer among which the one to go back to is looked for.
const LOOK_BACK: u32 = 1_000;

/// Opens a promotion that makes a public repo show again what it showed before, under a higher revision. No test is run again: it
/// was tested in exactly this combination, and published. One release manager's word is enough, and this is it.
///
/// # Errors
/// That there is nothing to go back to; that a build in it was withdrawn, or much less would be left; that the person may not.
pub async fn rollback(hub: &Hub, person: &Person, new: NewRollback) -> Answer<Opened> {
    let why = reason(&new.reason, "a rollback")?;
    let mut tx = hub.db.write().await?;
    let community = tx.community().await?;
    let (project, stage) = public(&community, &new.tag)?;
    require_role(&community, person, &project.sig, Role::ReleaseManager)?;
    let (tag, target) = (project.tag(stage), project.target());
    tx.lock_promotions(&target).await?;
    if let Some(other) = tx
        .unsettled_of(&target)
        .await?
        .iter()
        .find(|other| other.to == stage && other.course != Course::Forward)
    {
        return Err(Problem::conflict(
            format!("{tag} is going back already, with promotion {}", other.id),
            format!("watch it at {}", hub.promotion_url(other.id)),
        ));
    }
    let live = tx.live(&tag).await?.ok_or_else(|| {
        Problem::conflict(format!("{tag} shows nothing yet"), "there is nothing to go back from")
    })?;
    let chosen = match new.revision {
        Some(revision) => of_revision(&mut tx, &tag, revision).await?,
        None => one_before(&mut tx, &tag, &live).await?,
    };
    let former = tx.snapshot(chosen.snapshot).await?.ok_or_else(|| {
        Problem::conflict(
            format!("what {tag} showed as revision {} is not kept any more", chosen.revision),
            format!("`grange history {tag}` lists what it showed"),
        )
    })?;
    may_return(&mut tx, &tag, &live, &former, &chosen, new.confirm).await?;
    let promotion = back(hub, person, project, stage, &live, &former, why, new.confirm);
    tx.insert_promotion(&promotion).await?;
    tx.commit().await?;
    tracing::info!(promotion = %promotion.id, by = person.name, repo = tag, revision = chosen.revision, "a rollback was opened");
    hub.hurry().await;
    Ok(Opened { id: promotion.id, warnings: Vec::new() })
}

fn public<'a>(community: &'a Community, tag: &str) -> Answer<(&'a Project, Stage)> {
    let shown: String = tag.chars().take(200).collect();
    let (project, stage) = community.tag(tag).ok_or_else(|| Problem::not_found("tag", &shown))?;
    if stage == Stage::Candidate {
        return Err(Problem::invalid(
            format!("{shown} is no public repo: it shows what was built last"),
            "name the -testing or -release tag",
        ));
    }
    Ok((project, stage))
}

async fn of_revision(tx: &mut Tx, tag: &str, revision: i64) -> Answer<Publication> {
    let all = tx.publications(tag, LOOK_BACK).await?;
    let is_all = all.len() < LOOK_BACK as usize;
    all.into_iter().find(|one| one.revision == revision).ok_or_else(|| {
        Problem::conflict(
            if is_all {
                format!("{tag} never showed a revision {revision}")
            } else {
                format!("revision {revision} is not among the last {LOOK_BACK} that {tag} showed")
            },
            format!("`grange history {tag}` lists what it showed"),
        )
    })
}

/// The content before the present one. Is the present one itself a return, then it is the one before what was returned to: going
/// back twice never brings back what was left the first time.
async fn one_before(tx: &mut Tx, tag: &str, live: &Snapshot) -> Answer<Publication> {
    let all = tx.publications(tag, LOOK_BACK).await?;
    let mut from = all.iter().find(|one| one.snapshot == live.id).map_or(i64::MAX, |one| one.revision);
    while let Some(one) = all.iter().find(|one| one.revision == from) {
        let course = tx.promotion(one.promotion).await?.map(|promotion| promotion.value.course);
        let Some(Course::Back { to, .. }) = course else { break };
        match all.iter().find(|earlier| earlier.snapshot == to && earlier.revision < from) {
            Some(earlier) => from = earlier.revision,
            None => break,
        }
    }
    all.into_iter().find(|one| one.revision < from && one.content != live.content).ok_or_else(|| {
        Problem::conflict(
            format!("{tag} showed nothing else before what it shows now"),
            format!("`grange history {tag}` lists what it showed; --revision chooses one"),
        )
    })
}

/// What going back would show, where it leads anywhere; much less than now counts as meant.
pub(super) async fn way_back(tx: &mut Tx, tag: &str, live: &Snapshot) -> Answer<Option<Arc<Snapshot>>> {
    let refused = |problem: &Problem| matches!(problem, Problem::Conflict { .. });
    let chosen = match one_before(tx, tag, live).await {
        Ok(chosen) => chosen,
        Err(problem) if refused(&problem) => return Ok(None),
        Err(problem) => return Err(problem),
    };
    let Some(former) = tx.snapshot(chosen.snapshot).await? else { return Ok(None) };
    match may_return(tx, tag, live, &former, &chosen, true).await {
        Ok(()) => Ok(Some(former)),
        Err(problem) if refused(&problem) => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// Something else than now, nothing withdrawn in it, and not much less unless that is meant. The gate asks the same when the
/// repo is moved.
async fn may_return(
    tx: &mut Tx,
    tag: &str,
    live: &Snapshot,
    former: &Snapshot,
    chosen: &Publication,
    confirmed: bool,
) -> Answer<()> {
    if former.content == live.content {
        return Err(Problem::conflict(
            format!("{tag} shows the content of revision {} now", chosen.revision),
            format!("`grange history {tag}` lists what it showed"),
        ));
    }
    let shown = builds(live);
    let withdrawn = tx.withdrawn_of(former).await?;
    let names: Vec<&str> = former
        .members
        .iter()
        .filter(|member| withdrawn.contains(&member.build) && !shown.contains(&member.build))
        .map(|member| member.nvr.as_str())
        .collect();
    if !names.is_empty() {
        return Err(Problem::conflict(
            format!(
                "revision {} of {tag} has what was withdrawn since: {}",
                chosen.revision,
                names.join(", ")
            ),
            format!("choose another with --revision: `grange history {tag}` lists them"),
        ));
    }
    let (before, after) = (live.rpms().count(), former.rpms().count());
    if is_much_smaller(before, after) && !confirmed {
        return Err(Problem::conflict(
            format!("{tag} would have {after} packages instead of {before}"),
            "if that is meant, ask again with --confirm",
        ));
    }
    Ok(())
}

fn builds(snapshot: &Snapshot) -> BTreeSet<BuildId> {
    snapshot.members.iter().map(|member| member.build).collect()
}

/// The promotion: of its builds those are named that come back, and of its packages those that go.
#[allow(clippy::too_many_arguments, reason = "each is one thing that makes it what it is")]
fn back(
    hub: &Hub,
    person: &Person,
    project: &Project,
    stage: Stage,
    live: &Snapshot,
    former: &Snapshot,
    reason: String,
    confirmed: bool,
) -> Promotion {
    let (now, shown) = (hub.now(), builds(live));
    let returning = || former.members.iter().filter(|member| !shown.contains(&member.build));
    let kept: BTreeSet<&str> = former.members.iter().map(|member| member.package.as_str()).collect();
    let packages = live.members.iter().map(|member| &member.package);
    Promotion {
        id: hub.mint(),
        sig: project.sig.clone(),
        target: project.target(),
        to: stage,
        builds: returning().map(|member| member.build).collect(),
        nvrs: returning().map(|member| member.nvr.clone()).collect(),
        remove: packages.filter(|package| !kept.contains(package.as_str())).cloned().collect(),
        stack: None,
        brings: None,
        course: Course::Back { to: former.id, reason },
        confirmed,
        by: person.name.clone(),
        approvals: vec![Approval { by: person.name.clone(), at: now }],
        suites: BTreeMap::new(),
        base: None,
        created: now,
        state: PromotionState::Composing,
    }
}

/// What a public repo showed, the newest first.
///
/// # Errors
/// That there is no such public repo.
pub async fn history(hub: &Hub, tag: &str, limit: u32) -> Answer<Vec<PublicationView>> {
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    let (project, stage) = public(&community, tag)?;
    let mut views = Vec::new();
    for one in tx.publications(&project.tag(stage), limit).await? {
        let promotion = tx.promotion(one.promotion).await?;
        let reason = match promotion.map(|promotion| promotion.value.course) {
            Some(Course::Back { reason, .. }) => Some(reason),
            Some(Course::Forward) | None => None,
        };
        views.push(PublicationView {
            packages: tx.packages_in(one.snapshot).await?.unwrap_or(0),
            revision: one.revision,
            snapshot: one.snapshot,
            promotion: one.promotion,
            by: one.by,
            reason,
            at: one.at,
        });
    }
    Ok(views)
}

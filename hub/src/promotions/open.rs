//! A promotion is asked for.

use std::collections::BTreeMap;

use farm::api::NewPromotion;
use farm::build::Build;
use farm::extras::{Extras, same_files};
use farm::gate::is_much_smaller;
use farm::ids::{BuildId, SnapshotId};
use farm::ledger::{Person, Tx};
use farm::promotion::{Approval, Course, Promotion, PromotionState};
use farm::queue;
use farm::sig::{Community, Project, Role, Stage};
use farm::snapshot::{Member, Rpm, Snapshot};

use super::{Opened, refusal, stack};
use crate::extras::{self, Unfit};
use crate::problem::{Answer, Problem};
use crate::state::{Hub, require_role};

/// Builds and removals that may be named in one promotion. A stack may bring more.
const MOST_NAMED: usize = 2_000;

/// What is to move, as it was found in the ledger.
#[derive(Default)]
pub(super) struct Set {
    /// The builds that enter, one of each package.
    pub(super) builds: Vec<Build>,
    /// The packages that leave.
    pub(super) remove: Vec<String>,
    /// What the person should know besides.
    pub(super) warnings: Vec<String>,
}

/// Opens a promotion: of builds that move together or not at all, of whatever of a stack has changed, of packages that leave. A
/// release manager who opens one has approved it with that; a maintainer's waits, once its tests have passed, for a release
/// manager.
///
/// # Errors
/// What speaks against it already: unknown builds, several targets, tests that were not passed, that it would change nothing; or
/// that the person may not.
pub async fn open(hub: &Hub, person: &Person, new: NewPromotion) -> Answer<Opened> {
    check(&new)?;
    let beside = beside_now(hub, person, &new).await?;
    let mut tx = hub.db.write().await?;
    let named = named(&mut tx, &new.nvrs).await?;
    let target = target_of(&named, new.target.as_deref())?;
    let community = tx.community().await?;
    let project = community.target(&target).ok_or_else(|| unknown_target(&target))?;
    let is_manager = may_open(&community, person, project)?;
    tx.lock_promotions(&target).await?;
    let tag = project.tag(new.to);
    let live = tx.live(&tag).await?;
    let mut set = Set { builds: named, remove: new.remove.clone(), warnings: Vec::new() };
    if let Some(name) = &new.stack {
        stack::add_changed(&mut tx, project, new.to, name, live.as_deref(), &mut set).await?;
    }
    // In the order of packages, so that the same set named in another order is found to be the same.
    set.builds.sort_by(|one, other| one.nvr.name.cmp(&other.nvr.name));
    set.remove.sort();
    set.remove.dedup();
    let unsettled = tx.unsettled_of(&target).await?;
    may_enter(&mut tx, project, new.to, &set).await?;
    may_leave(&tag, &set, live.as_deref(), new.to, &unsettled)?;
    is_something_new(hub, project, &set, live.as_deref(), new.to, &unsettled, beside)?;
    is_meant(hub, project, new.to, &set, live.as_deref(), new.confirm)?;
    let back = steps_back(&tag, &set.builds, live.as_deref());
    set.warnings.extend(back);
    let now = hub.now();
    let approvals = if is_manager && new.to == Stage::Release {
        vec![Approval { by: person.name.clone(), at: now }]
    } else {
        Vec::new()
    };
    let promotion = Promotion {
        id: hub.mint(),
        sig: project.sig.clone(),
        target,
        to: new.to,
        builds: set.builds.iter().map(|build| build.id).collect(),
        nvrs: set.builds.iter().map(|build| build.nvr.to_string()).collect(),
        remove: set.remove,
        stack: new.stack,
        brings: None,
        course: Course::Forward,
        confirmed: new.confirm,
        by: person.name.clone(),
        approvals,
        suites: BTreeMap::new(),
        base: None,
        created: now,
        state: PromotionState::Composing,
    };
    let mut warnings = set.warnings;
    if promotion.stack.is_some() {
        warnings.push(format!("this is what goes: {}", promotion.what()));
    }
    if let Some(ahead) = queue::ahead(&promotion, &unsettled, project) {
        warnings.push(format!(
            "it is tested on top of promotion {}, which is ahead in the queue of {tag}",
            ahead.id
        ));
    }
    tx.insert_promotion(&promotion).await?;
    tx.commit().await?;
    tracing::info!(promotion = %promotion.id, by = person.name, to = %promotion.to, what = promotion.what(), "a promotion was opened");
    hub.hurry().await;
    Ok(Opened { id: promotion.id, warnings })
}

/// What the project that is asked about publishes beside its packages now. Found out before anything is decided: the ledger must
/// not wait for git and the store.
async fn beside_now(hub: &Hub, person: &Person, new: &NewPromotion) -> Answer<Result<Option<Extras>, Unfit>> {
    let mut look = hub.db.glance().await?;
    let named = named(&mut look, &new.nvrs).await?;
    let target = target_of(&named, new.target.as_deref())?;
    let community = look.community().await?;
    drop(look);
    let project = community.target(&target).ok_or_else(|| unknown_target(&target))?;
    may_open(&community, person, project)?;
    extras::read(hub, project).await
}

/// What can be seen to be wrong without the ledger.
fn check(new: &NewPromotion) -> Answer<()> {
    if new.to == Stage::Candidate {
        return Err(Problem::invalid(
            "builds enter candidate by being built",
            "promote to `testing` or `release`",
        ));
    }
    if new.nvrs.is_empty() && new.stack.is_none() && new.remove.is_empty() {
        return Err(Problem::invalid(
            "no build is named",
            "name at least one NVR, such as hello-2.10-1.el9s, or a stack, or a package to remove",
        ));
    }
    let named = new.nvrs.len() + new.remove.len();
    if named > MOST_NAMED {
        return Err(Problem::invalid(
            format!("{named} builds and packages are named at once"),
            format!("name at most {MOST_NAMED}, or make them a stack of the template"),
        ));
    }
    Ok(())
}

/// The builds of these NVRs.
async fn named(tx: &mut Tx, nvrs: &[String]) -> Answer<Vec<Build>> {
    let mut builds: Vec<Build> = Vec::new();
    for nvr in nvrs {
        let build = tx.build_by_nvr(nvr).await?.ok_or_else(|| Problem::not_found("build", shown(nvr)))?;
        if builds.iter().any(|known| known.nvr.name == build.nvr.name) {
            return Err(Problem::invalid(
                format!("{} is named twice, or in two versions", build.nvr.name),
                "a repo holds one build of a package: name one",
            ));
        }
        builds.push(build);
    }
    Ok(builds)
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

fn unknown_target(target: &str) -> Problem {
    Problem::not_found("target", shown(target))
}

/// The one target all of it is about.
fn target_of(builds: &[Build], asked: Option<&str>) -> Answer<String> {
    let target = match (builds.first(), asked) {
        (Some(first), _) => first.target.clone(),
        (None, Some(asked)) => return Ok(asked.to_owned()),
        (None, None) => {
            return Err(Problem::invalid(
                "no target is named, and no build tells it",
                "name it with --target, such as storage9s-gluster-11-el9s; `grange targets` lists them",
            ));
        }
    };
    if let Some(other) = builds.iter().find(|build| build.target != target) {
        return Err(Problem::invalid(
            format!("{} was built for {target}, but {} for {}", builds[0].nvr, other.nvr, other.target),
            "promote the builds of one target at a time",
        ));
    }
    match asked {
        Some(asked) if asked != target => Err(Problem::invalid(
            format!("{} was built for {target}, not for {}", builds[0].nvr, shown(asked)),
            "name the target it was built for, or none",
        )),
        Some(_) | None => Ok(target),
    }
}

/// May this person open a promotion, and is it a release manager's word as well?
fn may_open(community: &Community, person: &Person, project: &Project) -> Answer<bool> {
    if require_role(community, person, &project.sig, Role::ReleaseManager).is_ok() {
        return Ok(true);
    }
    require_role(community, person, &project.sig, Role::Maintainer)?;
    Ok(false)
}

/// Nothing withdrawn enters, and nothing untested is released.
async fn may_enter(tx: &mut Tx, project: &Project, to: Stage, set: &Set) -> Answer<()> {
    for build in &set.builds {
        if let Some(withdrawal) = tx.withdrawal(build.id).await? {
            return Err(Problem::conflict(
                format!("{} was withdrawn by {}: {}", build.nvr, withdrawal.by, withdrawal.reason),
                "build it anew with a higher release",
            ));
        }
    }
    if to != Stage::Release {
        return Ok(());
    }
    let testing = project.tag(Stage::Testing);
    let tested = tx.live(&testing).await?;
    for build in &set.builds {
        if !has(tested.as_deref(), build.id) {
            return Err(
                refusal::not_in_testing(tx, &build.nvr.to_string(), &project.target(), &testing).await?
            );
        }
    }
    Ok(())
}

fn has(snapshot: Option<&Snapshot>, build: BuildId) -> bool {
    snapshot.iter().flat_map(|snapshot| &snapshot.members).any(|member| member.build == build)
}

/// What is to leave must be there, or be on its way there, and not come in the same step.
fn may_leave(
    tag: &str,
    set: &Set,
    live: Option<&Snapshot>,
    to: Stage,
    unsettled: &[Promotion],
) -> Answer<()> {
    for package in &set.remove {
        if set.builds.iter().any(|build| build.nvr.name == *package) {
            return Err(Problem::invalid(
                format!("{package} is to be promoted and to be removed"),
                "name it once: a build takes the place of an older one by itself",
            ));
        }
        let is_there = live.iter().flat_map(|live| &live.members).any(|member| member.package == *package);
        let is_coming = unsettled
            .iter()
            .filter(|other| other.to == to)
            .flat_map(|other| &other.nvrs)
            .any(|nvr| nvr.parse::<farm::nvr::Nvr>().is_ok_and(|nvr| nvr.name == *package));
        if !is_there && !is_coming {
            return Err(Problem::conflict(
                format!("{} is not in {tag}, so it cannot be removed", shown(package)),
                format!("`grange tags {tag}` lists what is; a package is named without its version"),
            ));
        }
    }
    Ok(())
}

/// Neither what the repo shows already nor what is on its way already. What it shows already is something new where other files
/// stand beside the packages than would.
fn is_something_new(
    hub: &Hub,
    project: &Project,
    set: &Set,
    live: Option<&Snapshot>,
    to: Stage,
    unsettled: &[Promotion],
    beside: Result<Option<Extras>, Unfit>,
) -> Answer<()> {
    let ids: Vec<BuildId> = set.builds.iter().map(|build| build.id).collect();
    let same = |known: &&Promotion| {
        known.to == to && known.course == Course::Forward && known.builds == ids && known.remove == set.remove
    };
    if let Some(known) = unsettled.iter().find(same) {
        return Err(Problem::conflict(
            format!("promotion {} of the same builds is {}", known.id, known.phase()),
            format!("watch it at {}", hub.promotion_url(known.id)),
        ));
    }
    let is_shown = set.remove.is_empty() && ids.iter().all(|id| has(live, *id));
    let stands = live.and_then(|live| live.extras.as_ref());
    if is_shown && same_files(stands, beside?.as_ref()) {
        let tag = project.tag(to);
        let (what, are) = match set.builds.as_slice() {
            [one] => (one.nvr.to_string(), "is"),
            several => (format!("all {} builds", several.len()), "are"),
        };
        return Err(Problem::conflict(
            format!("{what} {are} in {tag} already: there is nothing to promote"),
            format!("`grange tags {tag}` lists what it shows"),
        ));
    }
    Ok(())
}

/// What takes the place of something newer: dnf leaves people with that, until they ask for something else.
fn steps_back(tag: &str, builds: &[Build], live: Option<&Snapshot>) -> Vec<String> {
    let is_older = |one: &Rpm, other: &Rpm| {
        (&one.nevra.name, &one.nevra.arch) == (&other.nevra.name, &other.nevra.arch)
            && one.nevra.evr() < other.nevra.evr()
    };
    let shown = |build: &Build| {
        live.into_iter().flat_map(|live| &live.members).find(|member| member.package == build.nvr.name)
    };
    let pairs = builds.iter().filter_map(|build| Some((build, shown(build)?)));
    let back = pairs.filter(|(build, shown)| {
        build.rpms.iter().any(|rpm| shown.rpms.iter().any(|other| is_older(rpm, other)))
    });
    back.map(|(build, shown)| {
        format!(
            "{} is older than {}, which {tag} shows: who has that keeps it until `dnf distro-sync`",
            build.nvr, shown.nvr
        )
    })
    .collect()
}

/// A repo that would be emptied, or lose much, was meant to. The gate asks the same when the repo is moved.
fn is_meant(
    hub: &Hub,
    project: &Project,
    to: Stage,
    set: &Set,
    live: Option<&Snapshot>,
    confirmed: bool,
) -> Answer<()> {
    let Some(live) = live.filter(|_| !confirmed) else { return Ok(()) };
    let tag = project.tag(to);
    let members: Vec<Member> = set.builds.iter().map(Build::member).collect();
    let then =
        Snapshot::compose(hub.mint::<SnapshotId>(), &tag, Some(live), &members, &set.remove, hub.now())
            .shown_on(&project.arches);
    let (before, after) = (live.rpms().count(), then.rpms().count());
    if is_much_smaller(before, after) {
        return Err(Problem::conflict(
            format!("{tag} would have {after} packages instead of {before}"),
            "if that is meant, ask again with --confirm",
        ));
    }
    Ok(())
}

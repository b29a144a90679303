//! Live repos whose ground has moved: each is tested again by itself, see [`farm::recheck`]. The same loop sees to what is
//! published beside packages ([`beside`]).

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use farm::arch::Arch;
use farm::digest::Digest;
use farm::gate::{Requirement, TestResult, environment};
use farm::ids::SnapshotId;
use farm::ledger::{Kept, LayerState, Outside, Tx};
use farm::recheck::{
    Cause, Ground, LayerVersion, Look, Rules, Surroundings, WHOLE, Watch, phrase, promoted_on, reds,
};
use farm::request::RequestKind;
use farm::sig::{Community, Layer, Project, Stage};
use farm::snapshot::Snapshot;
use farm::stamp::Stamp;
use tokio::sync::watch;

use super::import::GATE;
use super::reading::{self, Read};
use super::trial::{self, Asked, Folders, Place, find_suites, test_request, untested};
use super::trouble::{Subject, step_one};
use super::{Progress, beside, closure, repos, versions};
use crate::intake::own_path;
use crate::intake::tree::DistGit;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Looks within the time for which nothing must have changed.
const LOOKS: u64 = 4;
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What is known of the repos outside the farm.
type Outsides = BTreeMap<(String, Arch), Outside>;

/// The versions of the suites of each live repo, as far as they were found lately: looking for them means reading trees.
#[derive(Default)]
struct Suites(BTreeMap<String, (Origin, BTreeMap<String, Digest>)>);

/// What the suites of a live repo come from.
#[derive(PartialEq, Eq)]
struct Origin {
    content: Digest,
    required: Vec<String>,
    /// The head of the suite repo.
    head: Option<String>,
}

/// One live repo.
struct Live<'a> {
    community: &'a Community,
    project: &'a Project,
    stage: Stage,
    tag: String,
    snapshot: SnapshotId,
    content: Digest,
}

impl Live<'_> {
    /// What its rechecks are called.
    fn name(&self) -> String {
        format!("recheck of {}", self.tag)
    }
}

/// Looks at every live repo, again and again, until told to stop. Of hubs that share a data folder one does.
pub(super) async fn run(hub: &Hub, mut stop: watch::Receiver<bool>) {
    let pause =
        Duration::from_millis((hub.config.recheck_ms / LOOKS).max(hub.config.keeper_ms)).min(LONGEST_PAUSE);
    let (mut suites, mut seen) = (Suites::default(), beside::Seen::default());
    while !super::stopped(&stop) {
        if let Some(_turn) = super::alone::own_turn(hub, "rechecks", &mut stop).await {
            match beside::step_all(hub, &mut seen).await {
                Ok(Progress::Made) => hub.hurry().await,
                Ok(Progress::None) => {}
                Err(problem) => super::log("what is published beside packages", &problem),
            }
            if let Err(problem) = step_all(hub, &mut suites).await {
                super::log("rechecks", &problem);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => {}
        }
    }
}

async fn step_all(hub: &Hub, suites: &mut Suites) -> Answer<()> {
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    let mut contents = tx.live_contents().await?;
    let outside = tx.outside().await?;
    drop(tx);
    let mut asked = Progress::None;
    for project in community.projects().filter(|project| !project.required.is_empty()) {
        for stage in [Stage::Testing, Stage::Release] {
            let tag = project.tag(stage);
            let Some((snapshot, content)) = contents.remove(&tag) else { continue };
            let live = Live { community: &community, project, stage, tag, snapshot, content };
            let name = live.name();
            let subject = Subject {
                name: &name,
                version: hub.readings.ready(&name),
                what: "a recheck",
                span: tracing::info_span!("keeper", repo = live.tag),
            };
            asked |= step_one(hub, subject, Box::pin(step(hub, suites, &outside, &live))).await;
        }
    }
    if asked == Progress::Made {
        hub.hurry().await;
    }
    Ok(())
}

/// Looks at one live repo. [`Progress::Made`] says that there is work for builders.
async fn step(hub: &Hub, suites: &mut Suites, outside: &Outsides, live: &Live<'_>) -> Answer<Progress> {
    let mut tx = hub.db.read().await?;
    let Some((_, around)) = surroundings(&mut tx, live.community, live.project, outside).await? else {
        return Ok(Progress::None);
    };
    let before = tx.watch(&live.tag).await?;
    let (mut busy, mut is_over) = (false, false);
    if let Some(request) = before.as_ref().and_then(|watch| watch.request) {
        busy = tx.request(request).await?.is_some_and(|request| request.closed.is_none());
        is_over = !busy;
    }
    drop(tx);
    let versions = suites.of(hub, live).await?;
    let now = Ground { content: live.content.clone(), around, suites: versions };
    let mut watch = match &before {
        Some(kept) if kept.tested.content == now.content => kept.value.clone(),
        other => {
            let promoted = promoted(hub, live, outside, &now).await?;
            match other {
                Some(kept) => kept.promoted(promoted),
                None => Watch::first(&live.tag, promoted, &now, hub.now()),
            }
        }
    };
    if is_over {
        let results = hub.db.glance().await?.results(&now.content).await?;
        watch.red = reds(&watch, &live.project.arches, &results);
        watch.request = None;
        for red in &watch.red {
            tracing::warn!(
                repo = live.tag,
                what = red.phrase(),
                "what is live does not pass its tests any more"
            );
        }
    }
    let rules = Rules {
        wait: Duration::from_millis(hub.config.recheck_ms),
        night: live.project.nightly.then_some(hub.config.nightly_hour),
    };
    let next = match watch.look(&now, busy, rules, hub.now()) {
        Look::Check { watch, causes } => return ask(hub, live, before.as_ref(), watch, causes).await,
        Look::Note(next) => next,
        Look::Same => watch,
    };
    if before.as_ref().is_none_or(|before| before.value != next) {
        let mut tx = hub.db.write().await?;
        tx.keep_watch(before.as_ref(), &next).await?;
        tx.commit().await?;
    }
    Ok(Progress::None)
}

/// What the tests of a project run in now, and what names it on each architecture. `None` while a layer is being composed.
async fn surroundings(
    tx: &mut Tx,
    community: &Community,
    project: &Project,
    outside: &Outsides,
) -> Answer<Option<(BTreeMap<Arch, Digest>, Surroundings)>> {
    let states = tx.layer_states(community.layers_below(project)).await?;
    if states.iter().any(LayerState::is_behind) {
        return Ok(None);
    }
    let layers = states.iter().filter_map(|state| match (&state.layer, &state.repo) {
        (Layer::Tag { tag }, Some(repo)) if repo.current.is_some() => {
            Some(LayerVersion::tag(tag, repo.revision))
        }
        (Layer::Tag { .. }, _) => None,
        (Layer::External(repo), _) => {
            let seen =
                |arch: &Arch| outside.get(&(repo.baseurl.clone(), *arch)).map(|known| known.digest.clone());
            let digests: Option<Vec<Digest>> = project.arches.iter().map(seen).collect();
            Some(LayerVersion::outside(&repo.name, digests.as_deref()))
        }
    });
    let around = Surroundings { image: project.image.clone(), layers: layers.collect() };
    let sources: Vec<_> = states.into_iter().filter_map(|state| state.source).collect();
    let named = |arch: &Arch| (*arch, environment(&project.image_for(*arch), &sources));
    Ok(Some((project.arches.iter().map(named).collect(), around)))
}

/// Notes, for people, what the environments consist of in which the tests of a project run now. Of what is outside that is what
/// they were compared with, or they are compared again.
pub(super) async fn note_surroundings(
    hub: &Hub,
    tx: &mut Tx,
    compared: &Read,
    community: &Community,
    project: &Project,
) -> Answer<()> {
    compared.must_be_noted(hub, tx).await?;
    let outside = tx.outside().await?;
    if let Some((environments, around)) = surroundings(tx, community, project, &outside).await? {
        for environment in environments.values() {
            tx.note_surroundings(environment, &around, hub.now()).await?;
        }
    }
    Ok(())
}

/// What a content that is live since the last look was tested on before it became so.
async fn promoted(hub: &Hub, live: &Live<'_>, outside: &Outsides, now: &Ground) -> Answer<Ground> {
    let mut tx = hub.db.read().await?;
    let own = |result: &TestResult| result.on.is_none() && live.project.required.contains(&result.suite);
    let mut results = tx.results(&now.content).await?;
    results.retain(own);
    let Some((here, _)) = surroundings(&mut tx, live.community, live.project, outside).await? else {
        return Ok(now.clone());
    };
    let is_here = |result: &TestResult| here.get(&result.arch) == Some(&result.environment);
    let is_known_here = live.project.required.iter().all(|suite| {
        live.project.arches.iter().all(|arch| {
            results.iter().any(|result| result.suite == *suite && result.arch == *arch && is_here(result))
        })
    });
    let mut around = None;
    if is_known_here {
        results.retain(is_here);
    } else if let Some(newest) = results.iter().max_by_key(|result| (result.at, result.job)) {
        around = tx.surroundings(&newest.environment).await?.map(|known| known.around);
    }
    let mut moved: BTreeMap<String, Stamp> = BTreeMap::new();
    for layer in live.community.layers_below(live.project) {
        let Layer::External(repo) = layer else { continue };
        let changed = |arch: &Arch| outside.get(&(repo.baseurl.clone(), *arch)).map(|known| known.changed);
        moved.extend(live.project.arches.iter().filter_map(changed).max().map(|at| (repo.name.clone(), at)));
    }
    Ok(promoted_on(now, around.as_ref(), &results, &moved))
}

/// Asks for the suites, and runs what the hub runs itself. What environments have shown counts, unless what has changed does not
/// show in them.
async fn ask(
    hub: &Hub,
    live: &Live<'_>,
    before: Option<&Kept<Watch>>,
    mut watch: Watch,
    causes: Vec<Cause>,
) -> Answer<Progress> {
    let Live { community, project, stage, tag, .. } = live;
    let mut tx = hub.db.read().await?;
    let snapshot = tx.snapshot(live.snapshot).await?.context("a live snapshot is in the ledger")?;
    let Some(places) = trial::places(&mut tx, community, project, *stage, &snapshot).await? else {
        return Ok(Progress::None);
    };
    drop(tx);
    // Those layered on it have nights of their own.
    let is_night_alone = causes == [Cause::Nightly];
    let (places, folders) = with_suites(hub, places, is_night_alone).await?;
    let own = places.first().context("a project is tested in its own place")?;
    let outside = reading::layers(hub, &live.name(), own)?;
    let mut whole = whole(hub, own, &outside, project, &snapshot).await?;
    let versions = versions::found(&folders);
    let asked = Asked {
        kind: RequestKind::Check { tag: tag.clone(), snapshot: snapshot.id, causes: causes.clone() },
        project,
        what: tag.clone(),
        by: GATE.to_owned(),
    };

    let mut tx = hub.db.write().await?;
    let wanted: Vec<(&Place, Requirement)> = if causes.iter().any(Cause::needs_all) {
        let all = |place| Place::requirements(place, project).map(move |requirement| (place, requirement));
        places.iter().flat_map(all).collect()
    } else {
        untested(&mut tx, &places, project, &snapshot, &versions).await?
    };
    for result in &mut whole {
        result.at = hub.now();
        tx.insert_result(result).await?;
    }
    note_surroundings(hub, &mut tx, &outside, community, project).await?;
    let tests = wanted.len();
    if wanted.is_empty() {
        let results = tx.results(&snapshot.content).await?;
        watch.red = reds(&watch, &project.arches, &results);
    } else {
        let (request, jobs) = test_request(hub, asked, &snapshot, &wanted, &folders);
        tx.insert_request(&request).await?;
        for job in &jobs {
            tx.insert_job(job).await?;
        }
        watch.request = Some(request.id);
    }
    tx.keep_watch(before, &watch).await?;
    tx.commit().await?;
    hub.readings.done(&live.name());
    tracing::info!(repo = tag, causes = phrase(&causes), tests, "what is live is tested again");
    Ok(if tests > 0 { Progress::Made } else { Progress::None })
}

/// The places whose suites can be found, with these. The project's own must be.
async fn with_suites(hub: &Hub, places: Vec<Place>, own_alone: bool) -> Answer<(Vec<Place>, Folders)> {
    let (mut kept, mut folders) = (Vec::new(), Folders::new());
    for place in places {
        if own_alone && place.on.is_some() {
            continue;
        }
        let one = [place];
        match find_suites(hub, &one).await? {
            Ok(found) => {
                folders.extend(found);
                kept.extend(one);
            }
            Err(why) => match &one[0].on {
                None => return Err(unreadable(&why)),
                Some(target) => {
                    tracing::warn!(
                        target,
                        why = why.join("; "),
                        "the suites of a layered project cannot be had"
                    );
                }
            },
        }
    }
    Ok((kept, folders))
}

fn unreadable(why: &[String]) -> Problem {
    Problem::unavailable(
        why.join("; "),
        "bring the suite back, or take it from `required` in the SIG's template",
    )
}

/// Can everything in the repo be installed from the layers as they are now?
async fn whole(
    hub: &Hub,
    own: &Place,
    outside: &Read,
    project: &Project,
    snapshot: &Snapshot,
) -> Answer<Vec<TestResult>> {
    if let Err(reason) = repos::compose(hub, snapshot, project).await? {
        return Err(Problem::Internal(anyhow::anyhow!("what is live cannot be composed: {reason}")));
    }
    let results = closure::results(hub, own, outside, None, snapshot).await?;
    Ok(results.into_iter().map(|result| TestResult { suite: WHOLE.to_owned(), ..result }).collect())
}

impl Suites {
    /// The version of each suite of a live repo.
    async fn of(&mut self, hub: &Hub, live: &Live<'_>) -> Answer<BTreeMap<String, Digest>> {
        let project = live.project;
        let origin = Origin {
            content: live.content.clone(),
            required: project.required.clone(),
            head: suite_head(hub, project).await?,
        };
        if let Some((known, versions)) = self.0.get(&live.tag)
            && *known == origin
        {
            return Ok(versions.clone());
        }
        let snapshot = hub.db.glance().await?.snapshot(live.snapshot).await?;
        let members = snapshot.context("a live snapshot is in the ledger")?.members.clone();
        let own = Place { project: project.clone(), on: None, layers: Vec::new(), members };
        let folders = find_suites(hub, &[own]).await?.map_err(|why| unreadable(&why))?;
        let versions = versions::found(&folders);
        self.0.insert(live.tag.clone(), (origin, versions.clone()));
        Ok(versions)
    }
}

/// The head of the branch that a project takes suites from, if it has such a repo and that is there.
async fn suite_head(hub: &Hub, project: &Project) -> Answer<Option<String>> {
    let Some(suites) = project.suites.clone() else { return Ok(None) };
    let path = own_path(hub, &suites.repo);
    let read = move || {
        if !path.is_dir() {
            return Ok(None);
        }
        DistGit::open(&path, &suites.repo)?.head(&suites.branch)
    };
    let head =
        tokio::task::spawn_blocking(read).await.context("the task that reads a suite repo ended early")?;
    head.map_err(|error| unreadable(&[error.to_string()]))
}

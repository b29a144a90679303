//! What is live: what of it does not work any more, and what works on what.

use std::collections::BTreeMap;
use std::sync::Arc;

use farm::api::RedView;
use farm::gate::Requirement;
use farm::ids::{RequestId, SnapshotId};
use farm::ledger::Tx;
use farm::matrix::{Facts, Matrix, grid};
use farm::recheck::{Cause, Watch, standing};
use farm::sig::{Community, Project, Stage};
use farm::snapshot::Snapshot;
use farm::why::{Why, WhyCode};

use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Everything live that its last recheck has shown to be broken, and that nobody has waived, by tag.
///
/// # Errors
/// When the ledger fails.
pub async fn reds(hub: &Hub, tx: &mut Tx, community: &Community) -> Answer<Vec<RedView>> {
    let mut reds = Vec::new();
    let watches = tx.watches().await?;
    if watches.iter().all(|watch| watch.red.is_empty()) {
        return Ok(reds);
    }
    let contents = tx.live_contents().await?;
    for watch in watches.into_iter().filter(|watch| !watch.red.is_empty()) {
        let Some((id, content)) = contents.get(&watch.tag) else { continue };
        if *content == watch.tested.content {
            reds.extend(unwaived(hub, tx, community, watch, *id).await?);
        }
    }
    Ok(reds)
}

async fn unwaived(
    hub: &Hub,
    tx: &mut Tx,
    community: &Community,
    watch: Watch,
    live: SnapshotId,
) -> Answer<Vec<RedView>> {
    let Some((project, _)) = community.tag(&watch.tag) else { return Ok(Vec::new()) };
    let Some(snapshot) = tx.snapshot(live).await? else { return Ok(Vec::new()) };
    let waivers = tx.waivers(&project.target()).await?;
    let managers = tx.release_managers(community, project, &[]).await?;
    let now = hub.now();
    let stays = |suite: &str, arch| {
        let requirement = Requirement { suite: suite.to_owned(), arch, on: None };
        !waivers.iter().any(|waiver| waiver.covers(&requirement, &snapshot, &managers, now))
    };
    let Watch { tag, red, .. } = watch;
    let red = red.into_iter().filter(|red| stays(&red.suite, red.arch));
    Ok(red
        .map(|red| RedView { tag: tag.clone(), sentence: format!("{tag}: {}", red.phrase()), red })
        .collect())
}

/// Is a public repo well? One answer, for whoever asks why it is not. What is waived is said, and no failure.
///
/// # Errors
/// When the ledger fails.
pub async fn why(hub: &Hub, tx: &mut Tx, tag: &str) -> Answer<Why> {
    let community = tx.community().await?;
    let broken = reds(hub, tx, &community).await?.into_iter().find(|view| view.tag == tag);
    let answer =
        |code, sentence: String| Why { code, sentence, root: None, next: None, starts: None, ends: None };
    if let Some((request, causes)) = under_way(tx, tag).await? {
        let causes = farm::recheck::phrase(&causes);
        let testing = answer(WhyCode::Testing, format!("{tag} is being tested again ({causes})"));
        return Ok(Why { root: Some(hub.build_url(request)), ..testing });
    }
    Ok(match broken {
        Some(RedView { sentence, red, .. }) => Why {
            root: red.request.map(|request| hub.build_url(request)),
            next: red.request.map(|request| format!("grange log {request}")),
            ..answer(WhyCode::Failed, sentence)
        },
        None => answer(WhyCode::Done, at_rest(tx, &community, tag).await?),
    })
}

/// How a repo stands that is neither being tested nor broken.
async fn at_rest(tx: &mut Tx, community: &Community, tag: &str) -> Answer<String> {
    let Some((project, _)) = community.tag(tag) else { return Err(Problem::not_found("tag", tag)) };
    let live = tx.live(tag).await?;
    let (mut results, mut waived) = (Vec::new(), Vec::new());
    if let Some(live) = &live {
        results = tx.results(&live.content).await?;
        let watch = tx.watch(tag).await?.map(|watch| watch.value);
        waived = watch.filter(|watch| watch.tested.content == live.content).map_or(waived, |watch| watch.red);
    }
    Ok(standing(tag, project, live.as_deref(), &results, &waived))
}

/// The recheck of a repo that is under way, and why. The keeper may not have seen yet that one is over.
async fn under_way(tx: &mut Tx, tag: &str) -> Answer<Option<(RequestId, Vec<Cause>)>> {
    let Some(watch) = tx.watch(tag).await? else { return Ok(None) };
    let Some(request) = watch.request else { return Ok(None) };
    let is_open = tx.request(request).await?.is_some_and(|request| request.closed.is_none());
    Ok(is_open.then_some((request, watch.value.causes)))
}

/// What of the projects of this name works on what.
///
/// # Errors
/// [`Problem::NotFound`] when the SIG has no such project; when the ledger fails.
pub async fn matrix(hub: &Hub, sig: &str, project: &str, stage: Stage) -> Answer<Matrix> {
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    let is_meant = |known: &&Project| known.sig == sig && known.name == project;
    let projects: Vec<&Project> = community.projects().filter(is_meant).collect();
    if projects.is_empty() {
        return Err(Problem::not_found("project", format!("{project} of SIG {sig}")));
    }
    let mut known = Vec::new();
    for project in projects {
        known.push(Known::of(hub, &mut tx, &community, project, stage).await?);
    }
    let facts: Vec<Facts<'_>> = known.iter().map(Known::facts).collect();
    Ok(grid(sig, project, stage, &facts))
}

/// What [`Facts`] borrows.
struct Known<'a> {
    hub: &'a Hub,
    project: &'a Project,
    live: Option<Arc<Snapshot>>,
    results: Vec<farm::gate::TestResult>,
    surroundings: BTreeMap<farm::digest::Digest, (farm::recheck::Surroundings, farm::stamp::Stamp)>,
    present: BTreeMap<farm::arch::Arch, farm::digest::Digest>,
    running: Option<RequestId>,
    waivers: Vec<farm::gate::Waiver>,
    managers: farm::gate::ReleaseManagers,
}

impl<'a> Known<'a> {
    async fn of(
        hub: &'a Hub,
        tx: &mut Tx,
        community: &Community,
        project: &'a Project,
        stage: Stage,
    ) -> Answer<Known<'a>> {
        let tag = project.tag(stage);
        let live = tx.live(&tag).await?;
        let results = match &live {
            Some(live) => tx.results(&live.content).await?,
            None => Vec::new(),
        };
        let present = match tx.places(community, project, stage).await? {
            Some((_, environments)) => {
                let own =
                    |((on, arch), digest): ((Option<String>, _), _)| on.is_none().then_some((arch, digest));
                environments.into_iter().filter_map(own).collect()
            }
            // A layer is being composed: what comes of it is a column of its own soon.
            None => BTreeMap::new(),
        };
        let mut surroundings = BTreeMap::new();
        for environment in results.iter().map(|result| &result.environment).chain(present.values()) {
            if !surroundings.contains_key(environment)
                && let Some(known) = tx.surroundings(environment).await?
            {
                surroundings.insert(environment.clone(), (known.around, known.since));
            }
        }
        Ok(Known {
            running: under_way(tx, &tag).await?.map(|(request, _)| request),
            waivers: tx.waivers(&project.target()).await?,
            managers: tx.release_managers(community, project, &[]).await?,
            hub,
            project,
            live,
            results,
            surroundings,
            present,
        })
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            project: self.project,
            live: self.live.as_deref(),
            results: &self.results,
            surroundings: &self.surroundings,
            present: &self.present,
            running: self.running,
            waivers: &self.waivers,
            managers: &self.managers,
            now: self.hub.now(),
        }
    }
}

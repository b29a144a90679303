//! What has to be shown of a snapshot before the gate is asked: which suites are still to run, where their folders come from,
//! and the request that runs them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use farm::digest::Digest;
use farm::gate::{
    Requirement, TestResult, TestVerdict, UNDER_TEST, environment, is_about, suite_key, suite_version,
};
use farm::ids::RequestId;
use farm::job::Job;
use farm::ledger::Tx;
use farm::recipe::{Input, RepoOrigin, RepoSource};
use farm::request::{Planner, Request, RequestKind, Source};
use farm::sig::{Community, Project, Stage};
use farm::snapshot::{Member, RpmKind, Snapshot};

use super::suites;
use crate::intake::own_path;
use crate::intake::tree::{DistGit, TreeError};
use crate::problem::Answer;
use crate::state::Hub;

/// Largest suite folder, in bytes.
const MAX_SUITE: u64 = 64 << 20;
/// The priority of the snapshot under test: better than every layer below it.
pub(super) const FIRST: u32 = 1;
/// What the suite repo is called among the packages that bring a suite.
const SUITE_REPO: &str = "suite-repo";

/// The folders of the suites that are to run, by [`suite_key`]; none for the built-in one.
pub(super) type Folders = BTreeMap<String, Option<Input>>;

/// One project whose suites run on a snapshot, and with what.
pub(super) struct Place {
    /// It.
    pub project: Project,
    /// Its target, when it is another project than the snapshot's, layered on it.
    pub on: Option<String>,
    /// The repos besides the snapshot.
    pub layers: Vec<RepoSource>,
    /// What is installed and tested: the snapshot's own builds, or those of the layered project that are live.
    pub members: Vec<Member>,
}

impl Place {
    /// The requirements of its suites, on the architectures both projects have.
    pub(super) fn requirements<'a>(&'a self, below: &'a Project) -> impl Iterator<Item = Requirement> + 'a {
        let arches = self.project.arches.iter().copied().filter(|arch| below.arches.contains(arch));
        arches.flat_map(move |arch| {
            self.project.required.iter().map(move |suite| Requirement {
                suite: suite.clone(),
                arch,
                on: self.on.clone(),
            })
        })
    }
}

/// Where a snapshot for a stage of a project is tested: the project itself first, then those layered on it. `None` while a
/// layer is being composed.
pub(super) async fn places(
    tx: &mut Tx,
    community: &Community,
    project: &Project,
    stage: Stage,
    snapshot: &Snapshot,
) -> Answer<Option<Vec<Place>>> {
    let Some(layers) = tx.layer_sources(community.layers_below(project)).await? else { return Ok(None) };
    let own = Place { project: project.clone(), on: None, layers, members: snapshot.members.clone() };
    let mut places = vec![own];
    let tag = project.tag(stage);
    for above in community.layered_on(&tag) {
        let Some(sources) = tx.sources_over(community, above, stage, &tag).await? else { return Ok(None) };
        let (Some(layers), Some(live)) = (sources, tx.live(&above.tag(stage)).await?) else { continue };
        let on = Some(above.target());
        places.push(Place { project: above.clone(), on, layers, members: live.members.clone() });
    }
    Ok(Some(places))
}

/// What names a version of a suite: the digest of its folder, or of its name when it is built in. A [`suite_key`] will do: the
/// built-in suite is the same one for whichever project it runs.
pub(super) fn version(suite: &str, folder: Option<&Input>) -> Digest {
    let name = suite.split(' ').next().unwrap_or(suite);
    suite_version(name, folder)
}

/// Was it shown that this requirement is met, by the newest of these results that is about it and ran in this environment?
pub(super) fn is_shown(
    results: &[TestResult],
    requirement: &Requirement,
    content: &Digest,
    versions: &BTreeMap<String, Digest>,
    environment: &Digest,
) -> bool {
    let newest = results
        .iter()
        .filter(|result| is_about(result, requirement, content, versions))
        .filter(|result| result.environment == *environment)
        .max_by_key(|result| (result.at, result.job));
    newest.is_some_and(|result| result.verdict == TestVerdict::Passed)
}

/// The requirements that have not been shown for this very content, by these versions of the suites, on these layers, each with
/// the place it is to be shown in. What failed before is run again: somebody asked for this promotion anew.
pub(super) async fn untested<'a>(
    tx: &mut Tx,
    places: &'a [Place],
    below: &Project,
    snapshot: &Snapshot,
    versions: &BTreeMap<String, Digest>,
) -> Answer<Vec<(&'a Place, Requirement)>> {
    let results = tx.results(&snapshot.content).await?;
    let mut wanted = Vec::new();
    for place in places {
        for requirement in place.requirements(below) {
            let environment = environment(&place.project.image_for(requirement.arch), &place.layers);
            if !is_shown(&results, &requirement, &snapshot.content, versions, &environment) {
                wanted.push((place, requirement));
            }
        }
    }
    Ok(wanted)
}

/// Every required suite of every place, kept where tests fetch it: see [`pack_suites`].
pub(super) async fn find_suites(hub: &Hub, places: &[Place]) -> Answer<Result<Folders, Vec<String>>> {
    let packed = match pack_suites(hub, places).await? {
        Ok(packed) => packed,
        Err(why) => return Ok(Err(why)),
    };
    let mut folders = Folders::new();
    for (suite, packed) in packed {
        if let Some(packed) = &packed {
            hub.artifacts.put_bytes(&packed.tar).await.context("cannot store a suite")?;
        }
        folders.insert(suite, packed.map(|packed| packed.folder));
    }
    Ok(Ok(folders))
}

/// A suite's folder, and what it is as a file.
pub(super) struct Packed {
    pub(super) folder: Input,
    tar: Vec<u8>,
}

/// Every required suite of every place, by [`suite_key`]: what the packages there bring, and what the suite repo has; none for
/// the built-in one. `Ok(Err(why))` names those that nobody brings, or that cannot be read.
pub(super) async fn pack_suites(
    hub: &Hub,
    places: &[Place],
) -> Answer<Result<BTreeMap<String, Option<Packed>>, Vec<String>>> {
    let mut packed = BTreeMap::new();
    let mut against = Vec::new();
    for place in places {
        for suite in &place.project.required {
            match pack_suite(hub, &place.project, suite, &place.members).await? {
                Ok(folder) => {
                    packed.insert(suite_key(suite, place.on.as_deref()), folder);
                }
                Err(why) => against.push(why),
            }
        }
    }
    if against.is_empty() { Ok(Ok(packed)) } else { Ok(Err(against)) }
}

async fn pack_suite(
    hub: &Hub,
    project: &Project,
    suite: &str,
    members: &[Member],
) -> Answer<Result<Option<Packed>, String>> {
    if suite == suites::INSTALLS {
        return Ok(Ok(None));
    }
    let mut providers = BTreeMap::new();
    for member in members {
        if let Some(folder) = suite_of(hub, member, suite).await? {
            providers.insert(member.package.clone(), folder);
        }
    }
    match suite_from_repo(hub, project, suite).await? {
        Ok(folder) => providers.extend(folder.map(|folder| (SUITE_REPO.to_owned(), folder))),
        Err(reason) => return Ok(Err(format!("suite {suite} cannot be read: {reason}"))),
    }
    if providers.is_empty() {
        return Ok(Err(format!(
            "suite {suite} is required, but no package of {} brings tests/{suite}/run.sh{}",
            project.folder(),
            project.suites.as_ref().map_or_else(String::new, |repo| format!(
                " and {}#{} has no {suite}/run.sh",
                repo.repo, repo.branch
            ))
        )));
    }
    let tar = suites::combine(&providers)?;
    let size = u64::try_from(tar.len()).context("a suite is too large")?;
    let folder = Input { name: format!("{suite}.tar"), digest: Digest::of(&tar), size };
    Ok(Ok(Some(Packed { folder, tar })))
}

/// The suite a build's own tree brings.
async fn suite_of(hub: &Hub, member: &Member, suite: &str) -> Answer<Option<suites::Suite>> {
    let mut tx = hub.db.read().await?;
    let Some(build) = tx.build(member.build).await? else { return Ok(None) };
    let Some(request) = tx.request(build.request).await? else { return Ok(None) };
    drop(tx);
    let Source::Git { tree: Some(tree), .. } = &request.source else { return Ok(None) };
    let path = hub.artifacts.local(&tree.digest).await;
    let path = path.with_context(|| format!("cannot read the tree of {}", member.nvr))?;
    let folder = format!("tests/{suite}");
    let found = tokio::task::spawn_blocking(move || suites::folder_of(&std::fs::read(path)?, &folder))
        .await
        .context("the task that reads a suite ended early")?
        .with_context(|| format!("cannot read suite {suite} of {}", member.nvr))?;
    Ok(found)
}

/// The suite the project's suite repo has at its branch's head. `Ok(Err(reason))` is for the SIG: the repo cannot be used.
async fn suite_from_repo(
    hub: &Hub,
    project: &Project,
    suite: &str,
) -> Answer<Result<Option<suites::Suite>, String>> {
    let Some(repo) = project.suites.clone() else { return Ok(Ok(None)) };
    let (path, suite) = (own_path(hub, &repo.repo), suite.to_owned());
    let read = move || -> Result<Option<suites::Suite>, String> {
        if !path.is_dir() {
            return Ok(None);
        }
        let said = |error: TreeError| error.to_string();
        let git = DistGit::open(&path, &repo.repo).map_err(said)?;
        let Some(head) = git.head(&repo.branch).map_err(said)? else { return Ok(None) };
        if !git.suites(&head, "").map_err(said)?.contains(&suite) {
            return Ok(None);
        }
        let tar = git.tar_folder(&head, &suite, MAX_SUITE).map_err(said)?;
        suites::folder_of(&tar, "").map_err(|error| error.to_string())
    };
    Ok(tokio::task::spawn_blocking(read).await.context("the task that reads a suite repo ended early")?)
}

/// What a test request says of itself.
pub(super) struct Asked<'a> {
    pub kind: RequestKind,
    pub project: &'a Project,
    /// What is under test, in one line.
    pub what: String,
    pub by: String,
}

/// The request that shows what is not known yet, with a job for each suite and architecture. Every binary package of the
/// place is installed: the combination is what is tested.
pub(super) fn test_request(
    hub: &Hub,
    asked: Asked<'_>,
    snapshot: &Snapshot,
    wanted: &[(&Place, Requirement)],
    folders: &Folders,
) -> (Request, Vec<Job>) {
    let now = hub.now();
    let request = Request {
        id: hub.mint::<RequestId>(),
        kind: asked.kind,
        sig: asked.project.sig.clone(),
        target: asked.project.target(),
        package: asked.what,
        by: asked.by,
        source: Source::Snapshot,
        created: now,
        retry_of: None,
        closed: None,
        chain: None,
    };
    let under_test = RepoSource {
        name: UNDER_TEST.to_owned(),
        priority: FIRST,
        origin: RepoOrigin::Snapshot { id: snapshot.id },
    };
    let jobs = hub.with_minter(|minter| {
        let class = super::class_of(&request);
        let mut planner = Planner { minter, now, request: request.id, class };
        wanted
            .iter()
            .map(|(place, requirement)| {
                let repos = std::iter::once(&under_test).chain(&place.layers).cloned().collect();
                let folder = folders.get(&requirement.key()).cloned().flatten();
                let packages = place
                    .members
                    .iter()
                    .flat_map(|member| &member.rpms)
                    .filter(|rpm| rpm.kind == RpmKind::Binary)
                    .filter(|rpm| rpm.nevra.arch == "noarch" || rpm.built_on == Some(requirement.arch))
                    .map(|rpm| rpm.nevra.to_string())
                    .collect();
                planner.test(&place.project, requirement, folder, packages, repos)
            })
            .collect()
    });
    (request, jobs)
}

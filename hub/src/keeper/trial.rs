//! What has to be shown of a snapshot before the gate is asked: which suites are still to run, where their folders come from,
//! and the request that runs them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use farm::digest::Digest;
use farm::gate::{Requirement, TestVerdict, UNDER_TEST, environment, is_about, requirements};
use farm::ids::RequestId;
use farm::job::Job;
use farm::ledger::Tx;
use farm::promotion::Promotion;
use farm::recipe::{Input, RepoOrigin, RepoSource};
use farm::request::{Planner, Request, RequestKind, Source};
use farm::sig::Project;
use farm::snapshot::{Member, RpmKind, Snapshot};

use super::suites;
use crate::intake::own_path;
use crate::intake::tree::{DistGit, TreeError};
use crate::problem::Answer;
use crate::state::Hub;

/// Largest suite folder, in bytes.
const MAX_SUITE: u64 = 64 << 20;
/// The priority of the snapshot under test: better than every layer below it.
const FIRST: u32 = 1;
/// What the suite repo is called among the packages that bring a suite.
const SUITE_REPO: &str = "suite-repo";

/// A suite that is to run: the folder it is in; none for the built-in one.
pub(super) type Folders = BTreeMap<String, Option<Input>>;

/// What names a version of a suite: the digest of its folder, or of its name when it is built in.
pub(super) fn version(suite: &str, folder: Option<&Input>) -> Digest {
    folder.map_or_else(|| Digest::of(suite.as_bytes()), |folder| folder.digest.clone())
}

/// The requirements that have not been shown for this very content, by these versions of the suites, on these layers. What
/// failed before is run again: somebody asked for this promotion anew.
pub(super) async fn untested(
    tx: &mut Tx,
    project: &Project,
    snapshot: &Snapshot,
    versions: &BTreeMap<String, Digest>,
    layers: &[RepoSource],
) -> Answer<Vec<Requirement>> {
    let results = tx.results(&snapshot.content).await?;
    let shown = |requirement: &Requirement| {
        let environment = environment(&project.image_for(requirement.arch), layers);
        let newest = results
            .iter()
            .filter(|result| is_about(result, requirement, &snapshot.content, versions))
            .filter(|result| result.environment == environment)
            .max_by_key(|result| (result.at, result.job));
        newest.is_some_and(|result| result.verdict == TestVerdict::Passed)
    };
    Ok(requirements(project).into_iter().filter(|requirement| !shown(requirement)).collect())
}

/// Every required suite: what the snapshot's packages bring, and what the suite repo has. `Ok(Err(why))` names those that
/// nobody brings, or that cannot be read.
pub(super) async fn find_suites(
    hub: &Hub,
    project: &Project,
    members: &[Member],
) -> Answer<Result<Folders, Vec<String>>> {
    let mut folders = Folders::new();
    let mut against = Vec::new();
    for suite in &project.required {
        if suite == suites::INSTALLS {
            folders.insert(suite.clone(), None);
            continue;
        }
        let mut providers = BTreeMap::new();
        for member in members {
            if let Some(folder) = suite_of(hub, member, suite).await? {
                providers.insert(member.package.clone(), folder);
            }
        }
        match suite_from_repo(hub, project, suite).await? {
            Ok(folder) => providers.extend(folder.map(|folder| (SUITE_REPO.to_owned(), folder))),
            Err(reason) => {
                against.push(format!("suite {suite} cannot be read: {reason}"));
                continue;
            }
        }
        if providers.is_empty() {
            against.push(format!(
                "suite {suite} is required, but no package of {} brings tests/{suite}/run.sh{}",
                project.folder(),
                project.suites.as_ref().map_or_else(String::new, |repo| format!(
                    " and {}#{} has no {suite}/run.sh",
                    repo.repo, repo.branch
                ))
            ));
            continue;
        }
        let tar = suites::combine(&providers)?;
        let stored = hub.artifacts.put_bytes(&tar).await.context("cannot store a suite")?;
        let input = Input { name: format!("{suite}.tar"), digest: stored.digest, size: stored.size };
        folders.insert(suite.clone(), Some(input));
    }
    if against.is_empty() { Ok(Ok(folders)) } else { Ok(Err(against)) }
}

/// The suite a build's own tree brings.
async fn suite_of(hub: &Hub, member: &Member, suite: &str) -> Answer<Option<suites::Suite>> {
    let mut tx = hub.db.read().await?;
    let Some(build) = tx.build(member.build).await? else { return Ok(None) };
    let Some(request) = tx.request(build.request).await? else { return Ok(None) };
    drop(tx);
    let Source::Git { tree: Some(tree), .. } = &request.source else { return Ok(None) };
    let path = hub.artifacts.path(&tree.digest);
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

/// The request that shows what is not known yet, with a job for each suite and architecture. Every binary package of the
/// snapshot is installed: the combination is what is tested.
pub(super) fn test_request(
    hub: &Hub,
    promotion: &Promotion,
    project: &Project,
    snapshot: &Snapshot,
    wanted: &[Requirement],
    folders: &Folders,
    layers: &[RepoSource],
) -> (Request, Vec<Job>) {
    let now = hub.now();
    let request = Request {
        id: hub.mint::<RequestId>(),
        kind: RequestKind::Test { promotion: promotion.id, snapshot: snapshot.id },
        sig: project.sig.clone(),
        target: project.target(),
        package: promotion.nvrs.join(" "),
        by: promotion.by.clone(),
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
    let repos: Vec<RepoSource> = std::iter::once(under_test).chain(layers.iter().cloned()).collect();
    let jobs = hub.with_minter(|minter| {
        let class = super::class_of(&request);
        let mut planner = Planner { minter, now, request: request.id, class };
        wanted
            .iter()
            .map(|requirement| {
                let folder = folders.get(&requirement.suite).cloned().flatten();
                let packages = snapshot
                    .rpms()
                    .filter(|rpm| rpm.kind == RpmKind::Binary)
                    .filter(|rpm| rpm.nevra.arch == "noarch" || rpm.built_on == Some(requirement.arch))
                    .map(|rpm| rpm.nevra.to_string())
                    .collect();
                planner.test(project, &requirement.suite, requirement.arch, folder, packages, repos.clone())
            })
            .collect()
    });
    (request, jobs)
}

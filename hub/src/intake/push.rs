//! Pushes: a hook's report, or a branch head the sweep finds, becomes a request. A commit of a branch is taken in once,
//! however often and by whomever it is reported.

use farm::extras::ExtraKind;
use farm::message::{BranchUpdate, PushAnswer, PushReport};
use farm::request::{RequestKind, Verdict};
use farm::sig::template::is_branch;
use farm::sig::{Project, RepoBranch};

use super::ask::{Draft, easiest, insert};
use super::source::{is_url, locate, own_path, package_of, prepare};
use super::tree::DistGit;
use crate::extras::{self, Unfit};
use crate::present::nobody_for;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Who asks for a build whose hook call was lost.
const SWEEP: &str = "sweep";

/// A hook's report. Repeating it gives the same answer and no second build.
///
/// # Errors
/// When the report itself is malformed; what cannot be built is said in the answer's lines.
pub async fn push(hub: &Hub, report: PushReport) -> Answer<PushAnswer> {
    let mut lines = Vec::new();
    for update in &report.updates {
        let said = branch(hub, &report.repo, &report.pusher, update, true).await?;
        lines.extend(said.lines().map(str::to_owned));
    }
    hub.hurry().await;
    Ok(PushAnswer { lines })
}

async fn branch(hub: &Hub, repo: &str, pusher: &str, update: &BranchUpdate, judged: bool) -> Answer<String> {
    let BranchUpdate { branch, new, .. } = update;
    let new = &new.to_ascii_lowercase();
    if new.bytes().all(|byte| byte == b'0') {
        return Ok(format!("branch {branch} is deleted; nothing is built"));
    }
    if new.len() != 40 || !new.bytes().all(|byte| byte.is_ascii_hexdigit()) || !is_branch(branch) {
        return Err(Problem::invalid(
            format!("`{branch}` at `{new}` is no branch at a commit"),
            "report what git's post-receive hook reads, without refs/heads/",
        ));
    }
    let repo = repo.strip_suffix(".git").filter(|_| !is_url(repo)).unwrap_or(repo);
    if !is_url(repo) && !repo.starts_with("rpms/") {
        return files(hub, repo, branch).await;
    }
    if let Some(seen) = hub.db.glance().await?.push_seen(repo, branch, new).await? {
        return Ok(seen.note);
    }
    let community = hub.community().await?;
    let package = package_of(repo)?;
    if judged && let Err(refused) = community.may_push(pusher, is_admin(hub, pusher).await?, &package, branch)
    {
        return Ok(format!("not built: {refused}"));
    }
    let Some(project) = community.branch(branch) else {
        return Ok(format!("no target is built from branch {branch}: name it in a project's `branches`"));
    };
    if !project.packages.contains(&package) {
        return Ok(format!("package {package} is not in project {}: add it to `packages`", project.folder()));
    }
    let commit = locate(hub, repo, new).await?;
    let prepared = prepare(hub, &commit).await?;
    let draft = Draft::new(hub, RequestKind::Push { branch: branch.clone() }, project, pusher);
    let (request, job) = draft.for_commit(hub, easiest(hub, project).await?, &commit, prepared);
    let url = hub.build_url(request.id);
    let note = match request.closed.as_ref().map(|closed| &closed.verdict) {
        Some(Verdict::Failed { reason }) => format!("build {package} failed: {reason}: {url}"),
        Some(Verdict::Complete { .. } | Verdict::Cancelled { .. }) | None => {
            let queued = format!("build {package} for {} queued: {url}", project.target());
            let nobody = nobody_for(hub, &mut hub.db.read().await?, project).await?;
            let warnings = nobody.iter().map(|nobody| format!("\nwarning: {nobody}"));
            std::iter::once(queued).chain(warnings).collect()
        }
    };
    let mut tx = hub.db.write().await?;
    if !tx.note_push(repo, branch, new, Some(request.id), &note, hub.now()).await? {
        drop(tx);
        let seen = hub.db.glance().await?.push_seen(repo, branch, new).await?;
        return Ok(seen.map_or(note, |seen| seen.note));
    }
    insert(&mut tx, &request, job.as_ref()).await?;
    tx.commit().await?;
    tracing::info!(request = %request.id, package, branch, pusher, "a push is taken in");
    Ok(note)
}

/// What a push of suites, or of what is published beside packages, amounts to.
async fn files(hub: &Hub, repo: &str, branch: &str) -> Answer<String> {
    let taken = format!(
        "{repo} is taken in: promotions from now on are tested with the suites of {branch}, where a template names it"
    );
    let pushed = RepoBranch { repo: repo.to_owned(), branch: branch.to_owned() };
    let community = hub.community().await?;
    let names = |project: &&Project| project.metadata.as_ref() == Some(&pushed);
    let targets: Vec<String> = community.projects().filter(names).map(Project::target).collect();
    if targets.is_empty() {
        return Ok(taken);
    }
    let beside = targets.join(", ");
    let said = match extras::judge(hub, &pushed).await {
        Ok(found) if found.is_empty() => format!("nothing is published beside the packages of {beside}"),
        Ok(found) => {
            let names: Vec<&str> = found.into_iter().map(ExtraKind::file_name).collect();
            format!("beside the packages of {beside}, once its tests have passed: {}", names.join(", "))
        }
        Err(Unfit(why)) => {
            format!("warning: {why}\nwarning: until that is mended no promotion of {beside} is composed")
        }
    };
    Ok(format!("{taken}\n{said}"))
}

async fn is_admin(hub: &Hub, name: &str) -> Answer<bool> {
    Ok(hub.db.glance().await?.people().await?.iter().any(|person| person.name == name && person.admin))
}

/// Compares the branch heads of the farm's own repos with what was taken in, and takes in what was lost. Who may push
/// was judged when git took the push.
///
/// # Errors
/// When the disk or the ledger fails.
pub async fn sweep(hub: &Hub) -> Answer<()> {
    for package in packages(hub)? {
        let repo = format!("rpms/{package}");
        let path = own_path(hub, &repo);
        let name = repo.clone();
        let heads = super::source::blocking(move || {
            Ok(DistGit::open(&path, &name).and_then(|git| git.branches()).map_err(|error| error.to_string()))
        })
        .await?;
        let heads = match heads {
            Ok(heads) => heads,
            Err(reason) => {
                tracing::error!(repo, reason, "the sweep cannot read a repo");
                continue;
            }
        };
        let community = hub.community().await?;
        for (branch_name, new) in heads {
            let built =
                community.branch(&branch_name).is_some_and(|project| project.packages.contains(&package));
            if !built || hub.db.glance().await?.push_seen(&repo, &branch_name, &new).await?.is_some() {
                continue;
            }
            let update = BranchUpdate { branch: branch_name, old: String::new(), new };
            let line = branch(hub, &repo, SWEEP, &update, false).await?;
            tracing::info!(repo, line, "the sweep found a push whose hook call was lost");
            hub.hurry().await;
        }
    }
    Ok(())
}

/// The packages whose repos the farm's own server has.
fn packages(hub: &Hub) -> Answer<Vec<String>> {
    let folder = hub.config.data.join("git").join("rpms");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut packages = Vec::new();
    for entry in entries {
        if let Some(name) = entry?.file_name().to_str().and_then(|name| name.strip_suffix(".git")) {
            packages.push(name.to_owned());
        }
    }
    packages.sort();
    Ok(packages)
}

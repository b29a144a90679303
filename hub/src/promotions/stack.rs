//! Everything of a stack that changed: what a name of the template stands for at this moment.

use std::collections::{BTreeMap, BTreeSet};

use farm::build::Build;
use farm::ids::BuildId;
use farm::ledger::Tx;
use farm::sig::{Project, Stage};
use farm::snapshot::Snapshot;

use super::open::Set;
use crate::problem::{Answer, Problem};

/// Adds to a set whatever of the stack the stage below has in another build than `live` shows: testing for what is released, and
/// candidate for what goes to testing. What was named by its NVR, or is to be removed, is decided already.
///
/// # Errors
/// That there is no such stack, or that nothing of it has changed and nothing else was asked for.
pub(super) async fn add_changed(
    tx: &mut Tx,
    project: &Project,
    to: Stage,
    name: &str,
    live: Option<&Snapshot>,
    set: &mut Set,
) -> Answer<()> {
    let packages = project.stack(name).ok_or_else(|| unknown(project, name))?;
    let (source, held) = held_below(tx, project, to).await?;
    let shown: BTreeMap<&str, BuildId> =
        live.iter().flat_map(|live| &live.members).map(|m| (m.package.as_str(), m.build)).collect();
    let decided: BTreeSet<String> =
        set.builds.iter().map(|build| build.nvr.name.clone()).chain(set.remove.iter().cloned()).collect();
    let (mut same, mut gone) = (0, Vec::new());
    let before = set.builds.len();
    for package in packages.iter().filter(|package| !decided.contains(*package)) {
        match (held.get(package), shown.get(package.as_str())) {
            (Some(held), Some(shown)) if held == shown => same += 1,
            (Some(held), _) => {
                let build = tx.build(*held).await?.ok_or_else(|| Problem::not_found("build", held))?;
                set.builds.push(build);
            }
            (None, Some(_)) => gone.push(package.clone()),
            (None, None) => {}
        }
    }
    let tag = project.tag(to);
    if set.builds.len() == before && decided.is_empty() {
        let compared = match (same, held.is_empty()) {
            (0, true) => format!("{source} is empty"),
            (0, false) => format!("{source} has none of its {} packages", packages.len()),
            (same, _) => format!("{tag} shows the same {same} of its builds as {source}"),
        };
        return Err(Problem::conflict(
            format!("nothing of stack {name} has changed: {compared}"),
            format!("`grange tags {source}` and `grange tags {tag}` show what each has"),
        ));
    }
    if !gone.is_empty() {
        set.warnings.push(format!(
            "{} of stack {name} stays in {tag} though {source} has it no more; --remove takes a package out",
            gone.join(", ")
        ));
    }
    Ok(())
}

fn unknown(project: &Project, name: &str) -> Problem {
    let shown: String = name.chars().take(100).collect();
    let known: Vec<&str> = project.stacks.keys().map(String::as_str).collect();
    let has = if known.is_empty() { "no stack".to_owned() } else { format!("these: {}", known.join(", ")) };
    Problem::invalid(
        format!("there is no stack {shown} in {}", project.target()),
        format!("its template has {has}; [[project.stack]] adds one"),
    )
}

/// Where the builds come from, and which it has of each package.
async fn held_below(
    tx: &mut Tx,
    project: &Project,
    to: Stage,
) -> Answer<(String, BTreeMap<String, BuildId>)> {
    match to {
        Stage::Release => {
            let tag = project.tag(Stage::Testing);
            let live = tx.live(&tag).await?;
            let held = live.iter().flat_map(|live| &live.members);
            let held = held.map(|member| (member.package.clone(), member.build)).collect();
            Ok((tag, held))
        }
        Stage::Candidate | Stage::Testing => {
            let tag = project.tag(Stage::Candidate);
            let name = |build: Build| (build.nvr.name, build.id);
            let held = tx.tagged(&tag).await?.into_iter().map(name).collect();
            Ok((tag, held))
        }
    }
}

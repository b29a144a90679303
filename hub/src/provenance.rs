//! Publishing where builds come from.
//!
//! ```text
//! pool/<tag>/provenance/<nvr>.dsse.json      what a signer has signed, once for each repo that shows the build
//! snap/<id>/provenance                       -> ../../pool/<tag>/provenance
//! snap/<id>/<folder>/{decision.dsse.json,provenance} -> ../…, for whoever has the address of one folder
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use farm::build::Build;
use farm::dsse::{DecisionPublic, Envelope, IN_TOTO};
use farm::provenance::{BODY, PREDICATE, Statement, file_name};
use farm::sig::Stage;
use farm::signing::Endorsement;
use farm::snapshot::Snapshot;

use crate::files::{At as _, FileError, blocking, ensure_dir};
use crate::problem::{Answer, Problem};
use crate::repos::manifest::is_folder;
use crate::signing::publish::{DECISION, put};
use crate::state::Hub;

/// The folder of it, in a repo's pool and in each snapshot.
pub(crate) const PROVENANCE: &str = "provenance";

/// Writes what the signer gave into the repo's pool, and lets a staged snapshot lead there. Doing it again changes nothing.
///
/// # Errors
/// When the disk fails.
pub async fn publish(hub: &Hub, snapshot: &Snapshot, endorsement: &Endorsement, staged: &Path) -> Answer<()> {
    let pool = pool(hub, &snapshot.tag);
    let (id, tag, staged) = (snapshot.id, snapshot.tag.clone(), staged.to_owned());
    let files: Vec<(String, String)> =
        endorsement.provenance.iter().map(|(nvr, envelope)| (file_name(nvr), envelope.clone())).collect();
    let needed: BTreeSet<String> = snapshot.members.iter().map(|member| file_name(&member.nvr)).collect();
    let write = move || -> Result<usize, FileError> {
        ensure_dir(&pool)?;
        for (name, envelope) in &files {
            put(&pool.join(name), envelope.as_bytes())?;
        }
        lead_there(&tag, &staged)?;
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(&pool).at("list the directory", &pool)? {
            there.extend(entry.at("list the directory", &pool)?.file_name().into_string());
        }
        Ok(needed.difference(&there).count())
    };
    let missing = blocking(write).await.map_err(|error| Problem::Internal(error.into()))?;
    if missing > 0 {
        tracing::warn!(snapshot = %id, repo = snapshot.tag, builds = missing, "builds are published without their provenance");
    }
    Ok(())
}

/// Lets a staged snapshot lead to what its repo's pool has, from where it will be in the public tree.
pub(crate) fn lead_there(tag: &str, staged: &Path) -> Result<(), FileError> {
    lead(&format!("../../pool/{tag}/{PROVENANCE}"), &staged.join(PROVENANCE))?;
    for entry in fs::read_dir(staged).at("list the directory", staged)? {
        let folder = entry.at("list the directory", staged)?.path();
        if folder.file_name().and_then(|name| name.to_str()).is_some_and(is_folder) {
            for name in [DECISION, PROVENANCE] {
                lead(&format!("../{name}"), &folder.join(name))?;
            }
        }
    }
    Ok(())
}

fn lead(target: &str, link: &Path) -> Result<(), FileError> {
    match symlink(target, link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.at("create the link", link),
    }
}

fn pool(hub: &Hub, tag: &str) -> PathBuf {
    hub.public.root().join("pool").join(tag).join(PROVENANCE)
}

/// A build's signed provenance, as it is published.
///
/// # Errors
/// [`Problem::NotFound`] when it was not published yet.
pub async fn of(hub: &Hub, build: &Build) -> Answer<Vec<u8>> {
    let community = hub.community().await?;
    let missing = || Problem::NotFound {
        what: format!(
            "the provenance of {} is signed when it is published first, which it is not yet",
            build.nvr
        ),
    };
    let project = community.target(&build.target).ok_or_else(missing)?;
    for stage in [Stage::Release, Stage::Testing] {
        let file = pool(hub, &project.tag(stage)).join(file_name(&build.nvr.to_string()));
        if let Ok(bytes) = tokio::fs::read(&file).await {
            return Ok(bytes);
        }
    }
    Err(missing())
}

/// What speaks against the provenance that a signer gave with a snapshot.
///
/// # Errors
/// A sentence.
pub fn check(endorsement: &Endorsement, snapshot: &Snapshot, keys: &[DecisionPublic]) -> Result<(), String> {
    for (nvr, envelope) in &endorsement.provenance {
        let wrong = |why: String| format!("the provenance of {nvr}: {why}");
        let member = snapshot.members.iter().find(|member| member.nvr == *nvr);
        let member = member.ok_or_else(|| wrong("it is not in the snapshot".to_owned()))?;
        let envelope = Envelope::from_json(envelope).map_err(|error| wrong(error.to_string()))?;
        let (payload, _) = envelope.open(IN_TOTO, keys).map_err(|error| wrong(error.to_string()))?;
        let statement: Statement =
            serde_json::from_slice(&payload).map_err(|error| wrong(error.to_string()))?;
        if statement.predicate_type != PREDICATE {
            return Err(wrong(format!("it is a {}", statement.predicate_type)));
        }
        let expected: BTreeSet<(&str, Option<&str>)> =
            member.rpms.iter().map(|rpm| (rpm.file.as_str(), Some(rpm.body.as_str()))).collect();
        // The build may have been made for an architecture that its project has no more: nothing of that is published.
        let arch = |file: &str| file.rsplit('.').nth(1).map(str::to_owned);
        let arches: BTreeSet<Option<String>> = member.rpms.iter().map(|rpm| arch(&rpm.file)).collect();
        let named: BTreeSet<(&str, Option<&str>)> = statement
            .subject
            .iter()
            .filter(|subject| arches.contains(&arch(&subject.name)))
            .map(|subject| (subject.name.as_str(), subject.digest.get(BODY).map(String::as_str)))
            .collect();
        if expected != named {
            return Err(wrong("it is about other packages than the build has".to_owned()));
        }
    }
    Ok(())
}

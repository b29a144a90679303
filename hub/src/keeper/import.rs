//! Import: everything a request built becomes one build in the candidate tag, or nothing does.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use farm::build::Build;
use farm::ids::RequestId;
use farm::job::{Job, JobKind};
use farm::ledger::{Artifact, Kept, Tx};
use farm::promotion::{Course, Promotion, PromotionState};
use farm::request::{Closed, Request, Verdict};
use farm::sig::Stage;
use farm::snapshot::{Rpm, RpmKind};

use super::builds::{close, read_source, source_rpm};
use super::{Progress, roots};
use crate::problem::{Answer, Problem};
use crate::repos::engine::EngineError;
use crate::rpms::{self, ReadRpm, RpmError};
use crate::state::Hub;

/// Who opens the promotions that open by themselves.
pub(crate) const GATE: &str = "gate";

pub(super) async fn import(hub: &Hub, request: &Kept<Request>, jobs: &[Job]) -> Answer<Progress> {
    let fail = |reason: String| close(hub, request, Verdict::Failed { reason });
    let srpm = match source_rpm(hub, request, jobs).await? {
        Ok(srpm) => srpm,
        Err(reason) => return fail(reason).await,
    };
    let source = match read_source(hub, &srpm).await? {
        Ok(read) => read,
        Err(reason) => return fail(format!("the source RPM cannot be used: {reason}")).await,
    };
    let (rpms, provides) = match built_rpms(hub, jobs, &srpm.name).await? {
        Ok(built) => built,
        Err(reason) => return fail(format!("the build cannot be imported: {reason}")).await,
    };
    let roots = match roots::roots(hub, jobs).await? {
        Ok(roots) => roots,
        Err(reason) => return fail(format!("the build cannot be imported: {reason}")).await,
    };
    let all: Vec<Rpm> = std::iter::once(source.read.rpm).chain(rpms).collect();
    if let Err(reason) = learn(hub, &all).await? {
        return fail(format!("the build cannot be imported: {reason}")).await;
    }
    let build = Build {
        id: hub.mint(),
        nvr: source.nvr,
        sig: request.sig.clone(),
        target: request.target.clone(),
        request: request.id,
        imported: hub.now(),
        rpms: all,
        roots,
    };

    let mut tx = hub.db.write().await?;
    tx.lock_request(request.id).await?;
    let community = tx.community().await?;
    let Some(project) = community.target(&request.target) else {
        drop(tx);
        return fail(format!("target {} is no more", request.target)).await;
    };
    let candidate = project.tag(Stage::Candidate);
    if let Some(reason) = collision(&build, &tx.tagged(&candidate).await?) {
        drop(tx);
        return fail(reason).await;
    }
    if !tx.insert_build(&build).await? {
        drop(tx);
        return fail(format!(
            "{} was built by somebody else meanwhile: raise Release in the spec",
            build.nvr
        ))
        .await;
    }
    tx.put_provides(build.id, &provides).await?;
    let newer = newer_in(&mut tx, &candidate, &build).await?;
    if newer.is_none() {
        tx.tag_build(&candidate, &build, hub.now()).await?;
    }
    let superseded = |newer: Build| PromotionState::Rejected {
        why: vec![format!("superseded: {} was asked for later and is built already", newer.nvr)],
        at: hub.now(),
        snapshot: None,
    };
    tx.insert_promotion(&Promotion {
        id: hub.mint(),
        sig: build.sig.clone(),
        target: build.target.clone(),
        to: Stage::Testing,
        builds: vec![build.id],
        nvrs: vec![build.nvr.to_string()],
        remove: Vec::new(),
        stack: None,
        brings: None,
        course: Course::Forward,
        confirmed: false,
        by: GATE.to_owned(),
        approvals: Vec::new(),
        suites: std::collections::BTreeMap::new(),
        base: None,
        created: hub.now(),
        state: newer.map_or(PromotionState::Composing, superseded),
    })
    .await?;
    let verdict = Verdict::Complete { build: Some(build.id) };
    tx.close_request(request, Closed { at: hub.now(), verdict }).await?;
    tx.commit().await?;
    tracing::info!(request = %request.id, nvr = %build.nvr, rpms = build.rpms.len(), "the build is imported");
    Ok(Progress::Made)
}

/// The build of the same package that the tag holds, if it was asked for later: a slow build, or an old one that is
/// repeated, does not push out what came after it.
async fn newer_in(tx: &mut Tx, tag: &str, build: &Build) -> Answer<Option<Build>> {
    let known = tx.tagged(tag).await?.into_iter().find(|other| other.nvr.name == build.nvr.name);
    let Some(known) = known else { return Ok(None) };
    let later = first_asked(tx, known.request).await? > first_asked(tx, build.request).await?;
    Ok(later.then_some(known))
}

/// The request that a chain of retries began with.
async fn first_asked(tx: &mut Tx, mut id: RequestId) -> Answer<RequestId> {
    while let Some(earlier) = tx.request(id).await?.and_then(|request| request.retry_of) {
        id = earlier;
    }
    Ok(id)
}

/// Why a build cannot be in one repo with those of other packages: both have a file of the same name.
fn collision(build: &Build, tagged: &[Build]) -> Option<String> {
    let others = tagged.iter().filter(|other| other.nvr.name != build.nvr.name);
    let taken: BTreeMap<&str, &Build> =
        others.flat_map(|other| other.rpms.iter().map(move |rpm| (rpm.file.as_str(), other))).collect();
    build.rpms.iter().find_map(|rpm| {
        let other = taken.get(rpm.file.as_str())?;
        Some(format!(
            "{} is also made by {}: rename the subpackage, or give it another version or release",
            rpm.file, other.nvr
        ))
    })
}

/// Every binary RPM of every build job, checked against the job and the source RPM it must come from; and what builds
/// may require of them, by name or by path.
async fn built_rpms(
    hub: &Hub,
    jobs: &[Job],
    source_name: &str,
) -> Answer<Result<(Vec<Rpm>, BTreeSet<String>), String>> {
    let mut rpms: BTreeMap<String, Rpm> = BTreeMap::new();
    let mut provides = BTreeSet::new();
    for job in jobs.iter().filter(|job| job.kind == JobKind::Build) {
        let files = hub.db.glance().await?.artifacts_of(job.id, job.turn).await?;
        let files: Vec<Artifact> = files
            .into_iter()
            .filter(|file| file.name.ends_with(".rpm") && !file.name.ends_with(".src.rpm"))
            .collect();
        if files.is_empty() {
            return Ok(Err(format!("no RPM came out of the build on {}", job.arch)));
        }
        let mut here = BTreeSet::new();
        for file in files {
            let ReadRpm { rpm, provides: names, files: paths, .. } =
                match read_built(hub, job, &file, source_name).await? {
                    Ok(read) => read,
                    Err(reason) => return Ok(Err(format!("{} from {}: {reason}", file.name, job.arch))),
                };
            if !here.insert(rpm.nevra.to_string()) {
                return Ok(Err(format!("{} came twice out of the build on {}", rpm.nevra, job.arch)));
            }
            provides.extend(names.into_iter().chain(paths));
            // A noarch package of an architecture-specific build is made by every job; the first architecture's is kept.
            rpms.entry(rpm.file.clone()).or_insert(rpm);
        }
    }
    Ok(Ok((rpms.into_values().collect(), provides)))
}

/// Makes what repository metadata says of each RPM, so that no repo is kept waiting for it, and so that one of which nothing
/// can be said enters none.
async fn learn(hub: &Hub, rpms: &[Rpm]) -> Answer<Result<(), String>> {
    let engine = hub.engine.clone();
    let files: Vec<_> = rpms.iter().map(|rpm| (rpm.file.clone(), rpm.digest.clone())).collect();
    let learned = tokio::task::spawn_blocking(move || {
        files.into_iter().try_for_each(|(file, digest)| engine.learn(&digest).map_err(|why| (file, why)))
    });
    match learned.await.context("the task that makes repository metadata ended early")? {
        Ok(()) => Ok(Ok(())),
        Err((file, EngineError::Package { why, digest: _ })) => Ok(Err(format!("{file}: {why}"))),
        Err((file, why)) => {
            Err(Problem::Internal(anyhow::Error::new(why).context(format!("cannot list {file} in repos"))))
        }
    }
}

async fn read_built(
    hub: &Hub,
    job: &Job,
    file: &Artifact,
    source_name: &str,
) -> Answer<Result<ReadRpm, String>> {
    let path = hub.artifacts.local(&file.digest).await.context("cannot read an RPM that was built")?;
    let arch = job.arch;
    let read = tokio::task::spawn_blocking(move || rpms::read_rpm(&path, Some(arch)))
        .await
        .context("the task that reads an RPM ended early")?;
    let read = match read {
        Ok(read) => read,
        Err(RpmError::Disk(error)) => return Err(Problem::Internal(error.into())),
        Err(error) => return Ok(Err(error.to_string())),
    };
    if let Err(error) = read.must_be_called(&file.name) {
        return Ok(Err(error.to_string()));
    }
    if read.rpm.kind == RpmKind::Source || read.source_rpm.as_deref() != Some(source_name) {
        let named = read.source_rpm.unwrap_or_else(|| "none".to_owned());
        return Ok(Err(format!("it names {named} as its source RPM, but the build's is {source_name}")));
    }
    Ok(Ok(read))
}

#[cfg(test)]
mod tests {
    use farm::ids::Minter;
    use farm::nvr::Nevra;
    use farm::stamp::Stamp;

    use super::*;

    fn build(number: u64, package: &str, files: &[&str]) -> Build {
        let mut minter = Minter::new(number);
        let rpm = |name: &&str| {
            let nevra = Nevra {
                name: (*name).to_owned(),
                epoch: 0,
                version: "1".into(),
                release: "1".into(),
                arch: "noarch".into(),
            };
            let digest = farm::digest::Digest::of(name.as_bytes());
            let file = nevra.file_name();
            Rpm { nevra, file, kind: RpmKind::Binary, body: digest.clone(), digest, size: 1, built_on: None }
        };
        Build {
            id: minter.mint(Stamp::ZERO),
            nvr: format!("{package}-1-1").parse().unwrap(),
            sig: "demo".into(),
            target: "demo9s-hello-2-el9s".into(),
            request: minter.mint(Stamp::ZERO),
            imported: Stamp::ZERO,
            rpms: files.iter().map(rpm).collect(),
            roots: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn two_packages_with_one_file_name_do_not_enter_one_repo() {
        let tagged = [build(1, "hello", &["hello", "hello-libs"]), build(2, "world", &["world"])];
        let evil = build(3, "evil", &["evil", "hello-libs"]);
        let reason = collision(&evil, &tagged).unwrap();
        assert!(reason.starts_with("hello-libs-1-1.noarch.rpm is also made by hello-1-1"), "{reason}");
        assert_eq!(
            collision(&build(4, "hello", &["hello", "hello-libs"]), &tagged),
            None,
            "its own successor may"
        );
    }
}

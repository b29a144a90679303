//! The built-in suite `repoclosure`: the hub runs it when a snapshot is composed, since it needs no container.

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use farm::arch::Arch;
use farm::digest::Digest;
use farm::gate::{CLOSURE, TestResult, TestVerdict, environment};
use farm::ids::SnapshotId;
use farm::recipe::RepoOrigin;
use farm::snapshot::Snapshot;

use super::reading::{self, Read};
use super::trial::{FIRST, Place};
use crate::closure::{Cache, CheckError, Layer, Question, Report, World, check};
use crate::external::Unread;
use crate::problem::Answer;
use crate::repos::publish::locate;
use crate::state::Hub;

/// Names the rules by which it judges; what was shown by older ones does not count.
const VERSION: &[u8] = b"repoclosure 1";
/// How many broken packages a reason names.
const NAMED: usize = 5;

/// What names the version of the suite.
pub(super) fn version() -> Digest {
    Digest::of(VERSION)
}

/// What it shows of a snapshot on each architecture of its project, compared with what it is composed on. What is outside was read
/// before.
///
/// # Errors
/// Also that something more of what is outside must be read.
pub(super) async fn results(
    hub: &Hub,
    place: &Place,
    outside: &Read,
    base: Option<&Snapshot>,
    snapshot: &Snapshot,
) -> Answer<Vec<TestResult>> {
    let mut results = Vec::new();
    for arch in &place.project.arches {
        results.push(TestResult {
            job: hub.mint(),
            content: snapshot.content.clone(),
            suite: CLOSURE.to_owned(),
            arch: *arch,
            on: None,
            version: version(),
            environment: environment(&place.project.image_for(*arch), &place.layers),
            against: base.map(|base| base.content.clone()),
            verdict: verdict(hub, place, outside, *arch, base.map(|base| base.id), snapshot.id).await?,
            at: hub.now(),
        });
    }
    Ok(results)
}

async fn verdict(
    hub: &Hub,
    place: &Place,
    outside: &Read,
    arch: Arch,
    base: Option<SnapshotId>,
    snapshot: SnapshotId,
) -> Answer<TestVerdict> {
    let mut below = Vec::new();
    let mut world = World::ImageIsTheRest;
    for layer in &place.layers {
        let source = match &layer.origin {
            RepoOrigin::Snapshot { id } => Source::snapshot(hub, *id, arch, layer.priority)?,
            RepoOrigin::External { baseurl } => {
                world = World::Complete;
                match outside.layer(hub, baseurl, arch, layer.priority).await? {
                    Ok(layer) => Source::Read(layer),
                    Err(reason) => return Ok(TestVerdict::Errored { reason }),
                }
            }
        };
        below.push(source);
    }
    let before = base.map(|id| Source::snapshot(hub, id, arch, FIRST)).transpose()?;
    let after = Source::snapshot(hub, snapshot, arch, FIRST)?;
    let cache = hub.closures.clone();
    let checked = tokio::task::spawn_blocking(move || -> anyhow::Result<Report> {
        let below = below.iter().filter_map(|source| source.read(&cache).transpose());
        let below = below.collect::<io::Result<Vec<Layer>>>()?;
        let with = |own: Option<Layer>| own.into_iter().chain(below.iter().cloned()).collect::<Vec<_>>();
        let before = with(before.map(|source| source.read(&cache)).transpose()?.flatten());
        let after = with(after.read(&cache)?);
        Ok(check(&Question { arch, before: &before, after: &after, world })?)
    });
    let report = match checked.await.context("the task that looks for broken packages ended early")? {
        Ok(report) => report,
        Err(error) if is_unread(&error) => return Err(reading::deeper(hub, place, arch)),
        // No answer is no: the reason is said, and asking for the promotion again asks anew.
        Err(error) => return Ok(TestVerdict::Errored { reason: format!("{error:#}") }),
    };
    tracing::info!(%snapshot, %arch, checked = report.checked, broken = report.broken.len(), was_broken = report.was_broken.len(), "looked for broken packages");
    Ok(match sentence(&report) {
        None => TestVerdict::Passed,
        Some(reason) => TestVerdict::Failed { reason },
    })
}

/// Did a check need filelists that were not read yet?
fn is_unread(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<CheckError>() {
        Some(CheckError::Filelists(cause)) => cause.get_ref().is_some_and(|cause| cause.is::<Unread>()),
        Some(CheckError::TooHard | CheckError::Solver(_)) | None => false,
    }
}

/// What is broken, if anything is.
fn sentence(report: &Report) -> Option<String> {
    let named: Vec<&str> = report.broken.iter().take(NAMED).map(|broken| broken.why.as_str()).collect();
    let more = report.broken.len().saturating_sub(NAMED);
    let rest = match (more, report.cut_short) {
        (0, _) => String::new(),
        (_, true) => "; and many more".to_owned(),
        (more, false) => format!("; and {more} more"),
    };
    (!named.is_empty()).then(|| named.join("; ") + &rest)
}

/// Where a layer's packages are listed.
enum Source {
    /// In a snapshot of the farm: its folder for the architecture.
    Folder { folder: PathBuf, priority: u32 },
    /// Outside the farm, where it was read already.
    Read(Layer),
}

impl Source {
    fn snapshot(hub: &Hub, id: SnapshotId, arch: Arch, priority: u32) -> Answer<Source> {
        let dir = locate(id, &hub.staging, &[&hub.candidates, &hub.public])
            .with_context(|| format!("snapshot {id} is not on disk"))?;
        Ok(Source::Folder { folder: dir.join(arch.as_str()), priority })
    }

    /// Nothing, when another project does not have the architecture.
    fn read(&self, cache: &Cache) -> io::Result<Option<Layer>> {
        match self {
            Source::Folder { folder, .. } if !folder.is_dir() => Ok(None),
            Source::Folder { folder, priority } => Layer::on_disk(folder, *priority, cache).map(Some),
            Source::Read(layer) => Ok(Some(layer.clone())),
        }
    }
}

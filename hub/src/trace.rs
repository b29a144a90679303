//! From a package to everything that is known of it.

use std::collections::BTreeMap;

use farm::arch::Arch;
use farm::build::Build;
use farm::buildroot::{LARGEST_LOCK, LOCK_FILE};
use farm::decision::Decision;
use farm::digest::Digest;
use farm::dsse::Envelope;
use farm::job::JobKind;
use farm::ledger::{Publication, Tx};
use farm::provenance;
use farm::sig::Stage;
use farm::trace::{Shown, Trace};
use tokio::io::AsyncReadExt as _;

use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Moves of a repo's pointer that are looked at.
const MOVES: u32 = 200;

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Asked {
    /// An RPM's full name or file name, or the name of a build.
    Name(String),
    /// An RPM by SHA-256 of its header and payload, whoever has signed it.
    Body(Digest),
}

/// Everything that is known of a package.
///
/// # Errors
/// When there is none, or the ledger fails.
pub async fn trace(hub: &Hub, asked: &Asked) -> Answer<Trace> {
    let mut tx = hub.db.read().await?;
    let build = find(&mut tx, asked).await?;
    let rpm = build.rpms.iter().find(|rpm| match asked {
        Asked::Name(name) => rpm.file == file_name(name),
        Asked::Body(body) => rpm.body == *body,
    });
    let facts =
        tx.provenance(build.id).await?.ok_or_else(|| Problem::not_found("request of build", &build.nvr))?;
    let shown = shown(&mut tx, &build).await?;
    drop(tx);
    Ok(Trace {
        build: build.id,
        nvr: build.nvr.to_string(),
        file: rpm.map(|rpm| rpm.file.clone()),
        body: rpm.map(|rpm| rpm.body.clone()),
        installed: installed(hub, &facts).await,
        provenance: provenance::statement(&facts),
        shown,
    })
}

async fn find(tx: &mut Tx, asked: &Asked) -> Answer<Build> {
    let found = match asked {
        Asked::Body(body) => tx.builds_with_body(body).await?.into_iter().next(),
        Asked::Name(name) => match tx.build_by_nvr(name).await? {
            Some(build) => Some(build),
            None => tx.builds_with_file(&file_name(name)).await?.into_iter().next(),
        },
    };
    found.ok_or_else(|| match asked {
        Asked::Name(name) => Problem::not_found("package", name.chars().take(200).collect::<String>()),
        Asked::Body(body) => Problem::not_found("package with the body", body),
    })
}

/// The file of a package with this full name: without the epoch, which `name-epoch:version-release.arch` has.
fn file_name(nevra: &str) -> String {
    let name = nevra.strip_suffix(".rpm").unwrap_or(nevra);
    let without = name.split_once(':').and_then(|(before, after)| {
        let (name, epoch) = before.rsplit_once('-')?;
        epoch.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{name}-{after}"))
    });
    format!("{}.rpm", without.unwrap_or_else(|| name.to_owned()))
}

/// How many packages each buildroot had, as far as its list is still there.
async fn installed(hub: &Hub, facts: &provenance::Facts) -> BTreeMap<Arch, usize> {
    /// What is read of a lock to count it.
    #[derive(serde::Deserialize)]
    struct Counted {
        packages: Vec<serde::de::IgnoredAny>,
    }
    let mut counts = BTreeMap::new();
    for (job, made) in facts.jobs.iter().filter(|(job, _)| job.kind == JobKind::Build) {
        let Some(lock) = made.iter().find(|made| made.name == LOCK_FILE) else { continue };
        let Ok(file) = hub.artifacts.read(&lock.digest).await else { continue };
        let mut bytes = Vec::new();
        let most = LARGEST_LOCK.saturating_add(1);
        if file.take(most).read_to_end(&mut bytes).await.is_err() || bytes.len() as u64 == most {
            continue;
        }
        if let Ok(Counted { packages }) = serde_json::from_slice(&bytes) {
            counts.insert(job.arch, packages.len());
        }
    }
    counts
}

/// The public repos that show a build or did, and by which decision it came there.
async fn shown(tx: &mut Tx, build: &Build) -> Answer<Vec<Shown>> {
    let community = tx.community().await?;
    let Some(project) = community.target(&build.target) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for stage in [Stage::Testing, Stage::Release] {
        let mut spell: Option<(Publication, bool)> = None;
        for (place, publication) in tx.publications(&project.tag(stage), MOVES).await?.into_iter().enumerate()
        {
            let snapshot = tx.snapshot(publication.snapshot).await?;
            let has = snapshot.is_some_and(|one| one.members.iter().any(|member| member.build == build.id));
            match (has, &mut spell) {
                (true, Some((first, _))) => *first = publication,
                (true, none) => *none = Some((publication, place == 0)),
                // The newest time that it was there is told.
                (false, Some(_)) => break,
                (false, None) => {}
            }
        }
        if let Some((first, live)) = spell {
            all.push(told(tx, first, live).await?);
        }
    }
    Ok(all)
}

async fn told(tx: &mut Tx, first: Publication, live: bool) -> Answer<Shown> {
    let endorsement = tx.endorsement(first.snapshot).await?;
    let decision = endorsement.and_then(|endorsement| read_decision(&endorsement.decision));
    let (approvals, results, waivers) = match decision {
        Some(decision) => (decision.approvals, decision.results, decision.waivers),
        None => {
            let promotion = tx.promotion(first.promotion).await?;
            (promotion.map(|kept| kept.value.approvals).unwrap_or_default(), Vec::new(), Vec::new())
        }
    };
    let Publication { tag, revision, snapshot, promotion, by, at, .. } = first;
    Ok(Shown {
        tag,
        live,
        since: at,
        revision,
        snapshot,
        promotion,
        approved_by: by,
        approvals,
        results,
        waivers,
    })
}

/// What a decision says that was accepted when it was signed, and has been in the ledger since.
fn read_decision(envelope: &str) -> Option<Decision> {
    use base64::Engine as _;
    let envelope = Envelope::from_json(envelope).ok()?;
    let payload = base64::engine::general_purpose::STANDARD.decode(envelope.payload).ok()?;
    serde_json::from_slice::<farm::decision::Statement>(&payload).ok().map(|statement| statement.predicate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_by_its_full_name_with_or_without_its_epoch() {
        for name in ["hello-2.10-1.el9s.x86_64", "hello-1:2.10-1.el9s.x86_64", "hello-2.10-1.el9s.x86_64.rpm"]
        {
            assert_eq!(file_name(name), "hello-2.10-1.el9s.x86_64.rpm");
        }
    }
}

//! One repo: its decision, its folders, and the provenance of its builds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::folder::{self, sha256};
use super::package::Yardstick;
use super::place::{Fault, Place};
use super::statement::{self, Decision, Statement};
use super::{Keys, Options, RepoReport, Violation, provenance};

/// The signed decision of a snapshot, beside its folders.
pub(super) const DECISION: &str = "decision.dsse.json";
/// Bytes it may have: it names every package.
const LARGEST_DECISION: u64 = 512 * 1024 * 1024;
/// How often a repo is looked at that moves on meanwhile.
const LOOKS: usize = 5;

/// What is looked at.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The folder of a snapshot, or one of its folders.
    pub(super) place: Place,
    /// Is it one of a snapshot's folders rather than the snapshot?
    pub(super) is_folder: bool,
    /// What its address says it is.
    pub(super) expected: Expected,
}

/// What an address says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) tag: Option<String>,
    pub(super) snapshot: Option<String>,
    pub(super) folder: Option<String>,
}

impl Expected {
    /// What the parts of an address say: `live/<tag>/<folder>`, `snap/<id>/<folder>`, `mirror/SIGs/<dist>/<sig>/<folder>/<repo>`
    /// or `buildlogs/centos/<dist>/<sig>/<folder>/<repo>`.
    pub(super) fn of(parts: &[String]) -> Expected {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let some = |text: &str| Some(text.to_owned());
        match parts.as_slice() {
            [.., "live", tag, folder] => {
                Expected { tag: some(tag), folder: some(folder), ..Expected::default() }
            }
            [.., "live", tag] => Expected { tag: some(tag), ..Expected::default() },
            [.., "snap", id, folder] => {
                Expected { snapshot: some(id), folder: some(folder), ..Expected::default() }
            }
            [.., "snap", id] => Expected { snapshot: some(id), ..Expected::default() },
            [.., "mirror", "SIGs", dist, sig, folder, repo] => {
                Self::plain(dist, sig, folder, repo, "release")
            }
            [.., "buildlogs", "centos", dist, sig, folder, repo] => {
                Self::plain(dist, sig, folder, repo, "testing")
            }
            _ => Expected::default(),
        }
    }

    fn plain(dist: &str, sig: &str, folder: &str, repo: &str, stage: &str) -> Expected {
        let dist = dist.strip_suffix("-stream").map_or_else(|| dist.to_owned(), |major| format!("{major}s"));
        let tag = format!("{sig}{dist}-{repo}-{stage}");
        Expected { tag: Some(tag), snapshot: None, folder: Some(folder.to_owned()) }
    }
}

/// A repo as it was looked at: what was found, and what its metadata is by the decision.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) report: RepoReport,
    /// The digest of the `repomd.xml` of each folder.
    pub(super) folders: BTreeMap<String, String>,
    /// The decision, as it was read.
    decision: Option<Vec<u8>>,
}

/// Looks at a repo. One that moves on meanwhile is looked at again.
pub(super) async fn look(target: &Target, keys: &Keys, options: &Options, scratch: &Path) -> Looked {
    let mut looked = look_once(target, keys, options, scratch).await;
    for _ in 1..LOOKS {
        if looked.report.violations.is_empty()
            || read_decision(target).await.ok().map(|(bytes, _)| bytes) == looked.decision
        {
            break;
        }
        looked = look_once(target, keys, options, scratch).await;
    }
    looked
}

/// The decision, and where it is. That of a single folder may be beside it.
async fn read_decision(target: &Target) -> Result<(Vec<u8>, Place), Fault> {
    match (target.place.read(DECISION, LARGEST_DECISION).await, target.is_folder, target.place.parent()) {
        (Err(Fault::Missing), true, Some(parent)) => {
            Ok((parent.read(DECISION, LARGEST_DECISION).await?, parent))
        }
        (read, _, _) => Ok((read?, target.place.clone())),
    }
}

async fn look_once(target: &Target, keys: &Keys, options: &Options, scratch: &Path) -> Looked {
    let mut looked = Looked::default();
    looked.report.at = target.place.shown("");
    let name = target.place.shown(DECISION);
    let (bytes, beside) = match read_decision(target).await {
        Ok(read) => read,
        Err(fault) => {
            looked.report.violations.push(Violation::new(name, fault.to_string()));
            return looked;
        }
    };
    let opened = statement::decision(&bytes, &keys.decisions);
    looked.decision = Some(bytes);
    let decision = match opened {
        Ok(decision) => decision,
        Err(why) => {
            looked.report.violations.push(Violation::new(name, why));
            return looked;
        }
    };
    let Decision { tag, sig, snapshot, revision, members, .. } = &decision.predicate;
    looked.report.tag = Some(tag.clone());
    looked.report.snapshot = Some(snapshot.clone());
    looked.report.revision = Some(*revision);
    looked.folders =
        decision.folders().into_iter().map(|(name, digest)| (name.to_owned(), digest.to_owned())).collect();

    let mut wrong: Vec<String> = decision.faults();
    let expected = Expected {
        tag: options.tag.clone().or_else(|| target.expected.tag.clone()),
        ..target.expected.clone()
    };
    wrong.extend(mismatch("the repo", expected.tag.as_ref(), tag));
    wrong.extend(mismatch("the snapshot", expected.snapshot.as_ref(), snapshot));
    let packages = keys.of_sig(sig);
    if packages.is_empty() {
        wrong.push(format!("there is no key of SIG {sig} among those that were given"));
    }
    let known: BTreeSet<String> = packages.iter().map(farm::openpgp::PublicKey::fingerprint).collect();
    let strangers: BTreeSet<&String> =
        decision.rpms().map(|rpm| &rpm.key).filter(|key| !known.contains(*key)).collect();
    wrong.extend(
        strangers
            .into_iter()
            .map(|key| format!("it says that packages are signed by {key}, which is no key of SIG {sig}")),
    );
    looked.report.violations.extend(wrong.into_iter().map(|why| Violation::new(&name, why)));

    let yardstick = Yardstick { keys: &packages, deep: options.deep, scratch };
    if target.is_folder {
        let name = expected.folder.as_deref();
        add(&mut looked.report, name, folder::look(&target.place, name, &decision, yardstick).await);
    } else {
        let mut listed = BTreeSet::new();
        for folder in decision.folders().into_keys() {
            if super::place::parts(folder).is_err() {
                looked
                    .report
                    .violations
                    .push(Violation::new(&name, "it names a folder that leads elsewhere"));
                continue;
            }
            let place = target.place.below(&folder.split('/').collect::<Vec<_>>());
            let mut found = folder::look(&place, Some(folder), &decision, yardstick).await;
            listed.append(&mut found.listed);
            add(&mut looked.report, Some(folder), found);
        }
        for rpm in decision.rpms().filter(|rpm| !listed.contains(&rpm.sha256)) {
            let why = format!("{} was decided on and is in none of its folders", rpm.nevra);
            looked.report.violations.push(Violation::new(target.place.shown(""), why));
        }
    }
    looked.report.builds = members.len();
    let beside = if target.is_folder { provenance_place(target, &beside, &decision).await } else { beside };
    for member in members {
        looked.report.violations.extend(provenance::look(&beside, member, &keys.decisions).await);
    }
    looked
}

/// Where the provenance of a single folder's builds is: in it, or beside it.
async fn provenance_place(target: &Target, beside: &Place, decision: &Statement<Decision>) -> Place {
    let Some(member) = decision.predicate.members.first() else { return beside.clone() };
    let file = format!("provenance/{}.dsse.json", member.nvr);
    for place in
        [Some(beside.clone()), Some(target.place.clone()), target.place.parent()].into_iter().flatten()
    {
        if place.size(&file).await.is_ok() {
            return place;
        }
    }
    beside.clone()
}

fn mismatch(what: &str, expected: Option<&String>, found: &String) -> Option<String> {
    let expected = expected.filter(|expected| *expected != found)?;
    Some(format!("it is about {what} {found}, and this is {expected}"))
}

fn add(report: &mut RepoReport, name: Option<&str>, found: folder::Found) {
    report.folders.extend(name.map(str::to_owned));
    match (report.metadata_revision, found.revision) {
        (Some(other), Some(named)) if other != named => {
            let why = format!(
                "the metadata of {} has revision {named}, and that of another folder {other}",
                name.unwrap_or("this folder")
            );
            report.violations.push(Violation::new(&report.at, why));
        }
        (_, named) => report.metadata_revision = report.metadata_revision.or(named),
    }
    report.packages += found.packages;
    report.read += found.read;
    report.violations.extend(found.violations);
}

/// The digest of the `repomd.xml` of a folder.
pub(super) async fn repomd_of(place: &Place) -> Result<String, Fault> {
    const LARGEST: u64 = 4 * 1024 * 1024;
    Ok(sha256(&place.read("repodata/repomd.xml", LARGEST).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_to_expect() {
        let of = |path: &str| Expected::of(&path.split('/').map(str::to_owned).collect::<Vec<_>>());
        let tag =
            |expected: Expected| (expected.tag.unwrap_or_default(), expected.folder.unwrap_or_default());
        let both = |tag: &str, folder: &str| (tag.to_owned(), folder.to_owned());
        assert_eq!(tag(of("repos/live/a9s-b-1-release/x86_64")), both("a9s-b-1-release", "x86_64"));
        assert_eq!(
            tag(of("repos/mirror/SIGs/9-stream/storage/x86_64/gluster-11")),
            both("storage9s-gluster-11-release", "x86_64")
        );
        assert_eq!(
            tag(of("buildlogs/centos/10/cloud/source/openstack-epoxy")),
            both("cloud10-openstack-epoxy-testing", "source")
        );
        assert_eq!(of("x/snap/01J").snapshot.as_deref(), Some("01J"));
        assert_eq!(of("anything/else"), Expected::default());
    }
}

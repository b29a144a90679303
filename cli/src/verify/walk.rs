//! Finding what there is to look at below an address.

use std::collections::BTreeMap;

use anyhow::Context as _;

use super::memory::Memory;
use super::place::{Fault, Place};
use super::repo::{self, DECISION, Expected, Target};
use super::{Keys, Options, Report, Violation};
use crate::failure::Failure;

/// The folder with a pointer for each repo.
const LIVE: &str = "live";
/// Where the repos are once more, under the paths that people know.
const PLAIN: [[&str; 2]; 2] = [["buildlogs", "centos"], ["mirror", "SIGs"]];
/// How deep repos are below those: distribution, SIG, folder, repo.
const DEPTH: usize = 4;

/// Looks at everything below an address: a public root, one repo, or one folder of a repo.
///
/// # Errors
/// When the tree cannot be reached, is none, or this machine is at fault. What is wrong with it is no error: it is in the report.
pub async fn audit(place: &Place, keys: &Keys, options: &Options) -> Result<Report, Failure> {
    let scratch = tempfile::tempdir().context("there is no folder for what is fetched")?;
    let mut report = Report { deep: options.deep, ..Report::default() };
    let is_whole = match kind_of(place).await? {
        Kind::Root(tags) => {
            if options.tag.is_some() {
                return Err(Failure::usage(
                    "a whole tree has more than one tag",
                    "name one repo, or leave out --tag",
                ));
            }
            let mut known = BTreeMap::new();
            for tag in tags {
                let expected = Expected { tag: Some(tag.clone()), ..Expected::default() };
                let target = Target { place: place.below(&[LIVE, &tag]), is_folder: false, expected };
                let looked = repo::look(&target, keys, options, scratch.path()).await;
                known.insert(tag, looked.folders);
                report.repos.push(looked.report);
            }
            for leaf in plain_repos(place, &mut report).await {
                let expected = Expected::of(&leaf.segments());
                let decided =
                    expected.tag.as_ref().and_then(|tag| known.get(tag)).zip(expected.folder.as_ref());
                let decided = decided.and_then(|(folders, name)| folders.get(name));
                // The same metadata was looked at above.
                if decided.is_some() && repo::repomd_of(&leaf).await.ok().as_ref() == decided {
                    continue;
                }
                let target = Target { place: leaf, is_folder: true, expected };
                let mut looked = repo::look(&target, keys, options, scratch.path()).await.report;
                let newest = report
                    .repos
                    .iter()
                    .filter(|repo| repo.tag == looked.tag)
                    .filter_map(|repo| repo.revision)
                    .max();
                if let Some(newest) =
                    newest.filter(|newest| looked.revision.is_some_and(|revision| revision < *newest))
                {
                    let why = format!("it shows an older state: revision {newest} is live");
                    looked.violations.push(Violation::new(&looked.at, why));
                }
                report.repos.push(looked);
            }
            true
        }
        Kind::Repo { is_folder } => {
            let mut expected = Expected::of(&place.segments());
            if !is_folder {
                expected.folder = None;
            }
            let target = Target { place: place.clone(), is_folder, expected };
            report.repos.push(repo::look(&target, keys, options, scratch.path()).await.report);
            false
        }
    };
    if let Some(file) = &options.memory {
        let mut memory = Memory::read(file)?;
        memory.compare(&mut report, is_whole);
        memory.write(file)?;
    }
    Ok(report)
}

/// What is at an address.
enum Kind {
    /// A public tree with these repos.
    Root(Vec<String>),
    /// A repo, or one folder of it.
    Repo { is_folder: bool },
}

async fn kind_of(place: &Place) -> Result<Kind, Failure> {
    let here = |found: Result<Option<u64>, Fault>| match found {
        Ok(_) => Ok(true),
        Err(Fault::Missing) => Ok(false),
        Err(fault) => Err(away(place, &fault)),
    };
    if here(place.size("repodata/repomd.xml").await)? {
        return Ok(Kind::Repo { is_folder: true });
    }
    match place.names(LIVE).await {
        Ok(tags) => return Ok(Kind::Root(tags)),
        Err(Fault::Missing) => {}
        Err(fault) => return Err(away(place, &fault)),
    }
    if here(place.size(DECISION).await)? {
        return Ok(Kind::Repo { is_folder: false });
    }
    Err(Failure::not_found(
        "there is no public tree and no repo at this address: neither live/, nor decision.dsse.json, nor repodata/repomd.xml",
    ))
}

fn away(place: &Place, fault: &Fault) -> Failure {
    Failure::Unreachable { url: place.segments().join("/"), why: fault.to_string() }
}

/// The repos under the paths that people know.
async fn plain_repos(root: &Place, report: &mut Report) -> Vec<Place> {
    let mut found = Vec::new();
    for top in PLAIN {
        let mut level = vec![root.below(&top[..1])];
        for names in std::iter::once(Some(top[1])).chain(std::iter::repeat_n(None, DEPTH)) {
            let mut below = Vec::new();
            for place in level {
                let parent = place.parent();
                let own = place.segments().pop().unwrap_or_default();
                let listed = match &parent {
                    Some(parent) => parent.names(&own).await,
                    None => Err(Fault::Missing),
                };
                match listed {
                    Ok(listed) => {
                        let wanted =
                            listed.iter().filter(|name| names.is_none_or(|only| only == name.as_str()));
                        below.extend(wanted.map(|name| place.below(&[name])));
                    }
                    Err(Fault::Missing) => {}
                    Err(fault) => report.violations.push(Violation::new(place.shown(""), fault.to_string())),
                }
            }
            level = below;
        }
        found.extend(level);
    }
    found
}

//! How something live stands that nobody needs to do anything about.

use std::collections::BTreeSet;

use super::Red;
use crate::gate::{TestResult, TestVerdict};
use crate::sig::Project;
use crate::snapshot::Snapshot;

/// How a public repo stands while no recheck of it is under way and nothing of it is broken that somebody has to look at, in one
/// sentence: `results` are those of the live content, `waived` what its last recheck has shown to be broken.
#[must_use]
pub fn standing(
    tag: &str,
    project: &Project,
    live: Option<&Snapshot>,
    results: &[TestResult],
    waived: &[Red],
) -> String {
    let Some(live) = live else { return format!("{tag} shows nothing yet") };
    if project.required.is_empty() {
        return format!("{tag} shows what it shows untested: its project requires no suite");
    }
    let newest = |suite: &str, arch| {
        let own = |result: &&TestResult| result.on.is_none() && result.content == live.content;
        let fits = |result: &&TestResult| result.suite == suite && result.arch == arch;
        results.iter().filter(own).filter(fits).max_by_key(|result| (result.at, result.job))
    };
    let known: BTreeSet<_> = waived.iter().map(|red| (red.suite.as_str(), red.arch)).collect();
    let mut wrong: Vec<String> = waived.iter().map(Red::phrase).collect();
    for suite in &project.required {
        for arch in project.arches.iter().filter(|arch| !known.contains(&(suite.as_str(), **arch))) {
            match newest(suite, *arch).map(|result| &result.verdict) {
                Some(TestVerdict::Passed) => {}
                Some(TestVerdict::Failed { reason }) => {
                    wrong.push(format!("suite {suite} failed on {arch}: {reason}"));
                }
                Some(TestVerdict::Errored { reason }) => {
                    wrong.push(format!("suite {suite} could not be run on {arch}: {reason}"));
                }
                None => wrong.push(format!("suite {suite} was not run on {arch}")),
            }
        }
    }
    if wrong.is_empty() {
        return format!("{tag} passed its tests on what is below it");
    }
    format!(
        "{tag} has not passed all of its tests; what is missing is waived, or was when it was published: {}",
        wrong.join("; ")
    )
}

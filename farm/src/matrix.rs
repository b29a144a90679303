//! What works on what: the live content of a project's repos against the versions of the layers below them, as a grid.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::digest::Digest;
use crate::gate::{CLOSURE, ReleaseManagers, Requirement, TestResult, TestVerdict, Waiver};
use crate::ids::RequestId;
use crate::recheck::{LayerVersion, Surroundings, WHOLE};
use crate::sig::{Project, Stage};
use crate::snapshot::Snapshot;
use crate::stamp::Stamp;

/// The grid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Matrix {
    /// The SIG.
    pub sig: String,
    /// The project.
    pub project: String,
    /// Which of its repos.
    pub stage: Stage,
    /// What the live contents have been tested on, the newest last.
    pub columns: Vec<Column>,
    /// One for each target and architecture.
    pub rows: Vec<Row>,
}

/// Versions of the layers, and the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Column {
    /// The image, as the template names it.
    pub image: String,
    /// The layers, the most preferred first; empty where it was not noted what they were.
    pub layers: Vec<String>,
    /// When something was first tested there.
    pub since: Stamp,
}

/// One target on one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Row {
    /// The target.
    pub target: String,
    /// The distribution.
    pub dist: String,
    /// The architecture.
    pub arch: Arch,
    /// How many builds are live; `None` while nothing is.
    pub builds: Option<usize>,
    /// One for each column; `None` where the target is never on these layers.
    pub cells: Vec<Option<Cell>>,
}

/// What one content showed on one version of its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cell {
    /// Every suite passed.
    Passed,
    /// Some failed, or could not be run.
    Failed {
        /// Which, each with its reason.
        suites: BTreeMap<String, String>,
    },
    /// Some failed, and each of these is waived.
    Waived {
        /// Which.
        suites: Vec<String>,
    },
    /// It is being tested.
    Running {
        /// The request.
        request: RequestId,
    },
    /// Not every suite was run.
    NotRun {
        /// Which were not.
        suites: Vec<String>,
    },
}

/// What is known of one target. Read in one transaction.
#[derive(Debug)]
pub struct Facts<'a> {
    /// It.
    pub project: &'a Project,
    /// What is live.
    pub live: Option<&'a Snapshot>,
    /// Every result there is for it.
    pub results: &'a [TestResult],
    /// What each environment consists of, and since when it is known.
    pub surroundings: &'a BTreeMap<Digest, (Surroundings, Stamp)>,
    /// What its tests run in now, on each architecture.
    pub present: &'a BTreeMap<Arch, Digest>,
    /// The request that tests it now.
    pub running: Option<RequestId>,
    /// Every waiver there is for the target.
    pub waivers: &'a [Waiver],
    /// Who may waive.
    pub managers: &'a ReleaseManagers,
    /// The time.
    pub now: Stamp,
}

/// Makes the grid.
#[must_use]
pub fn grid(sig: &str, project: &str, stage: Stage, facts: &[Facts<'_>]) -> Matrix {
    let mut columns: Vec<Column> = Vec::new();
    let mut placed = Vec::new();
    for fact in facts {
        for (environment, seen) in environments(fact) {
            let column = column(fact, &environment, seen);
            match columns
                .iter_mut()
                .find(|known| known.image == column.image && known.layers == column.layers)
            {
                Some(known) => known.since = known.since.min(column.since),
                None => columns.push(column.clone()),
            }
            placed.push((environment, column));
        }
    }
    columns.sort_by_key(|column| column.since);
    let row = |fact: &Facts<'_>, arch: Arch| Row {
        target: fact.project.target(),
        dist: fact.project.dist.clone(),
        arch,
        builds: fact.live.map(|live| live.members.len()),
        cells: columns
            .iter()
            .map(|column| {
                let here = |environment: &Digest| {
                    placed.iter().any(|(known, of)| {
                        known == environment && of.image == column.image && of.layers == column.layers
                    })
                };
                cell(fact, arch, &here)
            })
            .collect(),
    };
    let rows = facts.iter().flat_map(|fact| fact.project.arches.iter().map(move |arch| (fact, *arch)));
    let rows = rows.map(|(fact, arch)| row(fact, arch)).collect();
    Matrix { sig: sig.to_owned(), project: project.to_owned(), stage, columns, rows }
}

/// Every environment that a target's own results are from, and the present one, each with when it was first met.
fn environments(fact: &Facts<'_>) -> BTreeMap<Digest, Stamp> {
    let mut met = BTreeMap::new();
    if fact.live.is_none() {
        return met;
    }
    for result in fact.results.iter().filter(|result| result.on.is_none()) {
        let at = met.entry(result.environment.clone()).or_insert(result.at);
        *at = (*at).min(result.at);
    }
    for environment in fact.present.values() {
        met.entry(environment.clone()).or_insert(fact.now);
    }
    met
}

fn column(fact: &Facts<'_>, environment: &Digest, seen: Stamp) -> Column {
    match fact.surroundings.get(environment) {
        Some((around, since)) => Column {
            image: around.image.clone(),
            layers: around.layers.iter().map(LayerVersion::label).collect(),
            since: *since,
        },
        None => Column { image: environment.short().to_owned(), layers: Vec::new(), since: seen },
    }
}

fn cell(fact: &Facts<'_>, arch: Arch, here: &dyn Fn(&Digest) -> bool) -> Option<Cell> {
    let live = fact.live?;
    let is_present = fact.present.get(&arch).is_some_and(here);
    let own: Vec<&TestResult> = fact
        .results
        .iter()
        .filter(|result| result.on.is_none() && result.arch == arch && here(&result.environment))
        .collect();
    if own.is_empty() && !is_present {
        return None;
    }
    if let Some(request) = fact.running.filter(|_| is_present) {
        return Some(Cell::Running { request });
    }
    let newest = |suite: &str| {
        own.iter().filter(|result| result.suite == suite).max_by_key(|result| (result.at, result.job))
    };
    let (mut failed, mut waived, mut missing) = (BTreeMap::new(), Vec::new(), Vec::new());
    let required = fact.project.required.iter().map(String::as_str);
    for suite in required.chain([CLOSURE, WHOLE]) {
        let reason = match newest(suite).map(|result| &result.verdict) {
            Some(TestVerdict::Passed) => continue,
            Some(TestVerdict::Failed { reason } | TestVerdict::Errored { reason }) => reason,
            // Of these two a promotion runs the one, and a recheck the other.
            None if suite == CLOSURE || suite == WHOLE => continue,
            None => {
                missing.push(suite.to_owned());
                continue;
            }
        };
        let requirement = Requirement { suite: suite.to_owned(), arch, on: None };
        if fact.waivers.iter().any(|waiver| waiver.covers(&requirement, live, fact.managers, fact.now)) {
            waived.push(suite.to_owned());
        } else {
            failed.insert(suite.to_owned(), reason.clone());
        }
    }
    Some(match (failed.is_empty(), missing.is_empty(), waived.is_empty()) {
        (false, _, _) => Cell::Failed { suites: failed },
        (true, false, _) => Cell::NotRun { suites: missing },
        (true, true, false) => Cell::Waived { suites: waived },
        (true, true, true) => Cell::Passed,
    })
}

impl Cell {
    /// One word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Cell::Passed => "passed",
            Cell::Failed { .. } => "failed",
            Cell::Waived { .. } => "waived",
            Cell::Running { .. } => "running",
            Cell::NotRun { .. } => "not run",
        }
    }
}

//! What a story must end with: every job ran to one result, every log is whole, ledger and repos agree, nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ::farm::ids::SnapshotId;
use ::farm::job::{Job, JobKind, JobState};
use ::farm::outcome::Outcome;
use ::farm::recipe::Work;

use super::ProcessFarm;
use super::yard::lines;
use crate::audit::audit;

/// What a story may have cost.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Packages (`apple-1`) whose work may have been started twice, because the story killed its builder.
    pub rerun: BTreeSet<String>,
    /// Packages that were cancelled.
    pub cancelled: BTreeSet<String>,
}

/// What it did cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Jobs.
    pub jobs: usize,
    /// Starts of a job's work beyond the first.
    pub reruns: usize,
    /// Jobs without a result.
    pub lost: usize,
    /// Milliseconds until everything was settled.
    pub settled_ms: u128,
}

impl ProcessFarm {
    /// Waits until everything is settled, holds it against what may have happened, prints the figures and clears up.
    ///
    /// # Panics
    /// When something is not as it must be.
    pub async fn ends_well(self, story: &str, account: Account) -> Figures {
        let begun = Instant::now();
        self.settles().await;
        let mut figures = self.check(&account).await;
        figures.settled_ms = begun.elapsed().as_millis();
        println!(
            "FIGURES {story}: {} jobs, {} lost, {} run again, settled {} ms after the last fault",
            figures.jobs, figures.lost, figures.reruns, figures.settled_ms
        );
        self.clear_up().await;
        figures
    }

    /// Waits until nothing is open and no container runs.
    pub async fn settles(&self) {
        self.until("everything is settled", async |farm| {
            let mut tx = farm.db.read().await.ok()?;
            let open = tx.open_requests().await.ok()?.len() + tx.unsettled_promotions().await.ok()?.len();
            let phases = tx.jobs_by_phase().await.ok()?;
            let busy: i64 = phases.iter().filter(|(phase, _)| *phase != "done").map(|(_, count)| count).sum();
            let behind = tx.repos().await.ok()?.iter().any(|repo| repo.wanted != repo.composed);
            let names = farm.builders.iter().filter(|builder| builder.id().is_some()).map(|b| &b.name);
            let containers: usize = names.filter_map(|name| farm.land.yard.containers(name)).sum();
            (open == 0 && busy == 0 && !behind && containers == 0).then_some(())
        })
        .await;
    }

    /// Why attempts at the build of a package (`apple-1`) came to nothing, oldest first.
    pub async fn given_up(&self, package: &str) -> Vec<String> {
        let jobs = self.jobs().await;
        let of = |job: &&Job| label(job).is_some_and(|(of, work)| of == package && work == "build");
        jobs.iter().filter(of).flat_map(|job| &job.history).map(|attempt| attempt.why.clone()).collect()
    }

    async fn check(&self, account: &Account) -> Figures {
        let jobs = self.jobs().await;
        let mut starts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for start in self.land.yard.starts() {
            *starts.entry((start.package, start.work)).or_default() += 1;
        }
        let mut figures = Figures { jobs: jobs.len(), ..Figures::default() };
        let mut faults = Vec::new();
        for job in &jobs {
            let Some((package, work)) = label(job) else { continue };
            let count = starts.remove(&(package.clone(), work.to_owned())).unwrap_or(0);
            figures.reruns += count.saturating_sub(1);
            let history = job.history.iter().map(|attempt| &*attempt.why).collect::<Vec<_>>().join(", ");
            let most = if account.rerun.contains(&package) { 2 } else { 1 };
            if count > most {
                faults.push(format!("{work} of {package} was started {count} times: {history}"));
            }
            match &job.state {
                JobState::Done { outcome: Outcome::Passed, .. } => {
                    self.check_log(job, &package, &mut faults).await
                }
                JobState::Done { outcome: Outcome::Cancelled { .. }, .. }
                    if account.cancelled.contains(&package) => {}
                other => {
                    figures.lost += 1;
                    faults.push(format!("{work} of {package} ended so: {other:?}; {history}"));
                }
            }
        }
        faults.extend(starts.keys().map(|(package, work)| format!("{work} of {package} is no job's")));
        faults.extend(audit(&self.db, &self.land.data).await);
        faults.extend(self.repos_that_differ().await);
        assert!(faults.is_empty(), "{faults:#?}\n{}", self.logs());
        figures
    }

    /// Its log must have every byte its container said, once.
    async fn check_log(&self, job: &Job, package: &str, faults: &mut Vec<String>) {
        if job.kind != JobKind::Build {
            return;
        }
        let url = self.url(&format!("/api/v1/jobs/{}/logs/build.log", job.id));
        let answer = self.http.get(url).send().await;
        let text = match answer {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        let expected = lines(package).join("\n") + "\n";
        if text != expected {
            faults.push(format!(
                "the log of {package} has {} bytes and not {}: {text}",
                text.len(),
                expected.len()
            ));
        }
    }

    /// Does every repo on disk show what the ledger says?
    async fn repos_that_differ(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut tx = self.db.read().await.expect("the ledger reads");
        for repo in tx.repos().await.expect("repos") {
            let trees =
                ["candidate", "public"].map(|tree| self.land.data.join(tree).join("live").join(&repo.tag));
            let shown: Vec<SnapshotId> = trees
                .iter()
                .filter_map(|link| std::fs::read_link(link).ok())
                .filter_map(|target| target.file_name()?.to_str()?.parse().ok())
                .collect();
            if shown != repo.current.into_iter().collect::<Vec<_>>() {
                faults.push(format!("{} shows {shown:?}, and the ledger says {:?}", repo.tag, repo.current));
            }
        }
        faults
    }
}

/// Which package's work a job is; `None` for a test, which several snapshots may need.
fn label(job: &Job) -> Option<(String, &'static str)> {
    match &job.recipe.work {
        Work::Srpm { spec, .. } => Some((format!("{}-1", spec.strip_suffix(".spec")?), "srpm")),
        Work::Build { srpm } => Some((srpm.name.strip_suffix("-1.src.rpm")?.to_owned(), "build")),
        Work::Test { .. } => None,
    }
}

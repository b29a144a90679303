//! Test requests: what their jobs showed becomes results, in the transaction that closes the request.

use farm::digest::Digest;
use farm::gate::{TestResult, TestVerdict, environment};
use farm::job::{Job, JobKind, JobState};
use farm::ledger::Kept;
use farm::outcome::Outcome;
use farm::recipe::Work;
use farm::request::{Closed, Request, RequestKind, Verdict};

use super::Progress;
use super::trial::version;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

pub(super) async fn close(
    hub: &Hub,
    request: &Kept<Request>,
    jobs: &[Job],
    verdict: Verdict,
) -> Answer<Progress> {
    let (RequestKind::Test { snapshot, .. } | RequestKind::Check { snapshot, .. }) = request.kind else {
        return Err(Problem::Internal(anyhow::anyhow!("request {} is no test", request.id)));
    };
    let mut tx = hub.db.write().await?;
    let Some(snapshot) = tx.snapshot(snapshot).await? else {
        return Err(Problem::Internal(anyhow::anyhow!("snapshot {snapshot} of test {} is gone", request.id)));
    };
    for job in jobs {
        if let Some(result) = result(job, &snapshot.content) {
            tx.insert_result(&result).await?;
        }
    }
    tx.close_request(request, Closed { at: hub.now(), verdict }).await?;
    tx.commit().await?;
    tracing::info!(request = %request.id, packages = request.package, "the tests are over");
    Ok(Progress::Made)
}

/// What a job showed of a content. A run that did not come to an end shows nothing good.
fn result(job: &Job, content: &Digest) -> Option<TestResult> {
    let (JobKind::Test { suite, on }, JobState::Done { at, outcome, .. }) = (&job.kind, &job.state) else {
        return None;
    };
    let verdict = match outcome {
        Outcome::Passed => TestVerdict::Passed,
        Outcome::FailedByPackage { reason } => TestVerdict::Failed { reason: reason.clone() },
        Outcome::FailedByFarm { .. } | Outcome::Cancelled { .. } | Outcome::Lost { .. } => {
            TestVerdict::Errored { reason: outcome.sentence() }
        }
    };
    let Work::Test { suite: _, folder, packages: _ } = &job.recipe.work else { return None };
    let version = version(suite, folder.as_ref());
    Some(TestResult {
        job: job.id,
        content: content.clone(),
        suite: suite.clone(),
        arch: job.arch,
        on: on.clone(),
        version,
        environment: environment(&job.recipe.image, &job.recipe.repos),
        verdict,
        at: *at,
    })
}

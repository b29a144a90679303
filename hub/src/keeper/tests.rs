//! Test requests: what their jobs showed becomes results, in the transaction that closes the request.

use farm::gate::TestResult;
use farm::job::Job;
use farm::ledger::Kept;
use farm::request::{Closed, Request, RequestKind, Verdict};

use super::Progress;
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
        if let Some(result) = TestResult::shown_by(job, &snapshot.content) {
            tx.insert_result(&result).await?;
        }
    }
    tx.close_request(request, Closed { at: hub.now(), verdict }).await?;
    tx.commit().await?;
    tracing::info!(request = %request.id, packages = request.package, "the tests are over");
    Ok(Progress::Made)
}

//! The walk of one attempt: take up the offer, do the work while the lease is kept alive, report.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farm::message::{Lease, Offer};
use farm::outcome::Outcome;
use farm::stamp::Stamp;
use farm::wire::Delivery;
use tracing::Instrument as _;

use crate::attempt::{Interrupt, Interrupts, Key, Token};
use crate::cache::Cache;
use crate::ccache::Ccaches;
use crate::client::{AttemptClient, ClientError, Hub};
use crate::engine::{Engine, Owner};
use crate::halt::{Halt, OrFarm as _};
use crate::logs::{Logs, STATE_LOG};
use crate::roots::Roots;
use crate::steps::{self, Bench, Journal};
use crate::workspace::Workspace;
use crate::{beat, check};

/// How long after the end of an offer an answer to its claim is still waited for: it may have been granted in time.
const CLAIM_GRACE: Duration = Duration::from_secs(30);
/// Bytes of the builder's own log of an attempt, which grows by a few lines for each step.
const STATE_LOG_LIMIT: u64 = 16 * 1024 * 1024;

/// What all slots of a builder share.
pub(crate) struct Tools {
    pub(crate) name: String,
    /// When this life of the builder began.
    pub(crate) born: Stamp,
    pub(crate) engine: Engine,
    pub(crate) hub: Hub,
    pub(crate) cache: Cache,
    pub(crate) roots: Roots,
    pub(crate) ccaches: Ccaches,
    /// Where workspaces are made: an absolute path.
    pub(crate) work: PathBuf,
    pub(crate) file_repos: Vec<PathBuf>,
}

/// Does everything about one offer. Whatever happens, nothing of it is left on the builder afterwards.
pub(crate) async fn work(tools: Arc<Tools>, delivery: Delivery, interrupts: Interrupts) {
    let Delivery { offer, receipt } = delivery;
    let key = Key { job: offer.job, turn: offer.turn };
    let token = match Token::fresh() {
        Ok(token) => token,
        Err(error) => {
            return tracing::error!(job = %key.job, turn = key.turn, builder = tools.name, %error,
                "no random numbers to make a token of; the offer will lapse");
        }
    };
    let client = tools.hub.attempt(key, token, interrupts.lost().clone());
    let claimed = claim(&client, &offer, &tools, &interrupts).await;
    // Not before, so that a builder that dies here is given it again; not later, because a broker does not wait for builds.
    receipt.settle().await;
    let lease = match claimed {
        Some(Ok(lease)) => lease,
        Some(Err(ClientError::Lost)) => {
            return tracing::debug!(job = %key.job, turn = key.turn, builder = tools.name, "an offer is void");
        }
        Some(Err(error)) => {
            return tracing::warn!(job = %key.job, turn = key.turn, builder = tools.name, %error, "cannot take up an offer");
        }
        None => {
            return tracing::warn!(job = %key.job, turn = key.turn, builder = tools.name, "the hub did not answer before the offer lapsed");
        }
    };
    if lease.stop {
        interrupts.raise(Interrupt::Cancelled);
    }
    tracing::info!(job = %key.job, turn = key.turn, builder = tools.name, "took up a job");
    // What is said deeper down does not know whose it is.
    let span = tracing::info_span!("attempt", job = %key.job, turn = key.turn, builder = tools.name);
    let beating =
        tokio::spawn(beat::keep(client.clone(), interrupts.clone(), lease).instrument(span.clone()));
    let outcome = attempt(&tools, &client, offer, &interrupts).instrument(span).await;
    let reported = match outcome {
        Some(outcome) => client.finish(&outcome).await.map(|()| outcome),
        None => Err(ClientError::Lost),
    };
    beating.abort();
    match reported {
        Ok(outcome) => {
            tracing::info!(job = %key.job, turn = key.turn, builder = tools.name, outcome = outcome.sentence(), "reported a job");
        }
        Err(error) => {
            tracing::warn!(job = %key.job, turn = key.turn, builder = tools.name, %error, "gave up a job without a report")
        }
    }
}

/// Takes up the offer; `None` if nobody answered in time.
async fn claim(
    client: &AttemptClient,
    offer: &Offer,
    tools: &Tools,
    interrupts: &Interrupts,
) -> Option<Result<Lease, ClientError>> {
    let patience = (offer.until - now()) + CLAIM_GRACE;
    tokio::select! {
        answer = client.claim(offer, &tools.name, tools.born) => Some(answer),
        () = interrupts.stop().cancelled() => None,
        () = tokio::time::sleep(patience) => None,
    }
}

/// Does the work, delivers the logs and cleans up; `None` if there is nobody to report to.
async fn attempt(
    tools: &Tools,
    client: &AttemptClient,
    offer: Offer,
    interrupts: &Interrupts,
) -> Option<Outcome> {
    let owner = Owner { builder: tools.name.clone(), job: offer.job, turn: offer.turn };
    let workspace = match Workspace::create(&tools.work).or_farm("make a workspace") {
        Ok(workspace) => workspace,
        Err(halt) => return conclude(Err(halt), interrupts),
    };
    let mut logs = Logs::new(workspace.logs(), client.clone());
    let worked = noted(tools, client, offer, interrupts, &workspace, &mut logs, &owner).await;
    if let Err(error) = tools.engine.reap(&owner, &tools.roots.kept()).await {
        tracing::error!(%error, "containers or images may be left over");
    }
    let delivered = logs.delivered().await.map_err(Halt::from);
    workspace.remove().await;
    // A log that is not there explains nothing: then a success is not one, but a failure stays the one it is.
    conclude(worked.and(delivered), interrupts)
}

/// Does the work and keeps the journal of it. Every log is closed when this returns.
async fn noted(
    tools: &Tools,
    client: &AttemptClient,
    offer: Offer,
    interrupts: &Interrupts,
    workspace: &Workspace,
    logs: &mut Logs,
    owner: &Owner,
) -> Result<(), Halt> {
    let journal = logs.open(STATE_LOG, STATE_LOG_LIMIT).await.or_farm("keep a log")?;
    let mut journal = Journal::new(journal);
    journal.note(&format!("Start: job {} turn {} on {}", owner.job, owner.turn, owner.builder)).await;
    let worked = match check::recipe(&offer.recipe) {
        Ok(()) => {
            let mut bench = Bench {
                tools,
                client,
                interrupts,
                workspace,
                logs,
                journal: &mut journal,
                owner: owner.clone(),
                recipe: Arc::new(offer.recipe),
            };
            steps::follow(&mut bench).await
        }
        Err(why) => Err(Halt::Farm(why)),
    };
    let end = match &worked {
        Ok(()) => "passed",
        Err(Halt::Package(why) | Halt::Farm(why)) => why,
        Err(Halt::Interrupted) => "interrupted",
    };
    journal.note(&format!("Finish: {end}")).await;
    worked
}

/// What to report.
fn conclude(worked: Result<(), Halt>, interrupts: &Interrupts) -> Option<Outcome> {
    Some(match (worked, interrupts.why()) {
        (_, Some(Interrupt::Lost)) => return None,
        (Ok(()), _) => Outcome::Passed,
        (Err(Halt::Package(reason)), _) => Outcome::FailedByPackage { reason },
        (Err(Halt::Interrupted), Some(Interrupt::ShuttingDown)) => {
            Outcome::FailedByFarm { reason: "builder is shutting down".to_owned() }
        }
        // Who cancelled it the ledger knows better than a builder.
        (Err(Halt::Interrupted), Some(Interrupt::Cancelled)) => {
            Outcome::Cancelled { by: "the farm".to_owned() }
        }
        (Err(Halt::Interrupted), None) => {
            Outcome::FailedByFarm { reason: "a part of the builder broke down; see its own log".to_owned() }
        }
        (Err(Halt::Farm(reason)), _) => Outcome::FailedByFarm { reason },
    })
}

/// The present moment by this machine's clock.
pub(crate) fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

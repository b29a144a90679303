//! What a builder does with a job, for tests in which nothing runs: it takes it, brings what a build makes, and is told how it ends.

use farm::buildroot::{LOCK_FILE, Lock};
use farm::digest::Digest;
use farm::ids::JobId;
use farm::job::{Event, Job, Patience};
use farm::ledger::{Artifact, Db, StepError, Tx};
use farm::outcome::Outcome;
use farm::stamp::Stamp;
use hub::state::Hub;

/// A job that a builder has taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The job, running.
    pub job: Job,
    token: Digest,
}

/// A builder is offered a job and claims it.
///
/// # Errors
/// When the job does not wait for a builder, or the ledger fails.
pub async fn take(tx: &mut Tx, id: JobId, now: Stamp, patience: &Patience) -> Result<Taken, StepError> {
    let (ticket, token) = (Digest::of(b"ticket"), Digest::of(id.to_string().as_bytes()));
    let offer = Event::Offer { builder: "b".into(), ticket: ticket.clone() };
    let turn = tx.step_job(id, offer, now, patience).await?.job.turn;
    let claim = Event::Claim { turn, ticket, builder: "b".into(), token: token.clone(), born: Stamp::ZERO };
    let job = tx.step_job(id, claim, now, patience).await?.job;
    Ok(Taken { job, token })
}

impl Taken {
    /// How the builder says that it is done.
    #[must_use]
    pub fn finish(&self, outcome: Outcome) -> Event {
        Event::Finish { turn: self.job.turn, token: self.token.clone(), outcome }
    }
}

/// The file that says what was installed when a build ran: always the same.
#[must_use]
pub fn lock(build: &Job) -> (String, Vec<u8>) {
    let image = format!("sha256:{}", Digest::of(b"image"));
    let lock = Lock::of_listing(&build.recipe, &image, "base-1-1.noarch (none)").expect("it can be read");
    (LOCK_FILE.to_owned(), serde_json::to_vec(&lock).expect("it can be written"))
}

/// Uploads what a build made, by name.
///
/// # Panics
/// When the ledger or the disk fails.
pub async fn bring(hub: &Hub, db: &Db, build: &Job, files: impl IntoIterator<Item = (String, Vec<u8>)>) {
    for (name, bytes) in files {
        let stored = hub.artifacts.put_bytes(&bytes).await.expect("the store takes it");
        let (digest, size) = (stored.digest, stored.size);
        let artifact = Artifact { job: build.id, turn: build.turn, name, digest, size };
        let mut tx = db.write().await.expect("the ledger answers");
        tx.put_artifact(&artifact, hub.now()).await.expect("the ledger takes it");
        tx.commit().await.expect("the ledger takes it");
    }
}

//! Carries an attempt's logs to the hub while they grow.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::client::{AttemptClient, ClientError};
use crate::spool::{Growth, Spool};

/// The log of what the builder itself did; the other logs are named by the steps that write them.
pub(crate) const STATE_LOG: &str = "state.log";

/// Bytes of one call.
const CHUNK: usize = 1024 * 1024;
/// How long lines are gathered between two calls.
const GATHER: Duration = Duration::from_millis(130);
/// How long after the first new line others are waited for: most lines do not come alone, and a short attempt's log is one call.
const LULL: Duration = Duration::from_millis(20);

/// The logs of one attempt.
pub(crate) struct Logs {
    folder: PathBuf,
    client: AttemptClient,
    carriers: Vec<JoinHandle<Result<(), ClientError>>>,
}

impl Logs {
    /// Keeps the logs in `folder`.
    pub(crate) fn new(folder: PathBuf, client: AttemptClient) -> Self {
        Self { folder, client, carriers: Vec::new() }
    }

    /// Opens a log that may grow to `limit` bytes. It is complete when the spool is dropped.
    pub(crate) async fn open(&mut self, name: &'static str, limit: u64) -> std::io::Result<Spool> {
        let spool = Spool::create(self.folder.join(name), limit).await?;
        self.carriers.push(tokio::spawn(carry(name, spool.growth(), self.client.clone())));
        Ok(spool)
    }

    /// Waits until the hub has all of every log; their spools must be dropped by then.
    pub(crate) async fn delivered(&mut self) -> Result<(), ClientError> {
        let mut result = Ok(());
        for carrier in self.carriers.drain(..) {
            let delivered = carrier.await.unwrap_or(Err(ClientError::Lost));
            if result.is_ok() {
                result = delivered;
            }
        }
        result
    }
}

async fn carry(name: &'static str, mut growth: Growth, client: AttemptClient) -> Result<(), ClientError> {
    let disk = |source| ClientError::Disk { what: name.to_owned(), source };
    let mut sent = 0;
    while growth.beyond(sent).await {
        growth.closed_within(LULL).await;
        let file = File::open(growth.path()).map_err(disk)?;
        while sent < growth.size() {
            let wanted = usize::try_from(growth.size() - sent).unwrap_or(CHUNK).min(CHUNK);
            let mut chunk = vec![0; wanted];
            file.read_exact_at(&mut chunk, sent).map_err(disk)?;
            // The hub's size counts: an answer that was lost means that it has more than this end believed.
            let there = client.log(name, sent, &chunk).await?.size;
            if there <= sent {
                tokio::time::sleep(GATHER).await;
            }
            sent = there;
        }
        growth.closed_within(GATHER).await;
    }
    Ok(())
}

//! A role that runs in this process, and how it is stopped.

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

/// How long a role may take to stop before it is left behind. What it drains has its own time on top.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(20);

/// A role that runs.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
    grace: Duration,
}

impl Role {
    /// Starts it. `grace` is how long it may take to stop.
    pub(crate) fn start<F>(
        name: &'static str,
        grace: Duration,
        run: impl FnOnce(watch::Receiver<bool>) -> F,
    ) -> Role
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        Role { name, stop, task: tokio::spawn(run(stopped)), grace }
    }

    /// Becomes true when the role is told to stop.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Tells it to stop and waits for it, as long as its grace lasts.
    ///
    /// # Errors
    /// When the role failed or broke down.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        match tokio::time::timeout(self.grace, &mut self.task).await {
            Ok(ended) => outcome(self.name, ended),
            Err(_) => {
                self.task.abort();
                tracing::warn!(role = self.name, "a role did not stop in time and was left behind");
                Ok(())
            }
        }
    }
}

/// How a role ended.
pub(crate) fn outcome(name: &str, ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    match ended {
        Ok(result) => result.with_context(|| format!("the {name} failed")),
        Err(error) => Err(anyhow::Error::new(error).context(format!("the {name} broke down"))),
    }
}

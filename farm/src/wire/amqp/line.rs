//! The line to the broker: made, watched, and made again.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, DefaultConnectionBuilder, Event};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::super::BusError;
use super::config::{AmqpConfig, shown};
use super::refusal::explained;
use super::topology::{Names, Shared, ready_channel};

/// How long one try to connect and declare everything may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// Between two tries: the first pause, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A line that held for this long was a good one; the next trouble is a new one.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// A dead connection is noticed by its events; this is the net below.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After sending took too long, nothing is sent for this long: a tick with many offers must not wait for each of them.
const STALLED_FOR: Duration = Duration::from_secs(3);

/// One connection while it lasts.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    sending: tokio::sync::Mutex<Option<Channel>>,
    stalled: Mutex<Option<Instant>>,
}

impl Link {
    /// The channel for sending, made anew after the last one broke.
    pub(super) async fn sending(&self, names: &Names) -> lapin::Result<Channel> {
        let mut sending = self.sending.lock().await;
        match &*sending {
            Some(channel) if channel.status().connected() => Ok(channel.clone()),
            Some(_) | None => {
                *sending = None;
                let channel = ready_channel(&self.connection, names).await?;
                *sending = Some(channel.clone());
                Ok(channel)
            }
        }
    }

    /// The channel for sending is not to be used again.
    pub(super) async fn forget_sending(&self) {
        // One that holds the lock is making a new channel already.
        if let Ok(mut sending) = self.sending.try_lock() {
            *sending = None;
        }
    }

    /// Nothing goes out for a while.
    pub(super) fn stall(&self) {
        *self.stalled.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + STALLED_FOR);
    }

    /// Why nothing can be sent now, if so.
    pub(super) fn obstacle(&self) -> Option<&'static str> {
        if self.connection.status().blocked() {
            return Some("the broker takes no messages because its memory or disk is full");
        }
        let stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        stalled.is_some_and(|until| Instant::now() < until).then_some("the broker did not answer in time")
    }
}

/// The line; clones share it. It is kept until the last of them is gone.
#[derive(Debug, Clone)]
pub(super) struct Line {
    link: watch::Receiver<Option<Arc<Link>>>,
    names: Arc<Names>,
    _keeper: Arc<Aborts>,
}

/// Ends a task when it is dropped.
#[derive(Debug)]
pub(super) struct Aborts(pub(super) AbortHandle);

impl Drop for Aborts {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Line {
    /// Begins to look for the broker.
    pub(super) fn keep(config: &AmqpConfig, shared: Shared) -> Result<Line, BusError> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| BusError::Unusable("it is connected to outside a runtime".to_owned()))?;
        let names = Arc::new(Names::new(&config.prefix, shared));
        let way = Way { uri: config.full_uri()?, authorities: config.authorities()?, names: names.clone() };
        let (sender, link) = watch::channel(None);
        let keeper = runtime.spawn(keep(way, sender)).abort_handle();
        Ok(Line { link, names, _keeper: Arc::new(Aborts(keeper)) })
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// The connection, when there is one now.
    pub(super) fn now(&self) -> Option<Arc<Link>> {
        self.link.borrow().clone()
    }

    /// Waits for a connection.
    pub(super) async fn up(&mut self) -> Arc<Link> {
        // An error says that whoever keeps the connection is gone: then there will never be one.
        if let Ok(link) = self.link.wait_for(Option::is_some).await
            && let Some(link) = &*link
        {
            return link.clone();
        }
        std::future::pending().await
    }

    /// Waits until this connection is not the one any more.
    pub(super) async fn gone(&mut self, link: &Arc<Link>) {
        let is_other = |now: &Option<Arc<Link>>| !now.as_ref().is_some_and(|now| Arc::ptr_eq(now, link));
        let _or_nobody_keeps_it = self.link.wait_for(is_other).await;
    }
}

/// How to get to the broker.
struct Way {
    uri: AMQPUri,
    authorities: Option<String>,
    names: Arc<Names>,
}

async fn keep(way: Way, sender: watch::Sender<Option<Arc<Link>>>) {
    let broker = shown(&way.uri);
    let mut failures = 0_u32;
    let mut told = None;
    loop {
        let tried = timeout(CONNECT_WITHIN, connect(&way)).await;
        let broke = match tried {
            Ok(Ok(link)) => {
                tracing::info!(broker, failures, "connected to the bus");
                let since = Instant::now();
                sender.send_replace(Some(link.clone()));
                let why = broken(&link).await;
                sender.send_replace(None);
                if since.elapsed() >= GOOD_AFTER {
                    (failures, told) = (0, None);
                }
                why
            }
            Ok(Err(error)) => explained(&error),
            Err(_elapsed) => "it does not answer".to_owned(),
        };
        // A broker that is back and cannot be used is another trouble than one that is away.
        if told.as_ref() == Some(&broke) {
            tracing::debug!(broker, why = broke, "the bus is still away");
        } else {
            tracing::warn!(broker, why = broke, "the bus is away; it is looked for until it is back");
            told = Some(broke);
        }
        failures = failures.saturating_add(1);
        sleep(pause(failures)).await;
    }
}

async fn connect(way: &Way) -> lapin::Result<Arc<Link>> {
    let name = format!("grange {}", std::process::id());
    let connection = DefaultConnectionBuilder::new()?
        .with_uri(way.uri.clone())
        .with_properties(ConnectionProperties::default().with_connection_name(name.into()))
        .with_tls_config(OwnedTLSConfig { identity: None, cert_chain: way.authorities.clone() })
        .connect()
        .await?;
    let sending = ready_channel(&connection, &way.names).await?;
    Ok(Arc::new(Link {
        connection,
        sending: tokio::sync::Mutex::new(Some(sending)),
        stalled: Mutex::new(None),
    }))
}

/// Waits until a connection is of no use any more, and says why.
async fn broken(link: &Link) -> String {
    let mut events = std::pin::pin!(link.connection.events_listener());
    let mut why = None;
    while link.connection.status().connected() {
        match timeout(LOOK_EVERY, events.next()).await {
            Ok(Some(Event::ConnectionBlocked(reason))) => {
                tracing::warn!(reason, "the bus takes no messages until its broker has room again");
            }
            Ok(Some(Event::ConnectionUnblocked)) => tracing::info!("the bus takes messages again"),
            Ok(Some(Event::Error(error))) => why = Some(error.to_string()),
            Ok(Some(_)) | Err(_) => {}
            // The listener ends only with the connection, but must not make this a busy loop if it did not.
            Ok(None) => sleep(LOOK_EVERY).await,
        }
    }
    why.unwrap_or_else(|| "the connection ended".to_owned())
}

/// How long to wait after this many failures: doubled with each, up to a limit, and anything between half of it and all
/// of it, so that a farm does not come back as one.
pub(super) fn pause(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    let per_mille = RandomState::new().hash_one(failures) % 501;
    doubled / 2 + doubled.mul_f64(per_mille as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        for failures in 1..40 {
            let most = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_PAUSE);
            let pauses: Vec<_> = (0..20).map(|_| pause(failures)).collect();
            assert!(pauses.iter().all(|pause| *pause >= most / 2 && *pause <= most), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}

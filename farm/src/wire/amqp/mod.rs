//! The bus over RabbitMQ (3.10 or newer).
//!
//! One connection per process, supervised by [`line`]; everything on the broker is declared by us ([`topology`] says who of
//! us declares what) at each connect, and again by whoever finds a part of it gone, so the broker may be wiped at any time. Reconnecting is our own
//! work and not lapin's recovery, because that gives up after a number of tries and replays what it remembers instead
//! of what should be there now.

mod config;
mod envelope;
mod line;
mod publish;
mod refusal;
mod tap;
mod topology;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, broadcast, mpsc};

use self::envelope::{EVENT, Letter, NUDGE, OFFER, STOP};
use self::line::Line;
use self::publish::Publisher;
use self::tap::{Subscription, open};
use self::topology::Shared;
use super::delivery::{Delivery, Receipt};
use super::{BusError, DEPTH};
use crate::arch::Arch;
use crate::event::StateChange;
use crate::message::{Offer, Stop};

pub use self::config::AmqpConfig;
pub(super) use self::tap::Tap;

/// A handle on a broker.
#[derive(Debug)]
pub struct Amqp {
    line: Line,
    publisher: Publisher,
    nudges: OnceLock<Tap>,
    nudged: Arc<Notify>,
    /// How long the broker may take to answer.
    patience: Duration,
}

/// One reader of a builder's queue.
#[derive(Debug)]
pub struct Reader {
    deliveries: mpsc::Receiver<Delivery>,
    _tap: Tap,
}

impl Reader {
    pub(super) async fn next(&mut self) -> Delivery {
        match self.deliveries.recv().await {
            Some(delivery) => delivery,
            None => std::future::pending().await,
        }
    }
}

impl Amqp {
    pub(super) fn connect(config: &AmqpConfig) -> Result<Self, BusError> {
        Self::start(config, Shared::MadeHere)
    }

    pub(super) fn connect_as_builder(config: &AmqpConfig) -> Result<Self, BusError> {
        Self::start(config, Shared::MadeElsewhere)
    }

    fn start(config: &AmqpConfig, shared: Shared) -> Result<Self, BusError> {
        let line = Line::keep(config, shared)?;
        let patience = Duration::from_millis(config.send_ms.max(1));
        let publisher = Publisher::new(line.clone(), patience);
        Ok(Self { line, publisher, nudges: OnceLock::new(), nudged: Arc::default(), patience })
    }

    pub(super) async fn dead_letters(&self) -> Option<u32> {
        let link = self.line.now()?;
        let counted =
            tokio::time::timeout(self.patience, topology::dead_letters(&link.connection, self.line.names()));
        counted.await.ok()?.ok()
    }

    pub(super) fn is_up(&self) -> bool {
        self.line.now().is_some()
    }

    pub(super) async fn offer(&self, builder: &str, offer: &Offer) {
        let left = offer.until - now();
        let letter = Letter::new(OFFER, offer)
            .to(self.line.names().offers(), &topology::route(offer.recipe.arch, builder))
            .named(&format!("{}/{}", offer.job, offer.turn))
            .mandatory()
            .expiring(left);
        match self.publisher.hurry(&[letter]).await {
            Some(0) | None => {}
            Some(_returned) => {
                let (job, turn, arch) = (offer.job, offer.turn, offer.recipe.arch);
                tracing::warn!(builder, %job, turn, %arch, "the builder has no queue for this; the offer will lapse");
            }
        }
    }

    pub(super) async fn offers(&self, builder: &str, arches: &[Arch], slots: u32) -> Reader {
        // Whatever was prefetched here waits in this channel, so it never holds more than the broker gives.
        let slots = u16::try_from(slots.max(1)).unwrap_or(u16::MAX);
        let (sender, deliveries) = mpsc::channel(usize::from(slots));
        let subscription = Subscription::offers(builder, arches, slots);
        let tap = open(&self.line, subscription, OFFER, move |offer: Offer, acker| {
            let sender = sender.clone();
            async move {
                let _reader_gone = sender.send(Delivery { offer, receipt: Receipt::amqp(acker) }).await;
            }
        });
        Reader { deliveries, _tap: tap.await }
    }

    pub(super) async fn stop(&self, stop: Stop) {
        let letter = Letter::new(STOP, &stop).to(self.line.names().stops(), "");
        self.publisher.hurry(&[letter]).await;
    }

    pub(super) async fn stops(&self) -> (broadcast::Receiver<Stop>, Tap) {
        let (sender, receiver) = broadcast::channel(DEPTH);
        let tap = open(&self.line, Subscription::Stops, STOP, move |stop: Stop, _acker| {
            let _nobody_listens = sender.send(stop);
            std::future::ready(())
        });
        (receiver, tap.await)
    }

    pub(super) async fn nudge(&self) {
        // Through the exchange every broker has, whose routing keys are the names of queues.
        let letter = Letter::new(NUDGE, &()).to("", self.line.names().nudges()).passing();
        self.publisher.hurry(&[letter]).await;
    }

    pub(super) async fn nudged(&self) {
        // Only who waits for nudges takes any: a hub that did would take them from the schedulers.
        self.nudges.get_or_init(|| {
            let nudged = self.nudged.clone();
            tap::start(&self.line, Subscription::Nudges, NUDGE, move |(): (), _acker| {
                nudged.notify_one();
                std::future::ready(())
            })
            .0
        });
        self.nudged.notified().await;
    }

    pub(super) async fn publish(&self, changes: &[StateChange]) -> Result<(), BusError> {
        let letters: Vec<Letter> = changes
            .iter()
            .map(|change| {
                Letter::new(EVENT, change)
                    .to(self.line.names().events(), &change.routing_key())
                    .named(&change.id.to_string())
                    .dated(change.at)
            })
            .collect();
        self.publisher.send(&letters).await.map(|_nobody_need_listen| ())
    }

    pub(super) async fn changes(&self, pattern: &str) -> (mpsc::UnboundedReceiver<StateChange>, Tap) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let subscription = Subscription::Changes { pattern: pattern.to_owned() };
        let tap = open(&self.line, subscription, EVENT, move |change: StateChange, _acker| {
            let _listener_gone = sender.send(change);
            std::future::ready(())
        });
        (receiver, tap.await)
    }
}

/// The present moment by this machine's clock.
fn now() -> crate::stamp::Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    crate::stamp::Stamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

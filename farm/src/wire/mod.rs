//! The bus between scheduler, builders, hub and the outside.
//!
//! # Contract
//! - Every message but an event is a hurry-up. It may be lost, doubled or late, and nothing that matters may depend on
//!   it: the ledger finds everything unsettled again by scanning.
//! - **Offers** go to the queue of one builder, and only for an architecture it opened the queue for. Whoever reads a queue
//!   is given at most `slots` offers that it has not settled; each offer goes to one of those who read the queue. An offer is settled when its
//!   claim was answered, whatever the answer, and never held through a build. One that is dropped unsettled, or whose
//!   reader dies, is given again, to the same or another reader of the queue, up to [`GIVEN_AGAIN`] times. An offer to a
//!   queue that nobody ever opened is lost, as is one that nobody takes before its `until`.
//! - A **stop** goes to everybody who listens at the time, a **nudge** to at least one of those who wait for one: any of
//!   them can do what is to be done. Several nudges may be taken as one.
//! - **Events** are the exception: [`Bus::publish`] says `Ok` only once the bus answers for them. Who publishes keeps
//!   them until then, so they are told at least once and in order; a listener knows one it has heard by its id.
//! - Sending never waits long: a message that cannot be sent in the configured time is lost, which is told in the log
//!   once per trouble. Receiving never fails: a receiver whose bus is gone waits until it is back.
//!
//! What crosses a broker carries its kind and version (the property `type`, such as `offer/1`) and is JSON. One that this
//! program cannot read is set aside where people can look at it and never stops those behind it.

mod amqp;
mod delivery;
mod local;
mod pattern;

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

pub use amqp::{Amqp, AmqpConfig};
pub use delivery::{Delivery, Offers, Receipt};
pub use local::{Fate, Faults, Local};

use crate::arch::Arch;
use crate::event::StateChange;
use crate::message::{Offer, Stop};

/// How often an offer is given again after it was dropped unsettled, before it is set aside.
pub const GIVEN_AGAIN: u32 = 5;

/// How many messages a slow receiver may lag behind before the oldest are dropped.
const DEPTH: usize = 1024;

/// A handle on the bus; clones share it.
#[derive(Clone, Debug)]
pub enum Bus {
    /// Inside this process.
    Local(Arc<Local>),
    /// A RabbitMQ broker.
    Amqp(Arc<Amqp>),
}

/// What can go wrong with the bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The configuration makes no sense.
    #[error("the bus cannot be used as configured: {0}")]
    Unusable(String),
    /// Nobody answers for the message now; later it may go.
    #[error("the bus did not take a message: {0}")]
    Away(String),
}

/// Receives what is sent to everybody; what a slow receiver missed is skipped.
#[derive(Debug)]
pub struct Heard<T> {
    receiver: broadcast::Receiver<T>,
    _tap: Option<amqp::Tap>,
}

impl<T: Clone> Heard<T> {
    /// The next message. Waits for ever when the bus is gone.
    pub async fn next(&mut self) -> T {
        loop {
            match self.receiver.recv().await {
                Ok(message) => return message,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "fell behind the bus; the next scan makes up for it");
                }
                Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}

/// Receives changes of state while it lives. What is told while a broker is away from it, it misses: who must miss
/// nothing binds a durable queue of its own to the exchange.
#[derive(Debug)]
pub struct Changes {
    receiver: mpsc::UnboundedReceiver<StateChange>,
    _tap: Option<amqp::Tap>,
}

impl Changes {
    /// The next change. Waits for ever when the bus is gone.
    pub async fn next(&mut self) -> StateChange {
        match self.receiver.recv().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }
}

impl Bus {
    /// A new bus inside this process.
    #[must_use]
    pub fn local() -> Self {
        Bus::Local(Arc::new(Local::with(None)))
    }

    /// A bus inside this process that loses and doubles messages as told.
    pub fn faulty(fate: impl Fn() -> Fate + Send + Sync + 'static) -> Self {
        Bus::Local(Arc::new(Local::with(Some(Faults::new(fate)))))
    }

    /// A handle on a broker. It does not wait for the broker: one that is away is looked for until it is there, and
    /// what is sent meanwhile is lost. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`BusError::Unusable`] when the address is none or a file it names cannot be read.
    pub fn connect(config: &AmqpConfig) -> Result<Self, BusError> {
        Ok(Bus::Amqp(Arc::new(Amqp::connect(config)?)))
    }

    /// The same for a process that only takes offers and hears stops, and whose user on the broker may do no more than that.
    /// The bus counts as away until a hub or a scheduler, by [`Bus::connect`], has made what everybody shares.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub fn connect_as_builder(config: &AmqpConfig) -> Result<Self, BusError> {
        Ok(Bus::Amqp(Arc::new(Amqp::connect_as_builder(config)?)))
    }

    /// Is the bus there now?
    #[must_use]
    pub fn is_up(&self) -> bool {
        match self {
            Bus::Local(_) => true,
            Bus::Amqp(amqp) => amqp.is_up(),
        }
    }

    /// Puts an offer into the builder's queue.
    pub async fn offer(&self, builder: &str, offer: Offer) {
        match self {
            Bus::Local(local) => local.offer(builder, &offer),
            Bus::Amqp(amqp) => amqp.offer(builder, &offer).await,
        }
    }

    /// Opens a builder's queue for offers of these architectures, at most `slots` of them unsettled at a time. A later
    /// opening says anew which architectures they are.
    pub async fn offers(&self, builder: &str, arches: &[Arch], slots: u32) -> Offers {
        match self {
            Bus::Local(local) => Offers::Local(local.offers(builder, arches, slots)),
            Bus::Amqp(amqp) => Offers::Amqp(amqp.offers(builder, arches, slots).await),
        }
    }

    /// Tells all builders to stop this turn.
    pub async fn stop(&self, stop: Stop) {
        match self {
            Bus::Local(local) => local.stop(stop),
            Bus::Amqp(amqp) => amqp.stop(stop).await,
        }
    }

    /// Listens to stops from now on.
    pub async fn stops(&self) -> Heard<Stop> {
        match self {
            Bus::Local(local) => Heard { receiver: local.stops(), _tap: None },
            Bus::Amqp(amqp) => {
                let (receiver, tap) = amqp.stops().await;
                Heard { receiver, _tap: Some(tap) }
            }
        }
    }

    /// Tells a scheduler that the ledger has something new for it. Several nudges may be taken as one.
    pub async fn nudge(&self) {
        match self {
            Bus::Local(local) => local.nudge(),
            Bus::Amqp(amqp) => amqp.nudge().await,
        }
    }

    /// Waits for a nudge.
    pub async fn nudged(&self) {
        match self {
            Bus::Local(local) => local.nudged().await,
            Bus::Amqp(amqp) => amqp.nudged().await,
        }
    }

    /// How many messages are set aside, for people to look at; `None` when nobody says so within the configured time.
    /// A bus inside a process sets nothing aside but in its log.
    pub async fn dead_letters(&self) -> Option<u32> {
        match self {
            Bus::Local(_) => Some(0),
            Bus::Amqp(amqp) => amqp.dead_letters().await,
        }
    }

    /// Tells changes of state to the outside, in this order. `Ok` means that the bus answers for all of them.
    ///
    /// # Errors
    /// [`BusError::Away`] when it does not; some of them may have been told nevertheless.
    pub async fn publish(&self, changes: &[StateChange]) -> Result<(), BusError> {
        match self {
            Bus::Local(local) => local.publish(changes),
            Bus::Amqp(amqp) => return amqp.publish(changes).await,
        }
        Ok(())
    }

    /// Listens from now on to changes whose [`StateChange::routing_key`] fits a topic pattern: words between dots, `*`
    /// for one word, `#` for any number of words.
    pub async fn changes(&self, pattern: &str) -> Changes {
        match self {
            Bus::Local(local) => Changes { receiver: local.changes(pattern), _tap: None },
            Bus::Amqp(amqp) => {
                let (receiver, tap) = amqp.changes(pattern).await;
                Changes { receiver, _tap: Some(tap) }
            }
        }
    }
}

//! The bus between scheduler and builders.
//!
//! # Contract
//! - Every message is a hurry-up. It may be lost, doubled or late, and nothing that matters may depend on it: the
//!   ledger finds everything unsettled again by scanning.
//! - An offer goes to one builder's queue and is taken at most once from it by a well-behaved bus; the ledger's claim
//!   makes sure that a doubled one is worked on once.
//! - A stop goes to every builder, a presence to every scheduler, a nudge to at least one of them: any of them can do
//!   what is to be done.
//! - Receiving never fails: a receiver whose bus is gone waits until it is back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, broadcast, mpsc};

use crate::message::{Offer, Presence, Stop};

/// How many messages a slow receiver may lag behind before the oldest are dropped.
const DEPTH: usize = 1024;

/// A handle on the bus; clones share it.
#[derive(Clone, Debug)]
pub enum Bus {
    /// Inside this process.
    Local(Arc<Local>),
}

/// The in-process bus.
#[derive(Debug)]
pub struct Local {
    offers: Mutex<HashMap<String, Queue>>,
    stops: broadcast::Sender<Stop>,
    presences: broadcast::Sender<Presence>,
    nudge: Notify,
    lossy: Option<Faults>,
}

type Queue = (mpsc::Sender<Offer>, Option<mpsc::Receiver<Offer>>);

/// A fault to put into the bus, decided per message: for tests.
#[derive(Clone)]
pub struct Faults(Arc<dyn Fn() -> Fate + Send + Sync>);

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}

/// What becomes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Arrives,
    /// It does not.
    Lost,
    /// It arrives twice.
    Doubled,
}

impl Fate {
    fn copies(self) -> usize {
        match self {
            Fate::Lost => 0,
            Fate::Arrives => 1,
            Fate::Doubled => 2,
        }
    }
}

/// A builder's end of the bus.
#[derive(Debug)]
pub struct Offers {
    queue: mpsc::Receiver<Offer>,
}

impl Offers {
    /// The next offer. Waits for ever when the bus is gone.
    pub async fn next(&mut self) -> Offer {
        match self.queue.recv().await {
            Some(offer) => offer,
            None => std::future::pending().await,
        }
    }
}

/// Receives what is sent to everybody; what a slow receiver missed is skipped.
#[derive(Debug)]
pub struct Heard<T>(broadcast::Receiver<T>);

impl<T: Clone> Heard<T> {
    /// The next message. Waits for ever when the bus is gone.
    pub async fn next(&mut self) -> T {
        loop {
            match self.0.recv().await {
                Ok(message) => return message,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "fell behind the bus; the next scan makes up for it");
                }
                Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}

impl Bus {
    /// A new bus inside this process.
    #[must_use]
    pub fn local() -> Self {
        Self::with(None)
    }

    /// A bus inside this process that loses and doubles messages as told.
    pub fn faulty(fate: impl Fn() -> Fate + Send + Sync + 'static) -> Self {
        Self::with(Some(Faults(Arc::new(fate))))
    }

    fn with(lossy: Option<Faults>) -> Self {
        Bus::Local(Arc::new(Local {
            offers: Mutex::default(),
            stops: broadcast::Sender::new(DEPTH),
            presences: broadcast::Sender::new(DEPTH),
            nudge: Notify::new(),
            lossy,
        }))
    }

    /// Puts an offer into the builder's queue. A queue nobody reads drops what is over its depth.
    pub async fn offer(&self, builder: &str, offer: Offer) {
        let Bus::Local(local) = self;
        for _ in 0..local.copies() {
            if local.queue(builder).try_send(offer.clone()).is_err() {
                tracing::warn!(builder, job = %offer.job, "the builder does not read its offers; the offer will lapse");
            }
        }
    }

    /// Opens a builder's queue. A later opening under the same name takes the queue over.
    pub async fn offers(&self, builder: &str) -> Offers {
        let Bus::Local(local) = self;
        let mut queues = local.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, receiver) = queues.entry(builder.to_owned()).or_insert_with(fresh);
        let queue = receiver.take().unwrap_or_else(|| {
            let (tx, rx) = mpsc::channel(DEPTH);
            *sender = tx;
            rx
        });
        Offers { queue }
    }

    /// Tells all builders to stop this turn.
    pub async fn stop(&self, stop: Stop) {
        let Bus::Local(local) = self;
        for _ in 0..local.copies() {
            let _nobody_listens = local.stops.send(stop);
        }
    }

    /// Listens to stops from now on.
    pub async fn stops(&self) -> Heard<Stop> {
        let Bus::Local(local) = self;
        Heard(local.stops.subscribe())
    }

    /// Tells the schedulers who is here.
    pub async fn presence(&self, presence: Presence) {
        let Bus::Local(local) = self;
        for _ in 0..local.copies() {
            let _nobody_listens = local.presences.send(presence.clone());
        }
    }

    /// Listens to presences from now on.
    pub async fn presences(&self) -> Heard<Presence> {
        let Bus::Local(local) = self;
        Heard(local.presences.subscribe())
    }

    /// Tells a scheduler that the ledger has something new for it. Several nudges may be taken as one.
    pub async fn nudge(&self) {
        let Bus::Local(local) = self;
        if local.copies() > 0 {
            local.nudge.notify_one();
        }
    }

    /// Waits for a nudge.
    pub async fn nudged(&self) {
        let Bus::Local(local) = self;
        local.nudge.notified().await;
    }
}

impl Local {
    fn copies(&self) -> usize {
        self.lossy.as_ref().map_or(1, |faults| (faults.0)().copies())
    }

    fn queue(&self, builder: &str) -> mpsc::Sender<Offer> {
        let mut queues = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(builder.to_owned()).or_insert_with(fresh).0.clone()
    }
}

fn fresh() -> Queue {
    let (sender, receiver) = mpsc::channel(DEPTH);
    (sender, Some(receiver))
}

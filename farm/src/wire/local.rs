//! The bus inside one process.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, mpsc};

use super::delivery::{Delivery, Receipt};
use super::{DEPTH, GIVEN_AGAIN, pattern};
use crate::arch::Arch;
use crate::event::StateChange;
use crate::message::{Offer, Stop};

/// The in-process bus.
#[derive(Debug)]
pub struct Local {
    queues: Mutex<HashMap<String, Arc<Queue>>>,
    stops: broadcast::Sender<Stop>,
    nudge: Notify,
    listeners: Mutex<Vec<(String, mpsc::UnboundedSender<StateChange>)>>,
    lossy: Option<Faults>,
}

/// A fault to put into the bus, decided per message: for tests.
#[derive(Clone)]
pub struct Faults(Arc<dyn Fn() -> Fate + Send + Sync>);

impl Faults {
    pub(super) fn new(fate: impl Fn() -> Fate + Send + Sync + 'static) -> Self {
        Self(Arc::new(fate))
    }
}

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

/// One builder's queue.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    arches: BTreeSet<Arch>,
    /// Each with how often it was given back.
    offers: VecDeque<(Offer, u32)>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<(Offer, u32)> {
        let mut waiting = self.lock();
        let taken = waiting.offers.pop_front();
        // Another reader may have been told of nothing while this one was.
        if !waiting.offers.is_empty() {
            self.more.notify_one();
        }
        taken
    }
}

/// One reader of a queue.
#[derive(Debug)]
pub struct Reader {
    queue: Arc<Queue>,
    slots: Arc<Semaphore>,
}

impl Reader {
    pub(super) async fn next(&mut self) -> Delivery {
        // The semaphore is never closed.
        let Ok(slot) = self.slots.clone().acquire_owned().await else { return std::future::pending().await };
        loop {
            let mut more = pin!(self.queue.more.notified());
            more.as_mut().enable();
            if let Some((offer, given_back)) = self.queue.take() {
                let held = Held { queue: self.queue.clone(), offer: offer.clone(), given_back, _slot: slot };
                return Delivery { offer, receipt: Receipt::local(held) };
            }
            more.await;
        }
    }
}

/// What a receipt holds.
#[derive(Debug)]
pub(super) struct Held {
    queue: Arc<Queue>,
    offer: Offer,
    given_back: u32,
    _slot: OwnedSemaphorePermit,
}

impl Held {
    pub(super) fn settle(self) {}

    pub(super) fn give_back(self) {
        if self.given_back >= GIVEN_AGAIN {
            let (job, turn) = (self.offer.job, self.offer.turn);
            tracing::error!(%job, turn, "an offer was given back too often and is set aside; it will lapse");
            return;
        }
        self.queue.lock().offers.push_front((self.offer, self.given_back + 1));
        self.queue.more.notify_one();
    }
}

impl Local {
    pub(super) fn with(lossy: Option<Faults>) -> Self {
        Self {
            queues: Mutex::default(),
            stops: broadcast::Sender::new(DEPTH),
            nudge: Notify::new(),
            listeners: Mutex::default(),
            lossy,
        }
    }

    pub(super) fn offer(&self, builder: &str, offer: &Offer) {
        let copies = self.copies();
        let queue = self.queues().get(builder).cloned();
        let Some(queue) = queue else { return unroutable(builder, offer) };
        for _ in 0..copies {
            let mut waiting = queue.lock();
            if !waiting.arches.contains(&offer.recipe.arch) {
                return unroutable(builder, offer);
            }
            if waiting.offers.len() >= DEPTH {
                tracing::warn!(builder, job = %offer.job, "the builder does not read its offers; the offer will lapse");
                return;
            }
            waiting.offers.push_back((offer.clone(), 0));
            queue.more.notify_one();
        }
    }

    pub(super) fn offers(&self, builder: &str, arches: &[Arch], slots: u32) -> Reader {
        let queue = self.queues().entry(builder.to_owned()).or_default().clone();
        queue.lock().arches = arches.iter().copied().collect();
        Reader { queue, slots: Arc::new(Semaphore::new(slots.max(1) as usize)) }
    }

    pub(super) fn stop(&self, stop: Stop) {
        for _ in 0..self.copies() {
            let _nobody_listens = self.stops.send(stop);
        }
    }

    pub(super) fn stops(&self) -> broadcast::Receiver<Stop> {
        self.stops.subscribe()
    }

    pub(super) fn nudge(&self) {
        if self.copies() > 0 {
            self.nudge.notify_one();
        }
    }

    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    pub(super) fn publish(&self, changes: &[StateChange]) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|(_, listener)| !listener.is_closed());
        for (wanted, listener) in listeners.iter() {
            for change in changes.iter().filter(|change| pattern::fits(wanted, &change.routing_key())) {
                let _gone = listener.send(change.clone());
            }
        }
    }

    pub(super) fn changes(&self, pattern: &str) -> mpsc::UnboundedReceiver<StateChange> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push((pattern.to_owned(), sender));
        receiver
    }

    fn copies(&self) -> usize {
        self.lossy.as_ref().map_or(1, |faults| (faults.0)().copies())
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, Arc<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unroutable(builder: &str, offer: &Offer) {
    let arch = offer.recipe.arch;
    tracing::warn!(builder, job = %offer.job, %arch, "the builder has no queue for this; the offer will lapse");
}

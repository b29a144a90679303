//! Offers as they are given to a builder, and the receipt for each.

use std::time::Duration;

use lapin::Acker;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::time::timeout;

use super::{amqp, local};
use crate::message::Offer;

/// How long settling waits for a line that does not take the word. The broker then gives the offer again.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);

/// A builder's end of the bus. What it was given and did not settle goes back when it is dropped.
#[derive(Debug)]
pub enum Offers {
    /// Inside this process.
    Local(local::Reader),
    /// From a broker.
    Amqp(amqp::Reader),
}

impl Offers {
    /// The next offer. Waits while as many as it has slots are unsettled, and for ever when the bus is gone. May be
    /// given up at any time without loss.
    pub async fn next(&mut self) -> Delivery {
        match self {
            Offers::Local(reader) => reader.next().await,
            Offers::Amqp(reader) => reader.next().await,
        }
    }
}

/// An offer that was given.
#[derive(Debug)]
pub struct Delivery {
    /// It.
    pub offer: Offer,
    /// To say that it need not be given again.
    pub receipt: Receipt,
}

impl Delivery {
    /// Settles it at once: for those who decide without asking anybody.
    pub async fn settled(self) -> Offer {
        self.receipt.settle().await;
        self.offer
    }
}

/// The receipt for an offer. Dropped without [`Receipt::settle`] it gives the offer back, so that a builder that dies
/// between taking and claiming loses nothing; that costs its owner no waiting.
#[derive(Debug)]
#[must_use = "an offer whose receipt is dropped is given again"]
pub struct Receipt(Option<Held>);

#[derive(Debug)]
enum Held {
    Local(Box<local::Held>),
    Amqp(Acker),
}

impl Receipt {
    pub(super) fn local(held: local::Held) -> Self {
        Self(Some(Held::Local(Box::new(held))))
    }

    pub(super) fn amqp(acker: Acker) -> Self {
        Self(Some(Held::Amqp(acker)))
    }

    /// Says that the offer's claim was answered: it is not given again, and its place is free for the next. When the
    /// line broke meanwhile, the offer is given again nevertheless, which the ledger's claim refuses.
    pub async fn settle(mut self) {
        match self.0.take() {
            Some(Held::Local(held)) => held.settle(),
            Some(Held::Amqp(acker)) => {
                match timeout(SETTLE_WITHIN, acker.ack(BasicAckOptions::default())).await {
                    Ok(Ok(true)) => {}
                    Ok(Ok(false) | Err(_)) | Err(_) => {
                        tracing::debug!("the line broke before an offer was settled; it is given again");
                    }
                }
            }
            None => {}
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        match self.0.take() {
            Some(Held::Local(held)) => held.give_back(),
            Some(Held::Amqp(acker)) => {
                // Outside a runtime the process ends, and with its line everything unsettled goes back.
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move {
                        let back = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                        let _line_gone_gives_back_too = acker.nack(back).await;
                    });
                }
            }
            None => {}
        }
    }
}

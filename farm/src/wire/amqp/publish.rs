//! Sending, bounded in time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::time::timeout;

use super::super::BusError;
use super::envelope::Letter;
use super::line::{Line, Link};

#[derive(Debug)]
pub(super) struct Publisher {
    line: Line,
    within: Duration,
    in_trouble: AtomicBool,
}

impl Publisher {
    pub(super) fn new(line: Line, within: Duration) -> Self {
        Self { line, within, in_trouble: AtomicBool::new(false) }
    }

    /// Sends hurry-ups; gives how many came back because they fit no queue. What cannot be sent is lost: `None`.
    pub(super) async fn hurry(&self, letters: &[Letter]) -> Option<usize> {
        match self.send(letters).await {
            Ok(returned) => {
                if self.in_trouble.swap(false, Ordering::Relaxed) {
                    tracing::info!("messages go out again");
                }
                Some(returned)
            }
            Err(error) => {
                if self.in_trouble.swap(true, Ordering::Relaxed) {
                    tracing::debug!(%error, "a message was lost");
                } else {
                    tracing::warn!(%error, "messages are lost until the bus takes them; scans make up for them");
                }
                None
            }
        }
    }

    /// Sends these in this order, and waits until the broker answers for all of them; gives how many came back.
    pub(super) async fn send(&self, letters: &[Letter]) -> Result<usize, BusError> {
        let away = |why: &str| BusError::Away(why.to_owned());
        let Some(link) = self.line.now() else { return Err(away("its broker is away")) };
        if let Some(obstacle) = link.obstacle() {
            return Err(away(obstacle));
        }
        if let Some(why) = letters.iter().find_map(|letter| letter.body.as_ref().err()) {
            return Err(BusError::Unusable(format!("a message cannot be sent: {why}")));
        }
        match timeout(self.within, self.twice(&link, letters)).await {
            Ok(Ok(Answers { refused: 0, returned })) => Ok(returned),
            Ok(Ok(Answers { refused, .. })) => {
                Err(BusError::Away(format!("its broker refused {refused} of them")))
            }
            Ok(Err(error)) => Err(away(&error.to_string())),
            Err(_elapsed) => {
                link.stall();
                link.forget_sending().await;
                Err(away("its broker did not answer in time"))
            }
        }
    }

    /// Tries once more when the channel broke: somebody may have removed the exchange, and a new channel declares it.
    async fn twice(&self, link: &Link, letters: &[Letter]) -> lapin::Result<Answers> {
        match self.once(link, letters).await {
            Ok(answers) => Ok(answers),
            Err(error) if link.connection.status().connected() => {
                tracing::debug!(%error, "sending is tried again on a new channel");
                link.forget_sending().await;
                self.once(link, letters).await
            }
            Err(error) => Err(error),
        }
    }

    async fn once(&self, link: &Link, letters: &[Letter]) -> lapin::Result<Answers> {
        send_on(&link.sending(self.line.names()).await?, letters).await
    }
}

/// What the broker answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// So many fit no queue and came back.
    pub(super) returned: usize,
    /// So many it did not take, because a queue is full.
    pub(super) refused: usize,
}

/// Sends on this channel, which must be one on which the broker answers.
pub(super) async fn send_on(channel: &Channel, letters: &[Letter]) -> lapin::Result<Answers> {
    let mut pending = Vec::with_capacity(letters.len());
    for letter in letters {
        let Ok(body) = &letter.body else { continue };
        let options = BasicPublishOptions { mandatory: letter.mandatory, immediate: false };
        let (exchange, key) = (letter.exchange.as_str().into(), letter.key.as_str().into());
        pending.push(channel.basic_publish(exchange, key, options, body, letter.properties.clone()).await?);
    }
    let mut answers = Answers::default();
    for answer in pending {
        match answer.await? {
            Confirmation::Ack(None) => {}
            Confirmation::Ack(Some(_)) => answers.returned += 1,
            Confirmation::Nack(_) | Confirmation::NotRequested => answers.refused += 1,
        }
    }
    Ok(answers)
}

//! One attempt at one job: who it is, and the ways in which it can be cut short.

use std::io::Read as _;
use std::sync::{Arc, OnceLock};

use farm::digest::{Digest, hex};
use farm::ids::JobId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Which attempt: a job and the turn of the offer that opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) job: JobId,
    pub(crate) turn: u32,
}

/// Why an attempt is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The hub said that the job was cancelled.
    Cancelled,
    /// The builder is told to stop.
    ShuttingDown,
    /// The attempt is no longer ours, or nobody can be asked whether it is: report nothing.
    Lost,
}

/// Cuts an attempt short; clones share it. The first reason stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupts {
    why: Arc<OnceLock<Interrupt>>,
    stop: CancellationToken,
    lost: CancellationToken,
    doubt: Arc<Notify>,
}

impl Interrupts {
    /// Cuts the attempt short: its container is killed.
    pub(crate) fn raise(&self, interrupt: Interrupt) {
        let _earlier_reason_stays = self.why.set(interrupt);
        if interrupt == Interrupt::Lost {
            self.lost.cancel();
        }
        self.stop.cancel();
    }

    /// Somebody says that the attempt should stop: ask the hub now instead of at the next beat.
    pub(crate) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Waits for a doubt.
    pub(crate) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Why the attempt was cut short, if it was.
    pub(crate) fn why(&self) -> Option<Interrupt> {
        if self.lost.is_cancelled() { Some(Interrupt::Lost) } else { self.why.get().copied() }
    }

    /// Cancelled by whatever cuts the attempt short.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Cancelled when there is nobody left to report to.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

/// A secret by which the hub knows an attempt, or the builder, again. It is shown to nobody but the hub.
#[derive(Clone)]
pub(crate) struct Token(String);

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Token {
    /// 256 bits from the operating system.
    pub(crate) fn fresh() -> std::io::Result<Self> {
        let mut bytes = [0; 32];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(hex(&bytes)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What the other side keeps of it.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays_unless_the_attempt_is_lost() {
        let interrupts = Interrupts::default();
        assert_eq!(interrupts.why(), None);
        interrupts.raise(Interrupt::Cancelled);
        interrupts.raise(Interrupt::ShuttingDown);
        assert_eq!(interrupts.why(), Some(Interrupt::Cancelled));
        assert!(interrupts.stop().is_cancelled() && !interrupts.lost().is_cancelled());
        interrupts.raise(Interrupt::Lost);
        assert_eq!(interrupts.why(), Some(Interrupt::Lost));
    }

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (one, other) = (Token::fresh().unwrap(), Token::fresh().unwrap());
        assert_eq!(one.as_str().len(), 64);
        assert_ne!(one.as_str(), other.as_str());
    }
}

//! Receiving: each subscription is a task that asks again whenever the line, its channel or its queue is gone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel, Consumer};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::envelope::{Kind, Letter, read};
use super::line::{Aborts, Line, Link, pause};
use super::publish::{Answers, send_on};
use super::refusal::explained;
use super::topology::{self, Names, WHY, declare_offers, declare_own, ready_channel, text};
use crate::arch::Arch;

/// How long who begins to listen waits for a broker that is away, before it goes on without.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// How long setting a message aside may take.
const SET_ASIDE_WITHIN: Duration = Duration::from_secs(5);
/// A subscription that held for this long was a good one.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// The header of a dead letter that says where it came from.
const FROM: &str = "grange-from";

/// A subscription, while it lives.
#[derive(Debug)]
pub(in super::super) struct Tap {
    _task: Aborts,
}

/// What is listened to.
#[derive(Debug, Clone)]
pub(super) enum Subscription {
    Offers { builder: String, arches: Vec<Arch>, slots: u16 },
    Stops,
    Nudges,
    Changes { pattern: String },
}

impl Subscription {
    pub(super) fn offers(builder: &str, arches: &[Arch], slots: u16) -> Self {
        Subscription::Offers { builder: builder.to_owned(), arches: arches.to_vec(), slots }
    }

    /// Makes the queue; gives its name.
    async fn declare(&self, channel: &Channel, names: &Names) -> lapin::Result<String> {
        match self {
            Subscription::Offers { builder, arches, .. } => {
                declare_offers(channel, names, builder, arches).await
            }
            Subscription::Stops => declare_own(channel, names.stops(), "", true).await,
            Subscription::Nudges => Ok(names.nudges().to_owned()),
            Subscription::Changes { pattern } => declare_own(channel, names.events(), pattern, false).await,
        }
    }

    /// How many unsettled messages the reader may have. `None`: they are settled as they are given, because nothing
    /// is worth giving again.
    fn prefetch(&self) -> Option<u16> {
        match self {
            Subscription::Offers { slots, .. } => Some(*slots),
            Subscription::Stops | Subscription::Nudges | Subscription::Changes { .. } => None,
        }
    }
}

/// Begins to listen, and waits a while for the broker to know it.
pub(super) async fn open<T, D, F>(line: &Line, subscription: Subscription, kind: Kind, deal: D) -> Tap
where
    T: DeserializeOwned + Send + 'static,
    D: FnMut(T, Acker) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (tap, open) = start(line, subscription, kind, deal);
    let _else_without = timeout(OPEN_WITHIN, open).await;
    tap
}

/// Begins to listen; the other end hears when the broker knows it for the first time.
pub(super) fn start<T, D, F>(
    line: &Line,
    subscription: Subscription,
    kind: Kind,
    deal: D,
) -> (Tap, oneshot::Receiver<()>)
where
    T: DeserializeOwned + Send + 'static,
    D: FnMut(T, Acker) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (opened, open) = oneshot::channel();
    let task = tokio::spawn(keep_listening(line.clone(), subscription, kind, deal, opened)).abort_handle();
    (Tap { _task: Aborts(task) }, open)
}

async fn keep_listening<T, D, F>(
    mut line: Line,
    subscription: Subscription,
    kind: Kind,
    mut deal: D,
    opened: oneshot::Sender<()>,
) where
    T: DeserializeOwned + Send,
    D: FnMut(T, Acker) -> F + Send,
    F: Future<Output = ()> + Send + 'static,
{
    let mut opened = Some(opened);
    let mut failures = 0_u32;
    loop {
        let link = line.up().await;
        let since = Instant::now();
        let ended = match subscribe(&link, &line, &subscription).await {
            Ok((channel, consumer)) => {
                if let Some(opened) = opened.take() {
                    let _nobody_waits = opened.send(());
                }
                let mut watched = line.clone();
                tokio::select! {
                    why = listen(&channel, consumer, line.names(), kind, &subscription, &mut deal) => why,
                    () = watched.gone(&link) => continue,
                }
            }
            Err(error) => explained(&error),
        };
        if since.elapsed() >= GOOD_AFTER {
            failures = 0;
        }
        failures = failures.saturating_add(1);
        // When the line is what broke, that is told already.
        if link.connection.status().connected() {
            if failures == 1 {
                tracing::warn!(to = ?subscription, why = ended, "a subscription ended; it is made again");
            } else {
                tracing::debug!(to = ?subscription, why = ended, failures, "a subscription cannot be made");
            }
        }
        sleep(pause(failures)).await;
    }
}

/// Each subscription has a channel of its own: what goes wrong on it disturbs no other.
async fn subscribe(
    link: &Arc<Link>,
    line: &Line,
    subscription: &Subscription,
) -> lapin::Result<(Channel, Consumer)> {
    let channel = ready_channel(&link.connection, line.names()).await?;
    let queue = subscription.declare(&channel, line.names()).await?;
    if let Some(prefetch) = subscription.prefetch() {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    }
    let options =
        BasicConsumeOptions { no_ack: subscription.prefetch().is_none(), ..BasicConsumeOptions::default() };
    let tag = ShortString::default();
    let consumer = channel.basic_consume(queue.into(), tag, options, FieldTable::default()).await?;
    Ok((channel, consumer))
}

/// Deals out what comes, until nothing comes any more; says why.
async fn listen<T, D, F>(
    channel: &Channel,
    mut consumer: Consumer,
    names: &Names,
    kind: Kind,
    subscription: &Subscription,
    deal: &mut D,
) -> String
where
    T: DeserializeOwned,
    D: FnMut(T, Acker) -> F,
    F: Future<Output = ()>,
{
    while let Some(delivered) = consumer.next().await {
        let delivery = match delivered {
            Ok(delivery) => delivery,
            Err(error) => return error.to_string(),
        };
        match read(kind, &delivery) {
            Ok(message) => deal(message, delivery.acker).await,
            Err(why) => set_aside(channel, names, subscription, delivery, &why).await,
        }
    }
    "its queue is gone".to_owned()
}

/// Puts a message nobody can read where people can look at it.
async fn set_aside(
    channel: &Channel,
    names: &Names,
    subscription: &Subscription,
    delivery: Delivery,
    why: &str,
) {
    let (queue, bytes) = (names.dead(), delivery.data.len());
    let id = delivery.properties.message_id().as_ref().map_or("", |id| id.as_str()).to_owned();
    tracing::error!(from = ?subscription, id, bytes, why, queue, "a message cannot be read and is set aside");
    let Delivery { exchange, data, properties, acker, .. } = delivery;
    let mut headers = properties.headers().clone().unwrap_or_default();
    headers.insert(WHY.into(), text(why));
    headers.insert(FROM.into(), text(exchange.as_str()));
    // Through the exchange that the broker uses for this too: a builder may not send to queues.
    let letter = Letter {
        exchange: names.dead().to_owned(),
        key: String::new(),
        mandatory: true,
        properties: topology::kept(properties).with_headers(headers),
        body: Ok(data),
    };
    let kept = timeout(SET_ASIDE_WITHIN, send_on(channel, &[letter])).await;
    if subscription.prefetch().is_none() {
        return;
    }
    // Should the copy not be taken, the broker sets the message itself aside, without our words.
    let _line_gone_gives_again = match kept {
        Ok(Ok(Answers { returned: 0, refused: 0 })) => acker.ack(BasicAckOptions::default()).await,
        Ok(_) | Err(_) => acker.reject(BasicRejectOptions { requeue: false }).await,
    };
}

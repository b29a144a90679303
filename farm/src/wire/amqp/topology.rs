//! What we make on the broker.
//!
//! | name | what it is |
//! |---|---|
//! | `offers` | topic exchange; routing key `<arch>.<builder>` |
//! | `offers.<builder>` | durable quorum queue of one builder, bound for each architecture it runs |
//! | `stops` | fanout exchange; each process that listens binds an exclusive queue |
//! | `nudges` | durable queue that the schedulers share: few, short-lived, in memory mostly |
//! | `events` | durable topic exchange; routing key `<kind>.<sig>.<arch>`; for others to bind queues to |
//! | `dead` | headers exchange and durable quorum queue: what nobody could read, or was given too often |
//!
//! All names begin with the prefix (`grange.`). Declaring is repeatable. Hubs and schedulers make all of it but the queues of
//! builders; a builder, whom nobody trusts, makes its own queues and can neither make nor remove anything else. So it may have
//! to wait for a hub or a scheduler to have been there.
//!
//! A broker older than RabbitMQ 3.10 is refused by its own word: it does not know queues of this type from which messages
//! expire, `dead` is one, and nothing else is made before it.

use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Connection, ExchangeKind, Result};

use super::super::GIVEN_AGAIN;
use crate::arch::Arch;

/// Offers that wait in one builder's queue. There are never more than free slots, unless a builder stopped reading.
const MOST_OFFERS: i32 = 1_000;
/// A builder's queue that nobody has read for a week belongs to a builder that is no more.
const QUEUE_EXPIRES_MS: i32 = 7 * 24 * 60 * 60 * 1000;
/// What the queue of dead letters keeps, in messages and bytes; the oldest go first.
const MOST_DEAD: i32 = 10_000;
const MOST_DEAD_BYTES: i32 = 64 * 1024 * 1024;
/// What nobody looked at for three weeks tells nobody anything.
const DEAD_EXPIRE_MS: i32 = 21 * 24 * 60 * 60 * 1000;
/// One nudge says as much as a hundred.
const MOST_NUDGES: i32 = 8;
/// A listener that is slow loses the oldest stops; each is said again at every tick while it matters.
const MOST_STOPS: i32 = 10_000;

/// Why the broker sets a message aside, where we want to see it. One that expired is nothing to look at: the ledger
/// lapses its offer anyway, and a builder that is off for an hour would bury everything else.
const REASONS_TO_KEEP: [&str; 3] = ["rejected", "delivery_limit", "maxlen"];

/// The header of a message that a reader set aside that says why.
pub(super) const WHY: &str = "grange-why";

/// What AMQP calls the code of an ordinary goodbye.
const REPLY_SUCCESS: u16 = 200;

/// Who makes what all processes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared {
    /// This process, whenever it opens a channel.
    MadeHere,
    /// Others; this process only looks whether it is there.
    MadeElsewhere,
}

/// The names of what is on the broker, and whose work it is to make it.
#[derive(Debug, Clone)]
pub(super) struct Names {
    shared: Shared,
    offers: String,
    stops: String,
    nudges: String,
    events: String,
    dead: String,
}

impl Names {
    pub(super) fn new(prefix: &str, shared: Shared) -> Self {
        let name = |of: &str| format!("{prefix}{of}");
        Self {
            shared,
            offers: name("offers"),
            stops: name("stops"),
            nudges: name("nudges"),
            events: name("events"),
            dead: name("dead"),
        }
    }

    pub(super) fn offers(&self) -> &str {
        &self.offers
    }
    pub(super) fn stops(&self) -> &str {
        &self.stops
    }
    pub(super) fn nudges(&self) -> &str {
        &self.nudges
    }
    pub(super) fn events(&self) -> &str {
        &self.events
    }
    pub(super) fn dead(&self) -> &str {
        &self.dead
    }
    pub(super) fn offers_of(&self, builder: &str) -> String {
        format!("{}.{builder}", self.offers)
    }
}

/// The routing key of offers of an architecture to a builder.
pub(super) fn route(arch: Arch, builder: &str) -> String {
    format!("{arch}.{builder}")
}

/// A channel on which the broker answers for what is sent, once everything that is shared is there.
pub(super) async fn ready_channel(connection: &Connection, names: &Names) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    match names.shared {
        Shared::MadeHere => declare(&channel, names).await?,
        Shared::MadeElsewhere => look(&channel, names).await?,
    }
    Ok(channel)
}

/// Is there what a builder needs of others? Looking takes no permission.
async fn look(channel: &Channel, names: &Names) -> Result<()> {
    for (name, kind) in [
        (&names.dead, ExchangeKind::Headers),
        (&names.offers, ExchangeKind::Topic),
        (&names.stops, ExchangeKind::Fanout),
    ] {
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name.as_str().into(), kind, options, FieldTable::default()).await?;
    }
    Ok(())
}

async fn declare(channel: &Channel, names: &Names) -> Result<()> {
    // First, for it is what a broker that is too old refuses.
    let arguments = table(&[
        ("x-queue-type", text("quorum")),
        ("x-max-length", number(MOST_DEAD)),
        ("x-max-length-bytes", number(MOST_DEAD_BYTES)),
        ("x-message-ttl", number(DEAD_EXPIRE_MS)),
    ]);
    declare_durable(channel, &names.dead, arguments).await?;
    for (name, kind) in [
        (&names.offers, ExchangeKind::Topic),
        (&names.stops, ExchangeKind::Fanout),
        (&names.events, ExchangeKind::Topic),
        (&names.dead, ExchangeKind::Headers),
    ] {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name.as_str().into(), kind, options, FieldTable::default()).await?;
    }
    // What a reader sets aside says why, whatever it says.
    let matching = table(&[("x-match", text("all")), (WHY, AMQPValue::Void)]);
    bind(channel, &names.dead, &names.dead, "", matching).await?;
    for reason in REASONS_TO_KEEP {
        // Headers whose names begin with x- take part in a match only when it is asked for so.
        let matching = table(&[("x-match", text("all-with-x")), ("x-first-death-reason", text(reason))]);
        bind(channel, &names.dead, &names.dead, "", matching).await?;
    }
    // Classic: it is worth nothing after a restart of the broker, and a nudge must be quick.
    let arguments = table(&[("x-max-length", number(MOST_NUDGES))]);
    declare_durable(channel, &names.nudges, arguments).await
}

/// How many messages are set aside. On a channel of its own: asking for a queue that is gone breaks the channel.
pub(super) async fn dead_letters(connection: &Connection, names: &Names) -> Result<u32> {
    let channel = connection.create_channel().await?;
    let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(names.dead().into(), look, FieldTable::default()).await?;
    let _closed_or_gone_anyway = channel.close(REPLY_SUCCESS, "counted".into()).await;
    Ok(queue.message_count())
}

/// Makes a builder's queue, bound for exactly these architectures.
pub(super) async fn declare_offers(
    channel: &Channel,
    names: &Names,
    builder: &str,
    arches: &[Arch],
) -> Result<String> {
    let queue = names.offers_of(builder);
    let arguments = table(&[
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", number(i32::try_from(GIVEN_AGAIN).unwrap_or(i32::MAX))),
        ("x-dead-letter-exchange", text(&names.dead)),
        ("x-max-length", number(MOST_OFFERS)),
        ("x-overflow", text("reject-publish")),
        ("x-expires", number(QUEUE_EXPIRES_MS)),
    ]);
    declare_durable(channel, &queue, arguments).await?;
    for arch in Arch::ALL {
        let key = route(arch, builder);
        if arches.contains(&arch) {
            bind(channel, &queue, &names.offers, &key, FieldTable::default()).await?;
        } else {
            // The queue may be of an earlier life that ran more.
            let (queue, exchange) = (queue.as_str().into(), names.offers.as_str().into());
            channel.queue_unbind(queue, exchange, key.into(), FieldTable::default()).await?;
        }
    }
    Ok(queue)
}

/// Makes a queue that belongs to this connection alone and goes with it, bound to an exchange. Not a quorum queue:
/// those are never exclusive, and what is said to a process that is gone need not survive it.
pub(super) async fn declare_own(channel: &Channel, exchange: &str, key: &str, most: bool) -> Result<String> {
    let options =
        QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let arguments = if most { table(&[("x-max-length", number(MOST_STOPS))]) } else { FieldTable::default() };
    let queue = channel.queue_declare(ShortString::default(), options, arguments).await?;
    let queue = queue.name().as_str().to_owned();
    bind(channel, &queue, exchange, key, FieldTable::default()).await?;
    Ok(queue)
}

async fn declare_durable(channel: &Channel, queue: &str, arguments: FieldTable) -> Result<()> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, arguments).await?;
    Ok(())
}

async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
    arguments: FieldTable,
) -> Result<()> {
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments).await
}

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

pub(super) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

fn number(value: i32) -> AMQPValue {
    AMQPValue::LongInt(value)
}

/// The properties of a dead letter: those of the message, but it does not expire.
pub(super) fn kept(properties: BasicProperties) -> BasicProperties {
    let mut kept = BasicProperties::default().with_delivery_mode(2);
    if let Some(kind) = properties.kind() {
        kept = kept.with_type(kind.clone());
    }
    if let Some(id) = properties.message_id() {
        kept = kept.with_message_id(id.clone());
    }
    if let Some(content_type) = properties.content_type() {
        kept = kept.with_content_type(content_type.clone());
    }
    kept
}

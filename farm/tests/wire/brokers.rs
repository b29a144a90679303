//! Buses to hold the contracts against, and what is sent over them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farm::arch::Arch;
use farm::event::{ChangeKind, StateChange};
use farm::ids::Minter;
use farm::job::JobKind;
use farm::message::{Offer, Stop};
use farm::stamp::Stamp;
use farm::wire::{AmqpConfig, Bus};
use lapin::options::{BasicAckOptions, BasicGetOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::AMQPValue;
use lapin::{Channel, Connection, ConnectionProperties};

use crate::sample;

/// Names the broker.
const AMQP: &str = "GRANGE_TEST_AMQP";
/// Far longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Long enough for what must not come to come.
pub(crate) const SHORT: Duration = Duration::from_millis(400);
pub(crate) const BUILDERS: [&str; 3] = ["b1", "b2", "b1.example.org"];

/// The bus as two processes see it.
pub(crate) struct Ends {
    pub(crate) here: Bus,
    pub(crate) there: Bus,
}

pub(crate) async fn on_local<F: Future<Output = ()>>(contract: impl FnOnce(Ends) -> F) {
    let bus = Bus::local();
    contract(Ends { here: bus.clone(), there: bus }).await;
}

pub(crate) async fn on_amqp<F: Future<Output = ()>>(contract: impl FnOnce(Ends) -> F) {
    let Some(broker) = Broker::fresh().await else { return };
    contract(Ends { here: broker.bus().await, there: broker.bus().await }).await;
    broker.wipe().await;
}

/// A corner of the test's broker that no other test sees.
pub(crate) struct Broker {
    pub(crate) config: AmqpConfig,
    pub(crate) channel: Channel,
    _connection: Connection,
}

impl Broker {
    /// None, and said so, when no broker is named.
    pub(crate) async fn fresh() -> Option<Broker> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Ok(url) = std::env::var(AMQP) else {
            eprintln!("SKIPPED: {AMQP} is not set; run dev/test, or `. var/test-env`");
            return None;
        };
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let prefix = format!("test-{}-{}.", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let config =
            AmqpConfig { url, prefix, heartbeat_seconds: 5, send_ms: 60_000, ..AmqpConfig::default() };
        Some(Broker { config, channel, _connection: connection })
    }

    /// Another process's handle, connected.
    pub(crate) async fn bus(&self) -> Bus {
        let bus = Bus::connect(&self.config).unwrap();
        until("the bus is up", || bus.is_up()).await;
        bus
    }

    /// A builder's handle, which is connected as soon as somebody else has been.
    pub(crate) fn bus_of_builder(&self) -> Bus {
        Bus::connect_as_builder(&self.config).unwrap()
    }

    pub(crate) fn name(&self, of: &str) -> String {
        format!("{}{of}", self.config.prefix)
    }

    /// Removes everything, as an operator who starts the broker afresh.
    pub(crate) async fn wipe(&self) {
        let queues = ["dead".to_owned(), "nudges".to_owned()];
        let of_builders = BUILDERS.map(|builder| format!("offers.{builder}"));
        for queue in queues.iter().chain(&of_builders) {
            let name = self.name(queue);
            self.channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
        }
        for exchange in ["offers", "stops", "events", "dead"] {
            let name = self.name(exchange);
            self.channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.unwrap();
        }
    }

    /// Takes a dead letter: why it is one, and its bytes.
    pub(crate) async fn dead(&self) -> (String, Vec<u8>) {
        for _ in 0..600 {
            let got =
                self.channel.basic_get(self.name("dead").into(), BasicGetOptions::default()).await.unwrap();
            if let Some(letter) = got {
                letter.acker.ack(BasicAckOptions::default()).await.unwrap();
                let headers = letter.properties.headers().clone().unwrap();
                let why =
                    ["grange-why", "x-first-death-reason"].iter().find_map(|key| headers.inner().get(*key));
                let Some(AMQPValue::LongString(why)) = why else {
                    panic!("it does not say why: {headers:?}")
                };
                return (why.to_string(), letter.data.clone());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nothing was set aside")
    }

    pub(crate) async fn no_dead(&self) {
        let got = self.channel.basic_get(self.name("dead").into(), BasicGetOptions::default()).await.unwrap();
        assert!(got.is_none(), "{got:?}");
    }
}

pub(crate) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never comes true that {what}")
}

pub(crate) fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

pub(crate) fn offer_for(number: u64, arch: Arch) -> Offer {
    let job = sample::job(number, JobKind::Build, arch);
    Offer { job: job.id, turn: 1, ticket: "t".repeat(64), until: now() + LONG, recipe: job.recipe }
}

pub(crate) fn offer(number: u64) -> Offer {
    offer_for(number, Arch::X86_64)
}

pub(crate) fn stop(number: u64) -> Stop {
    Stop { job: sample::id(number), turn: 1 }
}

pub(crate) fn change(number: u64, kind: ChangeKind, sig: &str, arch: Option<Arch>) -> StateChange {
    StateChange {
        id: Minter::new(number).mint(now()),
        at: now(),
        kind,
        subject: number.to_string(),
        sig: sig.to_owned(),
        arch,
        state: "waiting".to_owned(),
        facts: serde_json::json!({ "version": number }),
    }
}

//! What a broker may do to us.

use std::time::{Duration, Instant};

use farm::arch::Arch;
use farm::event::ChangeKind;
use farm::wire::{AmqpConfig, Bus, BusError, GIVEN_AGAIN, Offers};
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Connection, ConnectionProperties, ExchangeKind};
use tokio::time::{sleep, timeout};

use crate::brokers::{Broker, LONG, SHORT, change, now, offer, stop, until};
use crate::proxy::Proxy;

/// Offers until one arrives: each may be lost while the bus finds itself again.
async fn offered(from: &Bus, offers: &mut Offers, first: u64) {
    let begun = Instant::now();
    for number in first.. {
        from.offer("b1", offer(number)).await;
        // What was sent in an earlier trouble may come late.
        while let Ok(delivery) = timeout(SHORT, offers.next()).await {
            if delivery.settled().await.job >= offer(first).job {
                return;
            }
        }
        assert!(begun.elapsed() < LONG, "offers do not arrive any more");
    }
}

/// The bus does everything it is for, from one process to another.
async fn everything_works(here: &Bus, there: &Bus, offers: &mut Offers, first: u64) {
    offered(here, offers, first).await;
    let (mut stops, mut changes) = (there.stops().await, there.changes("#").await);
    let (stopped, told) = (stop(first), change(first, ChangeKind::Sig, "storage", None));
    let sending = async {
        loop {
            here.stop(stopped).await;
            here.nudge().await;
            let _may_fail = here.publish(std::slice::from_ref(&told)).await;
            sleep(SHORT).await;
        }
    };
    let hearing = async {
        assert_eq!(stops.next().await, stopped);
        assert_eq!(changes.next().await, told);
        there.nudged().await;
    };
    tokio::select! {
        heard = timeout(LONG, hearing) => heard.unwrap(),
        () = sending => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_set_aside_and_what_is_behind_it_arrives() {
    let Some(broker) = Broker::fresh().await else { return };
    let bus = broker.bus().await;
    let mut offers = bus.offers("b1", &[Arch::X86_64], 1).await;
    let good = serde_json::to_vec(&offer(1)).unwrap();
    let large = vec![b' '; 1024 * 1024 + 1];
    for (kind, body) in
        [("offer/9", &good[..]), ("offer/1", b"{\"job\":"), ("stop/1", &good), ("offer/1", &large)]
    {
        let (exchange, key) = (broker.name("offers").into(), "x86_64.b1".into());
        let properties = BasicProperties::default().with_type(kind.into());
        broker
            .channel
            .basic_publish(exchange, key, BasicPublishOptions::default(), body, properties)
            .await
            .unwrap();
    }
    bus.offer("b1", offer(2)).await;
    assert_eq!(timeout(LONG, offers.next()).await.unwrap().settled().await.job, offer(2).job);
    let counted = async {
        while bus.dead_letters().await != Some(4) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, counted).await.unwrap();
    for (says, body) in [
        ("its version is 9, and this program knows version 1", &good[..]),
        ("its JSON is unreadable", b"{\"job\":"),
        ("it is of type `stop/1`", &good),
        ("it has 1048577 bytes", &large),
    ] {
        let (why, kept) = broker.dead().await;
        assert!(why.contains(says), "{why}");
        assert_eq!(kept, body);
    }
    broker.no_dead().await;
    broker.wipe().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_nobody_settles_is_set_aside_and_one_that_expired_is_not() {
    let Some(broker) = Broker::fresh().await else { return };
    let bus = broker.bus().await;
    drop(bus.offers("b1", &[Arch::X86_64], 1).await);
    let soon = farm::message::Offer { until: now() + SHORT, ..offer(1) };
    bus.offer("b1", soon).await;
    sleep(SHORT * 3).await;
    let mut offers = bus.offers("b1", &[Arch::X86_64], 1).await;
    bus.offer("b1", offer(2)).await;
    for _ in 0..=GIVEN_AGAIN {
        let delivery = timeout(LONG, offers.next()).await.unwrap();
        assert_eq!(delivery.offer.job, offer(2).job, "the first has expired");
    }
    let (why, _) = broker.dead().await;
    assert!(why.contains("delivery_limit"), "{why}");
    broker.no_dead().await;
    broker.wipe().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_of_a_process_that_died_are_given_to_the_next() {
    let Some(broker) = Broker::fresh().await else { return };
    let (here, there) = (broker.bus().await, broker.bus().await);
    let mut offers = there.offers("b1", &[Arch::X86_64], 1).await;
    here.offer("b1", offer(1)).await;
    let held = timeout(LONG, offers.next()).await.unwrap();
    let mut next = here.offers("b1", &[Arch::X86_64], 1).await;
    assert!(timeout(SHORT, next.next()).await.is_err());
    drop((offers, there));
    assert_eq!(timeout(LONG, next.next()).await.unwrap().settled().await.job, offer(1).job);
    // The receipt of the dead one does no harm.
    held.receipt.settle().await;
    broker.wipe().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_wiped_while_in_use_is_furnished_again() {
    let Some(broker) = Broker::fresh().await else { return };
    let (here, there) = (broker.bus().await, broker.bus_of_builder());
    let mut offers = there.offers("b1", &[Arch::X86_64], 2).await;
    everything_works(&here, &there, &mut offers, 100).await;
    for round in 2..=3 {
        broker.wipe().await;
        everything_works(&here, &there, &mut offers, round * 100).await;
    }
    broker.wipe().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_builder_that_is_there_first_makes_nothing_shared_and_waits() {
    let Some(broker) = Broker::fresh().await else { return };
    let builder = broker.bus_of_builder();
    let mut offers = builder.offers("b1", &[Arch::X86_64], 2).await;
    sleep(SHORT).await;
    assert!(!builder.is_up(), "there is nothing yet that it could use");
    let other = Connection::connect(&broker.config.url, ConnectionProperties::default()).await.unwrap();
    for exchange in ["offers", "stops", "events", "dead"] {
        let channel = other.create_channel().await.unwrap();
        let look = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let (name, table) = (broker.name(exchange).into(), FieldTable::default());
        let made = channel.exchange_declare(name, ExchangeKind::Topic, look, table).await;
        assert!(made.is_err(), "a builder has made {exchange}");
    }
    let hub = broker.bus().await;
    until("the builder's bus is up", || builder.is_up()).await;
    everything_works(&hub, &builder, &mut offers, 100).await;
    broker.wipe().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_under_its_reader_is_made_again() {
    let Some(broker) = Broker::fresh().await else { return };
    let (here, there) = (broker.bus().await, broker.bus().await);
    let mut offers = there.offers("b1", &[Arch::X86_64], 2).await;
    let queue = broker.name("offers.b1");
    broker.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    offered(&here, &mut offers, 1).await;
    broker.wipe().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_cut_is_made_again_and_nothing_waits_for_it() {
    let Some(broker) = Broker::fresh().await else { return };
    let uri: AMQPUri = broker.config.url.parse().unwrap();
    let authority = &uri.authority;
    let mut proxy = Proxy::closed(&format!("{}:{}", authority.host, authority.port)).await;
    let user = &authority.userinfo;
    let url = format!("amqp://{}:{}@{}/{}", user.username, user.password, proxy.address, uri.vhost);
    let config = AmqpConfig { url, ..broker.config.clone() };

    // Nobody is there yet: everything goes on at once without.
    let begun = Instant::now();
    let (here, there) = (Bus::connect(&config).unwrap(), broker.bus().await);
    let mut offers = here.offers("b1", &[Arch::X86_64], 2).await;
    here.stop(stop(1)).await;
    here.nudge().await;
    let told = here.publish(&[change(1, ChangeKind::Sig, "storage", None)]).await;
    assert!(matches!(told, Err(BusError::Away(_))), "{told:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());

    proxy.open().await;
    until("the bus is up", || here.is_up()).await;
    everything_works(&there, &here, &mut offers, 100).await;
    for round in 2..=3 {
        proxy.cut().await;
        until("it is noticed", || !here.is_up()).await;
        let begun = Instant::now();
        here.offer("b2", offer(1)).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        proxy.open().await;
        everything_works(&there, &here, &mut offers, round * 100).await;
        everything_works(&here, &here, &mut offers, round * 1000).await;
    }
    broker.wipe().await;
}

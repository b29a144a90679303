//! Each role is a user of its own on the broker, who may do what `ansible/roles/rabbitmq` lets it do.

use std::collections::BTreeSet;

use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeBindOptions,
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind};
use tests::processes::{Account, Broker, Ground, ProcessFarm, Setup, definitions};

/// Everything that all processes share.
const EXCHANGES: [&str; 4] = ["grange.offers", "grange.stops", "grange.events", "grange.dead"];
const DEAD: &str = "grange.dead";
/// The queue of the builder that tries things.
const OWN: &str = "grange.offers.b1";
/// What is of no concern to it.
const FOREIGN: [&str; 3] = [DEAD, "grange.nudges", "grange.offers.b2"];

#[tokio::test(flavor = "multi_thread")]
async fn each_role_works_with_the_rights_that_ansible_gives_it_and_a_builder_can_do_nothing_else() {
    let Some(ground) = Ground::shared() else { return };
    let mut broker = Broker::new();
    broker.start().await;
    broker.import(&definitions(&["b1", "b2"]));
    let ground = ground.with_broker(broker.url()).with_own_users();
    let (as_builder, as_hub, as_operator) =
        (ground.amqp_as("b1"), ground.amqp_as("hub"), ground.amqp.clone());
    let mut farm = ProcessFarm::new(ground, Setup::default()).await;

    farm.builders[0].start();
    farm.until("a builder says for whom it waits", async |farm| {
        farm.builders[0].log().contains("hubs and schedulers make it when they connect").then_some(())
    })
    .await;
    farm.start().await;
    farm.push("apple", "1").await;
    farm.many_at_work("s", 5).await;
    farm.at_work("apple", 1).await;
    let cancelled = farm.scratch("t1").await;
    farm.at_work("t1", 1).await;
    farm.cancel(cancelled).await;

    let operator = open(&as_operator).await;
    let channel = operator.create_channel().await.unwrap();
    let unknown = BasicProperties::default().with_type("offer/9".into());
    channel
        .basic_publish(
            "grange.offers".into(),
            "x86_64.b1".into(),
            BasicPublishOptions::default(),
            b"{}",
            unknown,
        )
        .await
        .unwrap();
    let hub = open(&as_hub).await;
    farm.until("the hub's user finds what a builder set aside", async |_| {
        let channel = hub.create_channel().await.unwrap();
        let letter = channel.basic_get(DEAD.into(), BasicGetOptions { no_ack: true }).await.unwrap()?;
        let headers = letter.properties.headers().clone().unwrap();
        headers.inner().contains_key("grange-why").then_some(())
    })
    .await;
    a_builder_can_do_nothing_else(&open(&as_builder).await).await;

    farm.land.yard.go();
    let account = Account { cancelled: BTreeSet::from(["t1-1".to_owned()]), ..Account::default() };
    let figures = farm.ends_well("each role with its rights", account).await;
    assert_eq!((figures.reruns, figures.lost), (0, 0));
}

async fn open(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default()).await.unwrap()
}

async fn a_builder_can_do_nothing_else(builder: &Connection) {
    let table = FieldTable::default;
    // What it may do: that it is refused the rest is not for want of a connection.
    let own = builder.create_channel().await.unwrap();
    let declared = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let unnamed = own.queue_declare("".into(), declared, table()).await.unwrap();
    own.queue_bind(
        unnamed.name().clone(),
        "grange.stops".into(),
        "".into(),
        QueueBindOptions::default(),
        table(),
    )
    .await
    .unwrap();

    for name in EXCHANGES {
        refused(builder, &format!("remove the exchange {name}"), async |channel| {
            channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await
        })
        .await;
        refused(builder, &format!("make the exchange {name}"), async |channel| {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            channel.exchange_declare(name.into(), ExchangeKind::Topic, options, table()).await
        })
        .await;
    }
    for queue in FOREIGN {
        refused(builder, &format!("remove the queue {queue}"), async |channel| {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await
        })
        .await;
        refused(builder, &format!("empty the queue {queue}"), async |channel| {
            channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await
        })
        .await;
        refused(builder, &format!("look into the queue {queue}"), async |channel| {
            channel.basic_get(queue.into(), BasicGetOptions::default()).await
        })
        .await;
        refused(builder, &format!("read the queue {queue}"), async |channel| {
            channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), table()).await
        })
        .await;
    }
    for queue in ["grange.offers.b3", "grange.offers.b1x", "grange.xoffers.b1"] {
        refused(builder, &format!("make the queue {queue}"), async |channel| {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.into(), options, table()).await
        })
        .await;
    }
    for (exchange, key) in [
        ("grange.offers", "x86_64.b2"),
        ("grange.offers", "x86_64.x.b1"),
        ("grange.offers", "*.b1"),
        ("grange.offers", "#"),
        ("grange.events", "#"),
        (DEAD, ""),
    ] {
        refused(builder, &format!("hear {exchange} by {key:?}"), async |channel| {
            let options = QueueBindOptions::default();
            channel.queue_bind(OWN.into(), exchange.into(), key.into(), options, table()).await
        })
        .await;
    }
    refused(builder, "lead the offers of others to the dead letters", async |channel| {
        let options = ExchangeBindOptions::default();
        channel.exchange_bind(DEAD.into(), "grange.offers".into(), "#".into(), options, table()).await
    })
    .await;
    for (exchange, key) in [
        ("grange.offers", "x86_64.b1"),
        ("grange.offers", "x86_64.b2"),
        ("grange.stops", ""),
        ("grange.events", "job.demo.x86_64"),
        ("", "grange.offers.b2"),
        ("", "grange.nudges"),
    ] {
        refused(builder, &format!("send to {exchange:?} by {key:?}"), async |channel| {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            channel.basic_publish(exchange.into(), key.into(), options, b"{}", properties).await?.await
        })
        .await;
    }
}

/// Whoever tries this is told that it may not.
async fn refused<T: std::fmt::Debug>(
    connection: &Connection,
    what: &str,
    attempt: impl AsyncFnOnce(&Channel) -> lapin::Result<T>,
) {
    let channel = connection.create_channel().await.unwrap();
    let error = match attempt(&channel).await {
        Ok(done) => panic!("a builder may {what}: {done:?}"),
        Err(error) => error,
    };
    let ErrorKind::ProtocolError(refusal) = error.kind() else { panic!("{what}: {error}") };
    assert_eq!(refusal.kind(), &AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED), "{what}: {error}");
}

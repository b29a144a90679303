//! Everything is said twice.

use std::time::Duration;

use farm::ledger::RequestFilter;
use farm::wire::AmqpConfig;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::json;
use tests::processes::{Account, Ground, ProcessFarm, Setup, rounds};

/// How often each hub is told of one push.
const TOLD: usize = 6;
const JOBS: usize = 10;
/// The header of a copy.
const COPY: &str = "copy-of";

#[tokio::test(flavor = "multi_thread")]
async fn hook_calls_and_offers_that_come_twice_are_taken_once() {
    for _ in 0..rounds() {
        let Some(ground) = Ground::shared() else { return };
        let setup = Setup { hooks: false, ..Setup::default() };
        let mut farm = ProcessFarm::new(ground, setup).await;
        farm.start().await;
        let doubling = tokio::spawn(double_offers(farm.bus()));
        farm.push("apple", "1").await;
        tell_both_hubs(&farm, "apple").await;
        farm.land.yard.go();
        for number in 1..=JOBS {
            farm.scratch(&format!("quick{number}")).await;
        }
        farm.settles().await;
        let all = RequestFilter { package: Some("apple".to_owned()), limit: 100, ..RequestFilter::default() };
        let requests = farm.db.read().await.unwrap().requests(&all).await.unwrap();
        let pushes = requests.iter().filter(|request| request.kind.label() == "push").count();
        assert_eq!(pushes, 1, "{requests:?}");
        let figures = farm.ends_well("hook calls and offers doubled", Account::default()).await;
        assert_eq!((figures.reruns, figures.lost), (0, 0));
        doubling.abort();
        match doubling.await {
            Err(ended) if ended.is_cancelled() => {}
            other => panic!("offers were not doubled: {other:?}"),
        }
    }
}

/// Tells both hubs of a push, at once and again and again.
async fn tell_both_hubs(farm: &ProcessFarm, package: &str) {
    let token = std::fs::read_to_string(farm.land.data.join("hook-token")).unwrap();
    let update = json!({"branch": "c9s-sig-demo-hello", "old": "0".repeat(40), "new": farm.head(package)});
    let body = json!({"repo": format!("rpms/{package}"), "pusher": "ada", "updates": [update]});
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let calls = (0..TOLD).flat_map(|_| &farm.hub_addresses).map(|address| {
        let url = format!("http://{address}/api/v1/pushes");
        client.post(url).bearer_auth(token.trim()).json(&body).send()
    });
    let mut answers = Vec::new();
    for answer in join_all(calls).await {
        answers.push(answer.unwrap().error_for_status().unwrap().text().await.unwrap());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "all were told the same: {answers:?}");
}

/// Hears every offer beside its builder, and sends it once more.
async fn double_offers(config: AmqpConfig) {
    let connection = Connection::connect(&config.url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options =
        QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
    let (queue, exchange) = (queue.name().clone(), format!("{}offers", config.prefix));
    let (from, key) = (exchange.as_str().into(), "#".into());
    channel
        .queue_bind(queue.clone(), from, key, QueueBindOptions::default(), FieldTable::default())
        .await
        .unwrap();
    let (tag, options) = ("".into(), BasicConsumeOptions::default());
    let mut offers = channel.basic_consume(queue, tag, options, FieldTable::default()).await.unwrap();
    while let Some(offer) = offers.next().await {
        let offer = offer.unwrap();
        offer.acker.ack(BasicAckOptions::default()).await.unwrap();
        let mut headers = offer.properties.headers().clone().unwrap_or_default();
        if headers.inner().contains_key(COPY) {
            continue;
        }
        headers.insert(COPY.into(), lapin::types::AMQPValue::Boolean(true));
        let properties = offer.properties.clone().with_headers(headers);
        let (exchange, key) = (offer.exchange.clone(), offer.routing_key.clone());
        for _ in 0..2 {
            let (exchange, key) = (exchange.clone(), key.clone());
            channel
                .basic_publish(exchange, key, BasicPublishOptions::default(), &offer.data, properties.clone())
                .await
                .unwrap();
        }
    }
    std::future::pending::<()>().await;
}

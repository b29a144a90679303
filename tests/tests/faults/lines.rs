//! Lines are cut, slow, and swallow what is said.

use std::net::SocketAddr;
use std::time::Duration;

use farm::job::Patience;
use tests::processes::{Account, Ground, ProcessFarm, Setup, rounds};
use tests::{Proxy, Weather};
use tokio::time::sleep;

use crate::{JOBS, moment};

/// How long a line swallows everything: longer than two heartbeats, so that it is noticed.
const SWALLOWING: Duration = Duration::from_secs(8);
const SLOW: Weather = Weather::Slow { delay: Duration::from_millis(5), rate: 2 * 1024 * 1024 };

fn server(url: &str) -> SocketAddr {
    let url: url::Url = url.parse().unwrap();
    let port = url.port().or(if url.scheme() == "amqp" { Some(5672) } else { Some(5432) });
    format!("127.0.0.1:{}", port.unwrap()).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_cut_and_slow_and_every_job_runs_once() {
    for _ in 0..rounds() {
        let Some(ground) = Ground::shared() else { return };
        let ledger = Proxy::to(&[server(&ground.ledger)]).await;
        let broker = Proxy::to(&[server(&ground.amqp)]).await;
        let setup = Setup {
            ledger_through: Some(ledger.address),
            broker_through: Some(broker.address),
            // None of these faults lasts as long as a lease does in production.
            patience: Patience::default(),
            ..Setup::default()
        };
        let mut farm = ProcessFarm::new(ground, setup).await;
        farm.start().await;
        farm.push("apple", "1").await;
        farm.scratch("large-one").await;
        farm.many_at_work("s", JOBS - 2).await;
        let mut cut = 0;
        // While logs come in.
        for line in [&farm.back, &ledger, &broker] {
            for _ in 0..3 {
                cut += line.cut();
                sleep(Duration::from_millis(400)).await;
            }
        }
        println!("FIGURES lines: {cut} calls were cut while logs came in");
        // Whoever waits for an answer hears nothing.
        for line in [&broker, &farm.back] {
            line.turns(Weather::BlackHole);
            sleep(SWALLOWING).await;
            line.cut();
            line.turns(Weather::Fair);
            moment().await;
        }
        ledger.turns(Weather::BlackHole);
        sleep(farm.lease() / 3).await;
        ledger.turns(Weather::Fair);
        farm.scratch("quick-one").await;

        for line in [&farm.back, &ledger, &broker] {
            line.turns(SLOW);
        }
        farm.land.yard.go();
        let mut cut = 0;
        for _ in 0..5 {
            cut += farm.back.cut();
            sleep(Duration::from_millis(300)).await;
        }
        println!("FIGURES lines: {cut} calls were cut while files were uploaded");
        let figures = farm.ends_well("lines cut and slow", Account::default()).await;
        assert_eq!((figures.reruns, figures.lost), (0, 0));
    }
}

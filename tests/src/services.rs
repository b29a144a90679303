//! What a story's farm stands on: a file and a bus in the process, or PostgreSQL and RabbitMQ. A story does not know.

use std::panic::AssertUnwindSafe;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use farm::wire::AmqpConfig;
use futures_util::FutureExt as _;
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};

use crate::tools::service;

tokio::task_local! {
    static SERVICES: Services;
}

/// Real services, with a corner of their own for one story.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    /// The name of the corner, and of the builder in it.
    pub(crate) name: String,
    /// The database's address.
    pub(crate) ledger: String,
    /// The broker.
    pub(crate) bus: AmqpConfig,
}

/// The services of the story that is running; none when it stands on what is embedded.
pub(crate) fn current() -> Option<Services> {
    SERVICES.try_with(Clone::clone).ok()
}

/// Plays a story on PostgreSQL and RabbitMQ, in a database and under names of its own, which are removed whatever becomes of
/// it. Without these services it says so and plays nothing.
///
/// # Panics
/// When the story does, or a service fails.
pub async fn on_real_services(story: impl Future<Output = ()>) {
    static STORIES: AtomicU32 = AtomicU32::new(0);
    let (Some(server), Some(broker)) = (service("GRANGE_TEST_POSTGRES"), service("GRANGE_TEST_AMQP")) else {
        return;
    };
    let _another_story_did = rustls::crypto::ring::default_provider().install_default();
    let name = format!("story_{}_{}", std::process::id(), STORIES.fetch_add(1, Ordering::Relaxed));
    let (base, _) = server.rsplit_once('/').expect("the server's address names a database");
    let services = Services {
        name: name.clone(),
        ledger: format!("{base}/{name}"),
        bus: AmqpConfig { url: broker.clone(), prefix: format!("{name}."), ..AmqpConfig::default() },
    };
    psql(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    psql(&server, &format!("CREATE DATABASE {name}"));
    let played = AssertUnwindSafe(SERVICES.scope(services, story)).catch_unwind().await;
    psql(&server, &format!("DROP DATABASE {name} WITH (FORCE)"));
    wipe(&broker, &format!("{name}."), &[&name]).await;
    if let Err(broken) = played {
        std::panic::resume_unwind(broken);
    }
}

/// Runs a statement as whoever the address names.
pub(crate) fn psql(server: &str, sql: &str) {
    let output =
        Command::new("psql").args([server, "--quiet", "--command", sql]).output().expect("psql runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Removes everything a farm has made on a broker whose names begin with `prefix`, its builders' queues too.
pub async fn wipe(broker: &str, prefix: &str, builders: &[&str]) {
    let connection =
        Connection::connect(broker, ConnectionProperties::default()).await.expect("the broker answers");
    let channel = connection.create_channel().await.expect("a channel");
    let of_builders = builders.iter().map(|builder| format!("offers.{builder}"));
    for queue in ["dead", "nudges"].map(str::to_owned).into_iter().chain(of_builders) {
        let queue = format!("{prefix}{queue}");
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("the queue goes");
    }
    for exchange in ["offers", "stops", "events", "dead"] {
        let exchange = format!("{prefix}{exchange}");
        channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.expect("it goes");
    }
}

/// Makes a test of each story on each of the two: `story_name::embedded` and `story_name::real_services`.
#[macro_export]
macro_rules! stories {
    ($($story:ident),+ $(,)?) => { $(
        mod $story {
            #[tokio::test(flavor = "multi_thread")]
            async fn embedded() {
                super::$story().await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn real_services() {
                $crate::on_real_services(super::$story()).await;
            }
        }
    )+ };
}

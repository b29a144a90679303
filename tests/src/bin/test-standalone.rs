//! The farm of the delivery stories: `grange standalone` in a process of its own, on an engine that runs no containers and does
//! what the story's yard says. It writes down each step of publishing that it takes, and stops at the one that the story names:
//! it is killed there, or held until the story lets it go on.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use builder::engine::{Dummy, Engine};
use clap::Parser;
use cli::roles::{Config, LedgerPlace};
use cli::standalone::{Options, start};
use farm::arch::Arch;
use farm::job::Patience;
use tests::processes::yard::{Order, Yard, artifacts};
use tests::programs_beside;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Between two looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Parser)]
struct Arguments {
    /// The farm's folder.
    #[arg(long)]
    data: PathBuf,
    /// The ledger, which is not in the folder: a disk that is full there does not concern it.
    #[arg(long)]
    ledger: String,
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// The story's yard.
    #[arg(long)]
    yard: PathBuf,
    /// A file with what `[hub.s3]` has, when there is a bucket.
    #[arg(long)]
    bucket: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { data, ledger, listen, yard, bucket } = Arguments::parse();
    let yard = Yard::new(yard, artifacts(&data));
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_filter(Targets::new().with_default(LevelFilter::INFO).with_target("sqlx", LevelFilter::WARN));
    let steps = Steps(yard.clone()).with_filter(Targets::new().with_target("steps", LevelFilter::TRACE));
    tracing_subscriber::registry().with(log).with(steps).init();

    let patience = Patience {
        offer_ms: 2_000,
        lease_ms: 2_000,
        stop_ms: 2_000,
        max_tries: 50,
        backoff_ms: 50,
        ..Patience::default()
    };
    let mut config =
        Config { ledger: LedgerPlace { url: Some(ledger), ..LedgerPlace::default() }, ..Config::default() };
    config.hub.data = data;
    config.hub.s3 = match bucket {
        Some(file) => Some(toml::from_str(&std::fs::read_to_string(file)?)?),
        None => None,
    };
    config.hub.hooks = programs_beside()?;
    config.hub.hook_ms = tests::HOOK_MS;
    config.hub.keeper_ms = 200;
    config.hub.patience = patience.clone();
    config.scheduler.tick_ms = 100;
    config.scheduler.patience = patience;
    config.builder.presence_ms = 200;
    config.builder.arches = vec![Arch::X86_64, Arch::S390x];
    // Far more than it needs, whatever this machine has: nothing real is run.
    config.builder.memory_mb = Some(1 << 20);
    config.builder.disk_mb = Some(1 << 22);
    config.signer.rsa_bits = tests::SIGNER_BITS;
    let director = yard;
    let engine = Dummy::new(move |recipe, step| director.script("standalone", recipe, step));
    let mut farm = start(Options { listen: Some(listen), config, engine: Some(Engine::Dummy(engine)) })
        .await
        .context("the farm does not start")?;
    Err(farm.broken().await)
}

/// Hears of each step, on the thread that takes it.
struct Steps(Yard);

impl<S: Subscriber> Layer<S> for Steps {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let Message(step) = message;
        self.0.tell_step(&step);
        match self.0.order_at(&step) {
            Some(Order::Die) => die(),
            Some(Order::Hold) => {
                self.0.say_held();
                while self.0.order_at(&step).is_some() {
                    std::thread::sleep(LOOK);
                }
            }
            None => {}
        }
    }
}

/// What an event says.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Does nothing more, and is killed.
fn die() -> ! {
    let _nobody_hears_of_it =
        Command::new("kill").args(["-s", "KILL", &std::process::id().to_string()]).status();
    loop {
        std::thread::park();
    }
}

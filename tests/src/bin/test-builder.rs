//! A builder of the fault stories: the real role in a process of its own that can be killed, on an engine that runs no
//! containers and does what the story's yard says.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use builder::engine::{Dummy, Engine};
use clap::Parser;
use farm::arch::Arch;
use farm::wire::{AmqpConfig, Bus};
use tests::processes::yard::Yard;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// How often it says how many containers it has.
const SAY_EVERY: Duration = Duration::from_millis(100);

#[derive(Parser)]
struct Arguments {
    /// Where the hub is.
    #[arg(long)]
    hub: url::Url,
    /// The broker.
    #[arg(long)]
    amqp: String,
    /// What everything on the broker begins with.
    #[arg(long)]
    prefix: String,
    /// Seconds between two heartbeats of the broker.
    #[arg(long)]
    heartbeat: u16,
    /// Its own folder, which has its name and its secret already.
    #[arg(long)]
    data: PathBuf,
    /// How many jobs it takes at once.
    #[arg(long)]
    slots: u32,
    /// The story's yard.
    #[arg(long)]
    yard: PathBuf,
    /// Where the hub keeps its blobs.
    #[arg(long)]
    artifacts: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _first = rustls::crypto::ring::default_provider().install_default();
    tracing_subscriber::fmt().with_env_filter(EnvFilter::new("info,lapin=warn")).with_ansi(false).init();
    let Arguments { hub, amqp, prefix, heartbeat, data, slots, yard, artifacts } = Arguments::parse();
    let (stop, stopped) = watch::channel(false);
    let config = builder::Config {
        hub,
        data,
        slots,
        arches: vec![Arch::X86_64],
        presence_ms: 500,
        // Far more than it needs, whatever this machine has: nothing real is run.
        memory_mb: Some(1 << 20),
        disk_mb: Some(1 << 22),
        ..builder::Config::default()
    };
    let identity =
        builder::Identity::obtain(&config, stopped.clone()).await?.context("it was told to stop")?;
    let config = builder::Config { name: identity.name().to_owned(), ..config };
    let bus = Bus::connect_as_builder(&AmqpConfig {
        url: amqp,
        prefix,
        heartbeat_seconds: heartbeat,
        ..AmqpConfig::default()
    })?;
    let yard = Yard::new(yard, artifacts);
    let (name, director) = (identity.name().to_owned(), yard.clone());
    let dummy = Dummy::new(move |recipe, step| director.script(&name, recipe, step));
    let (name, engine) = (identity.name().to_owned(), dummy.clone());
    tokio::spawn(async move {
        loop {
            if let Err(error) = yard.say_containers(&name, engine.running()) {
                tracing::warn!(%error, "cannot say how many containers there are");
            }
            tokio::time::sleep(SAY_EVERY).await;
        }
    });
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminate.recv().await;
        stop.send_replace(true);
    });
    builder::run(builder::Parts { bus, engine: Engine::Dummy(dummy), identity }, config, stopped).await
}

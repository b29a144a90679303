//! A farm in one process for `dev/bench`: hub, scheduler and a builder whose dummy engine starts a real command where it
//! would start a build's container, so that other systems can be measured running the same one. It prints where it is as
//! one line of JSON, and ends at SIGTERM.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use builder::engine::{Dummy, Engine, Script, Step};
use clap::Parser;
use farm::digest::Digest;
use farm::ids::Minter;
use farm::job::Class;
use farm::ledger::Db;
use farm::recipe::Input;
use farm::request::{Planner, Request, RequestKind, Source};
use farm::sig::template::parse;
use farm::stamp::Stamp;
use farm::wire::{AmqpConfig, Bus};
use hub::state::{Hub, now, secret};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Who asks for the builds.
const PERSON: &str = "bench";
/// Jobs that are put into the ledger in one transaction.
const BATCH: u64 = 1_000;
/// How long the results of the bench's builds are kept: longer than any bench takes.
const KEPT: std::time::Duration = std::time::Duration::from_secs(86_400);

#[derive(Parser)]
struct Arguments {
    /// The farm's folder.
    #[arg(long)]
    data: PathBuf,
    /// Where the hub listens, on this machine.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How many jobs run at once.
    #[arg(long, default_value_t = 2)]
    slots: u32,
    /// `dummy`, or the socket of a real engine.
    #[arg(long, default_value = "dummy")]
    engine: String,
    /// The image builds run in.
    #[arg(long, default_value = "dummy")]
    image: String,
    /// What the dummy runs in a shell in place of a build.
    #[arg(long, default_value = "true")]
    command: String,
    /// The ledger; a file in the folder unless it is said.
    #[arg(long)]
    ledger: Option<String>,
    /// The broker; the bus is inside the process unless it is said.
    #[arg(long)]
    amqp: Option<String>,
    /// Put so many jobs into the backlog and end.
    #[arg(long)]
    fill: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _first = rustls::crypto::ring::default_provider().install_default();
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.data).context("the farm's folder")?;
    let file = format!("sqlite:{}", arguments.data.join("ledger.sqlite").display());
    let db = Db::open(arguments.ledger.as_deref().unwrap_or(&file)).await?;
    let text = template(&arguments.image);
    let sig = parse("bench.toml", &text)?;
    let token = secret();
    let mut tx = db.write().await?;
    tx.put_person(PERSON, &Digest::of(token.as_bytes()), true, now()).await?;
    tx.apply_sig(&sig, &text, PERSON, now()).await?.map_err(|clashes| anyhow::anyhow!("{clashes:?}"))?;
    tx.commit().await?;
    let project = sig.projects.first().context("the template has a project")?;
    match arguments.fill {
        Some(count) => {
            keep_source(&arguments.data)?;
            fill(&db, project, count).await
        }
        None => serve(arguments, db, &project.target(), &token).await,
    }
}

async fn serve(arguments: Arguments, db: Db, target: &str, token: &str) -> anyhow::Result<()> {
    let Arguments { data, port, slots, engine, command, amqp, .. } = arguments;
    // Two benches on one broker must not take each other's offers.
    let broker = amqp.map(|url| {
        let prefix = format!("bench-{}.", std::process::id());
        AmqpConfig { url, prefix, ..AmqpConfig::default() }
    });
    let bus = match &broker {
        Some(config) => Bus::connect(config)?,
        None => Bus::local(),
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let config =
        hub::config::Config { data: data.clone(), public_url: url.clone(), ..hub::config::Config::default() };
    let hub = Hub::open(db.clone(), bus.clone(), config)?;

    let identity = builder::Identity::fresh(format!("bench-{}", std::process::id()))?;
    let mut tx = db.write().await?;
    tx.admit_builder(identity.name(), &identity.digest()).await?;
    tx.commit().await?;
    let config = builder::Config {
        hub: url.parse()?,
        data: data.join("builder"),
        slots,
        name: identity.name().to_owned(),
        ..builder::Config::default()
    };
    let name = identity.name().to_owned();
    let engine = match &*engine {
        "dummy" => Engine::Dummy(Dummy::new(move |_, step| play(step, &command))),
        address => Engine::connect(address)?,
    };

    let (stop, stopped) = watch::channel(false);
    let roles = async {
        tokio::try_join!(
            hub::run(hub, listener, stopped.clone()),
            scheduler::run(
                scheduler::Parts { db, bus: bus.clone() },
                scheduler::Config::default(),
                stopped.clone()
            ),
            builder::run(builder::Parts { bus, engine, identity }, config, stopped.clone()),
        )
    };
    println!("{}", json!({ "url": url, "token": token, "target": target }));
    let mut terminate = signal(SignalKind::terminate())?;
    let told = async {
        terminate.recv().await;
        stop.send_replace(true);
    };
    let (ended, ()) = tokio::join!(roles, told);
    if let Some(AmqpConfig { url, prefix, .. }) = &broker {
        tests::wipe(url, prefix, &[&name]).await;
    }
    ended.map(drop)
}

/// What a container of the dummy does: the build runs the command, everything else nothing.
fn play(step: Step, command: &str) -> Script {
    match step {
        Step::Build => {
            // A real engine is another process: waiting for it must not keep the farm's other work from this thread.
            let ran = tokio::task::block_in_place(|| Command::new("/bin/sh").args(["-c", command]).status());
            let code = ran.ok().and_then(|status| status.code()).unwrap_or(-1);
            Script::default().exits(code.into()).puts_out("noop-1-1.noarch.rpm", "nothing")
        }
        Step::Srpm | Step::Dependencies | Step::Lock | Step::Install | Step::Suite => Script::default(),
    }
}

/// Puts the empty file that stands for a source RPM where the hub keeps what it is sent.
fn keep_source(data: &Path) -> anyhow::Result<()> {
    let digest = Digest::of(b"");
    let folder = data.join("artifacts").join(&digest.as_str()[..2]);
    std::fs::create_dir_all(&folder)?;
    Ok(std::fs::write(folder.join(digest.as_str()), b"")?)
}

/// Puts jobs into the backlog, as scratch builds of a source RPM would.
async fn fill(db: &Db, project: &farm::sig::Project, count: u64) -> anyhow::Result<()> {
    let mut minter = Minter::new(u64::from(std::process::id()));
    let srpm = Input { name: "noop-1-1.src.rpm".to_owned(), digest: Digest::of(b""), size: 0 };
    let mut left = count;
    while left > 0 {
        let mut tx = db.write().await?;
        for _ in 0..left.min(BATCH) {
            let at: Stamp = now();
            let request = Request {
                id: minter.mint(at),
                kind: RequestKind::Scratch { expires: at + KEPT },
                sig: project.sig.clone(),
                target: project.target(),
                package: "noop".to_owned(),
                by: PERSON.to_owned(),
                source: Source::Srpm { srpm: srpm.clone() },
                created: at,
                retry_of: None,
                chain: None,
                closed: None,
            };
            tx.insert_request(&request).await?;
            let mut planner =
                Planner { minter: &mut minter, now: at, request: request.id, class: Class::Scratch };
            for job in planner.builds(project, &srpm, &project.arches, &[]) {
                tx.insert_job(&job).await?;
            }
        }
        tx.commit().await?;
        left = left.saturating_sub(BATCH);
    }
    db.close().await;
    Ok(())
}

fn template(image: &str) -> String {
    format!(
        "name = \"bench\"\n[[project]]\nname = \"noop\"\nrelease = \"1\"\ndist = \"9s\"\narches = [\"x86_64\"]\n\
         packages = [\"noop\"]\nimage = \"{image}\"\n"
    )
}

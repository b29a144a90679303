//! Repos for `dev/bench`: what a new package costs, from its import to where it can be fetched, beside createrepo_c on the
//! same packages. It prints lines of JSON.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand};
use farm::arch::Arch;
use farm::ids::{Minter, SnapshotId};
use farm::openpgp::{SecretKey, sign_detached};
use farm::snapshot::{Member, Rpm, Snapshot};
use hub::artifacts::Artifacts;
use hub::repos::compose::{Plan, compose};
use hub::repos::engine::Engine;
use hub::repos::publish::SnapshotTree;
use hub::rpms::read_rpm;
use hub::state::now;
use serde_json::json;
use tests::typical_package;

/// The repo all of it is about, and the folder of it.
const TAG: &str = "bench9s-everything-1-candidate";
const FOLDER: &str = "x86_64";
const ARCHES: [Arch; 1] = [Arch::X86_64];
/// Packages beside those that are there from the beginning: one is added in each round.
const SPARE: usize = 64;
/// Bits of the key that signs the metadata.
const KEY_BITS: u32 = farm::openpgp::DEFAULT_BITS;

#[derive(Parser)]
struct Arguments {
    /// Where everything is.
    #[arg(long)]
    folder: PathBuf,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Make the packages, the repo with all but the spare ones, and the same for createrepo_c.
    Prepare {
        /// How many packages.
        packages: usize,
    },
    /// Add a package with createrepo_c and with the engine, several times in turn.
    Rounds {
        /// How many times.
        rounds: usize,
    },
    /// Add one package with the engine, in this process that has just begun.
    Cold,
}

fn main() -> anyhow::Result<()> {
    let begun = Instant::now();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match arguments.work {
            Work::Prepare { packages } => prepare(&arguments.folder, packages).await,
            Work::Rounds { rounds } => rounds_of(&arguments.folder, rounds).await,
            Work::Cold => cold(&arguments.folder, begun).await,
        }
    })
}

// ---- the packages -----------------------------------------------------------------------------------------------------

async fn prepare(folder: &Path, packages: usize) -> anyhow::Result<()> {
    let artifacts = Artifacts::open(&folder.join("artifacts"))?;
    let mut known = Vec::new();
    for number in 0..packages + SPARE {
        let stored = artifacts.put_bytes(&typical_package(number)?).await?;
        let read = read_rpm(&artifacts.path(&stored.digest), Some(Arch::X86_64))?;
        known.push(read.rpm);
    }
    let (there, spare) = known.split_at(packages);
    let theirs = folder.join("createrepo");
    fs::create_dir(&theirs)?;
    for rpm in there {
        artifacts.link_to(&rpm.digest, &theirs.join(&rpm.file))?;
    }
    let begun = Instant::now();
    createrepo(&theirs, false)?;
    let full = millis(begun);
    let key = SecretKey::generate("bench <bench@localhost>", KEY_BITS, now())?;
    fs::write(folder.join("key"), key.to_armored(None)?.as_bytes())?;
    let mut bench = Bench {
        there: there.to_vec(),
        spare: spare.to_vec(),
        ..Bench::open(folder, Vec::new(), Vec::new())?
    };
    let begun = Instant::now();
    bench.publish().await?;
    println!(
        "{}",
        json!({"packages": packages, "createrepo_full_ms": full, "engine_full_ms": millis(begun)})
    );
    bench.save()
}

// ---- one more package -------------------------------------------------------------------------------------------------

/// A repo at work: what is in it, and what is not yet.
struct Bench {
    folder: PathBuf,
    there: Vec<Rpm>,
    spare: Vec<Rpm>,
    artifacts: Artifacts,
    engine: Engine,
    tree: SnapshotTree,
    key: SecretKey,
    minter: Minter,
}

/// Milliseconds of one publication, and of its parts.
struct Took {
    all: f64,
    parts: serde_json::Value,
}

impl Bench {
    fn open(folder: &Path, there: Vec<Rpm>, spare: Vec<Rpm>) -> anyhow::Result<Self> {
        let artifacts = Artifacts::open(&folder.join("artifacts"))?;
        Ok(Self {
            there,
            spare,
            engine: Engine::open(&folder.join("repos"), &artifacts)?,
            tree: SnapshotTree::open(&folder.join("candidate"), &artifacts)?,
            key: SecretKey::from_armored(&fs::read_to_string(folder.join("key"))?, None)?,
            minter: Minter::new(u64::from(std::process::id())),
            folder: folder.to_owned(),
            artifacts,
        })
    }

    fn load(folder: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| -> anyhow::Result<Vec<Rpm>> {
            Ok(serde_json::from_slice(&fs::read(folder.join(name))?)?)
        };
        Self::open(folder, read("there.json")?, read("spare.json")?)
    }

    fn save(&self) -> anyhow::Result<()> {
        fs::write(self.folder.join("there.json"), serde_json::to_vec(&self.there)?)?;
        Ok(fs::write(self.folder.join("spare.json"), serde_json::to_vec(&self.spare)?)?)
    }

    /// The next spare package is imported and published.
    async fn add(&mut self) -> anyhow::Result<(Rpm, Took)> {
        let rpm = self.spare.pop().context("no package is left; prepare the bench again")?;
        self.there.push(rpm.clone());
        let begun = Instant::now();
        self.engine.learn(&rpm.digest)?;
        let learned = millis(begun);
        let mut took = self.publish().await?;
        took.all += learned;
        took.parts["import"] = json!(learned);
        Ok((rpm, took))
    }

    /// All that is there becomes a signed repo that a pointer leads to.
    async fn publish(&mut self) -> anyhow::Result<Took> {
        let id: SnapshotId = self.minter.mint(now());
        let member = Member {
            build: self.minter.mint(now()),
            package: "everything".into(),
            nvr: "everything-1-1".into(),
            rpms: self.there.clone(),
        };
        let snapshot = Snapshot::holding(id, TAG, None, vec![member], now());
        let begun = Instant::now();
        let mut plan = Plan::built(&snapshot, &ARCHES)?;
        plan.folders.retain(|name, _| name == FOLDER);
        let planned = millis(begun);
        let staged = compose(&self.folder.join("staging"), &self.engine, plan).await?;
        let composed = millis(begun);
        let repodata = staged.join(FOLDER).join("repodata");
        let repomd = fs::read(repodata.join("repomd.xml"))?;
        let signature = sign_detached(&[&self.key], &repomd, now())?;
        let mut file = File::create(repodata.join("repomd.xml.asc"))?;
        file.write_all(signature.as_bytes())?;
        file.sync_all()?;
        let signed = millis(begun);
        self.tree.enter(TAG, id, &staged).await?;
        let all = millis(begun);
        ensure!(self.tree.live(TAG) == Some(id), "the pointer does not lead to the new snapshot");
        let parts = json!({"plan": planned, "compose": composed - planned, "sign": signed - composed,
            "enter": all - signed});
        Ok(Took { all, parts })
    }

    /// Can the package be fetched, and does the metadata say so?
    fn check(&self, rpm: &Rpm) -> anyhow::Result<()> {
        let folder = self.tree.root().join("live").join(TAG).join(FOLDER);
        let path = hub::repos::engine::package_path(&rpm.file, &rpm.digest);
        let size =
            fs::metadata(folder.join(&path)).with_context(|| format!("{path} cannot be fetched"))?.len();
        ensure!(size == rpm.size, "{path} is not the package");
        Ok(())
    }
}

async fn rounds_of(folder: &Path, rounds: usize) -> anyhow::Result<()> {
    let mut bench = Bench::load(folder)?;
    let theirs = folder.join("createrepo");
    for _ in 0..rounds {
        let (rpm, took) = bench.add().await?;
        bench.check(&rpm)?;
        bench.artifacts.link_to(&rpm.digest, &theirs.join(&rpm.file))?;
        let begun = Instant::now();
        createrepo(&theirs, true)?;
        let createrepo = millis(begun);
        println!(
            "{}",
            json!({"createrepo_ms": createrepo, "engine_ms": took.all, "parts": took.parts,
            "peak_rss_mb": peak_rss_mb()?})
        );
    }
    bench.save()
}

async fn cold(folder: &Path, begun: Instant) -> anyhow::Result<()> {
    let mut bench = Bench::load(folder)?;
    let (rpm, took) = bench.add().await?;
    let all = millis(begun);
    bench.check(&rpm)?;
    println!(
        "{}",
        json!({"cold_ms": all, "engine_ms": took.all, "parts": took.parts,
        "peak_rss_mb": peak_rss_mb()?})
    );
    // createrepo_c's folder stays as far as it was: its next update has one package more.
    bench.artifacts.link_to(&rpm.digest, &folder.join("createrepo").join(&rpm.file))?;
    bench.save()
}

fn createrepo(folder: &Path, update: bool) -> anyhow::Result<()> {
    let mut command = Command::new("createrepo_c");
    command.args(["--quiet", "--no-database"]).args(update.then_some("--update")).arg(folder);
    let status =
        command.status().context("createrepo_c must be installed (Debian: apt install createrepo-c)")?;
    ensure!(status.success(), "createrepo_c failed");
    Ok(())
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// The most memory this process ever had.
fn peak_rss_mb() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

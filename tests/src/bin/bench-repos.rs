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
use rpm::{BuildConfig, CompressionWithLevel, Dependency, FileOptions, PackageBuilder, Timestamp};
use serde_json::json;

/// The repo all of it is about, and the folder of it.
const TAG: &str = "bench9s-everything-1-candidate";
const FOLDER: &str = "x86_64";
const ARCHES: [Arch; 1] = [Arch::X86_64];
/// Packages beside those that are there from the beginning: one is added in each round.
const SPARE: usize = 64;
/// What a typical package of a distribution has.
const FILES: usize = 30;
const REQUIRES: usize = 12;
const CHANGES: usize = 12;
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
        let stored = artifacts.put_bytes(&package(number)?).await?;
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

/// A small package with everything the metadata of a large one has.
fn package(number: usize) -> anyhow::Result<Vec<u8>> {
    let name = format!("{}-{}{number}", word(number), word(number / 7 + 3));
    let summary = format!("The {} that makes {} {}", word(number + 1), word(number + 2), word(number + 3));
    let mut builder = PackageBuilder::new(&name, "1.2.3", "GPL-2.0-or-later AND MIT", "x86_64", &summary);
    let built = 1_700_000_000 + u32::try_from(number)?;
    let config = BuildConfig::v4().source_date(built).compression(CompressionWithLevel::Gzip(1));
    let text: Vec<&str> = (0..60).map(|at| word(number * 31 + at * 17)).collect();
    builder
        .using_config(config)
        .release("4.el9s")
        .description(text.join(" "))
        .url(format!("https://example.org/{name}"))
        .vendor("CentOS SIGs")
        .group("Unspecified")
        .build_host("builder.example.org");
    for at in 0..FILES {
        let file = match at {
            0 => format!("/usr/bin/{name}"),
            1 => format!("/etc/{name}.conf"),
            _ => format!("/usr/share/{name}/{}/{}-{at}.txt", word(number + at % 4), word(number * 13 + at)),
        };
        builder.with_file_contents(format!("{name} {at}\n"), FileOptions::new(file).permissions(0o644))?;
    }
    for at in 0..REQUIRES {
        let other = word(number * 7 + at * 5);
        builder.requires(match at % 3 {
            0 => Dependency::any(format!("lib{other}.so.{at}()(64bit)")),
            1 => Dependency::greater_eq(format!("{other}-libs"), format!("1.{at}-2")),
            _ => Dependency::any(format!("/usr/bin/{other}")),
        });
    }
    builder.provides(Dependency::any(format!("lib{name}.so.1()(64bit)")));
    for at in 0..CHANGES {
        let when = Timestamp::from(built - u32::try_from(at)? * 86_400 * 30);
        let entry = format!("- {} the {} of {}", word(at * 3), word(number + at), word(number * 3 + at));
        builder.add_changelog_entry("Ada Lovelace <ada@example.org> - 1.2.3-4", entry, when);
    }
    let mut bytes = Vec::new();
    builder.build()?.write(&mut bytes)?;
    Ok(bytes)
}

/// One of some hundred words, so that text is as compressible as text.
fn word(number: usize) -> &'static str {
    const WORDS: &str = "archive buffer cluster daemon editor filter gateway handler index journal kernel library mapper \
        network object parser queue router server thread update vector window xerox yield zone anchor binding cache driver \
        engine format graph header image job key layer module node option packet query record socket table unit value \
        worker array block client device event frame group host item kit link mount name output path quota region sample \
        token user view wrapper atom bridge codec dialog entity field grid hook input joiner knot list mixer notifier owner \
        pool quick reader store timer upload virtual writer";
    let count = WORDS.split_ascii_whitespace().count();
    WORDS.split_ascii_whitespace().nth(number.wrapping_mul(2_654_435_761) / 64 % count).unwrap_or("word")
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

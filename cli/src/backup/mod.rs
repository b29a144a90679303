//! A farm's backup: its ledger and its data folder, copied while it is at work.
//!
//! # Why the result is consistent
//! The ledger is copied first, as it was at one moment; the files afterwards. Files the ledger names are content-addressed and
//! complete before they are named, and only tidying removes any, which the backup holds off by taking its turn. So each file
//! that the copied ledger names is there when the files are copied. What the files have beyond it is what a process leaves
//! that is killed between two steps, which every hub mends at its start: git branches that are ahead are taken in by the sweep,
//! and public pointers follow the ledger's. Logs of attempts that the ledger does not know yet are left out at restoring: the
//! attempt will be made again, under the same number.
//!
//! Of a farm whose files are in a bucket this has what the disk has of them; the bucket is its owner's to keep safe. Restoring
//! looks for each file on the disk, and else in the bucket.

mod check;
mod copy;
mod ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use farm::ids::JobId;
use farm::ledger::{Db, Migrated, Repo};
use hub::artifacts::Artifacts;
use hub::bucket::{Bucket, S3};

pub(crate) use check::Checked;
pub(crate) use copy::Copied;

/// What the data folder has that belongs into a backup, in the order in which it is copied: a staged snapshot may become a
/// live one meanwhile, and then the later copy has it. `keys` is there where a signer runs in the hub's process: the copy has
/// the private keys then, and is to be kept accordingly.
const FOLDERS: [&str; 8] = ["staging", "candidate", "public", "artifacts", "git", "logs", "spool", "keys"];
/// The secrets that the hooks of the git repos and signers show, in the data folder.
const TOKENS: [&str; 2] = ["hook-token", "signer-token"];
/// Where in a backup the files are.
const FILES: &str = "data";
/// Made last: a backup without it broke off.
const COMPLETE: &str = "complete";
/// Between two tries to take the turn at tidying, which lasts as long as one round of it.
const TURN_PAUSE: Duration = Duration::from_millis(100);

/// Copies the ledger at `address`, opened as `db`, and the files below `data` into `folder`, which must not exist.
pub(crate) async fn make(db: &Db, address: &str, data: &Path, folder: &Path) -> anyhow::Result<Copied> {
    if !data.join("artifacts").is_dir() {
        bail!("{} is no data folder of a hub: it has no artifacts", data.display());
    }
    make_private(folder)?;
    let _turn = hold_off_tidying(data).await?;
    ledger::copy(db, address, folder).await.context("cannot copy the ledger")?;
    let (from, to) = (data.to_owned(), folder.join(FILES));
    let copied = tokio::task::spawn_blocking(move || copy::folders(&from, &to, &FOLDERS, &TOKENS));
    let copied =
        copied.await.context("the task that copies ended early")?.context("cannot copy the files")?;
    std::fs::write(folder.join(COMPLETE), "").context("cannot finish the backup")?;
    Ok(copied)
}

/// What a restore did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restored {
    /// What was put back.
    pub(crate) copied: Copied,
    /// What became of the ledger's schema, when this program is newer than the backup.
    pub(crate) migrated: Migrated,
    /// What was looked at afterwards, and found whole.
    pub(crate) checked: Checked,
}

/// Puts a backup where the ledger is empty and the data folder is not there, brings the ledger's schema up to date, and looks
/// whether everything is there and whole: files the ledger names, snapshots that repos point to, git repos.
pub(crate) async fn restore(
    folder: &Path,
    address: &str,
    data: &Path,
    s3: Option<&S3>,
) -> anyhow::Result<Restored> {
    let bucket = s3.map(Bucket::open).transpose()?;
    if !folder.join(COMPLETE).exists() {
        bail!("{} is no backup, or one that broke off", folder.display());
    }
    if data.join("artifacts").exists() {
        bail!("{} has a farm already; name an empty folder", data.display());
    }
    std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    ledger::put_back(folder, address).await.context("cannot put the ledger back")?;
    let (from, to) = (folder.join(FILES), data.to_owned());
    let copied = tokio::task::spawn_blocking(move || copy::folders(&from, &to, &FOLDERS, &TOKENS));
    let copied =
        copied.await.context("the task that copies ended early")?.context("cannot copy the files")?;
    let (db, migrated) =
        Db::open_migrated(address).await.context("cannot open the ledger that was put back")?;
    let checked = check(&db, data, bucket).await;
    db.close().await;
    checked.map(|checked| Restored { copied, migrated, checked })
}

async fn check(db: &Db, data: &Path, bucket: Option<Bucket>) -> anyhow::Result<Checked> {
    let mut tx = db.read().await?;
    let turns: BTreeMap<JobId, u32> = tx.turns().await?.into_iter().collect();
    let held = tx.held().await?;
    let repos: Vec<Repo> = tx.repos().await?.into_iter().map(|repo| repo.value).collect();
    drop(tx);
    forget_later_logs(&data.join("logs"), &turns).context("cannot remove the logs of attempts to come")?;
    let is_elsewhere = bucket.is_some();
    let stored = match bucket {
        Some(bucket) => {
            let artifacts = Artifacts::open(&data.join("artifacts"))?.behind(bucket, u64::MAX);
            artifacts.list().await.context("cannot list what the bucket has")?.into_iter().collect()
        }
        None => BTreeSet::new(),
    };
    Ok(Checked {
        artifacts: check::artifacts(data, &held, &stored)?,
        snapshots: check::snapshots(data, &repos, is_elsewhere)?,
        git_repos: check::git(data).await?,
    })
}

/// Removes `logs/<job>/<turn>` of jobs and turns that the ledger does not know.
fn forget_later_logs(logs: &Path, turns: &BTreeMap<JobId, u32>) -> std::io::Result<()> {
    if !logs.is_dir() {
        return Ok(());
    }
    for job in std::fs::read_dir(logs)? {
        let job = job?;
        let known = job
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<JobId>().ok())
            .and_then(|id| turns.get(&id));
        let Some(known) = known else {
            std::fs::remove_dir_all(job.path())?;
            continue;
        };
        for turn in std::fs::read_dir(job.path())? {
            let turn = turn?;
            let number = turn.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            if number.is_none_or(|number| number > *known) {
                std::fs::remove_dir_all(turn.path())?;
            }
        }
    }
    Ok(())
}

fn make_private(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    made.with_context(|| format!("cannot make {}; a backup is made in a folder of its own", folder.display()))
}

/// Takes the turn at tidying, so that no hub removes anything until it is given back.
async fn hold_off_tidying(data: &Path) -> anyhow::Result<File> {
    let path = data.join("turns").join("tidying");
    std::fs::create_dir_all(data.join("turns")).context("cannot take a turn")?;
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(TURN_PAUSE).await,
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(anyhow::Error::new(error).context(format!("cannot lock {}", path.display())));
            }
        }
    }
}

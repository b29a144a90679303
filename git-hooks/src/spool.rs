//! Reports that wait for the hub: a folder with one file for each, delivered in the order in which they came.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use farm::message::PushReport;

use crate::hub::{Hub, NoAnswer};
use crate::say;

/// Only files with this ending wait; anything else in the folder is somebody's own.
const WAITING: &str = "report";
/// How often a hook looks whether another has finished delivering.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A folder of waiting reports.
#[derive(Debug, Clone)]
pub struct Spool {
    folder: PathBuf,
    limit: usize,
}

/// What still waits after a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// So many reports.
    pub reports: usize,
    /// The hub takes no report at all.
    pub is_away: bool,
    /// Repos with commits that the hub cannot have now.
    pub repos: BTreeSet<String>,
}

impl Left {
    /// Must a report of this repo wait behind these? The hub builds a repo's pushes in the order in which it learns of them.
    #[must_use]
    pub fn holds_up(&self, repo: &str) -> bool {
        self.is_away || self.repos.contains(repo)
    }
}

/// Held by the one process that delivers.
#[derive(Debug)]
pub struct Delivering {
    _lock: File,
}

impl Spool {
    /// A spool in this folder, which is made when the first report comes.
    #[must_use]
    pub fn new(folder: &Path, limit: usize) -> Spool {
        Spool { folder: folder.to_owned(), limit }
    }

    /// The waiting reports, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn waiting(&self) -> anyhow::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", self.folder.display()));
            }
        };
        let mut waiting = Vec::new();
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read {}", self.folder.display()))?.path();
            if path.extension().is_some_and(|extension| extension == WAITING) {
                waiting.push(path);
            }
        }
        waiting.sort_unstable();
        Ok(waiting)
    }

    /// Keeps a report until the hub can take it. It is on disk, whole, when this returns.
    ///
    /// # Errors
    /// When the folder is full or cannot be written.
    pub fn keep(&self, report: &PushReport) -> anyhow::Result<()> {
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make the folder {}", self.folder.display()))?;
        // One at a time, so that two pushes in the same moment get different places.
        let lock = self.lock_file("order.lock")?;
        lock.lock().context("cannot lock the spool")?;
        let waiting = self.waiting()?;
        if waiting.len() >= self.limit {
            bail!("{} reports are waiting in {} already", waiting.len(), self.folder.display());
        }
        let name = format!("{:020}.{WAITING}", next_place(waiting.last()));
        let fresh = self.folder.join(format!(".{name}"));
        let mut file =
            File::create(&fresh).with_context(|| format!("cannot write into {}", self.folder.display()))?;
        file.write_all(&serde_json::to_vec(report)?)?;
        file.sync_all()?;
        fs::rename(&fresh, self.folder.join(name))?;
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }

    /// Becomes the one that delivers, waiting a while for another that does.
    ///
    /// # Errors
    /// When another still delivers after `patience`, or the folder cannot be written.
    pub fn deliver_alone(&self, patience: Duration) -> anyhow::Result<Delivering> {
        let lock = self.lock_file("deliver.lock")?;
        let begun = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Delivering { _lock: lock }),
                Err(TryLockError::WouldBlock) if begun.elapsed() < patience => std::thread::sleep(LOCK_POLL),
                Err(TryLockError::WouldBlock) => bail!("another push is still delivering"),
                Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the spool"),
            }
        }
    }

    /// Delivers what waits, oldest first, until all is delivered or the hub takes no more; says what is left.
    /// A report the hub refuses for good is dropped, and a file that is no report is put aside as `*.unreadable`:
    /// neither may hold up those behind it. One about a commit that the hub cannot have now holds up its own repo's only.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub async fn deliver(&self, hub: &Hub, _alone: &Delivering) -> anyhow::Result<Left> {
        let waiting = self.waiting()?;
        let mut left = Left::default();
        for (done, path) in waiting.iter().enumerate() {
            let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let Ok(report) = serde_json::from_slice::<PushReport>(&text) else {
                let aside = path.with_extension("unreadable");
                say(&format!(
                    "grange: a kept push report cannot be read; it is put aside as {}",
                    aside.display()
                ));
                fs::rename(path, aside)?;
                continue;
            };
            if left.repos.contains(&report.repo) {
                left.reports += 1;
                continue;
            }
            match hub.report(&report).await {
                Ok(_) => {}
                Err(NoAnswer::Later(said)) => {
                    say(&format!("grange: a push to {} is still waiting: {said}", report.repo));
                    left.reports += 1;
                    left.repos.insert(report.repo);
                    continue;
                }
                Err(NoAnswer::Refused(said)) => say(&format!(
                    "grange: an earlier push to {} by {} was refused by the hub: {said}",
                    report.repo, report.pusher
                )),
                Err(NoAnswer::Away(_) | NoAnswer::Unknown(_)) => {
                    left.reports += waiting.len() - done;
                    left.is_away = true;
                    return Ok(left);
                }
            }
            fs::remove_file(path)?;
        }
        Ok(left)
    }

    fn lock_file(&self, name: &str) -> anyhow::Result<File> {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.folder.join(name))
            .with_context(|| format!("cannot write into {}", self.folder.display()))
    }
}

/// The time in nanoseconds, or the place after the last one where a clock has gone back: order is kept either way.
fn next_place(last: Option<&PathBuf>) -> u64 {
    let last: Option<u64> = last
        .and_then(|path| path.file_stem())
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    u64::try_from(now).unwrap_or(u64::MAX).max(last.map_or(0, |last| last.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(repo: &str) -> PushReport {
        PushReport { repo: repo.into(), pusher: "ada".into(), updates: Vec::new() }
    }

    #[test]
    fn reports_wait_in_the_order_in_which_they_came() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path(), 100);
        // A clock that was wrong yesterday must not put today's push before yesterday's.
        fs::write(folder.path().join(format!("{:020}.report", u64::MAX - 100)), "{}").unwrap();
        for number in 0..20 {
            spool.keep(&report(&format!("rpms/p{number}"))).unwrap();
        }
        let kept: Vec<String> = spool.waiting().unwrap()[1..]
            .iter()
            .map(|path| serde_json::from_slice::<PushReport>(&fs::read(path).unwrap()).unwrap().repo)
            .collect();
        assert_eq!(kept, (0..20).map(|number| format!("rpms/p{number}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_spool_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path(), 2);
        spool.keep(&report("rpms/a")).unwrap();
        spool.keep(&report("rpms/b")).unwrap();
        assert!(spool.keep(&report("rpms/c")).unwrap_err().to_string().contains("2 reports are waiting"));
        assert_eq!(spool.waiting().unwrap().len(), 2);
    }

    #[test]
    fn one_process_delivers_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path(), 2);
        let first = spool.deliver_alone(Duration::ZERO).unwrap();
        assert!(spool.deliver_alone(Duration::from_millis(30)).is_err());
        drop(first);
        assert!(spool.deliver_alone(Duration::ZERO).is_ok());
    }
}

//! Logs of attempts: files below `<data>/logs`, appended to at an exact offset, and followed while they grow.
//!
//! Whoever follows is woken by this process when it appends, and looks by itself every [`LOOK`] besides, because another
//! process may be the one that appends.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use farm::api::LogView;
use farm::ids::JobId;
use tokio::sync::broadcast;

use crate::files::blocking;
use crate::state::Hub;

/// How often a follower looks by itself.
pub const LOOK: Duration = Duration::from_millis(150);
/// Most bytes a follower is given at once; a longer line is cut.
const PIECE: u64 = 64 * 1024;
/// Wake-ups a slow follower may lag behind; it looks by itself then.
const DEPTH: usize = 256;
/// The order in which an attempt writes its logs.
const ORDER: [&str; 5] = ["state.log", "root.log", "srpm.log", "build.log", "test.log"];

static GROWN: LazyLock<broadcast::Sender<Arc<Path>>> = LazyLock::new(|| broadcast::Sender::new(DEPTH));

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is there; the log has this size now.
    Yes(u64),
    /// The log has another size than the writer believed: this one.
    Elsewhere(u64),
    /// The log would become larger than it may.
    Full,
}

/// Complete lines of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// Their text, without the last line's end.
    pub text: String,
    /// The byte after them: where to go on.
    pub offset: u64,
}

/// Is this a log's name: lower-case letters, then `.log`?
#[must_use]
pub fn is_log_name(text: &str) -> bool {
    text.len() <= 40
        && text
            .strip_suffix(".log")
            .is_some_and(|stem| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// Appends to a log if it has exactly `offset` bytes. The caller has checked the name and that the writer may.
///
/// # Errors
/// When the disk refuses.
pub async fn append(path: PathBuf, offset: u64, bytes: Vec<u8>, max: u64) -> io::Result<Appended> {
    blocking(move || {
        let appended = append_now(&path, offset, &bytes, max)?;
        let _nobody_follows = GROWN.send(path.into());
        Ok(appended)
    })
    .await
}

fn append_now(path: &Path, offset: u64, bytes: &[u8], max: u64) -> io::Result<Appended> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // A log begins at its beginning: who is not let begin another has no other way to one.
    let mut file = match File::options().create(offset == 0).append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Appended::Elsewhere(0)),
        opened => opened?,
    };
    // The same piece may come twice at once, to two processes even, when the first answer is late.
    file.lock()?;
    let size = file.metadata()?.len();
    if size != offset {
        return Ok(Appended::Elsewhere(size));
    }
    let grown = size + bytes.len() as u64;
    if grown > max {
        return Ok(Appended::Full);
    }
    file.write_all(bytes)?;
    Ok(Appended::Yes(grown))
}

/// The logs of an attempt, in the order in which they are written.
pub async fn list(hub: &Hub, job: JobId, turn: u32) -> Vec<LogView> {
    let folder = hub.log_path(job, turn, "");
    blocking(move || {
        let mut logs: Vec<LogView> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok().filter(|name| is_log_name(name))?;
                Some(LogView { size: entry.metadata().ok()?.len(), name })
            })
            .collect();
        let place = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
        logs.sort_by(|a, b| (place(&a.name), &a.name).cmp(&(place(&b.name), &b.name)));
        logs
    })
    .await
}

/// A log's size; `None` when nothing was written yet.
///
/// # Errors
/// When the disk refuses.
pub async fn size(path: &Path) -> io::Result<Option<u64>> {
    match tokio::fs::metadata(path).await {
        Ok(meta) => Ok(Some(meta.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Tells followers of an attempt's logs that something about it changed: it has ended, perhaps.
pub fn stir(hub: &Hub, job: JobId, turn: u32) {
    let _nobody_follows = GROWN.send(hub.log_path(job, turn, "").into());
}

/// Reads a log while it grows.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    offset: u64,
    heard: broadcast::Receiver<Arc<Path>>,
}

impl Follower {
    /// Begins at a byte.
    #[must_use]
    pub fn new(path: PathBuf, offset: u64) -> Self {
        Self { path, offset, heard: GROWN.subscribe() }
    }

    /// The next complete lines, if they are there. With `rest` also what stands behind the last line's end: for when
    /// nothing will be added any more.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn read(&mut self, rest: bool) -> io::Result<Option<Lines>> {
        let (path, offset) = (self.path.clone(), self.offset);
        let bytes = blocking(move || read_piece(&path, offset)).await?;
        let is_long = bytes.len() as u64 == PIECE;
        let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None if rest || is_long => bytes.len(),
            None => 0,
        };
        let end = if rest && !is_long { bytes.len() } else { end };
        if end == 0 {
            return Ok(None);
        }
        self.offset += end as u64;
        let text = String::from_utf8_lossy(&bytes[..end]);
        let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
        Ok(Some(Lines { text, offset: self.offset }))
    }

    /// Waits until the log may have grown.
    pub async fn wait(&mut self) {
        let path = self.path.clone();
        let heard = async {
            // Falling behind is as good a reason to look as being told.
            while let Ok(grown) = self.heard.recv().await {
                if path.starts_with(&*grown) {
                    break;
                }
            }
        };
        let _looks_either_way = tokio::time::timeout(LOOK, heard).await;
    }
}

fn read_piece(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(PIECE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_logs() {
        assert!(["state.log", "root.log", "build.log", "test.log"].into_iter().all(is_log_name));
        let long = format!("{}.log", "a".repeat(60));
        for bad in
            ["", ".log", "../x.log", "Build.log", "a.b.log", "build.txt", "build.log/x", "b1.log", &long]
        {
            assert!(!is_log_name(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_piece_is_appended_exactly_where_it_belongs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1/build.log");
        let put = |offset, text: &str| append(path.clone(), offset, text.as_bytes().to_vec(), 10);
        assert_eq!(put(1, "hello").await.unwrap(), Appended::Elsewhere(0));
        assert!(!path.exists(), "a log that does not begin at its beginning is not begun");
        assert_eq!(put(0, "hello").await.unwrap(), Appended::Yes(5));
        assert_eq!(put(0, "hello").await.unwrap(), Appended::Elsewhere(5));
        assert_eq!(put(9, "hello").await.unwrap(), Appended::Elsewhere(5));
        assert_eq!(put(5, "hello!").await.unwrap(), Appended::Full);
        assert_eq!(put(5, "world").await.unwrap(), Appended::Yes(10));
        assert_eq!(std::fs::read(&path).unwrap(), b"helloworld");
    }

    #[tokio::test]
    async fn a_follower_gets_every_line_once_and_the_rest_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("build.log");
        let mut follower = Follower::new(path.clone(), 0);
        assert_eq!(follower.read(false).await.unwrap(), None);
        append(path.clone(), 0, b"one\ntwo\nthr".to_vec(), 99).await.unwrap();
        let lines = follower.read(false).await.unwrap().unwrap();
        assert_eq!((lines.text.as_str(), lines.offset), ("one\ntwo", 8));
        assert_eq!(follower.read(false).await.unwrap(), None);
        follower.wait().await;
        append(path.clone(), 11, b"ee".to_vec(), 99).await.unwrap();
        let lines = follower.read(true).await.unwrap().unwrap();
        assert_eq!((lines.text.as_str(), lines.offset), ("three", 13));
        assert_eq!(follower.read(true).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("build.log");
        append(path.clone(), 0, vec![b'x'; 100_000], 200_000).await.unwrap();
        let mut follower = Follower::new(path, 0);
        assert_eq!(follower.read(false).await.unwrap().unwrap().offset, PIECE);
        assert_eq!(follower.read(false).await.unwrap(), None);
        assert_eq!(follower.read(true).await.unwrap().unwrap().offset, 100_000);
    }
}

//! Getting files from outside, bounded and verified.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use reqwest::header::{ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode};

use super::place::Place;
use super::sink::{Sink, bounded};
use crate::closure::repomd::Index;

const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(30);
const REPOMD_PATIENCE: Duration = Duration::from_secs(60);
const INDEX_PATIENCE: Duration = Duration::from_secs(10 * 60);
const MOST_REDIRECTS: usize = 5;
/// Bytes of a `repomd.xml`; that of a distribution has some thousands.
const LARGEST_REPOMD: u64 = 4 << 20;
/// What a repo showed is kept for so long after it shows something else: a check may be at it.
const KEEP: Duration = Duration::from_secs(3 * 24 * 3600);
const CHUNK: usize = 128 * 1024;

/// A `repomd.xml`, and what to ask its server with the next time.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    tags: HeaderMap,
}

/// Fetches over HTTP, or from disk.
#[derive(Default)]
pub(super) struct Wire {
    http: OnceLock<Client>,
}

impl Wire {
    /// The client. It is made when it is first needed: a farm without repos on the web needs none.
    fn http(&self) -> io::Result<&Client> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let http = Client::builder()
            .connect_timeout(CONNECT_PATIENCE)
            .read_timeout(SILENCE)
            .redirect(Policy::custom(follow))
            .user_agent(concat!("grange/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(io::Error::other)?;
        Ok(self.http.get_or_init(|| http))
    }

    /// The repo's `repomd.xml`. A server that says it is the one already `known` is believed.
    pub(super) async fn repomd(&self, place: &Place, known: Option<&Fetched>) -> io::Result<Fetched> {
        const HREF: &str = "repodata/repomd.xml";
        let url = match place {
            Place::Folder(folder) => {
                let mut bytes = Vec::new();
                Place::file(folder, HREF)?.take(LARGEST_REPOMD + 1).read_to_end(&mut bytes)?;
                bounded(bytes.len() as u64, LARGEST_REPOMD)?;
                return Ok(Fetched { bytes, tags: HeaderMap::new() });
            }
            Place::Web(url) => url.join(HREF).map_err(io::Error::other)?,
        };
        let mut call = self.http()?.get(url).timeout(REPOMD_PATIENCE);
        if let Some(known) = known {
            call = call.headers(known.tags.clone());
        }
        let mut answer = call.send().await.map_err(said)?;
        if let (StatusCode::NOT_MODIFIED, Some(known)) = (answer.status(), known) {
            return Ok(known.clone());
        }
        succeeded(&answer)?;
        let mut tags = HeaderMap::new();
        for (told, asked) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = answer.headers().get(told) {
                tags.insert(asked, value.clone());
            }
        }
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(said)? {
            bounded((bytes.len() + part.len()) as u64, LARGEST_REPOMD)?;
            bytes.extend_from_slice(&part);
        }
        Ok(Fetched { bytes, tags })
    }

    /// Makes sure that an index is in `shelf`, and is what it should be. Answers where.
    pub(super) async fn keep(
        &self,
        place: &Place,
        index: &Index,
        shelf: &Path,
        name: &str,
    ) -> io::Result<PathBuf> {
        let kept = shelf.join(name);
        if kept.is_file() {
            return Ok(kept);
        }
        std::fs::create_dir_all(shelf)?;
        let mut sink = Sink::new(shelf, index)?;
        match place {
            Place::Folder(folder) => {
                let (href, folder) = (index.href.clone(), folder.clone());
                sink = tokio::task::spawn_blocking(move || {
                    let mut file = Place::file(&folder, &href)?;
                    let mut chunk = vec![0; CHUNK];
                    loop {
                        let count = file.read(&mut chunk)?;
                        let Some(part) = chunk.get(..count).filter(|part| !part.is_empty()) else { break };
                        sink.write(part)?;
                    }
                    Ok::<_, io::Error>(sink)
                })
                .await
                .map_err(io::Error::other)??;
            }
            Place::Web(url) => {
                let url = url.join(&index.href).map_err(io::Error::other)?;
                let mut answer = self.http()?.get(url).timeout(INDEX_PATIENCE).send().await.map_err(said)?;
                succeeded(&answer)?;
                while let Some(part) = answer.chunk().await.map_err(said)? {
                    sink.write(&part)?;
                }
            }
        }
        sink.finish(&kept)?;
        Ok(kept)
    }
}

/// Redirects lead to the web only, and never from a safe line to an open one.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_safe = attempt.previous().iter().any(|url| url.scheme() == "https");
    let is_allowed = match attempt.url().scheme() {
        "https" => true,
        "http" => !was_safe,
        _ => false,
    };
    if !is_allowed {
        attempt.error("it is redirected to where no repo may be")
    } else if attempt.previous().len() > MOST_REDIRECTS {
        attempt.error("it is redirected again and again")
    } else {
        attempt.follow()
    }
}

/// Removes what the repo showed long ago.
pub(super) fn tidy(shelf: &Path) {
    let Some(folder) = shelf.parent() else { return };
    let Ok(others) = std::fs::read_dir(folder) else { return };
    for other in others.filter_map(Result::ok).filter(|other| other.path() != shelf) {
        let changed = other.metadata().and_then(|metadata| metadata.modified());
        let is_old = changed
            .is_ok_and(|changed| SystemTime::now().duration_since(changed).is_ok_and(|age| age > KEEP));
        // What cannot be removed now is tried again the next time.
        if is_old && std::fs::remove_dir_all(other.path()).is_err() {
            tracing::debug!(path = %other.path().display(), "old metadata of a repo cannot be removed");
        }
    }
}

fn succeeded(answer: &Response) -> io::Result<()> {
    let status = answer.status();
    if status == StatusCode::OK {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} answers {status}", answer.url())))
    }
}

/// An error with all its causes: the outermost says little.
fn said(error: reqwest::Error) -> io::Error {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    io::Error::other(text)
}

//! Repos outside the farm: what is in them now, and what their packages say, for checks and for whoever watches them.
//!
//! Nothing of it is trusted. An address is `file://`, `http://` or `https://` and nothing else; `file://` must lie below a
//! configured folder, as on builders. Every file has a bound, and is what the repo's `repomd.xml` says by size and
//! checksum, or is refused. What was fetched is kept in `<data>/external/<address>/<digest of repomd.xml>/`.

mod fetch;
mod place;
mod sink;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use farm::arch::Arch;
use farm::digest::Digest;

use crate::closure::repomd::Repomd;
use crate::closure::{Cache, Layer, RepoData};
use crate::problem::{Answer, Problem};
use fetch::{Fetched, Wire};
use place::Place;

/// Where below the data folder it is kept.
const FOLDER: &str = "external";
/// What indexes are called there.
const PRIMARY: &str = "primary";
const FILELISTS: &str = "filelists";

/// What a repo shows at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The digest of its `repomd.xml`: another one is another content.
    pub digest: Digest,
    /// The revision it gives itself; most often seconds since 1970. For people: nothing makes it rise.
    pub revision: String,
    /// Does it say which files its packages have?
    pub has_filelists: bool,
}

/// A check needs the filelists of a repo, and they were not read.
#[derive(Debug, thiserror::Error)]
#[error("the repo's filelists were not read")]
pub struct Unread;

/// Reads repos outside the farm. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct Outside(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    file_repos: Vec<PathBuf>,
    wire: Arc<Wire>,
    cache: Cache,
    /// What was last seen at each address; held while somebody looks there.
    known: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Fetched>>>>>,
}

impl Outside {
    /// A reader that keeps its files below `data`, and what it read in `cache`. `file_repos` are the folders below which
    /// `file://` repos may lie.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(data: &Path, file_repos: &[PathBuf], cache: Cache) -> anyhow::Result<Self> {
        let folder = data.join(FOLDER);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (file_repos, wire) = (file_repos.to_vec(), Arc::new(Wire::default()));
        Ok(Self(Arc::new(Inner { folder, file_repos, wire, cache, known: Mutex::default() })))
    }

    /// What the repo shows now. An unchanged one costs a short question.
    ///
    /// # Errors
    /// [`Problem::Invalid`] when it must not be read, [`Problem::Unavailable`] when it cannot be now.
    pub async fn current(&self, baseurl: &str, arch: Arch) -> Answer<State> {
        let (_, fetched) = self.look(baseurl, arch).await?;
        let repomd = Repomd::parse(&fetched.bytes).map_err(|error| unusable(baseurl, &error))?;
        Ok(state(&fetched, &repomd))
    }

    /// Reads the repo: its main index, and with `deep` its filelists, which few checks ask for. What is on disk is not fetched
    /// again. From then on [`Outside::kept`] has it.
    ///
    /// # Errors
    /// As [`Outside::current`]; also when the repo changed in the middle, which passes.
    pub async fn read(&self, baseurl: &str, arch: Arch, deep: bool) -> Answer<State> {
        let (place, fetched) = self.look(baseurl, arch).await?;
        let unusable = |error: io::Error| self::unusable(baseurl, &error);
        let repomd = Repomd::parse(&fetched.bytes).map_err(unusable)?;
        let state = state(&fetched, &repomd);
        let shelf = self.0.folder.join(place.key()).join(state.digest.as_str());
        self.0.wire.keep(&place, &repomd.primary, &shelf, PRIMARY).await.map_err(unusable)?;
        if let Some(filelists) = repomd.filelists.as_ref().filter(|_| deep) {
            self.0.wire.keep(&place, filelists, &shelf, FILELISTS).await.map_err(unusable)?;
        }
        fetch::tidy(&shelf);
        // Whoever needs it finds it in the cache.
        self.kept(&state, 0).await.map_err(unusable)?;
        Ok(state)
    }

    /// What was [read](Outside::read) of a repo in this state, as a layer of a check. Nothing is fetched for it: a check that
    /// asks for filelists that were not read ends with [`Unread`].
    ///
    /// # Errors
    /// When it is not on disk any more.
    pub async fn kept(&self, state: &State, priority: u32) -> io::Result<Layer> {
        let (cache, folder, state) = (self.0.cache.clone(), self.0.folder.clone(), state.clone());
        let read = move || {
            cache.get_or_read(state.digest.as_str(), || {
                let primary = find(&folder, &state.digest, PRIMARY)?.ok_or(io::ErrorKind::NotFound)?;
                let (digest, folder) = (state.digest.clone(), folder.clone());
                let open = move || -> io::Result<Box<dyn Read + Send>> {
                    if !state.has_filelists {
                        return Err(io::Error::other("the repo has no filelists"));
                    }
                    let kept = find(&folder, &digest, FILELISTS)?;
                    Ok(Box::new(File::open(kept.ok_or_else(|| io::Error::other(Unread))?)?))
                };
                Ok(RepoData::read(File::open(primary)?)?.with_filelists(Box::new(open)))
            })
        };
        let data = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        Ok(Layer { priority, data })
    }

    async fn look(&self, baseurl: &str, arch: Arch) -> Answer<(Place, Fetched)> {
        let place = Place::of(baseurl, arch, &self.0.file_repos).map_err(|what| {
            Problem::invalid(
                what,
                "correct the SIG's template, or add the folder to file_repos in the hub's configuration",
            )
        })?;
        let known = {
            let mut all = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(place.key()).or_default().clone()
        };
        let mut known = known.lock().await;
        let fetched = self.0.wire.repomd(&place, known.as_ref()).await;
        let fetched = fetched.map_err(|error| unusable(baseurl, &error))?;
        *known = Some(fetched.clone());
        Ok((place, fetched))
    }
}

fn state(fetched: &Fetched, repomd: &Repomd) -> State {
    State {
        digest: Digest::of(&fetched.bytes),
        revision: repomd.revision.clone(),
        has_filelists: repomd.filelists.is_some(),
    }
}

/// Where an index is kept, at whichever address the repo was read in this state: the digest says what is in it.
fn find(folder: &Path, digest: &Digest, name: &str) -> io::Result<Option<PathBuf>> {
    for address in std::fs::read_dir(folder)? {
        let kept = address?.path().join(digest.as_str()).join(name);
        if kept.is_file() {
            return Ok(Some(kept));
        }
    }
    Ok(None)
}

fn unusable(baseurl: &str, error: &io::Error) -> Problem {
    Problem::unavailable(
        format!("the repo outside at {baseurl} cannot be read: {error}"),
        "wait until it can be, or correct its address in the SIG's template",
    )
}

#[cfg(test)]
mod tests;

//! Roots that are kept: what a build's needs were installed in once, for the next build that needs the same.
//!
//! # What may be shared, and with whom
//! A root is made by the package manager, as root, of packages from the repos its recipe names, and their scriptlets
//! run in it. Who can put a package into one of those repos decides what is in the root, whether it is kept or made
//! anew; so far nothing is lost by sharing it. But the source package is read by the same package manager, and a repo
//! on the network can say something else to everybody who asks. So a root is used again only within the circle that
//! [`Sharing`] names: one target, and apart from it that target's scratch builds, which are made of anybody's sources.
//! What happens in a build never reaches a root: builds see it read-only.
//!
//! # When a root is used again
//! If its [`Ground`] is the same: the base image (by content), the architecture, what the source package requires, the
//! repos with their priorities, the content of those outside the farm (by the checksum of their metadata, fetched anew
//! for each build), and of the farm's own snapshots those packages that bear on the root (see [`bearing`]). The lock
//! says what is in it; the same lock under another ground is the same root.
//!
//! # What is on disk
//! `<id>.json` is the promise that the engine's image is to be kept; it comes into being by a rename when image and
//! `<id>.names` are there, and is removed before them. An image that no promise names is a leftover like any other.

pub(crate) mod bearing;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use farm::buildroot::Lock;
use farm::digest::Digest;
use farm::recipe::Sharing;
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, ImageFacts, ImageId, Kept};

use bearing::Names;

/// Grounds that are remembered of one root; the oldest is forgotten for a new one.
const MOST_GROUNDS: usize = 16;

/// Why a root came out as it did: a build with the same gets the same root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ground {
    /// Over everything that must be equal.
    pub(crate) exact: Digest,
    /// The farm's own repos, by name.
    pub(crate) snapshots: BTreeMap<String, Seen>,
}

/// A snapshot, as a root depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Over all of its packages.
    pub(crate) packages: Digest,
    /// Over those that bear on the root; `None` if that is not known.
    pub(crate) bearing: Option<Digest>,
}

/// A root that is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Shelved {
    image: String,
    /// Bytes of the image with everything it was made from: a damaged one has another size.
    whole: u64,
    /// Bytes it alone takes.
    bytes: u64,
    lock: Lock,
    /// The root it was made from, when a build found out needs step by step.
    parent: Option<Digest>,
    grounds: Vec<Ground>,
}

/// The kept roots of one builder.
#[derive(Debug)]
pub(crate) struct Roots {
    builder: String,
    folder: PathBuf,
    limit: u64,
    index: Arc<Mutex<Index>>,
}

#[derive(Debug, Default)]
struct Index {
    clock: u64,
    roots: HashMap<Digest, Entry>,
    /// Images that should be gone, and were not when it was tried.
    doomed: Vec<ImageId>,
}

#[derive(Debug)]
struct Entry {
    root: Shelved,
    used: u64,
    pins: u32,
}

/// A kept root in use: it is not removed before this is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    id: Digest,
    image: ImageFacts,
    lock: Lock,
    index: Arc<Mutex<Index>>,
}

impl Pin {
    pub(crate) fn id(&self) -> &Digest {
        &self.id
    }
    pub(crate) fn image(&self) -> &ImageFacts {
        &self.image
    }
    pub(crate) fn lock(&self) -> &Lock {
        &self.lock
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(entry) = locked(&self.index).roots.get_mut(&self.id) {
            entry.pins = entry.pins.saturating_sub(1);
        }
    }
}

/// A root that was just made.
#[derive(Debug)]
pub(crate) struct Fresh<'a> {
    pub(crate) sharing: &'a Sharing,
    pub(crate) image: ImageFacts,
    /// Bytes it takes beyond those of what it was made from.
    pub(crate) bytes: u64,
    pub(crate) lock: Lock,
    pub(crate) parent: Option<Digest>,
    pub(crate) ground: Ground,
    /// The names that play a part in it, a name a line.
    pub(crate) names: String,
}

impl Roots {
    /// Opens what the builder of this name keeps in `folder`, which is made if it is not there, and lets all roots take
    /// `limit` bytes; no root is kept if that is 0.
    pub(crate) fn open(builder: &str, folder: PathBuf, limit: u64) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut found = Vec::new();
        for (path, id, root) in promises(&folder)? {
            match root.filter(|_| limit > 0) {
                Some(root) => found.push((path.metadata()?.modified()?, id, root)),
                None => remove(&path)?,
            }
        }
        found.sort_by_key(|(used, ..)| *used);
        let mut index = Index::default();
        for (_, id, root) in found {
            index.enter(id, root);
        }
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            // Names without a promise, and what was half written.
            if id_of(&path).is_none_or(|id| !index.roots.contains_key(&id)) {
                remove(&path)?;
            }
        }
        Ok(Self { builder: builder.to_owned(), folder, limit, index: Arc::new(Mutex::new(index)) })
    }

    /// Is anything kept at all?
    pub(crate) fn are_kept(&self) -> bool {
        self.limit > 0
    }

    /// The images that must outlive their attempts.
    pub(crate) fn kept(&self) -> Kept {
        self.index().roots.values().map(|entry| ImageId(entry.root.image.clone())).collect()
    }

    /// Drops the promises of images that are gone.
    pub(crate) async fn recount(&self, engine: &Engine) {
        let mut all: Vec<(u64, Digest)> =
            self.index().roots.iter().map(|(id, entry)| (entry.used, id.clone())).collect();
        // A look counts as a use: in this order it changes nothing about which was used last.
        all.sort_unstable_by_key(|(used, _)| *used);
        for (_, id) in all {
            drop(self.take(engine, &id).await);
        }
        self.make_room(engine).await;
    }

    /// The roots that fit as far as everything that must be equal goes, the one used last first, with what they were
    /// made of otherwise.
    pub(crate) fn candidates(&self, exact: &Digest) -> Vec<(Digest, Ground)> {
        let index = self.index();
        let mut found: Vec<(u64, Digest, Ground)> = index
            .roots
            .iter()
            .flat_map(|(id, entry)| {
                let grounds = entry.root.grounds.iter().filter(|ground| ground.exact == *exact);
                grounds.map(|ground| (entry.used, id.clone(), ground.clone()))
            })
            .collect();
        found.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        found.into_iter().map(|(_, id, ground)| (id, ground)).collect()
    }

    /// The names that play a part in a root.
    pub(crate) fn names(&self, id: &Digest) -> io::Result<Names> {
        Ok(bearing::names(&std::fs::read_to_string(self.path(id, "names"))?))
    }

    /// Takes a root in use, if the engine still has its image, whole.
    pub(crate) async fn take(&self, engine: &Engine, id: &Digest) -> Option<Pin> {
        // Pinned first: what is looked at must not go away meanwhile.
        let pin = self.pin(id)?;
        match engine.image(&pin.image.id.0).await {
            Ok(Some(facts)) if facts == pin.image => {
                let now = SystemTime::now();
                let touched = std::fs::File::options().append(true).open(self.path(id, "json"));
                if let Err(error) = touched.and_then(|file| file.set_modified(now)) {
                    tracing::warn!(root = id.short(), %error, "cannot note that a root was used");
                }
                Some(pin)
            }
            Ok(_) => {
                tracing::warn!(root = id.short(), image = pin.image.id.0, "a kept root is gone or damaged");
                drop(pin);
                self.forget(id);
                None
            }
            Err(error) => {
                tracing::warn!(root = id.short(), %error, "cannot look at a kept root");
                None
            }
        }
    }

    /// Keeps a root that was just made, and makes room for it; `None` if it is not to be kept, which is no harm. The
    /// image it was made as stays the attempt's own if an equal root is kept already.
    pub(crate) async fn keep(&self, engine: &Engine, fresh: Fresh<'_>) -> Option<Pin> {
        if fresh.bytes > self.limit {
            return None;
        }
        let id = identity(fresh.sharing, &fresh.lock);
        let ground = fresh.ground.clone();
        if let Some(pin) = self.take(engine, &id).await {
            let grown = self.add_ground(&id, ground);
            return grown.map_err(|error| self.not_kept(&id, &error)).ok().map(|()| pin);
        }
        let root = Shelved {
            image: fresh.image.id.0,
            whole: fresh.image.bytes,
            bytes: fresh.bytes,
            lock: fresh.lock,
            parent: fresh.parent,
            grounds: vec![ground],
        };
        let written = replace(&self.path(&id, "names"), fresh.names.as_bytes())
            .and_then(|()| replace(&self.path(&id, "json"), &serde_json::to_vec(&root)?));
        if let Err(error) = written {
            self.not_kept(&id, &error);
            return None;
        }
        self.index().enter(id.clone(), root);
        let pin = self.pin(&id);
        self.make_room(engine).await;
        pin
    }

    fn add_ground(&self, id: &Digest, ground: Ground) -> io::Result<()> {
        let mut index = self.index();
        let Some(entry) = index.roots.get_mut(id) else { return Ok(()) };
        let grounds = &mut entry.root.grounds;
        grounds.retain(|other| *other != ground);
        grounds.push(ground);
        let surplus = grounds.len().saturating_sub(MOST_GROUNDS);
        grounds.drain(..surplus);
        replace(&self.path(id, "json"), &serde_json::to_vec(&entry.root)?)
    }

    fn not_kept(&self, id: &Digest, error: &io::Error) {
        tracing::warn!(root = id.short(), folder = %self.folder.display(), %error, "cannot keep a root");
    }

    /// Removes the roots that were not used for longest, but none in use, until the rest fits.
    async fn make_room(&self, engine: &Engine) {
        loop {
            let superfluous = self.index().superfluous(self.limit);
            let Some((id, image)) = superfluous else { break };
            tracing::info!(root = id.short(), "a root makes room for others");
            self.forget(&id);
            self.index().doomed.push(image);
        }
        let doomed = std::mem::take(&mut self.index().doomed);
        for image in doomed {
            if let Err(error) = engine.remove(&self.builder, &image).await {
                tracing::info!(image = image.0, %error, "an image is still there; it is tried again later");
                self.index().doomed.push(image);
            }
        }
    }

    /// Takes the promise back.
    pub(crate) fn forget(&self, id: &Digest) {
        self.index().roots.remove(id);
        for kind in ["json", "names"] {
            if let Err(error) = remove(&self.path(id, kind)) {
                tracing::warn!(root = id.short(), %error, "cannot remove what is known of a root");
            }
        }
    }

    fn pin(&self, id: &Digest) -> Option<Pin> {
        let mut index = self.index();
        index.clock += 1;
        let now = index.clock;
        let entry = index.roots.get_mut(id)?;
        entry.pins += 1;
        entry.used = now;
        let Shelved { image, whole, lock, .. } = &entry.root;
        let (image, lock) = (ImageFacts { id: ImageId(image.clone()), bytes: *whole }, lock.clone());
        Some(Pin { id: id.clone(), image, lock, index: self.index.clone() })
    }

    fn path(&self, id: &Digest, kind: &str) -> PathBuf {
        self.folder.join(format!("{id}.{kind}"))
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        locked(&self.index)
    }
}

impl Index {
    fn enter(&mut self, id: Digest, root: Shelved) {
        self.clock += 1;
        self.roots.insert(id, Entry { root, used: self.clock, pins: 0 });
    }

    /// The root to remove next. One that another was made from goes after that.
    fn superfluous(&self, limit: u64) -> Option<(Digest, ImageId)> {
        if self.roots.values().map(|entry| entry.root.bytes).sum::<u64>() <= limit {
            return None;
        }
        let is_parent = |id: &Digest| self.roots.values().any(|entry| entry.root.parent.as_ref() == Some(id));
        let idle = self.roots.iter().filter(|(id, entry)| entry.pins == 0 && !is_parent(id));
        let (id, entry) = idle.min_by_key(|(_, entry)| entry.used)?;
        Some((id.clone(), ImageId(entry.root.image.clone())))
    }
}

/// The images that the builder with this data directory keeps.
///
/// # Errors
/// If what it has written down cannot be read.
pub fn kept_images(data: &Path) -> io::Result<Kept> {
    let roots = promises(&folder(data))?;
    Ok(roots.into_iter().filter_map(|(_, _, root)| Some(ImageId(root?.image))).collect())
}

/// Where in its data directory a builder writes down its roots.
pub(crate) fn folder(data: &Path) -> PathBuf {
    data.join("roots")
}

/// All that is written down; a root that cannot be read is none.
fn promises(folder: &Path) -> io::Result<Vec<(PathBuf, Digest, Option<Shelved>)>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "json")
            && let Some(id) = id_of(&path)
        {
            let root = serde_json::from_slice(&std::fs::read(&path)?).ok();
            found.push((path, id, root));
        }
    }
    Ok(found)
}

fn id_of(path: &Path) -> Option<Digest> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// One root for each lock in each circle.
fn identity(sharing: &Sharing, lock: &Lock) -> Digest {
    let Sharing { target, scratch, ccache_mb: _ } = sharing;
    Digest::of(format!("{target}\n{scratch}\n{}", lock.digest()).as_bytes())
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix("writing-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn locked(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

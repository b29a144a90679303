//! Repos that were read, kept for the next check.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::data::RepoData;

/// Keeps what was read, up to a number of bytes; what was not asked for the longest goes first. Cheap to clone; clones share.
#[derive(Debug, Clone)]
pub struct Cache {
    most: usize,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    clock: u64,
    repos: HashMap<String, Place>,
}

/// Held while a repo is read, so that two who want it read it once.
#[derive(Debug, Default)]
struct Place {
    used: u64,
    data: Arc<Mutex<Option<Arc<RepoData>>>>,
}

impl Cache {
    /// A cache that keeps about `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, shelf: Arc::default() }
    }

    /// The repo called `key`, which must name its content (the digest of its `repomd.xml`, a snapshot's id). It is read
    /// when it is not here, by one caller at a time: call it on a blocking thread.
    ///
    /// # Errors
    /// Those of `read`. Nothing is kept then.
    pub fn get_or_read(
        &self,
        key: &str,
        read: impl FnOnce() -> io::Result<RepoData>,
    ) -> io::Result<Arc<RepoData>> {
        let place = {
            let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
            shelf.clock += 1;
            let now = shelf.clock;
            let place = shelf.repos.entry(key.to_owned()).or_default();
            place.used = now;
            place.data.clone()
        };
        let mut held = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(data) = &*held {
            return Ok(data.clone());
        }
        let data = Arc::new(read()?);
        *held = Some(data.clone());
        drop(held);
        self.make_room();
        Ok(data)
    }

    fn make_room(&self) {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let weigh = |place: &Place| {
            let data = place.data.try_lock().ok()?;
            data.as_ref().map(|data| data.weight())
        };
        let mut by_use: Vec<(u64, String, usize)> = shelf
            .repos
            .iter()
            .filter_map(|(key, place)| Some((place.used, key.clone(), weigh(place)?)))
            .collect();
        by_use.sort_unstable();
        let mut total: usize = by_use.iter().map(|(_, _, weight)| weight).sum();
        // The newest stays even when it is too large alone.
        by_use.pop();
        for (_, key, weight) in by_use {
            if total <= self.most {
                break;
            }
            shelf.repos.remove(&key);
            total -= weight;
        }
    }
}

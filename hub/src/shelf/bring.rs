//! Putting a snapshot into the bucket, file by file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use farm::digest::Digest;

use super::files::{Files, Shelved};
use super::whole::Whole;
use super::{Shelf, ShelfError};
use crate::artifacts;
use crate::bucket::{Object, each};
use crate::files::FileError;

/// One snapshot that is being brought.
#[derive(Debug)]
pub(super) struct Bringing {
    pub(super) shelf: Shelf,
    /// What the bucket had at the beginning, by key.
    pub(super) there: HashMap<String, Object>,
    /// What was fetched back, now and before.
    pub(super) whole: Mutex<Whole>,
}

impl Bringing {
    /// Everything that a snapshot consists of.
    pub(super) async fn all(self: Arc<Self>, files: Files) -> Result<(), ShelfError> {
        let Files { claims, packages, statements, rest } = files;
        // First what says which packages it needs, so that nobody removes them.
        self.files(claims).await?;
        each(packages, |package| {
            let bringing = self.clone();
            async move { bringing.package(&package).await }
        })
        .await?;
        self.files(statements).await?;
        self.files(rest).await
    }

    async fn files(self: &Arc<Self>, files: Vec<Shelved<PathBuf>>) -> Result<(), ShelfError> {
        each(files, |file| {
            let bringing = self.clone();
            async move { bringing.file(&file).await }
        })
        .await
    }

    /// Writes down what was fetched back and is still there.
    pub(super) fn remember(&self) -> Result<(), FileError> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).write()
    }

    /// Puts a file there, unless just that is there.
    async fn file(&self, file: &Shelved<PathBuf>) -> Result<(), ShelfError> {
        if self.is_whole(file).await? {
            return Ok(());
        }
        if file.is_settled && self.with(|whole| whole.was_another(&file.key, &file.digest)) {
            return Err(ShelfError::Changed { path: file.from.clone() });
        }
        self.shelf.bucket.put(&file.key, &file.from).await?;
        self.must_be(&file.key, &file.digest).await
    }

    /// Puts a package there: the bucket has it already, under its digest.
    async fn package(&self, package: &Shelved<()>) -> Result<(), ShelfError> {
        if self.is_whole(package).await? {
            return Ok(());
        }
        let Shelved { key, digest, .. } = package;
        let (bucket, artifacts) = (&self.shelf.bucket, &self.shelf.artifacts);
        let from = artifacts::key(digest);
        if !bucket.copy(&from, key).await? {
            artifacts.secure(digest).await?;
            bucket.copy(&from, key).await?;
        }
        match self.must_be(key, digest).await {
            // What it was copied from is damaged, and the disk has it too.
            Err(ShelfError::Other { .. }) if artifacts.contains(digest) => {
                artifacts.put_anew(digest).await?;
                bucket.copy(&from, key).await?;
                self.must_be(key, digest).await
            }
            result => result,
        }
    }

    /// Is just this there already? It is fetched back, unless that was done since it was put there.
    async fn is_whole<F>(&self, wanted: &Shelved<F>) -> Result<bool, ShelfError> {
        let Some(object) = self.there.get(&wanted.key).filter(|object| object.size == wanted.size) else {
            return Ok(false);
        };
        if self.with(|whole| whole.has(object, &wanted.digest)) {
            return Ok(true);
        }
        Ok(self.is_given(&wanted.key, &wanted.digest).await?)
    }

    /// Does whoever fetches it get this?
    async fn must_be(&self, key: &str, digest: &Digest) -> Result<(), ShelfError> {
        if self.is_given(key, digest).await? {
            return Ok(());
        }
        // Nobody is to be given it.
        self.shelf.bucket.remove(key).await?;
        Err(ShelfError::Other { address: self.shelf.bucket.address().to_owned(), key: key.to_owned() })
    }

    async fn is_given(&self, key: &str, digest: &Digest) -> Result<bool, crate::bucket::BucketError> {
        let Some((_, version)) = self.shelf.bucket.digest(key).await?.filter(|(given, _)| given == digest)
        else {
            return Ok(false);
        };
        self.with(|whole| whole.note(key, digest, version));
        Ok(true)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Whole) -> T) -> T {
        work(&mut self.whole.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

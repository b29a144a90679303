//! The engine's base images: those that recipes name. Unlike what attempts leave behind they belong to no builder, and an
//! operator makes and removes them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use farm::arch::Arch;

use super::docker::Docker;
use super::{Engine, EngineError};

/// An image the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The engine's name for its content: `sha256:…`.
    pub id: String,
    /// Its references, as `name:tag`.
    pub tags: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Bytes of its content; what it shares with other images counts in each.
    pub bytes: u64,
}

/// A root file system that becomes an image of one layer.
#[derive(Debug, Clone)]
pub struct RootArchive {
    /// The uncompressed tar, on this machine's disk.
    pub tar: PathBuf,
    /// The architecture of the programs in it.
    pub arch: Arch,
    /// What the image is called, as `name:tag`.
    pub reference: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made, as RFC 3339 writes it.
    pub made: String,
}

/// The making of an image by a Dockerfile.
#[derive(Debug, Clone)]
pub struct Setup {
    /// An uncompressed tar with the `Dockerfile` at its top, and what it copies.
    pub context: Vec<u8>,
    /// What the Dockerfile starts from: its argument `BASE`.
    pub base: String,
    /// The architecture.
    pub arch: Arch,
    /// What the image is called, as `name:tag`.
    pub reference: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// May the Dockerfile's commands reach a network?
    pub network: bool,
}

impl Engine {
    /// The image of this reference or id, if there is one.
    ///
    /// # Errors
    /// If the engine did not do its part.
    pub async fn base_image(&self, reference: &str) -> Result<Option<Image>, EngineError> {
        self.keeper("inspect an image")?.base_image(reference).await
    }

    /// All images that carry this label, whatever its value. Those made from such an image carry it too.
    ///
    /// # Errors
    /// If the engine did not do its part.
    pub async fn base_images(&self, label: &str) -> Result<Vec<Image>, EngineError> {
        self.keeper("list images")?.base_images(label).await
    }

    /// Makes an image of a root file system.
    ///
    /// # Errors
    /// If the archive cannot be read, or the engine did not do its part.
    pub async fn load_root(&self, root: &RootArchive) -> Result<(), EngineError> {
        self.keeper("load an image")?.load_root(root).await
    }

    /// Makes an image by a Dockerfile, and tells `hear` what is said meanwhile. Nothing is left of a build that fails.
    ///
    /// # Errors
    /// If a command of the Dockerfile fails, or the engine did not do its part.
    pub async fn set_up(
        &self,
        setup: &Setup,
        hear: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), EngineError> {
        self.keeper("make an image")?.set_up(setup, hear).await
    }

    /// Gets an image, `name@sha256:…`, from its registry.
    ///
    /// # Errors
    /// If the registry has no such image for this architecture or cannot be reached.
    pub async fn pull(&self, image: &str, arch: Arch) -> Result<(), EngineError> {
        self.keeper("pull an image")?.pull(image, arch).await
    }

    /// Gives an image one more reference, `name:tag`, taking it from the image that had it.
    ///
    /// # Errors
    /// If there is no such image, or the engine did not do its part.
    pub async fn tag(&self, image: &str, reference: &str) -> Result<(), EngineError> {
        self.keeper("tag an image")?.tag(image, reference).await
    }

    /// Takes a reference away; the image goes with its last one, unless a container or another image needs it. Taking
    /// away what is not there is a success.
    ///
    /// # Errors
    /// If the image is in use and this was its last reference, or the engine did not do its part.
    pub async fn untag(&self, reference: &str) -> Result<(), EngineError> {
        self.keeper("remove an image")?.untag(reference).await
    }

    fn keeper(&self, doing: &'static str) -> Result<&Docker, EngineError> {
        match self {
            Engine::Docker(docker) => Ok(docker),
            Engine::Dummy(_) => Err(EngineError::Failed { doing, why: "the dummy has no images".to_owned() }),
        }
    }
}

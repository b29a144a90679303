//! The port to container engines.
//!
//! # Contract
//! - Everything may be called concurrently, for different attempts. For one attempt the calls come one after another:
//!   any number of [`Engine::run`], each followed by at most one [`Engine::commit`] of the container it returned, and
//!   [`Engine::reap`] of the attempt last.
//! - [`Engine::run`] creates a container, runs its command to the end and leaves the stopped container behind. What
//!   the command writes to standard output is appended to `output`, what it writes to standard error to `log`, every
//!   byte, in order within each. Nothing of the container is running any more when it returns, whatever it returns.
//!   When it fails there is no container either, or [`Engine::reap`] finds it.
//! - An exit code other than 0, a broken limit and a stop are ordinary answers ([`Ending`]); [`EngineError`] means
//!   that the engine did not do its part, and says nothing about the package.
//! - [`Engine::commit`] makes an image of a stopped container; [`ContainerSpec::image`] may name it afterwards, also in
//!   other attempts of the same builder, until it is removed.
//! - [`Engine::reap`] removes containers (running ones too) and committed images but those it is told to keep, and never
//!   anything that does not carry the builder's label; neither does [`Engine::remove`]. Both may be repeated, and
//!   finding nothing is a success. An image from which another was made is not removed by [`Engine::remove`].
//! - No call may be dropped half-way: a container could be left. Use the `stop` token instead.
//! - After a failure the engine may be called again at once; [`Engine::ping`] tells whether that makes sense.

mod docker;
mod dummy;
mod images;
mod profile;
mod spec;

use std::collections::HashSet;

use tokio_util::sync::CancellationToken;

pub use docker::Docker;
pub use dummy::{Dummy, Script};
pub use images::{Image, RootArchive, Setup};
pub use spec::{
    ContainerId, ContainerSpec, Ended, Ending, ImageFacts, ImageId, KILLED, Mount, Owner, Profile, Step,
};

use crate::spool::Spool;

/// Images that outlive the attempt that committed them.
pub type Kept = HashSet<ImageId>;

/// A container engine; clones share it.
#[derive(Debug, Clone)]
pub enum Engine {
    /// Docker, or Podman's service: they speak the same language.
    Docker(Docker),
    /// Runs no containers and does as it is told.
    Dummy(Dummy),
}

/// The engine did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The address is no socket the engine could be reached at.
    #[error("`{address}` is not the address of a container engine: expected unix:///path/to/socket")]
    BadAddress {
        /// What was given.
        address: String,
    },
    /// The engine has no such image for this architecture.
    #[error("the container engine has no image `{image}` for {arch}")]
    NoImage {
        /// The image asked for.
        image: String,
        /// The architecture asked for.
        arch: farm::arch::Arch,
    },
    /// The engine refused or broke off.
    #[error("the container engine failed to {doing}: {why}")]
    Failed {
        /// What it was asked to do, as a verb.
        doing: &'static str,
        /// What it said.
        why: String,
    },
    /// The container's output could not be kept.
    #[error("cannot write what the container said: {0}")]
    Spool(#[from] std::io::Error),
    /// The caller broke the contract; only the dummy finds out.
    #[error("the engine was called out of order: {0}")]
    OutOfOrder(String),
}

impl Engine {
    /// Connects to the engine that listens at `address`.
    ///
    /// # Errors
    /// [`EngineError::BadAddress`] if nothing is there. An engine that does not answer is found out by [`Engine::ping`].
    pub fn connect(address: &str) -> Result<Self, EngineError> {
        Docker::connect(address).map(Engine::Docker)
    }

    /// Does the engine answer?
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), EngineError> {
        match self {
            Engine::Docker(docker) => docker.ping().await,
            Engine::Dummy(dummy) => dummy.ping(),
        }
    }

    /// Runs one container to its end, or until `stop` is cancelled.
    ///
    /// # Errors
    /// If the engine did not do its part; see the contract.
    pub async fn run(
        &self,
        spec: &ContainerSpec,
        output: &mut Spool,
        log: &mut Spool,
        stop: &CancellationToken,
    ) -> Result<Ended, EngineError> {
        match self {
            Engine::Docker(docker) => docker.run(spec, output, log, stop).await,
            Engine::Dummy(dummy) => dummy.run(spec, output, log, stop).await,
        }
    }

    /// What the engine knows of an image, by its name or id; `None` if it has none.
    ///
    /// # Errors
    /// If the engine did not do its part.
    pub async fn image(&self, name: &str) -> Result<Option<ImageFacts>, EngineError> {
        match self {
            Engine::Docker(docker) => docker.image(name).await,
            Engine::Dummy(dummy) => dummy.image(name),
        }
    }

    /// Makes an image of a stopped container, for containers to come.
    ///
    /// # Errors
    /// If the engine did not do its part.
    pub async fn commit(&self, container: &ContainerId, owner: &Owner) -> Result<ImageId, EngineError> {
        match self {
            Engine::Docker(docker) => docker.commit(container, owner).await,
            Engine::Dummy(dummy) => dummy.commit(container, owner),
        }
    }

    /// Removes all containers of one attempt, and the images it committed but those to be kept.
    ///
    /// # Errors
    /// If something is left.
    pub async fn reap(&self, owner: &Owner, kept: &Kept) -> Result<(), EngineError> {
        match self {
            Engine::Docker(docker) => docker.reap(&owner.labels(), kept).await,
            Engine::Dummy(dummy) => {
                dummy.reap(|other| other == owner, kept);
                Ok(())
            }
        }
    }

    /// Removes all containers of a builder, and its committed images but those to be kept: what an earlier life of it
    /// left.
    ///
    /// # Errors
    /// If something is left.
    pub async fn reap_all(&self, builder: &str, kept: &Kept) -> Result<(), EngineError> {
        match self {
            Engine::Docker(docker) => docker.reap(&[Owner::builder_label(builder)], kept).await,
            Engine::Dummy(dummy) => {
                dummy.reap(|owner| owner.builder == builder, kept);
                Ok(())
            }
        }
    }

    /// Removes an image that the builder committed.
    ///
    /// # Errors
    /// If it is still there and the builder's: something is using it, or the engine did not do its part.
    pub async fn remove(&self, builder: &str, image: &ImageId) -> Result<(), EngineError> {
        match self {
            Engine::Docker(docker) => docker.remove_image(&[Owner::builder_label(builder)], image).await,
            Engine::Dummy(dummy) => dummy.remove(builder, image),
        }
    }

    /// How many containers and committed images of a builder exist, besides those to be kept.
    ///
    /// # Errors
    /// If the engine did not do its part.
    pub async fn leftovers(&self, builder: &str, kept: &Kept) -> Result<usize, EngineError> {
        match self {
            Engine::Docker(docker) => docker.leftovers(&[Owner::builder_label(builder)], kept).await,
            Engine::Dummy(dummy) => Ok(dummy.leftovers(builder, kept)),
        }
    }
}

//! Base images, made of recipes: a folder says how, and an image belongs to the content of its folder. Same files, same
//! image; a changed file makes a new one, and nothing is made twice.
//!
//! A recipe ends in two layers. The base is slow to make and changes seldom: a root that a script bootstraps, or an image
//! that a registry has. The setup, a Dockerfile on top of it, is quick.

mod build;
mod files;
mod inventory;
mod recipe;

pub use build::{Made, Order, build};
pub use inventory::{Kept, inventory, prune, superseded};
pub use recipe::{Base, RECIPE_FILE, Recipe};

/// The label with the digest of the recipe's files.
const RECIPE: &str = "org.grange.recipe";
/// The label with the digest of the files the base was made of.
const BASE: &str = "org.grange.base";
/// The label with the architecture, in rpm's words.
const ARCH: &str = "org.grange.arch";
/// The label with the time an image was made.
const MADE: &str = "org.grange.made";

/// Characters of a digest that tags show.
const SHORT: usize = 12;

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file of the recipe, or a temporary one, cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which one.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The recipe names a file that its folder does not have.
    #[error("the recipe names the file `{0}`, which is neither in its folder nor in the one it is like")]
    NoFile(String),
    /// This machine cannot run programs of the architecture.
    #[error("{0}")]
    Emulation(String),
    /// The script that makes the root failed.
    #[error("the recipe's script `{script}` failed ({status}); what it said is above")]
    Script {
        /// The script.
        script: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// The container engine did not do its part, or a command of the Dockerfile failed.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
}

impl ImageError {
    fn file(path: &std::path::Path) -> impl Fn(std::io::Error) -> ImageError {
        let path = path.display().to_string();
        move |error| ImageError::File { path: path.clone(), error }
    }
}

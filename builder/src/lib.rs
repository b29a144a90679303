//! Grange's builder: offers to containers to reports.
//!
//! It takes offers from the bus into free slots, runs their work in containers and reports over HTTP. It holds no
//! database and no signing secret: with its own secret it says that it is here and takes up offers, and all else it may
//! do with the token it made for the attempt at hand. The farm never
//! connects to it.
//!
//! The walk of one attempt is in `slot`; what each kind of work consists of is in `steps`; what may happen inside a
//! container is decided by `engine`'s profiles. Nothing that a package's code writes touches the builder's disk under
//! a name of its choosing: files leave a container as a tar stream on its standard output, which `intake` reads, and
//! log lines leave it on its standard error.

mod attempt;
mod beat;
mod cache;
mod capacity;
mod ccache;
mod check;
mod client;
mod config;
pub mod emulation;
pub mod engine;
mod halt;
mod identity;
pub mod image;
mod intake;
mod junit;
mod logs;
mod needs;
mod presence;
mod reasons;
mod roots;
mod run;
mod slot;
mod snapshot;
mod spool;
mod steps;
mod workspace;

pub use config::Config;
pub use engine::Engine;
pub use identity::Identity;
pub use roots::kept_images;
pub use run::{Parts, run};
pub use spool::Spool;

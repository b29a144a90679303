//! Grange's stories: a farm in this process that speaks its users' language, and the sample packages it builds.

mod farm;
mod packages;

pub use farm::{Farm, Options};
pub use packages::{Behaviour, Package};

//! Grange's stories: a farm in this process that speaks its users' language, and the sample packages it builds.

mod audit;
mod farm;
mod packages;
mod tools;

pub use audit::audit;
pub use farm::{Farm, Options};
pub use packages::{Behaviour, Package};
pub use tools::{programs, run_git, service};

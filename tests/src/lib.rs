//! Grange's stories: a farm in this process that speaks its users' language, and the sample packages it builds.

mod audit;
mod farm;
mod outside;
mod packages;
pub mod processes;
mod proxy;
mod services;
mod tools;
pub mod turns;
mod typical;

pub use audit::{audit, audit_tree};
pub use farm::{Farm, Options, SIGNER_BITS, demo_sig, signer};
pub use outside::outside_repo;
pub use packages::{Behaviour, Package};
pub use proxy::{Proxy, Weather};
pub use services::{on_real_services, wipe};
pub use tools::{programs, programs_beside, run_git, service};
pub use typical::typical_package;

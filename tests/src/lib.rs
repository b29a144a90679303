//! Grange's stories: a farm in this process that speaks its users' language, and the sample packages it builds.

mod audit;
mod farm;
mod faulty;
mod outside;
mod packages;
pub mod processes;
mod proxy;
mod s3;
mod services;
mod tools;
pub mod turns;
mod typical;

pub use audit::{audit, audit_tree};
pub use farm::{Farm, HOOK_MS, Options, SIG_ABOVE, SIGNER_BITS, demo_sig, signer};
pub use faulty::{Asked, Fault, FaultyLine};
pub use outside::{Mirror, outside_repo};
pub use packages::{Behaviour, Package};
pub use proxy::{Proxy, Weather};
pub use s3::S3Server;
pub use services::{on_real_services, wipe};
pub use tools::{programs, programs_beside, run_git, service};
pub use typical::typical_package;

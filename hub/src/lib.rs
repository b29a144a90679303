//! Grange's web API and pages: intake of pushes, artifacts, repos, gate and promotion.

pub mod artifacts;
pub mod config;
pub mod files;
pub mod intake;
pub mod keeper;
pub mod lookaside;
pub mod problem;
pub mod promotions;
pub mod repos;
pub mod rpms;
pub mod state;

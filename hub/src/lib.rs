//! Grange's web API and pages: intake of pushes, artifacts, repos, gate and promotion.

pub mod artifacts;
pub mod bucket;
pub mod chains;
pub mod closure;
pub mod config;
pub mod external;
mod extras;
pub mod files;
pub mod gitserver;
pub mod http;
pub mod intake;
pub mod keeper;
pub mod live;
pub mod logs;
pub mod lookaside;
pub mod metrics;
mod present;
pub mod problem;
pub mod promotions;
pub mod provenance;
pub mod repos;
pub mod rpms;
pub mod shelf;
pub mod signing;
pub mod state;
pub mod trace;
pub mod why;

pub use http::serve;

/// Runs a hub: serves its HTTP side and keeps everything unsettled moving, until `stop` becomes true.
///
/// # Errors
/// When it cannot begin to serve.
pub async fn run(
    hub: state::Hub,
    listener: tokio::net::TcpListener,
    stop: tokio::sync::watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let ((), served) = tokio::join!(keeper::run(hub.clone(), stop.clone()), serve(hub, listener, stop));
    served
}

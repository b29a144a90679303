//! How this hub fares, for proxies and for Prometheus.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::serve::Stopping;
use crate::metrics;
use crate::problem::Answer;
use crate::state::Hub;

/// The ledger gets so long to answer before the hub counts as not ready.
const ANSWER: Duration = Duration::from_secs(2);
/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process is alive.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// Can it do its work at this moment? Not when it is about to stop, or has no ledger.
pub(super) async fn ready(
    State(hub): State<Hub>,
    stopping: Option<Extension<Stopping>>,
) -> (StatusCode, String) {
    if stopping.is_some_and(|Extension(stopping)| stopping.is_told()) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    match tokio::time::timeout(ANSWER, hub.db.answers()).await {
        // A bus that is away slows a hub down but keeps it from nothing: it is no reason to send it no calls.
        Ok(Ok(())) if hub.bus.is_up() => (StatusCode::OK, "ready\n".to_owned()),
        Ok(Ok(())) => (StatusCode::OK, "ready, but the bus is away\n".to_owned()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the ledger does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the ledger does not answer\n".to_owned())
        }
        Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("the ledger does not answer within {ANSWER:?}\n"))
        }
    }
}

/// What this hub counted, and how the farm stands.
pub(super) async fn figures(State(hub): State<Hub>) -> Answer<Response> {
    let text = metrics::exposition() + &metrics::standing(&hub).await?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
}

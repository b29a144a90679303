//! A small listener that says how a process without HTTP of its own fares: `/healthz`, `/readyz` and `/metrics`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use farm::ledger::Db;
use farm::wire::Bus;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// A client gets so long for one call.
const PATIENCE: Duration = Duration::from_secs(10);
/// The ledger gets so long to answer before the process counts as not ready.
const ANSWER: Duration = Duration::from_secs(2);
/// Clients at once.
const CLIENTS: usize = 16;
/// The pause after a connection could not be taken.
const PAUSE: Duration = Duration::from_millis(100);

/// What is looked at, and where that is told.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) listen: SocketAddr,
    /// The ledger, of roles that have one.
    pub(crate) db: Option<Db>,
    /// The bus, of roles that have one.
    pub(crate) bus: Option<Bus>,
}

/// Begins to answer, until the process ends.
///
/// # Errors
/// When the address cannot be listened at.
pub(crate) async fn start(watched: Watched, stopping: watch::Receiver<bool>) -> anyhow::Result<()> {
    let listen = watched.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen at {listen}, which `metrics` names"))?;
    tracing::info!(address = %listener.local_addr().unwrap_or(listen), "metrics and health are told here");
    tokio::spawn(serve(listener, watched, stopping));
    Ok(())
}

async fn serve(listener: TcpListener, watched: Watched, stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (watched, stopping) = (watched.clone(), stopping.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(watched.clone(), stopping.clone(), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let _whoever_asked_has_gone = tokio::time::timeout(PATIENCE, connection).await;
            drop(place);
        });
    }
}

async fn answer(
    watched: Watched,
    stopping: watch::Receiver<bool>,
    request: Request<Incoming>,
) -> Result<Response<String>, Infallible> {
    let (status, text) = match request.uri().path() {
        "/healthz" => (StatusCode::OK, "alive\n".to_owned()),
        "/readyz" => match unready(&watched, &stopping).await {
            None => (StatusCode::OK, "ready\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        "/metrics" => (StatusCode::OK, hub::metrics::exposition()),
        _ => (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".to_owned()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain; version=0.0.4"));
    Ok(response)
}

/// Why the process could not do its work at this moment.
async fn unready(watched: &Watched, stopping: &watch::Receiver<bool>) -> Option<String> {
    if *stopping.borrow() {
        return Some("stopping".to_owned());
    }
    if let Some(db) = &watched.db {
        match tokio::time::timeout(ANSWER, db.answers()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Some(format!("the ledger does not answer: {error}")),
            Err(_) => return Some(format!("the ledger does not answer within {ANSWER:?}")),
        }
    }
    let is_away = watched.bus.as_ref().is_some_and(|bus| !bus.is_up());
    is_away.then(|| "the bus is away".to_owned())
}

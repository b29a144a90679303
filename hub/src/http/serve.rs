//! Takes connections and serves them until told to stop.

use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt as _;

use crate::gitserver;
use crate::state::Hub;

/// Connections at once; further ones wait to be taken.
const CONNECTIONS: usize = 4096;
/// A client gets so long to send the head of a call, and a connection may idle for so long.
const HEAD: Duration = Duration::from_secs(30);
/// The pause after a connection could not be taken, for want of file handles mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Becomes true when the hub stops: answers without an end of their own end then.
#[derive(Debug, Clone)]
pub(super) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Is it so?
    pub(super) fn is_told(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the hub stops.
    pub(super) async fn wait(&mut self) {
        let _gone_is_stopped_too = self.0.wait_for(|stop| *stop).await;
    }
}

/// Serves the hub's HTTP side on `listener` until `stop` becomes true or its sender is gone; then what is under way gets
/// a few seconds to end.
///
/// # Errors
/// When the policy file of the git hooks cannot be written at the start.
pub async fn serve(hub: Hub, listener: TcpListener, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    gitserver::write_policy(&hub).await.context("cannot write what the git hooks decide by")?;
    crate::metrics::begin();
    let leave = Duration::from_millis(hub.config.leave_ms);
    let grace = Duration::from_millis(hub.config.drain_ms);
    let router = super::router(hub).layer(Extension(Stopping(stop.clone())));
    let (cut, uncut) = watch::channel(());
    let graceful = GracefulShutdown::new();
    let slots = std::sync::Arc::new(Semaphore::new(CONNECTIONS));
    let mut gone = std::pin::pin!(async {
        told_to(&mut stop).await;
        tokio::time::sleep(leave).await;
    });
    loop {
        let slot = slots.clone().acquire_owned().await?;
        tokio::select! {
            () = &mut gone => break,
            taken = listener.accept() => match taken {
                Ok((stream, _)) => connect(router.clone(), stream, slot, &graceful, uncut.clone()),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let _ended_or_not = tokio::time::timeout(grace, graceful.shutdown()).await;
    drop(cut);
    Ok(())
}

/// Waits for the word; the guard `wait_for` gives may not be held across an await.
async fn told_to(stop: &mut watch::Receiver<bool>) {
    let _sender_gone_or_told = stop.wait_for(|stop| *stop).await.map(|_| ());
}

fn connect(
    router: Router,
    stream: TcpStream,
    slot: OwnedSemaphorePermit,
    graceful: &GracefulShutdown,
    mut uncut: watch::Receiver<()>,
) {
    let _best_effort = stream.set_nodelay(true);
    let router = router.map_request(|request: hyper::Request<Incoming>| request.map(Body::new));
    let service = TowerToHyperService::new(router);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            ended = watched => if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke off");
            },
            _ = uncut.changed() => {}
        }
        drop(slot);
    });
}

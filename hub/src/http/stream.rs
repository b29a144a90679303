//! Bodies too large to hold: read as they come, with a limit on the silence between two pieces, and sent as they are read.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use farm::digest::Digest;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// A sender that is silent for this long has gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes sent at a time.
const CHUNK: usize = 256 * 1024;
/// Bytes of a MiB.
pub(super) const MIB: u64 = 1024 * 1024;

/// A body as a reader that fails when the sender falls silent.
pub(super) fn reader(body: Body) -> impl AsyncRead + Unpin + Send {
    let pieces = body.into_data_stream().map_err(io::Error::other);
    StreamReader::new(Box::pin(unless_silent(pieces)))
}

/// The pieces, or an error when none comes for too long.
fn unless_silent<T: Send>(
    pieces: impl futures_util::Stream<Item = io::Result<T>> + Send,
) -> impl futures_util::Stream<Item = io::Result<T>> + Send {
    futures_util::stream::unfold(Box::pin(pieces), |mut pieces| async move {
        match tokio::time::timeout(SILENCE, pieces.next()).await {
            Ok(piece) => piece.map(|piece| (piece, pieces)),
            Err(_) => {
                let silent = io::Error::new(io::ErrorKind::TimedOut, "the sender fell silent");
                Some((Err(silent), pieces))
            }
        }
    })
}

/// Refuses a body that says itself that it is too large, before any of it is read.
pub(super) fn must_fit(headers: &HeaderMap, max: u64) -> Answer<()> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(size) if size > max => {
            Err(Problem::TooLarge { what: format!("the body has {size} bytes; {max} are allowed here") })
        }
        Some(_) | None => Ok(()),
    }
}

/// The body turned out to be larger than it may be, without saying so beforehand.
pub(super) fn too_large(max: u64) -> Problem {
    Problem::TooLarge { what: format!("the body has more than the {max} bytes allowed here") }
}

/// So much of a reader, as a body.
pub(super) fn body_of(reader: impl AsyncRead + Send + 'static, size: u64) -> Body {
    Body::from_stream(ReaderStream::with_capacity(reader.take(size), CHUNK))
}

/// An artifact as a download. Its content never changes, so it may be kept for ever.
pub(super) async fn artifact(hub: &Hub, digest: &Digest, name: &str) -> Answer<Response> {
    let file = hub.artifacts.read(digest).await.map_err(super::problem::of_artifact)?;
    let size = file.metadata().await?.len();
    let kind = if name.ends_with(".rpm") { "application/x-rpm" } else { "application/octet-stream" };
    Response::builder()
        .header(header::CONTENT_TYPE, kind)
        .header(header::CONTENT_LENGTH, size)
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))
        .header(header::ETAG, format!("\"{digest}\""))
        .body(body_of(file, size))
        .map_err(|error| Problem::Internal(error.into()))
}

/// A reader that fails once more than `max` bytes came through it.
pub(super) fn limited(
    reader: impl AsyncRead + Unpin + Send + 'static,
    max: u64,
) -> impl AsyncRead + Unpin + Send {
    let pieces = futures_util::stream::try_unfold(
        (ReaderStream::with_capacity(reader, CHUNK), 0_u64),
        move |(mut pieces, before)| async move {
            let Some(piece) = pieces.next().await.transpose()? else { return Ok(None) };
            let size = before + piece.len() as u64;
            if size > max {
                return Err(io::Error::other(format!("the body is larger than {max} bytes")));
            }
            Ok(Some((piece, (pieces, size))))
        },
    );
    StreamReader::new(Box::pin(pieces))
}

/// Bytes one upload may have.
pub(super) fn upload_limit(hub: &Hub) -> u64 {
    hub.config.upload_mb.saturating_mul(MIB)
}

/// The same call, whose body fails when its sender falls silent.
pub(super) fn attentive(request: Request) -> Request {
    request.map(|body| Body::from_stream(unless_silent(body.into_data_stream().map_err(io::Error::other))))
}

//! The signer's calls, shown with a token of its own. What they mean is in [`crate::signing`].

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use farm::digest::Digest;
use farm::ids::{PromotionId, SnapshotId};
use farm::signing::{Endorsement, SignerWord, SigningKey, Work};
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;

use super::auth::token_of;
use super::extract::{Json, Path, Query};
use super::problem::of_artifact;
use super::stream;
use crate::problem::{Answer, Problem};
use crate::repos::manifest::file_in;
use crate::signing::accept::{self, SignedUpload};
use crate::signing::{place, work};
use crate::state::{Hub, same_secret};

/// Bytes that an endorsement may have: the decision names every package.
pub(super) const ENDORSEMENT: usize = 256 * 1024 * 1024;

/// A signer is calling.
pub(super) struct Signer;

impl FromRequestParts<Hub> for Signer {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Answer<Self> {
        let token = token_of(&parts.headers).ok_or(Problem::Unauthenticated)?;
        if same_secret(&token, &hub.signer_token) { Ok(Signer) } else { Err(Problem::UnknownToken) }
    }
}

/// How long to wait, and for what.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    /// Milliseconds to wait for something to do.
    #[serde(default)]
    wait: u64,
    /// The list that is known already.
    seen: Option<String>,
}

/// What there is to sign. Waits until there is something else than what was seen.
#[utoipa::path(get, path = "/api/v1/signing", tag = "signing", params(Wait), responses((status = 200, body = Work)))]
pub(super) async fn work(
    State(hub): State<Hub>,
    _: Signer,
    Query(Wait { wait, seen }): Query<Wait>,
) -> Answer<Json<Work>> {
    Ok(Json(work::wait(&hub, Duration::from_millis(wait), seen.as_deref()).await?))
}

/// An artifact.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    sha256: Digest,
}

/// A package, signed or not.
#[utoipa::path(get, path = "/api/v1/signing/artifacts/{sha256}", tag = "signing",
    params(("sha256" = Digest, Path, description = "Its SHA-256")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn artifact(
    State(hub): State<Hub>,
    _: Signer,
    Path(Which { sha256 }): Path<Which>,
) -> Answer<Response> {
    stream::artifact(&hub, &sha256, &format!("{}.rpm", sha256.short())).await
}

/// A file of a staged snapshot.
#[derive(Debug, Deserialize)]
pub(super) struct WhichFile {
    id: SnapshotId,
    folder: String,
    path: String,
}

/// A file of a snapshot as the public will get it.
#[utoipa::path(get, path = "/api/v1/signing/snapshots/{id}/{folder}/{*path}", tag = "signing",
    params(("id" = SnapshotId, Path, description = "The snapshot"), ("folder" = String, Path, description = "`x86_64`"),
        ("path" = String, Path, description = "`repodata/repomd.xml`")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn staged(
    State(hub): State<Hub>,
    _: Signer,
    Path(WhichFile { id, folder, path }): Path<WhichFile>,
) -> Answer<Response> {
    let missing = || Problem::NotFound { what: format!("snapshot {id} has no staged file {folder}/{path}") };
    let file = place(&hub, id).and_then(|place| file_in(&place, &folder, &path)).ok_or_else(missing)?;
    let file = tokio::fs::File::open(file).await.map_err(|_| missing())?;
    let meta = file.metadata().await?;
    if !meta.is_file() {
        return Err(missing());
    }
    Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, meta.len())
        .body(stream::body_of(file, meta.len()))
        .map_err(|error| Problem::Internal(error.into()))
}

/// A signed package's body.
#[derive(Debug, Deserialize)]
pub(super) struct Body256 {
    body: Digest,
}

/// What a signed package is.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Signature {
    /// The promotion it was signed for.
    promotion: PromotionId,
    /// The key.
    fingerprint: String,
    /// SHA-256 of the file.
    digest: Digest,
}

/// Brings a signed package. Its header and payload must be those asked for, and its signature by a key that counts.
#[utoipa::path(put, path = "/api/v1/signing/packages/{body}", tag = "signing",
    params(("body" = Digest, Path, description = "SHA-256 of header and payload"), Signature),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "It is stored")))]
pub(super) async fn package(
    State(hub): State<Hub>,
    _: Signer,
    Path(Body256 { body }): Path<Body256>,
    Query(Signature { promotion, fingerprint, digest }): Query<Signature>,
    headers: HeaderMap,
    content: Body,
) -> Answer<StatusCode> {
    let upload = SignedUpload { promotion, body, fingerprint };
    accept::must_be_wanted(&hub, &mut hub.db.read().await?, &upload).await?;
    let most = stream::upload_limit(&hub);
    stream::must_fit(&headers, most)?;
    let stored =
        hub.artifacts.put_stream(stream::reader(content), most, Some(&digest)).await.map_err(of_artifact)?;
    tracing::trace!(target: "steps", "a signed package is stored");
    accept::package(&hub, &upload, &stored).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A snapshot.
#[derive(Debug, Deserialize)]
pub(super) struct WhichSnapshot {
    id: SnapshotId,
}

/// Brings the signatures of a staged snapshot's metadata, and the signed decision.
#[utoipa::path(put, path = "/api/v1/signing/endorsements/{id}", tag = "signing",
    params(("id" = SnapshotId, Path, description = "The snapshot")), request_body = Endorsement,
    responses((status = 204, description = "It is accepted")))]
pub(super) async fn endorse(
    State(hub): State<Hub>,
    _: Signer,
    Path(WhichSnapshot { id }): Path<WhichSnapshot>,
    Json(endorsement): Json<Endorsement>,
) -> Answer<StatusCode> {
    if endorsement.snapshot != id {
        return Err(Problem::invalid(
            format!("the address names snapshot {id}, the body {}", endorsement.snapshot),
            "name one",
        ));
    }
    accept::endorsement(&hub, endorsement).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells of the signer's public keys.
#[utoipa::path(put, path = "/api/v1/signing/keys", tag = "signing", request_body = Vec<SigningKey>,
    responses((status = 204, description = "They are published")))]
pub(super) async fn keys(
    State(hub): State<Hub>,
    _: Signer,
    Json(keys): Json<Vec<SigningKey>>,
) -> Answer<StatusCode> {
    accept::keys(&hub, keys).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says that a signer is there, and what it cannot do.
#[utoipa::path(put, path = "/api/v1/signing/word", tag = "signing", request_body = SignerWord,
    responses((status = 204, description = "It is heard")))]
pub(super) async fn word(
    State(hub): State<Hub>,
    _: Signer,
    Json(word): Json<SignerWord>,
) -> Answer<StatusCode> {
    accept::word(&hub, word).await?;
    Ok(StatusCode::NO_CONTENT)
}

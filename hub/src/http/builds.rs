//! Builds: what people call a request. List them, look at one, ask for one, stop it, repeat it.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use farm::api::{MadeRequest, NewBuild, Page, RequestView};
use farm::ids::RequestId;
use farm::ledger::RequestFilter;
use farm::recipe::Input;
use farm::request::Request;
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::extract::{Json, Path, Query};
use super::{problem, stream, view};
use crate::intake;
use crate::lookaside::is_source_file;
use crate::present::warnings;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Open or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Openness {
    /// Still at work.
    Open,
    /// Ended.
    Closed,
}

/// Which builds to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// Of this SIG.
    sig: Option<String>,
    /// Of this package.
    package: Option<String>,
    /// Of this target.
    target: Option<String>,
    /// Of this kind: `push`, `build`, `scratch`, `test`.
    kind: Option<String>,
    /// Asked for by this person.
    by: Option<String>,
    /// Open ones, or closed ones.
    #[param(inline)]
    state: Option<Openness>,
    /// Older than this one: the `next` of the page before.
    before: Option<RequestId>,
    /// At most this many, up to 200.
    limit: Option<u32>,
}

/// Builds, newest first.
#[utoipa::path(get, path = "/api/v1/builds", tag = "builds", params(Filter),
    responses((status = 200, body = Page<RequestView>)))]
pub(super) async fn list(
    State(hub): State<Hub>,
    Query(filter): Query<Filter>,
) -> Answer<Json<Page<RequestView>>> {
    let limit = view::page_size(filter.limit);
    let Filter { sig, package, target, kind, by, state, before, limit: _ } = filter;
    let open = state.map(|state| state == Openness::Open);
    let filter = RequestFilter { sig, package, target, kind, by, open, before, limit };
    let mut tx = hub.db.read().await?;
    let mut items = Vec::new();
    for request in tx.requests(&filter).await? {
        items.push(view::summary(&hub, &mut tx, request).await?);
    }
    Ok(Json(view::page(items, limit, |item| item.request.id.to_string())))
}

/// One build, with its jobs and promotions.
#[utoipa::path(get, path = "/api/v1/builds/{id}", tag = "builds",
    params(("id" = String, Path, description = "Its id, or the NVR of what it made")),
    responses((status = 200, body = RequestView)))]
pub(super) async fn show(State(hub): State<Hub>, Path(id): Path<String>) -> Answer<Json<RequestView>> {
    let request = view::find(&mut hub.db.read().await?, &id).await?;
    Ok(Json(view::full(&hub, request).await?))
}

/// Asks for a build of a commit.
#[utoipa::path(post, path = "/api/v1/builds", tag = "builds", request_body = NewBuild,
    responses((status = 202, body = MadeRequest)))]
pub(super) async fn create(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Json(new): Json<NewBuild>,
) -> Answer<(StatusCode, Json<MadeRequest>)> {
    made(&hub, intake::build(&hub, &person, new).await?).await
}

/// What a source RPM is to be built for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct SrpmFor {
    /// For this target.
    target: String,
    /// The file's name: `hello-2.10-1.el9s.src.rpm`.
    name: String,
}

/// Asks for a scratch build of a source RPM, which is the body.
#[utoipa::path(post, path = "/api/v1/builds/srpm", tag = "builds", params(SrpmFor),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 202, body = MadeRequest)))]
pub(super) async fn create_of_srpm(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Query(SrpmFor { target, name }): Query<SrpmFor>,
    headers: HeaderMap,
    body: Body,
) -> Answer<(StatusCode, Json<MadeRequest>)> {
    if !name.ends_with(".src.rpm") || !is_source_file(&name) {
        return Err(Problem::invalid(
            "the name is not a source RPM's",
            "give a name such as hello-2.10-1.src.rpm",
        ));
    }
    let community = hub.community().await?;
    let Some(project) = community.target(&target) else {
        return Err(Problem::not_found("target", target.chars().take(100).collect::<String>()));
    };
    let max = stream::upload_limit(&hub);
    stream::must_fit(&headers, max)?;
    let stored =
        hub.artifacts.put_stream(stream::reader(body), max, None).await.map_err(problem::of_artifact)?;
    let srpm = Input { name, digest: stored.digest, size: stored.size };
    made(&hub, intake::scratch_srpm(&hub, &person, project, srpm).await?).await
}

/// Stops a build.
#[utoipa::path(post, path = "/api/v1/builds/{id}/cancel", tag = "builds",
    params(("id" = String, Path, description = "Its id, or the NVR of what it made")),
    responses((status = 204, description = "It stops")))]
pub(super) async fn cancel(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let id = view::find(&mut hub.db.read().await?, &id).await?.id;
    intake::cancel(&hub, &person, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks for the same build once more.
#[utoipa::path(post, path = "/api/v1/builds/{id}/retry", tag = "builds",
    params(("id" = String, Path, description = "Its id, or the NVR of what it made")),
    responses((status = 202, body = MadeRequest)))]
pub(super) async fn retry(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Path(id): Path<String>,
) -> Answer<(StatusCode, Json<MadeRequest>)> {
    let id = view::find(&mut hub.db.read().await?, &id).await?.id;
    made(&hub, intake::retry(&hub, &person, id).await?).await
}

async fn made(hub: &Hub, request: Request) -> Answer<(StatusCode, Json<MadeRequest>)> {
    let id = request.id;
    let warnings = warnings(hub, &request.target).await?;
    Ok((StatusCode::ACCEPTED, Json(MadeRequest { id, url: hub.build_url(id), warnings })))
}

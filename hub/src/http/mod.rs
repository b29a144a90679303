//! The hub's HTTP side. [`router`] lists every address; each noun has its own file. The API's document comes from the
//! same list, so that what is served and what is documented cannot drift apart.

mod attempts;
mod auth;
mod builders;
mod builds;
mod chains;
mod checked;
mod extract;
mod git;
mod guard;
mod health;
mod jobs;
mod logs;
mod lookaside;
mod matrix;
mod metalinks;
mod openapi;
mod pages;
mod problem;
mod promotions;
mod pushes;
mod rollbacks;
mod serve;
mod signing;
mod sigs;
mod status;
mod stream;
mod targets;
mod trace;
mod trees;
mod view;
mod waivers;
mod why;
mod withdrawals;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{any, get, post};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

pub use serve::serve;

use crate::state::Hub;

/// Bytes a body may have where nothing else is said.
const BODY: usize = 1024 * 1024;

/// Every address of the hub.
pub fn router(hub: Hub) -> Router {
    let (api, document) = quick().merge(lasting()).split_for_parts();
    let document: Arc<str> = serde_json::to_string(&openapi::complete(document)).unwrap_or_default().into();
    let described = Router::new().route(openapi::PATH, get(openapi::show)).with_state(document);
    api.merge(others(&hub))
        .with_state(hub)
        .merge(described)
        .fallback(guard::no_such_address)
        .method_not_allowed_fallback(guard::no_such_verb)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn(guard::headed))
        .layer(from_fn(guard::traced))
}

/// The calls of the API that are answered at once.
fn quick() -> OpenApiRouter<Hub> {
    OpenApiRouter::with_openapi(openapi::heading())
        .routes(routes!(status::status))
        .routes(routes!(builders::list))
        .routes(routes!(builders::show, builders::remove))
        .routes(routes!(builders::wish))
        .routes(routes!(builders::presence))
        .routes(routes!(builders::enrol::enrol))
        .routes(routes!(builders::enrol::invite))
        .routes(routes!(sigs::list))
        .routes(routes!(sigs::show))
        .routes(routes!(sigs::plan))
        .routes(routes!(sigs::apply))
        .routes(routes!(targets::targets))
        .routes(routes!(targets::layers))
        .routes(routes!(targets::tags))
        .routes(routes!(targets::tag))
        .routes(routes!(targets::dot_repo))
        .routes(routes!(matrix::matrix))
        .routes(routes!(builds::list, builds::create))
        .routes(routes!(builds::show))
        .routes(routes!(builds::cancel))
        .routes(routes!(builds::retry))
        .routes(routes!(why::why))
        .routes(routes!(trace::trace))
        .routes(routes!(trace::provenance))
        .routes(routes!(chains::create))
        .routes(routes!(chains::show))
        .routes(routes!(chains::cancel))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::file))
        .routes(routes!(logs::read))
        .routes(routes!(logs::events))
        .routes(routes!(promotions::list, promotions::create))
        .routes(routes!(promotions::show))
        .routes(routes!(promotions::approve))
        .routes(routes!(promotions::withdraw))
        .routes(routes!(waivers::create))
        .routes(routes!(waivers::list))
        .routes(routes!(waivers::revoke))
        .routes(routes!(rollbacks::create))
        .routes(routes!(rollbacks::history))
        .routes(routes!(withdrawals::create))
        .routes(routes!(pushes::create))
        .routes(routes!(pushes::policy))
        .routes(routes!(attempts::claim::claim))
        .routes(routes!(attempts::step::beat))
        .routes(routes!(attempts::step::finish))
        .routes(routes!(attempts::fetch::input))
        .routes(routes!(attempts::snapshots::manifest))
        .routes(routes!(attempts::snapshots::file))
        .routes(routes!(attempts::logs::append).layer(DefaultBodyLimit::max(attempts::logs::PIECE)))
        .routes(routes!(signing::work))
        .routes(routes!(signing::artifact))
        .routes(routes!(signing::staged))
        .routes(routes!(signing::keys))
        .routes(routes!(signing::word))
        .routes(routes!(signing::endorse).layer(DefaultBodyLimit::max(signing::ENDORSEMENT)))
        .layer(from_fn(guard::timed))
}

/// The calls of the API that last as long as their body does: it may not fall silent, and has its own limit.
fn lasting() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(builds::create_of_srpm))
        .routes(routes!(attempts::files::put))
        .routes(routes!(signing::package))
}

/// What is no part of the API: pages, repos as files, git, and the lookaside in its own protocol.
fn others(hub: &Hub) -> Router<Hub> {
    let upload = usize::try_from(stream::upload_limit(hub)).unwrap_or(usize::MAX);
    Router::new()
        .route("/", get(pages::front::show))
        .route("/builds/{id}", get(pages::build::show))
        .route("/promotions/{id}", get(pages::promotion::show))
        .route("/matrix", get(pages::matrix::show))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::figures))
        .route("/assets/style.css", get(pages::style))
        .route("/assets/follow.js", get(pages::script))
        .route("/metalink", get(metalinks::show))
        .route("/repos/", get(trees::public))
        .route("/repos/{*path}", get(trees::public))
        .route("/candidate/", get(trees::candidate))
        .route("/candidate/{*path}", get(trees::candidate))
        .route("/git/{folder}/{repo}/{*service}", any(git::call))
        .route("/lookaside/upload", post(lookaside::upload).layer(DefaultBodyLimit::max(upload)))
        .route("/lookaside/pkgs/{*path}", get(lookaside::download))
}

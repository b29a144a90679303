//! What git hooks tell and ask.

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use farm::message::{Policy, PushAnswer, PushReport};
use farm::sig::template::is_repo_path;

use super::auth::Hook;
use super::extract::Json;
use crate::problem::{Answer, Problem};
use crate::state::Hub;
use crate::{gitserver, intake};

/// A git hook reports that branches moved.
///
/// The hub's own repos are named by their path, those of other git servers by their clone URL.
#[utoipa::path(post, path = "/api/v1/pushes", tag = "git", request_body = PushReport,
    responses((status = 202, body = PushAnswer)))]
pub(super) async fn create(
    State(hub): State<Hub>,
    hook: Hook,
    Json(report): Json<PushReport>,
) -> Answer<(StatusCode, Json<PushAnswer>)> {
    must_be_its_own(hook, &report.repo)?;
    // A fetch from another server may outlast the hook's patience. It goes on then, and the hook's next delivery finds it done.
    let taken_in = tokio::spawn(async move { intake::push(&hub, report).await });
    let answer = taken_in.await.context("the task that takes in a push ended early")??;
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// What the update hook decides by.
#[utoipa::path(get, path = "/api/v1/git/policy", tag = "git", responses((status = 200, body = Policy)))]
pub(super) async fn policy(State(hub): State<Hub>, _hook: Hook) -> Answer<Json<Policy>> {
    Ok(Json(gitserver::policy(&hub).await?))
}

/// A hook speaks for the repos of its own server: otherwise another server's secret would be good for pushes to ours.
fn must_be_its_own(hook: Hook, repo: &str) -> Answer<()> {
    match (hook, is_repo_path(repo), repo.contains("://")) {
        (Hook::Own, true, _) | (Hook::Foreign, false, true) => Ok(()),
        (Hook::Own, false, _) => Err(Problem::invalid(
            "the hub's own hook must name a repo's path",
            "GRANGE_REPO is a path such as rpms/hello",
        )),
        (Hook::Foreign, _, _) => Err(Problem::forbidden(
            "another git server's hook must name a clone URL",
            "set `repo-url` in grange-hooks.toml, such as \"https://git.example.org/{repo}.git\"",
        )),
    }
}

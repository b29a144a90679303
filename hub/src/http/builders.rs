//! Builders: what they say of themselves, and what operators want of them.

pub(super) mod enrol;

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use farm::api::{BuilderView, NewWish, Wished};
use farm::builder::{Builder, Wish};
use farm::digest::Digest;
use farm::ledger::{self, LedgerError, Person, Stepped};
use farm::message::{Presence, Welcome};
use std::time::Duration;

use super::auth::{Caller, token_of};
use super::extract::{Json, Path};
use super::view;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// The builder whose own secret the call shows, and which is not disabled; and the secret's digest.
pub(super) struct Known(pub(super) Builder, pub(super) Digest);

impl FromRequestParts<Hub> for Known {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Answer<Self> {
        let secret = token_of(&parts.headers).ok_or(Problem::Unauthenticated)?;
        let digest = Digest::of(secret.as_bytes());
        let builder = hub.db.glance().await?.builder_by_secret(&digest).await?;
        let builder = builder.ok_or(Problem::UnknownToken)?;
        match builder.wish {
            Wish::Work | Wish::Drain => Ok(Known(builder, digest)),
            Wish::Disabled => Err(Problem::BuilderDisabled { builder: builder.name }),
        }
    }
}

/// Refuses a builder that speaks in another's name.
pub(super) fn must_be(known: &Builder, name: &str) -> Answer<()> {
    if known.name == name {
        return Ok(());
    }
    let shown: String = name.chars().take(100).collect();
    Err(Problem::forbidden(
        format!("this is the secret of builder {}, not of {shown}", known.name),
        "each builder has its own data folder and its own enrolment",
    ))
}

/// Every builder that was ever let in.
#[utoipa::path(get, path = "/api/v1/builders", tag = "builders", responses((status = 200, body = Vec<BuilderView>)))]
pub(super) async fn list(State(hub): State<Hub>) -> Answer<Json<Vec<BuilderView>>> {
    Ok(Json(view::builders(&hub, &mut hub.db.read().await?).await?))
}

/// One builder.
#[utoipa::path(get, path = "/api/v1/builders/{name}", tag = "builders",
    params(("name" = String, Path, description = "Its name")), responses((status = 200, body = BuilderView)))]
pub(super) async fn show(State(hub): State<Hub>, Path(name): Path<String>) -> Answer<Json<BuilderView>> {
    one(&hub, &name).await.map(Json)
}

async fn one(hub: &Hub, name: &str) -> Answer<BuilderView> {
    let mut tx = hub.db.read().await?;
    let builder = tx.builder(name).await?.ok_or_else(|| missing(name))?;
    let held = tx.held_by_builder().await?.get(name).copied().unwrap_or(0);
    Ok(view::builder_with(hub, builder, held))
}

fn missing(name: &str) -> Problem {
    Problem::not_found("builder", name.chars().take(100).collect::<String>())
}

/// A builder is here, and says what it has.
///
/// Sent every few seconds with the builder's own secret. What an earlier life of it had is given to others at once.
#[utoipa::path(post, path = "/api/v1/builders/{name}/presence", tag = "builders", request_body = Presence,
    params(("name" = String, Path, description = "Its name")), responses((status = 200, body = Welcome)))]
pub(super) async fn presence(
    State(hub): State<Hub>,
    Path(name): Path<String>,
    Known(known, secret): Known,
    Json(presence): Json<Presence>,
) -> Answer<Json<Welcome>> {
    must_be(&known, &name)?;
    must_be(&known, &presence.builder)?;
    let silent = Duration::from_millis(hub.config.silent_ms);
    let mut tx = hub.db.write().await?;
    let reported = tx.report(presence, &secret, hub.now(), silent, &hub.config.patience).await?;
    // Removed, or enrolled anew elsewhere, since it was let in at the door.
    let reported = reported.ok_or(Problem::UnknownToken)?;
    tx.commit().await?;
    for Stepped { job, .. } in &reported.forgotten {
        tracing::warn!(job = %job.id, turn = job.turn, request = %job.request, builder = name,
            "a builder was restarted; the job it had is given to others");
    }
    if reported.hurry {
        hub.hurry().await;
    }
    Ok(Json(Welcome { wish: reported.builder.wish, clock: hub.now() }))
}

/// What an operator wants of a builder: that it works, drains, or is shut out.
///
/// What a disabled builder had is given to others at once, and its secret and its tokens are refused.
#[utoipa::path(put, path = "/api/v1/builders/{name}/wish", tag = "builders", request_body = NewWish,
    params(("name" = String, Path, description = "Its name")), responses((status = 200, body = Wished)))]
pub(super) async fn wish(
    State(hub): State<Hub>,
    Caller(caller): Caller,
    Path(name): Path<String>,
    Json(NewWish { wish }): Json<NewWish>,
) -> Answer<Json<Wished>> {
    must_operate(&caller)?;
    let taken = ledger::anew(|| async {
        let mut tx = hub.db.write().await?;
        if !tx.wish_of_builder(&name, wish).await? {
            return Ok(None);
        }
        let taken = match wish {
            Wish::Work | Wish::Drain => Vec::new(),
            Wish::Disabled => tx.shut_out(&name, &caller.name, hub.now(), &hub.config.patience).await?,
        };
        tx.commit().await?;
        Ok::<_, LedgerError>(Some(taken))
    });
    let taken = taken.await?.ok_or_else(|| missing(&name))?;
    tracing::info!(
        builder = name,
        wish = wish.as_str(),
        by = caller.name,
        "an operator told a builder what to do"
    );
    for Stepped { job, .. } in &taken {
        tracing::warn!(job = %job.id, turn = job.turn, request = %job.request, builder = name,
            "a job was taken from a disabled builder");
    }
    hub.hurry().await;
    let taken = taken.iter().map(|stepped| stepped.job.id).collect();
    Ok(Json(Wished { view: one(&hub, &name).await?, taken }))
}

/// Removes a builder that is gone for good, and its secret. Refused while it has jobs.
#[utoipa::path(delete, path = "/api/v1/builders/{name}", tag = "builders",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is removed")))]
pub(super) async fn remove(
    State(hub): State<Hub>,
    Caller(caller): Caller,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    must_operate(&caller)?;
    let mut tx = hub.db.write().await?;
    if !tx.remove_builder(&name).await? {
        return Err(missing(&name));
    }
    tx.commit().await?;
    tracing::info!(builder = name, by = caller.name, "a builder was removed");
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses whoever does not operate the farm.
pub(super) fn must_operate(caller: &Person) -> Answer<()> {
    if caller.admin {
        return Ok(());
    }
    Err(Problem::forbidden(
        format!("{} does not operate this farm", caller.name),
        "ask an admin; `grange person add NAME --admin` on the hub's machine makes one",
    ))
}

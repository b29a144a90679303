//! Chains: several builds asked for at once, which order themselves.

use axum::extract::State;
use axum::http::StatusCode;
use farm::api::{ChainMember, ChainView, MadeChain, NewChain, RequestView};
use farm::chain::Order;
use farm::ids::{ChainId, RequestId};
use farm::ledger::Tx;
use farm::request::{Request, Status};

use super::auth::Caller;
use super::extract::{Json, Path};
use super::view;
use crate::present::warnings;
use crate::problem::{Answer, Problem};
use crate::state::Hub;
use crate::{chains, intake};

/// Asks for builds of several commits: all are queued, or none.
#[utoipa::path(post, path = "/api/v1/chains", tag = "chains", request_body = NewChain,
    responses((status = 202, body = MadeChain)))]
pub(super) async fn create(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Json(new): Json<NewChain>,
) -> Answer<(StatusCode, Json<MadeChain>)> {
    let target = new.target.clone();
    let id = intake::chain(&hub, &person, new).await?;
    let url = format!("{}/api/v1/chains/{id}", hub.config.public_url);
    Ok((StatusCode::ACCEPTED, Json(MadeChain { id, url, warnings: warnings(&hub, &target).await? })))
}

/// A chain: its builds in their order, with the reasons.
#[utoipa::path(get, path = "/api/v1/chains/{id}", tag = "chains",
    params(("id" = ChainId, Path, description = "Its id")), responses((status = 200, body = ChainView)))]
pub(super) async fn show(State(hub): State<Hub>, Path(id): Path<ChainId>) -> Answer<Json<ChainView>> {
    let mut tx = hub.db.read().await?;
    let requests = tx.chain(id).await?;
    let Some(first) = requests.first().cloned() else { return Err(Problem::not_found("chain", id)) };
    let resolved = chains::resolved(&mut tx, id).await?;
    let now = chains::order(&mut tx, None).await?;
    let mut members = Vec::new();
    for request in sorted(requests, &resolved) {
        members.push(member(&hub, &mut tx, request, &resolved, &now).await?);
    }
    Ok(Json(ChainView {
        id,
        target: first.target,
        by: first.by,
        created: first.created,
        status: status(members.iter().map(|member| &member.build)),
        members,
    }))
}

/// Stops every build of a chain that is not over.
#[utoipa::path(post, path = "/api/v1/chains/{id}/cancel", tag = "chains",
    params(("id" = ChainId, Path, description = "Its id")), responses((status = 204, description = "They stop")))]
pub(super) async fn cancel(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Path(id): Path<ChainId>,
) -> Answer<StatusCode> {
    intake::cancel_chain(&hub, &person, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The members in the order they are built in; those of a target that is no more at the end.
fn sorted(mut requests: Vec<Request>, resolved: &Order) -> Vec<Request> {
    let places: Vec<RequestId> = resolved.listed();
    let place = |request: &Request| places.iter().position(|id| *id == request.id).unwrap_or(places.len());
    requests.sort_by_key(place);
    requests
}

async fn member(
    hub: &Hub,
    tx: &mut Tx,
    request: Request,
    resolved: &Order,
    now: &Order,
) -> Answer<ChainMember> {
    let id = request.id;
    let waits_for = if request.closed.is_none() { now.blockers(id) } else { Vec::new() };
    Ok(ChainMember {
        build: view::summary(hub, tx, request).await?,
        after: resolved.blockers(id),
        without: resolved.given_up(id),
        waits_for,
    })
}

/// How all of them together stand.
fn status<'a>(builds: impl Iterator<Item = &'a RequestView>) -> Status {
    let all: Vec<Status> = builds.map(|build| build.status).collect();
    let any = |wanted: Status| all.contains(&wanted);
    if !all.iter().all(|status| status.is_final()) {
        if any(Status::Failed) || any(Status::Failing) {
            Status::Failing
        } else if all.iter().all(|status| *status == Status::Queued) {
            Status::Queued
        } else {
            Status::Running
        }
    } else if any(Status::Failed) {
        Status::Failed
    } else if any(Status::Cancelled) {
        Status::Cancelled
    } else {
        Status::Complete
    }
}

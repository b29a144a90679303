//! SIGs as code: look at them, see what a template would change, apply it.

use axum::extract::State;
use farm::api::{PlanView, TemplateBody};
use farm::sig::plan::plan as differences;
use farm::sig::template::{Faults, locate, parse};
use farm::sig::{Clash, Sig};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::extract::{Json, Path};
use crate::gitserver;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// A SIG and the template it was applied from.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SigView {
    /// The SIG, as applied.
    sig: Sig,
    /// The template's text.
    template: String,
}

/// Every applied SIG.
#[utoipa::path(get, path = "/api/v1/sigs", tag = "sigs", responses((status = 200, body = Vec<Sig>)))]
pub(super) async fn list(State(hub): State<Hub>) -> Answer<Json<Vec<Sig>>> {
    Ok(Json(hub.community().await?.sigs))
}

/// One SIG, with the template it was applied from.
#[utoipa::path(get, path = "/api/v1/sigs/{name}", tag = "sigs", params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = SigView)))]
pub(super) async fn show(State(hub): State<Hub>, Path(name): Path<String>) -> Answer<Json<SigView>> {
    let mut tx = hub.db.read().await?;
    let missing = || Problem::not_found("SIG", name.chars().take(60).collect::<String>());
    let sig = tx.community().await?.sig(&name).cloned().ok_or_else(missing)?;
    let template = tx.sig_template(&name).await?.unwrap_or_default();
    Ok(Json(SigView { sig, template }))
}

/// What applying a template would change. Writes nothing.
#[utoipa::path(post, path = "/api/v1/sigs/plan", tag = "sigs", request_body = TemplateBody,
    responses((status = 200, body = PlanView)))]
pub(super) async fn plan(
    State(hub): State<Hub>,
    _caller: Caller,
    Json(body): Json<TemplateBody>,
) -> Answer<Json<PlanView>> {
    let sig = parse(&body.file, &body.template).map_err(|faults| faulty(&faults))?;
    let community = hub.community().await?;
    community.with(sig.clone()).check().map_err(|clashes| clashing(&body, clashes))?;
    let changes = differences(community.sig(&sig.name), &sig);
    Ok(Json(PlanView { sig: sig.name, changes, applied: false }))
}

/// Applies a template: all of it or nothing. Only admins may.
#[utoipa::path(post, path = "/api/v1/sigs/apply", tag = "sigs", request_body = TemplateBody,
    responses((status = 200, body = PlanView)))]
pub(super) async fn apply(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Json(body): Json<TemplateBody>,
) -> Answer<Json<PlanView>> {
    if !person.admin {
        let fix = "an admin applies it; `grange sig plan` shows them and you what would change";
        return Err(Problem::forbidden(
            format!("{} is no admin and may not apply templates", person.name),
            fix,
        ));
    }
    let sig = parse(&body.file, &body.template).map_err(|faults| faulty(&faults))?;
    let mut tx = hub.db.write().await?;
    let applied = tx.apply_sig(&sig, &body.template, &person.name, hub.now()).await?;
    let changes = applied.map_err(|clashes| clashing(&body, clashes))?;
    tx.commit().await?;
    tracing::info!(sig = sig.name, by = person.name, changes = changes.len(), "a template was applied");
    gitserver::write_policy(&hub).await?;
    hub.hurry().await;
    Ok(Json(PlanView { sig: sig.name, changes, applied: true }))
}

fn faulty(faults: &Faults) -> Problem {
    Problem::invalid(faults.to_string(), "mend these lines; nothing was applied")
}

fn clashing(body: &TemplateBody, clashes: Vec<Clash>) -> Problem {
    faulty(&locate(&body.file, &body.template, clashes))
}

//! How a new machine becomes a builder: an admin makes a one-time token, and the machine shows it with the secret it made.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use farm::api::{Enrolment, NewEnrolment};
use farm::builder::is_builder_name;
use farm::digest::Digest;
use farm::ledger::Enrolling;
use farm::message::{Enrol, Enrolled};

use super::must_operate;
use crate::http::auth::Caller;
use crate::http::extract::Json;
use crate::problem::{Answer, Problem};
use crate::state::{Hub, secret};

/// How long a token may be used unless the admin says otherwise, and at most.
const AN_HOUR: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Hexadecimal digits of a builder's secret.
const SECRET: usize = 64;

/// Makes a one-time token by which a machine becomes a builder of this name.
///
/// Tokens made for it before that were not used are worth nothing any more.
#[utoipa::path(post, path = "/api/v1/builders/enrolments", tag = "builders", request_body = NewEnrolment,
    responses((status = 201, body = Enrolment)))]
pub(in crate::http) async fn invite(
    State(hub): State<Hub>,
    Caller(caller): Caller,
    Json(NewEnrolment { builder, seconds }): Json<NewEnrolment>,
) -> Answer<(StatusCode, Json<Enrolment>)> {
    must_operate(&caller)?;
    if !is_builder_name(&builder) {
        let fix = "use letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 128";
        return Err(Problem::invalid("this is no builder's name", fix));
    }
    let lasts = seconds.map_or(AN_HOUR, Duration::from_secs);
    if lasts.is_zero() || lasts > LONGEST {
        let fix = format!("say 1 to {} seconds", LONGEST.as_secs());
        return Err(Problem::invalid("a token cannot last that long, or not at all", fix));
    }
    let token = secret();
    let (now, digest) = (hub.now(), Digest::of(token.as_bytes()));
    let expires = now + lasts;
    let mut tx = hub.db.write().await?;
    tx.put_enrolment(&digest, &builder, &caller.name, expires, now).await?;
    tx.commit().await?;
    tracing::info!(builder, by = caller.name, "a machine may join as a builder");
    Ok((StatusCode::CREATED, Json(Enrolment { builder, token, expires })))
}

/// A new machine becomes a builder.
///
/// The token works once. The same secret may show it again, because the answer to the first time may have been lost.
#[utoipa::path(post, path = "/api/v1/builders/enrol", tag = "builders", request_body = Enrol,
    responses((status = 200, body = Enrolled)))]
pub(in crate::http) async fn enrol(
    State(hub): State<Hub>,
    Json(Enrol { token, secret }): Json<Enrol>,
) -> Answer<Json<Enrolled>> {
    if secret.len() != SECRET || !secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Problem::invalid(
            "this is no builder's secret",
            "send 64 hexadecimal digits, made at random",
        ));
    }
    let (token, secret) = (Digest::of(token.as_bytes()), Digest::of(secret.as_bytes()));
    let mut tx = hub.db.write().await?;
    let again =
        |builder: &str| format!("an admin can make a new token with `grange builders enrol {builder}`");
    match tx.enrol(&token, &secret, hub.now()).await? {
        Enrolling::Done { builder } => {
            tx.commit().await?;
            tracing::info!(builder, "a machine has joined as a builder");
            Ok(Json(Enrolled { builder }))
        }
        Enrolling::Unknown => Err(Problem::UnknownToken),
        Enrolling::Used { builder } => Err(Problem::forbidden(
            format!("this token for builder {builder} was used before, by a machine with another secret"),
            again(&builder),
        )),
        Enrolling::Expired { builder } => {
            Err(Problem::forbidden(format!("this token for builder {builder} has expired"), again(&builder)))
        }
    }
}

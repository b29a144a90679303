//! What holds for every call: a name in the log, a limit in time, headers that tell browsers to trust nothing.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use farm::api::ProblemBody;
use tracing::Instrument as _;

use super::problem::PROBLEM_JSON;
use crate::problem::Problem;
use crate::state::secret;

/// A call that carries no long body is answered within this, or not at all.
const QUICK: Duration = Duration::from_secs(120);
/// A call's name, as a proxy gives it.
const REQUEST_ID: &str = "x-request-id";
/// Digits of a name the hub gives a call itself.
const CALL_ID: usize = 16;
/// Pages load their style and script from the hub and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Gives a call its span and its line in the log. Queries and headers are not logged: they may carry secrets.
pub(super) async fn traced(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // What a proxy or a builder calls it, so that their logs and ours can be laid side by side; else a name of our own.
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_call_id(id));
    let id = given.map_or_else(|| secret()[..CALL_ID].to_owned(), str::to_owned);
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("http", %method, path, id);
    async move {
        let begun = Instant::now();
        let response = next.run(request).await;
        let (status, ms) = (response.status().as_u16(), begun.elapsed().as_millis());
        let counted =
            [("route", route.clone()), ("method", known(&method).to_owned()), ("status", status.to_string())];
        metrics::counter!("grange_http_requests_total", &counted).increment(1);
        metrics::histogram!("grange_http_seconds", "route" => route).record(begun.elapsed().as_secs_f64());
        if method == Method::GET || path.starts_with("/api/v1/attempts/") {
            tracing::debug!(status, ms, "answered");
        } else {
            tracing::info!(status, ms, "answered");
        }
        response
    }
    .instrument(span)
    .await
}

/// A verb as it is counted: whoever calls may invent others.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

/// Is this a call's name that may stand in a log?
fn is_call_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Adds the headers, unless the answer has its own.
pub(super) async fn headed(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Gives up on a call that takes too long.
pub(super) async fn timed(request: Request, next: Next) -> Response {
    match tokio::time::timeout(QUICK, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!("a call took too long");
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let body = ProblemBody {
                kind: "urn:grange:problem:too-slow".to_owned(),
                title: "The hub is too slow".to_owned(),
                status: status.as_u16(),
                detail: "the hub could not answer in time".to_owned(),
                fix: Some("look whether it was done, and try again".to_owned()),
            };
            let text = serde_json::to_vec(&body).unwrap_or_default();
            (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], text).into_response()
        }
    }
}

/// The answer to an address the hub does not have.
pub(super) async fn no_such_address(request: Request) -> Problem {
    Problem::NotFound { what: format!("there is no address {}", request.uri().path()) }
}

/// The answer to a verb an address does not take.
pub(super) async fn no_such_verb(request: Request) -> Response {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let body = ProblemBody {
        kind: "urn:grange:problem:method-not-allowed".to_owned(),
        title: "This address does not take this verb".to_owned(),
        status: status.as_u16(),
        detail: format!("{} does not take {}", request.uri().path(), request.method()),
        fix: Some("/api/v1/openapi.json lists every address with its verbs".to_owned()),
    };
    let text = serde_json::to_vec(&body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], text).into_response()
}

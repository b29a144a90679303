//! git over HTTP: clone and fetch are open to everybody, a push needs a token as the password.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio_stream::wrappers::ReceiverStream;

use super::auth::person_of;
use super::extract::Path;
use super::stream;
use crate::gitserver::{Call, RepoPath, make_ready, may_create, serve, write_policy};
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// What git sends when it wants to know whether to ask for a password.
const REALM: &str = "Basic realm=\"grange\"";
/// The service that takes pushes.
const RECEIVE: &str = "git-receive-pack";
/// The service that gives content.
const UPLOAD: &str = "git-upload-pack";
const REFS: &str = "info/refs";

/// `/git/<folder>/<name>.git/<service>`
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    folder: String,
    repo: String,
    service: String,
}

/// Serves one call of a git client.
pub(super) async fn call(State(hub): State<Hub>, Path(address): Path<Address>, request: Request) -> Response {
    match answer(&hub, &address, request).await {
        Ok(response) => response,
        Err(problem @ (Problem::Unauthenticated | Problem::UnknownToken)) => {
            let text = format!("{problem}; a push needs your token as the password\n");
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, REALM)], text).into_response()
        }
        // git shows its user a plain text, and nothing else.
        Err(problem) if problem.class().0 < 500 => {
            let status = StatusCode::from_u16(problem.class().0).unwrap_or(StatusCode::BAD_REQUEST);
            let fix = problem.body().fix.map(|fix| format!(" ({fix})")).unwrap_or_default();
            (status, format!("{problem}{fix}\n")).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

async fn answer(hub: &Hub, address: &Address, request: Request) -> Answer<Response> {
    let unknown = || Problem::NotFound { what: "there is no such repo".to_owned() };
    let path = address.repo.strip_suffix(".git").map(|name| format!("{}/{name}", address.folder));
    let repo = path.as_deref().and_then(RepoPath::new).ok_or_else(unknown)?;
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let (service, method) = service_of(&address.service, &head.method).ok_or_else(unknown)?;
    let is_push = service == RECEIVE || (service == REFS && query == format!("service={RECEIVE}"));

    let mut pusher = None;
    if is_push {
        let person = person_of(hub, &head.headers).await?;
        if !repo.on_disk(hub).is_dir() {
            may_create(&hub.community().await?, &person, &repo)?;
        }
        make_ready(hub, &repo).await?;
        // People change without the hub's doing; what the hook reads must be what holds now.
        write_policy(hub).await?;
        pusher = Some(person.name);
    } else if !repo.on_disk(hub).is_dir() {
        return Err(unknown());
    }

    let max = stream::upload_limit(hub);
    stream::must_fit(&head.headers, max)?;
    let text = |name: &str| text_of(&head.headers, name);
    let call = Call {
        service,
        method,
        query,
        content_type: text("content-type"),
        content_encoding: text("content-encoding"),
        protocol: text("git-protocol").filter(|protocol| is_protocol(protocol)),
        pusher,
        repo,
    };
    let body = stream::limited(stream::reader(body), max);
    let reply = serve(hub, call, body).await?;
    let status = StatusCode::from_u16(reply.status).map_err(anyhow::Error::from)?;
    let mut response = (status, Body::from_stream(ReceiverStream::new(reply.body))).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), HeaderValue::from_str(&value)) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// The three calls of the smart protocol; there are no others.
fn service_of(text: &str, method: &Method) -> Option<(&'static str, &'static str)> {
    match text {
        REFS if method == Method::GET => Some((REFS, "GET")),
        UPLOAD if method == Method::POST => Some((UPLOAD, "POST")),
        RECEIVE if method == Method::POST => Some((RECEIVE, "POST")),
        _ => None,
    }
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// `version=2`, and nothing stranger gets into the environment of git.
fn is_protocol(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"=:.-".contains(&byte))
}

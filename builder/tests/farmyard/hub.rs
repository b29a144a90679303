//! The hub's API, as far as a builder can see it, with faults on demand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use farm::builder::Wish;
use farm::digest::Digest;
use farm::ids::{JobId, Minter, SnapshotId};
use farm::message::{
    Claim, Enrol, Enrolled, Finish, LEASE_OVER, Lease, LogSize, Manifest, ManifestFile, Presence, Welcome,
};
use farm::outcome::Outcome;
use farm::recipe::Input;
use farm::stamp::Stamp;
use tokio::sync::mpsc;
use url::Url;

use super::now;

/// A hub.
#[derive(Clone)]
pub(crate) struct Hub {
    pub(crate) address: Url,
    state: Shared,
}

/// What the hub knows of an attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempt {
    pub(crate) ticket: String,
    pub(crate) builder: Option<String>,
    pub(crate) token: Option<Digest>,
    pub(crate) logs: BTreeMap<String, Vec<u8>>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) beats: u32,
    /// Calls after the end.
    pub(crate) late_calls: u32,
    cancelled: bool,
    stale: bool,
}

impl Attempt {
    pub(crate) fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(self.logs.get(name).map_or(&[], Vec::as_slice)).into_owned()
    }
}

type Shared = Arc<Mutex<Inner>>;

#[derive(Default)]
struct Inner {
    attempts: HashMap<JobId, Attempt>,
    inputs: HashMap<Digest, Vec<u8>>,
    snapshots: HashMap<SnapshotId, Vec<(String, Vec<u8>)>>,
    lease_ms: u64,
    /// Calls to answer with 503 before taking any again.
    failing: u32,
    /// Answers to swallow after the call was taken in.
    swallowing: u32,
    /// The attempts' leases have run out: until a beat, their tokens open nothing.
    leases_over: bool,
    /// The end of the names of files that are too large.
    too_large: Option<&'static str>,
    /// The builder's name and the digest of its secret.
    builder: (String, Option<Digest>),
    /// The one-time token that lets it in, and the secret it came with.
    enrolment: (String, Option<String>),
    wish: Wish,
    /// How far the hub's clock is ahead of everybody's.
    ahead_ms: i64,
    presences: Option<mpsc::UnboundedSender<Presence>>,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        let state = Shared::default();
        state.lock().unwrap().lease_ms = 30_000;
        let routes = Router::new()
            .route("/claim", post(claim))
            .route("/beat", post(beat))
            .route("/inputs/{digest}", get(inputs))
            .route("/snapshots/{id}", get(manifest))
            .route("/snapshots/{id}/files/{*path}", get(snapshot_file))
            .route("/logs/{name}", post(log))
            .route("/files/{name}", put(file))
            .route("/finish", post(finish))
            .layer(axum::extract::DefaultBodyLimit::disable());
        let app = Router::new()
            .nest("/api/v1/attempts/{job}/{turn}", routes)
            .layer(middleware::from_fn_with_state(state.clone(), faults))
            .route("/api/v1/builders/{name}/presence", post(presence))
            .route("/api/v1/builders/enrol", post(enrol))
            .with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, state }
    }

    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap()
    }

    /// From now on the builder of this name shows this secret; gives what it says of itself.
    pub(crate) fn admit(&self, name: &str, secret: Digest) -> mpsc::UnboundedReceiver<Presence> {
        let (presences, heard) = mpsc::unbounded_channel();
        let mut state = self.state();
        (state.builder, state.presences) = ((name.to_owned(), Some(secret)), Some(presences));
        heard
    }

    /// The builder's secret is worth nothing any more.
    pub(crate) fn forget_builder(&self) {
        self.state().builder.1 = None;
    }

    /// What operators want from now on.
    pub(crate) fn wish(&self, wish: Wish) {
        self.state().wish = wish;
    }

    /// From now on this token lets a builder of this name in, once.
    pub(crate) fn invite(&self, name: &str, token: &str) {
        let mut state = self.state();
        (state.builder, state.enrolment) = ((name.to_owned(), None), (token.to_owned(), None));
    }

    pub(crate) fn input(&self, name: &str, content: &[u8]) -> Input {
        let input = super::input(name, content);
        self.state().inputs.insert(input.digest.clone(), content.to_owned());
        input
    }

    /// Whoever asks for this input gets other bytes.
    pub(crate) fn forge(&self, input: &Input) {
        self.state().inputs.insert(input.digest.clone(), b"forged".to_vec());
    }

    pub(crate) fn snapshot(&self, files: &[(&str, &[u8])]) -> SnapshotId {
        let mut state = self.state();
        let id: SnapshotId = Minter::new(state.snapshots.len() as u64).mint(now());
        let files = files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec()));
        state.snapshots.insert(id, files.collect());
        id
    }

    pub(crate) fn expect(&self, job: JobId, ticket: &str) {
        self.state().attempts.insert(job, Attempt { ticket: ticket.to_owned(), ..Attempt::default() });
    }

    pub(crate) fn attempt(&self, job: JobId) -> Option<Attempt> {
        self.state().attempts.get(&job).cloned()
    }

    /// From now on the attempt is told to stop.
    pub(crate) fn cancel(&self, job: JobId) {
        self.state().attempts.get_mut(&job).unwrap().cancelled = true;
    }

    /// From now on the attempt is somebody else's.
    pub(crate) fn give_away(&self, job: JobId) {
        self.state().attempts.get_mut(&job).unwrap().stale = true;
    }

    pub(crate) fn set_lease(&self, milliseconds: u64) {
        self.state().lease_ms = milliseconds;
    }

    /// Answers the next calls with 503.
    pub(crate) fn fail(&self, calls: u32) {
        self.state().failing = calls;
    }

    /// Does what the next calls ask for and answers them with 503.
    pub(crate) fn swallow(&self, answers: u32) {
        self.state().swallowing = answers;
    }

    /// Every lease has run out.
    pub(crate) fn end_leases(&self) {
        self.state().leases_over = true;
    }

    /// From now on files with names that end so are too large.
    pub(crate) fn refuse_files(&self, ending: &'static str) {
        self.state().too_large = Some(ending);
    }
}

async fn faults(State(state): State<Shared>, request: Request, next: Next) -> Response {
    {
        let mut state = state.lock().unwrap();
        if state.failing > 0 {
            state.failing -= 1;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let path = request.uri().path();
        if state.leases_over && !["/claim", "/beat", "/finish"].iter().any(|verb| path.ends_with(verb)) {
            let problem = serde_json::json!({"type": format!("urn:grange:problem:{LEASE_OVER}")});
            return (StatusCode::SERVICE_UNAVAILABLE, Json(problem)).into_response();
        }
    }
    let response = next.run(request).await;
    let mut state = state.lock().unwrap();
    if state.swallowing > 0 {
        state.swallowing -= 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    response
}

type Key = Path<HashMap<String, String>>;
type Answer<T> = Result<T, StatusCode>;

/// Lets only the attempt's own builder do something, and only before its end.
fn authorized<T>(
    state: &Shared,
    key: &HashMap<String, String>,
    headers: &HeaderMap,
    act: impl FnOnce(&mut Attempt, u64) -> T,
) -> Answer<T> {
    let mut state = state.lock().unwrap();
    let lease = state.lease_ms;
    let job = key["job"].parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let attempt = state.attempts.get_mut(&job).ok_or(StatusCode::NOT_FOUND)?;
    let header = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
    let token = header.strip_prefix("Bearer ").map(|token| Digest::of(token.as_bytes()));
    if token.is_none() || token != attempt.token || attempt.stale || key["turn"] != "1" {
        return Err(StatusCode::CONFLICT);
    }
    Ok(act(attempt, lease))
}

fn shown(headers: &HeaderMap) -> Option<Digest> {
    let header = headers.get("authorization")?.to_str().ok()?;
    Some(Digest::of(header.strip_prefix("Bearer ")?.as_bytes()))
}

fn problem(status: StatusCode, detail: &str) -> Response {
    (status, Json(serde_json::json!({"title": "No", "detail": detail}))).into_response()
}

async fn presence(
    State(state): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(presence): Json<Presence>,
) -> Response {
    let state = state.lock().unwrap();
    if state.builder.1.is_none() || shown(&headers) != state.builder.1 {
        return problem(StatusCode::UNAUTHORIZED, "this token is not known");
    }
    if state.wish == Wish::Disabled {
        return problem(StatusCode::FORBIDDEN, "builder is disabled");
    }
    assert_eq!((&name, &presence.builder), (&state.builder.0, &state.builder.0));
    if let Some(presences) = &state.presences {
        let _nobody_listens = presences.send(presence);
    }
    let clock = Stamp::from_millis(now().millis() + state.ahead_ms);
    Json(Welcome { wish: state.wish, clock }).into_response()
}

async fn enrol(State(state): State<Shared>, Json(enrol): Json<Enrol>) -> Response {
    let mut state = state.lock().unwrap();
    if state.failing > 0 {
        state.failing -= 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if enrol.token != state.enrolment.0 {
        return problem(StatusCode::UNAUTHORIZED, "this token is not known");
    }
    let secret = enrol.secret;
    if *state.enrolment.1.get_or_insert_with(|| secret.clone()) != secret {
        return problem(StatusCode::FORBIDDEN, "this token was used before");
    }
    state.builder.1 = Some(Digest::of(secret.as_bytes()));
    if state.swallowing > 0 {
        state.swallowing -= 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    Json(Enrolled { builder: state.builder.0.clone() }).into_response()
}

async fn claim(
    State(state): State<Shared>,
    Path(key): Key,
    headers: HeaderMap,
    Json(claim): Json<Claim>,
) -> Answer<Json<Lease>> {
    let mut state = state.lock().unwrap();
    if state.builder.1.is_none() || shown(&headers) != state.builder.1 {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let lease_ms = state.lease_ms;
    let job = key["job"].parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let attempt = state.attempts.get_mut(&job).ok_or(StatusCode::NOT_FOUND)?;
    let same = attempt.token.as_ref().is_none_or(|token| *token == claim.token_digest);
    if claim.ticket != attempt.ticket || !same {
        return Err(StatusCode::CONFLICT);
    }
    (attempt.builder, attempt.token) = (Some(claim.builder), Some(claim.token_digest));
    Ok(Json(Lease { lease_ms, stop: attempt.cancelled }))
}

async fn beat(State(state): State<Shared>, Path(key): Key, headers: HeaderMap) -> Answer<Json<Lease>> {
    let lease = authorized(&state, &key, &headers, |attempt, lease_ms| {
        attempt.beats += 1;
        Json(Lease { lease_ms, stop: attempt.cancelled })
    })?;
    state.lock().unwrap().leases_over = false;
    Ok(lease)
}

async fn inputs(State(state): State<Shared>, Path(key): Key, headers: HeaderMap) -> Answer<Vec<u8>> {
    authorized(&state, &key, &headers, |_, _| ())?;
    let digest = key["digest"].parse().map_err(|_| StatusCode::NOT_FOUND)?;
    state.lock().unwrap().inputs.get(&digest).cloned().ok_or(StatusCode::NOT_FOUND)
}

async fn manifest(
    State(state): State<Shared>,
    Path(key): Key,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Answer<Json<Manifest>> {
    authorized(&state, &key, &headers, |_, _| ())?;
    assert_eq!(query["arch"], farm::arch::Arch::native().unwrap().as_str());
    let id = key["id"].parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let state = state.lock().unwrap();
    let files = state.snapshots.get(&id).ok_or(StatusCode::NOT_FOUND)?.iter();
    let files = files.map(|(path, content)| ManifestFile {
        path: path.clone(),
        digest: Digest::of(content),
        size: content.len() as u64,
    });
    Ok(Json(Manifest { id, files: files.collect() }))
}

async fn snapshot_file(State(state): State<Shared>, Path(key): Key, headers: HeaderMap) -> Answer<Vec<u8>> {
    authorized(&state, &key, &headers, |_, _| ())?;
    let id = key["id"].parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let state = state.lock().unwrap();
    let files = state.snapshots.get(&id).ok_or(StatusCode::NOT_FOUND)?;
    let file = files.iter().find(|(path, _)| *path == key["path"]);
    file.map(|(_, content)| content.clone()).ok_or(StatusCode::NOT_FOUND)
}

async fn log(
    State(state): State<Shared>,
    Path(key): Key,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Response> {
    authorized(&state, &key, &headers, |attempt, _| {
        attempt.late_calls += u32::from(attempt.outcome.is_some());
        let log = attempt.logs.entry(key["name"].clone()).or_default();
        let fits = query["offset"].parse() == Ok(log.len());
        if fits {
            log.extend_from_slice(&body);
        }
        let status = if fits { StatusCode::OK } else { StatusCode::CONFLICT };
        (status, Json(LogSize { size: log.len() as u64 })).into_response()
    })
}

async fn file(
    State(state): State<Shared>,
    Path(key): Key,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Response> {
    if state.lock().unwrap().too_large.is_some_and(|ending| key["name"].ends_with(ending)) {
        let problem = Json(serde_json::json!({"title": "Too large", "detail": "it is larger than 5 bytes"}));
        return Ok((StatusCode::PAYLOAD_TOO_LARGE, problem).into_response());
    }
    if query["digest"].parse() != Ok(Digest::of(&body)) {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    authorized(&state, &key, &headers, |attempt, _| {
        attempt.late_calls += u32::from(attempt.outcome.is_some());
        attempt.files.insert(key["name"].clone(), body.to_vec());
        StatusCode::CREATED.into_response()
    })
}

async fn finish(
    State(state): State<Shared>,
    Path(key): Key,
    headers: HeaderMap,
    Json(finish): Json<Finish>,
) -> Answer<StatusCode> {
    authorized(&state, &key, &headers, |attempt, _| {
        attempt.outcome = Some(finish.outcome);
        StatusCode::NO_CONTENT
    })
}

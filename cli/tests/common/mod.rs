//! A hub that says what a test wants it to say, and the command as a person calls it.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use clap::Parser as _;
use cli::failure::Failure;
use cli::screen::{Look, Screen};
use cli::settings::Environment;
use cli::{Cli, run};
use farm::stamp::Stamp;
use serde_json::{Value, json};

/// The moment at which all tests take place.
pub(crate) const NOW: i64 = 1_700_000_000_000;

/// A call the hub got.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

pub(crate) fn ok(body: Value) -> Answer {
    Answer { status: StatusCode::OK, headers: Vec::new(), body: body.to_string().into_bytes() }
}

pub(crate) fn text(body: &str) -> Answer {
    Answer { status: StatusCode::OK, headers: Vec::new(), body: body.into() }
}

pub(crate) fn status(status: u16, body: &str) -> Answer {
    Answer { status: StatusCode::from_u16(status).unwrap(), headers: Vec::new(), body: body.into() }
}

pub(crate) fn problem(code: u16, detail: &str, fix: Option<&str>) -> Answer {
    status(code, &problem_body(code, detail, fix).to_string())
}

pub(crate) fn problem_body(code: u16, detail: &str, fix: Option<&str>) -> Value {
    json!({ "type": "urn:grange:problem:x", "title": "A problem", "status": code, "detail": detail, "fix": fix })
}

pub(crate) fn log(piece: &str, size: usize, complete: bool) -> Answer {
    Answer {
        headers: vec![("x-log-size", size.to_string()), ("x-log-complete", complete.to_string())],
        ..text(piece)
    }
}

type Script = Arc<Mutex<HashMap<String, Vec<Answer>>>>;

/// The hub.
#[derive(Clone)]
pub(crate) struct Hub {
    pub(crate) url: String,
    script: Script,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Hub {
    pub(crate) async fn start() -> Hub {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hub = Hub { url, script: Script::default(), calls: Arc::default() };
        let app = axum::Router::new().fallback(answer).with_state(hub.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        hub
    }

    /// `line` is such as `GET /builds/x?limit=3`, below `/api/v1` unless it begins with `//`. Answers come one after the
    /// other; the last one stays.
    pub(crate) fn on(&self, line: &str, answers: impl IntoIterator<Item = Answer>) -> &Self {
        let mut answers: Vec<Answer> = answers.into_iter().collect();
        answers.reverse();
        self.script.lock().unwrap().insert(line.to_owned(), answers);
        self
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn call(&self, line: &str) -> Call {
        let calls = self.calls();
        let lines: Vec<_> = calls.iter().map(|call| call.line.clone()).collect();
        calls.into_iter().find(|call| call.line == line).unwrap_or_else(|| panic!("no {line} in {lines:?}"))
    }

    /// Calls the command; gives what it printed and how it ended.
    pub(crate) async fn grange(&self, words: &[&str]) -> (String, Result<(), Failure>) {
        self.grange_in(words, &[]).await
    }

    /// The same with variables of the environment.
    pub(crate) async fn grange_in(
        &self,
        words: &[&str],
        variables: &[(&str, &str)],
    ) -> (String, Result<(), Failure>) {
        let url = [("GRANGE_URL", self.url.as_str()), ("GRANGE_TOKEN", "secret")];
        grange(words, url.iter().chain(variables)).await
    }
}

async fn answer(State(hub): State<Hub>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().as_str();
    let path = path.strip_prefix("/api/v1").map_or_else(|| format!("/{path}"), str::to_owned);
    let line = format!("{} {path}", parts.method);
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    hub.calls.lock().unwrap().push(Call { line: line.clone(), headers: parts.headers, body });
    let mut script = hub.script.lock().unwrap();
    let Some(answers) = script.get_mut(&line) else {
        return (StatusCode::NOT_IMPLEMENTED, format!("the test has no answer to {line}")).into_response();
    };
    let answer = if answers.len() > 1 { answers.pop() } else { answers.last().cloned() }.unwrap();
    let mut response = (answer.status, answer.body).into_response();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Calls the command in this environment.
pub(crate) async fn grange<'a>(
    words: &[&str],
    variables: impl IntoIterator<Item = &'a (&'a str, &'a str)>,
) -> (String, Result<(), Failure>) {
    let cli = Cli::try_parse_from(std::iter::once(&"grange").chain(words)).unwrap();
    let environment: Environment =
        variables.into_iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let paper = Paper::default();
    let mut screen = Screen::plain(Box::new(paper.clone()), cli.global.json, Stamp::from_millis(NOW));
    let result = run(cli, &environment, &mut screen).await;
    let printed = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    (printed, result)
}

pub(crate) fn code(result: &Result<(), Failure>) -> u8 {
    result.as_ref().map_or_else(Failure::exit_code, |()| 0)
}

pub(crate) fn told(result: Result<(), Failure>) -> String {
    result.unwrap_err().told(&Look::plain(Stamp::from_millis(NOW)))
}

pub(crate) const REQUEST: &str = "01JZ8M3Q5T7V9X1B3D5F7H9K1M";
pub(crate) const SRPM_JOB: &str = "01JZ8M3Q5T7V9X1B3D5F7H9KJ1";
pub(crate) const BUILD_JOB: &str = "01JZ8M3Q5T7V9X1B3D5F7H9KJ2";
pub(crate) const TEST_REQUEST: &str = "01JZ8M3Q5T7V9X1B3D5F7H9KT1";
pub(crate) const TEST_JOB: &str = "01JZ8M3Q5T7V9X1B3D5F7H9KJ3";
pub(crate) const PROMOTION: &str = "01JZ8M3Q5T7V9X1B3D5F7H9KP1";
pub(crate) const SNAPSHOT: &str = "01JZ8M3Q5T7V9X1B3D5F7H9KS1";
pub(crate) const BUILD: &str = "01JZ8M3Q5T7V9X1B3D5F7H9KB1";

/// A build as the hub shows it.
pub(crate) fn request(status: &str, reason: Option<&str>, jobs: Vec<Value>, promotions: Vec<Value>) -> Value {
    let closed = match status {
        "complete" => json!({ "at": NOW - 60_000, "verdict": { "kind": "complete", "build": null } }),
        "failed" => json!({ "at": NOW - 60_000, "verdict": { "kind": "failed", "reason": reason } }),
        _ => Value::Null,
    };
    json!({
        "request": {
            "id": REQUEST,
            "kind": { "kind": "push", "branch": "c9s-sig-storage-gluster" },
            "sig": "storage", "target": "storage9s-gluster-11-el9s", "package": "hello", "by": "ada",
            "source": { "kind": "git", "repo": "rpms/hello", "commit": "0123456789abcdef0123456789abcdef01234567", "tree": null },
            "created": NOW - 180_000, "retry_of": null, "closed": closed,
        },
        "status": status, "reason": reason, "nvr": "hello-2.10-1.el9s",
        "url": format!("http://hub/builds/{REQUEST}"), "jobs": jobs, "promotions": promotions,
    })
}

/// A scratch build of it, kept for so long from now.
pub(crate) fn scratch(jobs: Vec<Value>, keep: i64) -> Value {
    let mut view = request("complete", None, jobs, vec![]);
    view["request"]["kind"] = json!({ "kind": "scratch", "expires": NOW + keep });
    view
}

/// A job of it. `state` is a phase, or `passed`, or why it failed.
pub(crate) fn job(id: &str, label: &str, arch: &str, state: &str) -> Value {
    let (phase, outcome) = match state {
        "waiting" | "offered" | "building" | "stopping" => (state, Value::Null),
        "passed" => ("done", json!({ "kind": "passed" })),
        reason => ("done", json!({ "kind": "failed-by-package", "reason": reason })),
    };
    let work = match label {
        "srpm" => json!({ "kind": "srpm", "tree": input(), "spec": "hello.spec", "sources": [] }),
        "build" => json!({ "kind": "build", "srpm": input() }),
        _ => json!({ "kind": "test", "suite": "runs", "folder": null, "packages": [] }),
    };
    let begun = phase == "building" || phase == "done";
    json!({
        "id": id, "label": label, "arch": arch, "phase": phase, "turn": 1, "tries": 1,
        "builder": if phase == "waiting" { Value::Null } else { json!("b1") },
        "created": NOW - 170_000,
        "started": if begun { json!(NOW - 150_000) } else { Value::Null },
        "ended": if phase == "done" { json!(NOW - 78_000) } else { Value::Null },
        "outcome": outcome, "history": [],
        "recipe": { "image": "i", "arch": arch, "work": work, "repos": [], "macros": {}, "limits": {} },
        "logs": if begun {
            json!([{ "name": "state.log", "size": 10 }, { "name": "root.log", "size": 20 }, { "name": "build.log", "size": 9 }])
        } else { json!([]) },
        "files": if state == "passed" { json!([{ "name": format!("hello-{label}.rpm"), "size": 4 }]) } else { json!([]) },
    })
}

fn input() -> Value {
    json!({ "name": "hello.tar", "digest": "0".repeat(64), "size": 1 })
}

/// A promotion of it.
pub(crate) fn promotion(to: &str, state: Value) -> Value {
    json!({
        "id": PROMOTION, "sig": "storage", "target": "storage9s-gluster-11-el9s", "to": to,
        "builds": [BUILD], "nvrs": ["hello-2.10-1.el9s"], "by": "gate", "approvals": [], "suites": {},
        "created": NOW - 50_000, "state": state,
    })
}

pub(crate) fn in_testing(request: Option<&str>) -> Value {
    json!({ "phase": "in-testing", "snapshot": SNAPSHOT, "request": request })
}

pub(crate) fn published() -> Value {
    json!({ "phase": "published", "snapshot": SNAPSHOT, "by": "gate", "at": NOW - 5_000 })
}

pub(crate) fn rejected(why: &str) -> Value {
    json!({ "phase": "rejected", "why": [why], "at": NOW - 5_000 })
}

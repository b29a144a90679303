//! A hub for one test, thrown away with it.

use std::path::PathBuf;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::ids::{JobId, SnapshotId};
use farm::job::{Class, Event, Job, JobKind, JobState};
use farm::ledger::Db;
use farm::message::Claim;
use farm::recipe::{Input, Limits, Recipe, RepoOrigin, RepoSource, Work};
use farm::request::{Request, RequestKind, Source};
use farm::wire::Bus;
use hub::config::Config;
use hub::state::Hub;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The token of an admin, a maintainer, and somebody who is neither.
pub(crate) const ADMIN: &str = "token-of-the-admin";
pub(crate) const ADA: &str = "token-of-ada";
pub(crate) const BOB: &str = "token-of-bob";
/// The secret of hooks on other git servers.
pub(crate) const FOREIGN: &str = "secret-of-the-other-git-server";
/// The secrets of two builders.
pub(crate) const B1: &str = "secret-of-b1";
pub(crate) const B2: &str = "secret-of-b2";
/// A builder's ticket and token.
pub(crate) const TICKET: &str = "ticket";
pub(crate) const TOKEN: &str = "token-of-the-attempt";

pub(crate) const TEMPLATE: &str = r#"
name = "demo"
title = "Demo"
[[member]]
name = "ada"
roles = ["maintainer", "release-manager"]
[[project]]
name = "hello"
release = "1"
dist = "9s"
arches = ["x86_64"]
packages = ["hello"]
[project.tests]
required = ["installs"]
suites = { repo = "tests/demo", branch = "main" }
"#;

pub(crate) struct Bench {
    pub(crate) hub: Hub,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    pub(crate) dir: tempfile::TempDir,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Bench {
    pub(crate) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let secret = dir.path().join("foreign");
        std::fs::write(&secret, FOREIGN).unwrap();
        let mut config = Config {
            data: dir.path().join("data"),
            public_url: url.clone(),
            hooks: dir.path().join("hooks"),
            hook_token_file: Some(secret),
            ..Config::default()
        };
        configure(&mut config);
        let db = Db::open(&format!("sqlite:{}", dir.path().join("ledger").display())).await.unwrap();
        let hub = Hub::open(db, Bus::local(), config).unwrap();
        let mut tx = hub.db.write().await.unwrap();
        for (name, token, admin) in [("root", ADMIN, true), ("ada", ADA, false), ("bob", BOB, false)] {
            tx.put_person(name, &Digest::of(token.as_bytes()), admin, hub.now()).await.unwrap();
        }
        for (name, secret) in [("b1", B1), ("b2", B2)] {
            tx.admit_builder(name, &Digest::of(secret.as_bytes())).await.unwrap();
        }
        let sig = farm::sig::template::parse("demo.toml", TEMPLATE).unwrap();
        tx.apply_sig(&sig, TEMPLATE, "root", hub.now()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(hub::serve(hub.clone(), listener, stopped));
        Self { hub, url, http: reqwest::Client::new(), dir, stop, served }
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str, token: &str) -> RequestBuilder {
        self.call(Method::POST, path).bearer_auth(token)
    }

    /// Says `GET <path>` as it is, which a client that cleans addresses would not.
    pub(crate) async fn raw(&self, path: &str, token: &str) -> u16 {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Stops the server and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.served.await.unwrap().unwrap();
    }

    /// A job whose recipe names one input and one snapshot, offered.
    pub(crate) async fn offered(&self) -> Assignment {
        self.offered_for(RequestKind::Build).await
    }

    /// The same, for a request of this kind.
    pub(crate) async fn offered_for(&self, kind: RequestKind) -> Assignment {
        let input = self.hub.artifacts.put_bytes(b"a source RPM").await.unwrap();
        let srpm = Input { name: "hello-1-1.src.rpm".into(), digest: input.digest, size: input.size };
        let (job, snapshot) = (self.hub.mint::<JobId>(), self.hub.mint::<SnapshotId>());
        let request = Request {
            id: self.hub.mint(),
            kind,
            sig: "demo".into(),
            target: "demo9s-hello-1-el9s".into(),
            package: "hello".into(),
            by: "ada".into(),
            source: Source::Srpm { srpm: srpm.clone() },
            created: self.hub.now(),
            retry_of: None,
            closed: None,
            chain: None,
        };
        let limits = Limits { log_mb: 1, output_mb: 1, ..Limits::default() };
        let now = self.hub.now();
        let made = Job {
            id: job,
            request: request.id,
            sig: "demo".into(),
            class: Class::Push,
            kind: JobKind::Build,
            arch: Arch::X86_64,
            created: now,
            recipe: Recipe {
                image: "image".into(),
                arch: Arch::X86_64,
                work: Work::Build { srpm: srpm.clone() },
                repos: vec![RepoSource {
                    name: "own".into(),
                    priority: 1,
                    origin: RepoOrigin::Snapshot { id: snapshot },
                }],
                macros: Default::default(),
                limits,
                sharing: None,
            },
            turn: 0,
            tries: 0,
            state: JobState::Waiting { not_before: now },
            history: Vec::new(),
            labels: std::collections::BTreeSet::new(),
            height: 0,
        };
        let mut tx = self.hub.db.write().await.unwrap();
        tx.insert_request(&request).await.unwrap();
        tx.insert_job(&made).await.unwrap();
        tx.commit().await.unwrap();
        self.step(job, Event::Offer { builder: "b1".into(), ticket: Digest::of(TICKET.as_bytes()) }).await;
        Assignment { request, job, input: srpm, snapshot }
    }

    /// The same, claimed.
    pub(crate) async fn building(&self) -> Assignment {
        let work = self.offered().await;
        let answer = self.claim(&work, TICKET, TOKEN).await;
        assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
        work
    }

    pub(crate) async fn claim(&self, work: &Assignment, ticket: &str, token: &str) -> (StatusCode, Value) {
        let answer = self.claim_as(work, B1, ticket, token).await;
        (answer.status(), answer.json().await.unwrap())
    }

    /// Claims in the name of b1, with whatever secret.
    pub(crate) async fn claim_as(
        &self,
        work: &Assignment,
        secret: &str,
        ticket: &str,
        token: &str,
    ) -> reqwest::Response {
        let claim = Claim {
            ticket: ticket.into(),
            builder: "b1".into(),
            token_digest: Digest::of(token.as_bytes()),
            born: ::farm::stamp::Stamp::ZERO,
        };
        self.post(&work.at("claim"), secret).json(&claim).send().await.unwrap()
    }

    pub(crate) async fn step(&self, job: JobId, event: Event) {
        let mut tx = self.hub.db.write().await.unwrap();
        tx.step_job(job, event, self.hub.now(), &self.hub.config.patience).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn job(&self, job: JobId) -> Job {
        self.hub.db.read().await.unwrap().job(job).await.unwrap().unwrap().value
    }

    /// Does anything in the ledger need this content?
    pub(crate) async fn is_held(&self, content: &[u8]) -> bool {
        self.hub.db.read().await.unwrap().is_held(&Digest::of(content)).await.unwrap()
    }

    /// A program for git to run as a hook.
    pub(crate) fn put_hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = self.dir.path().join("hooks");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn data(&self, path: &str) -> PathBuf {
        self.hub.config.data.join(path)
    }
}

/// One job to work on.
pub(crate) struct Assignment {
    pub(crate) request: Request,
    pub(crate) job: JobId,
    pub(crate) input: Input,
    pub(crate) snapshot: SnapshotId,
}

impl Assignment {
    /// The address of a verb of its first attempt.
    pub(crate) fn at(&self, verb: &str) -> String {
        format!("/api/v1/attempts/{}/1/{verb}", self.job)
    }
}

/// Checks that an answer is a problem document of this code, and gives it.
pub(crate) async fn problem(answer: reqwest::Response, status: u16, code: &str) -> Value {
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let real = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert_eq!(real, status, "{text}");
    assert_eq!(kind, "application/problem+json");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["type"], format!("urn:grange:problem:{code}"), "{text}");
    assert_eq!(body["status"], status);
    body
}

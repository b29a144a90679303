//! A whole farm in this process: hub, scheduler and builder on the embedded defaults, with the dummy engine.
//!
//! It speaks the language of its users (push, apply, promote) over the real interfaces: git over HTTP and the API. At the
//! end of a story [`Farm::ends_well`] asserts that nothing is unsettled and no container is left.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use ::farm::api::{Made, PromotionView, RequestView, TagView};
use ::farm::arch::Arch;
use ::farm::digest::Digest;
use ::farm::ids::{PromotionId, RequestId};
use ::farm::job::Patience;
use ::farm::ledger::Db;
use ::farm::promotion::Promotion;
use ::farm::stamp::Stamp;
use ::farm::wire::Bus;
use builder::engine::{Dummy, Engine, Kept};
use hub::state::Hub;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::packages::{Behaviour, Package, Workshop};
use crate::proxy::{Proxy, Weather};
use crate::services;
use crate::tools::{programs, run_git};

/// How long a story waits for something before it gives up: far longer than anything takes, since a machine may be busy.
const DEADLINE: Duration = Duration::from_secs(240);
/// The same where real containers work, perhaps under emulation.
const REAL_DEADLINE: Duration = Duration::from_secs(900);

/// How long a push waits for the hub in a story, in milliseconds: stories take the build's id from what the hub answers, however slow
/// the disk is just then.
pub const HOOK_MS: u64 = 120_000;

/// How a farm is set up.
pub struct Options {
    /// The ledger's URL; that of the story's services when `None`, or a file of its own.
    pub ledger: Option<String>,
    /// The bus; that of the story's services when `None`, or one in this process.
    pub bus: Option<Bus>,
    /// Are the hook programs there?
    pub hooks: bool,
    /// Milliseconds between two sweeps.
    pub sweep_ms: u64,
    /// The address of a real container engine; the dummy when `None`.
    pub engine: Option<String>,
    /// What the builder runs natively.
    pub arches: Vec<Arch>,
    /// What it runs under emulation besides.
    pub emulated: Vec<Arch>,
    /// Milliseconds for which nothing must change below a live repo before it is tested again.
    pub recheck_ms: u64,
    /// Folders below which `file://` repos outside the farm may lie.
    pub file_repos: Vec<PathBuf>,
    /// Milliseconds between two looks at each repo outside the farm.
    pub outside_ms: u64,
    /// What the line is like between users and the farm; they are on the same machine when `None`.
    pub line: Option<Weather>,
    /// The folder of the signer's keys; a new one when `None`.
    pub keys: Option<PathBuf>,
    /// Hours for which what a public repo does not show any more can be fetched.
    pub keep_public_hours: u64,
    /// The data folder, if there is one; a new one when `None`.
    pub data: Option<PathBuf>,
    /// A bucket for artifacts and what is published.
    pub s3: Option<hub::bucket::S3>,
    /// MiB of disk that the builder's jobs may use together.
    pub disk_mb: u64,
}

/// Bits of the RSA keys in stories.
pub const SIGNER_BITS: u32 = 2048;

impl Default for Options {
    fn default() -> Self {
        Self {
            ledger: None,
            bus: None,
            hooks: true,
            sweep_ms: 60_000,
            engine: None,
            arches: vec![Arch::X86_64],
            emulated: Vec::new(),
            recheck_ms: 60_000,
            file_repos: Vec::new(),
            outside_ms: 900_000,
            line: None,
            keys: None,
            keep_public_hours: 72,
            data: None,
            s3: None,
            disk_mb: 1 << 22,
        }
    }
}

/// What a signer of this hub is given: keys of its own below `keys`, small ones that are made quickly.
#[must_use]
pub fn signer(db: &Db, hub: &Hub, url: &str, keys: &Path) -> (signer::Parts, signer::Config) {
    let parts = signer::Parts { db: db.clone(), token: hub.signer_token.clone() };
    let config = signer::Config {
        hub: url.parse().expect("a URL"),
        keys: keys.to_owned(),
        rsa_bits: SIGNER_BITS,
        ..Default::default()
    };
    (parts, config)
}

/// A farm and everything a story needs of it.
pub struct Farm {
    /// Where it listens.
    pub url: String,
    /// Where users find it: the same, or at the other end of a line.
    pub public_url: String,
    /// The admin's token.
    pub admin: String,
    /// The engine, to look at.
    pub engine: Dummy,
    used: Engine,
    #[allow(dead_code, reason = "held, not read")]
    line: Option<Proxy>,
    name: String,
    deadline: Duration,
    /// The ledger, to look at.
    pub db: Db,
    /// The data folder.
    pub data: PathBuf,
    workshop: Workshop,
    http: reqwest::Client,
    stop: watch::Sender<bool>,
    roles: Vec<JoinHandle<anyhow::Result<()>>>,
    scratch: TempDir,
}

impl Farm {
    /// A farm on the defaults, with the SIG `demo` applied: ada maintains it, rex manages its releases.
    pub async fn new() -> Self {
        let farm = Self::bare(Options::default()).await;
        farm.apply_demo().await;
        farm
    }

    /// Applies the SIG `demo`.
    pub async fn apply_demo(&self) {
        self.apply_demo_with("").await;
    }

    /// Applies the SIG `demo` with more in its project.
    pub async fn apply_demo_with(&self, more: &str) {
        self.apply(&format!("{DEMO}{more}")).await;
    }

    /// A farm without any SIG.
    pub async fn bare(options: Options) -> Self {
        let _another_story_did = rustls::crypto::ring::default_provider().install_default();
        let scratch = tempfile::tempdir().expect("a folder");
        let data = options.data.unwrap_or_else(|| scratch.path().join("data"));
        std::fs::create_dir_all(&data).expect("a folder");
        let services = services::current();
        let ledger = options.ledger.or(services.as_ref().map(|services| services.ledger.clone()));
        let ledger = ledger.unwrap_or_else(|| format!("sqlite:{}", data.join("ledger.sqlite").display()));
        let bus = match (options.bus, &services) {
            (Some(bus), _) => bus,
            (None, Some(services)) => Bus::connect(&services.bus).expect("the broker's address"),
            (None, None) => Bus::local(),
        };
        let db = Db::open(&ledger).await.expect("the ledger opens");
        let admin = "a".repeat(64);
        let mut tx = db.write().await.expect("the ledger writes");
        let people = [
            ("root", &*admin, true),
            ("ada", "ada-token", false),
            ("rex", "rex-token", false),
            ("eve", "eve-token", false),
        ];
        for (name, token, is_admin) in people {
            tx.put_person(name, &Digest::of(token.as_bytes()), is_admin, Stamp::ZERO)
                .await
                .expect("a person");
        }
        tx.commit().await.expect("people");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let line = match options.line {
            Some(weather) => {
                let line = Proxy::to(&[listener.local_addr().expect("an address")]).await;
                line.turns(weather);
                Some(line)
            }
            None => None,
        };
        let public_url = line.as_ref().map_or_else(|| url.clone(), |line| format!("http://{}", line.address));
        // Real containers may leave a builder no time to say anything for many seconds.
        let (patience, deadline) = if options.engine.is_some() {
            (Patience { max_tries: 10, ..Patience::default() }, REAL_DEADLINE)
        } else {
            let patience = Patience {
                offer_ms: 2_000,
                lease_ms: 3_000,
                stop_ms: 3_000,
                max_tries: 3,
                backoff_ms: 50,
                ..Patience::default()
            };
            (patience, DEADLINE)
        };
        let config = hub::config::Config {
            data: data.clone(),
            public_url: public_url.clone(),
            hooks: if options.hooks { programs() } else { scratch.path().join("no-hooks") },
            hook_ms: HOOK_MS,
            keeper_ms: 200,
            sweep_ms: options.sweep_ms,
            recheck_ms: options.recheck_ms,
            file_repos: options.file_repos.clone(),
            outside_ms: options.outside_ms,
            keep_public_hours: options.keep_public_hours,
            mirror_lag_hours: 0,
            s3: options.s3,
            patience: patience.clone(),
            ..Default::default()
        };
        let hub = Hub::open(db.clone(), bus.clone(), config).expect("the hub opens");
        let workshop = Workshop::new(scratch.path());
        let (shop, artifacts) = (workshop.clone(), data.join("artifacts"));
        let engine = Dummy::new(move |recipe, step| shop.script(recipe, step, &artifacts));
        let used = match &options.engine {
            Some(address) => Engine::connect(address).expect("the container engine's address"),
            None => Engine::Dummy(engine.clone()),
        };
        let name = services.map_or_else(
            || format!("story-{}", &Digest::of(url.as_bytes()).short()),
            |services| services.name,
        );
        let identity = builder::Identity::fresh(&name).expect("a secret");
        let mut tx = db.write().await.expect("the ledger writes");
        tx.admit_builder(&name, &identity.digest()).await.expect("a builder");
        tx.commit().await.expect("a builder");
        let (stop, stopped) = watch::channel(false);
        let builder_config = builder::Config {
            name: name.clone(),
            hub: url.parse().expect("a URL"),
            data: scratch.path().join("builder"),
            arches: options.arches,
            emulated: options.emulated,
            file_repos: options.file_repos,
            presence_ms: 200,
            // What this machine happens to have must not decide how many jobs are done at once.
            memory_mb: Some(1 << 20),
            disk_mb: Some(options.disk_mb),
            ..Default::default()
        };
        let signer = signer(&db, &hub, &url, &options.keys.unwrap_or_else(|| scratch.path().join("keys")));
        let scheduler_config = scheduler::Config { tick_ms: 100, patience, ..Default::default() };
        let roles = vec![
            tokio::spawn(hub::run(hub, listener, stopped.clone())),
            tokio::spawn(scheduler::run(
                scheduler::Parts { db: db.clone(), bus: bus.clone() },
                scheduler_config,
                stopped.clone(),
            )),
            tokio::spawn(builder::run(
                builder::Parts { bus, engine: used.clone(), identity },
                builder_config,
                stopped.clone(),
            )),
            tokio::spawn(signer::run(signer.0, signer.1, stopped)),
        ];
        Self {
            url,
            public_url,
            line,
            admin,
            engine,
            used,
            name,
            deadline,
            db,
            data,
            workshop,
            http: reqwest::Client::new(),
            stop,
            roles,
            scratch,
        }
    }

    /// Applies a template as the admin; gives the number of changes.
    pub async fn apply(&self, template: &str) -> usize {
        let answer = self
            .post(&self.admin, "/api/v1/sigs/apply", &json!({"file": "story.toml", "template": template}))
            .await;
        assert_eq!(answer.0, 200, "{}", answer.1);
        answer.1["changes"].as_array().expect("changes").len()
    }

    /// Commits a package's tree and pushes it as a person; gives what git printed.
    pub fn push(&self, person: &str, package: &Package, branch: &str) -> Output {
        let dir = self.scratch.path().join("checkouts").join(&package.name);
        if !dir.exists() {
            std::fs::create_dir_all(&dir).expect("a folder");
            git(&dir, &["init", "-q", "-b", "work"]);
        }
        for (path, content, executable) in package.tree() {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(&path, content).expect("a file");
            if executable {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
            }
        }
        commit_all(&dir, &format!("Update to {}", package.version));
        self.push_checkout(person, &package.name, branch)
    }

    /// Pushes a folder as a package, as ada, and gives the build's id.
    pub fn build_folder(&self, folder: &Path, package: &str, branch: &str) -> RequestId {
        let dir = self.scratch.path().join("checkouts").join(package);
        if !dir.exists() {
            std::fs::create_dir_all(&dir).expect("a folder");
            git(&dir, &["init", "-q", "-b", "work"]);
        }
        let copied = Command::new("cp").arg("-a").arg(folder.join(".")).arg(&dir).status().expect("cp runs");
        assert!(copied.success(), "cannot copy {}", folder.display());
        commit_all(&dir, "Update");
        announced(&self.push_checkout("ada", package, branch))
    }

    /// Commits these files, and nothing else, to a repo that is no package's (`metadata/demo`), and pushes its branch `main` as a
    /// person; gives what git printed.
    pub fn push_files(&self, person: &str, repo: &str, files: &[(&str, &str)]) -> Output {
        let dir = self.scratch.path().join("checkouts").join(repo);
        if !dir.exists() {
            std::fs::create_dir_all(&dir).expect("a folder");
            git(&dir, &["init", "-q", "-b", "work"]);
        }
        git(&dir, &["rm", "-rq", "--ignore-unmatch", "."]);
        for (name, text) in files {
            std::fs::write(dir.join(name), text).expect("a file");
        }
        commit_all(&dir, "Update");
        self.push_head(person, &dir, repo, "main")
    }

    /// Pushes what was committed before.
    pub fn push_checkout(&self, person: &str, package: &str, branch: &str) -> Output {
        let dir = self.scratch.path().join("checkouts").join(package);
        self.push_head(person, &dir, &format!("rpms/{package}"), branch)
    }

    fn push_head(&self, person: &str, dir: &Path, repo: &str, branch: &str) -> Output {
        let token = if person == "root" { self.admin.clone() } else { format!("{person}-token") };
        let host = self.url.strip_prefix("http://").expect("a URL");
        let remote = format!("http://{person}:{token}@{host}/git/{repo}.git");
        run_git(dir, &["push", &remote, &format!("HEAD:refs/heads/{branch}")])
    }

    /// Pushes as ada to the branch that is built, and gives the build's id.
    pub fn build(&self, package: &Package) -> RequestId {
        announced(&self.push("ada", package, "c9s-sig-demo-hello"))
    }

    /// Lets a package go on that waits for it.
    pub fn go(&self, package: &Package) {
        std::fs::write(self.workshop.go(package), "").expect("a file");
    }

    /// From now on the suites of this package fail, although nothing of it has changed.
    pub fn breaks(&self, package: &Package) {
        let broken = Package { behaviour: Behaviour::FailsItsTests, ..package.clone() };
        let _it_is_known_now = self.workshop.source_rpm(&broken);
    }

    /// Waits until a request is over.
    pub async fn closed(&self, id: RequestId) -> RequestView {
        self.until(&format!("{id} is over"), || async {
            Some(self.request(id).await).filter(|view| view.status.is_final())
        })
        .await
    }

    /// A request.
    pub async fn request(&self, id: RequestId) -> RequestView {
        let (status, body) = self.get(&format!("/api/v1/builds/{id}")).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_value(body).expect("a request")
    }

    /// Waits until the promotion that a build opened by itself is settled, and gives it.
    pub async fn tested(&self, nvr: &str) -> Promotion {
        self.until(&format!("{nvr} is tested"), || async {
            let (_, body) = self.get("/api/v1/promotions?limit=200").await;
            let page: ::farm::api::Page<Promotion> = promotions_in(body);
            page.items.into_iter().find(|p| p.by == "gate" && p.nvrs == [nvr] && p.is_settled())
        })
        .await
    }

    /// Asks for a promotion to production as a person; gives the HTTP status and the answer.
    pub async fn promote(&self, person: &str, nvrs: &[&str]) -> (u16, Value) {
        self.post(&format!("{person}-token"), "/api/v1/promotions", &json!({"nvrs": nvrs, "to": "release"}))
            .await
    }

    /// Waits until a promotion is settled.
    pub async fn settled(&self, id: PromotionId) -> PromotionView {
        self.until(&format!("{id} is settled"), || async {
            Some(self.promotion(id).await).filter(|view| view.promotion.is_settled())
        })
        .await
    }

    /// A promotion.
    pub async fn promotion(&self, id: PromotionId) -> PromotionView {
        let (status, body) = self.get(&format!("/api/v1/promotions/{id}")).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_value(body).expect("a promotion")
    }

    /// What a stage's repo holds: the NVRs.
    pub async fn repo(&self, stage: &str) -> Vec<String> {
        let (status, body) = self.get(&format!("/api/v1/tags/demo9s-hello-2-{stage}")).await;
        assert_eq!(status, 200, "{body}");
        let tag: TagView = serde_json::from_value(body).expect("a tag");
        tag.builds.into_iter().map(|build| build.nvr).collect()
    }

    /// Waits until a stage's repo holds just these NVRs.
    pub async fn repo_holds(&self, stage: &str, nvrs: &[&str]) {
        self.until(&format!("{stage} holds {nvrs:?}"), || async {
            (self.repo(stage).await == nvrs).then_some(())
        })
        .await;
    }

    /// A scratch build of a source RPM, by eve, who is in no SIG.
    pub async fn scratch(&self, package: &Package) -> RequestId {
        let (name, bytes) = self.workshop.source_rpm(package);
        let url = format!("{}/api/v1/builds/srpm?target=demo9s-hello-2-el9s&name={name}", self.url);
        let answer =
            self.http.post(url).bearer_auth("eve-token").body(bytes).send().await.expect("an answer");
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.expect("JSON");
        assert!((200..300).contains(&status), "{body}");
        serde_json::from_value::<Made<RequestId>>(body).expect("an id").id
    }

    /// A log of a job of a request.
    pub async fn log(&self, request: &RequestView, label: &str, name: &str) -> String {
        let job =
            request.jobs.iter().find(|job| job.label == label).unwrap_or_else(|| panic!("no {label} job"));
        let url = format!("{}/api/v1/jobs/{}/logs/{name}", self.url, job.id);
        self.http.get(url).send().await.expect("an answer").text().await.expect("text")
    }

    /// GET without a token.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// POST with a token.
    pub async fn post(&self, token: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(token).json(body);
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// The folder that everybody is served.
    #[must_use]
    pub fn public(&self) -> PathBuf {
        self.data.join("public")
    }

    /// Every file below the public root with its content's digest, for comparing byte for byte.
    pub fn public_tree(&self) -> Vec<(PathBuf, Digest)> {
        let mut files = Vec::new();
        walk(&self.data.join("public").join("mirror"), &mut files);
        files.sort();
        files
    }

    /// Waits until something is there.
    pub async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(begun.elapsed() < self.deadline, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asserts that nothing is unsettled and no container is left, and stops the farm.
    pub async fn ends_well(self) {
        self.until("everything is settled", || async {
            let mut tx = self.db.read().await.expect("the ledger reads");
            let open = tx.open_requests().await.expect("requests").len();
            let promotions = tx.unsettled_promotions().await.expect("promotions").len();
            let jobs = tx.jobs_by_phase().await.expect("jobs");
            let busy: i64 = jobs.iter().filter(|(phase, _)| *phase != "done").map(|(_, count)| count).sum();
            (open == 0 && promotions == 0 && busy == 0 && self.engine.running() == 0).then_some(())
        })
        .await;
        self.stop.send_replace(true);
        for role in self.roles {
            role.await.expect("a role does not panic").expect("a role ends well");
        }
        assert_eq!(self.engine.running(), 0, "a container is left");
        let kept = builder::kept_images(&self.scratch.path().join("builder"))
            .expect("the builder's notes are readable");
        let left = self.used.leftovers(&self.name, &kept).await.expect("the engine answers");
        assert_eq!(left, 0, "containers or images are left in the engine");
        // The roots it kept go with its folder.
        self.used.reap_all(&self.name, &Kept::new()).await.expect("the engine removes images");
    }
}

/// Promotions come as views or bare, whichever the listing gives.
fn promotions_in(body: Value) -> ::farm::api::Page<Promotion> {
    let items = body["items"].as_array().cloned().unwrap_or_default();
    let items = items
        .into_iter()
        .map(|item| {
            serde_json::from_value(item.get("promotion").cloned().unwrap_or(item)).expect("a promotion")
        })
        .collect();
    ::farm::api::Page { items, next: None }
}

/// The id of the build that git announced to the pusher.
fn announced(output: &Output) -> RequestId {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let id = said.split("/builds/").nth(1).unwrap_or_else(|| panic!("no build was announced: {said}"));
    id.split_whitespace().next().expect("an id").parse().expect("an id")
}

fn commit_all(dir: &Path, message: &str) {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "--allow-empty", "-m", message]);
}

fn git(dir: &Path, args: &[&str]) {
    let output = run_git(dir, args);
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn walk(dir: &Path, files: &mut Vec<(PathBuf, Digest)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            let content = std::fs::read(&path).expect("a file");
            files.push((path, Digest::of(&content)));
        }
    }
}

/// The template of a SIG `above`, whose project is layered on what SIG demo has released.
pub const SIG_ABOVE: &str = r#"
name = "above"
[[member]]
name = "ada"
roles = ["maintainer"]
[[member]]
name = "rex"
roles = ["release-manager"]
[[project]]
name = "moon"
release = "1"
dist = "9s"
arches = ["x86_64"]
packages = ["moon"]
image = "dummy"
inherit = ["demo9s-hello-2-release"]
[project.tests]
required = ["installs", "runs"]
[project.limits]
seconds = 600
"#;

/// The template of a SIG `demo` that ada maintains and whose releases rex manages, with all that `rest` says of it besides.
#[must_use]
pub fn demo_sig(rest: &str) -> String {
    format!(
        r#"
name = "demo"
[[member]]
name = "ada"
roles = ["maintainer"]
[[member]]
name = "rex"
roles = ["release-manager"]
{rest}"#
    )
}

/// The SIG `demo` of most stories.
const DEMO: &str = r#"
name = "demo"
title = "The stories' SIG"

[[member]]
name = "ada"
roles = ["maintainer"]

[[member]]
name = "rex"
roles = ["maintainer", "release-manager"]

[[project]]
name = "hello"
release = "2"
dist = "9s"
arches = ["x86_64"]
packages = ["hello", "world"]
branches = ["c9s-sig-demo-next"]
image = "dummy"

[project.tests]
required = ["installs", "runs"]

[project.limits]
seconds = 600
log_mb = 1
"#;

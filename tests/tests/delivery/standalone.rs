//! The farm of these stories: one real process that is killed, held and started again, and a ledger and a folder to look at.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use cli::verify;
use farm::api::PromotionView;
use farm::digest::Digest;
use farm::ids::{PromotionId, SnapshotId};
use farm::ledger::{Db, PromotionFilter};
use farm::promotion::{Promotion, PromotionState};
use farm::stamp::Stamp;
use hub::repos::manifest;
use serde_json::{Value, json};
use tests::processes::yard::{Order, Yard, artifacts};
use tests::processes::{Process, free_port};
use tests::{Behaviour, Package, S3Server, audit, demo_sig, programs, run_git};

/// How long a story waits for something: far longer than anything takes.
const DEADLINE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

pub(crate) const TESTING: &str = "demo9s-fruit-1-testing";
pub(crate) const RELEASE: &str = "demo9s-fruit-1-release";
const BRANCH: &str = "c9s-sig-demo-fruit";

/// The farm.
pub(crate) struct Standalone {
    process: Process,
    folder: tempfile::TempDir,
    pub(crate) data: PathBuf,
    pub(crate) yard: Yard,
    pub(crate) db: Db,
    url: String,
    http: reqwest::Client,
}

impl Standalone {
    /// A farm at work, with the SIG `demo`.
    pub(crate) async fn new() -> Standalone {
        Standalone::on(None, "[\"x86_64\"]").await
    }

    /// The same with its files in this bucket.
    pub(crate) async fn before(server: &S3Server) -> Standalone {
        Standalone::made(None, "[\"x86_64\"]", Some(server)).await
    }

    /// The same with its data in this folder, and these architectures.
    pub(crate) async fn on(data: Option<&Path>, arches: &str) -> Standalone {
        Standalone::made(data, arches, None).await
    }

    async fn made(data: Option<&Path>, arches: &str, bucket: Option<&S3Server>) -> Standalone {
        let _another_story_did = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let data = data.map_or_else(|| path.join("data"), |data| data.join("data"));
        std::fs::create_dir(path.join("yard")).unwrap();
        std::fs::create_dir(&data).unwrap();
        let yard = Yard::new(path.join("yard"), artifacts(&data));
        let ledger = format!("sqlite:{}", path.join("ledger.sqlite").display());
        let db = Db::open(&ledger).await.unwrap();
        let mut tx = db.write().await.unwrap();
        for (name, admin) in [("root", true), ("ada", false), ("rex", false)] {
            let token = Digest::of(format!("{name}-token").as_bytes());
            tx.put_person(name, &token, admin, Stamp::ZERO).await.unwrap();
        }
        tx.commit().await.unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let mut process = Process::new("farm", path, programs().join("test-standalone"))
            .arg("--data")
            .arg(data.display())
            .arg("--ledger")
            .arg(&ledger)
            .arg("--listen")
            .arg(&listen)
            .arg("--yard")
            .arg(path.join("yard").display());
        if let Some(server) = bucket {
            let settings = path.join("bucket.toml");
            std::fs::write(&settings, server.settings()).unwrap();
            process = process.arg("--bucket").arg(settings.display());
        }
        let url = format!("http://{listen}");
        let mut farm = Standalone { process, folder, data, yard, db, url, http: reqwest::Client::new() };
        farm.start().await;
        let template = demo_sig(&PROJECT.replace("ARCHES", arches));
        let body = json!({"file": "sig.toml", "template": template});
        farm.ask("root", "/api/v1/sigs/apply", &body).await;
        farm
    }

    /// Starts it, and waits until it answers.
    pub(crate) async fn start(&mut self) {
        self.process.start();
        let begun = Instant::now();
        while reqwest::get(format!("{}/api/v1/status", self.url)).await.is_err() {
            assert!(!self.process.has_ended(), "it ended by itself: {}", self.process.log());
            assert!(begun.elapsed() < DEADLINE, "it does not answer: {}", self.process.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it has been killed at a step.
    pub(crate) async fn is_killed_at(&mut self, step: &str) {
        let begun = Instant::now();
        while !self.process.has_ended() {
            assert!(begun.elapsed() < DEADLINE, "it never came to `{step}`: {}", self.process.log());
            tokio::time::sleep(LOOK).await;
        }
        self.process.kill();
        self.yard.countermand();
    }

    /// Waits until it is held at the step it was ordered to.
    pub(crate) async fn is_held(&self, step: &str) {
        self.until(&format!("it comes to `{step}`"), async || self.yard.is_held().then_some(())).await;
    }

    /// Orders it to stop at a step.
    pub(crate) fn order(&self, order: Order, step: &str) {
        self.yard.countermand();
        self.yard.order(order, step);
    }

    /// Asks the API for something as a person, who gets it.
    pub(crate) async fn ask(&self, person: &str, path: &str, body: &Value) -> Value {
        let call = self.http.post(format!("{}{path}", self.url)).bearer_auth(format!("{person}-token"));
        let answer = call.json(body).send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{path}: {body}");
        body
    }

    /// Commits a version of a package and pushes it as ada.
    pub(crate) fn push(&self, name: &str, version: &str) {
        let pushed = self.try_to_push(name, version);
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    }

    /// The same where the farm may be killed before git hears that the push is there.
    pub(crate) fn push_to_death(&self, name: &str, version: &str) {
        let _git_may_hear_of_its_death = self.try_to_push(name, version);
    }

    fn try_to_push(&self, name: &str, version: &str) -> Output {
        let dir = self.folder.path().join("checkouts").join(name);
        let git = |args: &[&str]| {
            let done = run_git(&dir, args);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        if !dir.exists() {
            std::fs::create_dir_all(&dir).unwrap();
            git(&["init", "-q", "-b", "work"]);
        }
        for (path, content, _) in Package::new(name, version, Behaviour::Builds).tree() {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        git(&["add", "-A"]);
        git(&["commit", "-q", "-m", &format!("Update to {version}")]);
        let host = self.url.strip_prefix("http://").unwrap();
        let remote = format!("http://ada:ada-token@{host}/git/rpms/{name}.git");
        run_git(&dir, &["push", "-q", &remote, &format!("HEAD:refs/heads/{BRANCH}")])
    }

    /// Pushes a version and waits until it is in testing.
    pub(crate) async fn publish(&self, name: &str, version: &str) {
        self.push(name, version);
        let nvr = format!("{name}-{version}-1");
        self.until(&format!("{nvr} is in testing"), async || {
            (self.shown(TESTING).await.contains(&nvr) && self.is_settled().await).then_some(())
        })
        .await;
    }

    /// Promotes to production as rex.
    pub(crate) async fn promote(&self, nvrs: &[&str]) -> PromotionId {
        let opened = self.ask("rex", "/api/v1/promotions", &json!({"nvrs": nvrs, "to": "release"})).await;
        opened["id"].as_str().unwrap().parse().unwrap()
    }

    /// Goes back to what production showed as this revision.
    pub(crate) async fn roll_back(&self, revision: i64) -> PromotionId {
        let body =
            json!({"tag": RELEASE, "revision": revision, "reason": "the story wants it so", "confirm": true});
        self.ask("rex", "/api/v1/rollbacks", &body).await["id"].as_str().unwrap().parse().unwrap()
    }

    /// Waits until nothing moves any more.
    pub(crate) async fn settles(&self) {
        self.until("everything is settled", async || self.is_settled().await.then_some(())).await;
    }

    async fn is_settled(&self) -> bool {
        let mut tx = self.db.read().await.unwrap();
        tx.open_requests().await.unwrap().is_empty()
            && tx.unsettled_promotions().await.unwrap().is_empty()
            && tx.uncomposed().await.unwrap().is_empty()
            && tx.repos().await.unwrap().iter().all(|repo| self.link(&repo.tag) == repo.current)
    }

    /// The snapshot that the link of a tag leads to.
    fn link(&self, tag: &str) -> Option<SnapshotId> {
        let tree = if tag.ends_with("-candidate") { "candidate" } else { "public" };
        let target = std::fs::read_link(self.data.join(tree).join("live").join(tag)).ok()?;
        target.file_name()?.to_str()?.parse().ok()
    }

    /// A promotion as people read it.
    pub(crate) async fn promotion(&self, id: PromotionId) -> PromotionView {
        let url = format!("{}/api/v1/promotions/{id}", self.url);
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// The promotion that is not settled; `None` when there is none.
    pub(crate) async fn moving(&self) -> Option<PromotionId> {
        self.db.read().await.unwrap().unsettled_promotions().await.unwrap().first().map(|moving| moving.id)
    }

    /// Every promotion, the newest first.
    pub(crate) async fn promotions(&self) -> Vec<Promotion> {
        let all = PromotionFilter { limit: 10_000, ..PromotionFilter::default() };
        self.db.read().await.unwrap().promotions(&all).await.unwrap()
    }

    /// What users find in a repo: the NVRs of the snapshot that its link leads to.
    pub(crate) async fn shown(&self, tag: &str) -> Vec<String> {
        let Ok(target) = std::fs::read_link(self.data.join("public/live").join(tag)) else {
            return Vec::new();
        };
        let id: SnapshotId = target.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let snapshot =
            self.db.read().await.unwrap().snapshot(id).await.unwrap().expect("it is in the ledger");
        let mut nvrs: Vec<String> = snapshot.members.iter().map(|member| member.nvr.clone()).collect();
        nvrs.sort();
        nvrs
    }

    /// The packages that the metadata of a repo lists now.
    pub(crate) fn listed(&self, tag: &str) -> Vec<PathBuf> {
        let live = self.data.join("public/live").join(tag).canonicalize().unwrap();
        let id: SnapshotId = live.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let files = |folder: &String| {
            let files = manifest::read(&live, id, folder).unwrap().files.into_iter();
            let packages = files.filter(|file| manifest::is_package(&file.path));
            packages.map(|file| live.join(folder).join(file.path)).collect::<Vec<_>>()
        };
        manifest::folders_of(&live).unwrap().iter().flat_map(files).collect()
    }

    /// What the lists of a repo name now, at the paths people know: packages and indexes.
    pub(crate) fn named(&self, tag: &str) -> Vec<(PathBuf, Digest)> {
        let live = self.data.join("public/live").join(tag).canonicalize().unwrap();
        let id: SnapshotId = live.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let top = if tag == RELEASE { "mirror/SIGs" } else { "buildlogs/centos" };
        let mut named = Vec::new();
        for folder in manifest::folders_of(&live).unwrap() {
            let plain =
                self.data.join("public").join(top).join("9-stream/demo").join(&folder).join("fruit-1");
            let files = manifest::read(&live, id, &folder).unwrap().files.into_iter();
            let files = files.filter(|file| !file.path.ends_with("repomd.xml"));
            named.extend(files.map(|file| (plain.join(file.path), file.digest)));
        }
        named
    }

    /// Does whoever has read a list find what it named, at the same place? `when` says when that is asked.
    pub(crate) fn still_has(&self, named: &[(PathBuf, Digest)], when: &str) {
        for (path, digest) in named {
            let found = std::fs::read(path).unwrap_or_else(|why| panic!("{when}: {}: {why}", path.display()));
            assert_eq!(Digest::of(&found), *digest, "{when}: {}", path.display());
        }
    }

    /// How often a repo's pointer has moved, which is the number of its revision.
    pub(crate) async fn revision(&self, tag: &str) -> i64 {
        self.db.read().await.unwrap().repo(tag).await.unwrap().revision
    }

    /// Is everything that users can fetch whole, tested and signed? `when` says when that is asked.
    pub(crate) async fn is_whole(&self, when: &str) {
        self.is_whole_at(self.data.join("public").to_str().unwrap(), when).await;
    }

    /// The same of what users fetch from it, while it runs.
    pub(crate) async fn is_fetched_whole(&self, when: &str) {
        self.is_whole_at(&format!("{}/repos/", self.url), when).await;
    }

    async fn is_whole_at(&self, place: &str, when: &str) {
        let mut wrong = audit(&self.db, &self.data).await;
        let public = self.data.join("public");
        let place = verify::Place::open(place).map_err(|failure| format!("{failure:?}")).unwrap();
        let keys =
            verify::Keys::read(&public.join("keys")).map_err(|failure| format!("{failure:?}")).unwrap();
        let options = verify::Options { deep: true, ..verify::Options::default() };
        let report =
            verify::audit(&place, &keys, &options).await.map_err(|failure| format!("{failure:?}")).unwrap();
        wrong.extend(
            report.all_violations().map(|violation| format!("{}: {}", violation.file, violation.reason)),
        );
        assert!(wrong.is_empty(), "{when}: {wrong:#?}\n{}", self.process.log());
    }

    /// Is nothing half-done left, and has every promotion that was asked for been published?
    pub(crate) async fn has_come_to_its_end(&self, when: &str) {
        let mut left = Vec::new();
        for folder in ["public", "candidate", "staging"] {
            half_done(&self.data.join(folder), &mut left);
        }
        assert!(left.is_empty(), "{when}: {left:#?}");
        for promotion in self.promotions().await {
            assert!(matches!(promotion.state, PromotionState::Published { .. }), "{when}: {promotion:?}");
        }
    }

    /// Waits until something is there.
    pub(crate) async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}: {}", self.process.log());
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Files and directories that never got their names, and what was staged for the public and did not get there.
fn half_done(dir: &Path, left: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with(".partial") || name.ends_with(".public") {
            left.push(entry.path());
        } else if entry.file_type().unwrap().is_dir() {
            half_done(&entry.path(), left);
        }
    }
}

const PROJECT: &str = r#"
[[project]]
name = "fruit"
release = "1"
dist = "9s"
arches = ARCHES
packages = ["quick-apple", "quick-plum"]
image = "dummy"
[project.tests]
required = ["installs"]
"#;

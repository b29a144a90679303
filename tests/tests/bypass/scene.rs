//! A farm to attack: hub, ledger, disk and signer are real; the keeper and the builders act when a story says so, so that an
//! attacker can step in between any two of their steps. The ledger is a file, whose rows the attacker may edit.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use farm::digest::Digest;
use farm::ids::PromotionId;
use farm::job::JobKind;
use farm::ledger::{Db, Kept, PromotionFilter};
use farm::outcome::Outcome;
use farm::promotion::{Promotion, PromotionState};
use farm::recipe::Input;
use farm::request::{Request, RequestKind, Source};
use farm::sig::template;
use farm::signing::{Purpose, SignedFile, current};
use farm::snapshot::Snapshot;
use farm::stamp::Stamp;
use farm::wire::Bus;
use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Repository, Signature, Time};
use hub::keeper;
use hub::rpms::sample::sample_rpm;
use hub::state::Hub;
use serde_json::{Value, json};
use tests::turns;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What is attacked: the SIG `demo`, whose releases rex and rita manage.
pub(crate) const TARGET: &str = "demo9s-fruit-1-el9s";
pub(crate) const CANDIDATE: &str = "demo9s-fruit-1-candidate";
pub(crate) const TESTING: &str = "demo9s-fruit-1-testing";
pub(crate) const RELEASE: &str = "demo9s-fruit-1-release";
/// Another SIG on the same farm, whose releases vic manages.
pub(crate) const RIVAL: &str = "rival9s-roots-1-el9s";
pub(crate) const RIVAL_TESTING: &str = "rival9s-roots-1-testing";

pub(crate) const DEMO: &str = r#"
name = "demo"
[[member]]
name = "ada"
roles = ["maintainer"]
[[member]]
name = "rex"
roles = ["release-manager"]
[[member]]
name = "rita"
roles = ["release-manager"]
[[project]]
name = "fruit"
release = "1"
dist = "9s"
arches = ["x86_64"]
packages = ["apple", "pear"]
image = "dummy"
[project.tests]
required = ["installs"]
"#;

const RIVALS: &str = r#"
name = "rival"
[[member]]
name = "vic"
roles = ["maintainer", "release-manager"]
[[project]]
name = "roots"
release = "1"
dist = "9s"
arches = ["x86_64"]
packages = ["carrot"]
image = "dummy"
[project.tests]
required = ["installs"]
"#;

/// How long a story waits for something before it gives up.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Scene {
    pub(crate) hub: Hub,
    pub(crate) db: Db,
    pub(crate) data: tempfile::TempDir,
    pub(crate) url: String,
    /// How tests end.
    pub(crate) tests: Outcome,
    /// What a builder says that a build on this architecture made of a package: name and bytes of the RPM.
    pub(crate) made: fn(&str, &str, &str) -> (String, Vec<u8>),
    signer: Option<(watch::Sender<bool>, JoinHandle<anyhow::Result<()>>)>,
    /// The hub's port, which closes with the scene.
    _serving: JoinSet<()>,
}

impl Scene {
    pub(crate) async fn new() -> Scene {
        let _another_story_did = rustls::crypto::ring::default_provider().install_default();
        let data = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", data.path().join("ledger.sqlite").display())).await.unwrap();
        let mut tx = db.write().await.unwrap();
        for name in ["root", "ada", "rex", "rita", "vic", "eve"] {
            let token = Digest::of(format!("{name}-token").as_bytes());
            tx.put_person(name, &token, name == "root", Stamp::ZERO).await.unwrap();
        }
        tx.commit().await.unwrap();
        let patience = farm::job::Patience { backoff_ms: 0, ..Default::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = hub::config::Config {
            data: data.path().to_owned(),
            public_url: url.clone(),
            patience,
            ..Default::default()
        };
        let hub = Hub::open(db.clone(), Bus::local(), config).unwrap();
        let mut serving = JoinSet::new();
        let (served, (never, stopped)) = (hub.clone(), watch::channel(false));
        serving.spawn(async move {
            let _never_told = never;
            hub::serve(served, listener, stopped).await.unwrap();
        });
        let tests = Outcome::Passed;
        let scene = Scene { hub, db, data, url, tests, made: honest, signer: None, _serving: serving };
        scene.apply(DEMO).await;
        scene.apply(RIVALS).await;
        scene
    }

    /// Applies a template, as an admin does.
    pub(crate) async fn apply(&self, text: &str) {
        let sig = template::parse("sig.toml", text).unwrap_or_else(|faults| panic!("{faults}"));
        let mut tx = self.db.write().await.unwrap();
        tx.apply_sig(&sig, text, "root", self.hub.now()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
    }

    /// A signer begins to work, with the keys it had before.
    pub(crate) fn signer_works(&mut self) {
        let (parts, config) = tests::signer(&self.db, &self.hub, &self.url, &self.keys());
        let (stop, stopped) = watch::channel(false);
        self.signer = Some((stop, tokio::spawn(signer::run(parts, config, stopped))));
    }

    /// It goes away.
    pub(crate) async fn signer_leaves(&mut self) {
        if let Some((stop, signer)) = self.signer.take() {
            stop.send_replace(true);
            signer.await.unwrap().unwrap();
        }
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.data.path().join("keys")
    }

    /// The keeper does what it can.
    pub(crate) async fn settle(&self) {
        keeper::settle(&self.hub).await.unwrap();
    }

    /// Somebody asks for a build. What they upload is a source RPM.
    pub(crate) async fn ask_for(&self, kind: RequestKind, target: &str, package: &str, version: &str) {
        let sample = sample_rpm(package, version, "1", "src");
        let stored = self.hub.artifacts.put_bytes(&sample.bytes().unwrap()).await.unwrap();
        let (sig, _) = target.split_once("9s-").unwrap();
        let request = Request {
            id: self.hub.mint(),
            kind,
            sig: sig.to_owned(),
            target: target.to_owned(),
            package: package.to_owned(),
            by: "ada".to_owned(),
            source: Source::Srpm {
                srpm: Input { name: sample.file_name(), digest: stored.digest, size: stored.size },
            },
            created: self.hub.now(),
            retry_of: None,
            closed: None,
            chain: None,
        };
        let mut tx = self.db.write().await.unwrap();
        tx.insert_request(&request).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Keeper and builders work until neither has anything to do. Without a signer, what is to be published waits for one.
    pub(crate) async fn works(&self) {
        loop {
            self.settle().await;
            if !self.builders_work().await {
                return;
            }
        }
    }

    /// Builders do what waits; says whether there was anything.
    async fn builders_work(&self) -> bool {
        let (patience, now) = (self.hub.config.patience.clone(), self.hub.now());
        let backlog = self.db.read().await.unwrap().backlog(now, 1_000).await.unwrap();
        for candidate in &backlog {
            let mut tx = self.db.write().await.unwrap();
            let taken = turns::take(&mut tx, candidate.job, now, &patience).await.unwrap();
            tx.commit().await.unwrap();
            let job = &taken.job;
            let mut outcome = self.tests.clone();
            if job.kind == JobKind::Build {
                outcome = Outcome::Passed;
                let request = self.db.read().await.unwrap().request(job.request).await.unwrap().unwrap();
                let Source::Srpm { srpm } = &request.source else { panic!("source RPMs are built here") };
                let version = srpm.name.split('-').nth(1).unwrap();
                let made = (self.made)(&request.package, version, job.arch.as_str());
                turns::bring(&self.hub, &self.db, job, [made, turns::lock(job)]).await;
            }
            let mut tx = self.db.write().await.unwrap();
            tx.step_job(job.id, taken.finish(outcome), now, &patience).await.unwrap();
            tx.commit().await.unwrap();
        }
        !backlog.is_empty()
    }

    /// Builds a version of a package of a SIG and has it tested: without a signer it waits for one then, else it is in testing.
    pub(crate) async fn built(&self, target: &str, package: &str, version: &str) -> Kept<Promotion> {
        self.ask_for(RequestKind::Build, target, package, version).await;
        self.works().await;
        let nvr = format!("{package}-{version}-1");
        let promotion =
            self.promotion_of(&nvr, "testing").await.expect("the build opens a promotion by itself");
        if self.signer.is_none() {
            return promotion;
        }
        self.settled(promotion.id).await
    }

    /// The newest promotion of a build to a stage.
    pub(crate) async fn promotion_of(&self, nvr: &str, stage: &str) -> Option<Kept<Promotion>> {
        let mut tx = self.db.read().await.unwrap();
        let filter = PromotionFilter { limit: 100, ..Default::default() };
        let all = tx.promotions(&filter).await.unwrap();
        let found =
            all.into_iter().find(|one| one.to.as_str() == stage && one.nvrs.iter().any(|n| n == nvr))?;
        tx.promotion(found.id).await.unwrap()
    }

    pub(crate) async fn promotion(&self, id: PromotionId) -> Kept<Promotion> {
        self.db.read().await.unwrap().promotion(id).await.unwrap().unwrap()
    }

    pub(crate) async fn snapshot(&self, promotion: &Promotion) -> Arc<Snapshot> {
        self.db.read().await.unwrap().snapshot(promotion.snapshot().unwrap()).await.unwrap().unwrap()
    }

    /// Waits until something is there; the keeper works meanwhile.
    pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        look: impl Fn() -> F,
    ) -> T {
        self.wait(what, true, look).await
    }

    /// Waits until something is there; nobody but the signer works meanwhile.
    pub(crate) async fn watch<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        look: impl Fn() -> F,
    ) -> T {
        self.wait(what, false, look).await
    }

    async fn wait<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        keep: bool,
        look: impl Fn() -> F,
    ) -> T {
        let begun = Instant::now();
        loop {
            if keep {
                self.works().await;
            }
            if let Some(found) = look().await {
                return found;
            }
            assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn settled(&self, id: PromotionId) -> Kept<Promotion> {
        self.until("the promotion is settled", || async {
            Some(self.promotion(id).await).filter(|promotion| promotion.is_settled())
        })
        .await
    }

    pub(crate) async fn published(&self, id: PromotionId) -> Kept<Promotion> {
        let promotion = self.settled(id).await;
        assert!(matches!(promotion.state, PromotionState::Published { .. }), "{:?}", promotion.state);
        promotion
    }

    /// Waits until the signer says why it does not sign for a promotion, in these words among others.
    pub(crate) async fn signer_refuses(&self, id: PromotionId, words: &str) {
        self.until(&format!("the signer says `{words}`"), || async {
            let heard = self.db.read().await.unwrap().signers().await.unwrap();
            let said = heard.iter().find_map(|heard| heard.word.troubles.get(&id).cloned())?;
            said.contains(words).then_some(())
        })
        .await;
    }

    /// Edits rows of the ledger behind the farm's back. Says how many.
    pub(crate) async fn edit(&self, sql: &str) -> u64 {
        let Db::Lite { writer, .. } = &self.db else { panic!("the ledger is a file") };
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(writer).await.unwrap().rows_affected()
    }

    /// Edits what one row says of itself.
    pub(crate) async fn edit_doc(
        &self,
        table: &str,
        key: &str,
        id: impl ToString,
        path: &str,
        value: &Value,
    ) {
        let value = value.to_string().replace('\'', "''");
        let sql = format!(
            "UPDATE {table} SET doc = json_set(doc, '{path}', json('{value}')) WHERE {key} = '{}'",
            id.to_string()
        );
        assert_eq!(self.edit(&sql).await, 1, "{sql}");
    }

    pub(crate) async fn edit_promotion(&self, id: PromotionId, path: &str, value: &Value) {
        self.edit_doc("promotion", "id", id, path, value).await;
    }

    /// A call with a person's token; gives the status and the answer.
    pub(crate) async fn post(&self, person: &str, path: &str, body: &Value) -> (u16, Value) {
        let call = reqwest::Client::new().post(format!("{}/api/v1/{path}", self.url));
        let answer = call.bearer_auth(format!("{person}-token")).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// A person promotes builds to production; gives the promotion, which was tested, and waits for whatever it waits for.
    pub(crate) async fn promote(&self, person: &str, nvrs: &[&str]) -> PromotionId {
        let (status, body) = self.post(person, "promotions", &json!({ "nvrs": nvrs, "to": "release" })).await;
        assert_eq!(status, 202, "{body}");
        let id = body["id"].as_str().unwrap().parse().unwrap();
        self.works().await;
        id
    }

    /// What everybody can fetch: every file by its digest, and every link by where it leads.
    pub(crate) fn public(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        walk(&self.data.path().join("public"), &mut found);
        found
    }

    /// Nothing that anybody can fetch is another than before, and what is live is what was tested.
    #[track_caller]
    pub(crate) fn shows_only(&self, before: &BTreeMap<PathBuf, String>) {
        let now = self.public();
        let new: Vec<_> = now.iter().filter(|(path, what)| before.get(*path) != Some(what)).collect();
        assert!(new.is_empty() && now.len() == before.len(), "the public tree is another: {new:?}");
    }

    /// The same, while a signer has told of its keys: those are public.
    #[track_caller]
    pub(crate) fn shows_only_keys_beside(&self, before: &BTreeMap<PathBuf, String>) {
        let keys = self.data.path().join("public/keys");
        let mut now = self.public();
        now.retain(|path, _| !path.starts_with(&keys));
        let mut before = before.clone();
        before.retain(|path, _| !path.starts_with(&keys));
        assert_eq!(now, before, "the public tree is another");
    }

    /// The same, while the provenance of builds is published beside: that is, as soon as it is signed.
    #[track_caller]
    pub(crate) fn shows_only_provenance_beside(&self, before: &BTreeMap<PathBuf, String>) {
        let provenance = |path: &Path| path.components().any(|part| part.as_os_str() == "provenance");
        let mut now = self.public();
        now.retain(|path, _| !provenance(path) || before.contains_key(path));
        let new: Vec<_> = now.iter().filter(|(path, what)| before.get(*path) != Some(what)).collect();
        assert!(new.is_empty() && now.len() == before.len(), "the public tree is another: {new:?}");
    }

    /// Waits until the signer has signed every package of a promotion; the keeper does nothing meanwhile. Gives the signed files.
    pub(crate) async fn packages_are_signed(&self, promotion: &Promotion) -> Vec<SignedFile> {
        let snapshot = self.snapshot(promotion).await;
        let bodies: Vec<Digest> = snapshot.rpms().map(|rpm| rpm.body.clone()).collect();
        self.watch("the packages are signed", || async {
            let mut tx = self.db.read().await.unwrap();
            let keys = tx.signing_keys().await.unwrap();
            let key = current(&keys, Purpose::Packages, &promotion.sig, self.hub.now())?;
            let signed = tx.signed_by(&key.fingerprint, &bodies).await.unwrap();
            (signed.len() == bodies.len()).then(|| signed.into_values().collect())
        })
        .await
    }

    /// Waits until the signer has put its name to all of a promotion, which the keeper has staged and does not know of yet.
    pub(crate) async fn is_endorsed(&self, promotion: &Promotion) {
        self.packages_are_signed(promotion).await;
        self.settle().await;
        let snapshot = promotion.snapshot().unwrap();
        self.watch("the snapshot is signed", || async {
            self.db.read().await.unwrap().endorsement(snapshot).await.unwrap()
        })
        .await;
    }

    /// Both auditors find nothing: the one that asks the ledger, and the one that believes nothing but keys.
    pub(crate) async fn is_clean(&self) {
        assert_eq!(tests::audit(&self.db, self.data.path()).await, Vec::<String>::new());
        assert_eq!(self.violations().await, Vec::<String>::new());
    }

    /// What the auditor without the ledger finds.
    pub(crate) async fn violations(&self) -> Vec<String> {
        let root = self.data.path().join("public");
        let keys = cli::verify::Keys::read(&root.join("keys")).unwrap();
        let place = cli::verify::Place::open(root.to_str().unwrap()).unwrap();
        let options = cli::verify::Options { deep: true, ..Default::default() };
        let report = cli::verify::audit(&place, &keys, &options).await.unwrap();
        report.all_violations().map(|one| format!("{}: {}", one.file, one.reason)).collect()
    }

    /// Where the artifact store keeps a file.
    pub(crate) fn artifact(&self, digest: &Digest) -> PathBuf {
        self.hub.artifacts.path(digest)
    }

    /// Where a snapshot is staged for the public.
    pub(crate) fn staged(&self, promotion: &Promotion) -> PathBuf {
        self.hub.staging.join(format!("{}.public", promotion.snapshot().unwrap()))
    }

    /// Waits until somebody waits for the public tree, which the story holds.
    pub(crate) async fn tree_is_waited_for(&self) {
        let live = std::fs::metadata(self.hub.public.root().join("live")).unwrap();
        let whose = format!(":{} ", live.ino());
        self.watch("somebody waits for the tree", || async {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|lock| lock.contains(" -> ") && lock.contains(&whose)).then_some(())
        })
        .await;
    }

    /// What a tag's pointer leads to on the disk.
    pub(crate) fn live(&self, tag: &str) -> Option<farm::ids::SnapshotId> {
        self.hub.public.live(tag)
    }
}

/// What a build really makes.
pub(crate) fn honest(package: &str, version: &str, arch: &str) -> (String, Vec<u8>) {
    let sample = sample_rpm(package, version, "1", arch);
    (sample.file_name(), sample.bytes().unwrap())
}

/// Replaces a file that may be one with that of a store.
pub(crate) fn rewrite(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// The one file in a folder whose name ends so.
pub(crate) fn only(folder: &Path, end: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = entries.filter(|path| path.to_str().unwrap().ends_with(end));
    found.next().unwrap_or_else(|| panic!("no {end} in {}", folder.display()))
}

/// Commits these files, by their paths, and nothing else, to the branch `main` of a repo on the git server. Scripts may be run.
pub(crate) fn git_commit(data: &Path, repo: &str, files: &[(&str, &str)]) {
    let path = data.join("git").join(format!("{repo}.git"));
    let repo = Repository::open(&path).or_else(|_| Repository::init_bare(&path)).unwrap();
    let mut tree = TreeUpdateBuilder::new();
    for (path, text) in files {
        let mode = if path.ends_with(".sh") { FileMode::BlobExecutable } else { FileMode::Blob };
        tree.upsert(*path, repo.blob(text.as_bytes()).unwrap(), mode);
    }
    let empty = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
    let tree = repo.find_tree(tree.create_updated(&repo, &empty).unwrap()).unwrap();
    let parent = repo.find_reference("refs/heads/main").ok().and_then(|head| head.peel_to_commit().ok());
    let ada = Signature::new("Ada", "ada@example.org", &Time::new(0, 0)).unwrap();
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    repo.commit(Some("refs/heads/main"), &ada, &ada, "As it is now", &tree, &parents).unwrap();
}

/// What is removed meanwhile is not there.
fn walk(dir: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let Some(entries) = unless_gone(std::fs::read_dir(dir)) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if let Ok(target) = std::fs::read_link(&path) {
            found.insert(path, format!("leads to {}", target.display()));
        } else if path.is_dir() {
            walk(&path, found);
        } else if let Some(bytes) = unless_gone(std::fs::read(&path)) {
            found.insert(path, Digest::of(&bytes).as_str().to_owned());
        }
    }
}

fn unless_gone<T>(read: std::io::Result<T>) -> Option<T> {
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        read => Some(read.unwrap()),
    }
}

//! What the tests of this room share.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::extras::{Extra, ExtraKind, Extras};
use farm::gate::{Approved, Decision, Question, ReleaseManagers, decide};
use farm::ids::{Id, Minter, SnapshotId};
use farm::openpgp::{LEAST_BITS, SecretKey, sign_detached, sign_package};
use farm::promotion::{Approval, Course, Promotion, PromotionState};
use farm::sig::{Project, Stage, template};
use farm::snapshot::{Member, Snapshot};
use farm::stamp::Stamp;

use crate::artifacts::Artifacts;
use crate::repos::compose::{ComposeError, Plan, Shipped, compose};
use crate::repos::engine::Engine;
use crate::repos::manifest;
use crate::rpms::read_rpm;
use crate::rpms::sample::{Sample, sample_rpm};

pub(crate) const X86: [Arch; 1] = [Arch::X86_64];

/// When the keys were made, and when they sign.
const SIGNED: Stamp = Stamp::from_millis(1_600_000_000_000);

/// The key of SIG storage, and one that is not.
pub(crate) static KEY: LazyLock<SecretKey> =
    LazyLock::new(|| SecretKey::generate("Storage SIG <storage@example.org>", LEAST_BITS, SIGNED).unwrap());
pub(crate) static OTHER_KEY: LazyLock<SecretKey> =
    LazyLock::new(|| SecretKey::generate("Somebody else <x@example.org>", LEAST_BITS, SIGNED).unwrap());

/// Signs the metadata of one folder of a staged snapshot.
pub(crate) fn sign_metadata(staged: &Path, folder: &str, key: &SecretKey) {
    sign_metadata_by(staged, folder, &[key]);
}

pub(crate) fn sign_metadata_by(staged: &Path, folder: &str, keys: &[&SecretKey]) {
    let repodata = staged.join(folder).join("repodata");
    let text = fs::read(repodata.join("repomd.xml")).unwrap();
    fs::write(repodata.join("repomd.xml.asc"), sign_detached(keys, &text, SIGNED).unwrap()).unwrap();
}

/// A SIG of one project.
pub(crate) const STORAGE: &str = "name = \"storage\"\n[[project]]\nname = \"gluster\"\nrelease = \"11\"\ndist = \"9s\"\n\
    arches = [\"x86_64\"]\npackages = [\"hello\"]\ntests.required = [\"installs\"]\n";

pub(crate) fn gluster() -> Project {
    template::parse("storage.toml", STORAGE).unwrap().projects.remove(0)
}

/// A data folder with a store, and snapshots made of samples.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) artifacts: Artifacts,
    pub(crate) engine: Engine,
    minter: Minter,
    clock: i64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(&dir.path().join("artifacts")).unwrap();
        let engine = Engine::open(&dir.path().join("engine"), &artifacts).unwrap();
        Self { dir, artifacts, engine, minter: Minter::new(7), clock: 1_700_000_000_000 }
    }

    pub(crate) async fn compose(&self, snapshot: &Snapshot) -> Result<PathBuf, ComposeError> {
        compose(&self.staging(), &self.engine, Plan::built(snapshot, &X86)?).await
    }

    /// The signed file of each package of a snapshot, by body digest.
    pub(crate) async fn signed(&self, snapshot: &Snapshot) -> BTreeMap<Digest, (Digest, u64)> {
        let mut signed = BTreeMap::new();
        let file = self.dir.path().join("signed.rpm");
        for rpm in snapshot.rpms() {
            sign_package(&self.artifacts.path(&rpm.digest), &file, &KEY, SIGNED).unwrap();
            let stored = self.artifacts.put_bytes(&fs::read(&file).unwrap()).await.unwrap();
            signed.insert(rpm.body.clone(), (stored.digest, stored.size));
        }
        signed
    }

    /// A snapshot as the public gets it, with all signatures.
    pub(crate) async fn stage(&self, snapshot: &Snapshot) -> PathBuf {
        let signed = self.signed(snapshot).await;
        let shipped = |digest: &Digest| {
            signed.get(digest).map(|(digest, size)| Shipped { digest: digest.clone(), size: *size })
        };
        let plan = Plan::public(snapshot, &X86, |rpm| shipped(&rpm.body)).unwrap();
        let staged = compose(&self.staging(), &self.engine, plan).await.unwrap();
        for folder in manifest::folder_names(&X86) {
            sign_metadata(&staged, &folder, &KEY);
        }
        staged
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.path().join("staging")
    }

    pub(crate) async fn member(&mut self, samples: &[Sample]) -> Member {
        let mut rpms = Vec::new();
        for sample in samples {
            let bytes = sample.bytes().unwrap();
            let stored = self.artifacts.put_bytes(&bytes).await.unwrap();
            rpms.push(read_rpm(&self.artifacts.path(&stored.digest), Some(Arch::X86_64)).unwrap().rpm);
        }
        let first = &samples[0];
        let nvr = format!("{}-{}-{}", first.name, first.version, first.release);
        let now = self.now();
        Member { build: self.minter.mint(now), package: first.name.clone(), nvr, rpms }
    }

    /// hello as a library-free x86_64 package, its documentation, its debuginfo and its source.
    pub(crate) async fn hello(&mut self, version: &str) -> Member {
        let make = |name: &str, arch: &str| sample_rpm(name, version, "1.el9s", arch);
        let samples = [
            make("hello", "x86_64"),
            make("hello-doc", "noarch"),
            make("hello-debuginfo", "x86_64"),
            make("hello", "src"),
        ];
        self.member(&samples).await
    }

    /// Files beside packages, as they are stored.
    pub(crate) async fn extras(&self, texts: &[(ExtraKind, &str)]) -> Extras {
        let mut files = Vec::new();
        for (kind, text) in texts {
            let stored = self.artifacts.put_bytes(text.as_bytes()).await.unwrap();
            files.push(Extra { kind: *kind, digest: stored.digest, size: stored.size });
        }
        Extras { repo: "metadata/storage".into(), commit: "1".repeat(40), files }
    }

    pub(crate) fn snapshot(&mut self, tag: &str, base: Option<&Snapshot>, set: &[Member]) -> Snapshot {
        let now = self.now();
        let id: SnapshotId = self.minter.mint(now);
        Snapshot::compose(id, tag, base, set, &[], now)
    }

    /// A promotion back to a snapshot, which was published before, that waits for a word.
    pub(crate) fn promotion(&mut self, project: &Project, stage: Stage, snapshot: &Snapshot) -> Promotion {
        let now = self.now();
        Promotion {
            id: self.minter.mint(now),
            sig: project.sig.clone(),
            target: project.target(),
            to: stage,
            builds: Vec::new(),
            nvrs: Vec::new(),
            remove: Vec::new(),
            stack: None,
            brings: None,
            course: Course::Back { to: snapshot.id, reason: "a sample".into() },
            confirmed: false,
            by: "alice".into(),
            approvals: vec![Approval { by: "alice".into(), at: now }],
            suites: BTreeMap::new(),
            base: snapshot.base,
            created: now,
            state: PromotionState::Ready { snapshot: snapshot.id },
        }
    }

    /// The gate's word for a snapshot.
    pub(crate) fn approve(
        &mut self,
        project: &Project,
        stage: Stage,
        snapshot: &Snapshot,
        live: Option<SnapshotId>,
    ) -> Approved {
        let now = self.now();
        let live = live.map(|id| Snapshot::holding(id, &snapshot.tag, None, Vec::new(), now));
        let promotion = self.promotion(project, stage, snapshot);
        let now = promotion.created;
        let release_managers =
            ReleaseManagers { own: BTreeSet::from(["alice".to_owned()]), layered: BTreeMap::new() };
        let question = Question {
            project,
            promotion: &promotion,
            snapshot,
            live: live.as_ref(),
            ahead: None,
            layered: &[],
            results: &[],
            before: &[],
            environments: &BTreeMap::new(),
            waivers: &[],
            release_managers: &release_managers,
            withdrawn: &BTreeSet::new(),
            was_published: true,
            now,
        };
        match decide(&question) {
            Decision::Approved(approved) => approved,
            other => panic!("not approved: {other:?}"),
        }
    }

    /// An id of its own.
    pub(crate) fn mint<T: Id>(&mut self) -> T {
        let now = self.now();
        self.minter.mint(now)
    }

    fn now(&mut self) -> Stamp {
        self.clock += 1_000;
        Stamp::from_millis(self.clock)
    }
}

/// What dnf lists of a repo: every `name-version-release.arch`, sorted.
pub(crate) fn dnf_lists(baseurl: &str) -> Vec<String> {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    fs::create_dir(root.join("repos")).unwrap();
    let output = std::process::Command::new("dnf")
        .arg("--quiet")
        .arg(format!("--installroot={}", root.join("root").display()))
        .arg(format!("--repofrompath=sample,{baseurl}"))
        .args(["--repo=sample", "--releasever=9", "--forcearch=x86_64"])
        .arg(format!("--setopt=reposdir={}", root.join("repos").display()))
        .arg(format!("--setopt=cachedir={}", root.join("cache").display()))
        // Debian's dnf.conf says True, and then a broken repo is an empty one.
        .args(["--setopt=skip_if_unavailable=0", "--setopt=sample.skip_if_unavailable=0"])
        .args(["repoquery", "--qf", "%{name}-%{version}-%{release}.%{arch}"])
        .output()
        .expect("dnf must be installed (Debian: apt install dnf)");
    assert!(output.status.success(), "dnf: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> = printed.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

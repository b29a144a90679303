//! A small farm that publishes: real packages, the real engine, the real signatures, and the real gate's decision.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use farm::arch::Arch;
use farm::build::Build;
use farm::buildroot::RootFacts;
use farm::decision::{self, Grounds};
use farm::digest::Digest;
use farm::dsse::{DecisionKey, IN_TOTO};
use farm::extras::{Extra, ExtraKind, Extras};
use farm::gate::{self, CLOSURE, Question, ReleaseManagers, TestResult, TestVerdict, decide};
use farm::ids::{Minter, SnapshotId};
use farm::openpgp::{SecretKey, sign_detached, sign_package};
use farm::promotion::{Course, Promotion, PromotionState};
use farm::provenance;
use farm::request::{Request, RequestKind, Source};
use farm::sig::{Project, Stage, template};
use farm::signing::SignedFile;
use farm::snapshot::{Member, Snapshot};
use farm::stamp::Stamp;
use hub::artifacts::{Artifacts, Stored};
use hub::repos::compose::{Plan, Shipped, compose};
use hub::repos::engine::Engine;
use hub::repos::publish::SnapshotTree;
use hub::rpms::read_rpm;
use hub::rpms::sample::{Sample, sample_rpm};

pub(crate) const TAG: &str = "storage9s-gluster-11-testing";
/// The groups that stand beside its packages, if there are any.
pub(crate) const COMPS: &str = "<comps><group><id>ours</id></group></comps>";
const BEGIN: i64 = 1_700_000_000_000;

/// The SIG's key. Making one takes a moment, so all tests share it.
pub(crate) fn packages_key() -> &'static SecretKey {
    static KEY: OnceLock<SecretKey> = OnceLock::new();
    KEY.get_or_init(|| {
        SecretKey::generate("Storage <s@example.org>", 2048, Stamp::from_millis(BEGIN)).unwrap()
    })
}

pub(crate) fn decision_key() -> &'static DecisionKey {
    static KEY: OnceLock<DecisionKey> = OnceLock::new();
    KEY.get_or_init(|| DecisionKey::generate().unwrap())
}

pub(crate) struct Farm {
    pub(crate) dir: tempfile::TempDir,
    artifacts: Artifacts,
    engine: Engine,
    tree: SnapshotTree,
    project: Project,
    minter: Minter,
    clock: i64,
    live: Option<Snapshot>,
    revision: i64,
    /// Do groups stand beside its packages?
    pub(crate) has_groups: bool,
    /// The signed file of each RPM, by body digest.
    signed: BTreeMap<Digest, SignedFile>,
}

impl Farm {
    pub(crate) fn new() -> Farm {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(&dir.path().join("artifacts")).unwrap();
        let engine = Engine::open(&dir.path().join("engine"), &artifacts).unwrap();
        let tree = SnapshotTree::open(&dir.path().join("public"), &artifacts).unwrap();
        let text = "name = \"storage\"\n[[project]]\nname = \"gluster\"\nrelease = \"11\"\ndist = \"9s\"\n\
                    arches = [\"x86_64\"]\npackages = [\"hello\", \"other\"]\ntests.required = [\"installs\"]\n";
        let project = template::parse("storage.toml", text).unwrap().projects.remove(0);
        let farm = Farm {
            dir,
            artifacts,
            engine,
            tree,
            project,
            minter: Minter::new(7),
            clock: BEGIN,
            live: None,
            revision: 0,
            has_groups: false,
            signed: BTreeMap::new(),
        };
        let keys = farm.keys();
        fs::create_dir(&keys).unwrap();
        fs::write(keys.join("RPM-GPG-KEY-storage"), packages_key().public().to_armored().unwrap()).unwrap();
        fs::write(keys.join("decisions.pub"), decision_key().public().to_pem()).unwrap();
        farm
    }

    /// The public tree.
    pub(crate) fn root(&self) -> PathBuf {
        self.tree.root().to_owned()
    }

    /// A folder with the public keys, which is not in the tree.
    pub(crate) fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    fn now(&mut self) -> Stamp {
        self.clock += 1_000;
        Stamp::from_millis(self.clock)
    }

    async fn member(&mut self, name: &str, version: &str) -> Member {
        let make = |suffix: &str, arch: &str| sample_rpm(&format!("{name}{suffix}"), version, "1.el9s", arch);
        let samples: [Sample; 4] =
            [make("", "x86_64"), make("-doc", "noarch"), make("-debuginfo", "x86_64"), make("", "src")];
        let mut rpms = Vec::new();
        for sample in samples {
            let stored = self.artifacts.put_bytes(&sample.bytes().unwrap()).await.unwrap();
            let rpm = read_rpm(&self.artifacts.path(&stored.digest), Some(Arch::X86_64)).unwrap().rpm;
            let to = self.dir.path().join("signed.rpm");
            let now = self.now();
            let signed =
                sign_package(&self.artifacts.path(&stored.digest), &to, packages_key(), now).unwrap();
            self.artifacts.put_bytes(&fs::read(&to).unwrap()).await.unwrap();
            let file = SignedFile {
                body: signed.body,
                fingerprint: signed.by,
                digest: signed.digest,
                size: signed.size,
            };
            self.signed.insert(rpm.body.clone(), file);
            rpms.push(rpm);
        }
        let now = self.now();
        Member {
            build: self.minter.mint(now),
            package: name.to_owned(),
            nvr: format!("{name}-{version}-1.el9s"),
            rpms,
        }
    }

    /// Composes and signs what would be published, and publishes it if asked to. Gives the folder of the snapshot.
    pub(crate) async fn publish(&mut self, packages: &[(&str, &str)]) -> PathBuf {
        let (staged, id) = self.stage(packages, true).await;
        let dir = self.root().join("snap").join(id.to_string());
        assert!(dir.is_dir() && !staged.exists());
        dir
    }

    /// The same, but nothing of it enters the tree.
    pub(crate) async fn only_stage(&mut self, packages: &[(&str, &str)]) -> PathBuf {
        self.stage(packages, false).await.0
    }

    async fn stage(&mut self, packages: &[(&str, &str)], publish: bool) -> (PathBuf, SnapshotId) {
        let mut set = Vec::new();
        for (name, version) in packages {
            set.push(self.member(name, version).await);
        }
        let now = self.now();
        let id: SnapshotId = self.minter.mint(now);
        let mut snapshot = Snapshot::holding(id, TAG, self.live.as_ref().map(Snapshot::as_base), set, now);
        if self.has_groups {
            let Stored { digest, size } = self.artifacts.put_bytes(COMPS.as_bytes()).await.unwrap();
            let files = vec![Extra { kind: ExtraKind::Group, digest, size }];
            let extras = Extras { repo: "metadata/storage".into(), commit: "1".repeat(40), files };
            snapshot = snapshot.with_extras(Some(extras));
        }
        let plan = Plan::public(&snapshot, &self.project.arches, |rpm| {
            self.signed.get(&rpm.body).map(|file| Shipped { digest: file.digest.clone(), size: file.size })
        });
        let staged = compose(&self.dir.path().join("staging"), &self.engine, plan.unwrap()).await.unwrap();
        let mut metadata = BTreeMap::new();
        for folder in ["x86_64", "debug-x86_64", "source"] {
            metadata.insert(folder.to_owned(), Digest::of(&sign_folder(&staged.join(folder))));
        }
        let approved = self.decide(&snapshot, &metadata, &staged);
        fs::create_dir(staged.join("provenance")).unwrap();
        for member in &snapshot.members {
            let envelope = self.provenance(member);
            fs::write(staged.join("provenance").join(provenance::file_name(&member.nvr)), envelope).unwrap();
        }
        // As the hub does, so that whoever has the address of one folder finds them.
        for folder in metadata.keys() {
            for name in ["decision.dsse.json", "provenance"] {
                symlink(format!("../{name}"), staged.join(folder).join(name)).unwrap();
            }
        }
        if publish {
            self.tree.admit(&approved, &self.project, Stage::Testing, &staged).await.unwrap();
            self.tree.follow(TAG, id, Some((&self.project, Stage::Testing))).await.unwrap();
            (self.live, self.revision) = (Some(snapshot), self.revision + 1);
        }
        (staged, id)
    }

    /// Asks the gate, and writes the signed decision.
    fn decide(
        &mut self,
        snapshot: &Snapshot,
        metadata: &BTreeMap<String, Digest>,
        staged: &Path,
    ) -> gate::Approved {
        let now = self.now();
        let suites = BTreeMap::from([
            (CLOSURE.to_owned(), Digest::of(b"closure")),
            ("installs".to_owned(), Digest::of(b"installs")),
        ]);
        let promotion = Promotion {
            id: self.minter.mint(now),
            sig: "storage".into(),
            target: self.project.target(),
            to: Stage::Testing,
            builds: Vec::new(),
            nvrs: Vec::new(),
            remove: Vec::new(),
            stack: None,
            brings: None,
            course: Course::Forward,
            confirmed: true,
            by: "gate".into(),
            approvals: Vec::new(),
            suites: suites.clone(),
            base: snapshot.base,
            created: now,
            state: PromotionState::Composing,
        };
        let environment = Digest::of(b"environment");
        let environments = BTreeMap::from([((None, Arch::X86_64), environment.clone())]);
        let result = |(suite, version): (&String, &Digest)| TestResult {
            job: self.minter.mint(now),
            content: snapshot.content.clone(),
            suite: suite.clone(),
            arch: Arch::X86_64,
            on: None,
            version: version.clone(),
            environment: environment.clone(),
            against: self.live.as_ref().filter(|_| suite == CLOSURE).map(|live| live.content.clone()),
            verdict: TestVerdict::Passed,
            at: now,
        };
        let results: Vec<TestResult> = suites.iter().map(result).collect();
        let managers = ReleaseManagers::default();
        let question = Question {
            project: &self.project,
            promotion: &promotion,
            snapshot,
            live: self.live.as_ref(),
            ahead: None,
            layered: &[],
            results: &results,
            before: &[],
            environments: &environments,
            waivers: &[],
            release_managers: &managers,
            withdrawn: &BTreeSet::new(),
            was_published: false,
            now,
        };
        let gate::Decision::Approved(approved) = decide(&question) else { panic!("{:?}", decide(&question)) };
        let grounds = Grounds {
            project: &self.project,
            promotion: &promotion,
            snapshot,
            approved: &approved,
            revision: self.revision,
            layered: &[],
            results: &results,
            live: self.live.as_ref(),
            before: &[],
            environments: &environments,
            waivers: &[],
            withdrawn: &BTreeSet::new(),
        };
        let keys = [packages_key().fingerprint()];
        let statement = decision::statement(&grounds, metadata, &self.signed, &keys, now).unwrap();
        write_decision(staged, &serde_json::to_value(&statement).unwrap(), decision_key());
        approved
    }

    fn provenance(&mut self, member: &Member) -> String {
        let now = self.now();
        let request = Request {
            id: self.minter.mint(now),
            kind: RequestKind::Push { branch: "c9s-sig-storage-gluster".into() },
            sig: "storage".into(),
            target: self.project.target(),
            package: member.package.clone(),
            by: "ada".into(),
            source: Source::Git { repo: "rpms/hello".into(), commit: "0".repeat(40), tree: None },
            created: now,
            retry_of: None,
            chain: None,
            closed: None,
        };
        let root = RootFacts {
            image: "image".into(),
            image_digest: format!("sha256:{}", "0".repeat(64)),
            lock: Digest::of(b"lock"),
            input: Digest::of(b"input"),
            ccache: false,
        };
        let build = Build {
            id: member.build,
            nvr: member.nvr.parse().unwrap(),
            sig: "storage".into(),
            target: self.project.target(),
            request: request.id,
            imported: now,
            rpms: member.rpms.clone(),
            roots: BTreeMap::from([(Arch::X86_64, root)]),
        };
        let facts = provenance::Facts { build, request, jobs: Vec::new(), hashes: Vec::new() };
        let statement = serde_json::to_vec(&provenance::statement(&facts)).unwrap();
        decision_key().sign(IN_TOTO, &statement).to_json().unwrap()
    }
}

/// Signs the metadata of a folder; gives its `repomd.xml`.
pub(crate) fn sign_folder(folder: &Path) -> Vec<u8> {
    let repomd = fs::read(folder.join("repodata/repomd.xml")).unwrap();
    let signature = sign_detached(&[packages_key()], &repomd, Stamp::from_millis(BEGIN)).unwrap();
    fs::write(folder.join("repodata/repomd.xml.asc"), signature).unwrap();
    repomd
}

/// Signs and writes a decision.
pub(crate) fn write_decision(snapshot: &Path, statement: &serde_json::Value, key: &DecisionKey) {
    let envelope = key.sign(IN_TOTO, &serde_json::to_vec(statement).unwrap()).to_json().unwrap();
    fs::write(snapshot.join("decision.dsse.json"), envelope).unwrap();
}

//! What the tests of this room share.

use std::fs;

use farm::arch::Arch;
use farm::gate::{Approved, Decision, Question, TestResult, TestVerdict, decide, requirements};
use farm::ids::{Minter, SnapshotId};
use farm::sig::{Project, Stage, template};
use farm::snapshot::{Member, Snapshot};
use farm::stamp::Stamp;

use crate::artifacts::Artifacts;
use crate::rpms::read_rpm;
use crate::rpms::sample::{Sample, sample_rpm};

pub(super) const X86: [Arch; 1] = [Arch::X86_64];

pub(super) fn gluster() -> Project {
    let text = "name = \"storage\"\n[[project]]\nname = \"gluster\"\nrelease = \"11\"\ndist = \"9s\"\n\
                arches = [\"x86_64\"]\npackages = [\"hello\"]\ntests.required = [\"installs\"]\n";
    template::parse("storage.toml", text).unwrap().projects.remove(0)
}

/// A data folder with a store, and snapshots made of samples.
pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) artifacts: Artifacts,
    minter: Minter,
    clock: i64,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(&dir.path().join("artifacts")).unwrap();
        Self { dir, artifacts, minter: Minter::new(7), clock: 1_700_000_000_000 }
    }

    pub(super) fn staging(&self) -> std::path::PathBuf {
        self.dir.path().join("staging")
    }

    pub(super) async fn member(&mut self, samples: &[Sample]) -> Member {
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
    pub(super) async fn hello(&mut self, version: &str) -> Member {
        let make = |name: &str, arch: &str| sample_rpm(name, version, "1.el9s", arch);
        let samples = [
            make("hello", "x86_64"),
            make("hello-doc", "noarch"),
            make("hello-debuginfo", "x86_64"),
            make("hello", "src"),
        ];
        self.member(&samples).await
    }

    pub(super) fn snapshot(&mut self, tag: &str, base: Option<&Snapshot>, set: &[Member]) -> Snapshot {
        let now = self.now();
        let id: SnapshotId = self.minter.mint(now);
        Snapshot::compose(id, tag, base, set, now)
    }

    fn now(&mut self) -> Stamp {
        self.clock += 1_000;
        Stamp::from_millis(self.clock)
    }

    /// The gate's word for a snapshot whose tests all passed.
    pub(super) fn approve(
        &mut self,
        project: &Project,
        stage: Stage,
        snapshot: &Snapshot,
        live: Option<SnapshotId>,
    ) -> Approved {
        let now = self.now();
        let results: Vec<TestResult> = requirements(project)
            .into_iter()
            .map(|requirement| TestResult {
                job: self.minter.mint(now),
                content: snapshot.content.clone(),
                version: farm::digest::Digest::of(requirement.suite.as_bytes()),
                environment: farm::digest::Digest::of(b"environment"),
                suite: requirement.suite,
                arch: requirement.arch,
                verdict: TestVerdict::Passed,
                at: now,
            })
            .collect();
        let version = |suite: &String| (suite.clone(), farm::digest::Digest::of(suite.as_bytes()));
        let question = Question {
            suites: &project.required.iter().map(version).collect(),
            environments: &project
                .arches
                .iter()
                .map(|arch| (*arch, farm::digest::Digest::of(b"environment")))
                .collect(),
            project,
            stage,
            snapshot,
            live,
            results: &results,
            approver: Some("alice"),
            approver_may: true,
        };
        match decide(&question) {
            Decision::Approved(approved) => approved,
            other => panic!("not approved: {other:?}"),
        }
    }
}

/// What dnf lists of a repo: every `name-version-release.arch`, sorted.
pub(super) fn dnf_lists(baseurl: &str) -> Vec<String> {
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

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use farm::ledger::Db;
use farm::openpgp::SecretKey;
use farm::sig::{Project, Stage, template};
use farm::signing::{Purpose, SigningKey};
use farm::snapshot::Snapshot;
use farm::stamp::Stamp;
use farm::wire::Bus;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::config::Config;
use crate::repos::samples::{Bench, KEY, OTHER_KEY, STORAGE, gluster};
use crate::signing::publish;
use crate::state::Hub;

const STAGE: Stage = Stage::Testing;
const MIRROR: &str = "https://mirror.example.org/grange";

/// A hub that serves, and what is published there.
struct Farm {
    bench: Bench,
    hub: Hub,
    project: Project,
    address: String,
    _stop: watch::Sender<bool>,
}

impl Farm {
    async fn open() -> Farm {
        let bench = Bench::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let data = bench.dir.path().to_owned();
        let db = Db::open(&format!("sqlite:{}", data.join("ledger.sqlite").display())).await.unwrap();
        let config =
            Config { data, public_url: address.clone(), mirrors: vec![MIRROR.into()], ..Config::default() };
        let hub = Hub::open(db, Bus::local(), config).unwrap();
        let mut tx = hub.db.write().await.unwrap();
        let sig = template::parse("storage.toml", STORAGE).unwrap();
        tx.apply_sig(&sig, STORAGE, "root", hub.now()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(crate::http::serve(hub.clone(), listener, stopped));
        let farm = Farm { bench, hub, project: gluster(), address, _stop: stop };
        farm.announce(&KEY).await;
        farm
    }

    async fn announce(&self, key: &SecretKey) {
        let key = SigningKey {
            fingerprint: key.fingerprint(),
            purpose: Purpose::Packages,
            sig: "storage".to_owned(),
            public: key.public().to_armored().unwrap(),
            since: Stamp::ZERO,
            until: None,
        };
        let mut tx = self.hub.db.write().await.unwrap();
        tx.tell_key(&key).await.unwrap();
        tx.commit().await.unwrap();
        publish::keys(&self.hub).await.unwrap();
    }

    /// Publishes another version, signed and staged as the keeper does.
    async fn publish(&mut self, live: Option<&Snapshot>, version: &str) -> Snapshot {
        let hello = self.bench.hello(version).await;
        let snapshot = self.bench.snapshot(&self.project.tag(STAGE), live, &[hello]);
        self.show(live, snapshot).await
    }

    async fn show(&mut self, live: Option<&Snapshot>, snapshot: Snapshot) -> Snapshot {
        let staged = self.bench.stage(&snapshot).await;
        let approved = self.bench.approve(&self.project, STAGE, &snapshot, live.map(|live| live.id));
        self.hub.public.admit(&approved, &self.project, STAGE, &staged).await.unwrap();
        self.hub.public.follow(&snapshot.tag, snapshot.id, None).await.unwrap();
        snapshot
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("{}{path}", self.address)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn repo_file(&self) -> String {
        let (status, text) = self.get(&format!("/api/v1/repos/{}.repo", self.project.tag(STAGE))).await;
        assert_eq!(status, 200, "{text}");
        text
    }
}

/// A machine that has one `.repo` file and nothing else.
struct Client {
    dir: tempfile::TempDir,
}

impl Client {
    fn with(repo_file: &str) -> Client {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("repos")).unwrap();
        fs::write(dir.path().join("repos/farm.repo"), repo_file).unwrap();
        Client { dir }
    }

    /// What dnf prints, or what it complains of.
    async fn dnf(&self, arguments: &[&str]) -> Result<Vec<String>, String> {
        let root = self.dir.path();
        let mut dnf = Command::new("dnf");
        dnf.args([
            "--noplugins",
            "--quiet",
            "--assumeyes",
            "--refresh",
            "--releasever=9",
            "--forcearch=x86_64",
        ])
        .arg(format!("--installroot={}", root.join("root").display()))
        .arg(format!("--setopt=reposdir={}", root.join("repos").display()))
        .arg(format!("--setopt=cachedir={}", root.join("cache").display()))
        .args(["--setopt=skip_if_unavailable=0", "--setopt=retries=1", "--setopt=timeout=20"])
        .args(arguments);
        let run = move || dnf.output().expect("dnf must be installed (Debian: apt install dnf)");
        let output = crate::files::blocking(run).await;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let mut lines: Vec<String> =
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    }

    async fn sees(&self, more: &[&str]) -> Result<Vec<String>, String> {
        let query = ["repoquery", "--qf", "%{repoid} %{name}-%{version}.%{arch}"];
        self.dnf(&[more, &query[..]].concat()).await
    }

    async fn installed(&self, package: &str) -> Result<String, String> {
        self.dnf(&["install", package]).await?;
        let root: PathBuf = self.dir.path().join("root");
        let output = Command::new("rpm")
            .arg(format!("--root={}", root.display()))
            .args(["-q", package, "--qf", "%{VERSION}"])
            .output()
            .unwrap();
        Ok(String::from_utf8(output.stdout).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dnf_with_our_file_installs_what_is_signed_and_follows_there_and_back() {
    let mut farm = Farm::open().await;
    let tag = farm.project.tag(STAGE);
    let first = farm.publish(None, "2.10").await;
    let client = Client::with(&farm.repo_file().await);
    let binary =
        |version| vec![format!("{tag} hello-{version}.x86_64"), format!("{tag} hello-doc-{version}.noarch")];
    assert_eq!(client.sees(&[]).await.unwrap(), binary("2.10"));
    let more = client.sees(&["--enablerepo=*-source", "--enablerepo=*-debuginfo"]).await.unwrap();
    let extra =
        [format!("{tag}-debuginfo hello-debuginfo-2.10.x86_64"), format!("{tag}-source hello-2.10.src")];
    assert_eq!(more, [&binary("2.10")[..], &extra].concat());
    assert_eq!(client.installed("hello").await.unwrap(), "2.10");

    let second = farm.publish(Some(&first), "2.11").await;
    assert_eq!(client.sees(&[]).await.unwrap(), binary("2.11"));
    let mut back = farm.bench.snapshot(&tag, Some(&second), &first.members);
    back = farm.show(Some(&second), back).await;
    assert!(back.revision() > second.revision());
    assert_eq!(client.sees(&[]).await.unwrap(), binary("2.10"));
}

/// Were one of the checks not made, these would succeed.
#[tokio::test(flavor = "multi_thread")]
async fn dnf_refuses_what_another_key_has_signed() {
    let mut farm = Farm::open().await;
    farm.publish(None, "2.10").await;
    let file = farm.repo_file().await;
    let other = tempfile::NamedTempFile::new().unwrap();
    fs::write(other.path(), OTHER_KEY.public().to_armored().unwrap()).unwrap();
    let key = format!("gpgkey={}/repos/keys/RPM-GPG-KEY-storage", farm.address);
    assert!(file.contains(&key), "{file}");
    let mistrusting = file.replace(&key, &format!("gpgkey=file://{}", other.path().display()));
    let refused = Client::with(&mistrusting).sees(&[]).await.unwrap_err();
    assert!(refused.contains("GPG"), "{refused}");
    let packages_only = Client::with(&mistrusting.replace("repo_gpgcheck=1", "repo_gpgcheck=0"));
    let refused = packages_only.installed("hello").await.unwrap_err();
    assert!(refused.contains("GPG") || refused.contains("Public key"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_repo_that_was_signed_once_is_refused_and_the_next_address_is_tried() {
    let mut farm = Farm::open().await;
    let tag = farm.project.tag(STAGE);
    let first = farm.publish(None, "2.10").await;
    let second = farm.publish(Some(&first), "2.11").await;
    // Somebody between client and farm answers with what was live before, and validly signed.
    let stale = farm.hub.public.root().join("stale/snap").join(second.id.to_string()).join("x86_64");
    fs::create_dir_all(stale.join("repodata")).unwrap();
    for entry in fs::read_dir(farm.hub.public.dir(first.id).join("x86_64/repodata")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), stale.join("repodata").join(entry.file_name())).unwrap();
    }
    let evil = format!("{}/repos/stale", farm.address);
    let own = format!("{}/repos", farm.address);
    let asked = format!("metalink={}/metalink?repo={tag}&folder=$basearch", farm.address);
    let sees = async |bases: &[String]| {
        let text = metalink(&farm.hub.public, &tag, "x86_64", bases).unwrap().unwrap();
        fs::write(farm.hub.public.root().join("stale/list.xml"), text).unwrap();
        let file = farm.repo_file().await;
        assert!(file.contains(&asked), "{file}");
        Client::with(&file.replace(&asked, &format!("metalink={evil}/list.xml"))).sees(&[]).await
    };
    let seen = sees(&[evil.clone(), own]).await.unwrap();
    assert!(seen.len() == 2 && seen.iter().all(|line| line.contains("-2.11.")), "{seen:?}");
    let refused = sees(std::slice::from_ref(&evil)).await.unwrap_err();
    assert!(refused.contains("repomd.xml"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metalink_names_one_snapshot_at_the_hub_and_then_at_the_mirrors() {
    let mut farm = Farm::open().await;
    let tag = farm.project.tag(STAGE);
    assert_eq!(farm.get(&format!("/metalink?repo={tag}&folder=x86_64")).await.0, 404);
    let live = farm.publish(None, "2.10").await;
    let (status, text) = farm.get(&format!("/metalink?repo={tag}&folder=x86_64&cc=de")).await;
    assert_eq!(status, 200, "{text}");
    let path = format!("snap/{}/x86_64/repodata/repomd.xml", live.id);
    let (own, mirror) = (format!(">{}/repos/{path}<", farm.address), format!(">{MIRROR}/{path}<"));
    assert!(text.find(&own).unwrap() < text.find(&mirror).unwrap(), "{text}");
    assert!(text.contains("protocol=\"https\" type=\"https\" preference=\"99\""), "{text}");
    let (_, repomd) = farm.get(&format!("/repos/{path}")).await;
    assert!(
        text.contains(&format!("<hash type=\"sha256\">{}</hash>", Digest::of(repomd.as_bytes()))),
        "{text}"
    );
    assert!(text.contains(&format!("<size>{}</size>", repomd.len())), "{text}");
    for (tag, folder) in [
        ("storage9s-gluster-11-release", "x86_64"),
        ("storage9s-gluster-11-candidate", "x86_64"),
        (tag.as_str(), "aarch64"),
        (tag.as_str(), "../x86_64"),
        (&format!("../live/{tag}"), "x86_64"),
        ("..", "x86_64"),
        ("", "x86_64"),
        ("%00", "x86_64"),
    ] {
        assert_eq!(farm.get(&format!("/metalink?repo={tag}&folder={folder}")).await.0, 404, "{tag} {folder}");
    }
}

#[test]
fn only_addresses_of_mirrors_are_taken_for_some() {
    for good in ["http://m", MIRROR, "https://m:8443/a/b"] {
        assert!(is_base(good), "{good}");
    }
    for bad in [
        "",
        "m",
        "file:///srv",
        "rsync://m/a",
        "https://m/",
        "https://m/?x=1",
        "https://m/#x",
        "https://m/a b",
    ] {
        assert!(!is_base(bad), "{bad}");
    }
}

//! `grange standalone` is killed with SIGKILL at random moments, with real containers at work, and started again. What was
//! asked for is done, once; nothing untested is visible at any moment; no container is left.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use farm::digest::Digest;
use farm::ledger::{BuildFilter, Db, PromotionFilter, RequestFilter};
use farm::promotion::PromotionState;
use farm::request::{Closed, RequestKind, Verdict};
use farm::stamp::Stamp;
use tests::processes::free_port;
use tests::{audit, demo_sig, programs, run_git, service};

const PACKAGES: [&str; 3] = ["apple", "pear", "plum"];
const VERSIONS: u32 = 3;
const KILLS: u32 = 14;
/// How long all of it, and one start of it, may take: far longer than either does.
const DEADLINE: Duration = Duration::from_secs(1500);
const PATIENCE: Duration = Duration::from_secs(240);

struct Standalone {
    child: Option<Child>,
    dir: tempfile::TempDir,
    port: u16,
    builder: String,
}

impl Standalone {
    fn new(image: &str, engine: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let builder = format!("kill-{}", Digest::of(dir.path().as_os_str().as_encoded_bytes()).short());
        let patience = "patience = { offer_ms = 1500, lease_ms = 2500, stop_ms = 2500, max_tries = 50, backoff_ms = 50 }";
        let config = format!(
            "[hub]\nkeeper_ms = 200\nsweep_ms = 1000\n{patience}\n[scheduler]\ntick_ms = 100\n{patience}\n[builder]\nname = \"{builder}\"\nengine = \"{engine}\"\npresence_ms = 300\n"
        );
        std::fs::write(dir.path().join("grange.toml"), config).unwrap();
        std::fs::write(dir.path().join("sig.toml"), template(image)).unwrap();
        Self { child: None, dir, port, builder }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn start(&mut self) {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let child = Command::new(programs().join("grange"))
            .arg("standalone")
            .arg("--data")
            .arg(self.data())
            .args(["--listen", &format!("127.0.0.1:{}", self.port), "--config"])
            .arg(self.dir.path().join("grange.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let begun = Instant::now();
        while reqwest::get(format!("{}/api/v1/status", self.url())).await.is_err() {
            assert!(
                self.child.as_mut().unwrap().try_wait().unwrap().is_none(),
                "it ended by itself: {}",
                self.log()
            );
            assert!(begun.elapsed() < PATIENCE, "it does not answer: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        text.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Everything in the engine that bears the builder's name.
    fn containers(&self) -> String {
        let filter = format!("label=org.grange.builder={}", self.builder);
        let output =
            Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &filter]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        for id in self.containers().split_whitespace() {
            let _ = Command::new("docker").args(["rm", "--force", id]).output();
        }
    }
}

/// A generator of moments, seeded: what one run does another can do again, as far as a real machine lets it.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_goes_on() {
    let (Some(engine), Some(image)) = (service("GRANGE_TEST_DOCKER"), service("GRANGE_TEST_IMAGE")) else {
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seed =
        std::env::var("GRANGE_KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    let mut moments = Moments(seed);
    let mut farm = Standalone::new(&image, &engine);
    farm.start().await;
    let db = Db::open(&format!("sqlite:{}", farm.data().join("ledger.sqlite").display())).await.unwrap();
    let mut tx = db.write().await.unwrap();
    for name in ["ada", "rex"] {
        tx.put_person(name, &Digest::of(format!("{name}-token").as_bytes()), false, Stamp::ZERO)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let admin = std::fs::read_to_string(farm.data().join("admin-token")).unwrap();
    let template = std::fs::read_to_string(farm.dir.path().join("sig.toml")).unwrap();
    let body = serde_json::json!({"file": "sig.toml", "template": template});
    let client = reqwest::Client::new();
    let answer =
        client.post(format!("{}/api/v1/sigs/apply", farm.url())).bearer_auth(admin.trim()).json(&body).send();
    let answer = answer.await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());

    let mut to_push: Vec<(&str, u32)> = Vec::new();
    for version in 1..=VERSIONS {
        to_push.extend(PACKAGES.map(|package| (package, version)));
    }
    to_push.reverse();
    let begun = Instant::now();
    let mut kills = 0;
    while kills < KILLS || !to_push.is_empty() {
        assert!(begun.elapsed() < DEADLINE, "it takes too long: {}", farm.log());
        if let Some((package, version)) = to_push.pop()
            && !push(&farm, package, version)
        {
            to_push.push((package, version));
        }
        promote_something(&farm, &db, &client).await;
        tokio::time::sleep(Duration::from_millis(moments.next(2_500))).await;
        if kills < KILLS {
            farm.kill();
            kills += 1;
            let violations = audit(&db, &farm.data()).await;
            assert!(violations.is_empty(), "after kill {kills} of seed {seed}: {violations:?}");
            farm.start().await;
        }
    }

    while !is_settled(&db).await {
        assert!(begun.elapsed() < DEADLINE, "it does not settle: {}", farm.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let violations = audit(&db, &farm.data()).await;
    assert!(violations.is_empty(), "seed {seed}: {violations:?}");
    everything_was_built_once(&db).await;
    while !farm.containers().is_empty() {
        assert!(begun.elapsed() < DEADLINE, "containers are left: {}", farm.containers());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Every version of every package that was pushed is one build of one request, and the newest are in testing.
async fn everything_was_built_once(db: &Db) {
    let mut tx = db.read().await.unwrap();
    let requests = tx.requests(&RequestFilter { limit: 10_000, ..Default::default() }).await.unwrap();
    for request in requests.iter().filter(|request| matches!(request.kind, RequestKind::Push { .. })) {
        let Some(Closed { verdict: Verdict::Complete { build: Some(_) }, .. }) = &request.closed else {
            panic!("{} {:?}", request.package, request.closed);
        };
    }
    let mut nvrs: Vec<String> = tx
        .builds(&BuildFilter { limit: 10_000, ..Default::default() })
        .await
        .unwrap()
        .into_iter()
        .map(|build| format!("{}-{}", build.nvr.name, build.nvr.version))
        .collect();
    nvrs.sort();
    let mut expected: Vec<String> = PACKAGES
        .iter()
        .flat_map(|name| (1..=VERSIONS).map(move |version| format!("{name}-{version}")))
        .collect();
    expected.sort();
    assert_eq!(nvrs, expected);
    let live = tx.live("demo9s-fruit-1-testing").await.unwrap().unwrap();
    for package in PACKAGES {
        let newest = format!("{package}-{VERSIONS}-");
        assert!(
            live.members.iter().any(|member| member.nvr.starts_with(&newest)),
            "{newest} is not in testing"
        );
    }
}

async fn is_settled(db: &Db) -> bool {
    let mut tx = db.read().await.unwrap();
    let jobs = tx.jobs_by_phase().await.unwrap();
    tx.open_requests().await.unwrap().is_empty()
        && tx.unsettled_promotions().await.unwrap().is_empty()
        && jobs.iter().all(|(phase, count)| phase == "done" || *count == 0)
}

/// Promotes whatever reached testing last and is not on its way yet. Refusals and a dead hub are ordinary here.
async fn promote_something(farm: &Standalone, db: &Db, client: &reqwest::Client) {
    let filter = PromotionFilter { limit: 100, ..Default::default() };
    let promotions = db.read().await.unwrap().promotions(&filter).await.unwrap();
    let tested =
        promotions.iter().find(|p| p.by == "gate" && matches!(p.state, PromotionState::Published { .. }));
    if let Some(tested) = tested {
        let body = serde_json::json!({"nvrs": tested.nvrs, "to": "release"});
        let request =
            client.post(format!("{}/api/v1/promotions", farm.url())).bearer_auth("rex-token").json(&body);
        let _ = request.send().await;
    }
}

/// Commits a version of a package and pushes it; a push that fails is repeated, as a person would.
fn push(farm: &Standalone, package: &str, version: u32) -> bool {
    let dir = farm.dir.path().join("checkouts").join(package);
    if !dir.exists() {
        std::fs::create_dir_all(dir.join("tests/runs")).unwrap();
        git(&dir, &["init", "-q", "-b", "work"]);
    }
    let spec = format!(
        "Name: {package}\nVersion: {version}\nRelease: 1%{{?dist}}\nSummary: A fruit\nLicense: MIT\nBuildArch: noarch\n%description\nA fruit.\n%prep\n%build\nsleep 1\n%install\nmkdir -p %{{buildroot}}/usr/share/fruit\necho {version} > %{{buildroot}}/usr/share/fruit/{package}\n%files\n/usr/share/fruit/{package}\n"
    );
    std::fs::write(dir.join(format!("{package}.spec")), spec).unwrap();
    std::fs::write(dir.join("tests/runs/run.sh"), format!("#!/bin/sh\ntest -s /usr/share/fruit/{package}\n"))
        .unwrap();
    git(&dir, &["add", "-A"]);
    let unchanged =
        Command::new("git").current_dir(&dir).args(["diff", "--cached", "--quiet"]).status().unwrap();
    if !unchanged.success() {
        git(&dir, &["commit", "-q", "-m", &format!("Update to {version}")]);
    }
    let remote = format!("http://ada:ada-token@127.0.0.1:{}/git/rpms/{package}.git", farm.port);
    git(&dir, &["push", "-q", &remote, "HEAD:refs/heads/c9s-sig-demo-fruit"])
}

fn git(dir: &Path, args: &[&str]) -> bool {
    run_git(dir, args).status.success()
}

fn template(image: &str) -> String {
    demo_sig(&format!(
        r#"
[[project]]
name = "fruit"
release = "1"
dist = "9s"
arches = ["x86_64"]
packages = ["apple", "pear", "plum"]
image = "{image}"
[project.tests]
required = ["installs", "runs"]
[project.limits]
seconds = 600
memory_mb = 512
disk_mb = 128
"#
    ))
}

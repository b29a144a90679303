//! Real dnf on a slow line, again and again, while production moves forth and back.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use farm::promotion::PromotionState;
use serde_json::{Value, json};
use tests::{Behaviour, Farm, Options, Package, Weather};
use tokio::task::JoinSet;

const MOVES: u32 = 50;
/// Moves go on until dnf has run so often: fewer runs would see too little.
const RUNS: usize = 16;
/// How many run at the same time.
const AT_ONCE: usize = 2;
const TAG: &str = "demo9s-hello-2-release";
const PACKAGES: [&str; 2] = ["hello", "world"];
/// A line that makes a run take long enough that production moves in the middle of it.
const LINE: Weather = Weather::Slow { delay: Duration::from_millis(40), rate: 64 * 1024 };

type State = BTreeSet<String>;

fn state(version: &str) -> State {
    PACKAGES.iter().map(|name| format!("{name}-{version}-1")).collect()
}

/// Installs all that the repo has into a root of its own, with the `.repo` file that the farm gives to people.
fn install(repo: &str) -> Result<State, String> {
    let place = tempfile::tempdir().unwrap();
    let (root, repos) = (place.path().join("root"), place.path().join("repos"));
    std::fs::create_dir(&repos).unwrap();
    std::fs::write(repos.join("farm.repo"), repo).unwrap();
    let shown = |path: &Path| path.display().to_string();
    let conf = place.path().join("dnf.conf");
    std::fs::write(&conf, "[main]\ngpgcheck=1\nrepo_gpgcheck=1\nplugins=0\nretries=1\n").unwrap();
    let dnf = Command::new("dnf")
        .args(["-y", "--noplugins", "--releasever=9", "-c", &shown(&conf)])
        .arg(format!("--installroot={}", shown(&root)))
        .arg(format!("--setopt=reposdir={}", shown(&repos)))
        .arg(format!("--setopt=cachedir={}", shown(&place.path().join("cache"))))
        .arg(format!("--setopt=logdir={}", shown(place.path())))
        .args(["install", "*"])
        .output()
        .unwrap();
    let rpm = Command::new("rpm")
        .arg(format!("--root={}", shown(&root)))
        .args(["--query", "--all", "--queryformat", "%{NVR}\\n"])
        .output()
        .unwrap();
    if !dnf.status.success() || !rpm.status.success() {
        return Err(said(&dnf) + &said(&rpm));
    }
    let installed = String::from_utf8(rpm.stdout).unwrap();
    Ok(installed.lines().filter(|nvr| !nvr.starts_with("gpg-pubkey")).map(str::to_owned).collect())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Waits until a move that was asked for is published.
async fn is_published(farm: &Farm, (status, opened): (u16, Value)) {
    assert!((200..300).contains(&status), "{opened}");
    let view = farm.settled(opened["id"].as_str().unwrap().parse().unwrap()).await;
    assert!(matches!(view.promotion.state, PromotionState::Published { .. }), "{}", view.sentence);
}

async fn forth(farm: &Farm, version: &str) {
    let nvrs = state(version);
    is_published(farm, farm.promote("rex", &nvrs.iter().map(String::as_str).collect::<Vec<_>>()).await).await;
}

async fn back(farm: &Farm) {
    let body = json!({"tag": TAG, "reason": "the story goes back"});
    is_published(farm, farm.post("rex-token", "/api/v1/rollbacks", &body).await).await;
}

/// Is dnf here? Else it is said aloud that the test was not.
fn has_dnf() -> bool {
    let has_it = Command::new("dnf").arg("--version").output().is_ok();
    if !has_it {
        println!("SKIPPED: dnf is not installed");
    }
    has_it
}

/// Builds a version of everything, waits until it is in testing, and brings it to production.
async fn publish(farm: &Farm, version: &str) {
    for name in PACKAGES {
        farm.closed(farm.build(&Package::new(name, version, Behaviour::Builds))).await;
    }
    for nvr in state(version) {
        let promotion = farm.tested(&nvr).await;
        assert!(matches!(promotion.state, PromotionState::Published { .. }), "{:?}", promotion.state);
    }
    forth(farm, version).await;
}

/// The `.repo` file of production.
async fn repo_file(farm: &Farm) -> String {
    let url = format!("{}/api/v1/repos/{TAG}.repo", farm.public_url);
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_is_compressed_as_the_template_says() {
    let farm = Farm::new().await;
    publish(&farm, "1").await;
    assert_eq!(indexes(&farm, TAG), [("filelists", "gz"), ("other", "gz"), ("primary", "gz")].map(owned));
    farm.apply_demo_with("[project.repo]\nzstd = true\n").await;
    publish(&farm, "2").await;
    for tag in [TAG, "demo9s-hello-2-testing"] {
        assert_eq!(
            indexes(&farm, tag),
            [("filelists", "zst"), ("other", "zst"), ("primary", "zst")].map(owned)
        );
    }
    if has_dnf() {
        assert_eq!(install(&repo_file(&farm).await), Ok(state("2")));
    }
    farm.ends_well().await;
}

fn owned((kind, end): (&str, &str)) -> (String, String) {
    (kind.to_owned(), end.to_owned())
}

/// The indexes that a repo has of its own, each with the end of its name.
fn indexes(farm: &Farm, tag: &str) -> Vec<(String, String)> {
    let repodata = farm.data.join("public/live").join(tag).join("x86_64/repodata");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_symlink() {
            return None;
        }
        let name = entry.file_name().into_string().unwrap();
        let (_, index) = name.split_once('-')?;
        let (kind, end) = index.split_once(".xml.")?;
        Some(owned((kind, end)))
    };
    let mut found: Vec<_> = std::fs::read_dir(repodata).unwrap().filter_map(name).collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_run_on_a_slow_line_sees_one_of_two_states() {
    if !has_dnf() {
        return;
    }
    let farm = Farm::bare(Options { line: Some(LINE), ..Options::default() }).await;
    farm.apply_demo().await;
    for version in ["1", "2"] {
        publish(&farm, version).await;
    }
    let repo = repo_file(&farm).await;
    assert!(repo.contains(&format!("metalink={}", farm.public_url)), "{repo}");

    let left = Arc::new(AtomicUsize::new(RUNS));
    let mut running = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (left, repo) = (left.clone(), repo.clone());
        running.spawn_blocking(move || {
            let next = || {
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            };
            let mut runs = Vec::new();
            while next() {
                runs.push(install(&repo));
            }
            runs
        });
    }
    let mut turn = 0;
    while turn < MOVES || left.load(Ordering::Relaxed) > 0 {
        turn += 1;
        if turn % 2 == 1 {
            back(&farm).await;
        } else {
            forth(&farm, "2").await;
        }
    }
    let runs = running.join_all().await.concat();
    println!("{turn} moves, {} runs of dnf", runs.len());
    let mut seen = BTreeSet::new();
    for (number, run) in runs.into_iter().enumerate() {
        seen.insert(run.unwrap_or_else(|said| panic!("run {number} failed: {said}")));
    }
    assert_eq!(
        seen,
        BTreeSet::from([state("1"), state("2")]),
        "each run sees one of the two, and both are seen"
    );
    farm.ends_well().await;
}

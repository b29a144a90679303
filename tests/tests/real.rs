//! The real tier: git, Docker, rpmbuild and dnf, on the embedded defaults. Packages of strangers misbehave in
//! every way they can, and each ends in a clear state with the reason in the first line a person sees.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::path::{Path, PathBuf};
use std::process::Command;

use farm::ids::{PromotionId, RequestId};
use farm::promotion::PromotionState;
use farm::request::Status;
use tests::{Farm, Options, demo_sig, service};

const BRANCH: &str = "c9s-sig-demo-samples";
const ENDLESS: &str = "c9s-sig-demo-endless";

fn template(image: &str) -> String {
    demo_sig(&format!(
        r#"
[[project]]
name = "samples"
release = "1"
dist = "9s"
arches = ["x86_64"]
image = "{image}"
packages = [
    "builds", "needs-builds", "exploded", "noarch", "excludes-x86", "fails-to-build", "fails-its-tests", "does-not-parse",
    "missing-source", "climbs-out", "forks-forever", "eats-memory", "fills-the-disk", "wants-network",
    "prints-forever",
]
[project.tests]
required = ["installs", "runs"]
[project.limits]
seconds = 600
memory_mb = 768
disk_mb = 256
pids = 128
log_mb = 4

# What never ends has a limit of its own, since it is waited out.
[[project]]
name = "endless"
release = "1"
dist = "9s"
arches = ["x86_64"]
image = "{image}"
packages = ["hangs"]
[project.limits]
seconds = 30
"#
    ))
}

async fn real_farm() -> Option<Farm> {
    let engine = service("GRANGE_TEST_DOCKER")?;
    let image = service("GRANGE_TEST_IMAGE")?;
    let farm = Farm::bare(Options { engine: Some(engine), ..Options::default() }).await;
    farm.apply(&template(&image)).await;
    Some(farm)
}

fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packages").join(name)
}

fn push(farm: &Farm, name: &str) -> RequestId {
    let branch = if name == "hangs" { ENDLESS } else { BRANCH };
    farm.build_folder(&sample(name), name, branch)
}

/// Installs a package with dnf in a clean container that knows nothing but one of the farm's `.repo` files; gives what
/// the command then prints.
fn install(farm: &Farm, tag: &str, package: &str, command: &str) -> String {
    let image = service("GRANGE_TEST_IMAGE").unwrap();
    let script = format!(
        "python3 -c 'import urllib.request as u; open(\"/etc/yum.repos.d/farm.repo\", \"wb\").write(u.urlopen(\"{}/api/v1/repos/{tag}.repo\").read())' && dnf -qy install {package} && {command}",
        farm.url
    );
    let output = Command::new("docker")
        .args(["run", "--rm", "--network", "host", &image, "bash", "-c", &script])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn from_push_to_a_client_of_production() {
    let Some(farm) = real_farm().await else { return };
    let view = farm.closed(push(&farm, "builds")).await;
    assert_eq!(view.status, Status::Complete, "{:?}", view.reason);
    let nvr = view.nvr.clone().unwrap();
    let log = farm.log(&view, "build", "build.log").await;
    assert!(log.contains("Wrote:"), "{log}");
    assert!(!farm.log(&view, "build", "root.log").await.is_empty());
    assert!(farm.log(&view, "build", "state.log").await.lines().count() >= 2);

    let promotion = farm.tested(&nvr).await;
    assert!(matches!(promotion.state, PromotionState::Published { .. }), "{:?}", promotion.state);
    install(&farm, "demo9s-samples-1-testing", "builds", "rpm -q builds");

    // What was built a moment ago is what the next build is built with.
    let view = farm.closed(push(&farm, "needs-builds")).await;
    assert_eq!(view.status, Status::Complete, "{:?}", view.reason);

    let (status, body) = farm.promote("rex", &[&nvr]).await;
    assert!((200..300).contains(&status), "{body}");
    let id: PromotionId = body["id"].as_str().unwrap().parse().unwrap();
    let settled = farm.settled(id).await;
    assert!(matches!(settled.promotion.state, PromotionState::Published { .. }), "{}", settled.sentence);
    let said = install(&farm, "demo9s-samples-1-release", "builds", "rpm -q builds");
    assert!(said.contains(&nvr), "{said}");
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_package_does_the_farm_says_why_and_goes_on() {
    let Some(farm) = real_farm().await else { return };
    let cases = [
        ("does-not-parse", "Unknown tag"),
        ("missing-source", "missing from the lookaside"),
        ("excludes-x86", "ExclusiveArch [s390x]"),
        ("fails-to-build", "%build"),
        ("wants-network", "%build"),
        ("eats-memory", "memory"),
        ("fills-the-disk", "256 MiB"),
        ("forks-forever", "128 processes"),
        ("prints-forever", "4 MiB of log"),
        ("hangs", "took longer than"),
    ];
    let pushed: Vec<_> = cases.iter().map(|(name, reason)| (*name, *reason, push(&farm, name))).collect();
    for (name, reason, id) in pushed {
        let view = farm.closed(id).await;
        assert_eq!(view.status, Status::Failed, "{name}");
        let said = view.reason.unwrap_or_default();
        assert!(said.contains(reason), "{name}: {said}");
    }
    let view = farm.closed(push(&farm, "climbs-out")).await;
    assert!(view.status.is_final());
    for place in ["/", "/tmp", "/root", "/etc"].map(Path::new).into_iter().chain([farm.data.as_path()]) {
        let names = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name());
        let outside: Vec<_> = names.filter(|name| name.to_string_lossy().contains("climbed-out")).collect();
        assert!(outside.is_empty(), "{outside:?} in {}", place.display());
    }
    let id = push(&farm, "fails-its-tests");
    let nvr = farm.closed(id).await.nvr.unwrap();
    let refused = farm.tested(&nvr).await;
    let PromotionState::Rejected { why, .. } = &refused.state else { panic!("{:?}", refused.state) };
    assert!(why.iter().any(|why| why.starts_with("suite runs on x86_64 failed")), "{why:?}");

    let view = farm.closed(push(&farm, "builds")).await;
    assert_eq!(view.status, Status::Complete, "the farm goes on working: {:?}", view.reason);
    farm.ends_well().await;
}

//! Several architectures: natively, under emulation, and when one of them is missing or fails.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::path::PathBuf;
use std::process::Command;

use farm::api::RequestView;
use farm::arch::Arch;
use farm::promotion::{Promotion, PromotionState};
use farm::request::Status;
use serde_json::json;
use tests::{Behaviour, Farm, Options, Package, demo_sig, service};

const BRANCH: &str = "c9s-sig-demo-samples";

fn template(arches: &[Arch], image: &str, suites: &str) -> String {
    demo_sig(&format!(
        r#"
[[project]]
name = "samples"
release = "1"
dist = "9s"
arches = {arches:?}
image = "{image}"
packages = ["hello", "foreign", "noarch", "excludes-by-macro"]
[project.tests]
required = [{suites}]
[project.limits]
seconds = 600
memory_mb = 1024
disk_mb = 256
"#,
        arches = arches.iter().map(|arch| arch.as_str()).collect::<Vec<_>>(),
    ))
}

/// The architectures that jobs of this kind were done on, in order.
fn on(view: &RequestView, label: &str) -> Vec<Arch> {
    let mut arches: Vec<Arch> =
        view.jobs.iter().filter(|job| job.label == label).map(|job| job.arch).collect();
    arches.sort();
    arches
}

async fn builder_reported(farm: &Farm) {
    farm.until("the builder has reported", || async {
        let (_, body) = farm.get("/api/v1/status").await;
        (body["builders"].as_array()?.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_architectures_or_nothing() {
    let farm = Farm::bare(Options { arches: Arch::ALL.to_vec(), ..Options::default() }).await;
    farm.apply(&template(&Arch::ALL, "dummy", "")).await;
    let push = |version, behaviour| {
        let output = farm.push("ada", &Package::new("hello", version, behaviour), BRANCH);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said.split("/builds/").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    };
    let view = farm.closed(push("1.0", Behaviour::FailsOnS390x)).await;
    assert_eq!(view.status, Status::Failed);
    assert!(view.reason.unwrap().starts_with("build on s390x: "), "the one that failed is named");
    let (status, candidate) = farm.get("/api/v1/tags/demo9s-samples-1-candidate").await;
    assert_eq!((status, &candidate["builds"]), (200, &json!([])), "what the others built enters no repo");

    let view = farm.closed(push("1.1", Behaviour::Builds)).await;
    assert_eq!(view.status, Status::Complete, "{:?}", view.reason);
    assert_eq!(on(&view, "build"), Arch::ALL);
    assert_eq!(on(&view, "srpm").len(), 1);
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_architecture_that_nobody_builds_for_is_said_at_once() {
    let farm = Farm::bare(Options::default()).await;
    farm.apply(&template(&[Arch::S390x, Arch::X86_64], "dummy", "")).await;
    builder_reported(&farm).await;
    let output = farm.push("ada", &Package::new("hello", "1.0", Behaviour::Builds), BRANCH);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("remote: warning: no s390x builder has ever joined"), "{said}");
    assert!(!said.contains("no x86_64 builder"), "{said}");
    let (_, status) = farm.get("/api/v1/status").await;
    assert_eq!(status["nobody"], json!(["no s390x builder has ever joined"]));

    // Whoever asks for a build over the API is told, too.
    let (_, builds) = farm.get("/api/v1/builds").await;
    let id = builds["items"][0]["request"]["id"].as_str().unwrap().to_owned();
    let built_here = farm.until("the builds are planned", || async {
        let view = farm.request(id.parse().unwrap()).await;
        assert_eq!(on(&view, "srpm"), [Arch::X86_64], "the source RPM is made where somebody is");
        let phases: Vec<_> = view.jobs.iter().map(|job| (job.arch, job.phase.clone())).collect();
        let waits = phases.contains(&(Arch::S390x, "waiting".to_owned()));
        (waits && phases.iter().filter(|(_, phase)| phase == "done").count() == 2).then_some(())
    });
    built_here.await;
    let (code, body) = farm.post("ada-token", &format!("/api/v1/builds/{id}/cancel"), &().into()).await;
    assert_eq!(code, 204, "{body}");
    let closed = farm.until("the build is closed", || async {
        farm.request(id.parse().unwrap()).await.request.closed.map(drop)
    });
    closed.await;
    let (code, body) = farm.post("ada-token", &format!("/api/v1/builds/{id}/retry"), &().into()).await;
    assert_eq!(code, 202, "{body}");
    assert_eq!(body["warnings"], json!(["no s390x builder has ever joined"]));
    let again = format!("/api/v1/builds/{}/cancel", body["id"].as_str().unwrap());
    assert_eq!(farm.post("ada-token", &again, &().into()).await.0, 204);
    farm.ends_well().await;
}

/// What stands below a public path, and whether it leads anywhere.
fn shown(farm: &Farm, path: &str) -> Option<bool> {
    let path = farm.public().join(path);
    path.symlink_metadata().is_ok().then(|| path.join("repodata/repomd.xml").is_file())
}

/// The auditor who believes nothing but keys finds nothing.
async fn is_sound(farm: &Farm) {
    let root = farm.public();
    let keys = cli::verify::Keys::read(&root.join("keys")).unwrap();
    let place = cli::verify::Place::open(root.to_str().unwrap()).unwrap();
    let report = cli::verify::audit(&place, &keys, &cli::verify::Options::default()).await.unwrap();
    let found: Vec<_> = report.all_violations().map(|one| format!("{}: {}", one.file, one.reason)).collect();
    assert_eq!(found, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_architecture_that_is_dropped_leaves_once_somebody_means_it() {
    let both = [Arch::X86_64, Arch::Aarch64];
    let farm = Farm::bare(Options { arches: both.to_vec(), ..Options::default() }).await;
    farm.apply(&template(&both, "dummy", r#""installs""#)).await;
    builder_reported(&farm).await;
    let path = |arch: &str| format!("buildlogs/centos/9-stream/demo/{arch}/samples-1");
    let build = async |version: &str| {
        let pushed = farm.push("ada", &Package::new("hello", version, Behaviour::Builds), BRANCH);
        let said = String::from_utf8_lossy(&pushed.stderr).into_owned();
        assert!(pushed.status.success(), "{said}");
        let id = said.split("/builds/").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        let view = farm.closed(id).await;
        assert_eq!(view.status, Status::Complete, "{:?}", view.reason);
        farm.tested(&format!("hello-{version}-1")).await
    };
    let published = |promotion: &Promotion| {
        assert!(matches!(promotion.state, PromotionState::Published { .. }), "{:?}", promotion.state);
    };
    published(&build("1.0").await);
    assert_eq!([shown(&farm, &path("x86_64")), shown(&farm, &path("aarch64"))], [Some(true); 2]);

    farm.apply(&template(&both[..1], "dummy", r#""installs""#)).await;
    let PromotionState::Rejected { why, .. } = build("1.1").await.state else {
        panic!("half of the repo goes, and nobody has said that this is meant")
    };
    let call = "`grange promote --to testing hello-1.1-1 --confirm`";
    assert!(why.iter().any(|why| why.ends_with(&format!("; if that is meant: {call}"))), "{why:?}");
    assert_eq!(shown(&farm, &path("aarch64")), Some(true), "what is live stays as it is");
    is_sound(&farm).await;

    let asked = json!({ "nvrs": ["hello-1.1-1"], "to": "testing", "confirm": true });
    let (status, body) = farm.post("ada-token", "/api/v1/promotions", &asked).await;
    assert_eq!(status, 202, "{body}");
    let meant = farm.settled(body["id"].as_str().unwrap().parse().unwrap()).await;
    published(&meant.promotion);
    assert_eq!(shown(&farm, &path("x86_64")), Some(true));
    for folder in ["aarch64", "debug-aarch64"] {
        assert_eq!(shown(&farm, &path(folder)), None, "nothing is there any more");
    }
    is_sound(&farm).await;

    // From now on nobody is asked again; and when it is back, what is built then is there for it.
    published(&build("1.2").await);
    farm.apply(&template(&both, "dummy", r#""installs""#)).await;
    published(&build("1.3").await);
    assert_eq!([shown(&farm, &path("x86_64")), shown(&farm, &path("aarch64"))], [Some(true); 2]);
    is_sound(&farm).await;
    farm.ends_well().await;
}

fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packages").join(name)
}

/// Installs packages with dnf in a clean container of the architecture; gives what the command then prints.
fn install(farm: &Farm, image: &str, tag: &str, packages: &str, command: &str) -> String {
    let script = format!(
        "python3 -c 'import urllib.request as u; open(\"/etc/yum.repos.d/farm.repo\", \"wb\").write(u.urlopen(\"{}/api/v1/repos/{tag}.repo\").read())' && dnf -qy install {packages} && {command}",
        farm.url
    );
    let output = Command::new("docker")
        .args(["run", "--rm", "--network", "host", image, "bash", "-c", &script])
        .output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_architecture_is_built_under_emulation_tested_and_installed() {
    let (Some(engine), Some(foreign), Some(image)) =
        (service("GRANGE_TEST_DOCKER"), service("GRANGE_TEST_FOREIGN"), service("GRANGE_TEST_FOREIGN_IMAGE"))
    else {
        return;
    };
    let native = Arch::native().unwrap();
    let there: Arch = foreign.parse().unwrap();
    let options =
        Options { engine: Some(engine), arches: vec![native], emulated: vec![there], ..Options::default() };
    let farm = Farm::bare(options).await;
    // The foreign one first: what may be done on any architecture must not be done there for that.
    let arches = [there, native];
    let images = image.replace(&format!("-{there}"), "-$arch");
    farm.apply(&template(&arches, &images, r#""installs""#)).await;
    builder_reported(&farm).await;
    let [foreign, noarch, by_macro] =
        ["foreign", "noarch", "excludes-by-macro"].map(|name| farm.build_folder(&sample(name), name, BRANCH));

    let view = farm.closed(by_macro).await;
    assert_eq!(view.status, Status::Complete, "{:?}", view.reason);
    assert_eq!(on(&view, "build"), [Arch::X86_64], "rpm's lists were read when the source RPM was made");

    let view = farm.closed(noarch).await;
    assert_eq!(view.status, Status::Complete, "{:?}", view.reason);
    assert_eq!(
        on(&view, "build"),
        [native],
        "what is the same everywhere is built once, where that is quickest"
    );

    let view = farm.closed(foreign).await;
    assert_eq!(view.status, Status::Complete, "{:?}", view.reason);
    assert_eq!(on(&view, "srpm"), [native]);
    let mut both = arches;
    both.sort();
    assert_eq!(on(&view, "build"), both);
    let promotion = farm.tested(&view.nvr.unwrap()).await;
    assert!(matches!(promotion.state, PromotionState::Published { .. }), "{:?}", promotion.state);

    let said = install(&farm, &image, "demo9s-samples-1-testing", "foreign foreign-doc", "foreign");
    assert_eq!(said.lines().last().unwrap(), format!("built for {there} on {there}, running on {there}"));
    farm.ends_well().await;
}

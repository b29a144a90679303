//! Builds that need each other: chains, pushes to several packages, and SIGs that build on others.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use farm::api::{ChainMember, ChainView, LayerView, RequestView};
use farm::chain::Need;
use farm::ids::{ChainId, RequestId};
use farm::recipe::RepoOrigin;
use farm::request::Status;
use serde_json::{Value, json};
use tests::{Behaviour, Farm, Options, Package};

/// A branch of the SIG that no target is built from.
const SHELF: &str = "c9s-sig-demo-shelf";
const BUILT: &str = "c9s-sig-demo-hello";
const TARGET: &str = "demo9s-hello-2-el9s";

/// SIG demo with these packages, and SIG guest, which inherits its candidate.
const DEMO: &str = r#"
name = "demo"
[[member]]
name = "ada"
roles = ["maintainer"]
[[project]]
name = "hello"
release = "2"
dist = "9s"
arches = ["x86_64"]
packages = ["zlib", "libpng", "viewer", "other"]
image = "dummy"
[project.tests]
required = ["installs"]
[project.limits]
seconds = 600
"#;
const GUEST: &str = r#"
name = "guest"
[[member]]
name = "ada"
roles = ["maintainer"]
[[project]]
name = "apps"
release = "1"
dist = "9s"
arches = ["x86_64"]
packages = ["app"]
inherit = ["demo9s-hello-2-candidate"]
image = "dummy"
[project.tests]
required = ["installs"]
[project.limits]
seconds = 600
"#;

async fn a_farm() -> Farm {
    let farm = Farm::bare(Options::default()).await;
    farm.apply(DEMO).await;
    farm
}

fn zlib(behaviour: Behaviour) -> Package {
    Package::new("zlib", "1", behaviour).provides("zlib-devel").found_to_provide("pkgconfig(zlib)")
}

fn libpng() -> Package {
    Package::new("libpng", "1", Behaviour::Builds).requires("zlib-devel").provides("libpng-devel")
}

fn viewer() -> Package {
    Package::new("viewer", "1", Behaviour::Builds).requires("libpng-devel").requires("make")
}

/// Puts packages where a chain can take them from, and asks for it in the order given.
async fn chain(farm: &Farm, packages: &[&Package]) -> ChainId {
    let mut members = Vec::new();
    for package in packages {
        let pushed = farm.push("ada", package, SHELF);
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
        members.push(json!({"repo": format!("rpms/{}", package.name), "commit": SHELF}));
    }
    let body = json!({"target": TARGET, "members": members});
    let (status, body) = farm.post("ada-token", "/api/v1/chains", &body).await;
    assert_eq!(status, 202, "{body}");
    body["id"].as_str().unwrap().parse().unwrap()
}

async fn look(farm: &Farm, id: ChainId) -> ChainView {
    let (status, body) = farm.get(&format!("/api/v1/chains/{id}")).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_value(body).unwrap()
}

async fn over(farm: &Farm, id: ChainId) -> ChainView {
    farm.until("the chain is over", || async {
        Some(look(farm, id).await).filter(|view| view.status.is_final())
    })
    .await
}

fn named<'a>(view: &'a ChainView, package: &str) -> &'a ChainMember {
    view.members.iter().find(|member| member.build.request.package == package).unwrap()
}

fn packages(view: &ChainView) -> Vec<&str> {
    view.members.iter().map(|member| member.build.request.package.as_str()).collect()
}

fn pushed(output: &std::process::Output) -> RequestId {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let id = said.split("/builds/").nth(1).unwrap_or_else(|| panic!("no build was announced: {said}"));
    id.split_whitespace().next().unwrap().parse().unwrap()
}

/// Waits until a build says that it waits for zlib.
async fn waits_for_zlib(farm: &Farm, id: RequestId) {
    farm.until("it says that it waits for zlib", || async {
        let (_, why) = farm.get(&format!("/api/v1/why/{id}")).await;
        why["sentence"].as_str()?.contains("needs zlib-devel").then_some(())
    })
    .await;
}

/// The NVRs that the repos of a request's build showed.
async fn seen_by(farm: &Farm, id: RequestId) -> Vec<String> {
    let view: RequestView = farm.request(id).await;
    let job = view.jobs.iter().find(|job| job.label == "build").unwrap();
    let mut nvrs = Vec::new();
    for repo in &job.recipe.repos {
        let RepoOrigin::Snapshot { id } = &repo.origin else { continue };
        let snapshot = farm.db.read().await.unwrap().snapshot(*id).await.unwrap().unwrap();
        nvrs.extend(snapshot.members.iter().map(|member| member.nvr.clone()));
    }
    nvrs.sort();
    nvrs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_in_the_wrong_order_is_built_in_the_right_one() {
    let farm = a_farm().await;
    let id = chain(&farm, &[&viewer(), &libpng(), &zlib(Behaviour::Waits)]).await;
    let told = |view: &ChainView, package: &str| {
        let waits = named(view, package).waits_for.iter();
        waits.map(|wait| format!("{}: {}", wait.package, wait.need.sentence())).collect::<Vec<_>>()
    };
    farm.until("each says what it waits for", || async {
        let view = look(&farm, id).await;
        let is_told = told(&view, "libpng") == ["zlib: needs zlib-devel"]
            && told(&view, "viewer") == ["libpng: needs libpng-devel"];
        is_told.then_some(())
    })
    .await;
    farm.go(&zlib(Behaviour::Waits));

    let view = over(&farm, id).await;
    assert_eq!(view.status, Status::Complete, "{view:#?}");
    assert_eq!(packages(&view), ["zlib", "libpng", "viewer"]);
    assert_eq!(seen_by(&farm, named(&view, "libpng").build.request.id).await, ["zlib-1-1"]);
    assert_eq!(seen_by(&farm, named(&view, "viewer").build.request.id).await, ["libpng-1-1", "zlib-1-1"]);
    let first = farm.request(named(&view, "zlib").build.request.id).await;
    let mut tx = farm.db.read().await.unwrap();
    let job = tx.jobs_of(first.request.id).await.unwrap().into_iter().find(|job| job.kind.label() == "build");
    assert_eq!(job.unwrap().height, 2, "two builds waited behind it");
    drop(tx);
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_failed_member_fails_with_the_reason_and_the_rest_goes_on() {
    let farm = a_farm().await;
    let other = Package::new("other", "1", Behaviour::Builds);
    let id = chain(&farm, &[&libpng(), &viewer(), &other, &zlib(Behaviour::FailsToBuild)]).await;
    let view = over(&farm, id).await;
    assert_eq!(view.status, Status::Failed);
    let reason = |package: &str| named(&view, package).build.reason.clone().unwrap_or_default();
    assert!(
        reason("libpng").starts_with("needs zlib-devel from zlib, which failed: build on x86_64:"),
        "{view:#?}"
    );
    assert!(reason("viewer").starts_with("needs libpng-devel from libpng, which failed: needs zlib-devel"));
    assert_eq!(named(&view, "other").build.status, Status::Complete);
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_ends_and_is_told() {
    let farm = a_farm().await;
    let id = chain(&farm, &[&zlib(Behaviour::Builds).requires("libpng-devel"), &libpng()]).await;
    let view = over(&farm, id).await;
    assert_eq!(view.status, Status::Complete, "{view:#?}");
    assert_eq!(packages(&view), ["zlib", "libpng"]);
    assert_eq!(named(&view, "zlib").without[0].package, "libpng");
    assert!(seen_by(&farm, named(&view, "zlib").build.request.id).await.is_empty());
    assert_eq!(seen_by(&farm, named(&view, "libpng").build.request.id).await, ["zlib-1-1"]);
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_only_a_build_can_show_keeps_the_listed_order() {
    let farm = a_farm().await;
    let viewer = Package::new("viewer", "1", Behaviour::Builds).requires("pkgconfig(zlib)");
    let id = chain(&farm, &[&zlib(Behaviour::Builds), &viewer]).await;
    let view = over(&farm, id).await;
    assert_eq!(view.status, Status::Complete, "{view:#?}");
    assert_eq!(seen_by(&farm, named(&view, "viewer").build.request.id).await, ["zlib-1-1"]);
    // Now that it was built once, everybody knows.
    let mut next = zlib(Behaviour::Waits);
    next.version = "2".to_owned();
    let mut viewer = viewer;
    viewer.version = "2".to_owned();
    let id = chain(&farm, &[&viewer, &next]).await;
    farm.until("the viewer waits for the next zlib", || async {
        let view = look(&farm, id).await;
        named(&view, "viewer").waits_for.iter().any(|b| matches!(b.need, Need::Names { .. })).then_some(())
    })
    .await;
    farm.go(&next);
    let view = over(&farm, id).await;
    assert_eq!(packages(&view), ["zlib", "viewer"]);
    assert!(seen_by(&farm, named(&view, "viewer").build.request.id).await.contains(&"zlib-2-1".to_owned()));
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_in_the_wrong_order_order_themselves() {
    let farm = a_farm().await;
    let mut needy = libpng();
    needy.behaviour = Behaviour::WaitsToBePacked;
    let second = pushed(&farm.push("ada", &needy, BUILT));
    let first = pushed(&farm.push("ada", &zlib(Behaviour::Waits), BUILT));
    farm.go(&needy);
    waits_for_zlib(&farm, second).await;
    farm.go(&zlib(Behaviour::Waits));
    let view = farm.closed(second).await;
    assert_eq!(view.status, Status::Complete, "{:?}", view.reason);
    assert_eq!(seen_by(&farm, second).await, ["zlib-1-1"]);
    assert_eq!(farm.closed(first).await.status, Status::Complete);

    // Of a push that fails nobody else hears: the dependent goes on with what the repo has.
    needy.version = "2".to_owned();
    let mut broken = zlib(Behaviour::FailsToBuild);
    broken.version = "2".to_owned();
    let second = pushed(&farm.push("ada", &needy, BUILT));
    let first = pushed(&farm.push("ada", &broken, BUILT));
    farm.go(&needy);
    assert_eq!(farm.closed(first).await.status, Status::Failed);
    assert_eq!(farm.closed(second).await.status, Status::Complete);
    assert!(seen_by(&farm, second).await.contains(&"zlib-1-1".to_owned()));
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sig_waits_for_the_candidate_of_another_that_it_inherits() {
    let farm = a_farm().await;
    farm.apply(GUEST).await;
    let mut app = Package::new("app", "1", Behaviour::WaitsToBePacked).requires("zlib-devel");
    let needy = pushed(&farm.push("ada", &app, "c9s-sig-guest-apps"));
    let first = pushed(&farm.push("ada", &zlib(Behaviour::Waits), BUILT));
    farm.go(&app);
    waits_for_zlib(&farm, needy).await;
    farm.go(&zlib(Behaviour::Waits));
    assert_eq!(farm.closed(needy).await.status, Status::Complete);
    assert_eq!(farm.closed(first).await.status, Status::Complete);
    assert_eq!(seen_by(&farm, needy).await, ["zlib-1-1"]);

    // The other way round nobody waits: demo does not inherit guest's tags.
    app.version = "2".to_owned();
    app.behaviour = Behaviour::Hangs;
    app.provides = vec!["app-devel".to_owned()];
    let hangs = pushed(&farm.push("ada", &app, "c9s-sig-guest-apps"));
    let free = Package::new("other", "1", Behaviour::Builds).requires("app-devel");
    assert_eq!(farm.closed(pushed(&farm.push("ada", &free, BUILT))).await.status, Status::Complete);
    farm.post("ada-token", &format!("/api/v1/builds/{hangs}/cancel"), &json!({})).await;
    farm.closed(hangs).await;

    let (status, body) = farm.get("/api/v1/targets/guest9s-apps-1-el9s/layers").await;
    assert_eq!(status, 200, "{body}");
    let layers: Vec<LayerView> = serde_json::from_value(body).unwrap();
    let told: Vec<_> =
        layers.iter().map(|layer| (layer.sig.as_deref(), &*layer.inherited_by, layer.priority)).collect();
    let guest = "guest9s-apps-1-el9s";
    assert_eq!(told, [(Some("guest"), guest, Some(10)), (Some("demo"), guest, Some(15))]);
    assert!(layers.iter().all(|layer| layer.snapshot.is_some() && layer.since.is_some()));
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_taken_in_whole_or_not_at_all_and_cancelled_whole() {
    let farm = a_farm().await;
    let mut broken = Package::new("other", "1", Behaviour::Builds);
    broken.sources = Some(format!("SHA512 (other.tar.gz) = {}\n", "0".repeat(128)));
    for package in [&zlib(Behaviour::Hangs), &broken] {
        farm.push("ada", package, SHELF);
    }
    let ask = |members: Value| {
        let farm = &farm;
        async move {
            farm.post("ada-token", "/api/v1/chains", &json!({"target": TARGET, "members": members})).await
        }
    };
    let member = |package: &str| json!({"repo": format!("rpms/{package}"), "commit": SHELF});
    let (status, body) = ask(json!([member("zlib"), member("other")])).await;
    assert_eq!(status, 422, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("missing from the lookaside"), "{body}");
    let (status, body) = ask(json!([member("zlib"), member("zlib")])).await;
    assert!(status == 422 && body["detail"].as_str().unwrap().contains("twice"), "{body}");
    assert_eq!(ask(json!([])).await.0, 422);
    assert!(farm.db.read().await.unwrap().open_requests().await.unwrap().is_empty(), "nothing was queued");

    let id = chain(&farm, &[&zlib(Behaviour::Hangs), &libpng()]).await;
    farm.until("the first builds and the second waits", || async {
        let view = look(&farm, id).await;
        let waits = named(&view, "libpng").waits_for.iter().any(|b| matches!(b.need, Need::Names { .. }));
        (waits && farm.engine.running() > 0).then_some(())
    })
    .await;
    let (status, body) = farm.post("eve-token", &format!("/api/v1/chains/{id}/cancel"), &json!({})).await;
    assert_eq!(status, 403, "{body}");
    let (status, body) = farm.post("ada-token", &format!("/api/v1/chains/{id}/cancel"), &json!({})).await;
    assert_eq!(status, 204, "{body}");
    let view = over(&farm, id).await;
    assert_eq!(view.status, Status::Cancelled);
    assert!(view.members.iter().all(|member| member.build.status == Status::Cancelled), "{view:#?}");
    farm.ends_well().await;
}

//! What a change would break stays where it is: packages that need what goes, and suites of the projects above.

use farm::ids::PromotionId;
use farm::promotion::{Promotion, PromotionState};
use serde_json::{Value, json};
use tests::{Behaviour, Farm, Options, Package, SIG_ABOVE, demo_sig, outside_repo, stories};

stories!(
    what_would_break_other_packages_is_refused,
    what_would_break_a_project_above_is_refused_unless_that_was_broken_before,
);

/// Two packages that need the third, on a repo outside the farm that has nothing. So it is known what nobody provides.
fn library_sig(outside: &std::path::Path) -> String {
    demo_sig(&format!(
        r#"
[[project]]
name = "hello"
release = "2"
dist = "9s"
arches = ["x86_64"]
packages = ["liba", "app", "old"]
image = "dummy"
[project.tests]
required = ["installs"]
[project.limits]
seconds = 600
[[project.external-repo]]
name = "base"
baseurl = "file://{}"
"#,
        outside.display()
    ))
}

fn package(name: &str, version: &str) -> Package {
    Package::new(name, version, Behaviour::Builds)
}

/// Builds a package; gives the promotion to testing that follows from it.
async fn built(farm: &Farm, package: &Package, branch: &str) -> Promotion {
    let pushed = farm.push("ada", package, branch);
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    farm.tested(&package.nvr()).await
}

async fn published(farm: &Farm, package: &Package) {
    let promotion = built(farm, package, "c9s-sig-demo-hello").await;
    assert_eq!(promotion.phase(), "published", "{:?}", promotion.state);
}

/// Waits until a promotion that was asked for is settled.
async fn settled(farm: &Farm, (status, body): (u16, Value)) -> Promotion {
    assert!((200..300).contains(&status), "{body}");
    let id: PromotionId = body["id"].as_str().unwrap().parse().unwrap();
    farm.settled(id).await.promotion
}

/// The one sentence with which a promotion was refused.
fn refusal(promotion: &Promotion) -> &str {
    let PromotionState::Rejected { why, .. } = &promotion.state else { panic!("{:?}", promotion.state) };
    let [why] = &why[..] else { panic!("{why:?}") };
    why
}

async fn waive(farm: &Farm, promotion: &Promotion, waiver: &Value) {
    let (status, body) =
        farm.post("rex-token", &format!("/api/v1/promotions/{}/waivers", promotion.id), waiver).await;
    assert_eq!(status, 201, "{body}");
}

async fn what_would_break_other_packages_is_refused() {
    let base = tempfile::tempdir().unwrap();
    outside_repo(base.path(), "1");
    let file_repos = vec![base.path().to_owned()];
    let farm = Farm::bare(Options { file_repos, ..Options::default() }).await;
    farm.apply(&library_sig(base.path())).await;
    let to_testing = async |nvrs: &[&str]| {
        let asked = json!({ "nvrs": nvrs, "to": "testing" });
        settled(&farm, farm.post("rex-token", "/api/v1/promotions", &asked).await).await
    };
    published(&farm, &package("liba", "1").provides("liba.so.1")).await;
    published(&farm, &package("app", "1").needs("liba.so.1")).await;

    // It never could be installed, and a release manager let it in all the same.
    let old = package("old", "1").needs("liba").needs("what-nobody-has");
    let refused = built(&farm, &old, "c9s-sig-demo-hello").await;
    let why = refusal(&refused);
    assert!(why.starts_with("suite repoclosure on x86_64 failed: "), "{why}");
    assert!(why.contains("old-1-1") && why.contains("what-nobody-has"), "{why}");
    let waiver =
        json!({ "suite": "repoclosure", "reason": "its users bring the rest", "days": 1, "nvr": "old-1-1" });
    waive(&farm, &refused, &waiver).await;
    assert_eq!(to_testing(&["old-1-1"]).await.phase(), "published");
    let (status, waivers) = farm.get("/api/v1/targets/demo9s-hello-2-el9s/waivers").await;
    assert_eq!(status, 200, "{waivers}");
    let waiver = waivers[0]["id"].as_str().unwrap();
    let (status, body) =
        farm.post("rex-token", &format!("/api/v1/waivers/{waiver}/revoke"), &json!({})).await;
    assert_eq!(status, 200, "{body}");

    // What is installed needs what the new one has no more: it alone is named, not what was broken before.
    let refused = built(&farm, &package("liba", "2").provides("liba.so.2"), "c9s-sig-demo-hello").await;
    let why = refusal(&refused);
    assert!(why.starts_with("suite repoclosure on x86_64 failed: "), "{why}");
    assert!(why.contains("app-1-1") && why.contains("liba.so.1"), "{why}");
    assert!(!why.contains("old-1-1"), "{why}");
    let refused = built(&farm, &package("app", "2").needs("liba.so.2"), "c9s-sig-demo-hello").await;
    let why = refusal(&refused);
    assert!(why.contains("app-2-1") && why.contains("liba.so.2"), "{why}");
    assert_eq!(farm.repo("testing").await, ["app-1-1", "liba-1-1", "old-1-1"]);

    // Together they break nothing, and neither does what follows: what was broken is no more broken than before.
    assert_eq!(to_testing(&["app-2-1", "liba-2-1"]).await.phase(), "published");
    published(&farm, &package("liba", "3").provides("liba.so.2")).await;
    assert_eq!(farm.repo("testing").await, ["app-2-1", "liba-3-1", "old-1-1"]);
    farm.ends_well().await;
}

async fn what_would_break_a_project_above_is_refused_unless_that_was_broken_before() {
    let farm = Farm::new().await;
    let release = async |package: &Package, branch: &str| {
        assert_eq!(built(&farm, package, branch).await.phase(), "published");
        settled(&farm, farm.promote("rex", &[&package.nvr()]).await).await
    };
    let hello = async |version: &str| release(&package("hello", version), "c9s-sig-demo-hello").await;
    assert_eq!(hello("1").await.phase(), "published");
    farm.apply(SIG_ABOVE).await;
    let moon = package("moon", "1");
    assert_eq!(release(&moon, "c9s-sig-above-moon").await.phase(), "published");
    assert_eq!(hello("2").await.phase(), "published", "what is above works with it");

    farm.breaks(&moon);
    let refused = hello("3").await;
    let why = refusal(&refused);
    assert!(why.starts_with("suite runs of above9s-moon-1-el9s on x86_64 failed: "), "{why}");
    assert_eq!(farm.repo("testing").await, ["hello-3-1"], "nothing is layered on testing");
    assert_eq!(farm.repo("release").await, ["hello-2-1"]);

    // It is published with a waiver. So what comes after it is not what broke the project above.
    let waiver = json!({ "suite": "runs", "on": "above9s-moon-1-el9s", "reason": "the moon is late", "days": 1, "nvr": "hello-3-1" });
    waive(&farm, &refused, &waiver).await;
    assert_eq!(settled(&farm, farm.promote("rex", &["hello-3-1"]).await).await.phase(), "published");
    assert_eq!(hello("4").await.phase(), "published", "that was broken before");
    let (_, waivers) = farm.get("/api/v1/targets/demo9s-hello-2-el9s/waivers").await;
    assert_eq!(waivers.as_array().unwrap().len(), 1, "{waivers}");
    farm.ends_well().await;
}

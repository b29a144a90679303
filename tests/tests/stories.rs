//! The stories: what the users of a farm do, with the dummy engine; each on the embedded defaults, and on PostgreSQL and
//! RabbitMQ.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

#[path = "stories/back.rs"]
mod back;
#[path = "stories/breakage.rs"]
mod breakage;

use farm::ids::PromotionId;
use farm::promotion::PromotionState;
use farm::request::Status;
use serde_json::json;
use tempfile::TempDir;
use tests::{Behaviour, Farm, Options, Package, outside_repo, stories};

stories!(
    a_push_is_built_tested_and_promoted_to_production,
    what_fails_its_tests_reaches_nobody,
    each_way_to_fail_says_why_in_its_first_line,
    an_nvr_is_built_once_and_a_scratch_build_as_often_as_one_likes,
    strangers_push_nothing_and_promote_nothing,
    a_maintainers_promotion_waits_for_a_release_manager,
    a_missing_source_is_named_before_any_container_starts,
    a_build_is_cancelled_and_its_container_is_gone,
    a_push_whose_hook_call_was_lost_is_found,
    a_second_apply_changes_nothing_and_two_owners_are_refused,
    two_packages_move_as_one_set,
    a_slow_old_build_does_not_push_out_a_newer_one,
    what_was_tested_on_another_layer_is_tested_again,
    a_withdrawn_promotion_goes_nowhere,
    what_changes_below_a_waiting_promotion_is_tested_before_anybody_approves,
);

fn hello(version: &str, behaviour: Behaviour) -> Package {
    Package::new("hello", version, behaviour)
}

async fn a_push_is_built_tested_and_promoted_to_production() {
    let farm = Farm::new().await;
    let package = hello("2.10", Behaviour::Builds);
    let id = farm.build(&package);

    let view = farm.closed(id).await;
    assert_eq!(view.status, Status::Complete, "{:?}", view.reason);
    assert_eq!(view.nvr.as_deref(), Some("hello-2.10-1"));
    farm.repo_holds("candidate", &["hello-2.10-1"]).await;

    let promotion = farm.tested("hello-2.10-1").await;
    assert!(matches!(promotion.state, PromotionState::Published { .. }), "{:?}", promotion.state);
    assert_eq!(farm.repo("testing").await, ["hello-2.10-1"]);
    assert!(farm.repo("release").await.is_empty());

    let (status, body) = farm.promote("rex", &["hello-2.10-1"]).await;
    assert!((200..300).contains(&status), "{body}");
    let promotion: PromotionId = body["id"].as_str().unwrap().parse().unwrap();
    let settled = farm.settled(promotion).await;
    assert!(matches!(&settled.promotion.state, PromotionState::Published { by, .. } if by == "rex"));
    assert_eq!(farm.repo("release").await, ["hello-2.10-1"]);
    assert!(farm.public_tree().iter().any(|(path, _)| path.ends_with("repodata/repomd.xml")));
    farm.ends_well().await;
}

async fn what_fails_its_tests_reaches_nobody() {
    let farm = Farm::new().await;
    farm.closed(farm.build(&hello("2.10", Behaviour::Builds))).await;
    farm.tested("hello-2.10-1").await;
    let (_, body) = farm.promote("rex", &["hello-2.10-1"]).await;
    farm.settled(body["id"].as_str().unwrap().parse().unwrap()).await;
    let before = farm.public_tree();

    farm.closed(farm.build(&hello("2.12", Behaviour::FailsItsTests))).await;
    let refused = farm.tested("hello-2.12-1").await;
    let PromotionState::Rejected { why, .. } = &refused.state else { panic!("{:?}", refused.state) };
    assert!(why[0].starts_with("suite runs on x86_64 failed"), "{why:?}");
    assert_eq!(farm.repo("testing").await, ["hello-2.10-1"]);

    let (status, body) = farm.promote("rex", &["hello-2.12-1"]).await;
    assert_eq!(status, 409, "{body}");
    assert!(
        body["detail"]
            .as_str()
            .unwrap()
            .contains("hello-2.12-1 has not passed its tests: suite runs on x86_64 failed"),
        "{body}"
    );
    assert_eq!(farm.public_tree(), before, "production is unchanged, byte for byte");
    farm.ends_well().await;
}

async fn each_way_to_fail_says_why_in_its_first_line() {
    let farm = Farm::new().await;
    let cases = [
        (Behaviour::DoesNotParse, "Unknown tag"),
        (Behaviour::FailsToBuild, "%build"),
        (Behaviour::PrintsForever, "1 MiB of log"),
        (Behaviour::EatsMemory, "memory"),
        (Behaviour::ExcludesX86, "ExclusiveArch [s390x]"),
    ];
    for (index, (behaviour, reason)) in cases.into_iter().enumerate() {
        let view = farm.closed(farm.build(&hello(&format!("3.{index}"), behaviour))).await;
        assert_eq!(view.status, Status::Failed);
        let said = view.reason.unwrap_or_default();
        assert!(said.contains(reason), "{behaviour:?}: {said}");
    }
    assert!(farm.repo("candidate").await.is_empty());
    let view = farm.closed(farm.build(&hello("4", Behaviour::Builds))).await;
    assert_eq!(view.status, Status::Complete, "the farm goes on working");
    farm.tested("hello-4-1").await;
    farm.ends_well().await;
}

async fn an_nvr_is_built_once_and_a_scratch_build_as_often_as_one_likes() {
    let farm = Farm::new().await;
    let package = hello("1", Behaviour::Builds);
    farm.closed(farm.build(&package)).await;
    farm.tested("hello-1-1").await;
    let again = farm.closed(farm.build(&package)).await;
    assert_eq!(again.status, Status::Failed);
    assert!(again.reason.unwrap().contains("hello-1-1 exists already"));

    for _ in 0..2 {
        let id = farm.scratch(&package).await;
        let view = farm.closed(id).await;
        assert_eq!(view.status, Status::Complete, "{:?}", view.reason);
        assert!(view.jobs.iter().any(|job| job.files.iter().any(|file| file.name == "hello-1-1.x86_64.rpm")));
    }
    farm.repo_holds("candidate", &["hello-1-1"]).await;
    farm.ends_well().await;
}

async fn strangers_push_nothing_and_promote_nothing() {
    let farm = Farm::new().await;
    let refused = farm.push("eve", &hello("1", Behaviour::Builds), "c9s-sig-demo-hello");
    assert!(!refused.status.success());
    farm.closed(farm.build(&hello("1", Behaviour::Builds))).await;
    farm.tested("hello-1-1").await;
    let refused = farm.push_checkout("eve", "hello", "c9s-sig-demo-next");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("eve is not a maintainer of SIG demo"), "{said}");
    let refused = farm.push_checkout("ada", "hello", "c9s");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("belongs to no SIG"));

    let (status, body) = farm.promote("eve", &["hello-1-1"]).await;
    assert_eq!(status, 403, "{body}");
    let (status, _) =
        farm.post("nobody's", "/api/v1/promotions", &json!({"nvrs": ["hello-1-1"], "to": "release"})).await;
    assert_eq!(status, 401);
    farm.ends_well().await;
}

async fn a_maintainers_promotion_waits_for_a_release_manager() {
    let farm = Farm::new().await;
    farm.closed(farm.build(&hello("1", Behaviour::Builds))).await;
    farm.tested("hello-1-1").await;
    let (status, body) = farm.promote("ada", &["hello-1-1"]).await;
    assert!((200..300).contains(&status), "{body}");
    let id: PromotionId = body["id"].as_str().unwrap().parse().unwrap();
    farm.until("it is ready", || async {
        Some(farm.promotion(id).await)
            .filter(|view| matches!(view.promotion.state, PromotionState::Ready { .. }))
    })
    .await;
    let (status, _) = farm.post("ada-token", &format!("/api/v1/promotions/{id}/approve"), &json!({})).await;
    assert_eq!(status, 403);
    assert!(farm.repo("release").await.is_empty());
    let (status, body) =
        farm.post("rex-token", &format!("/api/v1/promotions/{id}/approve"), &json!({})).await;
    assert!((200..300).contains(&status), "{body}");
    assert!(
        matches!(farm.settled(id).await.promotion.state, PromotionState::Published { by, .. } if by == "rex")
    );
    farm.ends_well().await;
}

async fn a_missing_source_is_named_before_any_container_starts() {
    let farm = Farm::new().await;
    let mut package = hello("1", Behaviour::Builds);
    let hash = "0".repeat(128);
    package.sources = Some(format!("SHA512 (hello-1.tar.gz) = {hash}\n"));
    let view = farm.closed(farm.build(&package)).await;
    assert_eq!(view.status, Status::Failed);
    assert!(view.reason.unwrap().contains("missing from the lookaside: hello-1.tar.gz"));
    assert!(farm.engine.ran().is_empty());
    farm.ends_well().await;
}

async fn a_build_is_cancelled_and_its_container_is_gone() {
    let farm = Farm::new().await;
    let id = farm.build(&hello("1", Behaviour::Hangs));
    farm.until("the build runs", || async {
        (farm.engine.running() > 0 && farm.request(id).await.jobs.len() > 1).then_some(())
    })
    .await;
    let (status, body) = farm.post("ada-token", &format!("/api/v1/builds/{id}/cancel"), &json!({})).await;
    assert!((200..300).contains(&status), "{body}");
    let view = farm.closed(id).await;
    assert_eq!(view.status, Status::Cancelled);
    assert_eq!(view.reason.as_deref(), Some("cancelled by ada"));
    farm.ends_well().await;
}

async fn a_push_whose_hook_call_was_lost_is_found() {
    let farm = Farm::bare(Options { sweep_ms: 200, ..Options::default() }).await;
    // Nobody claims the branch yet, so the hook's call comes to nothing.
    let output = farm.push("root", &hello("1", Behaviour::Builds), "c9s-sig-demo-hello");
    assert!(!output.status.success(), "a branch of no SIG is refused");
    farm.apply(&DEMO_WITHOUT_BRANCH.replace("default-branch = false", "")).await;
    farm.apply(DEMO_WITHOUT_BRANCH).await;
    let output = farm.push_checkout("ada", "hello", "c9s-sig-demo-hello");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    farm.apply(&DEMO_WITHOUT_BRANCH.replace("default-branch = false", "")).await;
    let promotion = farm.tested("hello-1-1").await;
    assert!(matches!(promotion.state, PromotionState::Published { .. }));
    farm.ends_well().await;
}

const DEMO_WITHOUT_BRANCH: &str = r#"
name = "demo"
[[member]]
name = "ada"
roles = ["maintainer"]
[[project]]
name = "hello"
release = "2"
dist = "9s"
arches = ["x86_64"]
packages = ["hello"]
image = "dummy"
default-branch = false
[project.tests]
required = ["installs", "runs"]
"#;

async fn a_second_apply_changes_nothing_and_two_owners_are_refused() {
    let farm = Farm::new().await;
    assert!(farm.apply(DEMO_WITHOUT_BRANCH).await > 0);
    assert_eq!(farm.apply(DEMO_WITHOUT_BRANCH).await, 0);
    let rival = DEMO_WITHOUT_BRANCH.replace("name = \"demo\"", "name = \"rival\"");
    let body = json!({"file": "rival.toml", "template": rival});
    let (status, answer) = farm.post(&farm.admin, "/api/v1/sigs/apply", &body).await;
    assert_eq!(status, 422, "{answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.contains("rival.toml:") && detail.contains("package hello is claimed by SIG demo"),
        "{detail}"
    );
    farm.ends_well().await;
}

async fn two_packages_move_as_one_set() {
    let farm = Farm::new().await;
    farm.closed(farm.build(&hello("1", Behaviour::Builds))).await;
    farm.tested("hello-1-1").await;
    farm.closed(farm.build(&Package::new("world", "1", Behaviour::Builds))).await;
    farm.tested("world-1-1").await;
    let (status, body) = farm.promote("rex", &["hello-1-1", "world-1-1"]).await;
    assert!((200..300).contains(&status), "{body}");
    farm.settled(body["id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(farm.repo("release").await, ["hello-1-1", "world-1-1"]);
    farm.ends_well().await;
}

async fn a_slow_old_build_does_not_push_out_a_newer_one() {
    let farm = Farm::new().await;
    let waiting = hello("1", Behaviour::Waits);
    let slow = farm.build(&waiting);
    let quick = farm.build(&hello("2", Behaviour::Builds));
    farm.closed(quick).await;
    farm.go(&waiting);
    let view = farm.closed(slow).await;
    assert_eq!(view.status, Status::Complete, "{:?}", view.reason);
    let refused = farm.tested("hello-1-1").await;
    let PromotionState::Rejected { why, .. } = &refused.state else { panic!("{:?}", refused.state) };
    assert!(why[0].starts_with("superseded: hello-2-1"), "{why:?}");
    farm.repo_holds("candidate", &["hello-2-1"]).await;
    farm.repo_holds("testing", &["hello-2-1"]).await;
    farm.ends_well().await;
}

/// A farm and a repo outside of it, which nobody builds from yet.
async fn beside_another_repo() -> (Farm, TempDir) {
    let base = tempfile::tempdir().unwrap();
    outside_repo(base.path(), "1");
    let file_repos = vec![base.path().to_owned()];
    let farm = Farm::bare(Options { file_repos, ..Options::default() }).await;
    farm.apply_demo().await;
    (farm, base)
}

/// Puts that repo below the SIG's project.
async fn build_from(farm: &Farm, base: &TempDir) {
    let url = base.path().display();
    farm.apply_demo_with(&format!(
        "[[project.external-repo]]\nname = \"base\"\nbaseurl = \"file://{url}\"\n"
    ))
    .await;
}

async fn what_was_tested_on_another_layer_is_tested_again() {
    let (farm, base) = beside_another_repo().await;
    farm.closed(farm.build(&hello("1", Behaviour::Builds))).await;
    farm.tested("hello-1-1").await;
    let tests = || async {
        let (_, body) = farm.get("/api/v1/builds?kind=test&limit=200").await;
        body["items"].as_array().unwrap().len()
    };
    assert_eq!(tests().await, 1);
    // The same content, but what lies below it is another: an external repo was added.
    build_from(&farm, &base).await;
    let (status, body) = farm.promote("rex", &["hello-1-1"]).await;
    assert!((200..300).contains(&status), "{body}");
    farm.settled(body["id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(tests().await, 2, "the old results do not count");
    farm.ends_well().await;
}

async fn a_withdrawn_promotion_goes_nowhere() {
    let farm = Farm::new().await;
    farm.closed(farm.build(&hello("1", Behaviour::Builds))).await;
    farm.tested("hello-1-1").await;
    let (_, body) = farm.promote("ada", &["hello-1-1"]).await;
    let id: PromotionId = body["id"].as_str().unwrap().parse().unwrap();
    let (status, body) =
        farm.post("ada-token", &format!("/api/v1/promotions/{id}/withdraw"), &json!({})).await;
    assert!((200..300).contains(&status), "{body}");
    assert!(
        matches!(farm.settled(id).await.promotion.state, PromotionState::Withdrawn { by, .. } if by == "ada")
    );
    let (status, _) = farm.post("rex-token", &format!("/api/v1/promotions/{id}/approve"), &json!({})).await;
    assert_eq!(status, 409);
    assert!(farm.repo("release").await.is_empty());
    farm.ends_well().await;
}

async fn what_changes_below_a_waiting_promotion_is_tested_before_anybody_approves() {
    let (farm, base) = beside_another_repo().await;
    farm.closed(farm.build(&hello("1", Behaviour::Builds))).await;
    farm.tested("hello-1-1").await;
    let (_, body) = farm.promote("ada", &["hello-1-1"]).await;
    let id: PromotionId = body["id"].as_str().unwrap().parse().unwrap();
    let tested_times = |times: usize| {
        let farm = &farm;
        async move {
            farm.until("it is tested and ready", || async {
                let (_, body) = farm.get("/api/v1/builds?kind=test&limit=200").await;
                let tests = body["items"].as_array().unwrap().len();
                let ready = matches!(farm.promotion(id).await.promotion.state, PromotionState::Ready { .. });
                (ready && tests == times).then_some(())
            })
            .await;
        }
    };
    tested_times(1).await;
    build_from(&farm, &base).await;
    tested_times(2).await;
    let (status, body) =
        farm.post("rex-token", &format!("/api/v1/promotions/{id}/approve"), &json!({})).await;
    assert!((200..300).contains(&status), "{body}");
    assert!(matches!(farm.settled(id).await.promotion.state, PromotionState::Published { .. }));
    farm.ends_well().await;
}

//! Why a build is not moving, asked as a person would while it happens.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use farm::why::{Why, WhyCode};
use serde_json::json;
use tests::{Behaviour, Farm, Mirror, Options, Package, SIG_ABOVE, demo_sig, outside_repo};

/// SIG demo, with a cap of one job and a second architecture that nobody builds for where `arches` says so.
fn demo(arches: &str, share: &str) -> String {
    demo_sig(&format!(
        r#"
[share]
{share}
[[project]]
name = "hello"
release = "2"
dist = "9s"
arches = [{arches}]
packages = ["hello", "world"]
image = "dummy"
[project.tests]
required = ["installs", "runs"]
[project.limits]
seconds = 600
"#
    ))
}

async fn farm_with(arches: &str, share: &str) -> Farm {
    farm_of(Options::default(), arches, share).await
}

async fn farm_of(options: Options, arches: &str, share: &str) -> Farm {
    let farm = Farm::bare(options).await;
    farm.apply(&demo(arches, share)).await;
    farm
}

async fn why(farm: &Farm, what: &str) -> Why {
    let (status, body) = farm.get(&format!("/api/v1/why/{what}")).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_value(body).unwrap()
}

/// Asks until this is the answer.
async fn until_why(farm: &Farm, what: &str, code: WhyCode) -> Why {
    farm.until(&format!("`why` says {code:?}"), || async {
        let answer = why(farm, what).await;
        (answer.code == code).then_some(answer)
    })
    .await
}

async fn cancel(farm: &Farm, id: &str) {
    let (status, body) = farm.post(&farm.admin, &format!("/api/v1/builds/{id}/cancel"), &json!(null)).await;
    assert_eq!(status, 204, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_architecture_nobody_builds_for_is_named_at_once() {
    let farm = farm_with("\"x86_64\", \"s390x\"", "").await;
    let id = farm.build(&Package::new("hello", "1", Behaviour::Builds)).to_string();
    let answer = until_why(&farm, &id, WhyCode::NoBuilder).await;
    assert!(answer.sentence.contains("no s390x builder has ever joined"), "{}", answer.sentence);
    assert!(answer.next.unwrap().contains("grange builders"));
    cancel(&farm, &id).await;
    farm.closed(id.parse().unwrap()).await;
    let answer = until_why(&farm, &id, WhyCode::Cancelled).await;
    assert!(answer.sentence.contains("cancelled by root"), "{}", answer.sentence);
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_a_busy_builder_a_failure_and_the_gate_are_told_apart() {
    let farm = farm_with("\"x86_64\"", "cap = 1").await;
    let first = farm.build(&Package::new("hello", "1", Behaviour::Hangs)).to_string();
    until_why(&farm, &first, WhyCode::Running).await;
    let second = farm.build(&Package::new("world", "1", Behaviour::FailsToBuild)).to_string();
    let answer = until_why(&farm, &second, WhyCode::HeldByCap).await;
    assert!(answer.sentence.contains("demo has 1 of its 1 jobs at work there"), "{}", answer.sentence);

    farm.apply(&demo("\"x86_64\"", "")).await;
    let answer = until_why(&farm, &second, WhyCode::Failed).await;
    assert!(answer.next.unwrap().starts_with("grange log "));
    cancel(&farm, &first).await;
    until_why(&farm, &first, WhyCode::Cancelled).await;

    let third = farm.build(&Package::new("hello", "2", Behaviour::FailsItsTests)).to_string();
    let answer = until_why(&farm, &third, WhyCode::Gate).await;
    assert!(
        answer.sentence.contains("hello-2-1 did not reach testing: suite runs on x86_64 failed"),
        "{}",
        answer.sentence
    );

    let fourth = farm.build(&Package::new("world", "2", Behaviour::Builds)).to_string();
    farm.closed(fourth.parse().unwrap()).await;
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_slot_without_disk_for_another_job_is_named() {
    let options = Options { disk_mb: 4000, ..Options::default() };
    let farm = farm_of(options, "\"x86_64\"", "").await;
    let first = farm.build(&Package::new("hello", "1", Behaviour::Hangs)).to_string();
    farm.until("the first is at work for good", || async {
        why(&farm, &first).await.sentence.contains("build on x86_64 has been running").then_some(())
    })
    .await;
    let second = farm.build(&Package::new("world", "1", Behaviour::Builds)).to_string();
    let answer = until_why(&farm, &second, WhyCode::WaitingForSlot).await;
    assert!(answer.sentence.contains("waits until builders have room"), "{}", answer.sentence);
    assert!(answer.sentence.contains("3072 MiB of disk"), "{}", answer.sentence);
    cancel(&farm, &first).await;
    until_why(&farm, &second, WhyCode::Done).await;
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_says_so_and_what_waits_for_approval_says_for_whom() {
    let farm = farm_with("\"x86_64\"", "").await;
    let id = farm.build(&Package::new("hello", "1", Behaviour::Builds)).to_string();
    let answer = until_why(&farm, &id, WhyCode::Done).await;
    assert_eq!(answer.sentence, "hello-1-1 is in testing");
    let (status, body) = farm.promote("ada", &["hello-1-1"]).await;
    assert!((200..300).contains(&status), "{body}");
    let promotion = body["id"].as_str().unwrap();
    for what in [promotion, "hello-1-1"] {
        let answer = until_why(&farm, what, WhyCode::WaitingForApproval).await;
        assert!(answer.sentence.contains("waits for a release manager of demo"), "{}", answer.sentence);
    }
    let (status, body) =
        farm.post("rex-token", &format!("/api/v1/promotions/{promotion}/approve"), &json!(null)).await;
    assert!((200..300).contains(&status), "{body}");
    let answer = until_why(&farm, promotion, WhyCode::Done).await;
    assert_eq!(answer.sentence, "hello-1-1 is in release");
    let (status, _) = farm.get("/api/v1/why/nothing-of-the-sort").await;
    assert_eq!(status, 404);
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_outside_that_does_not_answer_holds_up_who_needs_it_and_nobody_else() {
    let base = tempfile::tempdir().unwrap();
    outside_repo(base.path(), "1");
    let mirror = Mirror::of(base.path()).await;
    let farm = Farm::new().await;
    for version in ["1", "2"] {
        farm.build(&Package::new("hello", version, Behaviour::Builds));
        assert_eq!(farm.tested(&format!("hello-{version}-1")).await.phase(), "published");
    }
    let repo = format!("[[project.external-repo]]\nname = \"base\"\nbaseurl = \"{}\"\n", mirror.url);
    let above = SIG_ABOVE.replace("inherit = [\"demo9s-hello-2-release\"]", "");
    farm.apply(&format!("{above}{repo}")).await;
    let moon = Package::new("moon", "1", Behaviour::Builds);
    assert!(farm.push("ada", &moon, "c9s-sig-above-moon").status.success());
    assert_eq!(farm.tested("moon-1-1").await.phase(), "published");

    mirror.speaks(false);
    let (status, body) = farm.promote("rex", &["moon-1-1"]).await;
    assert!((200..300).contains(&status), "{body}");
    let held = body["id"].as_str().unwrap().to_owned();
    farm.until("the repo outside is asked for", || async { (mirror.unanswered().0 > 0).then_some(()) }).await;
    let answer = until_why(&farm, &held, WhyCode::BackingOff).await;
    let reason = format!("the repo outside at {} is being read", mirror.url);
    assert!(answer.sentence.contains(&reason), "{}", answer.sentence);

    let back = json!({"tag": "demo9s-hello-2-testing", "revision": 1, "reason": "it does not start"});
    let (status, body) = farm.post("rex-token", "/api/v1/rollbacks", &back).await;
    assert!((200..300).contains(&status), "{body}");
    let back = farm.settled(body["id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(back.promotion.phase(), "published", "{}", back.sentence);
    assert_eq!(mirror.unanswered(), (1, 0), "whoever asked still waits, and asked once");

    mirror.speaks(true);
    let released = farm.settled(held.parse().unwrap()).await;
    assert_eq!(released.promotion.phase(), "published", "{}", released.sentence);
    farm.ends_well().await;
}

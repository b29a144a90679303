//! Going back, and where that leads to nothing that was tested.

use farm::arch::Arch;
use farm::ids::PromotionId;
use farm::promotion::{Promotion, PromotionState};
use serde_json::json;
use tests::{Behaviour, Farm, Options, Package, demo_sig, stories};

stories!(nobody_goes_back_to_an_architecture_that_was_not_tested);

const TAG: &str = "demo9s-hello-2-testing";

fn sig(arches: &str) -> String {
    demo_sig(&format!(
        r#"
[[project]]
name = "hello"
release = "2"
dist = "9s"
arches = [{arches}]
packages = ["hello"]
image = "dummy"
[project.tests]
required = ["installs"]
"#
    ))
}

async fn published(farm: &Farm, version: &str) {
    let package = Package::new("hello", version, Behaviour::Builds);
    farm.build(&package);
    let promotion = farm.tested(&package.nvr()).await;
    assert_eq!(promotion.phase(), "published", "{:?}", promotion.state);
}

async fn went_back(farm: &Farm, revision: i64) -> Promotion {
    let asked = json!({ "tag": TAG, "revision": revision, "reason": "the story goes back", "confirm": true });
    let (status, body) = farm.post("rex-token", "/api/v1/rollbacks", &asked).await;
    assert!((200..300).contains(&status), "{body}");
    let id: PromotionId = body["id"].as_str().unwrap().parse().unwrap();
    farm.settled(id).await.promotion
}

async fn nobody_goes_back_to_an_architecture_that_was_not_tested() {
    let arches = vec![Arch::X86_64, Arch::S390x];
    let farm = Farm::bare(Options { arches, ..Options::default() }).await;
    farm.apply(&sig("\"x86_64\"")).await;
    published(&farm, "1").await;
    farm.apply(&sig("\"x86_64\", \"s390x\"")).await;
    published(&farm, "2").await;
    published(&farm, "3").await;
    let shown = farm.public_tree();

    // Its packages for every architecture would be offered there, where no suite has ever run on them.
    let refused = went_back(&farm, 1).await;
    let PromotionState::Rejected { why, .. } = &refused.state else { panic!("{:?}", refused.state) };
    assert!(why[0].contains("was never shown, and never tested, on s390x"), "{why:?}");
    assert_eq!(farm.public_tree(), shown, "nothing of it is to be seen");

    let back = went_back(&farm, 2).await;
    assert_eq!(back.phase(), "published", "{:?}", back.state);
    farm.ends_well().await;
}

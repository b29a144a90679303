//! A farm whose files are in a bucket is killed: what was put there and is in no row of the ledger does no harm, and what a row
//! names is there. What the bucket has lost meanwhile comes back by itself.

use std::collections::BTreeSet;

use farm::digest::Digest;
use hub::artifacts::key;
use tests::S3Server;
use tests::processes::yard::Order;

use crate::standalone::{Standalone, TESTING};

/// What the ledger names and the bucket has not.
async fn lost(farm: &Standalone, server: &S3Server) -> Vec<Digest> {
    let there = server.bucket().list("artifacts").await.unwrap();
    let there: BTreeSet<String> = there.into_iter().map(|object| object.key).collect();
    let held = farm.db.read().await.unwrap().held().await.unwrap();
    assert!(!held.is_empty());
    held.into_iter().filter(|digest| !there.contains(&key(digest))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_the_bucket_and_the_ledger() {
    let Some(server) = S3Server::start().await else { return };
    let mut farm = Standalone::before(&server).await;
    farm.publish("quick-plum", "1").await;
    let of_testing = |moment: &str| format!("{TESTING}{moment}");
    let steps = [
        "a file that was built is stored".to_owned(),
        "a signed package is stored".to_owned(),
        of_testing(": brought in"),
        of_testing(": where users fetch it"),
        of_testing(": the pointer is about to move"),
        of_testing(": the pointer has moved"),
    ];
    for (number, step) in steps.iter().enumerate() {
        let version = (number + 2).to_string();
        let (before, revision) = (farm.shown(TESTING).await, farm.revision(TESTING).await);
        let after = [format!("quick-plum-{version}-1")];
        farm.order(Order::Die, step);
        farm.push_to_death("quick-plum", &version);
        farm.is_killed_at(step).await;
        assert_eq!(farm.shown(TESTING).await, before, "killed at `{step}`");
        assert_eq!(lost(&farm, &server).await, [], "killed at `{step}`");

        farm.start().await;
        farm.until(&format!("it goes on after `{step}`"), async || {
            (farm.shown(TESTING).await == after).then_some(())
        })
        .await;
        farm.settles().await;
        let when = format!("started again after `{step}`");
        assert_eq!(farm.revision(TESTING).await, revision + 1, "{when}: it was published once");
        assert_eq!(lost(&farm, &server).await, [], "{when}");
        farm.is_fetched_whole(&when).await;
        farm.has_come_to_its_end(&when).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_bucket_has_lost_of_what_users_are_shown_comes_back() {
    let Some(server) = S3Server::start().await else { return };
    let mut farm = Standalone::before(&server).await;
    farm.publish("quick-plum", "1").await;
    farm.is_fetched_whole("before").await;
    let step = format!("{TESTING}: the pointer has moved");
    farm.order(Order::Die, &step);
    farm.push_to_death("quick-plum", "2");
    farm.is_killed_at(&step).await;
    let live = farm.db.read().await.unwrap().repo(TESTING).await.unwrap().current.unwrap();
    let bucket = server.bucket();
    let mut damaged = Vec::new();
    for (folder, part, is_removed) in [
        ("pool", "quick-plum-2-1.x86_64.rpm", false),
        ("pool", "provenance/quick-plum-2-1", true),
        ("snap", "repomd.xml", true),
        ("snap", "primary", false),
    ] {
        let folder =
            if folder == "snap" { format!("public/snap/{live}") } else { format!("public/pool/{TESTING}") };
        let all = bucket.list(&folder).await.unwrap();
        let object = all.into_iter().find(|object| object.key.contains(part)).unwrap();
        if is_removed {
            bucket.remove(&object.key).await.unwrap();
        } else {
            bucket.put_bytes(&object.key, vec![7; usize::try_from(object.size).unwrap()]).await.unwrap();
        }
        damaged.push(object);
    }

    farm.start().await;
    for object in damaged {
        farm.until(&format!("{} is there again", object.key), async || {
            let now = bucket.look(&object.key).await.unwrap()?;
            (now.version == object.version).then_some(())
        })
        .await;
    }
    farm.until("it goes on", async || (farm.shown(TESTING).await == ["quick-plum-2-1"]).then_some(())).await;
    farm.settles().await;
    farm.is_fetched_whole("and it is whole again").await;
}

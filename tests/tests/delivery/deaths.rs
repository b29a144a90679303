//! SIGKILL at every step of publishing. Which steps there are the farm says itself when it is watched once; so a step that is
//! added is tried here by itself.

use std::collections::BTreeSet;

use tests::processes::yard::Order;

use crate::standalone::{RELEASE, Standalone, TESTING};

/// Every step of the last move that concerns what users find.
fn steps(farm: &Standalone) -> Vec<String> {
    farm.yard.steps().into_iter().filter(|step| !step.contains("-candidate")).collect()
}

/// What was told of must include the moments that count.
fn must_include(steps: &[String], moments: &[&str]) {
    for moment in moments {
        assert!(
            steps.iter().any(|step| step.ends_with(moment)),
            "nothing was told of `{moment}`: {steps:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_step_of_a_promotion() {
    let mut farm = Standalone::new().await;
    farm.publish("quick-plum", "1").await;
    farm.yard.forget_steps();
    farm.publish("quick-plum", "2").await;
    let steps = steps(&farm);
    must_include(
        &steps,
        &[
            "a file that was built is stored",
            "the signer has fetched a package",
            "a signed package is stored",
            "the signer has sent a package",
            "a signed package is noted",
            ": staged",
            "the signer has signed metadata",
            "signed metadata is noted",
            "a signature is written, and not in its place",
            ": looked at",
            ": its packages are in the pool",
            ": in the tree",
            ": what was shown before is found through it",
            ": brought in",
            ": where users fetch it",
            ": the pointer is about to move",
            ": the pointer has moved",
            ": the link is made, and not in its place",
            ": the link has moved",
            ": shown with its keys",
        ],
    );
    for (number, step) in steps.iter().enumerate() {
        let version = (number + 3).to_string();
        let (before, revision) = (farm.shown(TESTING).await, farm.revision(TESTING).await);
        let after = [format!("quick-plum-{version}-1")];
        let named = farm.named(TESTING);
        farm.order(Order::Die, step);
        farm.push_to_death("quick-plum", &version);
        farm.is_killed_at(step).await;
        farm.still_has(&named, &format!("killed at `{step}`"));
        let shown = farm.shown(TESTING).await;
        assert!(shown == before || shown == after, "killed at `{step}`, it shows {shown:?}");
        farm.is_whole(&format!("killed at `{step}`")).await;

        farm.start().await;
        farm.settles().await;
        let when = format!("started again after `{step}`");
        assert_eq!(farm.shown(TESTING).await, after, "{when}");
        farm.still_has(&named, &when);
        assert_eq!(farm.revision(TESTING).await, revision + 1, "{when}: it was published once");
        farm.is_whole(&when).await;
        farm.has_come_to_its_end(&when).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_step_of_a_rollback() {
    let mut farm = Standalone::new().await;
    let mut states = Vec::new();
    for version in ["1", "2"] {
        farm.publish("quick-plum", version).await;
        farm.promote(&[&format!("quick-plum-{version}-1")]).await;
        farm.settles().await;
        states.push((farm.revision(RELEASE).await, farm.shown(RELEASE).await));
    }
    let known: BTreeSet<&Vec<String>> = states.iter().map(|(_, shown)| shown).collect();
    assert_eq!(known.len(), 2, "{states:?}");
    farm.yard.forget_steps();
    farm.roll_back(states[0].0).await;
    farm.settles().await;
    let steps = steps(&farm);
    must_include(
        &steps,
        &[": staged", ": brought in", ": the pointer has moved", ": the link has moved", ": shown"],
    );
    for (number, step) in steps.iter().enumerate() {
        let revision = farm.revision(RELEASE).await;
        let (to, after) = &states[(number + 1) % 2];
        let named = farm.named(RELEASE);
        farm.order(Order::Die, step);
        farm.roll_back(*to).await;
        farm.is_killed_at(step).await;
        farm.still_has(&named, &format!("killed at `{step}`"));
        let shown = farm.shown(RELEASE).await;
        assert!(known.contains(&shown), "killed at `{step}`, it shows {shown:?}");
        farm.is_whole(&format!("killed at `{step}`")).await;

        farm.start().await;
        farm.settles().await;
        let when = format!("started again after `{step}`");
        assert_eq!(farm.shown(RELEASE).await, *after, "{when}");
        farm.still_has(&named, &when);
        assert_eq!(farm.revision(RELEASE).await, revision + 1, "{when}: it was published once");
        farm.is_whole(&when).await;
        farm.has_come_to_its_end(&when).await;
    }
}

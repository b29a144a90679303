//! Simulation of everything between a finished build and what users see: builds, tests that pass, fail or get lost, promotions,
//! withdrawals, and a hub that dies in the middle of any step. After every step an auditor looks at what is visible.
//!
//! `GRANGE_SIM_SEEDS` says how many seeds are tried; a failure names its seed.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod queue;
mod world;

use farm::ledger::RequestFilter;
use farm::request::Verdict;
use tests::audit;

use world::{Forge, World};

const STEPS: u64 = 120;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_untested_is_ever_visible() {
    let seeds = std::env::var("GRANGE_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(6);
    let (mut published, mut refused) = (0, 0);
    for seed in 1..=seeds {
        let mut world = World::new(seed).await;
        for step in 0..STEPS {
            world.step().await;
            let violations = audit(&world.db, world.data.path()).await;
            assert!(violations.is_empty(), "seed {seed}, step {step}: {violations:?}");
        }
        let (seen, kept_back) = world.comes_to_rest(seed).await;
        published += seen;
        refused += kept_back;
    }
    assert!(
        published > seeds && refused > seeds,
        "the seeds try nothing: {published} published, {refused} refused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_root_is_not_known_is_not_imported() {
    let forges: [(Forge, &str); 4] = [
        (|_| None, "buildroot.json is missing"),
        (|_| Some(b"{}".to_vec()), "it is not a buildroot's lock"),
        (
            |lock| Some(String::from_utf8(lock).unwrap().replace("base-1-1", "a b").into_bytes()),
            "is not an installed package",
        ),
        (|_| Some(vec![b' '; 17 << 20]), "more than 16777216"),
    ];
    for (forge, words) in forges {
        let mut world = World::new(1).await;
        world.forge = forge;
        world.build().await;
        world.comes_to_rest(1).await;
        let requests =
            world.db.read().await.unwrap().requests(&RequestFilter { limit: 9, ..Default::default() }).await;
        let verdicts: Vec<Verdict> =
            requests.unwrap().into_iter().filter_map(|request| Some(request.closed?.verdict)).collect();
        assert!(
            matches!(&verdicts[..], [Verdict::Failed { reason }] if reason.contains(words)),
            "{words}: {verdicts:?}"
        );
        let builds = farm::ledger::BuildFilter { limit: 9, ..Default::default() };
        assert!(world.db.read().await.unwrap().builds(&builds).await.unwrap().is_empty(), "{words}");
    }
}

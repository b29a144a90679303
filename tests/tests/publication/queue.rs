//! The queue of a repo: what is on its way is tested at the same time, and what is published is what one after the other would give.

use farm::promotion::PromotionState;
use farm::sig::Stage;
use tests::audit;

use crate::builders::Taste;
use crate::world::World;

const CANDIDATES: usize = 20;
const BAD: &str = "fruit07";
const TESTING: &str = "demo9s-fruit-1-testing";

/// Twenty builds come at once, one of them bad: nineteen are public after two rounds of tests, the bad one is refused.
#[tokio::test(flavor = "multi_thread")]
async fn one_bad_candidate_costs_the_others_one_more_round() {
    let packages: Vec<String> = (0..CANDIDATES).map(|number| format!("fruit{number:02}")).collect();
    let mut world = World::with(1, &packages).await;
    world.taste = Taste::Spoilt(BAD);
    for package in &packages {
        world.build_of(package).await;
    }
    world.settle().await;
    world.work(false).await;
    world.settle().await;

    let mut rounds = 0;
    while !world.db.read().await.unwrap().unsettled_promotions().await.unwrap().is_empty() {
        assert!(rounds < 2, "after {rounds} rounds of tests: {:?}", phases(&world).await);
        world.work(false).await;
        rounds += 1;
        world.settle().await;
        let violations = audit(&world.db, world.data.path()).await;
        assert!(violations.is_empty(), "{violations:?}");
    }
    let mut tx = world.db.read().await.unwrap();
    let live = tx.live(TESTING).await.unwrap().unwrap();
    let shown: Vec<&str> = live.members.iter().map(|member| member.package.as_str()).collect();
    let good: Vec<&str> = packages.iter().map(String::as_str).filter(|package| *package != BAD).collect();
    assert_eq!(shown, good);
    // Each was published by itself, on top of the one before: the history is that of one after the other.
    let history = tx.publications(TESTING, 100).await.unwrap();
    let counts: Vec<usize> = {
        let mut counts = Vec::new();
        for publication in history.iter().rev() {
            counts.push(tx.snapshot(publication.snapshot).await.unwrap().unwrap().members.len());
        }
        counts
    };
    assert_eq!(counts, (1..CANDIDATES).collect::<Vec<_>>());
    drop(tx);
    let refused: Vec<String> =
        phases(&world).await.into_iter().filter(|phase| phase.contains("rejected")).collect();
    assert!(matches!(&refused[..], [only] if only.contains(BAD)), "{refused:?}");
}

async fn phases(world: &World) -> Vec<String> {
    let filter = farm::ledger::PromotionFilter { limit: 100, ..Default::default() };
    let promotions = world.db.read().await.unwrap().promotions(&filter).await.unwrap();
    promotions
        .iter()
        .filter(|promotion| promotion.to == Stage::Testing)
        .map(|promotion| match &promotion.state {
            PromotionState::Rejected { why, .. } => format!("{:?} rejected: {why:?}", promotion.nvrs),
            PromotionState::Composing
            | PromotionState::InTesting { .. }
            | PromotionState::Ready { .. }
            | PromotionState::Approved { .. }
            | PromotionState::Publishing { .. }
            | PromotionState::Published { .. }
            | PromotionState::Withdrawn { .. } => format!("{:?} {}", promotion.nvrs, promotion.phase()),
        })
        .collect()
}

//! Simulation of everything between a finished build and what users see: builds, tests that pass, fail, come late or get lost,
//! promotions of all sorts, words, waivers, withdrawals, ways back, other templates, other keys; hubs and signers that die in the
//! middle of any step, two hubs at once, messages that come twice. After every step what is visible and what was published is
//! looked at, and a client fetches all the while.
//!
//! `GRANGE_SIM_SEEDS` says how many seeds are tried; a failure names its seed and step.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod builders;
mod certain;
mod client;
mod dice;
mod hubs;
mod judge;
mod keys;
mod people;
mod policy;
mod queue;
mod world;

use farm::ledger::RequestFilter;
use farm::request::Verdict;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use builders::Forge;
use world::{Tally, World};

const SEEDS: u64 = 4;
const STEPS: u64 = 80;
/// The seed that is led to what takes luck and must never go untried, and from which step on.
const LED: u64 = 1;
const LED_FROM: u64 = STEPS / 2;
/// Seeds that are tried at once: much of the time is spent waiting.
const AT_ONCE: usize = 3;
/// What must have happened in as many seeds as are tried usually.
const OFTEN: [&str; 12] = [
    "published for tests",
    "released",
    "refused",
    "published a set",
    "published a stack",
    "changed the policy",
    "gave a waiver",
    "withdrew a build",
    "had a key follow another",
    "had two keepers at once",
    "lost a hub",
    "lost a signer",
];
/// What takes more luck, and must have happened in so many seeds.
const MANY: u64 = 20;
const SELDOM: [&str; 11] = [
    "passed another suite",
    "passed on another architecture",
    "gave a fleeting waiver",
    "took a waiver back",
    "withdrew a promotion",
    "retired a key",
    "took an approval back",
    "had an answer twice",
    "lost a builder",
    "published other files",
    "broke a list of groups",
];

/// Says where a story was when it panicked.
struct Where {
    seed: u64,
    step: u64,
    last: String,
}

impl Drop for Where {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, step {}, after {}", self.seed, self.step, self.last);
        }
    }
}

async fn story(seed: u64) -> Tally {
    let mut at = Where { seed, step: 0, last: "nothing".to_owned() };
    let mut world = World::new(seed).await;
    world.begins_well().await;
    for step in 0..STEPS {
        at.step = step;
        at.last = match step.checked_sub(LED_FROM) {
            Some(number) if seed == LED && number < certain::STEPS => {
                world.certain_step(number).await.to_owned()
            }
            _ => world.step().await,
        };
        let found = world.check().await;
        assert!(found.is_empty(), "seed {seed}, step {step}, {}: {found:#?}", at.last);
    }
    at.step = STEPS;
    let (_, refused) = world.comes_to_rest(seed).await;
    *world.tally.0.entry("refused").or_default() += refused;
    world.ends()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_untested_is_ever_visible_and_every_fetch_succeeds() {
    let seeds = std::env::var("GRANGE_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let (mut waiting, mut stories, mut tally) = (1..=seeds, JoinSet::new(), Tally::default());
    let mut broken = Vec::new();
    loop {
        while broken.is_empty()
            && stories.len() < AT_ONCE
            && let Some(seed) = waiting.next()
        {
            let here = Handle::current();
            stories.spawn_blocking(move || here.block_on(story(seed)));
        }
        let Some(told) = stories.join_next().await else { break };
        match told {
            Ok(told) => tally.add(&told),
            Err(why) => {
                // The others end first: in a runtime that shuts down they would wait for ever, and nobody would hear of this one.
                broken.push(why);
            }
        }
    }
    assert!(broken.is_empty(), "a story does not end well: {broken:?}");
    println!("{:#?}", tally.0);
    let always = certain::CLAIMS.iter().filter(|_| seeds >= LED);
    let claims = OFTEN.iter().filter(|_| seeds >= SEEDS).chain(SELDOM.iter().filter(|_| seeds >= MANY));
    let never: Vec<&&str> = always.chain(claims).filter(|claim| !tally.0.contains_key(**claim)).collect();
    assert!(never.is_empty(), "the seeds never tried these: {never:?}");
    let of = |what: &str| tally.0.get(what).copied().unwrap_or_default();
    assert!(
        of("fetched by metalink").min(of("fetched by path")) > seeds,
        "the client did nothing: {:?}",
        tally.0
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

//! How long a tick takes when the backlog is long. Prints what it measures; asserts only what is done.

use std::time::{Duration, Instant};

use farm::arch::Arch;
use farm::job::Class;

use crate::bench::{Bench, NOON, job};

const JOBS: u64 = 25_000;
const BUILDERS: u32 = 10;
const SLOTS: u32 = 4;

#[tokio::test]
async fn a_long_backlog_is_no_burden() {
    let mut bench = Bench::new().await;
    let classes = [Class::Release, Class::Push, Class::Scratch, Class::Nightly];
    let jobs: Vec<_> = (1..=JOBS)
        .map(|number| {
            let mut job = job(number, &format!("sig{}", number % 20));
            job.class = classes[(number % 4) as usize];
            job.arch = if number % 3 == 0 { Arch::Aarch64 } else { Arch::X86_64 };
            job
        })
        .collect();
    bench.insert(&jobs).await;
    let tick = async |bench: &mut Bench, what: &str| {
        let begun = Instant::now();
        let ticked = bench.tick(NOON).await;
        report(what, begun.elapsed(), ticked.offered);
        ticked.offered
    };
    tick(&mut bench, "no builder").await;
    for number in 0..BUILDERS {
        bench.present(&format!("b{number}"), SLOTS, NOON).await;
    }
    assert_eq!(tick(&mut bench, "all slots free").await, (BUILDERS * SLOTS) as usize);
    assert_eq!(tick(&mut bench, "no slot free").await, 0);
    bench.present("b0", SLOTS + 1, NOON).await;
    assert_eq!(tick(&mut bench, "one slot free").await, 1);
}

fn report(what: &str, took: Duration, offered: usize) {
    println!("{JOBS} jobs wait, {what}: {offered} offers in {:.1} ms", took.as_secs_f64() * 1e3);
}

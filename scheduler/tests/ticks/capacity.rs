//! Memory, caps, labels and emulation, as a tick sees them.

use farm::arch::Arch;
use farm::job::JobState;
use farm::message::Presence;
use farm::sig::{Share, Sig};

use crate::bench::{Bench, NOON, job, later, presence};

async fn apply(bench: &Bench, name: &str, share: Share) {
    let sig = Sig {
        name: name.to_owned(),
        title: name.to_owned(),
        members: [].into(),
        projects: Vec::new(),
        share,
    };
    let mut tx = bench.parts.db.write().await.unwrap();
    tx.apply_sig(&sig, "", "root", NOON).await.unwrap().unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn memory_and_disk_limit_what_a_builder_gets() {
    let mut bench = Bench::new().await;
    bench.insert(&(1..=9).map(|number| job(number, "storage")).collect::<Vec<_>>()).await;
    // Each job may use 4096 MiB of memory and 3072 MiB of disk.
    let memory = Presence { memory_mb: 3 * 4_096 - 1, ..presence("b1", 8) };
    bench.report(memory, NOON).await;
    assert_eq!(bench.tick(NOON).await.offered, 2);
    let disk = Presence { disk_mb: 3_072, memory_mb: 0, ..presence("b2", 8) };
    bench.report(disk, NOON).await;
    assert_eq!(bench.tick(NOON).await.offered, 1);
    let has_not_said = Presence { disk_mb: 0, memory_mb: 0, ..presence("b3", 4) };
    bench.report(has_not_said, NOON).await;
    assert_eq!(bench.tick(NOON).await.offered, 4);
}

#[tokio::test]
async fn a_cap_holds_a_sig_back_and_nobody_else() {
    let mut bench = Bench::new().await;
    apply(&bench, "storage", Share { weight: 100, cap: Some(3) }).await;
    let mut jobs: Vec<_> = (1..=9).map(|number| job(number, "storage")).collect();
    jobs.push(job(10, "cloud"));
    bench.insert(&jobs).await;
    bench.present("b1", 8, NOON).await;
    assert_eq!(bench.tick(NOON).await.offered, 4);
    assert_eq!(bench.tick(later(1)).await.offered, 0);
    assert_eq!(bench.job(&jobs[9]).await.phase(), "offered");
}

#[tokio::test]
async fn labels_and_emulation_decide_who_may_do_it() {
    let mut bench = Bench::new().await;
    let (mut picky, mut foreign) = (job(1, "storage"), job(2, "storage"));
    picky.labels.insert("ssd".to_owned());
    foreign.arch = Arch::S390x;
    // Young enough to wait for a native builder.
    foreign.state = JobState::Waiting { not_before: NOON };
    bench.insert(&[picky.clone(), foreign.clone()]).await;
    let ssd = Presence { labels: ["ssd".to_owned()].into(), ..presence("ssd", 1) };
    let emulating = Presence { emulated: vec![Arch::S390x], ..presence("emulating", 2) };
    bench.report(emulating.clone(), NOON).await;
    let native = Presence { arches: vec![Arch::S390x], slots: 0, ..presence("native", 0) };
    bench.report(native.clone(), NOON).await;
    assert_eq!(bench.tick(NOON).await.offered, 0, "a native builder is here, though it is full");
    bench.report(ssd, NOON).await;
    assert_eq!(bench.tick(NOON).await.offered, 1);
    assert_eq!(bench.job(&picky).await.builder(), Some("ssd"));
    bench.report(Presence { draining: true, ..native }, later(1)).await;
    assert_eq!(bench.tick(later(1)).await.offered, 1);
    assert_eq!(bench.job(&foreign).await.builder(), Some("emulating"));
}

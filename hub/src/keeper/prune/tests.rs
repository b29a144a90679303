use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use farm::digest::Digest;
use farm::ledger::Db;
use farm::promotion::PromotionState;
use farm::sig::{Project, Stage};
use farm::signing::SignedFile;
use farm::snapshot::Snapshot;
use farm::wire::Bus;

use super::*;
use crate::config::Config;
use crate::repos::manifest::{Listing, folders_of};
use crate::repos::samples::{Bench, KEY, X86, gluster};
use crate::repos::verify::{Expected, verify_staged};

const STAGE: Stage = Stage::Testing;

struct Farm {
    bench: Bench,
    hub: Hub,
    project: Project,
    live: Option<Snapshot>,
}

impl Farm {
    async fn open() -> Farm {
        let bench = Bench::new();
        let data = bench.dir.path().to_owned();
        let db = Db::open(&format!("sqlite:{}", data.join("ledger.sqlite").display())).await.unwrap();
        let hub = Hub::open(db, Bus::local(), Config { data, ..Config::default() }).unwrap();
        Farm { bench, hub, project: gluster(), live: None }
    }

    fn ago(&self, hours: i64) -> Stamp {
        Stamp::from_millis(self.hub.now().millis() - hours * 3_600_000)
    }

    /// In the tree, where nothing points to it.
    async fn admit(&mut self, version: &str) -> (Snapshot, farm::gate::Approved) {
        let (snapshot, approved) = self.admit_unknown(version).await;
        let mut tx = self.hub.db.write().await.unwrap();
        tx.insert_snapshot(&snapshot).await.unwrap();
        tx.commit().await.unwrap();
        (snapshot, approved)
    }

    /// In the tree, and not in the ledger.
    async fn admit_unknown(&mut self, version: &str) -> (Snapshot, farm::gate::Approved) {
        let hello = self.bench.hello(version).await;
        let snapshot = self.bench.snapshot(&self.project.tag(STAGE), self.live.as_ref(), &[hello]);
        let staged = self.bench.stage(&snapshot).await;
        let live = self.live.as_ref().map(|live| live.id);
        let approved = self.bench.approve(&self.project, STAGE, &snapshot, live);
        self.hub.public.admit(&approved, &self.project, STAGE, &staged).await.unwrap();
        (snapshot, approved)
    }

    /// The ledger has it live since then; the disk does not show it yet.
    async fn point(&mut self, version: &str, hours_ago: i64) -> Snapshot {
        let (snapshot, approved) = self.admit(version).await;
        let mut tx = self.hub.db.write().await.unwrap();
        tx.publish(&approved, self.hub.mint(), self.ago(hours_ago)).await.unwrap();
        tx.commit().await.unwrap();
        snapshot
    }

    async fn publish(&mut self, version: &str, hours_ago: i64) -> Snapshot {
        let snapshot = self.point(version, hours_ago).await;
        self.hub.public.follow(&snapshot.tag, snapshot.id, None).await.unwrap();
        self.live = Some(snapshot.clone());
        snapshot
    }

    fn set_touched(&self, dir: &Path, hours_ago: i64) {
        let at = u64::try_from(self.ago(hours_ago).millis()).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
        File::open(dir).unwrap().set_modified(at).unwrap();
    }

    fn all_untouched(&self) {
        for id in self.hub.public.snapshots().unwrap() {
            self.set_touched(&self.hub.public.dir(id), 1_000);
        }
    }

    /// The gate has let it through.
    async fn name(&mut self, snapshot: &Snapshot) {
        let mut promotion = self.bench.promotion(&self.project, STAGE, snapshot);
        promotion.state = PromotionState::Approved { snapshot: snapshot.id, by: "alice".into() };
        let mut tx = self.hub.db.write().await.unwrap();
        tx.insert_promotion(&promotion).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Which of these can be fetched, each with all its packages.
    fn fetchable(&self, snapshots: &[&Snapshot]) -> Vec<bool> {
        let whole = |dir: &Path, id| {
            folders_of(dir).unwrap().iter().all(|folder| {
                let listing = Listing::read(dir, id, folder).unwrap();
                listing.files().all(|listed| dir.join(folder).join(listed.path).is_file())
            })
        };
        let there = |snapshot: &&Snapshot| {
            let is_there = self.hub.public.contains(snapshot.id);
            assert!(
                !is_there || whole(&self.hub.public.dir(snapshot.id), snapshot.id),
                "half of it is there"
            );
            is_there
        };
        snapshots.iter().map(there).collect()
    }
}

/// Seventy-two hours: 48 for clients, 24 for mirrors.
#[tokio::test]
async fn what_was_public_stays_as_long_as_clients_ask_for_it() {
    let mut farm = Farm::open().await;
    let long_gone = farm.publish("1", 300).await;
    let disk_was_late = farm.publish("2", 200).await;
    let just_over = farm.publish("3", 100).await;
    let still_asked_for = farm.publish("4", 73).await;
    let live = farm.publish("5", 71).await;
    let (came_to_nothing, _) = farm.admit("6").await;
    let (waits, _) = farm.admit("7").await;
    farm.name(&waits).await;
    farm.all_untouched();
    farm.set_touched(&farm.hub.public.dir(disk_was_late.id), 1);
    let all = [&long_gone, &disk_was_late, &just_over, &still_asked_for, &live, &came_to_nothing, &waits];
    prune(&farm.hub).await.unwrap();
    assert_eq!(farm.fetchable(&all), [false, true, false, true, true, false, true]);
    let pool = farm.hub.public.root().join("pool").join(&live.tag).join("x86_64/Packages/h");
    assert_eq!(std::fs::read_dir(pool).unwrap().count(), 2 * 4, "two packages of each that is left");
    prune(&farm.hub).await.unwrap();
    assert_eq!(farm.fetchable(&all), [false, true, false, true, true, false, true]);
}

/// Whoever refused it died before it was taken out.
#[tokio::test]
async fn what_was_brought_in_and_not_published_does_not_wait_as_what_was_shown_does() {
    let mut farm = Farm::open().await;
    let shown = farm.publish("1", 2).await;
    let live = farm.publish("2", 1).await;
    let (approved, _) = farm.admit("3").await;
    farm.name(&approved).await;
    let (refused, _) = farm.admit("4").await;
    let about_to_be_shown = farm.point("5", 0).await;
    // Another ledger, which this data folder had, may have shown it.
    let (unknown, _) = farm.admit_unknown("6").await;
    let all = [&shown, &live, &approved, &refused, &about_to_be_shown, &unknown];
    assert_eq!(farm.fetchable(&all), [true; 6]);
    prune(&farm.hub).await.unwrap();
    assert_eq!(farm.fetchable(&all), [true, true, true, false, true, true]);
    let pool = farm.hub.public.root().join("pool").join(&live.tag).join("x86_64/Packages/h");
    assert_eq!(std::fs::read_dir(pool).unwrap().count(), 2 * 5, "two packages of each that is left");
}

#[tokio::test]
async fn what_the_disk_still_shows_stays_though_the_ledger_has_moved_on() {
    let mut farm = Farm::open().await;
    let shown = farm.publish("1", 300).await;
    let live = farm.point("2", 200).await;
    farm.all_untouched();
    prune(&farm.hub).await.unwrap();
    assert_eq!(farm.fetchable(&[&shown, &live]), [true, true]);
    farm.hub.public.follow(&live.tag, live.id, None).await.unwrap();
    prune(&farm.hub).await.unwrap();
    assert_eq!(farm.fetchable(&[&shown, &live]), [true, true], "it was shown a moment ago");
    farm.all_untouched();
    prune(&farm.hub).await.unwrap();
    assert_eq!(farm.fetchable(&[&shown, &live]), [false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_something_may_go_is_asked_again_when_nobody_can_bring_anything() {
    let mut farm = Farm::open().await;
    let live = farm.publish("1", 300).await;
    let (old, _) = farm.admit("2").await;
    farm.all_untouched();
    let hold = farm.hub.public.hold().await.unwrap();
    let hub = farm.hub.clone();
    let pruning = tokio::spawn(async move { prune(&hub).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    farm.name(&old).await;
    drop(hold);
    pruning.await.unwrap().unwrap();
    assert_eq!(farm.fetchable(&[&live, &old]), [true, true]);
}

/// What is not shown any more for long has left the tree, not the store: a way back leads there all the same.
#[tokio::test]
async fn the_way_back_leads_to_what_has_left_the_tree() {
    let mut farm = Farm::open().await;
    let first = farm.publish("1", 300).await;
    let second = farm.publish("2", 200).await;
    let mut tx = farm.hub.db.write().await.unwrap();
    let signed = farm.bench.signed(&first).await;
    for rpm in first.rpms() {
        let (digest, size) = signed[&rpm.body].clone();
        let file = SignedFile { body: rpm.body.clone(), fingerprint: KEY.fingerprint(), digest, size };
        tx.put_signed(&file, farm.hub.now()).await.unwrap();
    }
    tx.commit().await.unwrap();
    farm.all_untouched();
    prune(&farm.hub).await.unwrap();
    assert_eq!(farm.fetchable(&[&first, &second]), [false, true]);
    super::super::tidy::sweep_blobs(&farm.hub, Duration::ZERO).await.unwrap();
    let kept = |rpm: &farm::snapshot::Rpm| farm.hub.artifacts.contains(&rpm.digest);
    assert!(!first.rpms().any(kept), "the store was swept");

    let back =
        Snapshot::holding(farm.hub.mint(), &first.tag, Some(second.as_base()), first.members, Stamp::ZERO);
    assert!(back.revision() > second.revision(), "though the clock went back");
    let shipped = |body: &Digest| {
        signed.get(body).map(|(digest, size)| compose::Shipped { digest: digest.clone(), size: *size })
    };
    let plan = compose::Plan::public(&back, &X86, |rpm| shipped(&rpm.body)).unwrap();
    let staged = compose::compose(&farm.hub.staging, &farm.hub.engine, plan).await.unwrap();
    for folder in folders_of(&staged).unwrap() {
        crate::repos::samples::sign_metadata(&staged, &folder, &KEY);
    }
    let expected = Expected {
        snapshot: back.clone().into(),
        arches: X86.to_vec(),
        signed: signed.clone(),
        keys: vec![KEY.public()],
        former: Vec::new(),
        live: Some(farm.hub.public.dir(second.id)),
        artifacts: farm.hub.artifacts.clone(),
    };
    assert_eq!(verify_staged(&staged, expected).await, Ok(()));
    let approved = farm.bench.approve(&farm.project, STAGE, &back, Some(second.id));
    farm.hub.public.admit(&approved, &farm.project, STAGE, &staged).await.unwrap();
    farm.hub.public.follow(&back.tag, back.id, None).await.unwrap();
    assert_eq!(farm.fetchable(&[&back, &second]), [true, true]);
}

#[tokio::test]
async fn what_was_composed_in_vain_and_former_candidates_go_and_what_is_live_stays() {
    let _chosen_before = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&format!("sqlite:{}", dir.path().join("ledger.sqlite").display())).await.unwrap();
    let config = Config { data: dir.path().to_owned(), ..Config::default() };
    let hub = Hub::open(db, Bus::local(), config).unwrap();
    let tag = "demo9s-hello-2-candidate";
    let hour = |hours: i64| Stamp::from_millis(hub.now().millis() - hours * 3_600_000);
    // Replaced 60 hours ago, replaced just now after a long quiet time, and live.
    let made =
        [hour(100), hour(60), hour(0)].map(|at| hub.with_minter(|minter| minter.mint::<SnapshotId>(at)));
    let [staged, fresh] = [60, 47].map(|at| hub.with_minter(|minter| minter.mint::<SnapshotId>(hour(at))));
    let staged = [staged.to_string(), compose::public_name(staged)].map(|name| hub.staging.join(name));
    let fresh = hub.staging.join(fresh.to_string());
    for dir in staged.iter().chain([&fresh]) {
        std::fs::create_dir_all(dir.join("x86_64")).unwrap();
    }
    for id in made {
        std::fs::create_dir_all(hub.staging.join(id.to_string()).join("x86_64")).unwrap();
        hub.candidates.enter(tag, id, &hub.staging.join(id.to_string())).await.unwrap();
    }
    let at = u64::try_from(hour(60).millis()).unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
    File::open(hub.candidates.dir(made[0])).unwrap().set_modified(at).unwrap();
    prune(&hub).await.unwrap();
    assert_eq!(hub.candidates.snapshots().unwrap(), made[1..]);
    assert_eq!(hub.candidates.live(tag), Some(made[2]));
    assert!(!staged.iter().any(|dir| dir.exists()) && fresh.exists());
    assert_eq!(std::fs::read_dir(&hub.staging).unwrap().count(), 1);
}

use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::repos::samples::{Bench, dnf_lists, gluster};
use crate::rpms::sample::sample_rpm;
use farm::snapshot::Snapshot;

pub(super) async fn remove(tree: &SnapshotTree, id: SnapshotId) -> Result<(), PublishError> {
    tree.hold().await?.take_out(id).await?;
    tree.sweep().await.map(drop)
}

pub(super) struct Farm {
    pub(super) bench: Bench,
    pub(super) project: Project,
    pub(super) public: SnapshotTree,
}

impl Farm {
    pub(super) fn new() -> Self {
        let bench = Bench::new();
        let public = SnapshotTree::open(&bench.dir.path().join("public"), &bench.artifacts).unwrap();
        Self { bench, project: gluster(), public }
    }

    pub(super) async fn composed(
        &mut self,
        stage: Stage,
        base: Option<&Snapshot>,
        version: &str,
    ) -> (Snapshot, PathBuf) {
        let hello = self.bench.hello(version).await;
        let snapshot = self.bench.snapshot(&self.project.tag(stage), base, &[hello]);
        let staged = self.bench.compose(&snapshot).await.unwrap();
        (snapshot, staged)
    }

    pub(super) async fn publish(
        &mut self,
        stage: Stage,
        base: Option<&Snapshot>,
        snapshot: &Snapshot,
        staged: &Path,
    ) -> Result<(), PublishError> {
        let approved = self.bench.approve(&self.project, stage, snapshot, base.map(|base| base.id));
        self.public.admit(&approved, &self.project, stage, staged).await?;
        let project = Some((&self.project, stage));
        self.public.follow(approved.tag(), approved.snapshot(), project).await
    }

    fn lists(&self, stage: Stage, folder: &str) -> Vec<String> {
        let path = public_path(&self.project, stage, folder).unwrap();
        dnf_lists(&format!("file://{}", self.public.root().join(path).display()))
    }
}

#[tokio::test]
async fn what_is_published_is_where_people_look_for_it() {
    let mut farm = Farm::new();
    for stage in [Stage::Testing, Stage::Release] {
        let (first, staged) = farm.composed(stage, None, "2.10").await;
        assert_eq!(farm.public.live(&first.tag), None);
        farm.publish(stage, None, &first, &staged).await.unwrap();
        assert_eq!(farm.public.live(&first.tag), Some(first.id));
        assert_eq!(farm.lists(stage, "x86_64"), ["hello-2.10-1.el9s.x86_64", "hello-doc-2.10-1.el9s.noarch"]);
        let (second, staged) = farm.composed(stage, Some(&first), "2.11").await;
        farm.publish(stage, Some(&first), &second, &staged).await.unwrap();
        assert_eq!(farm.lists(stage, "source"), ["hello-2.11-1.el9s.src"]);
        assert_eq!(farm.lists(stage, "debug-x86_64"), ["hello-debuginfo-2.11-1.el9s.x86_64"]);
        // What clients with old metadata ask for is still there.
        assert!(farm.public.contains(first.id));
        let removed = remove(&farm.public, second.id).await;
        assert!(matches!(removed, Err(PublishError::Live { .. })));
        remove(&farm.public, first.id).await.unwrap();
        assert!(!farm.public.contains(first.id));
    }
}

/// Where the paths people know lead, by path.
fn known_paths(root: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for name in
        names_in(root).unwrap().into_iter().filter(|name| !["snap", "pool", "live"].contains(&&**name))
    {
        let path = root.join(&name);
        match fs::read_link(&path) {
            Ok(_) => found.push((name, path)),
            Err(_) => found.extend(
                known_paths(&path).into_iter().map(|(inner, path)| (format!("{name}/{inner}"), path)),
            ),
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn no_path_people_know_leads_nowhere() {
    let mut farm = Farm::new();
    let stage = Stage::Testing;
    let (first, staged) = farm.composed(stage, None, "2.10").await;
    let approved = farm.bench.approve(&farm.project, stage, &first, None);
    farm.public.admit(&approved, &farm.project, stage, &staged).await.unwrap();
    // The gate may still say no; nothing was ever published then.
    assert_eq!(known_paths(farm.public.root()), []);
    farm.publish(stage, None, &first, &staged).await.unwrap();
    let paths = known_paths(farm.public.root());
    assert_eq!(paths.len(), 3, "{paths:?}");
    assert!(paths.iter().all(|(_, path)| path.is_dir()), "{paths:?}");

    // A folder leaves the repo, as those of an architecture do, and comes back.
    let (second, staged) = farm.composed(stage, Some(&first), "2.11").await;
    let approved = farm.bench.approve(&farm.project, stage, &second, Some(first.id));
    farm.public.admit(&approved, &farm.project, stage, &staged).await.unwrap();
    fs::remove_dir_all(farm.public.dir(second.id).join("debug-x86_64")).unwrap();
    farm.public.follow(&second.tag, second.id, Some((&farm.project, stage))).await.unwrap();
    let paths = known_paths(farm.public.root());
    assert!(paths.iter().all(|(name, path)| path.is_dir() && !name.contains("debug")), "{paths:?}");
    let (third, staged) = farm.composed(stage, Some(&second), "2.12").await;
    farm.publish(stage, Some(&second), &third, &staged).await.unwrap();
    assert_eq!(known_paths(farm.public.root()).len(), 3);
}

#[tokio::test]
async fn publishing_goes_on_after_a_crash_between_any_two_steps() {
    for steps in 0..5 {
        let mut farm = Farm::new();
        let (snapshot, staged) = farm.composed(Stage::Testing, None, "2.10").await;
        let public = farm.public.clone();
        if steps == 4 {
            let staged = Place { id: snapshot.id, dir: &staged };
            pool::stock(public.root(), Some(&farm.bench.artifacts), &snapshot.tag, staged, None).unwrap();
        } else if steps > 0 {
            public.bring(&snapshot.tag, snapshot.id, &staged).unwrap();
        }
        if (2..4).contains(&steps) {
            public.link_public_paths(snapshot.id, &farm.project, Stage::Testing).unwrap();
        }
        if steps == 3 {
            public.point(&snapshot.tag, snapshot.id).unwrap();
        }
        assert_eq!(public.live(&snapshot.tag).is_some(), steps == 3, "the pointer comes last");
        for _ in 0..2 {
            farm.publish(Stage::Testing, None, &snapshot, &staged).await.unwrap();
            assert_eq!(farm.lists(Stage::Testing, "source"), ["hello-2.10-1.el9s.src"]);
        }
        assert_eq!(fs::read_dir(farm.bench.staging()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_pointer_that_has_moved_on_is_left_alone() {
    let mut farm = Farm::new();
    let stage = Stage::Testing;
    let (first, staged) = farm.composed(stage, None, "2.10").await;
    farm.publish(stage, None, &first, &staged).await.unwrap();
    let (second, staged) = farm.composed(stage, Some(&first), "2.11").await;
    farm.publish(stage, Some(&first), &second, &staged).await.unwrap();
    let late = farm.publish(stage, None, &first, &staged).await.unwrap_err();
    assert!(late.to_string().contains("compose the snapshot again"), "{late}");
    assert_eq!(farm.public.live(&first.tag), Some(second.id));

    farm.public.follow(&first.tag, first.id, None).await.unwrap();
    assert_eq!(farm.public.live(&first.tag), Some(first.id));
    let (unknown, _) = farm.composed(stage, None, "9").await;
    let unknown = farm.public.follow(&first.tag, unknown.id, None).await;
    assert!(matches!(unknown, Err(PublishError::NotComposed(_))));
    // What was approved for testing is not shown in production, whatever a pointer says.
    let foreign = farm.public.follow(&farm.project.tag(Stage::Release), first.id, None).await.unwrap_err();
    assert!(foreign.to_string().contains("was brought in for `storage9s-gluster-11-testing`"), "{foreign}");
}

#[tokio::test]
async fn an_approval_counts_for_its_own_repo_only() {
    let mut farm = Farm::new();
    let (snapshot, staged) = farm.composed(Stage::Testing, None, "2.10").await;
    let approved = farm.bench.approve(&farm.project, Stage::Testing, &snapshot, None);
    let refused = farm.public.admit(&approved, &farm.project, Stage::Release, &staged).await;
    assert!(matches!(refused, Err(PublishError::WrongTag { .. })));
    let refused = farm.public.enter(&snapshot.tag, snapshot.id, &staged).await;
    assert!(matches!(refused, Err(PublishError::NotCandidate { .. })));
    let absent = farm.bench.staging().join("absent");
    let refused = farm.public.admit(&approved, &farm.project, Stage::Testing, &absent).await;
    assert!(matches!(refused, Err(PublishError::NotComposed(_))));
    assert_eq!(farm.public.snapshots().unwrap(), []);
}

#[tokio::test]
async fn a_candidate_is_live_for_builds_and_on_no_public_path() {
    let mut farm = Farm::new();
    let candidates =
        SnapshotTree::open(&farm.bench.dir.path().join("candidate"), &farm.bench.artifacts).unwrap();
    let (snapshot, staged) = farm.composed(Stage::Candidate, None, "2.10").await;
    let staging = farm.bench.staging();
    let trees = [&candidates, &farm.public];
    assert_eq!(locate(snapshot.id, &staging, &trees).as_ref(), Some(&staged));
    candidates.enter(&snapshot.tag, snapshot.id, &staged).await.unwrap();
    candidates.enter(&snapshot.tag, snapshot.id, &staged).await.unwrap();
    assert_eq!(candidates.live(&snapshot.tag), Some(snapshot.id));
    assert_eq!(locate(snapshot.id, &staging, &trees), Some(candidates.dir(snapshot.id)));
    let mut names = names_in(candidates.root()).unwrap();
    names.sort();
    assert_eq!(names, ["live", "pool", "snap"]);
}

#[tokio::test]
async fn a_snapshot_is_copied_to_another_file_system() {
    let mut farm = Farm::new();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
    farm.public = SnapshotTree::open(&elsewhere.path().join("public"), &farm.bench.artifacts).unwrap();
    let (snapshot, staged) = farm.composed(Stage::Testing, None, "2.10").await;
    farm.publish(Stage::Testing, None, &snapshot, &staged).await.unwrap();
    assert_eq!(farm.lists(Stage::Testing, "source"), ["hello-2.10-1.el9s.src"]);
    assert!(!staged.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_one_snapshot_or_the_other_during_two_hundred_swaps() {
    let mut farm = Farm::new();
    let stage = Stage::Testing;
    let (first, staged) = farm.composed(stage, None, "2.10").await;
    farm.publish(stage, None, &first, &staged).await.unwrap();
    let (second, staged) = farm.composed(stage, Some(&first), "2.11").await;
    farm.publish(stage, Some(&first), &second, &staged).await.unwrap();
    let path = public_path(&farm.project, stage, "x86_64").unwrap();
    let repomd = farm.public.root().join(path).join("repodata/repomd.xml");
    let over = Arc::new(AtomicBool::new(false));
    let reader = {
        let over = over.clone();
        std::thread::spawn(move || {
            let mut reads = 0_u32;
            while !over.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&repomd).expect("the pointer leads somewhere at every moment");
                assert!(text.ends_with("</repomd>\n"), "complete at every moment");
                reads += 1;
            }
            reads
        })
    };
    for _ in 0..100 {
        farm.public.follow(&first.tag, first.id, None).await.unwrap();
        farm.public.follow(&first.tag, second.id, None).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 200);
    assert_eq!(names_in(&farm.public.root().join("live")).unwrap(), [first.tag]);
}

/// Every package below a directory, by its path, whatever leads there.
fn packages_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in names_in(dir).unwrap() {
        let path = dir.join(&name);
        if path.is_dir() {
            found.extend(packages_below(&path).into_iter().map(|inner| format!("{name}/{inner}")));
        } else if name.ends_with(".rpm") {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn packages_are_in_a_tree_once_as_long_as_a_snapshot_has_them() {
    let mut farm = Farm::new();
    let stage = Stage::Testing;
    let library = farm.bench.member(&[sample_rpm("library", "1", "1", "x86_64")]).await;
    let hello = farm.bench.hello("2.10").await;
    let tag = farm.project.tag(stage);
    let first = farm.bench.snapshot(&tag, None, &[library, hello]);
    let staged = farm.bench.compose(&first).await.unwrap();
    let pool = farm.public.root().join("pool").join(&tag).join("x86_64/Packages");
    assert!(!pool.exists(), "what is only composed is not in the tree");
    farm.publish(stage, None, &first, &staged).await.unwrap();
    let before = packages_below(&pool);
    assert_eq!(before.len(), 3);
    let (second, staged) = farm.composed(stage, Some(&first), "2.11").await;
    // A package that is in the live snapshot is not linked anew.
    let kept = before.iter().find(|path| path.ends_with("library-1-1.x86_64.rpm")).unwrap();
    let inode = fs::metadata(pool.join(kept)).unwrap().ino();
    farm.bench
        .artifacts
        .remove(&first.rpms().find(|rpm| rpm.nevra.name == "library").unwrap().digest)
        .unwrap();
    farm.publish(stage, Some(&first), &second, &staged).await.unwrap();
    assert_eq!(fs::metadata(pool.join(kept)).unwrap().ino(), inode);
    assert_eq!(packages_below(&pool).len(), 5, "both versions, for clients with old metadata");
    let through = farm.public.dir(second.id).join("x86_64/Packages");
    assert_eq!(packages_below(&through), packages_below(&pool));

    remove(&farm.public, first.id).await.unwrap();
    let after = packages_below(&pool);
    assert_eq!(after.len(), 3);
    assert!(after.contains(kept) && after.iter().all(|path| !path.contains("2.10")), "{after:?}");
    assert_eq!(farm.lists(stage, "x86_64").len(), 3);
}

/// Is everything there that a snapshot lists?
fn is_whole(tree: &SnapshotTree, id: SnapshotId) -> bool {
    let dir = tree.dir(id);
    let folders = crate::repos::manifest::folders_of(&dir).unwrap();
    folders.len() == 3
        && folders.iter().all(|folder| {
            let listing = crate::repos::manifest::Listing::read(&dir, id, folder).unwrap();
            listing.files().all(|listed| dir.join(folder).join(listed.path).is_file())
        })
}

#[tokio::test]
async fn packages_that_were_elsewhere_for_a_time_come_to_the_tree() {
    let mut farm = Farm::new();
    let stage = Stage::Testing;
    let library = farm.bench.member(&[sample_rpm("library", "1", "1", "x86_64")]).await;
    let hello = farm.bench.hello("2.10").await;
    let first = farm.bench.snapshot(&farm.project.tag(stage), None, &[library, hello]);
    let staged = farm.bench.compose(&first).await.unwrap();
    let with_packages = farm.public.clone();
    farm.public = with_packages.clone().without_packages();
    farm.publish(stage, None, &first, &staged).await.unwrap();
    assert_eq!(packages_below(&farm.public.root().join("pool")), Vec::<String>::new());

    // One is brought in with its packages, and never shown: what follows the first one needs all of its own all the same.
    farm.public = with_packages;
    let (second, staged) = farm.composed(stage, Some(&first), "2.11").await;
    let approved = farm.bench.approve(&farm.project, stage, &second, Some(first.id));
    farm.public.admit(&approved, &farm.project, stage, &staged).await.unwrap();
    farm.public.hold().await.unwrap().take_out(second.id).await.unwrap();
    farm.public.sweep().await.unwrap();
    let (third, staged) = farm.composed(stage, Some(&first), "2.12").await;
    farm.publish(stage, Some(&first), &third, &staged).await.unwrap();
    assert!(is_whole(&farm.public, third.id));

    let marks = farm.public.root().join("pool").join(&first.tag).join("elsewhere");
    assert_eq!(names_in(&marks).unwrap(), [first.id.to_string()]);
    remove(&farm.public, first.id).await.unwrap();
    assert_eq!(names_in(&marks).unwrap(), Vec::<String>::new());
    assert!(is_whole(&farm.public, third.id));
}

#[tokio::test]
async fn a_removal_that_was_broken_off_anywhere_is_finished_by_the_next() {
    for broken_off in 0..5 {
        let mut farm = Farm::new();
        let stage = Stage::Testing;
        let mut base: Option<Snapshot> = None;
        let mut made = Vec::new();
        for version in ["1", "2", "3"] {
            let (snapshot, staged) = farm.composed(stage, base.as_ref(), version).await;
            farm.publish(stage, base.as_ref(), &snapshot, &staged).await.unwrap();
            made.push(snapshot.id);
            base = Some(snapshot);
        }
        let public = farm.public.clone();
        let tag = farm.project.tag(stage);
        let pool = public.root().join("pool").join(&tag);
        public.hold().await.unwrap().take_out(made[0]).await.unwrap();
        assert!(!public.contains(made[0]), "nothing can be pointed at it any more");
        assert!(matches!(public.follow(&tag, made[0], None).await, Err(PublishError::NotComposed(_))));
        let gone = public.root().join("snap").join(format!(".gone-{}", made[0]));
        match broken_off {
            // Some of its packages have gone, or all, or some of its files as well.
            1 => {
                let one = packages_below(&pool).into_iter().find(|path| path.contains("-1-1.")).unwrap();
                fs::remove_file(pool.join(one)).unwrap();
            }
            2 | 3 => {
                for path in packages_below(&pool).into_iter().filter(|path| path.contains("-1-1.")) {
                    fs::remove_file(pool.join(path)).unwrap();
                }
                if broken_off == 3 {
                    fs::remove_dir_all(gone.join("manifests")).unwrap();
                }
            }
            // One that was to be published died after it had stocked up.
            4 => {
                let (snapshot, staged) = farm.composed(stage, base.as_ref(), "4").await;
                let staged = Place { id: snapshot.id, dir: &staged };
                pool::stock(public.root(), Some(&farm.bench.artifacts), &tag, staged, None).unwrap();
                fs::create_dir(public.root().join(format!("snap/{}.partial", snapshot.id))).unwrap();
                assert_eq!(packages_below(&pool).len(), 16);
            }
            _ => {}
        }
        // Where builds come from lies in the pool too, and is no folder of packages.
        fs::create_dir_all(public.root().join("pool").join(&tag).join("provenance")).unwrap();
        public.sweep().await.unwrap();
        let mut left = names_in(&public.root().join("snap")).unwrap();
        left.sort();
        assert_eq!(left, [made[1].to_string(), made[2].to_string()]);
        let left = packages_below(&pool);
        assert!(left.len() == 8 && left.iter().all(|path| !path.contains("-1-1.")), "{left:?}");
        assert!(made[1..].iter().all(|id| is_whole(&public, *id)));
        assert_eq!(public.sweep().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn who_does_not_say_what_it_needs_keeps_all() {
    let mut farm = Farm::new();
    let stage = Stage::Testing;
    let (first, staged) = farm.composed(stage, None, "1").await;
    farm.publish(stage, None, &first, &staged).await.unwrap();
    let (second, staged) = farm.composed(stage, Some(&first), "2").await;
    farm.publish(stage, Some(&first), &second, &staged).await.unwrap();
    let path = farm.public.dir(second.id).join("manifests/x86_64");
    let whole = fs::read_to_string(&path).unwrap();
    let line = whole.lines().nth(1).unwrap();
    for damaged in
        [whole.replacen(line, "damaged", 1), whole.replacen(&whole[..20], "something of another", 1)]
    {
        fs::write(&path, damaged).unwrap();
        assert!(matches!(farm.public.sweep().await, Err(PublishError::Manifest(_))));
    }
    fs::write(&path, &whole).unwrap();
    assert!(is_whole(&farm.public, first.id) && is_whole(&farm.public, second.id));
    assert_eq!(farm.public.sweep().await.unwrap(), 0);
}

#[tokio::test]
async fn what_was_shown_until_now_has_the_time_of_now() {
    let mut farm = Farm::new();
    let stage = Stage::Testing;
    let (first, staged) = farm.composed(stage, None, "1").await;
    farm.publish(stage, None, &first, &staged).await.unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    let dir = File::open(farm.public.dir(first.id)).unwrap();
    dir.set_modified(old).unwrap();
    farm.public.follow(&first.tag, first.id, None).await.unwrap();
    let touched = |id| farm.public.touched(id).unwrap().millis();
    assert_eq!(touched(first.id), 1_000_000_000, "it is shown still");
    let (second, staged) = farm.composed(stage, Some(&first), "2").await;
    let before = crate::state::now().millis();
    farm.publish(stage, Some(&first), &second, &staged).await.unwrap();
    // File systems may keep times less exactly than clocks do.
    assert!(farm.public.touched(first.id).unwrap().millis() >= before - 2_000);
}

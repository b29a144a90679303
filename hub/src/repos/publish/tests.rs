use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::repos::compose::compose;
use crate::repos::samples::{Bench, X86, dnf_lists, gluster};
use farm::snapshot::Snapshot;

struct Farm {
    bench: Bench,
    project: Project,
    public: SnapshotTree,
}

impl Farm {
    fn new() -> Self {
        let bench = Bench::new();
        let public = SnapshotTree::open(&bench.dir.path().join("public")).unwrap();
        Self { bench, project: gluster(), public }
    }

    async fn composed(
        &mut self,
        stage: Stage,
        base: Option<&Snapshot>,
        version: &str,
    ) -> (Snapshot, PathBuf) {
        let hello = self.bench.hello(version).await;
        let snapshot = self.bench.snapshot(&self.project.tag(stage), base, &[hello]);
        let timeout = Duration::from_secs(60);
        let staged =
            compose(&self.bench.staging(), &self.bench.artifacts, &snapshot, &X86, timeout).await.unwrap();
        (snapshot, staged)
    }

    async fn publish(
        &mut self,
        stage: Stage,
        base: Option<&Snapshot>,
        snapshot: &Snapshot,
        staged: &Path,
    ) -> Result<(), PublishError> {
        let approved = self.bench.approve(&self.project, stage, snapshot, base.map(|base| base.id));
        self.public.admit(&approved, &self.project, stage, staged).await?;
        self.public.follow(approved.tag(), approved.snapshot()).await
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
        let removed = farm.public.remove(second.id).await;
        assert!(matches!(removed, Err(PublishError::Live { .. })));
        farm.public.remove(first.id).await.unwrap();
        assert!(!farm.public.contains(first.id));
    }
}

#[tokio::test]
async fn publishing_goes_on_after_a_crash_between_any_two_steps() {
    for steps in 0..4 {
        let mut farm = Farm::new();
        let (snapshot, staged) = farm.composed(Stage::Testing, None, "2.10").await;
        let public = farm.public.clone();
        if steps > 0 {
            public.bring(snapshot.id, &staged).unwrap();
        }
        if steps > 1 {
            public.link_public_paths(snapshot.id, &farm.project, Stage::Testing).unwrap();
        }
        if steps > 2 {
            public.point(&snapshot.tag, snapshot.id).unwrap();
        }
        assert_eq!(public.live(&snapshot.tag).is_some(), steps > 2, "the pointer comes last");
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

    farm.public.follow(&first.tag, first.id).await.unwrap();
    assert_eq!(farm.public.live(&first.tag), Some(first.id));
    let (unknown, _) = farm.composed(stage, None, "9").await;
    let unknown = farm.public.follow(&first.tag, unknown.id).await;
    assert!(matches!(unknown, Err(PublishError::NotComposed(_))));
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
    let candidates = SnapshotTree::open(&farm.bench.dir.path().join("candidate")).unwrap();
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
    assert_eq!(names, ["live", "snap"]);
}

#[tokio::test]
async fn a_snapshot_is_copied_to_another_file_system() {
    let mut farm = Farm::new();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
    farm.public = SnapshotTree::open(&elsewhere.path().join("public")).unwrap();
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
        farm.public.follow(&first.tag, first.id).await.unwrap();
        farm.public.follow(&first.tag, second.id).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 200);
    assert_eq!(names_in(&farm.public.root().join("live")).unwrap(), [first.tag]);
}

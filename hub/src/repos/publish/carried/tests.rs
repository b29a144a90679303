use std::time::SystemTime;

use farm::digest::Digest;
use farm::snapshot::Snapshot;

use super::super::tests::{Farm, remove};
use super::*;
use crate::repos::dotrepo::public_path;
use crate::repos::manifest::{Listing, folders_of, is_package};

const STAGE: Stage = Stage::Testing;

/// The indexes that the lists of a snapshot name: folder, path in it, and digest.
fn named(tree: &SnapshotTree, id: SnapshotId) -> Vec<(String, String, Digest)> {
    let mut found = Vec::new();
    for folder in folders_of(&tree.dir(id)).unwrap() {
        let listing = Listing::read(&tree.dir(id), id, &folder).unwrap();
        let own = listing.files().filter(|file| !is_package(file.path) && !file.path.ends_with(LIST));
        found.extend(own.map(|file| (folder.clone(), file.path.to_owned(), file.digest().unwrap())));
    }
    assert!(found.len() >= 9, "{found:?}");
    found
}

/// Which of these are found at the paths people know, each with the bytes that it had?
fn is_found(farm: &Farm, named: &[(String, String, Digest)]) -> Vec<bool> {
    let found = |(folder, path, digest): &(String, String, Digest)| {
        let plain = farm.public.root().join(public_path(&farm.project, STAGE, folder).unwrap());
        let bytes = fs::read(plain.join(path)).ok()?;
        assert_eq!(Digest::of(&bytes), *digest, "{folder}/{path}");
        Some(())
    };
    named.iter().map(|one| found(one).is_some()).collect()
}

fn all_found(farm: &Farm, named: &[(String, String, Digest)]) -> bool {
    is_found(farm, named).into_iter().all(|is| is)
}

fn links_in(tree: &SnapshotTree, id: SnapshotId) -> usize {
    let folders = folders_of(&tree.dir(id)).unwrap();
    let repodata = folders.iter().map(|folder| tree.dir(id).join(folder).join(REPODATA));
    let entries = repodata.flat_map(|dir| fs::read_dir(dir).unwrap());
    entries.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_symlink()).count()
}

fn shown_long_ago(tree: &SnapshotTree, id: SnapshotId) {
    let dir = fs::File::open(tree.dir(id)).unwrap();
    dir.set_modified(SystemTime::now() - ON_THE_WAY * 2).unwrap();
}

async fn published(farm: &mut Farm, base: Option<&Snapshot>, version: &str) -> Snapshot {
    let (snapshot, staged) = farm.composed(STAGE, base, version).await;
    farm.publish(STAGE, base, &snapshot, &staged).await.unwrap();
    snapshot
}

#[tokio::test]
async fn old_metadata_is_found_at_the_paths_people_know_for_as_long_as_its_snapshot_is_there() {
    let mut farm = Farm::new();
    let (mut known, mut snapshots) = (Vec::new(), Vec::<Snapshot>::new());
    // The last one shows what the first one did.
    for version in ["1", "2", "3", "1"] {
        let snapshot = published(&mut farm, snapshots.last().cloned().as_ref(), version).await;
        known.push(named(&farm.public, snapshot.id));
        snapshots.push(snapshot);
        assert!(known.iter().all(|named| all_found(&farm, named)), "{version}");
    }
    let ids: Vec<SnapshotId> = snapshots.iter().map(|snapshot| snapshot.id).collect();
    let (tree, tag) = (farm.public.clone(), &snapshots[0].tag);
    // None of it is the snapshot's own: of that its manifest says what it is.
    assert_eq!(named(&tree, ids[3]), known[3]);
    // The pointer goes back to what was there before, as after a ledger was put back.
    tree.follow(tag, ids[1], None).await.unwrap();
    assert!(known.iter().all(|named| all_found(&farm, named)));
    tree.follow(tag, ids[3], None).await.unwrap();

    // Somebody may still be on the way through what was shown a moment ago; later nobody is.
    assert!(links_in(&tree, ids[2]) > 0);
    tree.sweep().await.unwrap();
    assert!(links_in(&tree, ids[2]) > 0);
    ids.iter().for_each(|id| shown_long_ago(&tree, *id));
    tree.sweep().await.unwrap();
    assert_eq!(links_in(&tree, ids[2]), 0);
    assert!(known.iter().all(|named| all_found(&farm, named)));

    for gone in 0..3 {
        remove(&tree, ids[gone]).await.unwrap();
        let kept: Vec<&str> = known[gone + 1..].iter().flatten().map(|(_, path, _)| path.as_str()).collect();
        let expected: Vec<bool> =
            known[gone].iter().map(|(_, path, _)| kept.contains(&path.as_str())).collect();
        assert_eq!(is_found(&farm, &known[gone]), expected);
        assert!(gone == 0 || expected.contains(&false), "versions 2 and 3 are no more");
        assert!(known[gone + 1..].iter().all(|named| all_found(&farm, named)), "{gone}");
    }
    assert_eq!(links_in(&tree, ids[3]), 0, "what leads nowhere has gone as well");
}

#[tokio::test]
async fn a_crash_in_the_middle_leaves_old_metadata_where_it_is_looked_for() {
    for broken_off in 0..5 {
        let mut farm = Farm::new();
        let first = published(&mut farm, None, "1").await;
        let second = published(&mut farm, Some(&first), "2").await;
        let (third, staged) = farm.composed(STAGE, Some(&second), "3").await;
        let known = [&first, &second].map(|snapshot| named(&farm.public, snapshot.id));
        let tree = farm.public.clone();
        let link = || {
            let (folder, path, _) = known[0].iter().find(|(_, path, _)| path.contains("primary")).unwrap();
            tree.dir(third.id).join(folder).join(path)
        };
        match broken_off {
            0 => {}
            // It was brought in, but no link was flushed before the power cut, or only some were.
            1 | 2 => {
                tree.bring(&third.tag, third.id, &staged).unwrap();
                let repodata = tree.dir(third.id).join("x86_64").join(REPODATA);
                for entry in fs::read_dir(repodata).unwrap().map(|entry| entry.unwrap().path()) {
                    if entry.is_symlink() && (broken_off == 1 || entry == link()) {
                        fs::remove_file(entry).unwrap();
                    }
                }
            }
            // It was brought in for what was never shown then.
            3 => {
                tree.bring(&third.tag, third.id, &staged).unwrap();
                fs::remove_file(link()).unwrap();
                symlink("../../../of-nobody/x86_64/repodata/x", link()).unwrap();
            }
            // It waited so long that nobody was thought to be on the way.
            _ => {
                tree.bring(&third.tag, third.id, &staged).unwrap();
                shown_long_ago(&tree, third.id);
                tree.sweep().await.unwrap();
                assert_eq!(links_in(&tree, third.id), 0);
            }
        }
        assert!(known.iter().all(|named| all_found(&farm, named)), "{broken_off}: before");
        if broken_off < 4 {
            farm.publish(STAGE, Some(&second), &third, &staged).await.unwrap();
        } else {
            tree.follow(&third.tag, third.id, Some((&farm.project, STAGE))).await.unwrap();
        }
        assert!(known.iter().all(|named| all_found(&farm, named)), "{broken_off}: after");
        assert_eq!(tree.live(&third.tag), Some(third.id));
    }
}

#[tokio::test]
async fn candidates_are_named_by_their_snapshots_and_carry_nothing() {
    let mut farm = Farm::new();
    let root = farm.public.root().with_file_name("candidate");
    let tree = SnapshotTree::open(&root, &farm.bench.artifacts).unwrap();
    let mut base: Option<Snapshot> = None;
    for version in ["1", "2"] {
        let (snapshot, staged) = farm.composed(Stage::Candidate, base.as_ref(), version).await;
        tree.enter(&snapshot.tag, snapshot.id, &staged).await.unwrap();
        assert_eq!(links_in(&tree, snapshot.id), 0);
        base = Some(snapshot);
    }
}

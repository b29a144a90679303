//! The farm's disk is full in the middle of a move.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::processes::yard::Order;

use crate::standalone::{RELEASE, Standalone, TESTING};

/// Room for what these stories make, twice over.
const SIZE: &str = "size=48m,nr_inodes=4000";
const PIECE: usize = 64 * 1024;

/// A small disk, gone with this.
struct Disk {
    _folder: tempfile::TempDir,
    place: PathBuf,
}

/// What it can be short of.
#[derive(Debug, Clone, Copy)]
enum Shortage {
    Bytes,
    Files,
}

impl Disk {
    /// `None`, said aloud, where nothing may be mounted.
    fn mount() -> Option<Disk> {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("disk");
        std::fs::create_dir(&place).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "grange-test"])
            .arg(&place)
            .output()
            .unwrap();
        if mounted.status.success() {
            return Some(Disk { _folder: folder, place });
        }
        println!("SKIPPED: nothing can be mounted here: {}", String::from_utf8_lossy(&mounted.stderr));
        None
    }

    fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }

    fn fill(&self, shortage: Shortage) {
        let ballast = self.ballast();
        std::fs::create_dir(&ballast).unwrap();
        match shortage {
            Shortage::Bytes => {
                let mut file = File::create(ballast.join("bytes")).unwrap();
                while file.write_all(&[0; PIECE]).is_ok() {}
                // To the last byte.
                while file.write_all(&[0; 1]).is_ok() {}
            }
            Shortage::Files => {
                for number in 0_u32.. {
                    if File::create(ballast.join(number.to_string())).is_err() {
                        break;
                    }
                }
            }
        }
    }

    fn clear(&self) {
        std::fs::remove_dir_all(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while a process that is being killed is still at it.
        let _nothing_more_can_be_done = Command::new("umount").arg("--lazy").arg(&self.place).status();
    }
}

/// Waits until people are told of the full disk, while users find what was there before; then there is room again, and it
/// comes to its end.
async fn is_told_and_goes_on(farm: &Standalone, disk: &Disk, when: &str, tag: &str, after: &[String]) {
    let before = farm.shown(tag).await;
    let id = farm.moving().await.unwrap_or_else(|| panic!("{when}: nothing waits"));
    let said = farm
        .until(&format!("the full disk is named, {when}"), async || {
            let sentence = farm.promotion(id).await.sentence;
            sentence.contains("disk is full").then_some(sentence)
        })
        .await;
    assert!(said.contains("the hub's disk is full"), "{when}: {said}");
    assert_eq!(farm.shown(tag).await, before, "{when}");
    farm.is_whole(when).await;
    disk.clear();
    farm.settles().await;
    assert_eq!(farm.shown(tag).await, after, "{when}, and then not any more");
    farm.is_whole(when).await;
    farm.has_come_to_its_end(when).await;
}

fn data(disk: &Disk) -> Option<&Path> {
    Some(&disk.place)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_while_a_promotion_is_signed_and_staged() {
    let Some(disk) = Disk::mount() else { return };
    let farm = Standalone::on(data(&disk), "[\"x86_64\"]").await;
    farm.publish("quick-plum", "1").await;
    let moments = [
        // The signed package cannot be taken in.
        ("the signer has signed a package".to_owned(), Shortage::Bytes),
        ("the signer has fetched a package".to_owned(), Shortage::Files),
        // The signatures cannot be written. Once they are noted the hub may go on at once, so this is the last moment.
        ("signed metadata has come".to_owned(), Shortage::Bytes),
        // The pool cannot be stocked.
        (format!("{TESTING}: looked at"), Shortage::Files),
    ];
    for (number, (step, shortage)) in moments.iter().enumerate() {
        let version = (number + 2).to_string();
        farm.order(Order::Hold, step);
        farm.push("quick-plum", &version);
        farm.is_held(step).await;
        disk.fill(*shortage);
        farm.yard.countermand();
        let after = [format!("quick-plum-{version}-1")];
        is_told_and_goes_on(&farm, &disk, &format!("no more {shortage:?} at `{step}`"), TESTING, &after)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_before_a_way_back_is_staged() {
    let Some(disk) = Disk::mount() else { return };
    let farm = Standalone::on(data(&disk), "[\"x86_64\"]").await;
    let mut states = Vec::new();
    for version in ["1", "2"] {
        farm.publish("quick-plum", version).await;
        farm.promote(&[&format!("quick-plum-{version}-1")]).await;
        farm.settles().await;
        states.push((farm.revision(RELEASE).await, farm.shown(RELEASE).await));
    }
    for (number, shortage) in [Shortage::Bytes, Shortage::Files].into_iter().enumerate() {
        let (to, after) = &states[number % 2];
        disk.fill(shortage);
        farm.roll_back(*to).await;
        is_told_and_goes_on(&farm, &disk, &format!("no {shortage:?} for a rollback"), RELEASE, after).await;
    }
}

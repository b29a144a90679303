//! `grange verify`: what is good is found good, and every way of tampering is reported.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod farm;
mod serve;
mod tamper;

use std::path::Path;

use cli::verify::{Keys, Options, Place, Report, audit};

use crate::farm::{Farm, TAG};

pub(crate) async fn look(place: &str, keys: &Path, deep: bool) -> Report {
    let options = Options { deep, ..Options::default() };
    audit(&Place::open(place).unwrap(), &Keys::read(keys).unwrap(), &options).await.unwrap()
}

fn wrong(report: &Report) -> Vec<String> {
    report.all_violations().map(|violation| format!("{}: {}", violation.file, violation.reason)).collect()
}

#[tokio::test]
async fn a_good_tree_is_good_wherever_it_is_looked_at() {
    let mut farm = Farm::new();
    farm.publish(&[("hello", "1.0")]).await;
    farm.publish(&[("hello", "2.0"), ("other", "1.0")]).await;
    let root = farm.root();
    let report = look(root.to_str().unwrap(), &farm.keys(), true).await;
    assert_eq!(wrong(&report), Vec::<String>::new());
    let [repo] = report.repos.as_slice() else { panic!("{report:?}") };
    // hello, hello-doc, debuginfo and source of two builds.
    assert_eq!((repo.packages, repo.read, repo.builds, repo.folders.len()), (8, 8, 2, 3));
    assert_eq!((repo.tag.as_deref(), repo.revision), (Some(TAG), Some(2)));

    for below in [format!("live/{TAG}"), "buildlogs/centos/9-stream/storage/x86_64/gluster-11".to_owned()] {
        let place = root.join(&below);
        let report = look(&format!("file://{}", place.display()), &farm.keys(), false).await;
        assert_eq!(wrong(&report), Vec::<String>::new(), "{below}");
    }
}

#[tokio::test]
async fn a_tree_behind_http_is_walked_by_its_lists_of_links() {
    let mut farm = Farm::new();
    farm.publish(&[("hello", "1.0")]).await;
    let url = serve::tree(farm.root()).await;
    let keys = farm.keys();
    let words = ["verify", &format!("{url}/repos/"), "--deep", "--keys", keys.to_str().unwrap()];
    let (printed, result) = common::grange(&words, &[]).await;
    assert_eq!(common::code(&result), 0, "{printed}");
    assert!(printed.contains("1 repo: nothing is wrong; 4 of 4 packages were read whole"), "{printed}");

    // The same, and a byte of a package is another.
    tamper::flip_a_byte(&farm.root());
    let (printed, result) = common::grange(&words, &[]).await;
    assert_eq!(common::code(&result), 1, "{printed}");
    assert!(printed.contains("hello-1.0-1.el9s.x86_64.rpm: "), "{printed}");
    let shallow = ["verify", &format!("{url}/repos/"), "--keys", keys.to_str().unwrap()];
    let (printed, result) = common::grange(&shallow, &[]).await;
    assert_eq!(common::code(&result), 0, "{printed}");
    assert!(printed.contains("compared by size, --deep reads them whole"), "{printed}");
    let nobody = ["verify", "http://127.0.0.1:9/", "--keys", keys.to_str().unwrap()];
    assert_eq!(common::code(&common::grange(&nobody, &[]).await.1), 4);
    let nothing = ["verify", &format!("{url}/nothing/"), "--keys", keys.to_str().unwrap()];
    assert_eq!(common::code(&common::grange(&nothing, &[]).await.1), 3);
}

#[tokio::test]
async fn an_older_state_is_noticed_by_who_has_seen_a_newer_one() {
    let mut farm = Farm::new();
    let old = farm.publish(&[("hello", "1.0")]).await;
    farm.publish(&[("hello", "2.0")]).await;
    let memory = farm.dir.path().join("memory.json");
    let options = Options { memory: Some(memory), ..Options::default() };
    let keys = Keys::read(&farm.keys()).unwrap();
    let place = Place::open(farm.root().to_str().unwrap()).unwrap();
    for _ in 0..2 {
        assert_eq!(wrong(&audit(&place, &keys, &options).await.unwrap()), Vec::<String>::new());
    }
    let pointer = farm.root().join("live").join(TAG);
    std::fs::remove_file(&pointer).unwrap();
    std::os::unix::fs::symlink(Path::new("../snap").join(old.file_name().unwrap()), &pointer).unwrap();
    // Everything about it is well signed: only memory helps.
    assert_eq!(wrong(&look(farm.root().to_str().unwrap(), &farm.keys(), true).await), Vec::<String>::new());
    let said = wrong(&audit(&place, &keys, &options).await.unwrap());
    assert!(said.len() == 1 && said[0].contains("older state is being replayed"), "{said:?}");
    std::fs::remove_file(&pointer).unwrap();
    let said = wrong(&audit(&place, &keys, &options).await.unwrap());
    assert!(said.iter().any(|line| line.contains("it was there before")), "{said:?}");
}

#[test]
fn the_auditor_shares_nothing_with_what_it_audits() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/verify");
    let mut read = 0;
    for entry in std::fs::read_dir(room).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        read += 1;
        for used in text.match_indices("farm::").map(|(at, _)| &text[at + "farm::".len()..]) {
            let may = ["digest", "dsse", "openpgp"].iter().any(|module| used.starts_with(module));
            assert!(may, "the auditor uses farm::{}", used.lines().next().unwrap_or_default());
        }
        assert!(
            !text.contains("hub::") && !text.contains("signer::"),
            "the auditor uses the hub or the signer"
        );
    }
    assert!(read > 8, "only {read} files were read");
}

//! A client that is slow, at the paths people know: it has read the list of what was live, and asks there for what the list names
//! after the repo has moved on, and gone back. It finds all of it for as long as old metadata is kept, and not for ever.

use std::collections::BTreeMap;
use std::io::Read as _;

use farm::digest::Digest;
use farm::promotion::PromotionState;
use serde_json::{Value, json};
use tests::{Behaviour, Farm, Options, Package};

const TAG: &str = "demo9s-hello-2-release";
const FOLDERS: [&str; 3] = ["x86_64", "debug-x86_64", "source"];

/// What the lists of a repo named when they were read: the digest of each index, by its address.
type Named = BTreeMap<String, Digest>;

async fn get(url: &str) -> Option<Vec<u8>> {
    let answer = reqwest::get(url).await.unwrap();
    match answer.status().as_u16() {
        200 => Some(answer.bytes().await.unwrap().to_vec()),
        404 => None,
        other => panic!("{url} answered {other}"),
    }
}

/// Reads every `repomd.xml` of the repo, and nothing else yet.
async fn lists(farm: &Farm) -> Named {
    let mut named = Named::new();
    for folder in FOLDERS {
        let base = format!("{}/repos/mirror/SIGs/9-stream/demo/{folder}/hello-2/", farm.url);
        let repomd = get(&format!("{base}repodata/repomd.xml")).await.expect("it is published");
        named.extend(pieces(&base, &String::from_utf8(repomd).unwrap(), "<data "));
    }
    assert_eq!(named.len(), 3 * FOLDERS.len(), "{named:?}");
    named
}

/// Where each file that a piece of metadata names is, with its digest.
fn pieces(base: &str, text: &str, begin: &str) -> Named {
    let between = |piece: &str, from: &str, to: &str| {
        piece.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned()
    };
    let file = |piece: &str| {
        let checksum = between(piece, "<checksum type=\"sha256\"", "</checksum>");
        let digest = checksum.split_once('>').unwrap().1.parse().unwrap();
        (format!("{base}{}", between(piece, "<location href=\"", "\"")), digest)
    };
    text.split(begin).skip(1).map(file).collect()
}

/// Fetches what lists named at some time, and the packages that it names, all of which must be there.
async fn fetch(named: &Named, when: &str) {
    let mut packages = Named::new();
    for (url, digest) in named {
        let bytes = get(url).await.unwrap_or_else(|| panic!("{when}: {url} is missing"));
        assert_eq!(Digest::of(&bytes), *digest, "{when}: {url}");
        if url.ends_with("-primary.xml.gz") {
            let mut text = String::new();
            flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
            let (base, _) = url.split_once("repodata/").unwrap();
            packages.extend(pieces(base, &text, "<package "));
        }
    }
    assert!(packages.len() >= 2, "{when}, the package and its source: {packages:?}");
    for (url, digest) in packages {
        let bytes = get(&url).await.unwrap_or_else(|| panic!("{when}: {url} is missing"));
        assert_eq!(Digest::of(&bytes), digest, "{when}: {url}");
    }
}

async fn is_published(farm: &Farm, (status, opened): (u16, Value)) {
    assert!((200..300).contains(&status), "{opened}");
    let view = farm.settled(opened["id"].as_str().unwrap().parse().unwrap()).await;
    assert!(matches!(view.promotion.state, PromotionState::Published { .. }), "{}", view.sentence);
}

async fn publish(farm: &Farm, version: &str) {
    farm.closed(farm.build(&Package::new("hello", version, Behaviour::Builds))).await;
    let nvr = format!("hello-{version}-1");
    farm.tested(&nvr).await;
    is_published(farm, farm.promote("rex", &[&nvr]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_read_an_old_list_finds_what_it_names() {
    let place = tempfile::tempdir().unwrap();
    let options = || Options {
        ledger: Some(format!("sqlite:{}", place.path().join("ledger.sqlite").display())),
        keys: Some(place.path().join("keys")),
        data: Some(place.path().join("data")),
        ..Options::default()
    };
    let farm = Farm::bare(options()).await;
    farm.apply_demo().await;
    publish(&farm, "1").await;
    let first = lists(&farm).await;
    publish(&farm, "2").await;
    let second = lists(&farm).await;
    fetch(&first, "after a promotion").await;
    let back = json!({"tag": TAG, "reason": "the story goes back"});
    is_published(&farm, farm.post("rex-token", "/api/v1/rollbacks", &back).await).await;
    publish(&farm, "3").await;
    for (named, which) in [(&first, "the first"), (&second, "the second")] {
        fetch(named, &format!("{which}, after a rollback and a promotion")).await;
    }
    let public = farm.url.clone();
    farm.ends_well().await;

    // Another day, when nobody asks for any of that any more.
    let farm = Farm::bare(Options { keep_public_hours: 0, ..options() }).await;
    let now = lists(&farm).await;
    let moved = |named: &Named| -> Vec<String> {
        named.keys().map(|url| url.replace(&public, &farm.url)).filter(|url| !now.contains_key(url)).collect()
    };
    for old in [moved(&first), moved(&second)] {
        assert!(old.iter().any(|url| url.contains("primary")), "{old:?}");
        for url in old {
            farm.until("what is not kept has gone", || async { get(&url).await.is_none().then_some(()) })
                .await;
        }
    }
    fetch(&now, "when old metadata has gone").await;
    for folder in FOLDERS {
        let repodata = farm.data.join("public/live").join(TAG).join(folder).join("repodata");
        let links = || async {
            let mut entries = std::fs::read_dir(&repodata).unwrap();
            (!entries.any(|entry| entry.unwrap().path().is_symlink())).then_some(())
        };
        farm.until("no link leads nowhere", links).await;
    }
    farm.ends_well().await;
}

//! An auditor that looks at what users can see and asks the ledger for each of it: was exactly this tested?

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use ::farm::digest::Digest;
use ::farm::extras::{ExtraKind, files};
use ::farm::gate::{TestVerdict, requirements};
use ::farm::ids::SnapshotId;
use ::farm::ledger::Db;
use ::farm::promotion::PromotionState;
use flate2::read::MultiGzDecoder;
use hub::repos::manifest;
use hub::rpms::read_rpm;

/// Everything that is visible and should not be, in a farm whose templates stay as they are and where nobody waives anything.
/// Empty is what every moment has to give.
///
/// # Panics
/// When the ledger cannot be read.
pub async fn audit(db: &Db, data: &Path) -> Vec<String> {
    look_at_all(db, data, true).await
}

/// The same without asking whether tests have passed: pointers, promotions and files.
///
/// # Panics
/// When the ledger cannot be read.
pub async fn audit_tree(db: &Db, data: &Path) -> Vec<String> {
    look_at_all(db, data, false).await
}

async fn look_at_all(db: &Db, data: &Path, tests: bool) -> Vec<String> {
    let mut found = Vec::new();
    let live = data.join("public").join("live");
    let Ok(entries) = std::fs::read_dir(&live) else { return found };
    for entry in entries {
        let link = entry.expect("an entry").path();
        let Ok(target) = std::fs::read_link(&link) else { continue };
        let tag = link.file_name().expect("a name").to_string_lossy().into_owned();
        if tag.starts_with('.') {
            // A link that never got into its place; nobody is led there.
            continue;
        }
        let id = target
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.parse::<SnapshotId>().ok());
        match id {
            Some(id) => look_at(db, data, &tag, id, tests, &mut found).await,
            None => found.push(format!("{tag} points at {}, which is no snapshot", target.display())),
        }
    }
    found
}

async fn look_at(db: &Db, data: &Path, tag: &str, id: SnapshotId, tests: bool, found: &mut Vec<String>) {
    let mut tx = db.read().await.expect("the ledger reads");
    let Some(snapshot) = tx.snapshot(id).await.expect("a snapshot") else {
        found.push(format!("{tag} shows {id}, which the ledger does not know"));
        return;
    };
    if snapshot.tag != tag {
        found.push(format!("{tag} shows {id}, which was composed for {}", snapshot.tag));
    }
    let community = tx.community().await.expect("the SIGs");
    let Some((project, stage)) = community.tag(tag) else {
        found.push(format!("{tag} is no tag"));
        return;
    };
    let results = tx.results(&snapshot.content).await.expect("results");
    for requirement in requirements(project, &[]).into_iter().filter(|_| tests) {
        let passed = results.iter().any(|result| {
            result.suite == requirement.suite
                && result.arch == requirement.arch
                && result.verdict == TestVerdict::Passed
        });
        if !passed {
            found.push(format!("{tag} shows {id}, for which {} never passed", requirement.suite));
        }
    }
    let filter = ::farm::ledger::PromotionFilter { limit: 10_000, ..Default::default() };
    let promotions = tx.promotions(&filter).await.expect("promotions");
    let published = promotions.iter().any(|promotion| {
        promotion.to == stage
            && promotion.snapshot() == Some(id)
            && matches!(promotion.state, PromotionState::Publishing { .. } | PromotionState::Published { .. })
    });
    if !published {
        found.push(format!("{tag} shows {id}, which no promotion published"));
    }
    let known: BTreeSet<&Digest> = snapshot.rpms().map(|rpm| &rpm.body).collect();
    let mut seen = BTreeSet::new();
    let dir = data.join("public").join("snap").join(id.to_string());
    packages_of(&dir, id, &mut seen, found);
    for folder in manifest::folders_of(&dir).expect("a snapshot's folders") {
        let is_of_an_architecture = folder != "source" && !folder.starts_with("debug-");
        let beside = snapshot.extras.as_ref().filter(|_| is_of_an_architecture);
        let expected: BTreeSet<Digest> = files(beside).iter().map(|extra| extra.digest.clone()).collect();
        if beside_of(&dir.join(&folder)) != expected {
            found.push(format!(
                "{tag} shows other files beside the packages of {folder} than its snapshot has"
            ));
        }
    }
    for body in &seen {
        if !known.contains(body) {
            found.push(format!("{tag} shows a package with body {body} that is not in its snapshot"));
        }
    }
    if seen.len() != known.len() {
        found.push(format!("{tag} shows {} of the {} files of its snapshot", seen.len(), known.len()));
    }
}

/// The digest of every file beside the packages that a folder has, as it was before it was compressed. Links lead to what former
/// snapshots have.
fn beside_of(folder: &Path) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder.join("repodata")).expect("metadata") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_symlink()
            || !ExtraKind::ALL.iter().any(|kind| name.ends_with(&format!("-{}.gz", kind.file_name())))
        {
            continue;
        }
        let mut text = Vec::new();
        let packed = std::fs::File::open(&path).expect("a file");
        MultiGzDecoder::new(packed).read_to_end(&mut text).expect("gzip");
        found.insert(Digest::of(&text));
    }
    found
}

/// The body of every package that users of a snapshot can download.
fn packages_of(dir: &Path, id: SnapshotId, seen: &mut BTreeSet<Digest>, found: &mut Vec<String>) {
    for folder in manifest::folders_of(dir).expect("a snapshot's folders") {
        for file in manifest::read(dir, id, &folder).expect("a manifest").files {
            let path = dir.join(&folder).join(&file.path);
            let Ok(bytes) = std::fs::read(&path) else {
                found.push(format!("{} cannot be downloaded", path.display()));
                continue;
            };
            if Digest::of(&bytes) != file.digest {
                found.push(format!("{} is not what the manifest says", path.display()));
            }
            if manifest::is_package(&file.path) {
                seen.insert(read_rpm(&path, None).expect("an RPM").rpm.body);
            }
        }
    }
}

//! createrepo_c, and what it says of packages.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use farm::digest::Digest;
use flate2::read::MultiGzDecoder;

use crate::repos::engine::fragment::Fragment;
use crate::repos::engine::xml;
use crate::rpms::{RpmError, read_front};

/// What is said of one package in the three documents.
pub(super) type Pieces = [String; 3];

/// Every package that createrepo_c finds in a folder, by the digest of its file.
pub(super) fn createrepo(folder: &Path) -> BTreeMap<Digest, Pieces> {
    let output = Command::new("createrepo_c")
        .args(["--quiet", "--no-database", "--checksum", "sha256", "--general-compress-type", "gz"])
        .arg(folder)
        .output()
        .expect("createrepo_c must be installed (Debian: apt install createrepo-c)");
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
    packages_of(&folder.join("repodata"))
}

/// Every package in the metadata of a repo, by the digest of its file.
pub(super) fn packages_of(repodata: &Path) -> BTreeMap<Digest, Pieces> {
    let mut found: BTreeMap<Digest, Pieces> = BTreeMap::new();
    for (which, document) in ["primary.xml", "filelists.xml", "other.xml"].into_iter().enumerate() {
        let text = read_document(repodata, document);
        for piece in text.split_inclusive("</package>\n").filter(|piece| piece.contains("<package")) {
            let piece = &piece[piece.find("<package").unwrap()..];
            let id = piece.split_once(if which == 0 { "pkgid=\"YES\">" } else { "pkgid=\"" }).unwrap().1;
            found.entry(id[..64].parse().unwrap()).or_default()[which] = piece.to_owned();
        }
    }
    found
}

/// What is in the file of a repo whose name ends so, unpacked.
pub(super) fn read_document(repodata: &Path, name: &str) -> String {
    let mut matching: Vec<PathBuf> = fs::read_dir(repodata)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains(&format!("-{name}.")))
        .collect();
    let path = matching.pop().unwrap_or_else(|| panic!("no {name} in {}", repodata.display()));
    assert!(matching.is_empty(), "one {name} in {}", repodata.display());
    let bytes = fs::read(path).unwrap();
    let mut text = String::new();
    if bytes.starts_with(&[0x1f]) {
        MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    } else {
        zstd::Decoder::new(bytes.as_slice()).unwrap().read_to_string(&mut text).unwrap();
    }
    text
}

/// Says of every package in a folder what createrepo_c says, but for the time of the file, which is when it was built; and
/// nothing of those that it refuses. Gives how many are listed.
pub(super) fn agrees(folder: &Path) -> usize {
    let expected = createrepo(folder);
    let mut packages = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rpm") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let (digest, name) = (Digest::of(&bytes), path.file_name().unwrap().to_str().unwrap());
        let front = read_front(&mut bytes.as_slice()).unwrap();
        let made = match Fragment::of(&front, &digest, bytes.len() as u64) {
            Err(RpmError::ControlCharacters) => {
                assert!(!expected.contains_key(&digest), "createrepo_c lists {name}");
                continue;
            }
            made => made.unwrap(),
        };
        packages += 1;
        let mut href = String::new();
        xml::quoted(&mut href, name);
        let [primary, filelists, other] =
            expected.get(&digest).unwrap_or_else(|| panic!("createrepo_c does not list {name}"));
        let primary = with_build_time(primary);
        for (ours, theirs) in [
            (&format!("{}{href}{}", made.before_href, made.after_href), &primary),
            (&made.filelists, filelists),
            (&made.other, other),
        ] {
            for (ours, theirs) in ours.lines().zip(theirs.lines()) {
                assert_eq!(ours, theirs, "{name}");
            }
            assert_eq!(ours, theirs, "{name}");
        }
    }
    packages
}

/// The piece, with the time of the build for that of the file.
fn with_build_time(piece: &str) -> String {
    let (before, rest) = piece.split_once("<time file=\"").unwrap();
    let (_, rest) = rest.split_once("\" build=\"").unwrap();
    let (build, after) = rest.split_once('"').unwrap();
    format!("{before}<time file=\"{build}\" build=\"{build}\"{after}")
}

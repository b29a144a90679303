//! What stands beside the packages of a folder: exactly the files that were decided on, as they were before they were compressed.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::folder::{Found, sha256};
use super::metadata::{Data, unpacked};
use super::place::Place;
use super::statement::{Decision, Statement};

/// What every folder has, whatever stands beside its packages.
const PACKAGES: [&str; 3] = ["primary", "filelists", "other"];
/// Bytes that one file may have when it is unpacked.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Looks at everything that a folder lists besides its packages, each with its bytes as far as it could be read. `name` is the
/// folder's, if that is known: only folders of binary packages have such files.
pub(super) fn look(
    place: &Place,
    name: Option<&str>,
    listed: &[(&Data, Option<Vec<u8>>)],
    decision: &Statement<Decision>,
    found: &mut Found,
) {
    let has_any = name.is_none_or(|name| name != "source" && !name.starts_with("debug-"));
    let mut decided: BTreeMap<&str, &str> = if has_any {
        decision.beside().iter().map(|file| (file.kind.as_str(), file.digest.as_str())).collect()
    } else {
        BTreeMap::new()
    };
    for (data, bytes) in listed.iter().filter(|(data, _)| !PACKAGES.contains(&data.kind.as_str())) {
        let Some(digest) = decided.remove(data.kind.as_str()) else {
            found.wrong(place, &data.href, "no decision let it through beside the packages of this folder");
            continue;
        };
        let Some(bytes) = bytes else { continue };
        match open_digest(bytes) {
            Ok(actual) if actual == digest => {}
            Ok(_) => found.wrong(place, &data.href, "it is not the file that was decided on"),
            Err(error) => found.wrong(place, &data.href, error.to_string()),
        }
    }
    if name.is_some() {
        for missing in decided.into_keys() {
            let why = format!("it does not list the {missing} that was decided on");
            found.wrong(place, "repodata/repomd.xml", why);
        }
    }
}

fn open_digest(bytes: &[u8]) -> std::io::Result<String> {
    let mut open = Vec::new();
    unpacked(bytes)?.take(LARGEST + 1).read_to_end(&mut open)?;
    if open.len() as u64 > LARGEST {
        return Err(std::io::Error::other(format!("unpacked it has more than {LARGEST} bytes")));
    }
    Ok(sha256(&open))
}

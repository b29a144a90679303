//! One folder of a repo: its metadata, and the packages it lists.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};

use farm::openpgp::verify_detached;
use futures_util::{StreamExt as _, stream};
use sha2::Digest as _;

use super::Violation;
use super::extras;
use super::metadata::{Data, Listed, primary, repomd, unpacked};
use super::package::{self, Yardstick};
use super::place::{Place, parts};
use super::statement::{Decided, Decision, Kind, Statement};

/// Bytes that `repomd.xml` and its signatures may have.
const LARGEST_REPOMD: u64 = 4 * 1024 * 1024;
const LARGEST_SIGNATURE: u64 = 256 * 1024;
/// Bytes that one file of metadata may have, as it is fetched and unpacked.
const LARGEST_METADATA: u64 = 512 * 1024 * 1024;
const LARGEST_UNPACKED: u64 = 4 * 1024 * 1024 * 1024;
/// Packages that are fetched at once.
const AT_ONCE: usize = 8;
/// What clients make use of. What an audit cannot read must not be there: clients may read it.
const KINDS: [&str; 6] = ["primary", "filelists", "other", "group", "updateinfo", "modules"];

/// What was found in a folder.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The SHA-256 of each package that it lists and that was decided on.
    pub(super) listed: BTreeSet<String>,
    /// The revision that its metadata names.
    pub(super) revision: Option<i64>,
    /// Packages that it lists.
    pub(super) packages: usize,
    /// Those that were read as a whole.
    pub(super) read: usize,
    pub(super) violations: Vec<Violation>,
}

impl Found {
    pub(super) fn wrong(&mut self, place: &Place, file: &str, reason: impl Into<String>) {
        self.violations.push(Violation::new(place.shown(file), reason));
    }
}

/// The SHA-256 of these bytes.
pub(super) fn sha256(bytes: &[u8]) -> String {
    farm::digest::hex(&sha2::Sha256::digest(bytes))
}

/// Looks at the folder called `name`, or if that is not known at the one whose `repomd.xml` it is.
pub(super) async fn look(
    place: &Place,
    name: Option<&str>,
    decision: &Statement<Decision>,
    yardstick: Yardstick<'_>,
) -> Found {
    let mut found = Found::default();
    let file = "repodata/repomd.xml";
    let bytes = match place.read(file, LARGEST_REPOMD).await {
        Ok(bytes) => bytes,
        Err(fault) => {
            found.wrong(place, file, fault.to_string());
            return found;
        }
    };
    let (digest, folders) = (sha256(&bytes), decision.folders());
    let same = folders.iter().find(|(_, decided)| **decided == digest).map(|(name, _)| *name);
    let name = name.or(same);
    match name.and_then(|name| folders.get(name)) {
        Some(decided) if **decided == digest => {}
        Some(_) => found.wrong(
            place,
            file,
            "it is not the one that was decided on: it was edited, or belongs to another snapshot",
        ),
        None => found.wrong(place, file, "the decision names no such folder"),
    }
    check_signature(place, &bytes, yardstick, &mut found).await;
    let (data, revision) = match repomd(&bytes) {
        Ok(read) => read,
        Err(error) => {
            found.wrong(place, file, error.to_string());
            return found;
        }
    };
    found.revision = revision;
    if revision.is_none() {
        found.wrong(place, file, "it does not name exactly one revision");
    }
    let (mut primaries, mut rest) = (Vec::new(), Vec::new());
    for data in &data {
        let bytes = check_metadata(place, data, &mut found).await;
        if data.kind == "primary" {
            primaries.push((data, bytes));
        } else {
            rest.push((data, bytes));
        }
    }
    extras::look(place, name, &rest, decision, &mut found);
    match primaries.as_slice() {
        [(data, Some(bytes))] => {
            check_packages(place, name, data, bytes, decision, yardstick, &mut found).await;
        }
        [(_, None)] => {}
        _ => found.wrong(place, file, "it does not list exactly one primary"),
    }
    found
}

async fn check_signature(place: &Place, repomd: &[u8], yardstick: Yardstick<'_>, found: &mut Found) {
    let file = "repodata/repomd.xml.asc";
    let signed = match place.read(file, LARGEST_SIGNATURE).await {
        Ok(text) => verify_detached(&String::from_utf8_lossy(&text), repomd, yardstick.keys)
            .map(drop)
            .map_err(|error| error.to_string()),
        Err(fault) => Err(fault.to_string()),
    };
    if let Err(why) = signed {
        found.wrong(place, file, why);
    }
}

/// A file of metadata, if it is what `repomd.xml` says.
async fn check_metadata(place: &Place, data: &Data, found: &mut Found) -> Option<Vec<u8>> {
    let list = "repodata/repomd.xml";
    if !KINDS.contains(&data.kind.as_str()) {
        let kind: String = data.kind.chars().take(40).collect();
        found.wrong(
            place,
            list,
            format!("it lists metadata of the kind `{kind}`, which this audit cannot read"),
        );
    }
    if data.elsewhere {
        found.wrong(place, list, format!("its {} is at another address", data.kind));
        return None;
    }
    if let Err(why) = parts(&data.href) {
        found.wrong(place, list, why);
        return None;
    }
    let most = data.size.unwrap_or(LARGEST_METADATA).min(LARGEST_METADATA);
    let bytes = match place.read(&data.href, most).await {
        Ok(bytes) => bytes,
        Err(fault) => {
            found.wrong(place, &data.href, fault.to_string());
            return None;
        }
    };
    if data.size.is_some_and(|size| size != bytes.len() as u64) {
        found.wrong(place, &data.href, "it has another size than repomd.xml says");
    }
    let actual = checksum(&data.checksum.0, &mut bytes.as_slice());
    match actual {
        Ok(Some(actual)) if actual == data.checksum.1 => {}
        Ok(Some(_)) => {
            found.wrong(place, &data.href, "it has another checksum than repomd.xml says");
            return None;
        }
        Ok(None) | Err(_) => {
            found.wrong(
                place,
                list,
                format!("the checksum of {} is of a kind that proves nothing", data.kind),
            );
            return None;
        }
    }
    if let Some((kind, expected)) = &data.open_checksum {
        let most = data.open_size.unwrap_or(LARGEST_UNPACKED).min(LARGEST_UNPACKED);
        let open = unpacked(&bytes).and_then(|text| checksum(kind, &mut text.take(most.saturating_add(1))));
        if !matches!(open, Ok(Some(actual)) if actual == *expected) {
            found.wrong(place, &data.href, "unpacked it has another checksum than repomd.xml says");
        }
    }
    Some(bytes)
}

/// A checksum of a kind that nobody can forge; `None` for others.
fn checksum(kind: &str, bytes: &mut impl io::Read) -> io::Result<Option<String>> {
    fn of<D: sha2::Digest>(bytes: &mut impl io::Read) -> io::Result<Option<String>> {
        let mut hasher = D::new();
        let mut chunk = vec![0; 256 * 1024];
        loop {
            match bytes.read(&mut chunk)? {
                0 => return Ok(Some(farm::digest::hex(&hasher.finalize()))),
                read => hasher.update(&chunk[..read]),
            }
        }
    }
    match kind {
        "sha256" => of::<sha2::Sha256>(bytes),
        "sha384" => of::<sha2::Sha384>(bytes),
        "sha512" => of::<sha2::Sha512>(bytes),
        _ => Ok(None),
    }
}

async fn check_packages(
    place: &Place,
    name: Option<&str>,
    data: &Data,
    bytes: &[u8],
    decision: &Statement<Decision>,
    yardstick: Yardstick<'_>,
    found: &mut Found,
) {
    let most = data.open_size.unwrap_or(LARGEST_UNPACKED).min(LARGEST_UNPACKED);
    let (packages, said, size) = match primary(bytes, most) {
        Ok(read) => read,
        Err(error) => {
            found.wrong(place, &data.href, error.to_string());
            return;
        }
    };
    if data.open_size.is_some_and(|expected| expected != size) {
        found.wrong(place, &data.href, "unpacked it has another size than repomd.xml says");
    }
    if said != Some(packages.len() as u64) {
        found.wrong(
            place,
            &data.href,
            format!("it lists {} packages and says another number", packages.len()),
        );
    }
    found.packages = packages.len();
    let decided: BTreeMap<&str, &Decided> = decision.rpms().map(|rpm| (rpm.sha256.as_str(), rpm)).collect();
    let mut to_look_at = Vec::new();
    for listed in &packages {
        match judged(listed, name, &decided) {
            Ok(decided) if !found.listed.insert(decided.sha256.clone()) => {
                found.wrong(place, &data.href, format!("it lists {} twice", decided.nevra));
            }
            Ok(decided) => to_look_at.push((listed, decided)),
            Err(why) => found.wrong(place, &shown(listed), why),
        }
    }
    for missing in decision.rpms() {
        if name.is_some_and(|name| belongs(missing, name)) && !found.listed.contains(&missing.sha256) {
            found.wrong(
                place,
                &data.href,
                format!("it does not list {}, which was decided on", missing.nevra),
            );
        }
    }
    let looks = to_look_at.into_iter().map(|(listed, decided)| async move {
        (listed, package::look(place, &listed.href, decided, yardstick).await)
    });
    let looked: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    for (listed, (was_read, wrong)) in looked {
        found.read += usize::from(was_read);
        for why in wrong {
            found.wrong(place, &listed.href, why);
        }
    }
}

/// What was decided on about a package that is listed, or why it must not be listed.
fn judged<'a>(
    listed: &Listed,
    folder: Option<&str>,
    decided: &BTreeMap<&str, &'a Decided>,
) -> Result<&'a Decided, String> {
    if listed.elsewhere {
        return Err("its file is at another address".to_owned());
    }
    let file = *parts(&listed.href)?.last().unwrap_or(&"");
    if listed.checksum.0 != "sha256" {
        return Err("its checksum is not SHA-256".to_owned());
    }
    let Some(decided) = decided.get(listed.checksum.1.as_str()).copied() else {
        let named = decided.values().any(|decided| decided.file == file);
        return Err(if named {
            "another file of this name was decided on".to_owned()
        } else {
            "no decision let it through".to_owned()
        });
    };
    if decided.file != file || decided.nevra != listed.nevra {
        return Err(format!(
            "it is listed as {} in {file}, and {} was decided on",
            listed.nevra, decided.nevra
        ));
    }
    if listed.size != Some(decided.size) {
        return Err(format!("another size is listed than the {} bytes that were decided on", decided.size));
    }
    if folder.is_some_and(|folder| kind_of(folder) != decided.kind) {
        return Err(format!("it was not decided on for this folder: it is {:?}", decided.kind).to_lowercase());
    }
    Ok(decided)
}

fn shown(listed: &Listed) -> String {
    let text = if listed.href.is_empty() { &listed.nevra } else { &listed.href };
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

fn kind_of(folder: &str) -> Kind {
    match folder {
        "source" => Kind::Source,
        folder if folder.starts_with("debug-") => Kind::Debug,
        _ => Kind::Binary,
    }
}

/// Must this package be in this folder? What is of a compatible architecture may be in several.
fn belongs(rpm: &Decided, folder: &str) -> bool {
    let arch = rpm.nevra.rsplit('.').next().unwrap_or_default();
    let is_here = folder == "source" || arch == "noarch" || arch == folder.trim_start_matches("debug-");
    kind_of(folder) == rpm.kind && is_here
}

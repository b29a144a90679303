//! What is staged for the public, looked at as a client would before anybody else can: signatures, checksums, and every package.
//!
//! It reads what lies on the disk and believes none of what made it. Signatures of single packages were checked when they came;
//! here is checked that the files listed are the ones that were.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::thread;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::extras::{Extra, files};
use farm::openpgp::{PublicKey, verify_detached};
use farm::snapshot::Snapshot;
use flate2::read::MultiGzDecoder;
use quick_xml::Reader;
use quick_xml::events::Event;
use sha2::{Digest as _, Sha256};

use super::engine::package_path;
use super::manifest::{self, Listing, is_package};
use super::repomd::{Listed, Repomd, attribute};
use crate::artifacts::Artifacts;
use crate::files::blocking;

/// What every repo has. Of these, the first lists the packages.
const NEEDED: [&str; 3] = ["primary", "filelists", "other"];
/// Bytes that `repomd.xml` and its signatures may have.
const LARGEST: u64 = 1024 * 1024;
/// Bytes read and hashed at a time.
const CHUNK: usize = 256 * 1024;
/// Faults that are told of one folder; when everything is wrong, a few say it.
const MOST: usize = 20;
/// How zstd files begin.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What a staged snapshot must be.
#[derive(Debug, Clone)]
pub struct Expected {
    /// What was approved.
    pub snapshot: Arc<Snapshot>,
    /// The project's architectures.
    pub arches: Vec<Arch>,
    /// The signed file of each of its packages, by body digest: SHA-256 and size in bytes.
    pub signed: BTreeMap<Digest, (Digest, u64)>,
    /// The keys that users know, and whose signatures count now: one of them must have signed the metadata.
    pub keys: Vec<PublicKey>,
    /// Keys that counted once: a signature of theirs beside that one does no harm.
    pub former: Vec<PublicKey>,
    /// Where that is which users see now: what is staged must have a higher revision.
    pub live: Option<PathBuf>,
    /// Where the packages come from.
    pub artifacts: Artifacts,
}

/// A package as a client must find it.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    arch: String,
    epoch: String,
    version: String,
    release: String,
    digest: String,
    size: u64,
}

/// Reads the snapshot in `staged`, complete with its signatures, as dnf would.
///
/// # Errors
/// What is wrong, as sentences. What is staged must not be published then, and will not get better: whoever removes it has it
/// composed and signed anew.
pub async fn verify_staged(staged: &Path, expected: Expected) -> Result<(), Vec<String>> {
    let staged = staged.to_owned();
    blocking(move || verify(&staged, &expected)).await
}

fn verify(staged: &Path, expected: &Expected) -> Result<(), Vec<String>> {
    let mut faults = Vec::new();
    let folders = match packages_of(expected) {
        Ok(folders) => folders,
        Err(fault) => return Err(vec![fault]),
    };
    match folders_in(staged) {
        Ok(found) => {
            let wanted: BTreeSet<String> = folders.keys().cloned().collect();
            faults.extend(wanted.difference(&found).map(|name| format!("{name} is not there")));
            faults
                .extend(found.difference(&wanted).map(|name| format!("{name} is there, and should not be")));
        }
        Err(error) => faults.push(format!("{} cannot be listed: {error}", staged.display())),
    }
    if faults.is_empty() {
        thread::scope(|scope| {
            let running: Vec<_> = folders
                .iter()
                .map(|(name, packages)| {
                    let look = || Folder { staged, name, expected, faults: Vec::new() }.look(packages);
                    (name.clone(), scope.spawn(look))
                })
                .collect();
            for (name, running) in running {
                match running.join() {
                    Ok(found) => faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}"))),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// What each folder must list, by path.
fn packages_of(expected: &Expected) -> Result<BTreeMap<String, HashMap<String, Package>>, String> {
    let mut folders: BTreeMap<String, HashMap<String, Package>> =
        manifest::folder_names(&expected.arches).map(|name| (name, HashMap::new())).collect();
    for (folder, rpms) in expected.snapshot.folders(&expected.arches) {
        let packages = folders.entry(folder).or_default();
        for rpm in rpms {
            let Some((digest, size)) = expected.signed.get(&rpm.body) else {
                return Err(format!("{} is not signed", rpm.file));
            };
            let nevra = rpm.nevra.clone();
            let package = Package {
                name: nevra.name,
                arch: nevra.arch,
                epoch: nevra.epoch.to_string(),
                version: nevra.version,
                release: nevra.release,
                digest: digest.as_str().to_owned(),
                size: *size,
            };
            packages.insert(package_path(&rpm.file, digest), package);
        }
    }
    Ok(folders)
}

fn folders_in(staged: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(staged)? {
        let name = entry?.file_name();
        found.extend(name.to_str().filter(|name| manifest::is_folder(name)).map(str::to_owned));
    }
    Ok(found)
}

/// One folder that is looked at.
struct Folder<'a> {
    staged: &'a Path,
    name: &'a str,
    expected: &'a Expected,
    faults: Vec<String>,
}

impl Folder<'_> {
    fn look(mut self, packages: &HashMap<String, Package>) -> Vec<String> {
        let Folder { staged, name, expected, .. } = self;
        let pool = || {
            let mut pool = Folder { staged, name, expected, faults: Vec::new() };
            pool.look_at_pool(packages);
            pool.faults
        };
        let in_pool = thread::scope(|scope| {
            let pool = scope.spawn(pool);
            self.look_at_metadata(packages);
            pool.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        self.faults.extend(in_pool);
        let more = self.faults.len().saturating_sub(MOST);
        self.faults.truncate(MOST);
        if more > 0 {
            self.faults.push(format!("and {more} more"));
        }
        self.faults
    }

    fn look_at_metadata(&mut self, packages: &HashMap<String, Package>) {
        if let Some(repomd) = self.repomd() {
            for kind in NEEDED {
                let count = repomd.files.iter().filter(|file| file.kind == kind).count();
                if count != 1 {
                    self.fault(format!("repomd.xml lists {count} files of the kind {kind}, not one"));
                }
            }
            for file in &repomd.files {
                self.look_at_file(file);
            }
            self.look_at_extras(&repomd);
            if self.faults.is_empty()
                && let Some(primary) = repomd.files.iter().find(|file| file.kind == NEEDED[0])
                && let Err(error) = self.look_at_packages(primary, packages)
            {
                self.fault(format!("{} cannot be read: {error}", primary.href));
            }
        }
    }

    fn fault(&mut self, what: impl Display) {
        self.faults.push(what.to_string());
    }

    fn path(&self, href: &str) -> PathBuf {
        self.staged.join(self.name).join(href)
    }

    /// `repomd.xml`, if it is one, is signed, and follows what is live.
    fn repomd(&mut self) -> Option<Repomd> {
        let (path, signatures) = ("repodata/repomd.xml", "repodata/repomd.xml.asc");
        let bytes = match (read_small(&self.path(path)), read_small(&self.path(signatures))) {
            (Ok(bytes), Ok(signatures)) => {
                let armored = String::from_utf8_lossy(&signatures);
                let expected = self.expected;
                let Expected { keys, former, .. } = expected;
                let known = [keys.as_slice(), former].concat();
                match verify_detached(&armored, &bytes, &known) {
                    Ok(by) if keys.iter().any(|key| by.contains(&key.fingerprint())) => {}
                    Ok(_) => self.fault("repomd.xml is signed by keys that have had their day"),
                    Err(why) => self.fault(format!("repomd.xml: {why}")),
                }
                bytes
            }
            (Err(error), _) => {
                self.fault(format!("{path} cannot be read: {error}"));
                return None;
            }
            (_, Err(error)) => {
                self.fault(format!("{signatures} cannot be read: {error}"));
                return None;
            }
        };
        match Repomd::read(&bytes) {
            Ok(repomd) => {
                self.look_at_revision(repomd.revision);
                Some(repomd)
            }
            Err(error) => {
                self.fault(format!("{path} cannot be read: {error}"));
                None
            }
        }
    }

    fn look_at_revision(&mut self, revision: i64) {
        let wanted = self.expected.snapshot.revision();
        if revision != wanted {
            self.fault(format!("its revision is {revision}, not {wanted}"));
        }
        let Some(live) = &self.expected.live else { return };
        let path = live.join(self.name).join("repodata/repomd.xml");
        match read_small(&path) {
            Ok(bytes) => match Repomd::read(&bytes) {
                Ok(shown) if shown.revision < revision => {}
                Ok(shown) => self.fault(format!(
                    "its revision is {revision}, and users see {} already: clients would not take it",
                    shown.revision
                )),
                Err(error) => self.fault(format!("{} cannot be read: {error}", path.display())),
            },
            // An architecture that is new in this repo.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.fault(format!("{} cannot be read: {error}", path.display())),
        }
    }

    /// Is a file of the metadata the one that is listed?
    fn look_at_file(&mut self, file: &Listed) {
        let mut parts = Path::new(&file.href).components();
        let is_within = parts.next() == Some(Component::Normal("repodata".as_ref()))
            && matches!(parts.next(), Some(Component::Normal(_)))
            && parts.next().is_none();
        if !is_within {
            return self.fault(format!("repomd.xml leads to `{}`", file.href));
        }
        match hash(&self.path(&file.href)) {
            Ok((digest, size)) if digest.as_str() == file.sha256 && Some(size) == file.size => {}
            Ok(_) => self.fault(format!("{} is not the file that repomd.xml lists", file.href)),
            Err(error) => self.fault(format!("{} cannot be read: {error}", file.href)),
        }
    }

    /// Does the folder have exactly the files beside its packages that the snapshot has, each as it was read?
    fn look_at_extras(&mut self, repomd: &Repomd) {
        let expected = self.expected;
        let is_of_an_architecture = expected.arches.iter().any(|arch| arch.as_str() == self.name);
        let wanted = expected.snapshot.extras.as_ref().filter(|_| is_of_an_architecture);
        let mut wanted: BTreeMap<&str, &Extra> =
            files(wanted).iter().map(|extra| (extra.kind.as_str(), extra)).collect();
        for file in repomd.files.iter().filter(|file| !NEEDED.contains(&file.kind.as_str())) {
            let Some(extra) = wanted.remove(file.kind.as_str()) else {
                self.fault(format!("repomd.xml lists {}, which the snapshot does not have here", file.kind));
                continue;
            };
            match self.unpacked_digest(file, extra.size) {
                Ok(digest) if digest == extra.digest => {}
                Ok(_) => self.fault(format!("{} is not the one that was tested", file.href)),
                Err(error) => self.fault(format!("{} cannot be read: {error}", file.href)),
            }
        }
        for missing in wanted.into_keys() {
            self.fault(format!("repomd.xml lists no {missing}, which the snapshot has"));
        }
    }

    /// The digest of a file when it is unpacked, of at most so many bytes.
    fn unpacked_digest(&self, file: &Listed, limit: u64) -> io::Result<Digest> {
        let input = File::open(self.path(&file.href))?;
        let (mut text, mut bytes) = (Counted { input: unpacked(input)?, read: 0, limit }, Vec::new());
        text.read_to_end(&mut bytes)?;
        Ok(Digest::of(&bytes))
    }

    /// Does the metadata list exactly the packages of the snapshot, each as the file that was signed?
    fn look_at_packages(&mut self, primary: &Listed, wanted: &HashMap<String, Package>) -> io::Result<()> {
        let input = File::open(self.path(&primary.href))?;
        let limit = primary.open_size.unwrap_or_default();
        let text = Counted { input: unpacked(input)?, read: 0, limit };
        let mut document = BufReader::with_capacity(CHUNK, text);
        let mut listed = HashSet::with_capacity(wanted.len());
        let count = each_package(&mut document, |href, found| match wanted.get_key_value(&href) {
            Some((href, wanted)) if listed.insert(href) => {
                if *wanted != found {
                    self.fault(format!("{href} is listed as another package or file than was signed"));
                }
            }
            Some(_) | None => {
                self.fault(format!("{href} is listed, and is not in the snapshot, or is there twice"));
            }
        })?;
        if document.get_ref().read != limit {
            self.fault(format!("{} is shorter than repomd.xml says", primary.href));
        }
        let (count, said) = count;
        if Some(count) != said {
            self.fault(format!("{} has {count} packages, but says {said:?}", primary.href));
        }
        let missing = wanted.keys().filter(|href| !listed.contains(href));
        let mut missing: Vec<String> = missing.map(|href| format!("{href} is not listed")).collect();
        missing.sort();
        self.faults.extend(missing);
        Ok(())
    }

    /// Will every package be where it is listed? The manifest says what is put there, and it is there, or the artifact store has it.
    fn look_at_pool(&mut self, packages: &HashMap<String, Package>) {
        let listing = match Listing::read(self.staged, self.expected.snapshot.id, self.name) {
            Ok(listing) => listing,
            Err(error) => return self.fault(error),
        };
        let count = listing.files().filter(|listed| is_package(listed.path)).count();
        if count != packages.len() {
            self.fault(format!("its manifest has {count} packages, not {}", packages.len()));
        }
        for (href, package) in packages {
            let digest = listing.find(href).filter(|listed| listed.size == package.size);
            match digest.and_then(|listed| listed.digest()).filter(|digest| digest.as_str() == package.digest)
            {
                None => self.fault(format!("its manifest has no {href} as it was signed")),
                Some(_) if self.is_shown(href, package.size) => {}
                Some(digest) => match self.expected.artifacts.size(&digest) {
                    Ok(size) if size == package.size => self.look_at_artifact(href, &digest),
                    Ok(size) => self.fault(format!("{href} has {size} bytes, not {}", package.size)),
                    Err(error) => self.fault(format!("{href}: {error}")),
                },
            }
        }
    }

    /// Is a package in the repo's pool already? It was looked at before it came there, and never changes.
    fn is_shown(&self, href: &str, size: u64) -> bool {
        let shown = self.expected.live.as_ref().map(|live| live.join(self.name).join(href).metadata());
        shown.is_some_and(|shown| shown.is_ok_and(|shown| shown.is_file() && shown.len() == size))
    }

    /// Is what the store has of a package what its name says?
    fn look_at_artifact(&mut self, href: &str, digest: &Digest) {
        match hash(&self.expected.artifacts.path(digest)) {
            Ok((actual, _)) if actual == *digest => {}
            Ok(_) => self.fault(format!("{href} in the store is not the file that was signed")),
            // It has a size, so it is in the bucket: what is published of it there is hashed once more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.fault(format!("{href} in the store cannot be read: {error}")),
        }
    }
}

fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    let (mut file, mut hasher, mut size) = (File::open(path)?, Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok((Digest::from_bytes(&hasher.finalize()), size));
        }
        hasher.update(&chunk[..count]);
        size += count as u64;
    }
}

fn unpacked(file: File) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(CHUNK, file);
    let is_zstd = io::BufRead::fill_buf(&mut file)?.starts_with(&ZSTD_MAGIC);
    Ok(if is_zstd {
        Box::new(zstd::Decoder::with_buffer(file)?)
    } else {
        Box::new(MultiGzDecoder::new(file))
    })
}

/// Counts what is read, and fails when there is more than was said: a small file may hide a large one.
struct Counted {
    input: Box<dyn Read>,
    read: u64,
    limit: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read += count as u64;
        if self.read > self.limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than repomd.xml says"));
        }
        Ok(count)
    }
}

/// Calls `take` with every package of a main index. Gives how many there are, and how many it says there are.
fn each_package(
    document: &mut impl io::BufRead,
    mut take: impl FnMut(String, Package),
) -> io::Result<(usize, Option<usize>)> {
    let mut reader = Reader::from_reader(document);
    let (mut buffer, mut text, mut within) = (Vec::new(), String::new(), false);
    let (mut count, mut said, mut complete) = (0, None, false);
    let (mut href, mut package) = (String::new(), Package::none());
    loop {
        match reader.read_event_into(&mut buffer).map_err(io::Error::other)? {
            // What a package needs and has, which is most of it, is for the solver.
            Event::Start(tag) if tag.name().as_ref() == "format" => within = true,
            Event::End(tag) if tag.name().as_ref() == "format" => within = false,
            Event::Eof => break,
            _ if within => {}
            Event::Start(tag) | Event::Empty(tag) => {
                text.clear();
                match tag.name().as_ref() {
                    "metadata" => said = attribute(&tag, "packages")?.parse().ok(),
                    "package" => (href, package) = (String::new(), Package::none()),
                    "location" => href = attribute(&tag, "href")?,
                    "size" => package.size = attribute(&tag, "package")?.parse().map_err(io::Error::other)?,
                    "version" => {
                        package.epoch = attribute(&tag, "epoch")?;
                        package.version = attribute(&tag, "ver")?;
                        package.release = attribute(&tag, "rel")?;
                    }
                    _ => {}
                }
            }
            Event::Text(part) => text.push_str(&part),
            Event::End(tag) => match tag.name().as_ref() {
                "name" => package.name = std::mem::take(&mut text),
                "arch" => package.arch = std::mem::take(&mut text),
                "checksum" => package.digest = std::mem::take(&mut text),
                "package" => {
                    count += 1;
                    take(std::mem::take(&mut href), std::mem::replace(&mut package, Package::none()));
                }
                "metadata" => complete = true,
                _ => {}
            },
            Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_) => {}
        }
        buffer.clear();
    }
    if !complete {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is cut off"));
    }
    Ok((count, said))
}

impl Package {
    fn none() -> Self {
        let none = String::new;
        Self {
            name: none(),
            arch: none(),
            epoch: none(),
            version: none(),
            release: none(),
            digest: none(),
            size: 0,
        }
    }
}

#[cfg(test)]
mod tests;

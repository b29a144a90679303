//! Reading RPM files from strangers: who they say they are, checked against what they are.

mod bounds;
#[cfg(any(test, feature = "samples"))]
pub mod sample;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use farm::arch::Arch;
use farm::digest::{Digest, hex};
use farm::nvr::{Nevra, Nvr};
use farm::request::SourceArches;
use farm::snapshot::{Rpm, RpmKind};
use rpm::{IndexTag, PackageMetadata};
use sha2::{Digest as _, Sha256};

use crate::files::{At as _, FileError};

/// Size of the lead, the part before the signature header.
const LEAD: usize = 96;
/// Bytes read and hashed at a time.
const CHUNK: usize = 256 * 1024;

/// What one RPM file says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRpm {
    /// Its name, kind, digests and size.
    pub rpm: Rpm,
    /// The file name of the source RPM it was built from; `None` for a source RPM.
    pub source_rpm: Option<String>,
    /// The names it provides, sorted.
    pub provides: BTreeSet<String>,
    /// Its files that other packages may require by their path, as repository metadata lists them: programs, and what is
    /// below `/etc`.
    pub files: BTreeSet<String>,
    /// The names it requires, sorted; of a source RPM what its build requires. `rpmlib(…)` is left out.
    pub requires: BTreeSet<String>,
}

/// What a source RPM says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srpm {
    /// What the build is called.
    pub nvr: Nvr,
    /// Its epoch; 0 when it has none.
    pub epoch: u32,
    /// Where it builds.
    pub arches: SourceArches,
    /// Everything else.
    pub read: ReadRpm,
}

/// A file that cannot be taken for an RPM, or not for this one.
#[derive(Debug, thiserror::Error)]
pub enum RpmError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] FileError),
    /// It is no RPM.
    #[error("the file is not an RPM: {0}")]
    NotRpm(String),
    /// It is not what its own digests say.
    #[error("the RPM is damaged: {0}; build or upload it again")]
    Damaged(String),
    /// Its name cannot become a file name.
    #[error("the RPM's own name, `{0}`, is not one rpm accepts")]
    Unsound(String),
    /// It was made for another architecture than it was built on.
    #[error("{name} is for {arch}, but it was built on {built_on}; packages are built natively")]
    WrongArch {
        /// Its full name.
        name: String,
        /// What it is for.
        arch: String,
        /// Where it was built.
        built_on: Arch,
    },
    /// A binary RPM where a source RPM is needed.
    #[error("{0} is not a source RPM")]
    NotSource(String),
    /// It says something no repository can show.
    #[error(
        "its header has control characters, which repository metadata cannot express; remove them from the spec"
    )]
    ControlCharacters,
    /// Its file name belongs to another package.
    #[error("the file is called `{given}`, but the RPM in it is {expected}")]
    WrongName {
        /// What the file is called.
        given: String,
        /// What it should be called.
        expected: String,
    },
}

impl ReadRpm {
    /// Refuses a file that is not called what the RPM in it is called.
    ///
    /// # Errors
    /// [`RpmError::WrongName`].
    pub fn must_be_called(&self, given: &str) -> Result<(), RpmError> {
        if given == self.rpm.file {
            return Ok(());
        }
        let given = given.chars().take(200).collect();
        Err(RpmError::WrongName { given, expected: self.rpm.file.clone() })
    }
}

/// Reads an RPM a job on `built_on` has made, or any when that is `None`. It reads the whole file: call it on a
/// blocking thread. The file is bounded by its own size in memory, and nothing in it can make this panic.
///
/// # Errors
/// [`RpmError`], except `NotSource`, `ControlCharacters` and `WrongName`.
pub fn read_rpm(path: &Path, built_on: Option<Arch>) -> Result<ReadRpm, RpmError> {
    Ok(read(path, built_on)?.0)
}

/// Reads a source RPM. It reads the whole file: call it on a blocking thread.
///
/// # Errors
/// [`RpmError`]: `NotSource` when it is a binary RPM, otherwise as [`read_rpm`].
pub fn read_srpm(path: &Path) -> Result<Srpm, RpmError> {
    let (read, arches) = read(path, None)?;
    if read.rpm.kind != RpmKind::Source {
        return Err(RpmError::NotSource(read.rpm.file));
    }
    let Nevra { name, epoch, version, release, arch: _ } = read.rpm.nevra.clone();
    Ok(Srpm { nvr: Nvr { name, version, release }, epoch, arches, read })
}

fn read(path: &Path, built_on: Option<Arch>) -> Result<(ReadRpm, SourceArches), RpmError> {
    let file = File::open(path).at("open", path)?;
    let mut input = BufReader::with_capacity(CHUNK, file);
    let front = read_front(&mut input)?;
    let (header, front) = (&front.bytes[front.header..], &front.bytes);
    let sums = sum(&mut input, front, header).at("read", path)?;
    // The parser is asked only after the bounds above, but a fault in it must not take the hub down.
    let parsed = std::panic::catch_unwind(|| parse(front, &sums))
        .unwrap_or_else(|_| Err(RpmError::NotRpm("its header cannot be taken apart".into())));
    let (mut read, arches) = parsed?;
    let name = &read.rpm.nevra;
    if read.rpm.kind != RpmKind::Source {
        if let Some(built_on) = built_on
            && name.arch != "noarch"
            && name.arch != built_on.as_str()
        {
            return Err(RpmError::WrongArch { name: name.to_string(), arch: name.arch.clone(), built_on });
        }
        read.rpm.built_on = built_on;
    }
    Ok((read, arches))
}

/// Everything of an RPM that stands before its payload, with bounds that were checked.
pub(crate) struct Front {
    /// Its bytes: lead, signature header, padding, header.
    pub(crate) bytes: Vec<u8>,
    /// Where the header begins.
    pub(crate) header: usize,
}

/// Reads an RPM up to its payload. What is allocated is bounded by what really arrives.
///
/// # Errors
/// [`RpmError::NotRpm`].
pub(crate) fn read_front(input: &mut impl Read) -> Result<Front, RpmError> {
    let mut lead = vec![0; LEAD];
    input
        .read_exact(&mut lead)
        .map_err(|_| RpmError::NotRpm("it is shorter than an RPM's first part".into()))?;
    let mut signature = bounds::read_header(input, "signature header").map_err(RpmError::NotRpm)?;
    let padded = signature.len() + bounds::padding(signature.len());
    let mut pad = vec![0; padded - signature.len()];
    input.read_exact(&mut pad).map_err(|_| RpmError::NotRpm("it ends behind its signature header".into()))?;
    signature.append(&mut pad);
    let header = bounds::read_header(input, "header").map_err(RpmError::NotRpm)?;
    let start = lead.len() + signature.len();
    Ok(Front { bytes: [lead, signature, header].concat(), header: start })
}

struct Sums {
    body: Digest,
    file: Digest,
    payload: String,
    size: u64,
}

/// Hashes, in one pass, header + payload, the whole file, and the payload alone.
fn sum(rest: &mut impl Read, front: &[u8], header: &[u8]) -> std::io::Result<Sums> {
    let (mut body, mut file, mut payload) = (Sha256::new(), Sha256::new(), Sha256::new());
    body.update(header);
    file.update(front);
    let (mut chunk, mut size) = (vec![0; CHUNK], front.len() as u64);
    loop {
        let count = rest.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        for hasher in [&mut body, &mut file, &mut payload] {
            hasher.update(&chunk[..count]);
        }
        size += count as u64;
    }
    Ok(Sums {
        body: Digest::from_bytes(&body.finalize()),
        file: Digest::from_bytes(&file.finalize()),
        payload: hex(&payload.finalize()),
        size,
    })
}

fn parse(mut front: &[u8], sums: &Sums) -> Result<(ReadRpm, SourceArches), RpmError> {
    let not_rpm = |error: rpm::Error| RpmError::NotRpm(error.to_string());
    let meta = PackageMetadata::parse(&mut front).map_err(not_rpm)?;
    meta.verify_digests().map_err(|error| RpmError::Damaged(error.to_string()))?;
    if let Ok(payload) = meta.header.get_entry_data_as_string_array(IndexTag::RPMTAG_PAYLOADSHA256)
        && payload.first().is_some_and(|announced| *announced != sums.payload)
    {
        return Err(RpmError::Damaged("its payload is not the one its header names".into()));
    }
    let is_source = meta.is_source_package();
    let nevra = Nevra {
        name: meta.get_name().map_err(not_rpm)?.to_owned(),
        epoch: meta.get_epoch().unwrap_or(0),
        version: meta.get_version().map_err(not_rpm)?.to_owned(),
        release: meta.get_release().map_err(not_rpm)?.to_owned(),
        arch: if is_source { source_arch(&meta) } else { meta.get_arch().map_err(not_rpm)? }.to_owned(),
    };
    if !nevra.is_sound() || (!is_source && ["src", "nosrc"].contains(&nevra.arch.as_str())) {
        return Err(RpmError::Unsound(nevra.to_string().chars().take(300).collect()));
    }
    let kind = match (is_source, is_debug(&nevra.name)) {
        (true, _) => RpmKind::Source,
        (false, true) => RpmKind::Debug,
        (false, false) => RpmKind::Binary,
    };
    let arches = SourceArches {
        exclusive: names(&meta, IndexTag::RPMTAG_EXCLUSIVEARCH),
        excluded: names(&meta, IndexTag::RPMTAG_EXCLUDEARCH),
        // `BuildArch` of the main package; a noarch subpackage alone does not appear here.
        noarch: names(&meta, IndexTag::RPMTAG_BUILDARCHS).iter().eq(["noarch"]),
    };
    let read = ReadRpm {
        rpm: Rpm {
            file: nevra.file_name(),
            nevra,
            kind,
            body: sums.body.clone(),
            digest: sums.file.clone(),
            size: sums.size,
            built_on: None,
        },
        source_rpm: if is_source { None } else { meta.get_source_rpm().ok().map(str::to_owned) },
        provides: names(&meta, IndexTag::RPMTAG_PROVIDENAME),
        files: if is_source { BTreeSet::new() } else { required_by_path(&meta) },
        requires: names(&meta, IndexTag::RPMTAG_REQUIRENAME)
            .into_iter()
            .filter(|name| !name.starts_with("rpmlib("))
            .collect(),
    };
    Ok((read, arches))
}

/// The architecture in a source RPM's file name; in its header stands the machine that made it.
fn source_arch(meta: &PackageMetadata) -> &'static str {
    let without = [IndexTag::RPMTAG_NOSOURCE, IndexTag::RPMTAG_NOPATCH];
    if without.into_iter().any(|tag| meta.header.entry_is_present(tag)) { "nosrc" } else { "src" }
}

/// Koji's rule.
fn is_debug(name: &str) -> bool {
    name.ends_with("-debuginfo") || name.ends_with("-debugsource") || name.contains("-debuginfo-")
}

/// createrepo_c's rule for the files that go into the primary metadata.
fn required_by_path(meta: &PackageMetadata) -> BTreeSet<String> {
    let paths = meta.get_file_paths().unwrap_or_default().into_iter();
    paths
        .filter_map(|path| path.into_os_string().into_string().ok())
        .filter(|path| path.starts_with("/etc/") || path.contains("bin/") || path == "/usr/lib/sendmail")
        .collect()
}

fn names(meta: &PackageMetadata, tag: IndexTag) -> BTreeSet<String> {
    let found = meta.header.get_entry_data_as_string_array(tag).unwrap_or_default();
    found.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;

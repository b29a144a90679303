//! Signatures in the headers of RPMs.
//!
//! A file is a lead, a signature header, a header and a payload. What is signed is the header, which names the digest of the
//! payload; signing replaces the signature header and copies everything behind it byte for byte.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use pgp::packet::{Packet, PacketParser, PacketTrait as _, Signature};
use rpm::{HeaderEntry, IndexData, IndexSignatureTag, PackageMetadata};
use sha2::{Digest as _, Sha256};

use super::{OpenPgpError, PublicKey, SecretKey};
use crate::digest::Digest;
use crate::stamp::Stamp;

/// Size of the lead.
const LEAD: usize = 96;
/// Size of the part of a header before its index, and of one entry of the index.
const INTRO: usize = 16;
const ENTRY: u64 = 16;
/// The first bytes of a header.
const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// What rpm itself allows, and what the largest packages need.
const MOST_ENTRIES: u32 = 0xffff;
const MOST_DATA: u32 = 64 * 1024 * 1024;
/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;
/// The tag that covers the signature header as a region; it is made anew.
const REGION: u32 = 62;

/// Every tag that holds a signature by a key: of the header, and of header and payload as older tools made them.
const SIGNATURES: [u32; 6] = [267, 268, 278, 1002, 1005, 1006];
/// Those that hold one over the header alone.
const OVER_HEADER: [IndexSignatureTag; 2] =
    [IndexSignatureTag::RPMSIGTAG_RSA, IndexSignatureTag::RPMSIGTAG_DSA];

/// What is known of a signed RPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPackage {
    /// SHA-256 of header and payload.
    pub body: Digest,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The fingerprint of the key that signed it.
    pub by: String,
}

/// The parts of a file before its payload.
struct Front {
    /// Lead, signature header and its padding.
    before: Vec<u8>,
    header: Vec<u8>,
}

/// SHA-256 of an RPM's header and payload: what signing leaves unchanged. It reads the whole file.
///
/// # Errors
/// [`OpenPgpError::NotRpm`], [`OpenPgpError::Disk`].
pub fn body_of(file: &Path) -> Result<Digest, OpenPgpError> {
    let (mut input, front) = open(file)?;
    let mut body = Sha256::new();
    body.update(&front.header);
    let mut rest = Hashing { inner: io::sink(), hashers: vec![body], size: 0 };
    io::copy(&mut input, &mut rest).map_err(|source| at(file, source))?;
    Ok(Digest::from_bytes(&rest.hashers.remove(0).finalize()))
}

/// Signs an RPM: writes to `to` what is in `from`, with this key's signature in place of any that was there. The payload is
/// not held in memory. Nothing of the body changes, which is checked.
///
/// # Errors
/// [`OpenPgpError`]; what is at `to` is worth nothing then.
pub fn sign_package(
    from: &Path,
    to: &Path,
    key: &SecretKey,
    now: Stamp,
) -> Result<SignedPackage, OpenPgpError> {
    let (mut input, front) = open(from)?;
    let signature = key.sign(&front.header, now)?;
    let mut bytes = Vec::new();
    signature.to_writer_with_header(&mut bytes).map_err(|error| OpenPgpError::Sign(error.to_string()))?;
    let before = with_signature(&front, bytes)?;

    let output = File::create(to).map_err(|source| at(to, source))?;
    let (body, file) = (Sha256::new(), Sha256::new());
    let mut output = Hashing { inner: BufWriter::with_capacity(CHUNK, output), hashers: vec![file], size: 0 };
    output.write_all(&before).map_err(|source| at(to, source))?;
    output.hashers.push(body);
    output.write_all(&front.header).map_err(|source| at(to, source))?;
    io::copy(&mut input, &mut output).map_err(|source| at(to, source))?;
    output.flush().map_err(|source| at(to, source))?;
    let body = Digest::from_bytes(&output.hashers.remove(1).finalize());
    let digest = Digest::from_bytes(&output.hashers.remove(0).finalize());
    Ok(SignedPackage { body, digest, size: output.size, by: key.fingerprint() })
}

/// Reads a signed RPM and checks its signature: every signature in it must be by one of these keys, and there must be one.
/// It reads the whole file.
///
/// # Errors
/// [`OpenPgpError::Unaccepted`], [`OpenPgpError::NotRpm`], [`OpenPgpError::Disk`].
pub fn read_signed(file: &Path, keys: &[PublicKey]) -> Result<SignedPackage, OpenPgpError> {
    let (mut input, front) = open(file)?;
    let by = signer_of(&front, keys)?;
    let (mut body, mut whole) = (Sha256::new(), Sha256::new());
    whole.update(&front.before);
    whole.update(&front.header);
    body.update(&front.header);
    let mut rest = Hashing { inner: io::sink(), hashers: vec![whole, body], size: 0 };
    io::copy(&mut input, &mut rest).map_err(|source| at(file, source))?;
    let size = rest.size + (front.before.len() + front.header.len()) as u64;
    let body = Digest::from_bytes(&rest.hashers.remove(1).finalize());
    let digest = Digest::from_bytes(&rest.hashers.remove(0).finalize());
    Ok(SignedPackage { body, digest, size, by })
}

fn at(path: &Path, source: io::Error) -> OpenPgpError {
    OpenPgpError::Disk { path: path.to_owned(), source }
}

fn not_rpm(why: impl ToString) -> OpenPgpError {
    OpenPgpError::NotRpm(why.to_string())
}

/// Opens a file and reads it up to its payload.
fn open(path: &Path) -> Result<(BufReader<File>, Front), OpenPgpError> {
    let file = File::open(path).map_err(|source| at(path, source))?;
    let mut input = BufReader::with_capacity(CHUNK, file);
    let mut before = vec![0; LEAD];
    input.read_exact(&mut before).map_err(|_| not_rpm("it is shorter than an RPM's first part"))?;
    let signature = read_header(&mut input, "signature header")?;
    let padding = signature.len().next_multiple_of(8) - signature.len();
    before.extend_from_slice(&signature);
    let mut pad = vec![0; padding];
    input.read_exact(&mut pad).map_err(|_| not_rpm("it ends behind its signature header"))?;
    before.append(&mut pad);
    let header = read_header(&mut input, "header")?;
    Ok((input, Front { before, header }))
}

/// Reads exactly one header. What it claims is allocated only as far as bytes really arrive.
fn read_header(input: &mut impl Read, which: &str) -> Result<Vec<u8>, OpenPgpError> {
    let short = || not_rpm(format!("it ends within its {which}"));
    let mut header = vec![0; INTRO];
    input.read_exact(&mut header).map_err(|_| short())?;
    let number =
        |at: usize| header[at..at + 4].iter().fold(0u32, |value, byte| (value << 8) | u32::from(*byte));
    let (entries, data) = (number(8), number(12));
    if header[..MAGIC.len()] != MAGIC || entries == 0 || entries > MOST_ENTRIES || data > MOST_DATA {
        return Err(not_rpm(format!("its {which} is none")));
    }
    let size = u64::from(entries) * ENTRY + u64::from(data);
    let read = input.take(size).read_to_end(&mut header).map_err(not_rpm)?;
    if read as u64 == size { Ok(header) } else { Err(short()) }
}

impl Front {
    fn parse(&self) -> Result<PackageMetadata, OpenPgpError> {
        let bytes = [self.before.as_slice(), self.header.as_slice()].concat();
        // A fault of the parser must not end the process of whoever asked.
        let parsed = std::panic::catch_unwind(|| PackageMetadata::parse(&mut bytes.as_slice()));
        parsed.map_err(|_| not_rpm("its headers cannot be taken apart"))?.map_err(not_rpm)
    }
}

/// Lead and signature header of a file, with this signature over the header in place of all others.
fn with_signature(front: &Front, signature: Vec<u8>) -> Result<Vec<u8>, OpenPgpError> {
    let mut meta = front.parse()?;
    let entries = meta.signature.get_all_entries().map_err(not_rpm)?;
    let mut entries: Vec<HeaderEntry> = entries
        .into_iter()
        .filter(|(tag, _)| *tag != REGION && !SIGNATURES.contains(tag))
        .map(|(tag, data)| HeaderEntry::new(tag, data))
        .collect();
    entries.push(HeaderEntry::new(IndexSignatureTag::RPMSIGTAG_RSA as u32, IndexData::Bin(signature)));
    meta.signature = rpm::Header::from_entries(entries, IndexSignatureTag::HEADER_SIGNATURES);
    let mut bytes = Vec::new();
    meta.write(&mut bytes).map_err(not_rpm)?;
    let end = usize::try_from(meta.get_package_segment_offsets().header).map_err(not_rpm)?;
    bytes.truncate(end);
    Ok(bytes)
}

/// The key whose signature is in a file's signature header, with no other beside it.
fn signer_of(front: &Front, keys: &[PublicKey]) -> Result<String, OpenPgpError> {
    let unaccepted = |why: &str| OpenPgpError::Unaccepted(why.to_owned());
    let meta = front.parse()?;
    let mut signer = None;
    for tag in SIGNATURES.into_iter().filter(|tag| meta.signature.entry_is_present(*tag)) {
        let known = OVER_HEADER.into_iter().find(|known| *known as u32 == tag);
        let Some(known) = known else {
            return Err(unaccepted(&format!("it has one of a kind that is not made here (tag {tag})")));
        };
        let bytes = meta.signature.get_entry_data_as_binary(known).map_err(not_rpm)?;
        let Some(signature) = one_signature(bytes) else {
            return Err(unaccepted("it cannot be read"));
        };
        let Some(key) = keys.iter().find(|key| key.made(&signature, &front.header)) else {
            return Err(unaccepted("it is of another header, or by a key that does not count here"));
        };
        signer = Some(key.fingerprint());
    }
    signer.ok_or_else(|| unaccepted("there is none"))
}

/// The one signature packet that these bytes consist of.
fn one_signature(bytes: &[u8]) -> Option<Signature> {
    let mut packets = PacketParser::new(bytes);
    match (packets.next(), packets.next()) {
        (Some(Ok(Packet::Signature(signature))), None) => Some(signature),
        _ => None,
    }
}

/// Hashes and counts what is written through it.
struct Hashing<W> {
    inner: W,
    hashers: Vec<Sha256>,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        for hasher in &mut self.hashers {
            hasher.update(&bytes[..count]);
        }
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

//! Checking a repo's metadata before it is signed: it lists exactly the packages it should, as the files that were signed, and
//! every file it consists of is the one it names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};

use farm::digest::Digest;
use farm::extras::{Extra, ExtraKind};
use farm::nvr::Nevra;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::trouble::Trouble;

/// Without these a repo is none. Besides them `repomd.xml` may list what stands beside packages.
const NEEDED: [&str; 3] = ["primary", "filelists", "other"];
/// The first bytes of compressed files.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// One file that `repomd.xml` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is: `primary`, …
    pub kind: String,
    /// Where it is, below the folder.
    pub href: String,
    /// Its SHA-256.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// One package that `primary` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its full name.
    pub nevra: Nevra,
    /// SHA-256 of its file.
    pub digest: Digest,
    /// Bytes of its file.
    pub size: u64,
    /// Where it is, below the folder.
    pub href: String,
}

fn wrong(why: impl Into<String>) -> Trouble {
    Trouble::refused(why)
}

/// Reads `repomd.xml`: every file of the repo's metadata, each kind once.
///
/// # Errors
/// [`Trouble::Refused`] for anything that is not as it should be.
pub fn read_repomd(text: &[u8]) -> Result<Vec<Listed>, Trouble> {
    let mut reader = Reader::from_reader(text);
    let mut files: Vec<Listed> = Vec::new();
    let mut open: Option<Draft> = None;
    let mut field = String::new();
    loop {
        match reader.read_event().map_err(|error| wrong(format!("repomd.xml: {error}")))? {
            Event::Start(tag) if tag.local_name().as_ref() == "data" => {
                open = Some(Draft { kind: attribute(&tag, "type")?.unwrap_or_default(), ..Draft::default() });
            }
            Event::Start(tag) => {
                if let Some(draft) = &mut open {
                    draft.tag(&tag)?;
                }
                field.clear();
            }
            Event::Empty(tag) => {
                if let Some(draft) = &mut open {
                    draft.tag(&tag)?;
                }
            }
            Event::Text(text) => field.push_str(&text),
            Event::End(tag) if tag.local_name().as_ref() == "data" => {
                let draft =
                    open.take().ok_or_else(|| wrong("repomd.xml: a tag that was never opened ends"))?;
                files.push(draft.finish()?);
            }
            Event::End(tag) => {
                if let Some(draft) = &mut open {
                    draft.text(tag.local_name().as_ref(), field.trim());
                }
                field.clear();
            }
            Event::DocType(_) => return Err(wrong("repomd.xml has a document type")),
            Event::Eof => break,
            Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::GeneralRef(_) => {}
        }
    }
    let kinds: BTreeSet<&str> = files.iter().map(|file| file.kind.as_str()).collect();
    if kinds.len() != files.len() {
        return Err(wrong("repomd.xml lists one kind of file twice"));
    }
    if let Some(missing) = NEEDED.into_iter().find(|kind| !kinds.contains(kind)) {
        return Err(wrong(format!("repomd.xml lists no {missing}")));
    }
    Ok(files)
}

#[derive(Default)]
struct Draft {
    kind: String,
    href: Option<String>,
    checksum_is_sha256: bool,
    digest: Option<String>,
    size: Option<String>,
}

impl Draft {
    fn tag(&mut self, tag: &BytesStart<'_>) -> Result<(), Trouble> {
        match tag.local_name().as_ref() {
            "location" => {
                must_have_no_base(tag)?;
                self.href = attribute(tag, "href")?;
            }
            "checksum" => self.checksum_is_sha256 = attribute(tag, "type")?.as_deref() == Some("sha256"),
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, tag: &str, text: &str) {
        match tag {
            "checksum" => self.digest = Some(text.to_owned()),
            "size" => self.size = Some(text.to_owned()),
            _ => {}
        }
    }

    fn finish(self) -> Result<Listed, Trouble> {
        let Draft { kind, href, checksum_is_sha256, digest, size } = self;
        let unclear = |what: &str| wrong(format!("repomd.xml: {kind} has no usable {what}"));
        if !NEEDED.contains(&kind.as_str()) && !is_extra(&kind) {
            return Err(wrong(format!("repomd.xml lists `{kind}`, which is not signed here")));
        }
        let href = href.filter(|href| is_sound(href, "repodata/")).ok_or_else(|| unclear("location"))?;
        let digest = digest.filter(|_| checksum_is_sha256).and_then(|digest| digest.parse().ok());
        Ok(Listed {
            href,
            digest: digest.ok_or_else(|| unclear("checksum"))?,
            size: size.and_then(|size| size.parse().ok()).ok_or_else(|| unclear("size"))?,
            kind,
        })
    }
}

/// Reads `primary`, as it is compressed, of at most so many bytes when unpacked: every package it lists.
///
/// # Errors
/// [`Trouble::Refused`] for anything that is not as it should be.
pub fn read_primary(bytes: &[u8], most: u64) -> Result<Vec<Package>, Trouble> {
    let input = unpacked(bytes)?.take(most);
    let mut reader = Reader::from_reader(BufReader::new(input));
    let said = |error: quick_xml::Error| wrong(format!("primary: {error}"));
    let (mut packages, mut announced) = (Vec::new(), None);
    let mut open: Option<PackageDraft> = None;
    let (mut buffer, mut field, mut depth, mut is_whole) = (Vec::new(), String::new(), 0_usize, false);
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(said)? {
            Event::Start(tag) => {
                depth += 1;
                match (depth, tag.local_name().as_ref()) {
                    (1, "metadata") => announced = attribute(&tag, "packages")?,
                    (1, _) => return Err(wrong("primary is no list of packages")),
                    (2, "package") => {
                        if attribute(&tag, "type")?.as_deref() != Some("rpm") {
                            return Err(wrong("primary lists something that is no RPM"));
                        }
                        open = Some(PackageDraft::default());
                    }
                    (2, _) => return Err(wrong("primary lists something that is no package")),
                    (3, _) => {
                        if let Some(draft) = &mut open {
                            draft.tag(&tag)?;
                        }
                    }
                    _ => {}
                }
                field.clear();
            }
            Event::Empty(tag) => match (depth, &mut open) {
                (2, Some(draft)) => draft.tag(&tag)?,
                (0, _) if tag.local_name().as_ref() == "metadata" => {
                    (announced, is_whole) = (attribute(&tag, "packages")?, true);
                }
                (0 | 1, _) => return Err(wrong("primary lists something that is no package")),
                _ => {}
            },
            Event::Text(text) => {
                if depth == 3 {
                    field.push_str(&text);
                }
            }
            Event::GeneralRef(_) if depth == 3 => {
                // No name, architecture or digest has one; in a summary it does not matter.
                field.push('\u{fffd}');
            }
            Event::End(tag) => {
                match depth {
                    3 => {
                        if let Some(draft) = &mut open {
                            draft.text(tag.local_name().as_ref(), field.trim());
                        }
                    }
                    2 => {
                        let draft = open.take().ok_or_else(|| wrong("primary is damaged"))?;
                        packages.push(draft.finish()?);
                    }
                    1 => is_whole = true,
                    _ => {}
                }
                depth = depth.saturating_sub(1);
                field.clear();
            }
            Event::DocType(_) => return Err(wrong("primary has a document type")),
            Event::Eof => break,
            Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::GeneralRef(_) => {}
        }
    }
    if !is_whole || depth != 0 {
        return Err(wrong("primary is not whole, or larger than is read here"));
    }
    if announced.and_then(|count| count.parse().ok()) != Some(packages.len()) {
        return Err(wrong("primary announces another number of packages than it lists"));
    }
    Ok(packages)
}

#[derive(Default)]
struct PackageDraft {
    name: Option<String>,
    arch: Option<String>,
    version: Option<(String, String, String)>,
    checksum_is_id: bool,
    digest: Option<String>,
    size: Option<String>,
    href: Option<String>,
    seen: BTreeSet<String>,
}

impl PackageDraft {
    fn tag(&mut self, tag: &BytesStart<'_>) -> Result<(), Trouble> {
        let name = tag.local_name().as_ref().to_owned();
        match name.as_str() {
            "version" => {
                let part = |name| Ok::<_, Trouble>(attribute(tag, name)?.unwrap_or_default());
                self.version = Some((part("epoch")?, part("ver")?, part("rel")?));
            }
            "checksum" => {
                let (kind, id) = (attribute(tag, "type")?, attribute(tag, "pkgid")?);
                self.checksum_is_id = kind.as_deref() == Some("sha256") && id.as_deref() == Some("YES");
            }
            "size" => self.size = attribute(tag, "package")?,
            "location" => {
                must_have_no_base(tag)?;
                self.href = attribute(tag, "href")?;
            }
            "name" | "arch" => {}
            _ => return Ok(()),
        }
        // Clients differ in which of two they take.
        if self.seen.insert(name) { Ok(()) } else { Err(wrong("primary says something of a package twice")) }
    }

    fn text(&mut self, tag: &str, text: &str) {
        match tag {
            "name" => self.name = Some(text.to_owned()),
            "arch" => self.arch = Some(text.to_owned()),
            "checksum" => self.digest = Some(text.to_owned()),
            _ => {}
        }
    }

    fn finish(self) -> Result<Package, Trouble> {
        let name = self.name.unwrap_or_default();
        let unclear = |what: &str| {
            wrong(format!(
                "primary: package {} has no usable {what}",
                name.chars().take(80).collect::<String>()
            ))
        };
        let (epoch, version, release) = self.version.ok_or_else(|| unclear("version"))?;
        let nevra = Nevra {
            epoch: epoch.parse().map_err(|_| unclear("epoch"))?,
            version,
            release,
            arch: self.arch.ok_or_else(|| unclear("architecture"))?,
            name: name.clone(),
        };
        if !nevra.is_sound() {
            return Err(unclear("name"));
        }
        let digest = self.digest.filter(|_| self.checksum_is_id).and_then(|digest| digest.parse().ok());
        Ok(Package {
            digest: digest.ok_or_else(|| unclear("checksum"))?,
            size: self.size.and_then(|size| size.parse().ok()).ok_or_else(|| unclear("size"))?,
            href: self.href.filter(|href| is_sound(href, "Packages/")).ok_or_else(|| unclear("location"))?,
            nevra,
        })
    }
}

/// Holds what `primary` lists against what it should: for each file name the package's full name. Gives the digest and size it
/// lists for each.
///
/// # Errors
/// [`Trouble::Refused`], naming one package that is too much, missing, or another.
pub fn match_packages(
    folder: &str,
    listed: &[Package],
    expected: &BTreeMap<&str, &Nevra>,
) -> Result<BTreeMap<String, (Digest, u64)>, Trouble> {
    let mut found = BTreeMap::new();
    for package in listed {
        let file = package.href.rsplit('/').next().unwrap_or_default();
        let Some(nevra) = expected.get(file) else {
            return Err(wrong(format!(
                "the metadata of {folder} lists {file}, which is not in the snapshot"
            )));
        };
        if package.nevra != as_listed(nevra) || nevra.file_name() != file {
            return Err(wrong(format!("the metadata of {folder} calls {file} `{}`", package.nevra)));
        }
        if found.insert(file.to_owned(), (package.digest.clone(), package.size)).is_some() {
            return Err(wrong(format!("the metadata of {folder} lists {file} twice")));
        }
    }
    match expected.keys().find(|file| !found.contains_key(**file)) {
        Some(missing) => Err(wrong(format!("the metadata of {folder} does not list {missing}"))),
        None => Ok(found),
    }
}

/// Is it what stands beside packages?
#[must_use]
pub fn is_extra(kind: &str) -> bool {
    ExtraKind::ALL.iter().any(|known| known.as_str() == kind)
}

/// SHA-256 of a file when it is unpacked, of at most so many bytes.
///
/// # Errors
/// [`Trouble::Refused`] when it is larger, damaged, or compressed in another way than is read here.
pub fn unpacked_digest(bytes: &[u8], most: u64) -> Result<Digest, Trouble> {
    let mut open = Vec::new();
    let read = unpacked(bytes)?.take(most.saturating_add(1)).read_to_end(&mut open);
    read.map_err(|error| wrong(format!("the metadata is damaged: {error}")))?;
    if open.len() as u64 > most {
        return Err(wrong(format!("a file beside the packages has more than {most} bytes")));
    }
    Ok(Digest::of(&open))
}

/// Holds what a folder lists beside its packages, by kind with the digest it has when it is unpacked, against what it should.
///
/// # Errors
/// [`Trouble::Refused`], naming one that is too much, missing, or another.
pub fn match_extras(
    folder: &str,
    listed: &BTreeMap<String, Digest>,
    expected: &[Extra],
) -> Result<(), Trouble> {
    let wanted: BTreeMap<&str, &Digest> =
        expected.iter().map(|extra| (extra.kind.as_str(), &extra.digest)).collect();
    if wanted.len() != expected.len() {
        return Err(wrong("the snapshot has two files of one kind beside its packages"));
    }
    for (kind, digest) in listed {
        match wanted.get(kind.as_str()) {
            Some(tested) if *tested == digest => {}
            Some(_) => return Err(wrong(format!("the {kind} of {folder} is not the one that was tested"))),
            None => {
                return Err(wrong(format!(
                    "the metadata of {folder} lists {kind}, which the snapshot does not have there"
                )));
            }
        }
    }
    match wanted.keys().find(|kind| !listed.contains_key(**kind)) {
        Some(missing) => {
            Err(wrong(format!("the metadata of {folder} lists no {missing}, which the snapshot has")))
        }
        None => Ok(()),
    }
}

/// A package's full name as metadata has it: a source package without its sources is a source package there.
fn as_listed(nevra: &Nevra) -> Nevra {
    let arch = if nevra.arch == "nosrc" { "src" } else { nevra.arch.as_str() };
    Nevra { arch: arch.to_owned(), ..nevra.clone() }
}

/// A path below the folder, in this part of it, that leads nowhere else.
fn is_sound(href: &str, part: &str) -> bool {
    href.strip_prefix(part).is_some_and(|rest| {
        rest.split('/').all(|segment| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-~^".contains(&byte))
        })
    })
}

fn must_have_no_base(tag: &BytesStart<'_>) -> Result<(), Trouble> {
    let base = tag.attributes().flatten().any(|attribute| attribute.key.as_ref().ends_with("base"));
    if base { Err(wrong("the metadata leads to another address")) } else { Ok(()) }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, Trouble> {
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| wrong(format!("the metadata is damaged: {error}")))?;
        if attribute.key.as_ref() == name {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            return value
                .map(|value| Some(value.into_owned()))
                .map_err(|error| wrong(format!("the metadata is damaged: {error}")));
        }
    }
    Ok(None)
}

/// Unpacks gzip of any number of members, zstd of any number of frames, or nothing.
fn unpacked<'a>(bytes: &'a [u8]) -> Result<Box<dyn Read + 'a>, Trouble> {
    if bytes.starts_with(&GZIP) {
        return Ok(Box::new(flate2::read::MultiGzDecoder::new(bytes)));
    }
    if bytes.starts_with(&ZSTD) {
        return Ok(Box::new(zstd::stream::read::Decoder::new(bytes)?));
    }
    if bytes.starts_with(b"<") {
        return Ok(Box::new(bytes));
    }
    Err(wrong("the metadata is compressed in a way that is not read here"))
}

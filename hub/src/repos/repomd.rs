//! Reading `repomd.xml`, which the engine has written, as a client does.

use std::io;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// What one says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Repomd {
    /// It grows with everything the repo shows.
    pub(crate) revision: i64,
    /// The files it lists.
    pub(crate) files: Vec<Listed>,
}

/// One file of metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// `primary`, `filelists`, …
    pub(crate) kind: String,
    /// Below the repo's folder.
    pub(crate) href: String,
    /// Its SHA-256, in hexadecimal; empty when none is given.
    pub(crate) sha256: String,
    /// Its bytes.
    pub(crate) size: Option<u64>,
    /// Its bytes when it is unpacked.
    pub(crate) open_size: Option<u64>,
}

impl Repomd {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none, or cut off.
    pub(crate) fn read(bytes: &[u8]) -> io::Result<Self> {
        let mut reader = Reader::from_reader(bytes);
        let (mut read, mut file, mut text) = (Self::default(), Listed::default(), String::new());
        let (mut revision, mut is_sha256, mut complete) = (None, false, false);
        loop {
            match reader.read_event().map_err(io::Error::other)? {
                Event::Start(tag) | Event::Empty(tag) => {
                    text.clear();
                    match tag.name().as_ref() {
                        "data" => {
                            file = Listed { kind: attribute(&tag, "type")?, ..Listed::default() };
                        }
                        "checksum" => is_sha256 = attribute(&tag, "type")? == "sha256",
                        "location" => file.href = attribute(&tag, "href")?,
                        _ => {}
                    }
                }
                Event::Text(part) => text.push_str(&part),
                Event::End(tag) => match tag.name().as_ref() {
                    "revision" => revision = text.trim().parse().ok(),
                    "checksum" if is_sha256 => file.sha256 = text.trim().to_owned(),
                    "size" => file.size = text.trim().parse().ok(),
                    "open-size" => file.open_size = text.trim().parse().ok(),
                    "data" => read.files.push(std::mem::take(&mut file)),
                    "repomd" => complete = true,
                    _ => {}
                },
                Event::Eof => break,
                Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_)
                | Event::GeneralRef(_) => {}
            }
        }
        if !complete {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no repomd.xml, or cut off"));
        }
        let no_number = || io::Error::new(io::ErrorKind::InvalidData, "its revision is no number");
        read.revision = revision.ok_or_else(no_number)?;
        Ok(read)
    }
}

/// An attribute; empty when there is none.
pub(super) fn attribute(tag: &BytesStart<'_>, name: &str) -> io::Result<String> {
    let Some(found) = tag.try_get_attribute(name).map_err(io::Error::other)? else {
        return Ok(String::new());
    };
    let value = found.normalized_value(XmlVersion::Implicit1_0).map_err(io::Error::other)?;
    Ok(value.into_owned())
}

//! `repomd.xml`: what a repo consists of.

use std::io;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::xml::attribute;

/// What one says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repomd {
    pub(crate) revision: String,
    pub(crate) primary: Index,
    pub(crate) filelists: Option<Index>,
}

/// One file of metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// Below the repo's address.
    pub(crate) href: String,
    /// `sha256`, …
    pub(crate) kind: String,
    /// The checksum of the file as it is fetched, in hexadecimal.
    pub(crate) checksum: String,
    /// Its bytes, if said.
    pub(crate) size: Option<u64>,
}

impl Repomd {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none, or a part that is needed is missing.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let mut reader = Reader::from_reader(bytes);
        let (mut revision, mut primary, mut filelists) = (String::new(), None, None);
        let (mut kind, mut index, mut text, mut buffer) =
            (String::new(), Index::default(), String::new(), Vec::new());
        let mut complete = false;
        loop {
            match reader.read_event_into(&mut buffer).map_err(io::Error::other)? {
                Event::Start(tag) => {
                    text.clear();
                    match tag.name().as_ref() {
                        "data" => {
                            kind = attribute(&tag, "type")?.unwrap_or_default();
                            index = Index::default();
                        }
                        "checksum" => index.kind = attribute(&tag, "type")?.unwrap_or_default(),
                        "location" => index.locate(&tag)?,
                        _ => {}
                    }
                }
                Event::Empty(tag) if tag.name().as_ref() == "location" => index.locate(&tag)?,
                Event::Text(part) => text.push_str(&part),
                Event::End(tag) => match tag.name().as_ref() {
                    "revision" => revision = text.trim().chars().take(64).collect(),
                    "checksum" => index.checksum = text.trim().to_ascii_lowercase(),
                    "size" => index.size = text.trim().parse().ok(),
                    "data" => match kind.as_str() {
                        "primary" => primary = Some(std::mem::take(&mut index)),
                        "filelists" => filelists = Some(std::mem::take(&mut index)),
                        _ => {}
                    },
                    "repomd" => complete = true,
                    _ => {}
                },
                Event::Eof => break,
                Event::Empty(_)
                | Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_)
                | Event::GeneralRef(_) => {}
            }
            buffer.clear();
        }
        match primary {
            Some(primary) if complete => Ok(Self { revision, primary, filelists }),
            Some(_) | None => {
                Err(io::Error::other("its repomd.xml is none, is cut off, or names no primary index"))
            }
        }
    }
}

impl Index {
    fn locate(&mut self, tag: &BytesStart<'_>) -> io::Result<()> {
        if attribute(tag, "xml:base")?.is_some() {
            return Err(io::Error::other("its repomd.xml points to another address"));
        }
        self.href = attribute(tag, "href")?.unwrap_or_default();
        let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        let is_safe = |c: char| c.is_ascii_alphanumeric() || "-_.+~/".contains(c);
        if self.href.split('/').all(is_plain) && self.href.chars().all(is_safe) {
            Ok(())
        } else {
            Err(io::Error::other("its repomd.xml names a file outside of the repo"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(kind: &str, href: &str) -> String {
        format!(
            "<data type=\"{kind}\"><checksum type=\"sha256\">AB</checksum><open-checksum type=\"sha256\">cd\
             </open-checksum><location href=\"{href}\"/><size>12</size><open-size>99</open-size></data>"
        )
    }

    fn parse(inner: &str) -> io::Result<Repomd> {
        Repomd::parse(format!("<repomd><revision>17</revision>{inner}</repomd>").as_bytes())
    }

    #[test]
    fn what_a_repo_consists_of_is_read() {
        let both = data("primary", "repodata/ab-primary.xml.gz") + &data("other", "repodata/o");
        let read = parse(&both).unwrap();
        let primary = Index {
            href: "repodata/ab-primary.xml.gz".to_owned(),
            kind: "sha256".to_owned(),
            checksum: "ab".to_owned(),
            size: Some(12),
        };
        assert_eq!(read, Repomd { revision: "17".to_owned(), primary, filelists: None });
    }

    #[test]
    fn what_points_elsewhere_or_is_cut_off_is_refused() {
        for href in ["../x", "/etc/passwd", "a//b", "http://else/x", "a/../../b", "", "a?b"] {
            assert!(parse(&data("primary", href)).is_err(), "{href}");
        }
        assert!(parse(&data("filelists", "x")).is_err());
        assert!(Repomd::parse(format!("<repomd>{}", data("primary", "x")).as_bytes()).is_err());
        assert!(Repomd::parse(b"").is_err());
    }
}

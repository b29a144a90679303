//! Reading repository metadata, without trust in who wrote it.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Packages one repo may list.
const MOST_PACKAGES: usize = 1_000_000;

/// One file that `repomd.xml` lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Data {
    /// `primary`, `filelists`, …
    pub(super) kind: String,
    /// Where it is.
    pub(super) href: String,
    /// Does it name another address to begin from?
    pub(super) elsewhere: bool,
    /// Of the file as it is fetched: the algorithm, and the checksum in hexadecimal.
    pub(super) checksum: (String, String),
    /// Of what is in it when it is unpacked.
    pub(super) open_checksum: Option<(String, String)>,
    /// Bytes.
    pub(super) size: Option<u64>,
    /// Bytes when it is unpacked.
    pub(super) open_size: Option<u64>,
}

/// One package that `primary.xml` lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// `name-[epoch:]version-release.arch`
    pub(super) nevra: String,
    /// Where its file is.
    pub(super) href: String,
    /// Does it name another address to begin from?
    pub(super) elsewhere: bool,
    /// Of its file: the algorithm, and the checksum in hexadecimal.
    pub(super) checksum: (String, String),
    /// Bytes of its file.
    pub(super) size: Option<u64>,
}

/// The files that a `repomd.xml` lists, and its revision, if it names exactly one.
///
/// # Errors
/// When it is none, or cut off.
pub(super) fn repomd(bytes: &[u8]) -> io::Result<(Vec<Data>, Option<i64>)> {
    let (mut found, mut data, mut text) = (Vec::new(), None::<Data>, String::new());
    let mut revisions = Vec::new();
    walk(bytes, "repomd", |event| {
        match event {
            Event::Start(tag) | Event::Empty(tag) => {
                text.clear();
                match (tag.name().as_ref(), &mut data) {
                    ("data", data) => *data = Some(Data { kind: value(tag, "type")?, ..Data::default() }),
                    ("checksum", Some(data)) => data.checksum.0 = value(tag, "type")?,
                    ("open-checksum", Some(data)) => {
                        data.open_checksum = Some((value(tag, "type")?, String::new()))
                    }
                    ("location", Some(data)) => (data.href, data.elsewhere) = location(tag)?,
                    _ => {}
                }
            }
            Event::End(tag) => match (tag.name().as_ref(), &mut data) {
                ("checksum", Some(data)) => data.checksum.1 = digits(&text),
                ("open-checksum", Some(data)) => {
                    if let Some(open) = &mut data.open_checksum {
                        open.1 = digits(&text);
                    }
                }
                ("size", Some(data)) => data.size = text.trim().parse().ok(),
                ("open-size", Some(data)) => data.open_size = text.trim().parse().ok(),
                ("data", data) => found.extend(data.take()),
                ("revision", None) => revisions.push(text.trim().parse().ok()),
                _ => {}
            },
            other => append(&mut text, other),
        }
        Ok(())
    })?;
    let revision = if let [revision] = revisions[..] { revision } else { None };
    Ok((found, revision))
}

/// The packages that a `primary.xml` lists, and how many it says it does. It may be compressed with gzip or zstd, and unpacked
/// have at most so many bytes; how many it has is told too.
///
/// # Errors
/// When it is none, cut off, or too large.
pub(super) fn primary(packed: &[u8], most: u64) -> io::Result<(Vec<Listed>, Option<u64>, u64)> {
    let mut counted = Bounded { inner: unpacked(packed)?, read: 0, most };
    let (mut found, mut package, mut text) = (Vec::new(), None::<Listed>, String::new());
    let (mut said, mut name, mut arch, mut evr) = (None, String::new(), String::new(), String::new());
    walk(BufReader::new(&mut counted), "metadata", |event| {
        match event {
            Event::Start(tag) | Event::Empty(tag) => {
                text.clear();
                match (tag.name().as_ref(), &mut package) {
                    ("metadata", None) => said = value(tag, "packages")?.parse().ok(),
                    ("package", package) => {
                        (name, arch, evr) = Default::default();
                        *package = Some(Listed::default());
                    }
                    ("checksum", Some(package)) => package.checksum.0 = value(tag, "type")?,
                    ("location", Some(package)) => (package.href, package.elsewhere) = location(tag)?,
                    ("size", Some(package)) => package.size = value(tag, "package")?.parse().ok(),
                    ("version", Some(_)) => {
                        let epoch = value(tag, "epoch")?;
                        let epoch = if epoch.is_empty() || epoch == "0" {
                            String::new()
                        } else {
                            format!("{epoch}:")
                        };
                        evr = format!("{epoch}{}-{}", value(tag, "ver")?, value(tag, "rel")?);
                    }
                    _ => {}
                }
            }
            Event::End(tag) => match (tag.name().as_ref(), &mut package) {
                ("name", Some(_)) => name = std::mem::take(&mut text),
                ("arch", Some(_)) => arch = std::mem::take(&mut text),
                ("checksum", Some(package)) => package.checksum.1 = digits(&text),
                ("package", package) => {
                    found.extend(
                        package
                            .take()
                            .map(|package| Listed { nevra: format!("{name}-{evr}.{arch}"), ..package }),
                    );
                    if found.len() > MOST_PACKAGES {
                        return Err(broken(&format!("it lists more than {MOST_PACKAGES} packages")));
                    }
                }
                _ => {}
            },
            other => append(&mut text, other),
        }
        Ok(())
    })?;
    // What stands behind the end belongs to the file too.
    io::copy(&mut counted, &mut io::sink())?;
    Ok((found, said, counted.read))
}

/// What is in a file of metadata, however it is compressed.
///
/// # Errors
/// When it is compressed in another way than those that are known here.
pub(super) fn unpacked<'a>(packed: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
    Ok(if packed.starts_with(GZIP) {
        Box::new(MultiGzDecoder::new(packed))
    } else if packed.starts_with(ZSTD) {
        Box::new(zstd::stream::read::Decoder::with_buffer(packed)?)
    } else if packed.starts_with(b"<") || packed.is_empty() {
        Box::new(packed)
    } else {
        return Err(broken("it is neither text nor compressed with gzip or zstd"));
    })
}

struct Bounded<R> {
    inner: R,
    read: u64,
    most: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read += count as u64;
        if self.read > self.most {
            return Err(broken(&format!("unpacked it has more than {} bytes", self.most)));
        }
        Ok(count)
    }
}

fn walk(xml: impl BufRead, root: &str, mut take: impl FnMut(&Event<'_>) -> io::Result<()>) -> io::Result<()> {
    let mut reader = Reader::from_reader(xml);
    let (mut buffer, mut complete) = (Vec::new(), false);
    loop {
        let event = reader.read_event_into(&mut buffer).map_err(|error| broken(&error.to_string()))?;
        match &event {
            Event::Eof => break,
            Event::DocType(_) => return Err(broken("it has a document type, which metadata has no use for")),
            Event::Start(_) | Event::Empty(_) if complete => return Err(broken("it goes on behind its end")),
            Event::End(tag) if tag.name().as_ref() == root => complete = true,
            event => take(event)?,
        }
        buffer.clear();
    }
    if complete { Ok(()) } else { Err(broken(&format!("it is no <{root}>, or is cut off"))) }
}

fn append(text: &mut String, event: &Event<'_>) {
    match event {
        Event::Text(part) => text.push_str(part),
        Event::CData(part) => text.push_str(part),
        Event::GeneralRef(name) => match name.resolve_char_ref() {
            Ok(Some(letter)) => text.push(letter),
            Ok(None) | Err(_) => {
                text.push_str(quick_xml::escape::resolve_predefined_entity(name).unwrap_or_default());
            }
        },
        Event::Start(_)
        | Event::End(_)
        | Event::Empty(_)
        | Event::Comment(_)
        | Event::Decl(_)
        | Event::PI(_)
        | Event::DocType(_)
        | Event::Eof => {}
    }
}

fn location(tag: &BytesStart<'_>) -> io::Result<(String, bool)> {
    let elsewhere = tag.attributes().flatten().any(|attribute| attribute.key.as_ref() == "xml:base");
    Ok((value(tag, "href")?, elsewhere))
}

/// An attribute; empty where there is none.
fn value(tag: &BytesStart<'_>, name: &str) -> io::Result<String> {
    let wrong = |error: String| broken(&error);
    let Some(found) = tag.try_get_attribute(name).map_err(|error| wrong(error.to_string()))? else {
        return Ok(String::new());
    };
    let value = found.normalized_value(XmlVersion::Implicit1_0).map_err(|error| wrong(error.to_string()))?;
    Ok(value.into_owned())
}

fn digits(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "<?xml version=\"1.0\"?><metadata packages=\"1\"><package type=\"rpm\"><name>a&amp;b</name><arch>noarch</arch>\
        <version epoch=\"1\" ver=\"2\" rel=\"3\"/><checksum type=\"sha256\" pkgid=\"YES\">AB</checksum><summary>s</summary>\
        <size package=\"10\" installed=\"2\" archive=\"3\"/><location href=\"Packages/a.rpm\"/><format><rpm:provides>\
        <rpm:entry name=\"x\"/></rpm:provides><file>/usr/bin/x</file></format></package></metadata>";

    #[test]
    fn what_a_repo_lists_is_read() {
        let (listed, said, size) = primary(ONE.as_bytes(), 10_000).unwrap();
        let expected = Listed {
            nevra: "a&b-1:2-3.noarch".into(),
            href: "Packages/a.rpm".into(),
            elsewhere: false,
            checksum: ("sha256".into(), "ab".into()),
            size: Some(10),
        };
        assert_eq!((listed, said, size), (vec![expected], Some(1), ONE.len() as u64));
    }

    #[test]
    fn what_is_cut_off_too_large_or_goes_on_is_refused() {
        assert!(primary(&ONE.as_bytes()[..ONE.len() - 5], 10_000).is_err());
        assert!(primary(ONE.as_bytes(), 100).is_err());
        assert!(primary(format!("{ONE}<metadata/>").as_bytes(), 10_000).is_err());
        assert!(primary(b"\xfd7zXZ\0", 10_000).is_err());
        assert!(repomd(b"<repomd></repomd><repomd/>").is_err());
        assert!(repomd(b"<!DOCTYPE x><repomd></repomd>").is_err());
    }

    #[test]
    fn a_list_of_files_is_read() {
        let text = "<repomd><revision>7</revision><data type=\"primary\"><checksum type=\"sha256\">AA</checksum>\
            <open-checksum type=\"sha256\">bb</open-checksum><location xml:base=\"http://x/\" href=\"../p\"/><size>5</size>\
            <open-size>9</open-size></data></repomd>";
        let (mut data, revision) = repomd(text.as_bytes()).unwrap();
        let data = data.remove(0);
        assert_eq!(revision, Some(7));
        for unclear in
            ["", "<revision/>", "<revision>7</revision><revision>8</revision>", "<revision>7x</revision>"]
        {
            let (_, revision) = repomd(format!("<repomd>{unclear}</repomd>").as_bytes()).unwrap();
            assert_eq!(revision, None, "{unclear}");
        }
        assert_eq!((data.kind.as_str(), data.href.as_str(), data.elsewhere), ("primary", "../p", true));
        assert_eq!((data.size, data.open_size), (Some(5), Some(9)));
        assert_eq!(data.open_checksum, Some(("sha256".into(), "bb".into())));
    }
}

//! Which packages of a repo bear on a root: those that could have been installed in it, or in the place of something
//! that was.
//!
//! A repo of a farm changes with every build, and hardly ever in what a given root was made of. So a root is kept
//! together with the names that play a part in it: everything its packages require, recommend, provide, obsolete or
//! conflict with, and everything its build asked for. A package that provides and obsoletes none of these names and adds
//! itself to nothing (`Supplements`, `Enhances`) is not looked at when the root is made again; if none other has
//! changed, the root would come out the same.
//!
//! Paths are compared as far as a repo's main index names them (programs, configuration); a package that newly offers
//! another path which a package in the root offers already is not noticed.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

use farm::digest::Digest;
use flate2::read::GzDecoder;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Bytes of an index that are read.
const LARGEST_INDEX: u64 = 512 * 1024 * 1024;

/// The names that play a part in a root.
pub(crate) type Names = HashSet<String>;

/// A repo's packages, as far as they could bear on a root.
#[derive(Debug, Default)]
pub(crate) struct Packages(Vec<Package>);

#[derive(Debug, Default)]
struct Package {
    /// Its name and checksum.
    id: String,
    /// What it provides and obsoletes, and the paths its index names.
    offers: Vec<String>,
    /// It asks to be installed where something else is.
    adds_itself: bool,
}

impl Packages {
    /// Reads a repo's main index (`primary.xml.gz`). It may be large: call it on a blocking thread.
    ///
    /// # Errors
    /// If it cannot be read or is not one.
    pub(crate) fn read(primary: &Path) -> io::Result<Self> {
        let decoder = GzDecoder::new(BufReader::new(File::open(primary)?));
        Self::of_xml(BufReader::new(decoder.take(LARGEST_INDEX)))
    }

    fn of_xml(xml: impl io::BufRead) -> io::Result<Self> {
        let mut reader = Reader::from_reader(xml);
        let (mut packages, mut buffer) = (Vec::new(), Vec::new());
        let (mut package, mut inside, mut complete) = (Package::default(), Inside::Other, false);
        loop {
            match reader.read_event_into(&mut buffer).map_err(io::Error::other)? {
                Event::Start(tag) => match tag.name().as_ref() {
                    "package" => package = Package::default(),
                    "name" | "checksum" => inside = Inside::Id,
                    "file" => inside = Inside::Path,
                    "rpm:provides" | "rpm:obsoletes" => inside = Inside::Offers,
                    "rpm:supplements" | "rpm:enhances" => inside = Inside::Additions,
                    "rpm:entry" => package.enter(&tag, inside)?,
                    _ => {}
                },
                Event::Empty(tag) if tag.name().as_ref() == "rpm:entry" => package.enter(&tag, inside)?,
                Event::Text(text) => match inside {
                    Inside::Id => package.id = format!("{} {}", package.id, &*text),
                    Inside::Path => package.offers.push(text.to_string()),
                    Inside::Offers | Inside::Additions | Inside::Other => {}
                },
                Event::End(tag) => match tag.name().as_ref() {
                    "package" => packages.push(std::mem::take(&mut package)),
                    "metadata" => complete = true,
                    "name" | "checksum" | "file" | "rpm:provides" | "rpm:obsoletes" | "rpm:supplements"
                    | "rpm:enhances" => inside = Inside::Other,
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
        if complete {
            Ok(Self(packages))
        } else {
            Err(io::Error::other("it is no index of packages, or cut off"))
        }
    }

    /// A digest over those packages that bear on a root in which these names play a part.
    pub(crate) fn bearing(&self, names: &Names, asked: &Names) -> Digest {
        let plays = |name: &String| names.contains(name) || asked.contains(name);
        let bears = |package: &&Package| package.adds_itself || package.offers.iter().any(plays);
        let mut ids: Vec<&str> = self.0.iter().filter(bears).map(|package| package.id.as_str()).collect();
        ids.sort_unstable();
        Digest::of(ids.join("\n").as_bytes())
    }
}

#[derive(Clone, Copy)]
enum Inside {
    Id,
    Path,
    Offers,
    Additions,
    Other,
}

impl Package {
    fn enter(&mut self, tag: &BytesStart<'_>, inside: Inside) -> io::Result<()> {
        match inside {
            Inside::Offers => {
                let name = tag.try_get_attribute("name").map_err(io::Error::other)?;
                let name = name.ok_or_else(|| io::Error::other("an entry without a name"))?;
                self.offers.push(
                    name.normalized_value(XmlVersion::Implicit1_0).map_err(io::Error::other)?.into_owned(),
                );
            }
            Inside::Additions => self.adds_itself = true,
            Inside::Id | Inside::Path | Inside::Other => {}
        }
        Ok(())
    }
}

/// The names in a listing, a name a line. Of `(a or b)` every word is one.
pub(crate) fn names(listing: &str) -> Names {
    let mut names = Names::new();
    for line in listing.lines().filter(|line| !line.is_empty()) {
        names.insert(line.to_owned());
        if line.starts_with('(') {
            let words = line.split_whitespace();
            names.extend(words.map(|word| word.trim_start_matches('(').to_owned()));
            // The last bracket may be the expression's or the name's own, as in `(a if pkgconfig(b))`.
            let words = line.split_whitespace();
            names.extend(words.map(|word| word.trim_start_matches('(').trim_end_matches(')').to_owned()));
            let words = line.split_whitespace();
            names.extend(
                words.filter_map(|word| Some(word.trim_start_matches('(').strip_suffix(')')?.to_owned())),
            );
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, checksum: &str, rest: &str) -> String {
        format!(
            "<package type=\"rpm\"><name>{name}</name><checksum type=\"sha256\">{checksum}</checksum><format>\
             <rpm:provides><rpm:entry name=\"{name}\" flags=\"EQ\"/></rpm:provides>{rest}</format></package>"
        )
    }

    fn bearing(packages: &[String]) -> Digest {
        let xml = format!("<?xml version=\"1.0\"?><metadata>{}</metadata>", packages.concat());
        let (root, asked) = (names("zlib\n/usr/bin/m4\n(lua or guile)\n"), names("gcc\n"));
        Packages::of_xml(xml.as_bytes()).unwrap().bearing(&root, &asked)
    }

    #[test]
    fn only_what_could_come_into_a_root_bears_on_it() {
        let zlib = package("zlib", "1", "");
        let base = bearing(&[zlib.clone()]);
        assert_eq!(base, bearing(&[zlib.clone(), package("hello", "2", "<file>/usr/bin/hello</file>")]));
        assert_eq!(
            base,
            bearing(&[
                package("hello", "3", "<rpm:requires><rpm:entry name=\"zlib\"/></rpm:requires>"),
                zlib.clone()
            ])
        );
        for other in [
            package("zlib", "9", ""),
            package("gcc", "2", ""),
            package("guile", "2", ""),
            package("macro", "2", "<file>/usr/bin/m4</file>"),
            package("zlib-ng", "2", "<rpm:obsoletes><rpm:entry name=\"zlib\"/></rpm:obsoletes>"),
            package("compat", "2", "<rpm:provides><rpm:entry name=\"zlib\"/></rpm:provides>"),
            package("langpack", "2", "<rpm:supplements><rpm:entry name=\"any\"/></rpm:supplements>"),
        ] {
            assert_ne!(base, bearing(&[zlib.clone(), other.clone()]), "{other}");
        }
        assert_ne!(base, bearing(&[]));
    }

    #[test]
    fn what_is_cut_off_is_not_taken_for_a_repo_without_packages() {
        for bad in ["", "<metadata>", "<metadata><package></metadata>", "no xml"] {
            assert!(Packages::of_xml(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

//! Which packages of the farm's repos bear on a root: those that the package manager could have looked at when it made it.
//!
//! A repo of a farm changes with every build, and hardly ever in what a given root was made of. So a root is kept
//! together with the names that play a part in it: everything its packages require, recommend, provide, obsolete or
//! conflict with, and everything its build asked for. A package that provides or obsoletes one of these names bears on
//! the root, and what it requires or recommends plays a part too, and so on: that a package was not installed because
//! something it requires was missing is noticed once that is there. A package that adds itself to others (`Supplements`,
//! `Enhances`) always bears. If all that bear are the same packages, the root would come out the same.
//!
//! Paths are compared as far as a repo's main index names them (programs, configuration); where another path plays a
//! part nothing is said, and a root is used again only with the very same packages. Repos outside the farm are taken as
//! a whole by their checksum; what their packages would require of a farm's is not known here.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

use farm::digest::Digest;
use flate2::read::MultiGzDecoder;
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
    /// What comes with it: all it requires and recommends.
    wants: Vec<String>,
    /// It asks to be installed where something else is.
    adds_itself: bool,
}

impl Packages {
    /// Reads a repo's main index (`primary.xml.gz`). It may be large: call it on a blocking thread.
    ///
    /// # Errors
    /// If it cannot be read or is not one.
    pub(crate) fn read(primary: &Path) -> io::Result<Self> {
        let decoder = MultiGzDecoder::new(BufReader::new(File::open(primary)?));
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
                    "rpm:requires" | "rpm:recommends" => inside = Inside::Wants,
                    "rpm:supplements" | "rpm:enhances" => inside = Inside::Additions,
                    "rpm:entry" => package.enter(&tag, inside)?,
                    _ => {}
                },
                Event::Empty(tag) if tag.name().as_ref() == "rpm:entry" => package.enter(&tag, inside)?,
                Event::Text(text) => match inside {
                    Inside::Id => package.id = format!("{} {}", package.id, &*text),
                    Inside::Path => package.offers.push(text.to_string()),
                    Inside::Offers | Inside::Wants | Inside::Additions | Inside::Other => {}
                },
                Event::End(tag) => match tag.name().as_ref() {
                    "package" => packages.push(std::mem::take(&mut package)),
                    "metadata" => complete = true,
                    "name" | "checksum" | "file" | "rpm:provides" | "rpm:obsoletes" | "rpm:requires"
                    | "rpm:recommends" | "rpm:supplements" | "rpm:enhances" => inside = Inside::Other,
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
    pub(crate) fn bearing(&self, plays: &Names) -> Digest {
        let bears = |package: &&Package| package.bears(plays);
        let mut ids: Vec<&str> = self.0.iter().filter(bears).map(|package| package.id.as_str()).collect();
        ids.sort_unstable();
        Digest::of(ids.join("\n").as_bytes())
    }
}

/// All names that play a part in a root when these do, and these are the repos; `None` if a path is among them that no
/// repo's main index would name.
pub(crate) fn playing(mut names: Names, repos: &[&Packages]) -> Option<Names> {
    let mut rest: Vec<&Package> = repos.iter().flat_map(|repo| &repo.0).collect();
    loop {
        let (bearing, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|package| package.bears(&names));
        if bearing.is_empty() {
            break;
        }
        names.extend(
            bearing.into_iter().flat_map(|package| &package.wants).flat_map(|want| self::names(want)),
        );
        rest = others;
    }
    let is_known = |name: &String| !name.starts_with('/') || is_in_main_index(name);
    names.iter().all(is_known).then_some(names)
}

/// Does every repo's main index name this path, if a package in it has it?
fn is_in_main_index(path: &str) -> bool {
    path.starts_with("/etc/") || path.contains("bin/") || path == "/usr/lib/sendmail"
}

#[derive(Clone, Copy)]
enum Inside {
    Id,
    Path,
    Offers,
    Wants,
    Additions,
    Other,
}

impl Package {
    fn bears(&self, plays: &Names) -> bool {
        self.adds_itself || self.offers.iter().any(|offer| plays.contains(offer))
    }

    fn enter(&mut self, tag: &BytesStart<'_>, inside: Inside) -> io::Result<()> {
        let list = match inside {
            Inside::Offers => &mut self.offers,
            Inside::Wants => &mut self.wants,
            Inside::Additions => {
                self.adds_itself = true;
                return Ok(());
            }
            Inside::Id | Inside::Path | Inside::Other => return Ok(()),
        };
        let name = tag.try_get_attribute("name").map_err(io::Error::other)?;
        let name = name.ok_or_else(|| io::Error::other("an entry without a name"))?;
        list.push(name.normalized_value(XmlVersion::Implicit1_0).map_err(io::Error::other)?.into_owned());
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
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn package(name: &str, checksum: &str, rest: &str) -> String {
        format!(
            "<package type=\"rpm\"><name>{name}</name><checksum type=\"sha256\">{checksum}</checksum><format>\
             <rpm:provides><rpm:entry name=\"{name}\" flags=\"EQ\"/></rpm:provides>{rest}</format></package>"
        )
    }

    fn bearing(packages: &[String]) -> Digest {
        let xml = format!("<?xml version=\"1.0\"?><metadata>{}</metadata>", packages.concat());
        let repo = Packages::of_xml(xml.as_bytes()).unwrap();
        let plays = playing(names("zlib\n/usr/bin/m4\n(lua or guile)\ngcc\n"), &[&repo]).unwrap();
        repo.bearing(&plays)
    }

    #[test]
    fn only_what_could_come_into_a_root_bears_on_it() {
        let zlib = package("zlib", "1", "");
        let base = bearing(std::slice::from_ref(&zlib));
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
    fn what_a_package_in_question_wants_plays_a_part_in_whatever_repo_it_is() {
        let wants = |name: &str, kind: &str, want: &str| {
            let rest = format!("<rpm:{kind}><rpm:entry name=\"{want}\"/></rpm:{kind}>");
            let xml = format!("<metadata>{}</metadata>", package(name, "1", &rest));
            Packages::of_xml(xml.as_bytes()).unwrap()
        };
        let (first, second) = (wants("gcc", "requires", "(isl if mpc)"), wants("isl", "recommends", "gmp"));
        let plays = playing(names("gcc"), &[&second, &first]).unwrap();
        for name in ["gcc", "isl", "mpc", "gmp"] {
            assert!(plays.contains(name), "{name}: {plays:?}");
        }
        assert!(!playing(names("zlib"), &[&second, &first]).unwrap().contains("gmp"));
    }

    #[test]
    fn nothing_is_said_where_a_path_plays_a_part_that_no_main_index_names() {
        for (path, known) in [("/usr/bin/m4", true), ("/etc/passwd", true), ("/usr/share/misc/magic", false)]
        {
            assert_eq!(playing(names(path), &[]).is_some(), known, "{path}");
        }
    }

    #[test]
    fn an_index_of_several_compressed_members_is_read_to_its_end() {
        let pieces = [
            "<metadata>".to_owned(),
            package("zlib", "1", ""),
            package("gcc", "2", ""),
            "</metadata>".into(),
        ];
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for piece in &pieces {
            let mut member = GzEncoder::new(Vec::new(), Compression::default());
            member.write_all(piece.as_bytes()).unwrap();
            file.write_all(&member.finish().unwrap()).unwrap();
        }
        assert_eq!(Packages::read(file.path()).unwrap().0.len(), 2);
    }

    #[test]
    fn what_is_cut_off_is_not_taken_for_a_repo_without_packages() {
        for bad in ["", "<metadata>", "<metadata><package></metadata>", "no xml"] {
            assert!(Packages::of_xml(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

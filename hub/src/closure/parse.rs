//! Reading a repo's main index, as a stream: it is never in memory as a whole.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read};

use quick_xml::events::{BytesStart, Event};

use super::compressed;
use super::data::{KINDS, Kind, NONE, Package, Postings, Relation, RepoData};
use super::evr::sense_of_flags;
use super::rich::Rich;
use super::strings::{Collector, Text};
use super::xml::{append, attribute, broken, each_event, hash};

/// Bytes a main index may have, decompressed. Those of the largest distributions have a tenth.
const LARGEST_PRIMARY: u64 = 2 << 30;

impl RepoData {
    /// Reads a repo's main index (`primary.xml`), compressed or not. It takes seconds for a distribution: call it on a
    /// blocking thread.
    ///
    /// # Errors
    /// If it cannot be read, is not one, is cut off, or is too large.
    pub fn read(primary: impl Read) -> io::Result<Self> {
        let mut draft = Draft::default();
        let mut field = Field::None;
        let mut text = String::new();
        each_event(compressed::open(primary, LARGEST_PRIMARY)?, "metadata", |event| {
            match event {
                Event::Start(tag) => field = draft.open(tag, &mut text)?,
                Event::Empty(tag) => {
                    draft.open(tag, &mut text)?;
                }
                Event::End(tag) => {
                    draft.end(tag.name().as_ref(), field, &text)?;
                    field = Field::None;
                }
                other => append(&mut text, other),
            }
            Ok(())
        })?;
        Ok(draft.close())
    }
}

/// The element whose text is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    None,
    Name,
    Arch,
    Checksum,
    File,
}

/// A repo while it is read.
#[derive(Default)]
struct Draft {
    texts: Collector,
    evr_numbers: HashMap<[Text; 3], u32>,
    evrs: Vec<[Text; 3]>,
    packages: Vec<Package>,
    relations: Vec<Relation>,
    files: Vec<Text>,
    names_in_rich: Vec<(Text, u32)>,
    /// The package being read.
    name: Text,
    arch: Text,
    evr: Option<u32>,
    pkgid: u64,
    traits: [String; 3],
    own: [Vec<Relation>; KINDS],
    own_files: Vec<Text>,
    /// The list being read.
    list: Option<Kind>,
}

impl Draft {
    fn open(&mut self, tag: &BytesStart<'_>, text: &mut String) -> io::Result<Field> {
        text.clear();
        let name = tag.name();
        Ok(match name.as_ref() {
            "name" => Field::Name,
            "arch" => Field::Arch,
            "checksum" => Field::Checksum,
            "file" => Field::File,
            "version" => {
                let [epoch, version, release] = ["epoch", "ver", "rel"].map(|part| attribute(tag, part));
                self.evr = self.evr(epoch?, version?, release?)?;
                Field::None
            }
            // Neither is changed by a signature.
            "time" => self.remember(0, attribute(tag, "build")?),
            "size" => self.remember(1, attribute(tag, "installed")?),
            "rpm:provides" => self.begin(Some(Kind::Provides)),
            "rpm:requires" => self.begin(Some(Kind::Requires)),
            "rpm:conflicts" => self.begin(Some(Kind::Conflicts)),
            "rpm:obsoletes" => self.begin(Some(Kind::Obsoletes)),
            "rpm:recommends" | "rpm:suggests" | "rpm:supplements" | "rpm:enhances" => self.begin(None),
            "rpm:entry" => {
                self.enter(tag)?;
                Field::None
            }
            _ => Field::None,
        })
    }

    fn begin(&mut self, list: Option<Kind>) -> Field {
        self.list = list;
        Field::None
    }

    fn remember(&mut self, at: usize, value: Option<String>) -> Field {
        if let Some(place) = self.traits.get_mut(at) {
            *place = value.unwrap_or_default();
        }
        Field::None
    }

    fn end(&mut self, element: &str, field: Field, text: &str) -> io::Result<()> {
        match field {
            Field::Name => self.name = self.text(text)?,
            Field::Arch => self.arch = self.text(text)?,
            Field::Checksum => self.pkgid = hash(text.trim()),
            Field::File => {
                let path = self.text(text)?;
                self.own_files.push(path);
            }
            Field::None => match element {
                "package" => self.finish()?,
                _ if element.starts_with("rpm:") && element != "rpm:entry" => self.list = None,
                _ => {}
            },
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> io::Result<Text> {
        self.texts.add(text).ok_or_else(|| broken("it has more text than metadata may have"))
    }

    fn evr(
        &mut self,
        epoch: Option<String>,
        version: Option<String>,
        release: Option<String>,
    ) -> io::Result<Option<u32>> {
        let Some(version) = version else { return Ok(None) };
        let parts = [
            self.text(epoch.as_deref().unwrap_or("0"))?,
            self.text(&version)?,
            self.text(release.as_deref().unwrap_or(""))?,
        ];
        if let Some(known) = self.evr_numbers.get(&parts) {
            return Ok(Some(*known));
        }
        let number = u32::try_from(self.evrs.len()).map_err(io::Error::other)?;
        self.evrs.push(parts);
        self.evr_numbers.insert(parts, number);
        Ok(Some(number))
    }

    fn enter(&mut self, tag: &BytesStart<'_>) -> io::Result<()> {
        let Some(kind) = self.list else { return Ok(()) };
        let name = attribute(tag, "name")?.ok_or_else(|| broken("an entry has no name"))?;
        // What rpm itself must be able to do is not for any package to provide.
        if kind == Kind::Requires && name.starts_with("rpmlib(") {
            return Ok(());
        }
        let (mut evr, mut sense) = (NONE, 0);
        if let Some(flags) = attribute(tag, "flags")? {
            sense = sense_of_flags(&flags)
                .ok_or_else(|| broken(&format!("no range has the flags {flags:.20}")))?;
            let [epoch, version, release] = ["epoch", "ver", "rel"].map(|part| attribute(tag, part));
            evr = self.evr(epoch?, version?, release?)?.unwrap_or(NONE);
        }
        let package = u32::try_from(self.packages.len()).map_err(io::Error::other)?;
        if kind == Kind::Requires
            && let Some(rich) = Rich::parse(&name)
        {
            for inner in rich.names() {
                let inner = self.text(inner)?;
                self.names_in_rich.push((inner, package));
            }
        }
        let name = self.text(&name)?;
        if let Some(own) = self.own.get_mut(kind as usize) {
            own.push(Relation { name, evr, sense, package });
        }
        Ok(())
    }

    /// Ends a package.
    fn finish(&mut self) -> io::Result<()> {
        let evr = self.evr.take().ok_or_else(|| broken("a package has no version"))?;
        if self.texts.get(self.name).is_empty() || self.texts.get(self.arch).is_empty() {
            return Err(broken("a package has no name, or no architecture"));
        }
        let fingerprint = self.fingerprint(evr);
        let mut relations = [0; KINDS + 1];
        let length = |list: usize| u32::try_from(list).map_err(io::Error::other);
        for (place, own) in relations.iter_mut().zip(&mut self.own) {
            *place = length(self.relations.len())?;
            self.relations.append(own);
        }
        relations[KINDS] = length(self.relations.len())?;
        let first = length(self.files.len())?;
        self.files.append(&mut self.own_files);
        let files = first..length(self.files.len())?;
        let Self { name, arch, pkgid, .. } = *self;
        self.packages.push(Package { name, arch, evr, relations, files, pkgid, fingerprint });
        [self.name, self.arch] = [self.text("")?; 2];
        Ok(())
    }

    fn fingerprint(&self, evr: u32) -> u64 {
        let text = |text: Text| self.texts.get(text);
        let evr_of = |at: u32| self.evrs.get(at as usize).map(|parts| parts.map(text));
        let mut hasher = DefaultHasher::new();
        (text(self.name), text(self.arch), evr_of(evr), &self.traits).hash(&mut hasher);
        for list in &self.own {
            list.len().hash(&mut hasher);
            for relation in list {
                (text(relation.name), relation.sense, evr_of(relation.evr)).hash(&mut hasher);
            }
        }
        self.own_files.iter().for_each(|path| text(*path).hash(&mut hasher));
        hasher.finish()
    }

    fn close(self) -> RepoData {
        let Self { texts, evrs, packages, relations, files, names_in_rich, .. } = self;
        let of_kind = |kind: Kind| {
            let (packages, relations) = (&packages, &relations);
            packages.iter().flat_map(move |package| {
                let [start, end] = [package.relations[kind as usize], package.relations[kind as usize + 1]];
                relations.get(start as usize..end as usize).unwrap_or_default()
            })
        };
        let to_packages = |kind: Kind| of_kind(kind).map(|relation| (relation.name, relation.package));
        let provided = packages.iter().flat_map(|package| {
            let [start, end] =
                [package.relations[Kind::Provides as usize], package.relations[Kind::Requires as usize]];
            (start..end).filter_map(|at| Some((relations.get(at as usize)?.name, at)))
        });
        let paths = packages.iter().zip(0_u32..).flat_map(|(package, at)| {
            let own = files.get(package.files.start as usize..package.files.end as usize).unwrap_or_default();
            own.iter().map(move |path| (*path, at))
        });
        RepoData {
            named: Postings::new(packages.iter().map(|package| package.name).zip(0..).collect()),
            provided: Postings::new(provided.collect()),
            paths: Postings::new(paths.collect()),
            required: Postings::new(to_packages(Kind::Requires).chain(names_in_rich).collect()),
            obsoleted: Postings::new(to_packages(Kind::Obsoletes).collect()),
            strings: texts.close(),
            evrs,
            packages,
            relations,
            files,
            filelists: None,
            found: HashMap::new().into(),
        }
    }
}

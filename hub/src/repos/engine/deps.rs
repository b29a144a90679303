//! What a package provides, requires and so on, as repository metadata has it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use rpm::IndexTag;

use super::files::{File, is_primary};
use super::header::Header;

/// Flags of a dependency in a header: how versions compare, when it is needed, and that it may be missing.
const LESS: u64 = 1 << 1;
const GREATER: u64 = 1 << 2;
const EQUAL: u64 = 1 << 3;
const PREREQ: u64 = 1 << 6;
const SCRIPT_PRE: u64 = 1 << 9;
const SCRIPT_POST: u64 = 1 << 10;
const MISSING_OK: u64 = 1 << 19;
/// In the old tags for weak dependencies: it is a strong one of them.
const STRONG: u64 = 1 << 27;

/// One dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dependency<'a> {
    pub(super) name: &'a [u8],
    /// `EQ`, `LT`, …; `None` when any version will do.
    pub(super) compare: Option<&'static str>,
    pub(super) version: Evr<'a>,
    /// It must be there before the package's scripts run.
    pub(super) pre: bool,
}

/// Epoch, version and release; what is not given is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Evr<'a> {
    pub(super) epoch: &'a [u8],
    pub(super) version: &'a [u8],
    pub(super) release: &'a [u8],
}

/// Everything a package says about others, in the order of its header.
#[derive(Debug, Default)]
pub(super) struct Dependencies<'a> {
    pub(super) provides: Vec<Dependency<'a>>,
    pub(super) requires: Vec<Dependency<'a>>,
    pub(super) conflicts: Vec<Dependency<'a>>,
    pub(super) obsoletes: Vec<Dependency<'a>>,
    pub(super) suggests: Vec<Dependency<'a>>,
    pub(super) enhances: Vec<Dependency<'a>>,
    pub(super) recommends: Vec<Dependency<'a>>,
    pub(super) supplements: Vec<Dependency<'a>>,
}

/// One dependency as the header has it.
struct Raw<'a> {
    name: &'a [u8],
    flags: u64,
    version: &'a [u8],
}

impl<'a> Raw<'a> {
    fn compare(&self) -> Option<&'static str> {
        match self.flags & 0xf {
            LESS => Some("LT"),
            GREATER => Some("GT"),
            EQUAL => Some("EQ"),
            flags if flags == LESS | EQUAL => Some("LE"),
            flags if flags == GREATER | EQUAL => Some("GE"),
            _ => None,
        }
    }

    /// `None` when its epoch is no number: nothing can satisfy it.
    fn read(&self, pre: bool) -> Option<Dependency<'a>> {
        let version = Evr::read(self.version)?;
        Some(Dependency { name: self.name, compare: self.compare(), version, pre })
    }
}

impl<'a> Evr<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let (epoch, rest) = match text.iter().position(|byte| *byte == b':') {
            Some(0) => (&b"0"[..], &text[1..]),
            Some(colon) if is_number(&text[..colon]) => (&text[..colon], &text[colon + 1..]),
            Some(_) => return None,
            None => (&b"0"[..], text),
        };
        let (version, release) = match rest.iter().position(|byte| *byte == b'-') {
            Some(dash) => (&rest[..dash], &rest[dash + 1..]),
            None => (rest, &b""[..]),
        };
        Some(Self { epoch, version, release })
    }
}

/// What C's `strtol` reads to the end.
fn is_number(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// The dependencies of a package with these files.
pub(super) fn dependencies<'a>(header: &Header<'a>, files: &[File<'a>]) -> Dependencies<'a> {
    let mut found = Dependencies::default();
    let provides = raw(header, Tags::PROVIDES);
    found.provides = kept(&provides);
    found.conflicts = kept(&raw(header, Tags::CONFLICTS));
    found.obsoletes = kept(&raw(header, Tags::OBSOLETES));
    (found.requires, found.recommends) = requires(&raw(header, Tags::REQUIRES), &provides, files);
    found.suggests = kept(&raw(header, Tags::SUGGESTS));
    found.enhances = kept(&raw(header, Tags::ENHANCES));
    found.recommends.extend(kept(&raw(header, Tags::RECOMMENDS)));
    found.supplements = kept(&raw(header, Tags::SUPPLEMENTS));
    // Distributions had weak dependencies before rpm did, in tags of their own.
    for old in raw(header, Tags::OLD_SUGGESTS) {
        let list = if old.flags & STRONG > 0 { &mut found.recommends } else { &mut found.suggests };
        list.extend(old.read(false));
    }
    for old in raw(header, Tags::OLD_ENHANCES) {
        let list = if old.flags & STRONG > 0 { &mut found.supplements } else { &mut found.enhances };
        list.extend(old.read(false));
    }
    found
}

fn kept<'a>(list: &[Raw<'a>]) -> Vec<Dependency<'a>> {
    list.iter().filter_map(|raw| raw.read(false)).collect()
}

/// How a requirement was told last: comparison, version, and whether scripts need it.
type Told<'a> = (Option<&'static str>, &'a [u8], bool);

/// What a package requires that it does not have itself, each once; and what it would merely like to have. Of glibc's
/// versions only the highest is named: whoever has it has the others.
fn requires<'a>(
    list: &[Raw<'a>],
    provides: &[Raw<'a>],
    files: &[File<'a>],
) -> (Vec<Dependency<'a>>, Vec<Dependency<'a>>) {
    let (mut required, mut wished) = (Vec::new(), Vec::new());
    // What is provided counts by name, comparison and version written one behind the other.
    let written = |raw: &Raw<'_>| [raw.name, raw.compare().unwrap_or("").as_bytes(), raw.version].concat();
    let provided: HashSet<Vec<u8>> =
        provides.iter().filter(|raw| raw.read(false).is_some()).map(written).collect();
    let own: HashSet<Vec<u8>> = files.iter().map(File::path).filter(|path| is_primary(path)).collect();
    let mut last: HashMap<&[u8], Told<'_>> = HashMap::new();
    let mut glibc: Option<Dependency<'a>> = None;
    for raw in list {
        if raw.name.starts_with(b"rpmlib(")
            || (raw.name.starts_with(b"/") && own.contains(raw.name))
            || provided.contains(&written(raw))
        {
            continue;
        }
        let pre = raw.flags & (PREREQ | SCRIPT_PRE | SCRIPT_POST) > 0;
        let told = (raw.compare(), raw.version, pre);
        if last.get(raw.name) == Some(&told) {
            continue;
        }
        if raw.flags & MISSING_OK > 0 {
            wished.extend(raw.read(false));
            continue;
        }
        let Some(dependency) = raw.read(pre) else { continue };
        if raw.name.starts_with(b"libc.so.6") {
            if glibc.is_none_or(|highest| glibc_is_lower(highest.name, dependency.name)) {
                glibc = Some(dependency);
            }
            continue;
        }
        last.insert(raw.name, told);
        required.push(dependency);
    }
    required.extend(glibc);
    (required, wished)
}

/// Is `libc.so.6(GLIBC_2.3)(64bit)` lower than the other? Without a number it is the lowest.
fn glibc_is_lower(one: &[u8], other: &[u8]) -> bool {
    glibc_version(one) < glibc_version(other)
}

/// What stands in the first parentheses, from nothing at all to a version.
#[derive(Debug, PartialEq, PartialOrd)]
enum GlibcVersion<'a> {
    /// There are no parentheses.
    Absent,
    /// They are not closed.
    Open,
    /// Nothing is in them.
    Empty,
    /// There is no number in them.
    Unnumbered,
    /// A version.
    Number(rpm_version::Evr<'a>),
}

fn glibc_version(name: &[u8]) -> GlibcVersion<'_> {
    let Some(open) = name.iter().position(|byte| *byte == b'(') else { return GlibcVersion::Absent };
    let inner = &name[open + 1..];
    let Some(close) = inner.iter().position(|byte| *byte == b')') else { return GlibcVersion::Open };
    let inner = &inner[..close];
    if inner.is_empty() {
        return GlibcVersion::Empty;
    }
    match inner.iter().position(u8::is_ascii_digit) {
        None => GlibcVersion::Unnumbered,
        Some(digit) => {
            let version = String::from_utf8_lossy(&inner[digit..]);
            GlibcVersion::Number(rpm_version::Evr::new(Cow::Borrowed("0"), version, Cow::Borrowed("")))
        }
    }
}

/// The three tags of one kind of dependency: names, flags, versions.
struct Tags(IndexTag, IndexTag, IndexTag);

impl Tags {
    const PROVIDES: Self =
        Self(IndexTag::RPMTAG_PROVIDENAME, IndexTag::RPMTAG_PROVIDEFLAGS, IndexTag::RPMTAG_PROVIDEVERSION);
    const REQUIRES: Self =
        Self(IndexTag::RPMTAG_REQUIRENAME, IndexTag::RPMTAG_REQUIREFLAGS, IndexTag::RPMTAG_REQUIREVERSION);
    const CONFLICTS: Self =
        Self(IndexTag::RPMTAG_CONFLICTNAME, IndexTag::RPMTAG_CONFLICTFLAGS, IndexTag::RPMTAG_CONFLICTVERSION);
    const OBSOLETES: Self =
        Self(IndexTag::RPMTAG_OBSOLETENAME, IndexTag::RPMTAG_OBSOLETEFLAGS, IndexTag::RPMTAG_OBSOLETEVERSION);
    const SUGGESTS: Self =
        Self(IndexTag::RPMTAG_SUGGESTNAME, IndexTag::RPMTAG_SUGGESTFLAGS, IndexTag::RPMTAG_SUGGESTVERSION);
    const ENHANCES: Self =
        Self(IndexTag::RPMTAG_ENHANCENAME, IndexTag::RPMTAG_ENHANCEFLAGS, IndexTag::RPMTAG_ENHANCEVERSION);
    const RECOMMENDS: Self = Self(
        IndexTag::RPMTAG_RECOMMENDNAME,
        IndexTag::RPMTAG_RECOMMENDFLAGS,
        IndexTag::RPMTAG_RECOMMENDVERSION,
    );
    const SUPPLEMENTS: Self = Self(
        IndexTag::RPMTAG_SUPPLEMENTNAME,
        IndexTag::RPMTAG_SUPPLEMENTFLAGS,
        IndexTag::RPMTAG_SUPPLEMENTVERSION,
    );
    const OLD_SUGGESTS: Self = Self(
        IndexTag::RPMTAG_OLDSUGGESTSNAME,
        IndexTag::RPMTAG_OLDSUGGESTSFLAGS,
        IndexTag::RPMTAG_OLDSUGGESTSVERSION,
    );
    const OLD_ENHANCES: Self = Self(
        IndexTag::RPMTAG_OLDENHANCESNAME,
        IndexTag::RPMTAG_OLDENHANCESFLAGS,
        IndexTag::RPMTAG_OLDENHANCESVERSION,
    );
}

fn raw<'a>(header: &Header<'a>, Tags(names, flags, versions): Tags) -> Vec<Raw<'a>> {
    let (Some(names), Some(flags), Some(versions)) =
        (header.texts(names), header.numbers(flags), header.texts(versions))
    else {
        return Vec::new();
    };
    names
        .into_iter()
        .zip(flags)
        .zip(versions)
        .map(|((name, flags), version)| Raw { name, flags, version })
        .collect()
}

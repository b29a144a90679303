//! Packages with headers that no spec would make: whatever stands in them, clients must see what createrepo_c shows.
//!
//! `GRANGE_FRAGMENT_SEEDS` tries more of them.

use std::collections::BTreeSet;

use rpm::{
    BuildConfig, CompressionWithLevel, Header, HeaderEntry, IndexData, IndexTag, PackageBuilder, RpmFormat,
    SignatureHeaderBuilder,
};

use super::oracle::agrees;

/// SplitMix64: the same seed, the same packages.
struct Dice {
    state: u64,
    /// Nothing stands in the package that XML cannot express.
    clean: bool,
}

const TEXTS: [&str; 14] = [
    "bell\u{7} rings",
    "é and bell\u{1}",
    "",
    "plain",
    "a & b <c> \"d\" 'e'",
    "tab\there",
    "line\nbreak\n\n  indented",
    "cr\r\nlf\r",
    "é ü 日本語",
    "delete\u{7f}",
    "trailing   ",
    "]]> &amp; &#13;",
    "\u{85}\u{a0}\u{feff}",
    "emoji 😀",
];
/// How many of them XML cannot express; they come first.
const DIRTY: usize = 2;
const NAMES: [&str; 22] = [
    "glib",
    "libc.so.6()(64bit)",
    "libc.so.6(GLIBC_2.2.5)(64bit)",
    "libc.so.6(GLIBC_2.34)",
    "libc.so.6(GLIBC_2.4)(64bit)",
    "libc.so.6(GLIBC_2.34)(64bit)",
    "libc.so.6(GLIBC_PRIVATE)(64bit)",
    "libc.so.6(GLIBC_ABI_DT_RELR)",
    "libc.so.6(GLIBC_2.35a)",
    "libc.so.6(",
    "libc.so.6",
    "rpmlib(CompressedFileNames)",
    "/etc/own.conf",
    "/usr/bin/own",
    "/usr/share/own/data",
    "/bin/sh",
    "(a >= 1 if b)",
    "é-name",
    "a\"b<c>",
    "tab\tname",
    "",
    "zlib",
];
const VERSIONS: [&str; 15] = [
    "", "1", "1-2", "3:1-2", ":1-2", "x:1", "-1:2", " 5:1", "1:", "1-", "1-2-3", "1:2:3", "~1^2", "é:1",
    "+3:4-5",
];
const FLAGS: [u32; 16] = [
    0,
    2,
    4,
    8,
    10,
    12,
    6,
    14,
    8 | 1 << 6,
    1 << 9,
    12 | 1 << 10,
    1 << 11,
    8 | 1 << 14,
    1 << 19,
    8 | 1 << 19,
    1 << 27,
];
const DIRECTORIES: [&str; 10] = [
    "/etc/",
    "/usr/bin/",
    "/usr/lib/",
    "/usr/share/own/",
    "/opt/x/sbin/y/",
    "/usr/share/dir with space/",
    "/usr/share/<&>\"/",
    "/é/",
    "/",
    "",
];
const FILES: [&str; 9] = ["own.conf", "own", "data", "sendmail", "a b", "q\"&<>", "é\t", "x\nbin/", ""];
const MODES: [u16; 5] = [0o100_644, 0o040_755, 0o120_777, 0o140_755, 0o020_600];

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }

    fn text(&mut self) -> &'static str {
        let texts = if self.clean { &TEXTS[DIRTY..] } else { &TEXTS[..] };
        texts[self.roll(texts.len())]
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.roll(4) > 0).then(|| make(self))
    }

    /// Between none and `most`.
    fn several<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.roll(most + 1)).map(|_| make(self)).collect()
    }
}

fn strings(list: &[&str]) -> Option<IndexData> {
    (!list.is_empty()).then(|| IndexData::StringArray(list.iter().map(|text| (*text).to_owned()).collect()))
}

/// The tags of a package, and what they get; `None` for those it has not.
fn tags(dice: &mut Dice) -> Vec<(IndexTag, Option<IndexData>)> {
    let text = |dice: &mut Dice| dice.maybe(|dice| IndexData::StringTag(dice.text().to_owned()));
    let translated = |dice: &mut Dice| dice.maybe(|dice| IndexData::I18NString(vec![dice.text().to_owned()]));
    let number = |dice: &mut Dice| {
        dice.maybe(|dice| IndexData::Int32(vec![u32::try_from(dice.roll(1 << 31)).unwrap()]))
    };
    let long = |dice: &mut Dice| dice.maybe(|dice| IndexData::Int64(vec![dice.roll(1 << 40) as u64]));
    let mut tags = vec![
        (IndexTag::RPMTAG_SUMMARY, translated(dice)),
        (IndexTag::RPMTAG_DESCRIPTION, translated(dice)),
        (IndexTag::RPMTAG_GROUP, translated(dice)),
        (IndexTag::RPMTAG_URL, text(dice)),
        (IndexTag::RPMTAG_VENDOR, text(dice)),
        (IndexTag::RPMTAG_PACKAGER, text(dice)),
        (IndexTag::RPMTAG_BUILDHOST, text(dice)),
        (IndexTag::RPMTAG_LICENSE, text(dice)),
        (IndexTag::RPMTAG_SOURCERPM, Some(IndexData::StringTag("own-1-1.src.rpm".into()))),
        (IndexTag::RPMTAG_EPOCH, number(dice)),
        (IndexTag::RPMTAG_BUILDTIME, number(dice)),
        (IndexTag::RPMTAG_SIZE, number(dice)),
        (IndexTag::RPMTAG_ARCHIVESIZE, number(dice)),
        (IndexTag::RPMTAG_LONGSIZE, long(dice)),
    ];
    for (names, flags, versions) in [
        (IndexTag::RPMTAG_PROVIDENAME, IndexTag::RPMTAG_PROVIDEFLAGS, IndexTag::RPMTAG_PROVIDEVERSION),
        (IndexTag::RPMTAG_REQUIRENAME, IndexTag::RPMTAG_REQUIREFLAGS, IndexTag::RPMTAG_REQUIREVERSION),
        (IndexTag::RPMTAG_CONFLICTNAME, IndexTag::RPMTAG_CONFLICTFLAGS, IndexTag::RPMTAG_CONFLICTVERSION),
        (IndexTag::RPMTAG_OBSOLETENAME, IndexTag::RPMTAG_OBSOLETEFLAGS, IndexTag::RPMTAG_OBSOLETEVERSION),
        (IndexTag::RPMTAG_SUGGESTNAME, IndexTag::RPMTAG_SUGGESTFLAGS, IndexTag::RPMTAG_SUGGESTVERSION),
        (IndexTag::RPMTAG_ENHANCENAME, IndexTag::RPMTAG_ENHANCEFLAGS, IndexTag::RPMTAG_ENHANCEVERSION),
        (IndexTag::RPMTAG_RECOMMENDNAME, IndexTag::RPMTAG_RECOMMENDFLAGS, IndexTag::RPMTAG_RECOMMENDVERSION),
        (
            IndexTag::RPMTAG_SUPPLEMENTNAME,
            IndexTag::RPMTAG_SUPPLEMENTFLAGS,
            IndexTag::RPMTAG_SUPPLEMENTVERSION,
        ),
        (
            IndexTag::RPMTAG_OLDSUGGESTSNAME,
            IndexTag::RPMTAG_OLDSUGGESTSFLAGS,
            IndexTag::RPMTAG_OLDSUGGESTSVERSION,
        ),
        (
            IndexTag::RPMTAG_OLDENHANCESNAME,
            IndexTag::RPMTAG_OLDENHANCESFLAGS,
            IndexTag::RPMTAG_OLDENHANCESVERSION,
        ),
    ] {
        let list = dice.several(8, |dice| (dice.pick(&NAMES), dice.pick(&FLAGS), dice.pick(&VERSIONS)));
        tags.push((names, strings(&list.iter().map(|(name, ..)| *name).collect::<Vec<_>>())));
        let numbers: Vec<u32> = list.iter().map(|(_, flags, _)| *flags).collect();
        tags.push((flags, (!list.is_empty()).then_some(IndexData::Int32(numbers))));
        tags.push((versions, strings(&list.iter().map(|(.., version)| *version).collect::<Vec<_>>())));
    }
    tags.extend(files(dice));
    tags.extend(changelog(dice));
    tags
}

fn files(dice: &mut Dice) -> Vec<(IndexTag, Option<IndexData>)> {
    let list = dice.several(12, |dice| (dice.pick(&DIRECTORIES), dice.pick(&FILES)));
    let some = !list.is_empty();
    // rpm takes a header for damaged that names more directories than files.
    let directories: Vec<&str> =
        list.iter().map(|(directory, _)| *directory).collect::<BTreeSet<_>>().into_iter().collect();
    let index_of = |directory: &str| directories.iter().position(|other| *other == directory).unwrap();
    let mut numbers = |most: usize| list.iter().map(|_| dice.roll(most)).collect::<Vec<_>>();
    let (flags, modes) = (numbers(256), numbers(MODES.len()));
    let flags = flags.into_iter().map(|flags| u32::try_from(flags).unwrap()).collect();
    let modes = modes.into_iter().map(|mode| MODES[mode]).collect();
    let indexes = list.iter().map(|(directory, _)| u32::try_from(index_of(directory)).unwrap()).collect();
    vec![
        (IndexTag::RPMTAG_BASENAMES, strings(&list.iter().map(|(_, name)| *name).collect::<Vec<_>>())),
        (IndexTag::RPMTAG_DIRNAMES, strings(&directories)),
        (IndexTag::RPMTAG_DIRINDEXES, some.then_some(IndexData::Int32(indexes))),
        (IndexTag::RPMTAG_FILEFLAGS, some.then_some(IndexData::Int32(flags))),
        (IndexTag::RPMTAG_FILEMODES, some.then_some(IndexData::Int16(modes))),
    ]
}

fn changelog(dice: &mut Dice) -> Vec<(IndexTag, Option<IndexData>)> {
    let list = dice.several(14, |dice| {
        let time = 1_700_000_000 + u32::try_from(dice.roll(3)).unwrap();
        (time, ["Ada", dice.text()].concat(), dice.text())
    });
    let times = list.iter().map(|(time, ..)| *time).collect();
    vec![
        (IndexTag::RPMTAG_CHANGELOGTIME, (!list.is_empty()).then_some(IndexData::Int32(times))),
        (
            IndexTag::RPMTAG_CHANGELOGNAME,
            strings(&list.iter().map(|(_, name, _)| name.as_str()).collect::<Vec<_>>()),
        ),
        (IndexTag::RPMTAG_CHANGELOGTEXT, strings(&list.iter().map(|(.., text)| *text).collect::<Vec<_>>())),
    ]
}

fn package(dice: &mut Dice, name: &str) -> Vec<u8> {
    let mut builder = PackageBuilder::new(name, "1", "MIT", "noarch", "s");
    let config = BuildConfig::v4().source_date(1_700_000_000_u32).compression(CompressionWithLevel::Gzip(1));
    builder.using_config(config).release("1");
    let mut package = builder.build().unwrap();
    let changed = tags(dice);
    let kept = package.metadata.header.get_all_entries().unwrap().into_iter().filter(|(tag, _)| {
        *tag != u32::from(IndexTag::RPMTAG_HEADERIMMUTABLE)
            && !changed.iter().any(|(other, _)| u32::from(*other) == *tag)
    });
    let new = changed.iter().filter_map(|(tag, data)| Some((u32::from(*tag), data.clone()?)));
    let entries: Vec<HeaderEntry> = kept.chain(new).map(|(tag, data)| HeaderEntry::new(tag, data)).collect();
    package.metadata.header = Header::from_entries(entries, IndexTag::RPMTAG_HEADERIMMUTABLE);
    let header = package.metadata.header_bytes().unwrap();
    package.metadata.signature = SignatureHeaderBuilder::new()
        .format(RpmFormat::V4)
        .set_content_length((header.len() + package.payload.len()) as u64)
        .calculate_digests(&header)
        .build()
        .unwrap();
    let mut bytes = Vec::new();
    package.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn createrepo_says_the_same_whatever_stands_in_a_header() {
    let seeds =
        std::env::var("GRANGE_FRAGMENT_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(300);
    let dir = tempfile::tempdir().unwrap();
    for seed in 1..=seeds {
        let name = format!("own{seed}");
        let bytes = package(&mut Dice { state: seed, clean: seed % 8 > 0 }, &name);
        std::fs::write(dir.path().join(format!("{name}-1-1.noarch.rpm")), bytes).unwrap();
    }
    assert!(agrees(dir.path()) as u64 >= seeds * 7 / 8);
}

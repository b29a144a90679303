//! Packages of which metadata has as much to say as of a distribution's, for `dev/bench`.

use rpm::{BuildConfig, CompressionWithLevel, Dependency, FileOptions, PackageBuilder, Timestamp};

/// What a typical package of a distribution has.
const FILES: usize = 30;
const REQUIRES: usize = 12;
const CHANGES: usize = 12;

/// A small package with everything the metadata of a large one has. Equal numbers give equal packages, others others.
///
/// # Errors
/// When rpm does not allow it.
pub fn typical_package(number: usize) -> anyhow::Result<Vec<u8>> {
    let name = format!("{}-{}{number}", word(number), word(number / 7 + 3));
    let summary = format!("The {} that makes {} {}", word(number + 1), word(number + 2), word(number + 3));
    let mut builder = PackageBuilder::new(&name, "1.2.3", "GPL-2.0-or-later AND MIT", "x86_64", &summary);
    let built = 1_700_000_000 + u32::try_from(number)?;
    let config = BuildConfig::v4().source_date(built).compression(CompressionWithLevel::Gzip(1));
    let text: Vec<&str> = (0..60).map(|at| word(number * 31 + at * 17)).collect();
    builder
        .using_config(config)
        .release("4.el9s")
        .description(text.join(" "))
        .url(format!("https://example.org/{name}"))
        .vendor("CentOS SIGs")
        .group("Unspecified")
        .build_host("builder.example.org");
    for at in 0..FILES {
        let file = match at {
            0 => format!("/usr/bin/{name}"),
            1 => format!("/etc/{name}.conf"),
            _ => format!("/usr/share/{name}/{}/{}-{at}.txt", word(number + at % 4), word(number * 13 + at)),
        };
        builder.with_file_contents(format!("{name} {at}\n"), FileOptions::new(file).permissions(0o644))?;
    }
    for at in 0..REQUIRES {
        let other = word(number * 7 + at * 5);
        builder.requires(match at % 3 {
            0 => Dependency::any(format!("lib{other}.so.{at}()(64bit)")),
            1 => Dependency::greater_eq(format!("{other}-libs"), format!("1.{at}-2")),
            _ => Dependency::any(format!("/usr/bin/{other}")),
        });
    }
    builder.provides(Dependency::any(format!("lib{name}.so.1()(64bit)")));
    for at in 0..CHANGES {
        let when = Timestamp::from(built - u32::try_from(at)? * 86_400 * 30);
        let entry = format!("- {} the {} of {}", word(at * 3), word(number + at), word(number * 3 + at));
        builder.add_changelog_entry("Ada Lovelace <ada@example.org> - 1.2.3-4", entry, when);
    }
    let mut bytes = Vec::new();
    builder.build()?.write(&mut bytes)?;
    Ok(bytes)
}

/// One of some hundred words, so that text is as compressible as text.
fn word(number: usize) -> &'static str {
    const WORDS: &str = "archive buffer cluster daemon editor filter gateway handler index journal kernel library mapper \
        network object parser queue router server thread update vector window xerox yield zone anchor binding cache driver \
        engine format graph header image job key layer module node option packet query record socket table unit value \
        worker array block client device event frame group host item kit link mount name output path quota region sample \
        token user view wrapper atom bridge codec dialog entity field grid hook input joiner knot list mixer notifier owner \
        pool quick reader store timer upload virtual writer";
    let count = WORDS.split_ascii_whitespace().count();
    WORDS.split_ascii_whitespace().nth(number.wrapping_mul(2_654_435_761) / 64 % count).unwrap_or("word")
}

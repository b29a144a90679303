//! Which files of the lookaside a dist-git repo names: the three formats there are.

use crate::lookaside::{HashKind, is_source_file};

/// One file that is in the lookaside, not in git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRef {
    /// Its name, one path segment.
    pub file: String,
    /// How it is named.
    pub hash: HashKind,
    /// Its hash in lower case.
    pub hex: String,
}

/// A list of sources that cannot be trusted to mean one thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSources {
    /// A line in no known format.
    #[error("line {line} of `{list}` is `{text}`; expected {expected}")]
    Line {
        /// The file with the list.
        list: String,
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
        /// What it could be.
        expected: &'static str,
    },
    /// A value that is no hash of its kind.
    #[error("line {line} of `{list}`: `{value}` is not a {kind} value; expected {} hexadecimal digits", kind.digits())]
    Hash {
        /// The file with the list.
        list: String,
        /// Counted from 1.
        line: usize,
        /// What was given.
        value: String,
        /// What it was said to be.
        kind: HashKind,
    },
    /// A name that could leave its folder or confuse a tool.
    #[error(
        "line {line} of `{list}`: `{name}` is not a source file's name; use letters, digits and ._+-~^@%,=#:, not beginning with `.` or `-`"
    )]
    Name {
        /// The file with the list.
        list: String,
        /// Counted from 1.
        line: usize,
        /// What was given.
        name: String,
    },
    /// Two kinds of hashes in one list.
    #[error("`{list}` mixes {0} and {1} values; upload the sources again so that all have {1} values", kinds.0, kinds.1)]
    Mixed {
        /// The file with the list.
        list: String,
        /// The kinds, the weaker one first.
        kinds: (HashKind, HashKind),
    },
    /// One file with two contents.
    #[error("`{list}` names {file} twice with different hashes; keep the line of the right one")]
    TwoHashes {
        /// The file with the list.
        list: String,
        /// The file.
        file: String,
    },
}

const SOURCES_LINE: &str = "`SHA512 (file.tar.gz) = <hash>` or `<md5>  file.tar.gz`";
const METADATA_LINE: &str = "`<hash> SOURCES/file.tar.gz`";

/// Reads `sources`: `SHA512 (file.tar.gz) = <hex>`, or the older `<md5>  file.tar.gz`. Empty lines do not count.
///
/// # Errors
/// [`BadSources`], naming the line.
pub fn parse_sources(text: &str) -> Result<Vec<SourceRef>, BadSources> {
    let mut reader = Reader { list: "sources", refs: Vec::new() };
    for (index, line) in numbered(text) {
        match bsd_style(line) {
            Some((kind, file, value)) => match kind.parse() {
                Ok(kind) => reader.add(index, kind, value, file)?,
                Err(_) => return Err(reader.bad_line(index, line, SOURCES_LINE)),
            },
            None => match line.split_once("  ") {
                Some((value, file)) => reader.add(index, HashKind::Md5, value, file)?,
                None => return Err(reader.bad_line(index, line, SOURCES_LINE)),
            },
        }
    }
    Ok(reader.refs)
}

/// Reads `.<package>.metadata`: `<hex> SOURCES/file.tar.gz`, where the number of digits says the kind of hash. `list` is
/// the file's name. Empty lines and lines beginning with `#` do not count.
///
/// # Errors
/// [`BadSources`], naming the line.
pub fn parse_metadata(list: &str, text: &str) -> Result<Vec<SourceRef>, BadSources> {
    let mut reader = Reader { list, refs: Vec::new() };
    for (index, line) in numbered(text).filter(|(_, line)| !line.starts_with('#')) {
        let parts = line.split_once(char::is_whitespace).map(|(value, path)| (value, path.trim_start()));
        let Some((value, path)) = parts else { return Err(reader.bad_line(index, line, METADATA_LINE)) };
        let Some(kind) = HashKind::from_digits(value.len()) else {
            return Err(reader.bad_line(index, line, METADATA_LINE));
        };
        reader.add(index, kind, value, path.strip_prefix("SOURCES/").unwrap_or(path))?;
    }
    Ok(reader.refs)
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_end()))
        .filter(|(_, line)| !line.trim().is_empty())
}

/// `KIND (file) = value`
fn bsd_style(line: &str) -> Option<(&str, &str, &str)> {
    let (kind, rest) = line.split_once(" (")?;
    let (file, value) = rest.split_once(") = ")?;
    Some((kind, file, value))
}

struct Reader<'a> {
    list: &'a str,
    refs: Vec<SourceRef>,
}

impl Reader<'_> {
    fn bad_line(&self, line: usize, text: &str, expected: &'static str) -> BadSources {
        BadSources::Line { list: self.list.to_owned(), line, text: short(text), expected }
    }

    fn add(&mut self, line: usize, kind: HashKind, value: &str, file: &str) -> Result<(), BadSources> {
        let list = self.list.to_owned();
        let Some(hex) = kind.value(value) else {
            return Err(BadSources::Hash { list, line, value: short(value), kind });
        };
        if !is_source_file(file) {
            return Err(BadSources::Name { list, line, name: short(file) });
        }
        if let Some(first) = self.refs.first()
            && first.hash != kind
        {
            return Err(BadSources::Mixed { list, kinds: (first.hash.min(kind), first.hash.max(kind)) });
        }
        match self.refs.iter().find(|known| known.file == file) {
            Some(known) if known.hex != hex => Err(BadSources::TwoHashes { list, file: file.to_owned() }),
            Some(_) => Ok(()),
            None => {
                self.refs.push(SourceRef { file: file.to_owned(), hash: kind, hex });
                Ok(())
            }
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(refs: &[SourceRef]) -> Vec<(&str, HashKind, usize)> {
        refs.iter().map(|source| (source.file.as_str(), source.hash, source.hex.len())).collect()
    }

    #[test]
    fn all_three_formats_are_read() {
        let (md5, sha1, sha512) = ("A".repeat(32), "b".repeat(40), "c".repeat(128));
        let text = format!("SHA512 (hello-2.10.tar.gz) = {sha512}\n\nSHA512 (x~rc1.tar.xz) = {sha512}\n");
        assert_eq!(
            files(&parse_sources(&text).unwrap()),
            [("hello-2.10.tar.gz", HashKind::Sha512, 128), ("x~rc1.tar.xz", HashKind::Sha512, 128)]
        );
        let old = parse_sources(&format!("{md5}  hello-2.10.tar.gz\n")).unwrap();
        assert_eq!((old[0].hash, old[0].hex.as_str()), (HashKind::Md5, "a".repeat(32).as_str()));
        let text = format!("# imported\n{sha1} SOURCES/hello-2.10.tar.gz\r\n{sha1} plain.tar.gz");
        assert_eq!(
            files(&parse_metadata(".hello.metadata", &text).unwrap()),
            [("hello-2.10.tar.gz", HashKind::Sha1, 40), ("plain.tar.gz", HashKind::Sha1, 40)]
        );
        assert!(parse_sources("").unwrap().is_empty());
        let twice = format!("{md5}  a\n{md5}  a\n");
        assert_eq!(parse_sources(&twice).unwrap().len(), 1);
    }

    #[test]
    fn what_could_mean_two_things_is_refused_with_its_line() {
        let (md5, other, sha1, sha512) = ("a".repeat(32), "b".repeat(32), "b".repeat(40), "c".repeat(128));
        let cases = [
            (format!("{md5}  a\nSHA512 (b) = {sha512}"), "`sources` mixes md5 and sha512"),
            (format!("{md5}  a\n{other}  a"), "names a twice"),
            (format!("{md5}  ok\nnonsense"), "line 2 of `sources` is `nonsense`"),
            (format!("{sha1}  a"), "is not a md5 value"),
            (format!("SHA512 (a) = {md5}"), "is not a sha512 value"),
            (format!("CRC (a) = {md5}"), "expected `SHA512 (file.tar.gz) = <hash>`"),
        ];
        for (text, expected) in cases {
            let error = parse_sources(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        for name in ["../../etc/passwd", "a/b", "..", ".hidden", "-rf", "SOURCES/x"] {
            let error = parse_sources(&format!("SHA512 ({name}) = {sha512}")).unwrap_err().to_string();
            assert!(error.contains("is not a source file's name"), "{error}");
        }
        for path in ["SPECS/x", "SOURCES/../x", "SOURCES/"] {
            assert!(parse_metadata(".hello.metadata", &format!("{sha1} {path}")).is_err(), "{path}");
        }
        let mixed = format!("{sha1} SOURCES/a\n{md5} SOURCES/b");
        assert!(matches!(parse_metadata(".hello.metadata", &mixed), Err(BadSources::Mixed { .. })));
    }
}

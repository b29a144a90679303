//! The lookaside cache, in the protocol centpkg and fedpkg speak: names, hashes and form fields. Which file a package
//! has under which hash is in the ledger; the bytes are in the artifact store.

mod hashes;

use farm::nvr::is_package_name;

pub use hashes::{HashKind, Hashes, UnknownHash, hash_all};

/// What the check answers when the file is there.
pub const AVAILABLE: &str = "Available";
/// What the check answers when the file must be uploaded.
pub const MISSING: &str = "Missing";

/// Is this the name of a source file: one path segment that no shell, URL or `sources` file takes for something else?
/// Letters, digits and `._+-~^@%,=#:`, not beginning with `.` or `-`, at most 255 long.
#[must_use]
pub fn is_source_file(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._+-~^@%,=#:".contains(c))
}

/// One file of one package, as clients ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The package, without a namespace.
    pub package: String,
    /// The file.
    pub file: String,
    /// How it is named.
    pub kind: HashKind,
    /// Its hash, in lower case.
    pub hex: String,
}

/// A request the lookaside cannot make sense of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// A form field is not there.
    #[error("the form has no field `{0}`; a lookaside client sends name, <type>sum, and filename or file")]
    NoField(&'static str),
    /// A form field is there twice, or two hashes are.
    #[error("the form has more than one {0}; send exactly one")]
    Twice(&'static str),
    /// Not a package name.
    #[error("`{0}` is not a package name")]
    Package(String),
    /// Not a file name.
    #[error(
        "`{0}` is not a source file's name: expected letters, digits and ._+-~^@%,=#:, not beginning with `.` or `-`"
    )]
    File(String),
    /// An unknown kind of hash.
    #[error(transparent)]
    Kind(#[from] UnknownHash),
    /// Not a hash of the kind.
    #[error("`{value}` is not a {kind} value: expected {} hexadecimal digits", kind.digits())]
    Hash {
        /// The kind.
        kind: HashKind,
        /// What was given.
        value: String,
    },
    /// A download path names two files.
    #[error("the path names two files, `{0}` and `{1}`; it is <package>/<file>/<type>/<hash>/<file>")]
    TwoFiles(String, String),
}

impl Query {
    /// Checks the four parts. A package may come with dist-git's namespace: `rpms/hello`.
    ///
    /// # Errors
    /// [`BadQuery`], naming the part that is wrong.
    pub fn new(package: &str, file: &str, kind: HashKind, value: &str) -> Result<Self, BadQuery> {
        let short = |text: &str| text.chars().take(200).collect::<String>();
        let package = package.strip_prefix("rpms/").unwrap_or(package);
        if !is_package_name(package) {
            return Err(BadQuery::Package(short(package)));
        }
        if !is_source_file(file) {
            return Err(BadQuery::File(short(file)));
        }
        let hex = kind.value(value).ok_or_else(|| BadQuery::Hash { kind, value: short(value) })?;
        Ok(Self { package: package.to_owned(), file: file.to_owned(), kind, hex })
    }

    /// Reads the text fields of a check or an upload: `name`, one `<type>sum`, and `filename`. An upload has no
    /// `filename`: there it is the name of the `file` part, given as `uploaded`. Other fields (`mtime`) are ignored.
    ///
    /// # Errors
    /// [`BadQuery`], naming the field that is missing or wrong.
    pub fn from_fields(fields: &[(String, String)], uploaded: Option<&str>) -> Result<Self, BadQuery> {
        let package = single(fields, "name")?.ok_or(BadQuery::NoField("name"))?;
        let file = match uploaded {
            Some(file) => file,
            None => single(fields, "filename")?.ok_or(BadQuery::NoField("filename"))?,
        };
        let mut sums =
            fields.iter().filter_map(|(key, value)| key.strip_suffix("sum").map(|kind| (kind, value)));
        let (kind, value) = sums.next().ok_or(BadQuery::NoField("<type>sum"))?;
        if sums.next().is_some() {
            return Err(BadQuery::Twice("hash"));
        }
        Self::new(package, file, kind.parse()?, value)
    }

    /// Reads the five parts of a download path: `<package>/<file>/<type>/<hash>/<file>`.
    ///
    /// # Errors
    /// [`BadQuery`], naming the part that is wrong.
    pub fn from_path(
        package: &str,
        file: &str,
        kind: &str,
        value: &str,
        again: &str,
    ) -> Result<Self, BadQuery> {
        let query = Self::new(package, file, kind.parse()?, value)?;
        if again != file {
            return Err(BadQuery::TwoFiles(query.file, again.chars().take(200).collect()));
        }
        Ok(query)
    }

    /// The path it is downloaded from, below the lookaside's address. The file name is not percent-encoded.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}/{}/{}/{}", self.package, self.file, self.kind, self.hex, self.file)
    }
}

fn single<'a>(fields: &'a [(String, String)], key: &'static str) -> Result<Option<&'a str>, BadQuery> {
    let mut values = fields.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let first = values.next();
    if values.next().is_some() { Err(BadQuery::Twice(key)) } else { Ok(first) }
}

#[cfg(test)]
mod tests;

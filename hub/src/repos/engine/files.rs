//! A package's files, as repository metadata has them.

use rpm::IndexTag;

use super::header::Header;
use crate::rpms::RpmError;

/// The bits of a mode that say what a file is, and those of a directory.
const MODE_KIND: u64 = 0o170_000;
const MODE_DIRECTORY: u64 = 0o040_000;
/// The flag of a file that the package owns but does not bring.
const GHOST: u64 = 1 << 6;

/// One file of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct File<'a> {
    directory: &'a [u8],
    name: &'a [u8],
    /// `dir`, `ghost`, or `None` for any other.
    pub(super) kind: Option<&'static str>,
}

impl File<'_> {
    /// Its full path; of a source package's file its name.
    pub(super) fn path(&self) -> Vec<u8> {
        [self.directory, self.name].concat()
    }
}

/// Every file of a package, in the order of its header.
///
/// # Errors
/// [`RpmError::NotRpm`] when a file is in a directory that the header does not name.
pub(super) fn files<'a>(header: &Header<'a>) -> Result<Vec<File<'a>>, RpmError> {
    let (Some(names), Some(indexes), Some(flags), Some(modes)) = (
        header.texts(IndexTag::RPMTAG_BASENAMES),
        header.numbers(IndexTag::RPMTAG_DIRINDEXES),
        header.numbers(IndexTag::RPMTAG_FILEFLAGS),
        header.numbers(IndexTag::RPMTAG_FILEMODES),
    ) else {
        return Ok(Vec::new());
    };
    let directories = header.texts(IndexTag::RPMTAG_DIRNAMES).unwrap_or_default();
    let directory = |index: u64| {
        let known = usize::try_from(index).ok().and_then(|index| directories.get(index).copied());
        known.ok_or_else(|| {
            RpmError::NotRpm(format!("a file of it is in directory {index}, which it does not name"))
        })
    };
    names
        .into_iter()
        .zip(indexes)
        .zip(flags.into_iter().zip(modes))
        .map(|((name, index), (flags, mode))| {
            let kind = if mode & MODE_KIND == MODE_DIRECTORY {
                Some("dir")
            } else if flags & GHOST > 0 {
                Some("ghost")
            } else {
                None
            };
            Ok(File { directory: directory(index)?, name, kind })
        })
        .collect()
}

/// Is a file one that packages may require by its path without more than the primary metadata?
pub(super) fn is_primary(path: &[u8]) -> bool {
    path.starts_with(b"/etc/")
        || path == b"/usr/lib/sendmail"
        || path.windows(b"bin/".len()).any(|part| part == b"bin/")
}

//! `repomd.xml`: the list of a repo's metadata, which clients fetch first.

use std::fmt::Write as _;

use super::Written;

/// One file of metadata.
pub(super) struct Record {
    /// `primary`, `filelists`, …
    pub(super) kind: &'static str,
    /// The file.
    pub(super) file: Written,
    /// Bytes it has when it is unpacked.
    ///
    /// Its checksum when unpacked is left out: no client asks for it, and to know it everything would have to be unpacked
    /// and hashed whenever one package changes.
    pub(super) open_size: u64,
}

/// The text of `repomd.xml` for a repo that was made at `revision`, in milliseconds.
pub(super) fn text(revision: i64, records: &[Record]) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <repomd xmlns=\"http://linux.duke.edu/metadata/repo\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n",
    );
    let seconds = revision.div_euclid(1000);
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  <revision>{revision}</revision>");
    for Record { kind, file: Written { name, digest, size }, open_size } in records {
        let digest = digest.as_str();
        let _ = write!(
            out,
            "  <data type=\"{kind}\">\n    \
             <checksum type=\"sha256\">{digest}</checksum>\n    \
             <location href=\"repodata/{name}\"/>\n    \
             <timestamp>{seconds}</timestamp>\n    \
             <size>{size}</size>\n    \
             <open-size>{open_size}</open-size>\n  \
             </data>\n"
        );
    }
    out.push_str("</repomd>\n");
    out
}

//! Where clients find what a repo shows now, as a metalink: the checksum of its `repomd.xml`, and addresses of it that never
//! show anything else.
//!
//! A client that reads a moving address may get a list from before a move and a signature from after it. Here it gets one
//! snapshot or the next, however slow its line is. And since no older list is named beside the present one, nobody between
//! client and farm can show it an older repo that was signed once.

use std::io;
use std::path::{Component, Path};

use farm::digest::Digest;
use quick_xml::escape::escape;

use super::manifest::is_folder;
use super::publish::SnapshotTree;
use super::repomd::Repomd;

/// The preference of the first address; those that follow are preferred less.
const FIRST: usize = 100;

/// May this be the address of a mirror: by http or https, and with nothing at its end that a path could not follow?
#[must_use]
pub fn is_base(address: &str) -> bool {
    let parsed = url::Url::parse(address);
    parsed.is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
    }) && !address.ends_with('/')
        && !address.contains(char::is_whitespace)
}

/// The metalink of one folder (`x86_64`, `debug-x86_64`, `source`) of what a tag of this tree shows. `None` when nothing was
/// ever published there. `bases` are the addresses at which the tree's root is served, the preferred one first.
///
/// It reads files: call it on a blocking thread.
///
/// # Errors
/// When the disk fails, or what is live cannot be read.
pub fn metalink(
    tree: &SnapshotTree,
    tag: &str,
    folder: &str,
    bases: &[String],
) -> io::Result<Option<String>> {
    // Both are what a stranger asks for.
    let is_name = Path::new(tag).components().eq([Component::Normal(tag.as_ref())]);
    if !is_name || !is_folder(folder) {
        return Ok(None);
    }
    let Some(live) = tree.live(tag) else { return Ok(None) };
    // What is live is not removed while it is, nor for long after.
    let bytes = match std::fs::read(tree.dir(live).join(folder).join("repodata/repomd.xml")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let revision = Repomd::read(&bytes)?.revision;
    let mut urls = String::new();
    for (place, base) in bases.iter().enumerate() {
        let protocol = base.split_once(':').map_or("http", |(protocol, _)| protocol);
        let preference = FIRST.saturating_sub(place).max(1);
        urls.push_str(&format!(
            "    <url protocol=\"{protocol}\" type=\"{protocol}\" preference=\"{preference}\">{base}/snap/{live}/{folder}/repodata/repomd.xml</url>\n",
            base = escape(base.trim_end_matches('/')),
        ));
    }
    Ok(Some(format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\" xmlns:mm0=\"http://fedorahosted.org/mirrormanager\" \
         type=\"dynamic\" generator=\"grange\">\n \
         <files>\n  \
         <file name=\"repomd.xml\">\n   \
         <mm0:timestamp>{timestamp}</mm0:timestamp>\n   \
         <size>{size}</size>\n   \
         <verification>\n    \
         <hash type=\"sha256\">{digest}</hash>\n   \
         </verification>\n   \
         <resources maxconnections=\"1\">\n\
         {urls}   \
         </resources>\n  \
         </file>\n \
         </files>\n\
         </metalink>\n",
        timestamp = revision.div_euclid(1000),
        size = bytes.len(),
        digest = Digest::of(&bytes),
    )))
}

#[cfg(test)]
mod tests;

//! Reading a repo's filelists, as a stream: they are never in memory as a whole.

use std::collections::HashMap;
use std::io::{self, Read};

use quick_xml::events::Event;

use super::compressed;
use super::data::Package;
use super::xml::{append, attribute, each_event, hash};

/// Bytes filelists may have, decompressed. They are only read through.
const LARGEST_FILELISTS: u64 = 8 << 30;

/// Fills in which packages have the files that are the keys of `wanted`.
pub(super) fn owners_in(
    filelists: impl Read,
    packages: &[Package],
    wanted: &mut HashMap<Box<str>, Vec<u32>>,
) -> io::Result<()> {
    let by_id: HashMap<u64, u32> = packages.iter().map(|package| package.pkgid).zip(0..).collect();
    let (mut current, mut text) = (None, String::new());
    each_event(compressed::open(filelists, LARGEST_FILELISTS)?, "filelists", |event| {
        match event {
            Event::Start(tag) => match tag.name().as_ref() {
                "package" => {
                    current = attribute(tag, "pkgid")?.and_then(|id| by_id.get(&hash(id.as_str())).copied());
                }
                "file" => text.clear(),
                _ => {}
            },
            Event::End(tag) if tag.name().as_ref() == "file" => {
                if let (Some(package), Some(owners)) = (current, wanted.get_mut(text.as_str())) {
                    owners.push(package);
                }
            }
            Event::End(_) | Event::Empty(_) => {}
            other => append(&mut text, other),
        }
        Ok(())
    })
}

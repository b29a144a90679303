//! The revision that a repo's metadata names: clients and mirrors take what has a higher one for newer, so no signed one falls.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::trouble::Trouble;

/// Where `revision` is: right below the root.
const DEPTH: usize = 2;

/// Holds the revision that `repomd.xml` names against what it should be.
///
/// # Errors
/// [`Trouble::Refused`] when it names none, more than one, another one, or one that could be read in two ways.
pub fn match_revision(folder: &str, repomd: &[u8], expected: i64) -> Result<(), Trouble> {
    let unclear = || Trouble::refused(format!("the metadata of {folder} names no single revision"));
    let mut reader = Reader::from_reader(repomd);
    let (mut depth, mut is_open, mut found) = (0_usize, false, None::<String>);
    loop {
        let event = reader.read_event();
        match event.map_err(|error| Trouble::refused(format!("repomd.xml: {error}")))? {
            Event::Start(_) | Event::Empty(_) | Event::CData(_) | Event::GeneralRef(_) if is_open => {
                return Err(unclear());
            }
            Event::Start(tag) => {
                depth += 1;
                if tag.local_name().as_ref() == "revision" {
                    if depth != DEPTH || found.is_some() {
                        return Err(unclear());
                    }
                    (is_open, found) = (true, Some(String::new()));
                }
            }
            Event::Empty(tag) if tag.local_name().as_ref() == "revision" => return Err(unclear()),
            Event::Text(text) if is_open => found.get_or_insert_default().push_str(&text),
            Event::End(_) => (depth, is_open) = (depth.saturating_sub(1), false),
            Event::Eof => break,
            Event::Empty(_)
            | Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_) => {}
        }
    }
    match found {
        Some(named) if named == expected.to_string() => Ok(()),
        Some(named) => {
            let named: String = named.chars().take(40).collect();
            Err(Trouble::refused(format!(
                "the metadata of {folder} has revision `{named}`, and that of the snapshot is {expected}"
            )))
        }
        None => Err(unclear()),
    }
}

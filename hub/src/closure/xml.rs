//! What reading any of a repo's indexes takes.

use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, BufRead};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Calls `take` with every event, and makes sure that the document ends as it should.
pub(super) fn each_event(
    xml: impl BufRead,
    root: &str,
    mut take: impl FnMut(&Event<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = Reader::from_reader(xml);
    let (mut buffer, mut complete) = (Vec::new(), false);
    loop {
        let event = reader.read_event_into(&mut buffer).map_err(io::Error::other)?;
        match &event {
            Event::Eof => break,
            Event::End(tag) if tag.name().as_ref() == root => complete = true,
            Event::Empty(tag) if tag.name().as_ref() == root => complete = true,
            event => take(event)?,
        }
        buffer.clear();
    }
    if complete { Ok(()) } else { Err(broken(&format!("it is no index called <{root}>, or cut off"))) }
}

/// Adds what an event says to the text of an element.
pub(super) fn append(text: &mut String, event: &Event<'_>) {
    match event {
        Event::Text(part) => text.push_str(part),
        Event::CData(part) => text.push_str(part),
        Event::GeneralRef(name) => match name.resolve_char_ref() {
            Ok(Some(letter)) => text.push(letter),
            Ok(None) | Err(_) => {
                let meant = quick_xml::escape::resolve_predefined_entity(name);
                text.push_str(meant.unwrap_or_default());
            }
        },
        Event::Start(_)
        | Event::End(_)
        | Event::Empty(_)
        | Event::Comment(_)
        | Event::Decl(_)
        | Event::PI(_)
        | Event::DocType(_)
        | Event::Eof => {}
    }
}

/// The value of an attribute, if it has it.
pub(super) fn attribute(tag: &BytesStart<'_>, name: &str) -> io::Result<Option<String>> {
    let Some(found) = tag.try_get_attribute(name).map_err(io::Error::other)? else { return Ok(None) };
    let value = found.normalized_value(XmlVersion::Implicit1_0).map_err(io::Error::other)?;
    Ok(Some(value.into_owned()))
}

/// What is wrong with a file.
pub(super) fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// A number that is another for something else.
pub(super) fn hash(what: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

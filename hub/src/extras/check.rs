//! Is a file what clients take it for? XML is read to its end. Of YAML, for which the farm has no reader, only the frame is looked
//! at: that it is a sequence of documents in block style that say they are modulemd. dnf has the last word, in the SIG's suites.

use farm::extras::ExtraKind;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Elements within elements; what is nested deeper is no list of groups or advisories.
const DEEPEST: usize = 64;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The line, counted from 1, where that is known.
    pub(super) line: Option<usize>,
    /// What it is.
    pub(super) what: String,
}

/// Is it a file of this kind?
pub(super) fn check(kind: ExtraKind, bytes: &[u8]) -> Result<(), Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        wrong(bytes, error.valid_up_to(), "it is not UTF-8 text; save it as that".to_owned())
    })?;
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if let Some((position, found)) = text.char_indices().find(|(_, c)| is_control(*c)) {
        return Err(wrong(
            bytes,
            position,
            format!("it has the control character U+{:04X}", u32::from(found)),
        ));
    }
    match kind {
        ExtraKind::Group => xml(text, "comps"),
        ExtraKind::Updateinfo => xml(text, "updates"),
        ExtraKind::Modules => modules(text),
    }
}

fn wrong(bytes: &[u8], position: usize, what: String) -> Wrong {
    let before = &bytes[..position.min(bytes.len())];
    Wrong { line: Some(before.iter().filter(|byte| **byte == b'\n').count() + 1), what }
}

/// Is it one well-formed document with this root?
fn xml(text: &str, root: &str) -> Result<(), Wrong> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let (mut depth, mut roots) = (0_usize, 0_usize);
    loop {
        let begin = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let fail = |what: String| Err(wrong(text.as_bytes(), begin, what));
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => {
                let position = usize::try_from(reader.error_position()).unwrap_or(usize::MAX);
                return Err(wrong(text.as_bytes(), position, format!("it is no well-formed XML: {error}")));
            }
        };
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                if let Err(what) = attributes(tag) {
                    return fail(what);
                }
                if depth == 0 {
                    roots += 1;
                    if roots > 1 {
                        return fail("it goes on behind its end".to_owned());
                    }
                    let found = tag.name().as_ref().to_owned();
                    if found != root {
                        return fail(format!("it begins with <{found}>, not with <{root}>"));
                    }
                }
                depth += usize::from(matches!(event, Event::Start(_)));
                if depth > DEEPEST {
                    return fail(format!("it has more than {DEEPEST} elements within each other"));
                }
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(part) if depth == 0 && !part.trim().is_empty() => {
                return fail("it has text outside its root".to_owned());
            }
            Event::CData(_) if depth == 0 => return fail("it has text outside its root".to_owned()),
            Event::GeneralRef(name) => {
                let is_known = match name.resolve_char_ref() {
                    Ok(Some(_)) => true,
                    Ok(None) => resolve_predefined_entity(name).is_some(),
                    Err(_) => false,
                };
                if !is_known || depth == 0 {
                    return fail(
                        "it has an entity that XML itself does not define; write the letter".to_owned(),
                    );
                }
            }
            // A reader that believed what such a part says of entities would read something else than is seen here.
            Event::DocType(part) if part.contains('[') => {
                return fail("its document type defines something of its own; leave that out".to_owned());
            }
            Event::Decl(declaration) => {
                let encoding = declaration.encoding().and_then(Result::ok);
                if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("utf-8")) {
                    return fail("it says that it is not UTF-8".to_owned());
                }
            }
            Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Eof if depth > 0 => return fail("it is cut off: an element has no end".to_owned()),
            Event::Eof if roots == 0 => return fail(format!("it is empty: there is no <{root}>")),
            Event::Eof => return Ok(()),
        }
    }
}

fn attributes(tag: &BytesStart<'_>) -> Result<(), String> {
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| format!("<{}>: {error}", tag.name().as_ref()))?;
        if attribute.value.contains('<') {
            return Err(format!("<{}>: an attribute has a `<`; write `&lt;`", tag.name().as_ref()));
        }
        attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| format!("<{}>: {error}", tag.name().as_ref()))?;
    }
    Ok(())
}

/// The keys that every document of module metadata has at its top.
const KEYS: [&str; 3] = ["document", "version", "data"];

/// One document at work.
#[derive(Default)]
struct Document {
    begin: usize,
    keys: Vec<String>,
}

/// Is it a sequence of modulemd documents?
fn modules(text: &str) -> Result<(), Wrong> {
    let at = |line: usize, what: String| Err(Wrong { line: Some(line), what });
    let (mut open, mut count): (Option<Document>, usize) = (None, 0);
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end())) {
        let is_blank = line.is_empty() || line.trim_start().starts_with('#');
        if line == "---" || line == "..." {
            if let Some(document) = open.take() {
                document.finish()?;
            }
            if line == "---" {
                open = Some(Document { begin: number, keys: Vec::new() });
                count += 1;
            }
            continue;
        }
        if is_blank || (open.is_none() && line.starts_with('%')) {
            continue;
        }
        if line.trim_start_matches(' ').starts_with('\t') {
            return at(number, "it is indented with a tab; YAML takes spaces only".to_owned());
        }
        if open.is_none() && count > 0 {
            return at(number, "a document begins without `---`".to_owned());
        }
        // The first document may do without its mark.
        let document = open.get_or_insert_with(|| {
            count += 1;
            Document { begin: number, keys: Vec::new() }
        });
        if line.starts_with(' ') {
            if document.keys.is_empty() {
                return at(number, "a document begins with an indented line".to_owned());
            }
            continue;
        }
        let Some((key, value)) = line.split_once(':').filter(|(key, _)| is_key(key)) else {
            return at(number, "it is no `key: value`; write module metadata in block style".to_owned());
        };
        if document.keys.iter().any(|known| known == key) {
            return at(number, format!("`{key}` is there twice in one document"));
        }
        if key == "document" {
            let kind = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
            if !kind.starts_with("modulemd") {
                return at(number, format!("it is a document of the kind `{kind}`, not `modulemd…`"));
            }
        }
        document.keys.push(key.to_owned());
    }
    if let Some(document) = open {
        document.finish()?;
    }
    if count == 0 { Err(Wrong { line: None, what: "it has no document".to_owned() }) } else { Ok(()) }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

impl Document {
    fn finish(self) -> Result<(), Wrong> {
        match KEYS.into_iter().find(|key| !self.keys.iter().any(|known| known == key)) {
            Some(missing) => {
                Err(Wrong { line: Some(self.begin), what: format!("this document has no `{missing}`") })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <!DOCTYPE comps PUBLIC \"-//Red Hat, Inc.//DTD Comps info//EN\" \"comps.dtd\">\n<!-- ours -->\n\
        <comps>\n  <group a=\"&lt;&#65;\"><id>x</id><name>&amp; — ü</name></group>\n</comps>\n";
    const MODULES: &str = "# ours\n---\ndocument: modulemd\nversion: 2\ndata:\n  name: \"greet\"\n  description: >-\n    text: text\n\n    \
        more\n...\n---\nversion: 1\ndata: {}\ndocument: 'modulemd-defaults' # whose\n...\n";

    fn said(kind: ExtraKind, text: &[u8]) -> (Option<usize>, String) {
        let wrong = check(kind, text).unwrap_err();
        (wrong.line, wrong.what)
    }

    #[test]
    fn what_is_good_passes() {
        check(ExtraKind::Group, COMPS.as_bytes()).unwrap();
        check(ExtraKind::Updateinfo, b"<updates/>").unwrap();
        check(ExtraKind::Modules, MODULES.as_bytes()).unwrap();
        check(ExtraKind::Modules, b"document: modulemd-obsoletes\nversion: 1\ndata:\n  a: b\n").unwrap();
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, what) in [
            ("<comps>\n<group>\n</comps>\n", 3, "well-formed"),
            ("<comps>\n<group/>\n", 3, "cut off"),
            ("", 1, "empty"),
            ("<!-- only -->", 1, "empty"),
            ("\n<updates/>", 2, "<updates>, not with <comps>"),
            ("<comps/>\n<comps/>", 2, "goes on"),
            ("<comps/>\nmore", 1, "outside"),
            ("<comps>\n\n&nbsp;</comps>", 3, "entity"),
            ("<comps a='&nbsp;'/>", 1, "<comps>"),
            ("<comps a='1' a='2'/>", 1, "<comps>"),
            ("<comps a='<'/>", 1, "`<`"),
            ("<comps>& </comps>", 1, "well-formed"),
            ("<comps><!-- a -- b --></comps>", 1, "well-formed"),
            ("<!DOCTYPE comps [<!ENTITY x 'y'>]>\n<comps/>", 1, "document type"),
            ("<?xml version='1.0' encoding='latin1'?><comps/>", 1, "not UTF-8"),
            ("<comps>\n\u{1}</comps>", 2, "U+0001"),
        ] {
            let (at, said) = said(ExtraKind::Group, text.as_bytes());
            assert!(said.contains(what), "{text:?}: {said}");
            assert_eq!(at, Some(line), "{text:?}: {said}");
        }
        assert_eq!(said(ExtraKind::Group, b"<comps>\n\xff</comps>").0, Some(2));
        let deep = format!("<comps>{}", "<x>".repeat(DEEPEST));
        assert!(said(ExtraKind::Group, deep.as_bytes()).1.contains("within each other"));
        assert!(said(ExtraKind::Updateinfo, COMPS.as_bytes()).1.contains("not with <updates>"));
    }

    #[test]
    fn of_modules_the_frame_is_looked_at() {
        for (text, line, what) in [
            ("---\ndocument: modulemd\nversion: 2\n", 1, "no `data`"),
            ("---\nversion: 2\ndata: x\n", 1, "no `document`"),
            ("---\ndocument: deployment\nversion: 2\ndata: x\n", 2, "`deployment`"),
            ("---\ndocument: modulemd\nversion: 2\ndata:\n\tname: x\n", 5, "tab"),
            ("---\n{document: modulemd, version: 2, data: {}}\n", 2, "block style"),
            ("document: modulemd\nversion: 2\ndata: x\n...\nversion: 2\n", 5, "without `---`"),
            ("---\n  document: modulemd\n", 2, "indented"),
            ("---\ndocument: modulemd\ndocument: modulemd\n", 3, "twice"),
            ("<comps/>\n", 1, "block style"),
            ("---\ndocument: modulemd\nversion: 2\ndata: x\n---\n", 5, "no `document`"),
        ] {
            let (at, said) = said(ExtraKind::Modules, text.as_bytes());
            assert!(said.contains(what), "{text:?}: {said}");
            assert_eq!(at, Some(line), "{text:?}: {said}");
        }
        assert_eq!(said(ExtraKind::Modules, b"# nothing\n"), (None, "it has no document".to_owned()));
    }
}

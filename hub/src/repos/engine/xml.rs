//! Text inside XML, as libxml2 writes it for createrepo_c.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text from a header as UTF-8. What is not UTF-8 is taken for Latin-1, and what even that does not allow is left out.
pub(super) fn clean(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).unwrap_or_else(|_| {
        let allowed = |byte: &&u8| !(0x80..0xc0).contains(*byte);
        Cow::Owned(bytes.iter().filter(allowed).map(|byte| char::from(*byte)).collect())
    })
}

/// Has the text characters that XML cannot express?
pub(super) fn is_inexpressible(text: &str) -> bool {
    text.bytes().any(|byte| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r'))
}

/// Appends `<name>text</name>` on a line of its own.
pub(super) fn element(out: &mut String, indent: &str, name: &str, content: &[u8]) {
    out.push_str(indent);
    out.push('<');
    out.push_str(name);
    out.push('>');
    text(out, &clean(content));
    out.push_str("</");
    out.push_str(name);
    out.push_str(">\n");
}

/// Appends ` name="value"`.
pub(super) fn attribute(out: &mut String, name: &str, value: &[u8]) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    quoted(out, &clean(value));
    out.push('"');
}

/// Appends text between two tags.
pub(super) fn text(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            other => out.push(other),
        }
    }
}

/// Appends text between the quotes of an attribute.
pub(super) fn quoted(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            other if other.is_ascii() => out.push(other),
            // Writing to a string cannot fail.
            other => drop(write!(out, "&#x{:X};", u32::from(other))),
        }
    }
}

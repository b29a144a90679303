//! Boolean dependencies: `(a >= 1 if b)`, `(a or (b and c))`, `(a with b)` …

use super::evr::{Evr, Range, sense_of_sign};

/// Brackets within brackets that are read. rpm itself has no such bound, but reading recurses.
const DEEPEST: usize = 32;

/// What a boolean dependency says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rich<'a> {
    /// Something by this name, of these versions.
    Atom(&'a str, Range<'a>),
    /// All of them.
    And(Vec<Rich<'a>>),
    /// At least one of them.
    Or(Vec<Rich<'a>>),
    /// The first where the second is, else the third if there is one.
    If(Box<[Rich<'a>; 2]>, Option<Box<Rich<'a>>>),
    /// The first where the second is not, else the third if there is one.
    Unless(Box<[Rich<'a>; 2]>, Option<Box<Rich<'a>>>),
    /// One package that is all of these.
    With(Vec<Rich<'a>>),
    /// A package that is the first and not the second.
    Without(Box<[Rich<'a>; 2]>),
}

impl<'a> Rich<'a> {
    /// Reads one, outer brackets included. `None` when it is none.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text;
        let rich = group(&mut rest, DEEPEST)?;
        rest.trim().is_empty().then_some(rich)
    }

    /// Every name in it.
    pub(super) fn names(&self) -> Vec<&'a str> {
        let mut names = Vec::new();
        self.collect(&mut names);
        names
    }

    fn collect(&self, names: &mut Vec<&'a str>) {
        match self {
            Rich::Atom(name, _) => names.push(name),
            Rich::And(parts) | Rich::Or(parts) | Rich::With(parts) => {
                parts.iter().for_each(|part| part.collect(names));
            }
            Rich::If(pair, other) | Rich::Unless(pair, other) => {
                pair.iter().chain(other.as_deref()).for_each(|part| part.collect(names));
            }
            Rich::Without(pair) => pair.iter().for_each(|part| part.collect(names)),
        }
    }
}

fn group<'a>(rest: &mut &'a str, depth: usize) -> Option<Rich<'a>> {
    *rest = rest.trim_start().strip_prefix('(')?;
    let depth = depth.checked_sub(1)?;
    let first = operand(rest, depth)?;
    let Some(operator) = word_before_bracket(rest) else {
        *rest = rest.trim_start().strip_prefix(')')?;
        return Some(first);
    };
    let mut parts = vec![first, operand(rest, depth)?];
    let mut other = None;
    while let Some(next) = word_before_bracket(rest) {
        match (operator, next) {
            ("and" | "or" | "with", next) if next == operator => parts.push(operand(rest, depth)?),
            ("if" | "unless", "else") if other.is_none() => other = Some(Box::new(operand(rest, depth)?)),
            _ => return None,
        }
    }
    *rest = rest.trim_start().strip_prefix(')')?;
    let pair = |parts: Vec<Rich<'a>>| <[Rich<'a>; 2]>::try_from(parts).ok().map(Box::new);
    Some(match operator {
        "and" => Rich::And(parts),
        "or" => Rich::Or(parts),
        "with" => Rich::With(parts),
        "if" => Rich::If(pair(parts)?, other),
        "unless" => Rich::Unless(pair(parts)?, other),
        "without" => Rich::Without(pair(parts)?),
        _ => return None,
    })
}

/// The next word, unless the group ends here.
fn word_before_bracket<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let ahead = rest.trim_start();
    if ahead.is_empty() || ahead.starts_with(')') {
        return None;
    }
    let end = ahead.find(|c: char| c.is_whitespace() || c == '(' || c == ')').unwrap_or(ahead.len());
    let (word, after) = ahead.split_at(end);
    *rest = after;
    Some(word)
}

fn operand<'a>(rest: &mut &'a str, depth: usize) -> Option<Rich<'a>> {
    if rest.trim_start().starts_with('(') {
        return group(rest, depth);
    }
    let name = token(rest)?;
    let ahead = rest.trim_start();
    let sign_end = ahead.find(|c: char| !"<>=".contains(c)).unwrap_or(ahead.len());
    let (sign, after) = ahead.split_at(sign_end);
    if sign.is_empty() {
        return Some(Rich::Atom(name, Range::ANY));
    }
    *rest = after;
    let evr = token(rest)?;
    Some(Rich::Atom(name, Range { sense: sense_of_sign(sign)?, evr: Evr::parse(evr) }))
}

/// A name or a version: up to a space, or up to a bracket that is not its own.
fn token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let ahead = rest.trim_start();
    let mut open = 0_usize;
    let mut end = ahead.len();
    for (at, letter) in ahead.char_indices() {
        match letter {
            '(' => open += 1,
            ')' if open == 0 => {
                end = at;
                break;
            }
            ')' => open -= 1,
            _ if letter.is_whitespace() => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let (token, after) = ahead.split_at(end);
    *rest = after;
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(name: &str) -> Rich<'_> {
        Rich::Atom(name, Range::ANY)
    }

    #[test]
    fn boolean_dependencies_are_read() {
        let pair = |one, other| Box::new([one, other]);
        let at_least_2 = Rich::Atom("b", Range { sense: 6, evr: Evr::parse("2") });
        for (text, expected) in [
            ("(a)", atom("a")),
            ("(a if b >= 2)", Rich::If(pair(atom("a"), at_least_2), None)),
            (
                "(a or (b and c) or d)",
                Rich::Or(vec![atom("a"), Rich::And(vec![atom("b"), atom("c")]), atom("d")]),
            ),
            (
                "(libc.so.6()(64bit) with font(:lang=en))",
                Rich::With(vec![atom("libc.so.6()(64bit)"), atom("font(:lang=en)")]),
            ),
            ("(a unless b else c)", Rich::Unless(pair(atom("a"), atom("b")), Some(Box::new(atom("c"))))),
            ("(a without b)", Rich::Without(pair(atom("a"), atom("b")))),
        ] {
            assert_eq!(Rich::parse(text), Some(expected), "{text}");
        }
        let both = Rich::parse("(a if (b or /usr/bin/c) else d)").unwrap();
        assert_eq!(both.names(), ["a", "b", "/usr/bin/c", "d"]);
    }

    #[test]
    fn what_is_none_is_not_taken_for_one() {
        let deep = format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000));
        for bad in [
            "",
            "a",
            "(",
            "(a",
            "(a or)",
            "(a or b and c)",
            "(a if b else c else d)",
            "(a) b",
            "(a xor b)",
            &deep,
        ] {
            assert_eq!(Rich::parse(bad), None, "{bad:.40}");
        }
    }
}

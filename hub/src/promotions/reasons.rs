//! Reasons that are kept for ever, for everybody to read.

use crate::problem::{Answer, Problem};

/// Letters without which a reason says nothing.
const SHORTEST: usize = 10;
/// Letters after which it belongs elsewhere.
const LONGEST: usize = 1_000;

/// A reason as it is kept: on one line. `what` says what it is a reason for.
///
/// # Errors
/// That it is too short to say anything, or too long.
pub(super) fn reason(text: &str, what: &str) -> Answer<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let length = text.chars().count();
    if length < SHORTEST {
        return Err(Problem::invalid(
            format!("`{text}` is no reason for {what}"),
            format!("say in at least {SHORTEST} letters why: it is kept for ever, for everybody to read"),
        ));
    }
    if length > LONGEST {
        return Err(Problem::invalid(
            format!("the reason for {what} has {length} letters"),
            format!("say it in at most {LONGEST}, with a link to the rest"),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_on_one_line() {
        assert_eq!(reason("  the mirror\nwas down \n", "it").unwrap(), "the mirror was down");
        for nothing in ["", "         x         ", "because", &"x".repeat(1_001)] {
            assert!(matches!(reason(nothing, "it"), Err(Problem::Invalid { .. })), "{nothing}");
        }
    }
}

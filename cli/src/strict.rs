//! TOML read strictly: an unknown key is refused and the nearest known one is named.

use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// Reads a configuration file's text.
///
/// # Errors
/// [`Failure::Usage`] with the file, the line, what is wrong and what to do.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Failure> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
        Failure::usage(format!("{place}: {}", error.message().trim()), fix(error.message()))
    })
}

/// What to do about a message of serde's.
#[must_use]
pub(crate) fn fix(message: &str) -> String {
    nearest(message).map_or_else(|| "correct it".to_owned(), |known| format!("did you mean `{known}`?"))
}

/// For an unknown key, the nearest known one. serde's message is `` unknown field `x`, expected one of `a`, `b` ``.
fn nearest(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let given = names.next()?;
    names.min_by_key(|known| strsim::damerau_levenshtein(given, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_named() {
        let message = "unknown field `slot`, expected one of `name`, `slots`, `arches`";
        assert_eq!(fix(message), "did you mean `slots`?");
        assert_eq!(fix("invalid type: string"), "correct it");
    }
}

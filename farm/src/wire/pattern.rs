//! Topic patterns, as a topic exchange understands them.

/// Does a routing key fit a pattern? Words are separated by dots; `*` stands for one word, `#` for any number of them.
pub(super) fn fits(pattern: &str, key: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let key: Vec<&str> = key.split('.').collect();
    words_fit(&pattern, &key)
}

fn words_fit(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((&"#", rest)), _) => (0..=key.len()).any(|skipped| words_fit(rest, &key[skipped..])),
        (Some(_), None) => false,
        (Some((word, pattern)), Some((found, key))) => {
            (*word == "*" || word == found) && words_fit(pattern, key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_are_one_word_and_hashes_any_number() {
        for (pattern, key, fit) in [
            ("job.kernel.x86_64", "job.kernel.x86_64", true),
            ("job.*.x86_64", "job.kernel.x86_64", true),
            ("job.*", "job.kernel.x86_64", false),
            ("job.#", "job.kernel.x86_64", true),
            ("#", "job.kernel.x86_64", true),
            ("#.x86_64", "job.kernel.x86_64", true),
            ("#.s390x", "job.kernel.x86_64", false),
            ("*.kernel.#", "repo.kernel.noarch", true),
            ("job.#", "repo.kernel.noarch", false),
        ] {
            assert_eq!(fits(pattern, key), fit, "{pattern} {key}");
        }
    }
}

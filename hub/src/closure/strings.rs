//! Texts kept once each. The metadata of a distribution names the same sonames and packages hundreds of thousands of times.

use std::collections::HashMap;

/// Stands for one text within one [`Strings`].
pub(super) type Text = u32;

/// A set of texts, closed for good: found by number, and by binary search.
#[derive(Debug, Default)]
pub(super) struct Strings {
    all: String,
    ends: Vec<u32>,
    sorted: Vec<Text>,
}

impl Strings {
    /// The text a number stands for.
    pub(super) fn get(&self, text: Text) -> &str {
        let at = text as usize;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(at).copied().unwrap_or(start);
        self.all.get(start as usize..end as usize).unwrap_or_default()
    }

    /// The number of a text, if it is here.
    pub(super) fn find(&self, wanted: &str) -> Option<Text> {
        let at = self.sorted.binary_search_by(|text| self.get(*text).cmp(wanted)).ok()?;
        self.sorted.get(at).copied()
    }

    /// Bytes of memory, about.
    pub(super) fn weight(&self) -> usize {
        self.all.len() + 8 * self.ends.len()
    }
}

/// Collects texts.
#[derive(Debug, Default)]
pub(super) struct Collector {
    strings: Strings,
    known: HashMap<Box<str>, Text>,
}

impl Collector {
    /// The number of a text, which is taken in if it is new. `None` when there are more bytes of it than numbers.
    pub(super) fn add(&mut self, text: &str) -> Option<Text> {
        if let Some(known) = self.known.get(text) {
            return Some(*known);
        }
        let number = Text::try_from(self.strings.ends.len()).ok()?;
        let end = u32::try_from(self.strings.all.len() + text.len()).ok()?;
        self.strings.all.push_str(text);
        self.strings.ends.push(end);
        self.known.insert(text.into(), number);
        Some(number)
    }

    /// The text a number stands for.
    pub(super) fn get(&self, text: Text) -> &str {
        self.strings.get(text)
    }

    /// Ends the collection.
    pub(super) fn close(self) -> Strings {
        let mut strings = self.strings;
        drop(self.known);
        strings.all.shrink_to_fit();
        strings.ends.shrink_to_fit();
        let mut sorted: Vec<Text> = (0..).take(strings.ends.len()).collect();
        sorted.sort_unstable_by(|one, other| strings.get(*one).cmp(strings.get(*other)));
        strings.sorted = sorted;
        strings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kept_once_and_found_again() {
        let mut collector = Collector::default();
        let texts = ["libb", "", "liba", "libb", "é", "libb.so()(64bit)"];
        let numbers: Vec<Text> = texts.iter().map(|text| collector.add(text).unwrap()).collect();
        assert_eq!(numbers[0], numbers[3]);
        let strings = collector.close();
        for (text, number) in texts.iter().zip(numbers) {
            assert_eq!(strings.get(number), *text);
            assert_eq!(strings.find(text), Some(number));
        }
        assert_eq!(strings.find("lib"), None);
        assert_eq!(strings.get(999), "");
    }
}

//! A package's changelog, as repository metadata has it.

use rpm::IndexTag;

use super::header::Header;

/// Entries that are kept.
const LATEST: usize = 10;

/// One entry of a changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) author: &'a [u8],
    /// Seconds since 1970; one more than the previous one's where a header has the same, so that each has its own.
    pub(super) date: u64,
    pub(super) text: &'a [u8],
}

/// The latest entries, the oldest of them first.
pub(super) fn changes<'a>(header: &Header<'a>) -> Vec<Change<'a>> {
    let (Some(dates), Some(authors), Some(texts)) = (
        header.numbers(IndexTag::RPMTAG_CHANGELOGTIME),
        header.texts(IndexTag::RPMTAG_CHANGELOGNAME),
        header.texts(IndexTag::RPMTAG_CHANGELOGTEXT),
    ) else {
        return Vec::new();
    };
    let mut changes: Vec<Change<'a>> = Vec::new();
    for ((date, author), text) in dates.into_iter().zip(authors).zip(texts).take(LATEST) {
        let mut taken = date;
        for earlier in changes.iter_mut().rev().take_while(|earlier| {
            let same = earlier.date == taken;
            taken += u64::from(same);
            same
        }) {
            earlier.date += 1;
        }
        changes.push(Change { author: without_trailing_spaces(author), date, text });
    }
    changes.reverse();
    changes
}

/// The first character stays even if it is a space.
fn without_trailing_spaces(text: &[u8]) -> &[u8] {
    let kept = text.iter().rposition(|byte| *byte != b' ').map_or(1, |last| last + 1);
    &text[..kept.min(text.len())]
}

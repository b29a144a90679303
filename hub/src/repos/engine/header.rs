//! What an RPM's header holds, tag by tag, as the bytes they are.
//!
//! The `rpm` crate takes the header apart; its getters give text, though, and refuse or replace what is not UTF-8. Packages
//! from before that was a rule must look to clients as createrepo_c shows them, so text is read from the header's bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rpm::{IndexSignatureTag, IndexTag, PackageMetadata};

use crate::rpms::{Front, RpmError};

/// Size of the part before the index, and of one entry of the index.
const INTRO: usize = 16;
const ENTRY: usize = 16;
/// The kinds of entries that are text: one, a list, a list of translations of which the first is not translated.
const TEXT: [u32; 3] = [6, 8, 9];

/// The header of one RPM.
pub(super) struct Header<'a> {
    meta: PackageMetadata,
    index: &'a [u8],
    data: &'a [u8],
    /// Where in the file the header begins, and where it ends.
    pub(super) range: (usize, usize),
}

impl<'a> Header<'a> {
    /// Takes apart what [`crate::rpms::read_front`] has checked.
    ///
    /// # Errors
    /// [`RpmError::NotRpm`].
    pub(super) fn of(front: &'a Front) -> Result<Self, RpmError> {
        let not_rpm = |why: String| RpmError::NotRpm(why);
        // The parser is asked only after its bounds were checked, but a fault in it must not take the hub down.
        let parsed = catch_unwind(AssertUnwindSafe(|| PackageMetadata::parse(&mut front.bytes.as_slice())));
        let meta = parsed
            .map_err(|_| not_rpm("its header cannot be taken apart".into()))?
            .map_err(|error| not_rpm(error.to_string()))?;
        let cut_off = || not_rpm("its header is cut off".into());
        let bytes = front.bytes.get(front.header..).ok_or_else(cut_off)?;
        let entries = number(bytes, 8).ok_or_else(cut_off)? as usize;
        let rest = bytes.get(INTRO..).ok_or_else(cut_off)?;
        let (index, data) = rest.split_at_checked(entries.saturating_mul(ENTRY)).ok_or_else(cut_off)?;
        Ok(Self { meta, index, data, range: (front.header, front.bytes.len()) })
    }

    /// Is it a source package's?
    pub(super) fn is_source(&self) -> bool {
        self.meta.is_source_package()
    }

    /// The texts of a tag; `None` when it has none.
    pub(super) fn texts(&self, tag: IndexTag) -> Option<Vec<&'a [u8]>> {
        let entry = self.index.chunks_exact(ENTRY).find(|entry| number(entry, 0) == Some(u32::from(tag)))?;
        if !TEXT.contains(&number(entry, 4)?) {
            return None;
        }
        let data = self.data.get(number(entry, 8)? as usize..)?;
        let texts: Vec<&[u8]> = data.split(|byte| *byte == 0).take(number(entry, 12)? as usize).collect();
        Some(texts)
    }

    /// The first text of a tag; empty when it has none.
    pub(super) fn text(&self, tag: IndexTag) -> &'a [u8] {
        self.texts(tag).and_then(|texts| texts.first().copied()).unwrap_or_default()
    }

    /// The numbers of a tag; `None` when it has none.
    pub(super) fn numbers(&self, tag: IndexTag) -> Option<Vec<u64>> {
        let header = &self.meta.header;
        if let Ok(numbers) = header.get_entry_data_as_u32_array(tag) {
            return Some(numbers.into_iter().map(u64::from).collect());
        }
        if let Ok(numbers) = header.get_entry_data_as_u16_array(tag) {
            return Some(numbers.into_iter().map(u64::from).collect());
        }
        header.get_entry_data_as_u64_array(tag).ok()
    }

    /// The first number of a tag; 0 when it has none.
    pub(super) fn number(&self, tag: IndexTag) -> u64 {
        self.numbers(tag).and_then(|numbers| numbers.first().copied()).unwrap_or_default()
    }

    /// Bytes its files take when installed.
    pub(super) fn installed_size(&self) -> u64 {
        let long = self.numbers(IndexTag::RPMTAG_LONGSIZE).and_then(|sizes| sizes.first().copied());
        long.unwrap_or_else(|| self.number(IndexTag::RPMTAG_SIZE))
    }

    /// Bytes of its payload when it is unpacked. rpm notes it beside the signatures.
    pub(super) fn archive_size(&self) -> u64 {
        let signature = &self.meta.signature;
        if let Ok(long) = signature.get_entry_data_as_u64(IndexSignatureTag::RPMSIGTAG_LONGARCHIVESIZE) {
            return long;
        }
        let own = self.numbers(IndexTag::RPMTAG_ARCHIVESIZE).and_then(|sizes| sizes.first().copied());
        let beside = || signature.get_entry_data_as_u32(IndexSignatureTag::RPMSIGTAG_PAYLOADSIZE);
        own.or_else(|| beside().ok().map(u64::from)).unwrap_or_default()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(four.iter().fold(0, |value, byte| (value << 8) | u32::from(*byte)))
}

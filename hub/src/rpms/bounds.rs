//! Bounds for RPM headers from strangers, checked before anything takes them apart: the rules `rpm` itself applies
//! (`hdrblobVerifyInfo` in its lib/header.c), so that the size of what is parsed is the size of what was sent.

use std::io::Read;

/// Most entries one header may have; rpm's own limit.
const MAX_ENTRIES: u32 = 0xffff;
/// Most bytes of data one header may have. rpm allows 256 MiB; the largest packages of the distribution need 40.
const MAX_DATA: u32 = 64 * 1024 * 1024;
/// The first bytes of a header: magic, version, and four reserved ones, which no digest covers.
const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// Size of the part before the index, and of one entry of the index.
const INTRO: usize = 16;
const ENTRY: usize = 16;
/// The tags that cover a region of the header (`HEADERIMAGE` to `HEADERIMMUTABLE`): their data is at its end.
const REGIONS: std::ops::RangeInclusive<u32> = 61..=63;

/// Reads one header and returns exactly its bytes, or a sentence saying why it is none.
pub(super) fn read_header(input: &mut impl Read, which: &str) -> Result<Vec<u8>, String> {
    let short = |_| format!("it ends within its {which}");
    let mut header = vec![0; INTRO];
    input.read_exact(&mut header).map_err(short)?;
    if header[..MAGIC.len()] != MAGIC {
        return Err(format!("its {which} does not begin as one"));
    }
    let (entries, data) = (number(&header, 8), number(&header, 12));
    if entries == 0 || entries > MAX_ENTRIES || data > MAX_DATA {
        return Err(format!("its {which} claims {entries} entries and {data} bytes of data"));
    }
    let size = INTRO + ENTRY * entries as usize + data as usize;
    // What is claimed is allocated only as far as bytes really arrive.
    input.take((size - INTRO) as u64).read_to_end(&mut header).map_err(|error| error.to_string())?;
    if header.len() != size {
        return Err(format!("it ends within its {which}"));
    }
    check_entries(&header, entries as usize, which)?;
    Ok(header)
}

/// Bytes of padding after a signature header of this size.
pub(super) fn padding(size: usize) -> usize {
    size.next_multiple_of(8) - size
}

/// Every entry's data lies within the data section and after the previous entry's.
fn check_entries(header: &[u8], entries: usize, which: &str) -> Result<(), String> {
    let (index, data) = header[INTRO..].split_at(ENTRY * entries);
    let mut end = 0;
    for (position, entry) in index.chunks_exact(ENTRY).enumerate() {
        let (tag, kind, count) = (number(entry, 0), number(entry, 4), number(entry, 12) as usize);
        let bad = |what: &str| Err(format!("tag {tag} of its {which} {what}"));
        let start = number(entry, 8) as usize;
        let Some(rest) = data.get(start..) else { return bad("points outside of it") };
        if count == 0 || count > data.len() {
            return bad("has an impossible count");
        }
        let length = match kind {
            0 => Some(0),
            1 | 2 | 7 => Some(count),
            3 => count.checked_mul(2),
            4 => count.checked_mul(4),
            5 => count.checked_mul(8),
            6 if count == 1 => strings(rest, 1),
            8 | 9 => strings(rest, count),
            _ => return bad("is of no known type"),
        };
        match length {
            Some(length) if length <= rest.len() => {
                // A region's trailer stands behind the data of the entries which follow it in the index.
                if position == 0 && REGIONS.contains(&tag) {
                    continue;
                }
                if start < end {
                    return bad("overlaps another");
                }
                end = start + length;
            }
            Some(_) | None => return bad("reaches beyond its end"),
        }
    }
    Ok(())
}

/// How many bytes this many NUL-terminated strings take.
fn strings(data: &[u8], count: usize) -> Option<usize> {
    data.iter().enumerate().filter(|(_, byte)| **byte == 0).nth(count - 1).map(|(position, _)| position + 1)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |value, byte| (value << 8) | u32::from(*byte))
}

//! Opening metadata however it is compressed: gzip of one or many members, zstd of one or many frames, or not at all.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// Bytes that are decompressed at a time.
const CHUNK: usize = 128 * 1024;
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z'];
const BZIP2: &[u8] = b"BZh";

/// The text in `input`, of which at most `limit` bytes are read: a small file may hide a large one.
///
/// # Errors
/// When it cannot be read, or is compressed in a way nothing here reads.
pub(super) fn open<'a>(input: impl Read + 'a, limit: u64) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut input = BufReader::with_capacity(CHUNK, input);
    let start = input.fill_buf()?.to_vec();
    let unreadable = |name: &str| {
        let why = format!("it is compressed with {name}; gzip and zstd are what is read here");
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    };
    let text: Box<dyn Read + 'a> = if start.starts_with(GZIP) {
        Box::new(MultiGzDecoder::new(input))
    } else if start.starts_with(ZSTD) {
        Box::new(zstd::stream::read::Decoder::with_buffer(input)?)
    } else if start.starts_with(XZ) {
        return unreadable("xz");
    } else if start.starts_with(BZIP2) {
        return unreadable("bzip2");
    } else {
        Box::new(input)
    };
    Ok(Box::new(BufReader::with_capacity(CHUNK, Bounded { text, left: limit })))
}

/// Fails, unlike [`Read::take`], when there is more.
struct Bounded<R> {
    text: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other("decompressed it is larger than metadata may be"))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8], limit: u64) -> io::Result<String> {
        let mut text = String::new();
        open(bytes, limit)?.read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn all_members_and_all_frames_are_read() {
        let two = [gzip("one "), gzip("two")].concat();
        assert_eq!(read(&two, 100).unwrap(), "one two");
        let frame = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
        assert_eq!(read(&[frame("one "), frame("two")].concat(), 100).unwrap(), "one two");
        assert_eq!(read(b"plain", 100).unwrap(), "plain");
    }

    #[test]
    fn what_is_too_large_or_unknown_is_an_error_and_not_the_end() {
        let large = gzip(&"a".repeat(1_000));
        assert!(read(&large, 999).is_err());
        assert_eq!(read(&large, 1_000).unwrap().len(), 1_000);
        assert!(read(&large[..large.len() - 9], 1_000).is_err());
        assert!(read(b"\xfd7zXZ\0", 100).is_err());
    }
}

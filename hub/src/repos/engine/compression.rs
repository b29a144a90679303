//! How metadata is compressed: in members that stand one behind the other, so that each can be made alone and kept.

use std::io::{self, Write};

use flate2::GzBuilder;
use flate2::write::GzEncoder;

/// The levels: where more effort hardly makes metadata smaller.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 9;

/// How a repo's metadata is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Every client reads it.
    #[default]
    Gzip,
    /// Smaller and faster; clients before EL 8, and Debian 12's createrepo_c, cannot read it.
    Zstd,
}

impl Compression {
    /// The end of a file's name.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }

    /// Compresses pieces into one member. Equal pieces give equal bytes.
    ///
    /// # Errors
    /// When the compressor refuses, which it has no reason to.
    pub(super) fn member<'a>(self, pieces: impl IntoIterator<Item = &'a [u8]>) -> io::Result<Member> {
        let mut open_size = 0;
        let bytes = match self {
            Self::Gzip => {
                let mut encoder: GzEncoder<Vec<u8>> =
                    GzBuilder::new().write(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
                open_size += feed(&mut encoder, pieces)?;
                encoder.finish()?
            }
            Self::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                open_size += feed(&mut encoder, pieces)?;
                encoder.finish()?
            }
        };
        Ok(Member { bytes, open_size })
    }
}

fn feed<'a>(encoder: &mut impl Write, pieces: impl IntoIterator<Item = &'a [u8]>) -> io::Result<u64> {
    let mut size = 0;
    for piece in pieces {
        encoder.write_all(piece)?;
        size += piece.len() as u64;
    }
    Ok(size)
}

/// One member.
pub(super) struct Member {
    pub(super) bytes: Vec<u8>,
    /// Bytes it has when it is unpacked.
    pub(super) open_size: u64,
}

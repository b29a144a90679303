//! A reader that hashes in every way what passes through it, and fails at the end unless it was what was announced.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use farm::digest::{Digest, hex};
use sha2::Digest as _;
use tokio::io::{AsyncRead, ReadBuf};

use crate::lookaside::{HashKind, Hashes};

/// The reader.
pub(super) struct Checked<R> {
    inner: R,
    md5: md5::Md5,
    sha1: sha1::Sha1,
    sha256: sha2::Sha256,
    sha512: sha2::Sha512,
    size: u64,
    kind: HashKind,
    expected: String,
    mismatch: Option<String>,
}

impl<R> Checked<R> {
    /// Passes on what `inner` gives if its hash of this kind is the expected one.
    pub(super) fn new(inner: R, kind: HashKind, expected: &str) -> Self {
        Self {
            inner,
            md5: md5::Md5::new(),
            sha1: sha1::Sha1::new(),
            sha256: sha2::Sha256::new(),
            sha512: sha2::Sha512::new(),
            size: 0,
            kind,
            expected: expected.to_owned(),
            mismatch: None,
        }
    }

    /// The hash the content really had, if that was not the expected one.
    pub(super) fn mismatch(&self) -> Option<&str> {
        self.mismatch.as_deref()
    }

    /// The hashes of what has passed.
    pub(super) fn into_hashes(self) -> Hashes {
        self.hashes()
    }

    fn hashes(&self) -> Hashes {
        Hashes {
            md5: hex(&self.md5.clone().finalize()),
            sha1: hex(&self.sha1.clone().finalize()),
            sha256: Digest::from_bytes(&self.sha256.clone().finalize()),
            sha512: hex(&self.sha512.clone().finalize()),
            size: self.size,
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Checked<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if read.is_empty() && buf.remaining() > 0 {
            let hashes = this.hashes();
            if !hashes.matches(this.kind, &this.expected) {
                this.mismatch = Some(hashes.get(this.kind).to_owned());
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the hash is another one",
                )));
            }
            return Poll::Ready(Ok(()));
        }
        this.md5.update(read);
        this.sha1.update(read);
        this.sha256.update(read);
        this.sha512.update(read);
        this.size += read.len() as u64;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn only_what_was_announced_passes() {
        let sha1 = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";
        let mut good = Checked::new(&b"hello"[..], HashKind::Sha1, sha1);
        let mut text = String::new();
        good.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), good.mismatch()), ("hello", None));
        let hashes = good.into_hashes();
        assert_eq!((hashes.size, hashes.md5.as_str()), (5, "5d41402abc4b2a76b9719d911017c592"));
        assert_eq!(hashes.sha256, Digest::of(b"hello"));

        let mut bad = Checked::new(&b"hello!"[..], HashKind::Sha1, sha1);
        assert!(bad.read_to_string(&mut text).await.is_err());
        assert!(bad.mismatch().is_some());
    }
}

//! One package of a repo: is its file the one that was decided on?

use std::path::Path;

use farm::openpgp::{PublicKey, SignedPackage, read_signed};

use super::place::{Fault, Place};
use super::statement::Decided;

/// What every package is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Yardstick<'a> {
    pub(super) keys: &'a [PublicKey],
    pub(super) deep: bool,
    /// A folder of this machine for what is fetched.
    pub(super) scratch: &'a Path,
}

/// Looks at the file of a package at `href`. Gives whether it was read as a whole, and what is wrong with it.
pub(super) async fn look(
    place: &Place,
    href: &str,
    decided: &Decided,
    yardstick: Yardstick<'_>,
) -> (bool, Vec<String>) {
    if !yardstick.deep {
        match place.size(href).await {
            Ok(Some(size)) if size == decided.size => return (false, Vec::new()),
            Ok(Some(size)) => {
                return (false, vec![format!("it has {size} bytes, and {} were decided on", decided.size)]);
            }
            // Who does not say how large it is must show it.
            Ok(None) => {}
            Err(fault) => return (false, vec![fault.to_string()]),
        }
    }
    let fetched = match tempfile::NamedTempFile::new_in(yardstick.scratch) {
        Ok(file) => file.into_temp_path(),
        Err(error) => return (false, vec![format!("there is no room to fetch it: {error}")]),
    };
    match place.save(href, decided.size, &fetched).await {
        Ok(()) => {}
        Err(Fault::TooLarge(_)) => {
            return (true, vec![format!("it has more bytes than the {} that were decided on", decided.size)]);
        }
        Err(fault) => return (true, vec![fault.to_string()]),
    }
    let keys = yardstick.keys.to_vec();
    let read = tokio::task::spawn_blocking(move || read_file(&fetched, &keys)).await;
    let read = read.unwrap_or_else(|error| Err((None, error.to_string())));
    (true, compare(read, decided))
}

/// Reads a fetched file: what it is, or the SHA-256 it has all the same and why it is not accepted.
fn read_file(file: &Path, keys: &[PublicKey]) -> Result<SignedPackage, (Option<String>, String)> {
    read_signed(file, keys).map_err(|error| (sha256(file).ok(), error.to_string()))
}

fn compare(read: Result<SignedPackage, (Option<String>, String)>, decided: &Decided) -> Vec<String> {
    let other = |found: &str| {
        format!("its SHA-256 is {}…, and {}… was decided on", start(found), start(&decided.sha256))
    };
    let mut wrong = Vec::new();
    match read {
        Err((digest, why)) => {
            wrong.extend(digest.filter(|digest| *digest != decided.sha256).map(|digest| other(&digest)));
            wrong.push(why);
        }
        Ok(SignedPackage { body, digest, size, by }) => {
            if size != decided.size {
                wrong.push(format!("it has {size} bytes, and {} were decided on", decided.size));
            }
            if digest.as_str() != decided.sha256 {
                wrong.push(other(digest.as_str()));
            }
            if body.as_str() != decided.body {
                wrong.push(format!(
                    "its header and payload are {}…, and {}… was tested",
                    start(body.as_str()),
                    start(&decided.body)
                ));
            }
            if by != decided.key {
                wrong.push(format!("it is signed by {by}, and the decision says by {}", decided.key));
            }
        }
    }
    wrong
}

fn start(text: &str) -> String {
    text.chars().take(12).collect()
}

fn sha256(file: &Path) -> std::io::Result<String> {
    use sha2::Digest as _;
    let mut hasher = HashWriter(sha2::Sha256::new());
    std::io::copy(&mut std::fs::File::open(file)?, &mut hasher)?;
    Ok(farm::digest::hex(&hasher.0.finalize()))
}

struct HashWriter(sha2::Sha256);

impl std::io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        sha2::Digest::update(&mut self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

//! Detached signatures: `repomd.xml.asc`.

use pgp::armor::{self, BlockType};
use pgp::composed::{Deserializable as _, DetachedSignature};

use super::{OpenPgpError, PublicKey, SecretKey};
use crate::stamp::Stamp;

/// Most signatures one file may have.
const MOST: usize = 8;

/// Signs these bytes with each key, and gives all signatures as one armoured text: while a key follows another, whoever knows
/// only one of them is content.
///
/// # Errors
/// [`OpenPgpError::Sign`].
pub fn sign_detached(keys: &[&SecretKey], data: &[u8], now: Stamp) -> Result<String, OpenPgpError> {
    let signatures = keys
        .iter()
        .map(|key| key.sign(data, now).map(DetachedSignature::new))
        .collect::<Result<Vec<_>, _>>()?;
    let mut text = Vec::new();
    let written = armor::write(&signatures, BlockType::Signature, &mut text, None, true);
    written.map_err(|error| OpenPgpError::Sign(error.to_string()))?;
    String::from_utf8(text).map_err(|error| OpenPgpError::Sign(error.to_string()))
}

/// Checks a detached signature: every signature in it must be by one of these keys, and there must be one. Gives the
/// fingerprints of those that signed.
///
/// # Errors
/// [`OpenPgpError::Unaccepted`].
pub fn verify_detached(armored: &str, data: &[u8], keys: &[PublicKey]) -> Result<Vec<String>, OpenPgpError> {
    let unaccepted = |why: String| OpenPgpError::Unaccepted(why);
    let (found, _) =
        DetachedSignature::from_string_many(armored).map_err(|error| unaccepted(error.to_string()))?;
    let mut by = Vec::new();
    for signature in found.take(MOST + 1) {
        let signature = signature.map_err(|error| unaccepted(error.to_string()))?.signature;
        let Some(key) = keys.iter().find(|key| key.made(&signature, data)) else {
            return Err(unaccepted("it is of other bytes, or by a key that does not count here".to_owned()));
        };
        by.push(key.fingerprint());
    }
    match by.len() {
        0 => Err(unaccepted("there is none".to_owned())),
        many if many > MOST => Err(unaccepted(format!("there are more than {MOST}"))),
        _ => Ok(by),
    }
}

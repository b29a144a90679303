//! Signed statements: DSSE envelopes with Ed25519 signatures, and the keys for them.
//!
//! What is signed is the pre-authentication encoding of type and payload, so that nothing signed for one purpose can be taken
//! for something else. See the DSSE protocol, version 1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::digest::Digest;

/// The payload type of in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// What stands before the 32 bytes of a public key in DER.
const PUBLIC_DER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What stands before the 32 bytes of a private key in DER.
const PRIVATE_DER: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const PUBLIC_PEM: &str = "PUBLIC KEY";
const PRIVATE_PEM: &str = "PRIVATE KEY";
/// Characters of a line of PEM.
const PEM_LINE: usize = 64;

/// A signed payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// What the payload is.
    pub payload_type: String,
    /// It, in base64.
    pub payload: String,
    /// Who has signed it.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// The key's id, see [`DecisionKey::id`].
    pub keyid: String,
    /// The signature, in base64.
    pub sig: String,
}

/// Why an envelope or a key was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum DsseError {
    /// A key cannot be read.
    #[error("this is no Ed25519 key in PEM: {0}")]
    Key(&'static str),
    /// An envelope cannot be read.
    #[error("this is no signed statement: {0}")]
    Envelope(String),
    /// Nobody known has signed it.
    #[error("no key that counts has signed the statement; it names {0}")]
    Unsigned(String),
    /// The random source failed.
    #[error("the operating system gives no random bytes: {0}")]
    Random(String),
}

/// A key that signs decisions.
pub struct DecisionKey(SigningKey);

/// The public part of such a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionPublic(VerifyingKey);

impl std::fmt::Debug for DecisionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DecisionKey({})", self.id())
    }
}

impl DecisionKey {
    /// Makes one.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn generate() -> Result<Self, DsseError> {
        let mut seed = Zeroizing::new([0u8; 32]);
        let filled = rand::rngs::OsRng.try_fill_bytes(seed.as_mut());
        filled.map_err(|error| DsseError::Random(error.to_string()))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads one (PKCS #8 in PEM).
    ///
    /// # Errors
    /// [`DsseError::Key`].
    pub fn from_pem(text: &str) -> Result<Self, DsseError> {
        let der = Zeroizing::new(unwrap_pem(text, PRIVATE_PEM)?);
        let seed = der.strip_prefix(&PRIVATE_DER).ok_or(DsseError::Key("it is of another kind"))?;
        let seed: [u8; 32] = seed.try_into().map_err(|_| DsseError::Key("it has another length"))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Writes it (PKCS #8 in PEM).
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let der = Zeroizing::new([&PRIVATE_DER[..], &self.0.to_bytes()[..]].concat());
        Zeroizing::new(wrap_pem(&der, PRIVATE_PEM))
    }

    /// Its public part.
    #[must_use]
    pub fn public(&self) -> DecisionPublic {
        DecisionPublic(self.0.verifying_key())
    }

    /// What names it: SHA-256 of its public part in DER.
    #[must_use]
    pub fn id(&self) -> String {
        self.public().id()
    }

    /// Signs a payload.
    #[must_use]
    pub fn sign(&self, payload_type: &str, payload: &[u8]) -> Envelope {
        let signature = self.0.sign(&encoding(payload_type, payload));
        Envelope {
            payload_type: payload_type.to_owned(),
            payload: BASE64.encode(payload),
            signatures: vec![EnvelopeSignature {
                keyid: self.id(),
                sig: BASE64.encode(signature.to_bytes()),
            }],
        }
    }
}

impl DecisionPublic {
    /// Reads one (SPKI in PEM).
    ///
    /// # Errors
    /// [`DsseError::Key`].
    pub fn from_pem(text: &str) -> Result<Self, DsseError> {
        let der = unwrap_pem(text, PUBLIC_PEM)?;
        let point = der.strip_prefix(&PUBLIC_DER[..]).ok_or(DsseError::Key("it is of another kind"))?;
        let point: [u8; 32] = point.try_into().map_err(|_| DsseError::Key("it has another length"))?;
        let key =
            VerifyingKey::from_bytes(&point).map_err(|_| DsseError::Key("it is no point of the curve"))?;
        Ok(Self(key))
    }

    /// Writes it (SPKI in PEM).
    #[must_use]
    pub fn to_pem(&self) -> String {
        wrap_pem(&self.der(), PUBLIC_PEM)
    }

    /// What names it: SHA-256 of it in DER, as 64 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        Digest::of(&self.der()).as_str().to_owned()
    }

    fn der(&self) -> Vec<u8> {
        [&PUBLIC_DER[..], self.0.as_bytes()].concat()
    }
}

impl Envelope {
    /// Reads one.
    ///
    /// # Errors
    /// [`DsseError::Envelope`].
    pub fn from_json(text: &str) -> Result<Self, DsseError> {
        serde_json::from_str(text).map_err(|error| DsseError::Envelope(error.to_string()))
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`DsseError::Envelope`], which does not happen.
    pub fn to_json(&self) -> Result<String, DsseError> {
        serde_json::to_string(self).map_err(|error| DsseError::Envelope(error.to_string()))
    }

    /// The payload, if it is of this type and one of these keys has signed it; and the id of that key.
    ///
    /// # Errors
    /// [`DsseError`].
    pub fn open(&self, payload_type: &str, keys: &[DecisionPublic]) -> Result<(Vec<u8>, String), DsseError> {
        if self.payload_type != payload_type {
            let kind = self.payload_type.chars().take(80).collect::<String>();
            return Err(DsseError::Envelope(format!("it is a `{kind}`")));
        }
        let unclear = |error: base64::DecodeError| DsseError::Envelope(error.to_string());
        let payload = BASE64.decode(&self.payload).map_err(unclear)?;
        let signed = encoding(payload_type, &payload);
        for EnvelopeSignature { keyid, sig } in &self.signatures {
            let Ok(bytes) = BASE64.decode(sig) else { continue };
            let Ok(signature) = Signature::from_slice(&bytes) else { continue };
            let by = keys.iter().find(|key| key.id() == *keyid);
            if by.is_some_and(|key| key.0.verify_strict(&signed, &signature).is_ok()) {
                return Ok((payload, keyid.clone()));
            }
        }
        let named: Vec<String> =
            self.signatures.iter().map(|signature| signature.keyid.chars().take(16).collect()).collect();
        Err(DsseError::Unsigned(if named.is_empty() { "nobody".to_owned() } else { named.join(", ") }))
    }
}

/// DSSE's pre-authentication encoding.
fn encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn wrap_pem(der: &[u8], label: &str) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(PEM_LINE)
        .filter_map(|at| text.get(at..text.len().min(at + PEM_LINE)))
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn unwrap_pem(text: &str, label: &str) -> Result<Vec<u8>, DsseError> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let body = text.trim().strip_prefix(&begin).and_then(|rest| rest.strip_suffix(&end));
    let body: String =
        body.ok_or(DsseError::Key("it has another beginning or end"))?.split_whitespace().collect();
    BASE64.decode(body).map_err(|_| DsseError::Key("its base64 is damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_protocol() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(encoding("http://example.com/HelloWorld", b"hello world"), expected);
    }

    #[test]
    fn a_key_survives_its_file_and_opens_what_it_signed_and_nothing_else() {
        let key = DecisionKey::from_pem(&DecisionKey::generate().unwrap().to_pem()).unwrap();
        let public = DecisionPublic::from_pem(&key.public().to_pem()).unwrap();
        let other = DecisionKey::generate().unwrap().public();
        let envelope = key.sign(IN_TOTO, b"{}");
        let again = Envelope::from_json(&envelope.to_json().unwrap()).unwrap();
        let known = [other.clone(), public.clone()];
        assert_eq!(again.open(IN_TOTO, &known).unwrap(), (b"{}".to_vec(), key.id()));

        assert!(matches!(envelope.open(IN_TOTO, std::slice::from_ref(&other)), Err(DsseError::Unsigned(_))));
        assert!(matches!(envelope.open("text/plain", &known), Err(DsseError::Envelope(_))));
        let edited = Envelope { payload: BASE64.encode(b"[]"), ..envelope.clone() };
        assert!(matches!(edited.open(IN_TOTO, &known), Err(DsseError::Unsigned(_))));
        let renamed = |mut envelope: Envelope| {
            envelope.signatures[0].keyid = other.id();
            envelope
        };
        assert!(matches!(renamed(envelope).open(IN_TOTO, &known), Err(DsseError::Unsigned(_))));
        assert!(DecisionPublic::from_pem(&key.to_pem()).is_err());
    }

    #[test]
    fn openssl_reads_the_key() {
        let Ok(mut openssl) = std::process::Command::new("openssl")
            .args(["pkey", "-pubin", "-noout", "-text"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
        else {
            println!("SKIPPED: openssl is not installed");
            return;
        };
        use std::io::Write as _;
        let pem = DecisionKey::generate().unwrap().public().to_pem();
        openssl.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
        let said = openssl.wait_with_output().unwrap();
        assert!(String::from_utf8_lossy(&said.stdout).contains("ED25519"), "{said:?}");
    }
}

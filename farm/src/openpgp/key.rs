//! Keys: made, kept as armoured text, locked and unlocked.

use pgp::composed::{
    ArmorOptions, Deserializable as _, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyDetails as _, KeyVersion, Password, Timestamp};
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use super::rsa::RsaKey;
use super::{LEAST_BITS, OpenPgpError};
use crate::stamp::Stamp;

/// A private key, unlocked.
#[derive(Clone)]
pub struct SecretKey {
    key: SignedSecretKey,
    /// What signs, unless the key is of another kind.
    rsa: Option<RsaKey>,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(SignedPublicKey);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey({})", self.fingerprint())
    }
}

fn unusable(error: impl ToString) -> OpenPgpError {
    OpenPgpError::Key(error.to_string())
}

fn unsigned(error: impl ToString) -> OpenPgpError {
    OpenPgpError::Sign(error.to_string())
}

fn password(passphrase: &str) -> Password {
    Password::from(passphrase)
}

/// A time as OpenPGP has it: seconds, which end in 2106.
fn seconds(at: Stamp) -> Timestamp {
    Timestamp::from_secs(u32::try_from(at.millis().div_euclid(1000)).unwrap_or(if at < Stamp::ZERO {
        0
    } else {
        u32::MAX
    }))
}

impl SecretKey {
    /// Makes an RSA key for this user id (`Storage SIG <storage@example.org>`) that may sign and never expires. It takes
    /// seconds: call it on a blocking thread.
    ///
    /// # Errors
    /// [`OpenPgpError::Key`] for a key of too few bits.
    pub fn generate(user_id: &str, bits: u32, now: Stamp) -> Result<Self, OpenPgpError> {
        if bits < LEAST_BITS {
            return Err(OpenPgpError::Key(format!("{bits} bits are too few; {LEAST_BITS} are the least")));
        }
        let mut params = SecretKeyParamsBuilder::default();
        params
            .version(KeyVersion::V4)
            .key_type(KeyType::Rsa(bits))
            .can_sign(true)
            .can_certify(true)
            .created_at(seconds(now))
            .primary_user_id(user_id.to_owned())
            .preferred_hash_algorithms([HashAlgorithm::Sha512, HashAlgorithm::Sha256].into_iter().collect());
        Ok(Self::unlocked(params.build().map_err(unusable)?.generate(OsRng).map_err(unusable)?))
    }

    /// Reads an armoured private key, and unlocks it if it is locked.
    ///
    /// # Errors
    /// [`OpenPgpError::Locked`] when the passphrase is missing or wrong, [`OpenPgpError::Key`] when it is no key that
    /// may sign with its primary key, as rpm wants it.
    pub fn from_armored(text: &str, passphrase: Option<&str>) -> Result<Self, OpenPgpError> {
        let (mut key, _) = SignedSecretKey::from_string(text).map_err(unusable)?;
        key.verify_bindings().map_err(unusable)?;
        let may_sign =
            key.details.users.iter().any(|user| user.signatures.iter().any(|by| by.key_flags().sign()));
        if !may_sign {
            return Err(OpenPgpError::Key(
                "its primary key may not sign, and rpm looks at no other".to_owned(),
            ));
        }
        if key.primary_key.secret_params().is_encrypted() {
            let fingerprint = fingerprint(&key.primary_key);
            let Some(passphrase) = passphrase else {
                return Err(OpenPgpError::Locked { fingerprint, why: "no passphrase was given" });
            };
            if key.primary_key.remove_password(&password(passphrase)).is_err() {
                return Err(OpenPgpError::Locked { fingerprint, why: "the passphrase is wrong" });
            }
        }
        Ok(Self::unlocked(key))
    }

    fn unlocked(key: SignedSecretKey) -> Self {
        Self { rsa: RsaKey::of(&key.primary_key), key }
    }

    /// The key as armoured text, locked by the passphrase if there is one.
    ///
    /// # Errors
    /// [`OpenPgpError::Key`], which does not happen.
    pub fn to_armored(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, OpenPgpError> {
        let mut key = self.key.clone();
        if let Some(passphrase) = passphrase {
            key.primary_key.set_password(OsRng, &password(passphrase)).map_err(unusable)?;
        }
        key.to_armored_string(ArmorOptions::default()).map(Zeroizing::new).map_err(unusable)
    }

    /// Its fingerprint, in lower-case hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.key.primary_key)
    }

    /// Its public part.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.to_public_key())
    }

    /// A signature over bytes.
    pub(super) fn sign(&self, data: &[u8], now: Stamp) -> Result<Signature, OpenPgpError> {
        let key = &self.key.primary_key;
        let mut config = SignatureConfig::v4(SignatureType::Binary, key.algorithm(), HashAlgorithm::Sha256);
        let said = [
            SubpacketData::SignatureCreationTime(seconds(now)),
            SubpacketData::IssuerFingerprint(key.fingerprint()),
            // Older rpm and gpg find the key by this.
            SubpacketData::IssuerKeyId(key.legacy_key_id()),
        ];
        config.hashed_subpackets =
            said.into_iter().map(Subpacket::regular).collect::<Result<_, _>>().map_err(unsigned)?;
        match &self.rsa {
            Some(rsa) => rsa.sign(config, data),
            None => config.sign(key, &Password::empty(), data).map_err(unsigned),
        }
    }
}

impl PublicKey {
    /// Reads one armoured public key.
    ///
    /// # Errors
    /// [`OpenPgpError::Key`].
    pub fn from_armored(text: &str) -> Result<Self, OpenPgpError> {
        let (key, _) = SignedPublicKey::from_string(text).map_err(unusable)?;
        key.verify_bindings().map_err(unusable)?;
        Ok(Self(key))
    }

    /// The key as armoured text, as `rpm --import` takes it.
    ///
    /// # Errors
    /// [`OpenPgpError::Key`], which does not happen.
    pub fn to_armored(&self) -> Result<String, OpenPgpError> {
        self.0.to_armored_string(ArmorOptions::default()).map_err(unusable)
    }

    /// Its fingerprint, in lower-case hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.0.primary_key)
    }

    /// Did this key make the signature over these bytes? `false` also for a signature of a kind that is not accepted.
    pub(super) fn made(&self, signature: &Signature, data: &[u8]) -> bool {
        let is_strong = matches!(
            signature.hash_alg(),
            Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512)
        );
        is_strong
            && signature.typ() == Some(SignatureType::Binary)
            && signature.verify(&self.0.primary_key, data).is_ok()
    }
}

fn fingerprint(key: &impl pgp::types::KeyDetails) -> String {
    format!("{:x}", key.fingerprint())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Stamp = Stamp::from_millis(1_750_000_000_000);

    fn key_of(kind: KeyType) -> SecretKey {
        let mut params = SecretKeyParamsBuilder::default();
        params.version(KeyVersion::V4).key_type(kind).can_sign(true).can_certify(true);
        params.primary_user_id("somebody <somebody@example.org>".into());
        SecretKey::unlocked(params.build().unwrap().generate(OsRng).unwrap())
    }

    #[test]
    fn ring_makes_the_same_signatures_as_the_openpgp_crate() {
        for bits in [2048, 3072] {
            let key = key_of(KeyType::Rsa(bits));
            assert!(key.rsa.is_some(), "{bits}");
            let by_pgp = SecretKey { rsa: None, ..key.clone() };
            for data in [&b""[..], b"x", &[7; 100_000]] {
                let signature = key.sign(data, NOON).unwrap();
                assert_eq!(signature, by_pgp.sign(data, NOON).unwrap());
                assert!(key.public().made(&signature, data) && !key.public().made(&signature, b"y"));
            }
        }
    }

    #[test]
    fn a_key_of_another_kind_signs_too() {
        let key = key_of(KeyType::Ed25519Legacy);
        assert!(key.rsa.is_none());
        let signature = key.sign(b"x", NOON).unwrap();
        assert!(key.public().made(&signature, b"x") && !key.public().made(&signature, b"y"));
    }
}

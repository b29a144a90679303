//! Signatures with RSA keys, made by ring: in half the time the OpenPGP crate needs, and in one that does not depend on the key.

use std::sync::Arc;

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{self, Signature, SignatureConfig, SignatureType, SignatureVersion};
use pgp::ser::Serialize as _;
use pgp::types::{
    KeyDetails as _, KeyVersion, Mpi, Password, PlainSecretParams, PublicParams, SignatureBytes,
};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPrivateKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::OpenPgpError;

/// A private RSA key as ring has it, which does not wipe it from memory: it is there for as long as the process may sign.
#[derive(Clone)]
pub(super) struct RsaKey(Arc<RsaKeyPair>);

fn unsigned(error: impl ToString) -> OpenPgpError {
    OpenPgpError::Sign(error.to_string())
}

impl RsaKey {
    /// The same key, unlocked as it must be. `None` when it is no RSA key of version 4, or ring does not take it: it must have
    /// two primes of equal length, 2,048 to 4,096 bits in all, and an exponent of 65,537 or more.
    pub(super) fn of(key: &packet::SecretKey) -> Option<Self> {
        if key.version() != KeyVersion::V4 {
            return None;
        }
        let unlocked = key.unlock(&Password::empty(), |public, secret| Ok(taken(public, secret)));
        unlocked.ok()?.ok()?.map(|pair| Self(Arc::new(pair)))
    }

    /// Signs bytes as `config` says, which must ask for a signature of version 4 over bytes with SHA-256.
    pub(super) fn sign(&self, config: SignatureConfig, data: &[u8]) -> Result<Signature, OpenPgpError> {
        let asked = (config.version(), config.typ, config.hash_alg);
        if asked != (SignatureVersion::V4, SignatureType::Binary, HashAlgorithm::Sha256) {
            return Err(unsigned("signatures are of version 4, over bytes and with SHA-256"));
        }
        let mut signed = data.to_vec();
        signed.extend(behind_data(&config)?);
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &signed, &mut signature)
            .map_err(|_| unsigned("the parts of the key do not fit together"))?;
        let digest = Sha256::digest(&signed);
        let signature = SignatureBytes::Mpis(vec![Mpi::from_slice(&signature)]);
        Signature::from_config(config, [digest[0], digest[1]], signature).map_err(unsigned)
    }
}

/// OpenPGP has fewer numbers of a key than ring wants; the others follow from them.
fn taken(public: &PublicParams, secret: &PlainSecretParams) -> Option<RsaKeyPair> {
    let (PublicParams::RSA(public), PlainSecretParams::RSA(secret)) = (public, secret) else { return None };
    let (exponent, p, q, inverse) = secret.to_bytes();
    let [exponent, p, q, _] =
        [exponent, p, q, inverse].map(|number| BigUint::from_bytes_be(&Zeroizing::new(number)));
    let (modulus, public_exponent) = (public.key.n().clone(), public.key.e().clone());
    let key = RsaPrivateKey::from_components(modulus, public_exponent, exponent, vec![p, q]).ok()?;
    RsaKeyPair::from_der(key.to_pkcs1_der().ok()?.as_bytes()).ok()
}

/// What a signature of version 4 covers besides the data, and behind it (RFC 9580, 5.2.4).
fn behind_data(config: &SignatureConfig) -> Result<Vec<u8>, OpenPgpError> {
    const VERSION: u8 = 4;
    let mut said = Vec::new();
    for subpacket in &config.hashed_subpackets {
        subpacket.to_writer(&mut said).map_err(unsigned)?;
    }
    let length = u16::try_from(said.len()).map_err(unsigned)?;
    let mut behind = vec![VERSION, config.typ.into(), config.pub_alg.into(), config.hash_alg.into()];
    behind.extend(length.to_be_bytes());
    behind.extend(said);
    let length = u32::try_from(behind.len()).map_err(unsigned)?;
    behind.extend([VERSION, 0xff]);
    behind.extend(length.to_be_bytes());
    Ok(behind)
}

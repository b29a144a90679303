//! The signer's keys: files in a folder that nobody else may read.
//!
//! ```text
//! packages/<sig>/<fingerprint>.secret   the private key: armoured OpenPGP, locked if there is a passphrase
//! packages/<sig>/<fingerprint>.toml     its public part, since when it signs, until when it counts
//! decisions/<fingerprint>.secret        an Ed25519 key in PEM
//! decisions/<fingerprint>.toml
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use farm::dsse::{DecisionKey, DsseError};
use farm::openpgp::{OpenPgpError, SecretKey};
use farm::signing::{Purpose, SigningKey, Standing, current, valid};
use farm::stamp::Stamp;
use zeroize::Zeroizing;

/// Nobody but the signer reads its keys.
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;
/// The ends of a key's two files.
const SECRET: &str = "secret";
const PUBLIC: &str = "toml";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The folder or a file of it.
    #[error("cannot use {}: {source}", path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} may be read by others: `chmod -R go= {}`", path.display(), path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// A file that describes a key makes no sense.
    #[error("{} does not describe a key: {why}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The private part of a key that was told of is not here.
    #[error("the private key {fingerprint} of {owner} is not in {}: restore it, or make another with `grange signer key new`", folder.display())]
    Missing {
        /// The key.
        fingerprint: String,
        /// Whose it is.
        owner: String,
        /// Where it should be.
        folder: PathBuf,
    },
    /// It is locked.
    #[error(
        "the key of {owner} is locked: {why}; put the passphrase into the file that `signer.passphrase_file` names"
    )]
    Locked {
        /// Whose it is.
        owner: String,
        /// Why.
        why: String,
    },
    /// It is no key.
    #[error("the key {fingerprint}: {why}")]
    NoKey {
        /// The key.
        fingerprint: String,
        /// Why.
        why: String,
    },
    /// There is no such key.
    #[error("there is no key {0} here")]
    Unknown(String),
    /// A SIG's name that cannot be a folder's.
    #[error("`{0}` is no name of a SIG")]
    NoSig(String),
}

/// The folder of keys. Commands and a signer that runs may use it at once.
#[derive(Debug)]
pub struct Keys {
    folder: PathBuf,
    passphrase: Option<PathBuf>,
    /// Keys that were unlocked: unlocking is slow on purpose.
    unlocked: Mutex<BTreeMap<String, SecretKey>>,
}

impl Keys {
    /// Opens the folder, making it where there is none.
    ///
    /// # Errors
    /// [`KeyError::Disk`], [`KeyError::Open`].
    pub fn open(folder: &Path, passphrase: Option<&Path>) -> Result<Keys, KeyError> {
        let keys = Keys {
            folder: folder.to_owned(),
            passphrase: passphrase.map(Path::to_owned),
            unlocked: Mutex::default(),
        };
        make_folder(folder)?;
        let mode = fs::metadata(folder).map_err(|source| disk(folder, source))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { path: folder.to_owned() });
        }
        Ok(keys)
    }

    /// The public part of every key, the oldest first.
    ///
    /// # Errors
    /// [`KeyError::Disk`], [`KeyError::Unreadable`].
    pub fn list(&self) -> Result<Vec<SigningKey>, KeyError> {
        let mut keys = Vec::new();
        for folder in names_in(&self.folder.join("packages"))? {
            keys.extend(self.read_folder(&self.folder.join("packages").join(folder))?);
        }
        keys.extend(self.read_folder(&self.folder.join("decisions"))?);
        keys.sort_by(|one: &SigningKey, other| {
            (one.since, &one.fingerprint).cmp(&(other.since, &other.fingerprint))
        });
        Ok(keys)
    }

    fn read_folder(&self, folder: &Path) -> Result<Vec<SigningKey>, KeyError> {
        let mut keys = Vec::new();
        for name in names_in(folder)? {
            let path = folder.join(&name);
            if path.extension().is_none_or(|extension| extension != PUBLIC) {
                continue;
            }
            let text = fs::read_to_string(&path).map_err(|source| disk(&path, source))?;
            let unreadable = |why: String| KeyError::Unreadable { path: path.clone(), why };
            let key: SigningKey =
                toml::from_str(&text).map_err(|error| unreadable(error.message().to_owned()))?;
            if self.place(&key)?.with_extension(PUBLIC) != path {
                return Err(unreadable("it is called otherwise".to_owned()));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// Makes a key for a SIG's packages that signs from `since` on. It takes seconds: call it on a blocking thread.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new_packages(
        &self,
        sig: &str,
        user_id: &str,
        bits: u32,
        since: Stamp,
        now: Stamp,
    ) -> Result<SigningKey, KeyError> {
        if !is_sig(sig) {
            return Err(KeyError::NoSig(sig.to_owned()));
        }
        let no_key = |error: OpenPgpError| KeyError::NoKey {
            fingerprint: format!("of {sig}"),
            why: error.to_string(),
        };
        let user_id = user_id.replace("$sig", sig);
        let secret = SecretKey::generate(&user_id, bits, now).map_err(no_key)?;
        let text = secret.to_armored(self.passphrase()?.as_deref().map(String::as_str)).map_err(no_key)?;
        let key = SigningKey {
            fingerprint: secret.fingerprint(),
            purpose: Purpose::Packages,
            sig: sig.to_owned(),
            public: secret.public().to_armored().map_err(no_key)?,
            since,
            until: None,
        };
        self.keep(&key, &text)?;
        Ok(key)
    }

    /// Makes a key for decisions.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new_decisions(&self, since: Stamp) -> Result<SigningKey, KeyError> {
        let made = DecisionKey::generate();
        let secret = made.map_err(|error| KeyError::NoKey {
            fingerprint: "of decisions".to_owned(),
            why: error.to_string(),
        })?;
        let key = SigningKey {
            fingerprint: secret.id(),
            purpose: Purpose::Decisions,
            sig: String::new(),
            public: secret.public().to_pem(),
            since,
            until: None,
        };
        self.keep(&key, &secret.to_pem())?;
        Ok(key)
    }

    /// The private part first: a key that is told of and that nobody has would be worth nothing.
    fn keep(&self, key: &SigningKey, secret: &str) -> Result<(), KeyError> {
        let path = self.place(key)?.with_extension(SECRET);
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE_FILE)
            .open(&path)
            .map_err(|source| disk(&path, source))?;
        file.write_all(secret.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|source| disk(&path, source))?;
        self.write(key)
    }

    /// Changes until when a key counts, or since when it signs.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::Disk`].
    pub fn set_times(
        &self,
        fingerprint: &str,
        since: Stamp,
        until: Option<Stamp>,
    ) -> Result<SigningKey, KeyError> {
        let known = self.list()?.into_iter().find(|key| key.fingerprint == fingerprint);
        let key = known.ok_or_else(|| KeyError::Unknown(fingerprint.to_owned()))?;
        let key = SigningKey { since, until, ..key };
        self.write(&key)?;
        Ok(key)
    }

    fn write(&self, key: &SigningKey) -> Result<(), KeyError> {
        let path = self.place(key)?.with_extension(PUBLIC);
        let text = toml::to_string(key)
            .map_err(|error| KeyError::Unreadable { path: path.clone(), why: error.to_string() })?;
        let folder = path.parent().unwrap_or(&self.folder);
        let put = || -> io::Result<()> {
            let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
            fresh.write_all(text.as_bytes())?;
            fresh.as_file().sync_all()?;
            fresh.persist(&path).map_err(|error| error.error)?;
            fs::File::open(folder)?.sync_all()
        };
        put().map_err(|source| disk(&path, source))
    }

    /// The private part of a SIG's key, unlocked.
    ///
    /// # Errors
    /// [`KeyError::Missing`], [`KeyError::Locked`] and the others.
    pub fn packages(&self, key: &SigningKey) -> Result<SecretKey, KeyError> {
        let unlocked = |keys: &Mutex<BTreeMap<String, SecretKey>>| {
            keys.lock().unwrap_or_else(PoisonError::into_inner).get(&key.fingerprint).cloned()
        };
        if let Some(secret) = unlocked(&self.unlocked) {
            // A key whose file was taken away must not go on signing.
            if self.place(key)?.with_extension(SECRET).is_file() {
                return Ok(secret);
            }
            self.unlocked.lock().unwrap_or_else(PoisonError::into_inner).remove(&key.fingerprint);
        }
        let text = self.secret(key)?;
        let passphrase = self.passphrase()?;
        let opened = SecretKey::from_armored(&text, passphrase.as_deref().map(String::as_str));
        let secret = opened.map_err(|error| match error {
            OpenPgpError::Locked { why, .. } => KeyError::Locked { owner: owner(key), why: why.to_owned() },
            other => KeyError::NoKey { fingerprint: key.fingerprint.clone(), why: other.to_string() },
        })?;
        if secret.fingerprint() != key.fingerprint {
            let why = format!("the file has the key {}", secret.fingerprint());
            return Err(KeyError::NoKey { fingerprint: key.fingerprint.clone(), why });
        }
        let mut unlocked = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
        unlocked.insert(key.fingerprint.clone(), secret.clone());
        Ok(secret)
    }

    /// The private part of a key for decisions.
    ///
    /// # Errors
    /// [`KeyError::Missing`] and the others.
    pub fn decisions(&self, key: &SigningKey) -> Result<DecisionKey, KeyError> {
        let no_key = |why: String| KeyError::NoKey { fingerprint: key.fingerprint.clone(), why };
        let secret = DecisionKey::from_pem(&self.secret(key)?)
            .map_err(|error: DsseError| no_key(error.to_string()))?;
        if secret.id() == key.fingerprint {
            Ok(secret)
        } else {
            Err(no_key(format!("the file has the key {}", secret.id())))
        }
    }

    fn secret(&self, key: &SigningKey) -> Result<Zeroizing<String>, KeyError> {
        let path = self.place(key)?.with_extension(SECRET);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(KeyError::Missing {
                fingerprint: key.fingerprint.clone(),
                owner: owner(key),
                folder: path.parent().unwrap_or(&self.folder).to_owned(),
            }),
            Err(source) => Err(disk(&path, source)),
        }
    }

    fn passphrase(&self) -> Result<Option<Zeroizing<String>>, KeyError> {
        let Some(path) = &self.passphrase else { return Ok(None) };
        match fs::read_to_string(path) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(KeyError::Locked {
                owner: "every SIG".to_owned(),
                why: format!("{} is not there", path.display()),
            }),
            Err(source) => Err(disk(path, source)),
        }
    }

    /// Where a key's files are, but for their ends. What names them comes from files, so it is checked.
    fn place(&self, key: &SigningKey) -> Result<PathBuf, KeyError> {
        let is_name =
            !key.fingerprint.is_empty() && key.fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_name {
            return Err(KeyError::Unknown(key.fingerprint.chars().take(80).collect()));
        }
        match key.purpose {
            Purpose::Packages if !is_sig(&key.sig) => Err(KeyError::NoSig(key.sig.clone())),
            Purpose::Packages => Ok(self.folder.join("packages").join(&key.sig).join(&key.fingerprint)),
            Purpose::Decisions => Ok(self.folder.join("decisions").join(&key.fingerprint)),
        }
    }
}

/// Which keys of a list sign a SIG's packages now.
#[derive(Debug, Clone)]
pub struct Ring {
    /// The one that signs packages.
    pub current: SigningKey,
    /// All whose signatures count, the one that signs first: each signs the metadata.
    pub valid: Vec<SigningKey>,
}

impl Ring {
    /// The keys of a SIG that count now. The hub's clock may be a little ahead: the key it asks for signs, if it is one of
    /// these or will be soon.
    #[must_use]
    pub fn of(keys: &[SigningKey], sig: &str, asked: Option<&str>, now: Stamp) -> Option<Ring> {
        let own = current(keys, Purpose::Packages, sig, now)?.clone();
        let mut all: Vec<SigningKey> =
            valid(keys, Purpose::Packages, sig, now).into_iter().cloned().collect();
        let soon = now + CLOCKS;
        let asked = keys.iter().find(|key| {
            key.purpose == Purpose::Packages
                && key.sig == sig
                && asked == Some(key.fingerprint.as_str())
                && (key.standing(now) == Standing::Valid || key.standing(soon) == Standing::Valid)
        });
        let current = asked.cloned().unwrap_or(own);
        if !all.contains(&current) {
            all.insert(0, current.clone());
        }
        Some(Ring { current, valid: all })
    }
}

/// How far the clocks of hub and signer may be apart.
const CLOCKS: std::time::Duration = std::time::Duration::from_secs(300);

/// Whose a key is, for people.
#[must_use]
pub fn owner(key: &SigningKey) -> String {
    match key.purpose {
        Purpose::Packages => format!("SIG {}", key.sig),
        Purpose::Decisions => "decisions".to_owned(),
    }
}

/// The rule for names of SIGs: lower-case letters, digits and single hyphens.
fn is_sig(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.split('-').all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

fn disk(path: &Path, source: io::Error) -> KeyError {
    KeyError::Disk { path: path.to_owned(), source }
}

fn make_folder(folder: &Path) -> Result<(), KeyError> {
    let made = fs::DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(folder);
    made.map_err(|source| disk(folder, source))
}

/// The names in a folder, in order; none where there is no folder.
fn names_in(folder: &Path) -> Result<Vec<String>, KeyError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(disk(folder, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|source| disk(folder, source))?.file_name();
        names.extend(name.into_string().ok().filter(|name| !name.starts_with('.')));
    }
    names.sort();
    Ok(names)
}

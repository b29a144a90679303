//! The public keys that an audit trusts: nothing of them comes from the tree it looks at.

use std::collections::BTreeMap;
use std::path::Path;

use farm::dsse::DecisionPublic;
use farm::openpgp::PublicKey;

use crate::failure::Failure;

/// What the name of a file with the keys of one SIG begins with. Such keys count for that SIG's repos and no other's.
const OF_SIG: &str = "RPM-GPG-KEY-";
/// How armoured keys begin and end.
const OPENPGP: (&str, &str) = ("-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----");
const DECISION: (&str, &str) = ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----");
/// Bytes a file with keys may have.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The keys.
#[derive(Debug, Default)]
pub struct Keys {
    /// Those of packages and metadata, by SIG; `None` for those that count for every SIG.
    packages: BTreeMap<Option<String>, Vec<PublicKey>>,
    /// Those of decisions and provenance.
    pub decisions: Vec<DecisionPublic>,
}

impl Keys {
    /// Reads a file with public keys, or every file of a folder: armoured OpenPGP keys and Ed25519 keys in PEM, in any order.
    ///
    /// # Errors
    /// [`Failure::Usage`] when one cannot be read, or none of a kind is there.
    pub fn read(path: &Path) -> Result<Keys, Failure> {
        let no = |what: String| {
            Failure::usage(
                what,
                "--keys names a file or folder with the farm's public keys, got on a way you trust",
            )
        };
        let unreadable =
            |path: &Path, error: std::io::Error| no(format!("cannot read {}: {error}", path.display()));
        let mut files = Vec::new();
        if path.is_dir() {
            for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, error))? {
                let file = entry.map_err(|error| unreadable(path, error))?.path();
                if file.is_file() {
                    files.push(file);
                }
            }
        } else {
            files.push(path.to_owned());
        }
        files.sort();
        let mut keys = Keys::default();
        for file in files {
            let size = std::fs::metadata(&file).map_err(|error| unreadable(&file, error))?.len();
            if size > LARGEST {
                return Err(no(format!("{} is too large for a file with keys", file.display())));
            }
            let bytes = std::fs::read(&file).map_err(|error| unreadable(&file, error))?;
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            keys.add(&name, &String::from_utf8_lossy(&bytes))
                .map_err(|why| no(format!("{}: {why}", file.display())))?;
        }
        match (keys.packages.is_empty(), keys.decisions.is_empty()) {
            (false, false) => Ok(keys),
            (true, _) => Err(no(format!("there is no OpenPGP key in {}", path.display()))),
            (_, true) => {
                Err(no(format!("there is no key for decisions (decisions.pub) in {}", path.display())))
            }
        }
    }

    fn add(&mut self, name: &str, text: &str) -> Result<(), String> {
        let sig = name.strip_prefix(OF_SIG).map(str::to_owned);
        for block in blocks(text, OPENPGP) {
            let key = PublicKey::from_armored(block).map_err(|error| error.to_string())?;
            self.packages.entry(sig.clone()).or_default().push(key);
        }
        for block in blocks(text, DECISION) {
            self.decisions.push(DecisionPublic::from_pem(block).map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    /// The keys whose signatures count for packages and metadata of this SIG.
    #[must_use]
    pub fn of_sig(&self, sig: &str) -> Vec<PublicKey> {
        let own = self.packages.get(&Some(sig.to_owned()));
        let any = self.packages.get(&None);
        own.into_iter().chain(any).flatten().cloned().collect()
    }
}

fn blocks<'a>(text: &'a str, (begin, end): (&str, &str)) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(from) = rest.find(begin) {
        rest = &rest[from..];
        let Some(to) = rest.find(end) else { break };
        found.push(&rest[..to + end.len()]);
        rest = &rest[to + end.len()..];
    }
    found
}

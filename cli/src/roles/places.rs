//! Where the ledger is. Secrets may be kept in files of their own, so that configurations can be shown.

use std::path::{Path, PathBuf};

use farm::ledger::Db;
use hub::bucket::S3;
use serde::Deserialize;
use url::Url;

use super::{Config, unusable};
use crate::failure::Failure;
use crate::settings::Environment;

/// Where a farm in one process keeps everything unless it is told otherwise.
pub const DEFAULT_DATA: &str = "var/grange";
/// The ledger's file in the data folder.
pub const LEDGER_FILE: &str = "ledger.sqlite";

/// `[ledger]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerPlace {
    /// `postgres://user@host/database`, or `sqlite:<path>`; a file in the hub's data folder when it is not said.
    pub url: Option<String>,
    /// A file with the address in place of `url`.
    pub url_file: Option<PathBuf>,
    /// A file with the password, which is put into the address.
    pub password_file: Option<PathBuf>,
}

/// Where the ledger is, as the commands that open it by themselves are told.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The folder the farm keeps everything in [default: var/grange]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The database, when it is not in that folder
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "config"])]
    pub database: Option<String>,
    /// The configuration file of the roles, whose section [ledger] says where it is
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub config: Option<PathBuf>,
}

impl Place {
    /// The database's address.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the configuration is wrong.
    pub fn address(&self, environment: &Environment) -> Result<String, Failure> {
        if let Some(url) = &self.database {
            return Ok(url.clone());
        }
        if let Some(data) = &self.data {
            return Ok(ledger_url(data));
        }
        let config = Config::read(self.config.as_deref(), environment)?;
        config.ledger.address(&config.hub.data)
    }

    /// The folder the hub keeps its files in.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the configuration is wrong.
    pub fn folder(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        match &self.data {
            Some(data) => Ok(data.clone()),
            None => Ok(Config::read(self.config.as_deref(), environment)?.hub.data),
        }
    }

    /// The bucket of the hub's files, if there is one.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the configuration is wrong.
    pub fn bucket(&self, environment: &Environment) -> Result<Option<S3>, Failure> {
        Ok(Config::read(self.config.as_deref(), environment)?.hub.s3)
    }

    /// Opens the ledger, which must be there and have the schema this program knows.
    ///
    /// # Errors
    /// [`Failure::Usage`] when there is none, or it has another schema; [`Failure::Local`] when it fails.
    pub async fn open(&self, environment: &Environment) -> Result<Db, Failure> {
        let address = self.address(environment)?;
        // A mistyped folder must not become a new, empty farm.
        if let Some(file) = address.strip_prefix("sqlite:").map(Path::new).filter(|file| !file.exists()) {
            return Err(Failure::usage(
                format!("there is no ledger in {}", file.parent().unwrap_or(file).display()),
                "name the farm's folder with --data; `grange standalone` makes it at its first start",
            ));
        }
        Db::open_known(&address).await.map_err(unusable)
    }
}

/// The address of the ledger in a data folder.
#[must_use]
pub fn ledger_url(data: &Path) -> String {
    format!("sqlite:{}", data.join(LEDGER_FILE).display())
}

impl LedgerPlace {
    /// The database's address, with its password.
    ///
    /// # Errors
    /// [`Failure::Usage`] when a file cannot be read or the address is none.
    pub fn address(&self, data: &Path) -> Result<String, Failure> {
        let address = match (&self.url, &self.url_file) {
            (Some(_), Some(_)) => {
                return Err(Failure::usage("[ledger] has both `url` and `url_file`", "keep one of them"));
            }
            (Some(url), None) => url.clone(),
            (None, Some(file)) => secret("url_file", file)?,
            (None, None) => return Ok(ledger_url(data)),
        };
        let Some(file) = &self.password_file else { return Ok(address) };
        // An address may hold a password already, so none of it is repeated here.
        let wrong = || {
            Failure::usage(
                "[ledger] `password_file` needs an address that can have a password",
                "write it as postgres://user@host/database",
            )
        };
        let mut parsed = Url::parse(&address).map_err(|_| wrong())?;
        let password = secret("password_file", file)?;
        parsed.set_password(Some(&password)).map_err(|()| wrong())?;
        Ok(parsed.into())
    }
}

fn secret(key: &str, file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map(|text| text.trim().to_owned()).map_err(|error| {
        Failure::usage(
            format!("[ledger] `{key}`: cannot read {}: {error}", file.display()),
            "name a file this user may read",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_comes_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "p:w/d\n").unwrap();
        let place = LedgerPlace {
            url: Some("postgres://grange@db.example.org/grange".to_owned()),
            url_file: None,
            password_file: Some(file.clone()),
        };
        assert_eq!(
            place.address(Path::new("/srv")).unwrap(),
            "postgres://grange:p%3Aw%2Fd@db.example.org/grange"
        );
        let both = LedgerPlace { url_file: Some(file), ..place };
        assert!(matches!(both.address(Path::new("/srv")), Err(Failure::Usage { .. })));
        assert_eq!(LedgerPlace::default().address(Path::new("/srv")).unwrap(), "sqlite:/srv/ledger.sqlite");
    }
}

//! Who a builder is: its name, and the secret it shows the hub.
//!
//! A builder makes its secret itself, once, and keeps it in its data directory; the hub knows the digest alone. A new
//! machine is let in with a one-time token that an admin made for it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use farm::builder::is_builder_name;
use farm::digest::Digest;
use tokio::sync::watch;

use crate::attempt::Token;
use crate::client::{Hub, Unwelcome};
use crate::{Config, workspace};

/// The file in the data directory that has the secret.
const SECRET_FILE: &str = "secret";
/// The file that has the name. It is there when the hub knows the secret.
const NAME_FILE: &str = "name";
/// Between two tries to reach a hub that does not answer.
const RETRY: Duration = Duration::from_secs(2);

/// A builder's name and secret.
#[derive(Clone)]
pub struct Identity {
    name: String,
    secret: Token,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Identity {
    /// A builder with a new secret, which whoever starts it must make known to the ledger.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub fn fresh(name: impl Into<String>) -> io::Result<Identity> {
        Ok(Identity { name: name.into(), secret: Token::fresh()? })
    }

    /// What the builder is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the ledger keeps of the secret.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.secret.digest()
    }

    pub(crate) fn secret(&self) -> &Token {
        &self.secret
    }

    /// The identity this machine has; one that has none yet joins the farm with [`Config::enrolment_token_file`]. A hub
    /// that does not answer is waited for; `None` if `stop` became true (or its sender is gone) meanwhile.
    ///
    /// # Errors
    /// When there is no token, the hub refuses it, or the data directory cannot be used.
    pub async fn obtain(
        config: &Config,
        mut stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Option<Identity>> {
        let data = &config.data;
        let doing = || format!("cannot use the data directory {}", data.display());
        workspace::make_folder(data).with_context(doing)?;
        let known = read(&data.join(NAME_FILE)).with_context(doing)?;
        let kept = read(&data.join(SECRET_FILE)).with_context(doing)?;
        if let (Some(name), Some(secret)) = (known, kept.clone()) {
            anyhow::ensure!(
                is_builder_name(&name),
                "{} has no builder's name",
                data.join(NAME_FILE).display()
            );
            return Ok(Some(Identity { name, secret: Token::from(secret) }));
        }
        let Some(file) = &config.enrolment_token_file else {
            bail!(
                "this machine is no builder of the farm yet: let an admin run `grange builders enrol {}`, put the token \
                 it prints into a file, and name that file as `enrolment_token_file`",
                config.name
            );
        };
        let token = read(file)
            .and_then(|token| token.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .with_context(|| format!("cannot read the enrolment token from {}", file.display()))?;
        // Kept before it is shown: after an answer that was lost the same secret must come again.
        let secret = match kept {
            Some(secret) => Token::from(secret),
            None => {
                let secret = Token::fresh().context("there are no random numbers to make a secret of")?;
                keep(&data.join(SECRET_FILE), secret.as_str()).with_context(doing)?;
                secret
            }
        };
        let hub = Hub::new(config.hub.clone(), secret.clone()).context("cannot set up HTTP")?;
        let name = tokio::select! {
            name = join(&hub, &token) => name?,
            _true_or_gone = stop.wait_for(|stop| *stop) => return Ok(None),
        };
        anyhow::ensure!(is_builder_name(&name), "the hub gave no builder's name: {name:?}");
        keep(&data.join(NAME_FILE), &name).with_context(doing)?;
        tracing::info!(builder = name, hub = %config.hub, "this machine has joined the farm");
        Ok(Some(Identity { name, secret }))
    }
}

/// Shows the token until the hub answers.
async fn join(hub: &Hub, token: &str) -> anyhow::Result<String> {
    let mut told = false;
    loop {
        match hub.enrol(token).await {
            Ok(enrolled) => return Ok(enrolled.builder),
            Err(Unwelcome::Away(why)) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(why, "the hub does not answer; trying to join the farm until it does");
                }
                tokio::time::sleep(RETRY).await;
            }
            Err(Unwelcome::Refused { why }) => bail!("the hub does not let this machine join: {why}"),
        }
    }
}

/// A file's text without the white space around it; `None` if it is not there, or empty.
fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file that only this user can read, whole or not at all.
pub(crate) fn keep(path: &Path, text: &str) -> io::Result<()> {
    let partly = path.with_extension("partly");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partly)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(partly, path)
}

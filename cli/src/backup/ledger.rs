//! The ledger's part of a backup.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use farm::ledger::{Db, is_postgres};
use tokio::process::Command;
use url::Url;

/// A copy of a SQLite ledger.
const FILE: &str = "ledger.sqlite";
/// A dump of a PostgreSQL ledger.
const DUMP: &str = "ledger.dump";

/// Copies the ledger as it is at one moment.
pub(super) async fn copy(db: &Db, address: &str, folder: &Path) -> anyhow::Result<()> {
    if !is_postgres(address) {
        return Ok(db.copy_to(&folder.join(FILE)).await?);
    }
    let mut dump = program("pg_dump", address)?;
    dump.args(["--format=custom", "--no-owner", "--no-privileges", "--file"]).arg(folder.join(DUMP));
    run(dump, "pg_dump").await
}

/// Puts a copy where there is none yet. It may come from the other kind of database only by other means.
pub(super) async fn put_back(folder: &Path, address: &str) -> anyhow::Result<()> {
    if !is_postgres(address) {
        let (from, to) = (folder.join(FILE), address.trim_start_matches("sqlite:"));
        if !from.exists() {
            bail!("{} has a PostgreSQL ledger; name a PostgreSQL database", folder.display());
        }
        if Path::new(to).exists() {
            bail!("{to} exists already");
        }
        std::fs::copy(&from, to).with_context(|| format!("cannot write {to}"))?;
        return Ok(());
    }
    let from = folder.join(DUMP);
    if !from.exists() {
        bail!("{} has a SQLite ledger; name a data folder or a SQLite file", folder.display());
    }
    if !Db::is_empty(address).await? {
        bail!("the database is not empty; name an empty one");
    }
    let mut restore = program("pg_restore", address)?;
    restore.args(["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]).arg(from);
    run(restore, "pg_restore").await
}

/// One of PostgreSQL's programs, told which database. The password goes by the environment, which others do not see.
fn program(name: &str, address: &str) -> anyhow::Result<Command> {
    let mut url = Url::parse(address).context("the database's address")?;
    let password = url.password().map(str::to_owned);
    let _has_none_then = url.set_password(None);
    let mut command = Command::new(name);
    if let Some(password) = password {
        let plain = percent_decoded(&password);
        command.env("PGPASSWORD", plain);
    }
    command.arg("--dbname").arg(url.as_str()).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

fn percent_decoded(text: &str) -> String {
    // As a form's value with `+` kept: the one decoder that is at hand does just this.
    let quoted = text.replace('+', "%2B");
    url::form_urlencoded::parse(format!("v={}", quoted.replace('&', "%26")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

async fn run(mut command: Command, name: &str) -> anyhow::Result<()> {
    let output = command.output().await.with_context(|| {
        format!(
            "cannot run {name}, which comes with PostgreSQL's client programs (Debian: postgresql-client)"
        )
    })?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

//! The first start of a farm: somebody must be able to let the others in.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use farm::digest::Digest;
use farm::ledger::Db;

use crate::commands::person::fresh_token;
use crate::screen::now;

/// What the first admin is called.
pub const ADMIN: &str = "admin";
/// Where in the data folder the first admin's token is kept.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";

/// Makes the first admin of a farm that has nobody yet, and keeps their token in the file. Gives the token.
pub(crate) async fn admin(db: &Db, file: &Path) -> anyhow::Result<Option<String>> {
    let mut tx = db.write().await.context("the ledger")?;
    if !tx.people().await.context("the ledger")?.is_empty() {
        return Ok(None);
    }
    let token = fresh_token()?;
    // The file first: a person whose token nobody has would lock everyone out for good.
    keep(file, &token).context("cannot keep the first admin's token")?;
    tx.put_person(ADMIN, &Digest::of(token.as_bytes()), true, now()).await.context("the ledger")?;
    tx.commit().await.context("the ledger")?;
    Ok(Some(token))
}

fn keep(path: &Path, token: &str) -> std::io::Result<()> {
    // One that an interrupted first start left behind was never anybody's.
    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    file.sync_all()
}

//! `grange admin migrate`

use farm::ledger::{Db, Migrated};
use serde_json::json;

use crate::failure::Failure;
use crate::roles::{Place, unusable};
use crate::screen::Screen;
use crate::settings::Environment;

/// What `grange admin migrate` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It may be run again, and twice at once. A migration only adds to the schema: roles of an older version that are at work go
on, and can be replaced one after the other; started anew they refuse.

Examples:
  grange admin migrate --config /etc/grange/grange.toml
  grange admin migrate --database postgres://grange@db/grange")]
pub struct Args {
    /// Where the ledger is.
    #[command(flatten)]
    pub place: Place,
}

/// Brings the schema up to date.
///
/// # Errors
/// When the database cannot be reached, or is newer than this program.
pub(super) async fn run(args: Args, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let address = args.place.address(environment)?;
    let (db, Migrated { from, to }) = Db::open_migrated(&address).await.map_err(unusable)?;
    db.close().await;
    if screen.json {
        return Ok(screen.line(&json!({ "from": from, "to": to }).to_string())?);
    }
    Ok(screen.line(&match from {
        0 => format!("the ledger is made; its schema is {to}"),
        same if same == to => format!("the ledger's schema is {to} already"),
        older => format!("the ledger's schema was {older} and is {to} now"),
    })?)
}

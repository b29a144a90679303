//! `grange admin first-admin`

use std::path::PathBuf;

use serde_json::json;

use crate::failure::Failure;
use crate::roles::Place;
use crate::screen::Screen;
use crate::settings::Environment;
use crate::standalone::{ADMIN, first_admin};

/// What `grange admin first-admin` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A farm that has people already is left as it is; `grange person add NAME --admin` gives another admin, or a new token.

Examples:
  grange admin first-admin --config /etc/grange/grange.toml --token-file /root/grange-admin-token")]
pub struct Args {
    /// Where the token is written, readable for you alone
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// Where the ledger is.
    #[command(flatten)]
    pub place: Place,
}

/// Makes the first admin, unless there is somebody.
///
/// # Errors
/// When the ledger fails or the file cannot be written.
pub(super) async fn run(args: Args, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let db = args.place.open(environment).await?;
    let made = first_admin(&db, &args.token_file).await;
    db.close().await;
    let made = made?.is_some();
    let file = args.token_file.display();
    if screen.json {
        return Ok(screen.line(&json!({ "made": made, "token_file": args.token_file }).to_string())?);
    }
    Ok(screen.line(&if made {
        format!("`{ADMIN}` may do everything; the token is in {file}")
    } else {
        "there are people already; nothing was made".to_owned()
    })?)
}

//! `grange admin backup`

use std::path::PathBuf;

use serde_json::json;

use crate::backup;
use crate::failure::Failure;
use crate::roles::Place;
use crate::screen::Screen;
use crate::settings::Environment;

/// What `grange admin backup` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The farm may be at work meanwhile. A ledger on PostgreSQL is copied with pg_dump, which must be here and at least as new as
the server. The folder must not exist yet; what it has is as secret as the ledger. Of a farm whose files are in a bucket
([hub.s3]) it has what the disk has of them, and not the bucket.

Examples:
  grange admin backup /backup/monday --config /etc/grange/grange.toml
  grange admin backup /backup/monday --data /var/lib/grange")]
pub struct Args {
    /// The folder to make
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Where the farm is.
    #[command(flatten)]
    pub place: Place,
}

/// Copies the ledger and the data folder.
///
/// # Errors
/// When something cannot be read or written.
pub(super) async fn run(args: Args, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let db = args.place.open(environment).await?;
    let (address, data) = (args.place.address(environment)?, args.place.folder(environment)?);
    let copied = backup::make(&db, &address, &data, &args.folder).await;
    db.close().await;
    let copied = copied?;
    if screen.json {
        let said = json!({ "folder": args.folder, "files": copied.files, "bytes": copied.bytes });
        return Ok(screen.line(&said.to_string())?);
    }
    let (folder, files, mib) = (args.folder.display(), copied.files, copied.bytes >> 20);
    Ok(screen.line(&format!("{folder} has the ledger and {files} files, {mib} MiB"))?)
}

//! `grange admin restore`

use std::path::PathBuf;

use serde_json::json;

use crate::backup;
use crate::failure::Failure;
use crate::roles::Place;
use crate::screen::Screen;
use crate::settings::Environment;

/// What `grange admin restore` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
No role may run meanwhile. The ledger must be empty and the data folder must not exist. Afterwards every file the ledger
names is looked for. Bring the schema up to date with `grange admin migrate` if this program is newer than the backup.

Examples:
  grange admin restore /backup/monday --config /etc/grange/grange.toml
  grange admin restore /backup/monday --data /var/lib/grange")]
pub struct Args {
    /// The folder that `grange admin backup` made
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Where the farm is to be.
    #[command(flatten)]
    pub place: Place,
}

/// Puts a backup where a farm is to be.
///
/// # Errors
/// When there is a farm already, something cannot be read or written, or a file is missing.
pub(super) async fn run(args: Args, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let (address, data) = (args.place.address(environment)?, args.place.folder(environment)?);
    let restored = backup::restore(&args.folder, &address, &data).await?;
    if screen.json {
        let said = json!({ "data": data, "files": restored.files, "bytes": restored.bytes });
        return Ok(screen.line(&said.to_string())?);
    }
    let (data, files, mib) = (data.display(), restored.files, restored.bytes >> 20);
    Ok(screen.line(&format!("{data} has {files} files, {mib} MiB; every file the ledger names is there"))?)
}

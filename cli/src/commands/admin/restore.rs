//! `grange admin restore`

use std::path::PathBuf;

use serde_json::json;

use crate::backup::{self, Checked, Restored};
use crate::failure::Failure;
use crate::roles::Place;
use crate::screen::Screen;
use crate::settings::Environment;

/// What `grange admin restore` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
No role may run meanwhile. The ledger must be empty and the data folder must not exist. The schema is brought up to date when
this program is newer than the backup. Then it is checked that every file the ledger names is there, that every snapshot a
repo points to is whole by its manifests (names and sizes), and that git finds no fault with any repo (`git fsck`). Where the
farm's files are in a bucket ([hub.s3]), those are looked for there too, and packages are not looked at on the disk.

What was decided since the backup is undone. Builds that were withdrawn since are not withdrawn any more, and repos show them again:
withdraw them again before people promote. Repos that have moved since have lower revisions than users have seen, until they have moved
as often again: `grange verify --remember FILE` says of each that an older state is being replayed, which is true. When you know that it
is because of the restore, begin with a new FILE.

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
/// When there is a farm already, something cannot be read or written, or what was put back is not whole.
pub(super) async fn run(args: Args, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let (address, data) = (args.place.address(environment)?, args.place.folder(environment)?);
    let s3 = args.place.bucket(environment)?;
    let restored = backup::restore(&args.folder, &address, &data, s3.as_ref()).await?;
    let Restored { copied, migrated, checked: Checked { artifacts, snapshots, git_repos } } = restored;
    if screen.json {
        let said = json!({
            "data": data, "files": copied.files, "bytes": copied.bytes,
            "schema": { "from": migrated.from, "to": migrated.to },
            "checked": { "artifacts": artifacts, "snapshots": snapshots, "git_repos": git_repos },
        });
        return Ok(screen.line(&said.to_string())?);
    }
    screen.line(&format!("{} has {} files, {} MiB", data.display(), copied.files, copied.bytes >> 20))?;
    if migrated.from != migrated.to {
        screen.line(&format!("the ledger's schema was {} and is {} now", migrated.from, migrated.to))?;
    }
    Ok(screen.line(&format!(
        "checked: {artifacts} files that the ledger names are there; {snapshots} snapshots that repos point to have every \
         file in its size; git finds no fault with {git_repos} repos"
    ))?)
}

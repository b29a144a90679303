//! `grange verify`

use std::path::PathBuf;

use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;
use crate::verify::{Keys, Options, Place, audit};

/// What `grange verify` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It asks no hub and trusts none: what counts are the public keys, which you must have got on another way than from the tree
itself, at least once. Every repo must have metadata that its SIG signed, and a signed decision about exactly its packages,
none more and none less, with every required suite passed or waived, and the provenance of every build.

Without --deep packages are not read: their sizes are compared, and their digests as the metadata lists them. An older
state that was once signed is still well signed; only --remember sees that it is being replayed. Exit code 1: something
is wrong.

Examples:
  grange verify https://grange.example.org/repos/ --keys /etc/pki/rpm-gpg --remember /var/lib/grange-verify.json
  grange verify https://grange.example.org/repos/mirror/SIGs/9-stream/storage/x86_64/gluster-11/ --keys keys --deep
  grange verify file:///srv/mirror --keys keys --deep --json")]
pub struct Args {
    /// The address or path of a public tree, of one repo, or of one folder of it
    #[arg(value_name = "REPO-URL")]
    pub repo: String,
    /// The farm's public keys: a file, or a folder with RPM-GPG-KEY-<sig> of each SIG and decisions.pub
    #[arg(long, value_name = "FILE|FOLDER")]
    pub keys: PathBuf,
    /// Read every package from its first byte to its last
    #[arg(long)]
    pub deep: bool,
    /// The tag that the repo must be, where its address does not say
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// A file to remember the newest revision of each repo in, so that an older one is noticed
    #[arg(long, value_name = "FILE")]
    pub remember: Option<PathBuf>,
}

/// Looks at it and says what is wrong.
///
/// # Errors
/// When something is wrong, or nothing can be looked at.
pub async fn run(args: Args, screen: &mut Screen) -> Result<(), Failure> {
    let Args { repo, keys, deep, tag, remember } = args;
    let keys = Keys::read(&keys)?;
    let place = Place::open(&repo)?;
    let report = audit(&place, &keys, &Options { deep, tag, memory: remember }).await?;
    if screen.json {
        let text = serde_json::to_string(&report).map_err(|error| Failure::Local(error.into()))?;
        screen.line(&text)?;
    } else {
        screen.print(&render::audit(&report, &screen.look()))?;
    }
    match report.all_violations().count() {
        0 => Ok(()),
        1 => Err(Failure::Failed("1 violation".to_owned())),
        many => Err(Failure::Failed(format!("{many} violations"))),
    }
}

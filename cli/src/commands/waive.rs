//! `grange waive`

use farm::api::{NewWaiver, Waived};
use farm::arch::Arch;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::{Screen, Tone};

/// What `grange waive` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A release manager's word in place of a test's result. It is kept for ever, with its reason, and shown wherever the promotion is
shown. Without --nvr it holds for exactly the content that was tested; with it, for whatever content has that build: while the
build is in the repo, a failure of the suite stops no promotion there, of other packages either. So give it few days.

`grange promotions ID` lists what a promotion requires. One that was refused before is asked for again after the waiver.

Examples:
  grange waive 01JZ8M3Q5T7V9X1B3D5F7H9K1M runs --reason \"the test host's clock is wrong, ticket 77\" --days 3
  grange waive 01JZ8M3Q5T7V9X1B3D5F7H9K1M runs --arch s390x --nvr hello-2.10-1.el9s --reason \"known on s390x, fixed in 2.11\" --days 30
  grange waive 01JZ8M3Q5T7V9X1B3D5F7H9K1M opens-images --on imaging9s-viewer-3-el9s --reason \"viewer 3 ends next week\" --days 7")]
pub struct Args {
    /// The promotion whose result is waived
    #[arg(value_name = "PROMOTION")]
    pub promotion: String,
    /// The suite
    #[arg(value_name = "SUITE")]
    pub suite: String,
    /// Only on this architecture; on all of them when absent
    #[arg(long)]
    pub arch: Option<Arch>,
    /// The target of the project whose suite it is, when that is another one which is layered on the repo
    #[arg(long, value_name = "TARGET")]
    pub on: Option<String>,
    /// Let it hold for whatever content has this build of the promotion
    #[arg(long, value_name = "NVR")]
    pub nvr: Option<String>,
    /// Why, for everybody to read
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// For how many days, at most 90
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=90))]
    pub days: u32,
}

/// Waives it.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { promotion, suite, arch, on, nvr, reason, days } = args;
    let new = NewWaiver { suite, arch, on, nvr, reason, days };
    let body = client.post(&["promotions", &promotion, "waivers"], &new).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let Waived { waiver, then } = body.read()?;
    let look = screen.look();
    screen.line(&format!("waiver {}", look.paint(Tone::Strong, &waiver.id.to_string())))?;
    screen.line(&format!("{} is waived {}", render::waived(&waiver), render::holds(&waiver, look.now)))?;
    Ok(screen.line(&then)?)
}

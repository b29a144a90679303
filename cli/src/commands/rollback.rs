//! `grange rollback`

use std::time::{Duration, Instant};

use farm::api::{NewRollback, PromotionView};
use farm::promotion::PromotionState;

use super::promote::{opened, pace, settle};
use crate::client::Client;
use crate::failure::Failure;
use crate::follow::Deadline;
use crate::screen::Screen;

/// What `grange rollback` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A public repo shows again what it showed before, under a higher revision. No test is run again: that content was tested in exactly
this combination, and published. Going back twice goes further back; `grange history TAG` lists what there is.

Examples:
  grange rollback storage9s-gluster-11-release --reason \"glusterd does not start on aarch64\"
  grange rollback storage9s-gluster-11-release --revision 41 --reason \"back to the last known good set\"
  grange rollback storage9s-gluster-11-testing --reason \"start over with the new branch\" --confirm")]
pub struct Args {
    /// The repo's tag
    #[arg(value_name = "TAG")]
    pub tag: String,
    /// The revision to go back to; the one before the present content when absent
    #[arg(long, value_name = "NUMBER")]
    pub revision: Option<i64>,
    /// Why, for everybody to read
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Yes, the repo may hold much less than before
    #[arg(long)]
    pub confirm: bool,
    /// Do not wait until users see it
    #[arg(long)]
    pub no_wait: bool,
    /// Give up waiting after so many seconds
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_wait")]
    pub timeout: Option<u64>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 0.05, hide = true)]
    pub every: f64,
}

/// Goes back, and says how long that took.
///
/// # Errors
/// When the hub refuses, or it was waited for and the gate refused.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { tag, revision, reason, confirm, no_wait, timeout, every } = args;
    let begun = Instant::now();
    let new = NewRollback { tag: tag.clone(), revision, reason, confirm };
    let body = client.post(&["rollbacks"], &new).await?;
    let id = opened(&body, !no_wait, screen)?;
    if no_wait {
        return Ok(());
    }
    settle(&id, pace(every), Deadline::after(timeout), client, screen).await?;
    if screen.json {
        return Ok(());
    }
    let took = begun.elapsed();
    let view: PromotionView = client.get(&["promotions", &id], &[]).await?.read()?;
    match view.promotion.state {
        PromotionState::Published { .. } => Ok(screen.line(&done(&tag, took))?),
        PromotionState::Composing
        | PromotionState::InTesting { .. }
        | PromotionState::Ready { .. }
        | PromotionState::Approved { .. }
        | PromotionState::Publishing { .. }
        | PromotionState::Rejected { .. }
        | PromotionState::Withdrawn { .. } => Ok(()),
    }
}

fn done(tag: &str, took: Duration) -> String {
    format!("{tag} shows what it showed before, {:.2} s after it was asked for", took.as_secs_f64())
}

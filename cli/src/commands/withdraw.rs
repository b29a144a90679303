//! `grange withdraw`

use farm::api::{NewWithdrawal, Withdrawn};
use farm::nvr::Nvr;

use super::build::warn;
use crate::client::Client;
use crate::failure::Failure;
use crate::screen::Screen;

/// What `grange withdraw` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A promotion is taken back before it is published. A build is withdrawn for good: it leaves the candidate repo, and the gate lets
it into no public repo any more. From one that shows it, only a rollback, a newer build or a removal takes it.

Examples:
  grange withdraw 01JZ8M3Q5T7V9X1B3D5F7H9K1M
  grange withdraw hello-2.10-1.el9s --reason \"CVE-2026-1234: reads past its buffer\"")]
pub struct Args {
    /// The promotion's id, or the build's name
    #[arg(value_name = "PROMOTION|NVR")]
    pub what: String,
    /// Why the build is withdrawn, for everybody to read
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Takes it back.
///
/// # Errors
/// When the hub refuses, as it does once a promotion is published.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { what, reason } = args;
    match (what.parse::<Nvr>().is_ok(), reason) {
        (true, Some(reason)) => build(NewWithdrawal { nvr: what, reason }, client, screen).await,
        (true, None) => Err(Failure::usage(
            format!("{what} is a build, which is withdrawn for good"),
            "say why with --reason; a promotion of it is taken back by the promotion's id",
        )),
        (false, Some(_)) => Err(Failure::usage(
            format!("{what} is no build, and a promotion is taken back without a reason"),
            "give an NVR such as hello-2.10-1.el9s, or leave --reason out",
        )),
        (false, None) => promotion(&what, client, screen).await,
    }
}

async fn promotion(id: &str, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = client.post_nothing(&["promotions", id, "withdraw"]).await?;
    if screen.json {
        if !body.text().is_empty() {
            screen.line(body.text())?;
        }
        return Ok(());
    }
    Ok(screen.line(&format!("promotion {id} is withdrawn"))?)
}

async fn build(new: NewWithdrawal, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = client.post(&["withdrawals"], &new).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let Withdrawn { nvr, live_in, warnings } = body.read()?;
    let where_now = if live_in.is_empty() {
        "no public repo shows it".to_owned()
    } else {
        format!("public in {}", live_in.join(" and "))
    };
    screen.line(&format!("{nvr} is withdrawn; {where_now}"))?;
    warn(&warnings, screen)
}

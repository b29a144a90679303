//! `grange promote`

use std::time::Duration;

use farm::api::{MadePromotion, NewPromotion, PromotionView};
use farm::nvr::Nvr;
use farm::promotion::{Promotion, PromotionState};
use farm::sig::Stage;

use crate::client::Client;
use crate::failure::Failure;
use crate::follow::{Deadline, Patient, Spinner};
use crate::render;
use crate::screen::{Screen, Tone};

/// What `grange promote` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Builds that belong together are named together: they are tested and published together, or not at all.

Examples:
  grange promote hello-2.10-1.el9s
  grange promote libfoo-2.0-1.el9s foo-utils-2.0-1.el9s --wait
  grange promote hello-2.10-1.el9s --to testing
  grange promote 01JZ8M3Q5T7V9X1B3D5F7H9K1M")]
pub struct Args {
    /// The builds to promote, or the one promotion you approve as a release manager
    #[arg(value_name = "NVR|PROMOTION", required = true)]
    pub what: Vec<String>,
    /// Where to: release, or testing to try again what the gate refused
    #[arg(long, value_name = "STAGE", default_value = "release", value_parser = stage)]
    pub to: Stage,
    /// Wait until it is published or refused, or needs a release manager
    #[arg(long, short)]
    pub wait: bool,
    /// Give up waiting after so many seconds
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    pub timeout: Option<u64>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, hide = true)]
    pub every: f64,
}

fn stage(text: &str) -> Result<Stage, String> {
    match text {
        "release" => Ok(Stage::Release),
        "testing" => Ok(Stage::Testing),
        _ => Err("builds are promoted to `release` or to `testing`".to_owned()),
    }
}

/// Opens a promotion, or approves one.
///
/// # Errors
/// When the hub refuses, or it was waited for and the gate refused or a release manager is missing.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { what, to, wait, timeout, every } = args;
    let builds = what.iter().filter(|text| text.parse::<Nvr>().is_ok()).count();
    let id = if builds == what.len() {
        open(what, to, wait, client, screen).await?
    } else if let ([id], 0) = (what.as_slice(), builds) {
        approve(id, wait, client, screen).await?
    } else {
        return Err(Failure::usage(
            "these are neither builds nor one promotion",
            "give NVRs such as hello-2.10-1.el9s to promote them, or one promotion's id to approve it",
        ));
    };
    if wait {
        let every = Duration::from_secs_f64(every.clamp(0.01, 60.0));
        return settle(&id, every, Deadline::after(timeout), client, screen).await;
    }
    Ok(())
}

async fn open(
    nvrs: Vec<String>,
    to: Stage,
    wait: bool,
    client: &Client,
    screen: &mut Screen,
) -> Result<String, Failure> {
    let body = client.post(&["promotions"], &NewPromotion { nvrs, to }).await?;
    let made: MadePromotion = body.read()?;
    let id = made.id.to_string();
    if !screen.json {
        screen.line(&format!("promotion {}\n{}", screen.look().paint(Tone::Strong, &id), made.url))?;
    } else if !wait {
        screen.line(body.text())?;
    }
    Ok(id)
}

async fn approve(id: &str, wait: bool, client: &Client, screen: &mut Screen) -> Result<String, Failure> {
    let body = client.post_nothing(&["promotions", id, "approve"]).await?;
    if !screen.json {
        screen.line(&format!("you approved promotion {id}"))?;
    } else if !wait && !body.text().is_empty() {
        screen.line(body.text())?;
    }
    Ok(id.to_owned())
}

/// Says whatever changes until it is settled.
async fn settle(
    id: &str,
    every: Duration,
    deadline: Deadline,
    client: &Client,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let mut patient = Patient::new(client);
    let mut spinner = Spinner::new(screen);
    let mut said = String::new();
    loop {
        let body = patient.get(&["promotions", id], &mut spinner, screen).await?;
        let view: PromotionView = body.read()?;
        if let Some(waits) = waits_for_a_person(&view.promotion) {
            spinner.end();
            if screen.json {
                screen.line(body.text())?;
            }
            return Err(Failure::Failed(waits));
        }
        if view.sentence != said && !screen.json {
            spinner.above(screen, &format!("{}\n", view.sentence))?;
        }
        said.clone_from(&view.sentence);
        spinner.says(&format!("promotion {}", view.promotion.phase()));
        if view.promotion.is_settled() {
            spinner.end();
            if screen.json {
                screen.line(body.text())?;
            }
            return verdict(&view.promotion.state);
        }
        deadline.check(&format!("promotion {id}, which is {}", view.promotion.phase()))?;
        tokio::time::sleep(every).await;
    }
}

/// What to say when nothing will happen any more before a release manager has spoken, which may take days.
fn waits_for_a_person(promotion: &Promotion) -> Option<String> {
    match (&promotion.state, &promotion.approver) {
        (PromotionState::Ready { .. }, None) => {
            let words = if promotion.nvrs.len() > 1 {
                "have passed their tests and wait"
            } else {
                "has passed its tests and waits"
            };
            let (what, id) = (render::nvrs(promotion), promotion.id);
            Some(format!("{what} {words} for a release manager: `grange promote {id}`"))
        }
        _ => None,
    }
}

fn verdict(state: &PromotionState) -> Result<(), Failure> {
    match state {
        PromotionState::Rejected { why, .. } => {
            Err(Failure::Failed(format!("the promotion was refused: {}", why.join("; "))))
        }
        PromotionState::Withdrawn { by, .. } => {
            Err(Failure::Failed(format!("the promotion was withdrawn by {by}")))
        }
        PromotionState::Composing
        | PromotionState::InTesting { .. }
        | PromotionState::Ready { .. }
        | PromotionState::Approved { .. }
        | PromotionState::Publishing { .. }
        | PromotionState::Published { .. } => Ok(()),
    }
}

//! `grange promote`

use std::time::Duration;

use farm::api::{MadePromotion, NewPromotion, PromotionView};
use farm::nvr::Nvr;
use farm::promotion::PromotionState;
use farm::sig::Stage;

use crate::client::{Body, Client};
use crate::failure::Failure;
use crate::follow::{Deadline, Patient, Spinner};
use crate::screen::{Screen, Tone};

/// What `grange promote` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Builds that belong together are named together: they are tested and published together, or not at all. A stack is a set of
packages that the template names: whatever of it has changed goes together. What is removed leaves the repo in the same step.

Promotions to one repo queue: each is tested on top of those ahead of it, and one that fails leaves the queue.

Examples:
  grange promote hello-2.10-1.el9s
  grange promote libfoo-2.0-1.el9s foo-utils-2.0-1.el9s --wait
  grange promote hello-2.10-1.el9s --to testing
  grange promote --stack openstack --target cloud9s-openstack-epoxy-el9s
  grange promote foo-2.0-1.el9s --remove old-foo --remove old-foo-utils
  grange promote --remove hello --target demo9s-hello-2-el9s --confirm
  grange promote 01JZ8M3Q5T7V9X1B3D5F7H9K1M")]
pub struct Args {
    /// The builds to promote, or the one promotion you approve as a release manager
    #[arg(value_name = "NVR|PROMOTION", required_unless_present_any = ["stack", "remove"])]
    pub what: Vec<String>,
    /// Whatever of this stack of the template has changed
    #[arg(long, value_name = "NAME")]
    pub stack: Option<String>,
    /// The target, where no build tells it
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// A package that leaves the repo in the same step; may be given again
    #[arg(long, value_name = "PACKAGE")]
    pub remove: Vec<String>,
    /// Yes, the repo may be emptied, or hold much less than before
    #[arg(long)]
    pub confirm: bool,
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
    let Args { what, stack, target, remove, confirm, to, wait, timeout, every } = args;
    let builds = what.iter().filter(|text| text.parse::<Nvr>().is_ok()).count();
    let is_set = stack.is_some() || target.is_some() || !remove.is_empty() || confirm;
    let id = if builds == what.len() {
        let new = NewPromotion { nvrs: what, to, target, stack, remove, confirm };
        open(&new, wait, client, screen).await?
    } else if let ([id], 0, false) = (what.as_slice(), builds, is_set) {
        approve(id, wait, client, screen).await?
    } else {
        return Err(Failure::usage(
            "these are neither builds nor one promotion",
            "give NVRs such as hello-2.10-1.el9s to promote them, or nothing but one promotion's id to approve it",
        ));
    };
    if wait {
        let every = pace(every);
        return settle(&id, every, Deadline::after(timeout), client, screen).await;
    }
    Ok(())
}

/// A pause between two looks that is neither none nor for ever.
pub(super) fn pace(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.01, 60.0))
}

async fn open(
    new: &NewPromotion,
    wait: bool,
    client: &Client,
    screen: &mut Screen,
) -> Result<String, Failure> {
    let body = client.post(&["promotions"], new).await?;
    opened(&body, wait, screen)
}

/// Says what was opened, and gives its id.
pub(super) fn opened(body: &Body, wait: bool, screen: &mut Screen) -> Result<String, Failure> {
    let made: MadePromotion = body.read()?;
    let id = made.id.to_string();
    if !screen.json {
        screen.line(&format!("promotion {}\n{}", screen.look().paint(Tone::Strong, &id), made.url))?;
        for said in &made.warnings {
            screen.line(&screen.look().paint(Tone::Dim, said))?;
        }
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
pub(super) async fn settle(
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
        if let Some(waits) = waits_for_a_person(&view) {
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
fn waits_for_a_person(view: &PromotionView) -> Option<String> {
    let promotion = &view.promotion;
    let given = promotion.approvals.len();
    let is_ready = matches!(promotion.state, PromotionState::Ready { .. });
    // A hub that does not say how many it needs, needs one.
    let needed = view.approvals_needed.max(1);
    if !is_ready || given >= needed {
        return None;
    }
    let words = if promotion.nvrs.len() > 1 {
        "have passed their tests and wait"
    } else {
        "has passed its tests and waits"
    };
    let whom = if given == 0 {
        "a release manager".to_owned()
    } else {
        format!("another release manager ({given} of {needed} have approved)")
    };
    Some(format!("{} {words} for {whom}: `grange promote {}`", promotion.what(), promotion.id))
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

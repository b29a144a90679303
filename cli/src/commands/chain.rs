//! `grange chain`, and `grange build --chain`

use std::collections::BTreeMap;
use std::time::Duration;

use farm::api::{ChainView, MadeChain, NewChain, NewMember};
use farm::ids::{ChainId, RequestId};
use farm::request::Status;

use super::build::{Listed, Then, warn};
use crate::client::Client;
use crate::failure::Failure;
use crate::follow::{Deadline, Patient, Spinner};
use crate::render;
use crate::screen::{Screen, Tone};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// What `grange chain` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`grange build --chain` makes one.

Examples:
  grange chain 01JZ8M3Q5T7V9X1B3D5F7H9K1M
  grange chain 01JZ8M3Q5T7V9X1B3D5F7H9K1M --watch --timeout 3600
  grange chain 01JZ8M3Q5T7V9X1B3D5F7H9K1M --cancel")]
pub struct Args {
    /// The chain's id
    pub id: ChainId,
    /// Follow it until all its builds are final
    #[arg(long, short)]
    pub watch: bool,
    /// Give up watching after so many seconds
    #[arg(long, value_name = "SECONDS", requires = "watch")]
    pub timeout: Option<u64>,
    /// Stop every build of it that is not over
    #[arg(long, conflicts_with = "watch")]
    pub cancel: bool,
}

/// Shows it, follows it, or stops it.
///
/// # Errors
/// When the hub refuses, or the chain was watched and failed.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { id, watch, timeout, cancel } = args;
    if cancel {
        client.post_nothing(&["chains", &id.to_string(), "cancel"]).await?;
        if !screen.json {
            screen.line(&format!("chain {id} is being stopped"))?;
        }
        return Ok(());
    }
    if watch {
        return follow(id, Deadline::after(timeout), client, screen).await;
    }
    let body = client.get(&["chains", &id.to_string()], &[]).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let view: ChainView = body.read()?;
    Ok(screen.print(&render::chain(&view, &screen.look()))?)
}

/// Asks for a chain.
pub(super) async fn ask(
    target: String,
    listed: Vec<Listed>,
    then: Then,
    client: &Client,
    screen: &mut Screen,
) -> Result<(), Failure> {
    if then.logs || then.tests {
        return Err(Failure::usage(
            "--logs and --tests follow one build",
            "watch the chain with --watch, and one of its builds with `grange watch ID --logs --tests`",
        ));
    }
    let new = NewChain { target, members: members(listed)? };
    let body = client.post(&["chains"], &new).await?;
    let made: MadeChain = body.read()?;
    if !screen.json {
        let id = screen.look().paint(Tone::Strong, &made.id.to_string());
        screen.line(&format!("chain {id}"))?;
        warn(&made.warnings, screen)?;
        if !then.watch {
            screen.line(&format!("follow it: grange chain {} --watch", made.id))?;
        }
    } else if !then.watch {
        screen.line(body.text())?;
    }
    if then.watch {
        return follow(made.id, Deadline::after(None), client, screen).await;
    }
    Ok(())
}

/// The builds that were listed, with levels where there are colons between them.
fn members(listed: Vec<Listed>) -> Result<Vec<NewMember>, Failure> {
    let has_levels = listed.contains(&Listed::Colon);
    let mut level = 0;
    let mut members = Vec::new();
    for item in listed {
        match item {
            Listed::Colon => level += 1,
            Listed::Source(source) => members.push(NewMember {
                repo: source.repo,
                commit: source.commit,
                level: has_levels.then_some(level),
            }),
        }
    }
    if members.is_empty() {
        return Err(Failure::usage("no build is listed", "name commits as REPO#COMMIT"));
    }
    Ok(members)
}

/// Follows a chain until all its builds are final: one line for each change.
async fn follow(
    id: ChainId,
    deadline: Deadline,
    client: &Client,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let mut patient = Patient::new(client);
    let mut spinner = Spinner::new(screen);
    let mut told: BTreeMap<RequestId, String> = BTreeMap::new();
    loop {
        let body = patient.get(&["chains", &id.to_string()], &mut spinner, screen).await?;
        let view: ChainView = body.read()?;
        let look = screen.look();
        if !screen.json {
            for member in &view.members {
                let news = render::chain_news(member, &look);
                if told.insert(member.build.request.id, news.clone()).as_ref() != Some(&news) {
                    spinner.above(screen, &format!("{news}\n"))?;
                }
            }
        }
        spinner.says(&render::chain_gist(&view));
        if view.status.is_final() {
            spinner.end();
            if screen.json {
                screen.line(body.text())?;
            }
            return match view.status {
                Status::Complete => Ok(()),
                Status::Queued | Status::Running | Status::Failing | Status::Failed | Status::Cancelled => {
                    Err(Failure::Failed(render::chain_gist(&view)))
                }
            };
        }
        deadline.check(&format!("chain {id}"))?;
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(words: &[&str]) -> Vec<Option<u32>> {
        let listed = words.iter().map(|word| word.parse().unwrap()).collect();
        members(listed).unwrap().iter().map(|member| member.level).collect()
    }

    #[test]
    fn colons_make_levels_and_without_them_there_are_none() {
        assert_eq!(levels(&["rpms/a#x", "rpms/b#x"]), [None, None]);
        assert_eq!(levels(&["rpms/a#x", "rpms/b#x", ":", "rpms/c#x"]), [Some(0), Some(0), Some(1)]);
        assert!(members(vec![Listed::Colon]).is_err());
    }
}

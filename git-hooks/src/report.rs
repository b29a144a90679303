//! Tells the hub which branches moved, and the person who pushed what the hub makes of it.

use std::io::Write as _;
use std::path::Path;

use farm::message::{BranchUpdate, PushReport};

use crate::hub::{Hub, NoAnswer};
use crate::rules::is_nothing;
use crate::say;
use crate::settings::Settings;
use crate::spool::{Left, Spool};

/// Why a report is kept when the hub takes none.
const AWAY: &str = "the hub cannot be reached";
/// Why one is kept when the hub takes it but can do nothing with it yet.
const LATER: &str = "the hub cannot take it in now";

/// The branches in what git gives a post-receive hook: lines of `old new ref`. Tags and deletions are none of the
/// hub's business.
#[must_use]
pub fn branches(lines: &str) -> Vec<BranchUpdate> {
    lines
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ' ');
            let (old, new, reference) = (parts.next()?, parts.next()?, parts.next()?);
            let branch = reference.strip_prefix("refs/heads/")?;
            (!is_nothing(new)).then(|| BranchUpdate {
                branch: branch.to_owned(),
                old: old.to_owned(),
                new: new.to_owned(),
            })
        })
        .collect()
}

/// Reports a push, after everything that was kept from earlier ones. The commits are in the repo whatever happens here.
///
/// # Errors
/// When the hook is not configured or cannot keep a report the hub did not take.
pub async fn send(settings: &Settings, git_dir: &Path, updates: Vec<BranchUpdate>) -> anyhow::Result<()> {
    let repo = settings.repo(git_dir)?;
    let report = PushReport { repo: repo.address, pusher: settings.person()?, updates };
    let hub = Hub::new(settings)?;
    let spool = Spool::new(&settings.spool, settings.spool_limit);
    let earlier = deliver(settings, &hub, &spool).await.unwrap_or_else(|error| {
        say(&format!("grange: {error:#}"));
        Left { is_away: true, ..Left::default() }
    });
    if report.updates.is_empty() {
        return Ok(());
    }
    if earlier.holds_up(&report.repo) {
        return keep(&spool, &report, AWAY, "earlier pushes are waiting for it too");
    }
    match hub.report(&report).await {
        Ok(answer) => {
            let mut out = std::io::stdout();
            for line in &answer.lines {
                let _ = writeln!(out, "{line}");
            }
            Ok(())
        }
        Err(NoAnswer::Away(why)) => keep(&spool, &report, AWAY, &why),
        Err(NoAnswer::Later(why)) => keep(&spool, &report, LATER, &why),
        Err(NoAnswer::Unknown(said) | NoAnswer::Refused(said)) => {
            say("grange: your push is in the repo, but the hub has not taken it in:");
            say(&format!("grange: {said}"));
            Ok(())
        }
    }
}

/// Delivers what was kept; says what is left.
///
/// # Errors
/// When the spool cannot be read or written, or another process has been delivering for too long.
pub async fn deliver(settings: &Settings, hub: &Hub, spool: &Spool) -> anyhow::Result<Left> {
    // The ordinary push finds nothing waiting and takes no lock.
    if spool.waiting()?.is_empty() {
        return Ok(Left::default());
    }
    let alone = spool.deliver_alone(settings.timeout)?;
    spool.deliver(hub, &alone).await
}

fn keep(spool: &Spool, report: &PushReport, what: &str, why: &str) -> anyhow::Result<()> {
    spool.keep(report)?;
    say(&format!("grange: {what}; your push is kept and will be delivered (spooled)"));
    say(&format!("grange: {why}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_deletions_are_not_reported() {
        let zeros = "0".repeat(40);
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let lines = format!(
            "{zeros} {a} refs/heads/c9s-sig-demo-hello\n{a} {b} refs/tags/v1\n{a} {zeros} refs/heads/gone\nodd\n"
        );
        assert_eq!(
            branches(&lines),
            [BranchUpdate { branch: "c9s-sig-demo-hello".into(), old: zeros, new: a }]
        );
    }
}

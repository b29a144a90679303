//! What an audit found.

use std::fmt::Write as _;

use crate::screen::{Look, Tone};
use crate::verify::{RepoReport, Report, Violation};

/// Each repo in a line, what is wrong with it below, and what all of it comes to.
#[must_use]
pub fn audit(report: &Report, look: &Look) -> String {
    let mut text = String::new();
    for repo in &report.repos {
        text.push_str(&line(repo, look));
        text.extend(repo.violations.iter().map(|violation| told(violation, look)));
    }
    text.extend(report.violations.iter().map(|violation| told(violation, look)));
    let (packages, read) =
        report.repos.iter().fold((0, 0), |(all, read), repo| (all + repo.packages, read + repo.read));
    let how = match (report.deep, packages) {
        (_, 0) => String::new(),
        (true, _) => format!("; {read} of {packages} packages were read whole"),
        (false, _) => format!("; {packages} packages were compared by size, --deep reads them whole"),
    };
    let word = if report.all_violations().next().is_none() {
        look.paint(Tone::Good, "nothing is wrong")
    } else {
        look.paint(Tone::Bad, "something is wrong")
    };
    let count = report.repos.len();
    let _ = writeln!(text, "{count} {}: {word}{how}", if count == 1 { "repo" } else { "repos" });
    text
}

fn line(repo: &RepoReport, look: &Look) -> String {
    let (tone, word) = if repo.violations.is_empty() { (Tone::Good, "good") } else { (Tone::Bad, "bad ") };
    let name = match &repo.tag {
        Some(tag) if repo.at.is_empty() || repo.at.ends_with(tag.as_str()) => tag.clone(),
        Some(tag) => format!("{} ({tag})", repo.at),
        None => repo.at.clone(),
    };
    let mut facts = Vec::new();
    facts.extend(repo.revision.map(|revision| format!("revision {revision}")));
    facts.extend(repo.snapshot.as_ref().map(|snapshot| format!("snapshot {snapshot}")));
    facts.push(format!(
        "{} folders, {} packages of {} builds",
        repo.folders.len(),
        repo.packages,
        repo.builds
    ));
    format!(
        "{} {}: {}\n",
        look.paint(tone, word),
        look.paint(Tone::Strong, &name),
        look.paint(Tone::Plain, &facts.join(", "))
    )
}

fn told(violation: &Violation, look: &Look) -> String {
    let Violation { file, reason } = violation;
    format!("  {}: {}\n", look.paint(Tone::Strong, file), look.paint(Tone::Bad, reason))
}

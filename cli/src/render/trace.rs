//! Where a package comes from.

use std::fmt::Write as _;

use farm::gate::{TestResult, TestVerdict, suite_key};
use farm::provenance::Resource;
use farm::trace::{Shown, Trace};

use super::{Cell, Table, ago, waived};
use crate::screen::{Look, Tone};

/// Everything that is known of it, from the commit to the repos that show it.
#[must_use]
pub fn trace(trace: &Trace, look: &Look) -> String {
    let Trace { nvr, file, body, provenance, installed, shown, .. } = trace;
    let definition = &provenance.predicate.build_definition;
    let run = &provenance.predicate.run_details;
    let asked = &definition.external_parameters;
    let mut facts = Table::new(&["", ""]);
    let mut fact = |label: &str, text: String| facts.row([Cell::new(Tone::Dim, label), text.into()]);
    if let (Some(file), Some(body)) = (file, body) {
        fact("package", file.clone());
        fact("body", body.to_string());
    }
    fact("build", format!("{nvr} for {}", asked.target));
    fact(
        "request",
        format!(
            "{} {} by {}, {}",
            asked.request, run.metadata.invocation_id, asked.by, run.metadata.started_on
        ),
    );
    match (&asked.repo, &asked.commit) {
        (Some(repo), Some(commit)) => {
            let branch =
                asked.branch.as_ref().map_or_else(String::new, |branch| format!(", branch {branch}"));
            fact("commit", format!("{commit} of {repo}{branch}"));
        }
        _ => fact("source", asked.srpm.clone().unwrap_or_else(|| "unknown".to_owned())),
    }
    for source in definition.resolved_dependencies.iter().filter(|one| is_source(one)) {
        let hashes: Vec<String> = source.digest.iter().map(|(kind, hash)| format!("{kind}:{hash}")).collect();
        fact("source", format!("{} {}", source.name, hashes.join(" ")));
    }
    for dependency in &definition.resolved_dependencies {
        let digest = dependency
            .digest
            .iter()
            .map(|(kind, digest)| format!("{kind}:{digest}"))
            .collect::<Vec<_>>()
            .join(" ");
        if let Some(arch) = dependency.name.strip_prefix("image ") {
            let name = dependency.annotations.get("image").map_or("", String::as_str);
            fact("image", format!("{arch}: {name} {digest}"));
        } else if let Some(arch) = dependency.name.strip_prefix("buildroot ") {
            let count = installed
                .iter()
                .find(|(one, _)| one.as_str() == arch)
                .map(|(_, count)| format!("{count} packages, "));
            let lock = digest.trim_start_matches("grangeLock:");
            let how = format!("`grange buildroot {nvr} --arch {arch}` lists them");
            fact("buildroot", format!("{arch}: {}lock {lock}; {how}", count.unwrap_or_default()));
        }
    }
    for job in &run.builder.jobs {
        let by = job.builder.as_deref().unwrap_or("nobody");
        let when = job.finished_on.as_ref().map_or_else(String::new, |at| format!(", done {at}"));
        fact(
            "built",
            format!("{} on {} by {by}, turn {} of job {}{when}", job.kind, job.arch, job.turn, job.job),
        );
    }
    let mut text = facts.render(look);
    if shown.is_empty() {
        text.push_str("\nno public repo has shown it\n");
    }
    for place in shown {
        text.push_str(&told(place, look));
    }
    text
}

/// A file of the source, rather than the commit or what was there to build it.
fn is_source(one: &Resource) -> bool {
    one.name != "commit"
        && one.name != "tree"
        && !one.name.starts_with("image ")
        && !one.name.starts_with("buildroot ")
}

fn told(place: &Shown, look: &Look) -> String {
    let Shown { tag, live, since, revision, snapshot, promotion, approved_by, approvals, results, waivers } =
        place;
    let word = if *live { look.paint(Tone::Good, "live") } else { look.paint(Tone::Dim, "gone") };
    let mut text = format!(
        "\n{} {word}, came {} with revision {revision}, snapshot {snapshot}, promotion {promotion}\n",
        look.paint(Tone::Strong, tag),
        ago(*since, look.now),
    );
    let mut rows = Table::new(&["", ""]).indented(2);
    let mut row = |label: &str, text: String| rows.row([Cell::new(Tone::Dim, label), text.into()]);
    row("let in by", approved_by.clone());
    for approval in approvals {
        row("approved", format!("{} {}", approval.by, ago(approval.at, look.now)));
    }
    for result in results {
        row("suite", suite(result));
    }
    for waiver in waivers {
        row("waived", format!("{} by {}: {}", waived(waiver), waiver.by, waiver.reason));
    }
    let _ = write!(text, "{}", rows.render(look));
    text
}

fn suite(result: &TestResult) -> String {
    let shown = match &result.verdict {
        TestVerdict::Passed => "passed".to_owned(),
        TestVerdict::Failed { reason } => format!("failed: {reason}"),
        TestVerdict::Errored { reason } => format!("could not be run: {reason}"),
    };
    let name = suite_key(&result.suite, result.on.as_deref());
    format!("{name} on {} {shown} (version {}, job {})", result.arch, result.version.short(), result.job)
}

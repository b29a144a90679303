//! SIGs, and what applying a template would change.

use std::fmt::Write as _;

use farm::api::PlanView;
use farm::sig::plan::Change;
use farm::sig::{Sig, Stage};

use super::words::count;
use super::{Cell, Table};
use crate::screen::{Look, Tone};

/// What a template changes: `+` for what is new, `~` for what becomes something else, `-` for what goes away.
#[must_use]
pub fn plan(plan: &PlanView, look: &Look) -> String {
    if plan.changes.is_empty() {
        return format!("SIG {}: nothing to change\n", plan.sig);
    }
    let mut text = String::new();
    for change in &plan.changes {
        text.push_str(&line(change, look));
    }
    let changes = count(plan.changes.len(), "change");
    let what = if plan.applied { "applied" } else { "to apply" };
    let _ = writeln!(text, "SIG {}: {changes} {what}", plan.sig);
    text
}

fn line(change: &Change, look: &Look) -> String {
    let what = &change.what;
    match (&change.from, &change.to) {
        (None, Some(to)) => look.paint(Tone::Good, &format!("+ {what}: {to}")) + "\n",
        (Some(from), None) => look.paint(Tone::Bad, &format!("- {what}: {from}")) + "\n",
        (Some(from), Some(to)) => {
            look.paint(Tone::Busy, &format!("~ {what}:")) + &format!("\n    {from}\n    → {to}\n")
        }
        (None, None) => String::new(),
    }
}

/// A listing of SIGs.
#[must_use]
pub fn sigs(items: &[Sig], look: &Look) -> String {
    if items.is_empty() {
        return "no SIGs; `grange sig apply FILE` makes one of a template\n".to_owned();
    }
    let mut table = Table::new(&["SIG", "MEMBERS", "TARGETS", "TITLE"]);
    for sig in items {
        let targets: Vec<String> = sig.projects.iter().map(farm::sig::Project::target).collect();
        table.row([
            Cell::new(Tone::Strong, sig.name.as_str()),
            sig.members.len().to_string().into(),
            targets.join(" ").into(),
            sig.title.as_str().into(),
        ]);
    }
    table.render(look)
}

/// One SIG.
#[must_use]
pub fn sig(sig: &Sig, look: &Look) -> String {
    let mut text = format!("{}  {}\n\n", look.paint(Tone::Strong, &sig.name), sig.title);
    let mut members = Table::new(&["MEMBER", "ROLES"]).indented(2);
    for (person, roles) in &sig.members {
        members.row([person.as_str().into(), joined(roles).into()]);
    }
    text.push_str(&members.render(look));
    for project in &sig.projects {
        let _ = writeln!(text, "\n{}", look.paint(Tone::Strong, &project.target()));
        let mut facts = Table::new(&["", ""]).indented(2);
        let tags: Vec<String> = Stage::ALL.iter().map(|stage| project.tag(*stage)).collect();
        let inherits: Vec<String> = project
            .inherit
            .iter()
            .cloned()
            .chain(project.external.iter().map(|repo| format!("{} ({})", repo.name, repo.baseurl)))
            .collect();
        for (name, value) in [
            ("arches", joined(&project.arches)),
            ("branches", joined(&project.branches)),
            ("packages", joined(&project.packages)),
            ("tags", tags.join(" ")),
            ("builds from", inherits.join(", ")),
            (
                "gate",
                if project.required.is_empty() {
                    "closed: no suite is required".into()
                } else {
                    project.required.join(" ")
                },
            ),
        ] {
            facts.row([Cell::new(Tone::Dim, name), value.into()]);
        }
        text.push_str(&facts.render(look));
    }
    text
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}

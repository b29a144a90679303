//! The farm's targets and tags.

use farm::api::{TagView, TargetView};
use farm::sig::{Layer, Stage};

use super::{Cell, Table};
use crate::screen::{Look, Tone};

/// A listing of targets; with `in_full` also what each builds from.
#[must_use]
pub fn targets(items: &[TargetView], in_full: bool, look: &Look) -> String {
    if items.is_empty() {
        return "no targets; `grange sig apply FILE` makes some\n".to_owned();
    }
    if in_full {
        return items.iter().map(|item| target(item, look)).collect();
    }
    let mut table = Table::new(&["TARGET", "SIG", "ARCHES", "BRANCHES"]);
    for item in items {
        let arches: Vec<&str> = item.arches.iter().map(|arch| arch.as_str()).collect();
        table.row([
            Cell::new(Tone::Strong, item.target.as_str()),
            item.sig.as_str().into(),
            arches.join(" ").into(),
            item.branches.join(" ").into(),
        ]);
    }
    table.render(look)
}

fn target(item: &TargetView, look: &Look) -> String {
    let arches: Vec<&str> = item.arches.iter().map(|arch| arch.as_str()).collect();
    let mut facts = Table::new(&["", ""]).indented(2);
    for (name, value) in [
        ("sig", item.sig.clone()),
        ("arches", arches.join(" ")),
        ("branches", item.branches.join(" ")),
        ("build tag", item.build_tag.clone()),
        ("goes to", item.dest_tag.clone()),
    ] {
        facts.row([Cell::new(Tone::Dim, name), value.into()]);
    }
    for (index, layer) in item.layers.iter().enumerate() {
        let name = if index == 0 { "builds from" } else { "" };
        let layer = match layer {
            Layer::Tag { tag } => tag.clone(),
            Layer::External(repo) => format!("{} ({})", repo.name, repo.baseurl),
        };
        facts.row([Cell::new(Tone::Dim, name), layer.into()]);
    }
    format!("{}\n{}", look.paint(Tone::Strong, &item.target), facts.render(look))
}

/// A listing of tags.
#[must_use]
pub fn tags(items: &[TagView], look: &Look) -> String {
    if items.is_empty() {
        return "no tags; `grange sig apply FILE` makes some\n".to_owned();
    }
    let mut table = Table::new(&["TAG", "SIG", "STAGE", "REVISION", "BUILDS"]);
    for item in items {
        table.row([
            Cell::new(Tone::Strong, item.tag.as_str()),
            item.sig.as_str().into(),
            stage(item.stage),
            item.revision.to_string().into(),
            item.builds.len().to_string().into(),
        ]);
    }
    table.render(look)
}

fn stage(stage: Stage) -> Cell {
    let tone = match stage {
        Stage::Candidate => Tone::Dim,
        Stage::Testing => Tone::Busy,
        Stage::Release => Tone::Good,
    };
    Cell::new(tone, stage.as_str())
}

/// One tag and the builds in it.
#[must_use]
pub fn tag(item: &TagView, look: &Look) -> String {
    let mut text = format!("{}  {}\n", look.paint(Tone::Strong, &item.tag), stage(item.stage).painted(look));
    let mut facts = Table::new(&["", ""]).indented(2);
    let snapshot = item.snapshot.map_or_else(|| "none yet".to_owned(), |id| id.to_string());
    for (name, value) in [
        ("sig", item.sig.clone()),
        ("revision", item.revision.to_string()),
        ("snapshot", snapshot),
        ("baseurl", item.baseurl.clone()),
    ] {
        facts.row([Cell::new(Tone::Dim, name), value.into()]);
    }
    text.push_str(&facts.render(look));
    if item.builds.is_empty() {
        return text;
    }
    let mut table = Table::new(&["BUILD", "RPMS", "ID"]).indented(2);
    for build in &item.builds {
        table.row([
            Cell::new(Tone::Strong, build.nvr.as_str()),
            build.rpms.to_string().into(),
            build.build.to_string().into(),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render(look));
    text
}

//! Chains: builds in their order, with the reasons.

use std::fmt::Write as _;

use farm::api::{ChainMember, ChainView, LayerView};
use farm::chain::Blocker;
use farm::request::Status;
use farm::sig::Layer;

use super::{Cell, Table, ago, request_status};
use crate::screen::{Look, Tone};

/// A chain.
#[must_use]
pub fn chain(view: &ChainView, look: &Look) -> String {
    let mut text = String::new();
    let look = &Look { width: None, ..*look };
    let _ = writeln!(
        text,
        "{}  {}\n  for {}, asked {} by {}\n",
        look.paint(Tone::Strong, &format!("chain {}", view.id)),
        request_status(view.status).painted(look),
        view.target,
        ago(view.created, look.now),
        view.by
    );
    let mut table = Table::new(&["BUILD", "STATUS", "ID", "WHY"]).indented(2);
    for member in &view.members {
        let why = [member.build.reason.clone(), reasons(member)].into_iter().flatten().next();
        table.row([
            Cell::new(Tone::Strong, name(member)),
            request_status(member.build.status),
            member.build.request.id.to_string().into(),
            why.unwrap_or_default().into(),
        ]);
    }
    text.push_str(&table.render(look));
    text
}

/// How one build of a chain stands, in one line.
#[must_use]
pub fn chain_news(member: &ChainMember, look: &Look) -> String {
    let status = request_status(member.build.status).painted(look);
    let name = look.paint(Tone::Strong, name(member));
    match (&member.build.reason, waiting(member)) {
        (Some(reason), _) => format!("{name}  {status}: {reason}"),
        (None, Some(waiting)) => format!("{name}  {waiting}"),
        (None, None) => format!("{name}  {status}"),
    }
}

/// The whole chain in a few words.
#[must_use]
pub fn chain_gist(view: &ChainView) -> String {
    let count = |status: Status| view.members.iter().filter(|member| member.build.status == status).count();
    let failed: Vec<&str> = view
        .members
        .iter()
        .filter(|member| member.build.status == Status::Failed)
        .map(|member| member.build.request.package.as_str())
        .collect();
    let built = format!("{} of {} built", count(Status::Complete), view.members.len());
    if failed.is_empty() { built } else { format!("{built}, failed: {}", failed.join(", ")) }
}

fn name(member: &ChainMember) -> &str {
    member.build.nvr.as_deref().unwrap_or(&member.build.request.package)
}

/// `waits for zlib: needs zlib-devel`
fn waiting(member: &ChainMember) -> Option<String> {
    let all: Vec<String> = member.waits_for.iter().map(|blocker| told("waits for", blocker)).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// What it waits for, or why it comes where it does.
fn reasons(member: &ChainMember) -> Option<String> {
    let after = member.after.iter().map(|blocker| told("after", blocker));
    let without = member
        .without
        .iter()
        .map(|blocker| format!("{} although {} needs it as well", told("before", blocker), blocker.package));
    let order: Vec<String> = after.chain(without).collect();
    waiting(member).or_else(|| (!order.is_empty()).then(|| order.join("; ")))
}

fn told(how: &str, blocker: &Blocker) -> String {
    format!("{how} {}: {}", blocker.package, blocker.need.sentence())
}

/// What a target's builds install from, the most preferred first.
#[must_use]
pub fn layers(items: &[LayerView], look: &Look) -> String {
    let mut table = Table::new(&[
        "PRIORITY",
        "LAYER",
        "SIG",
        "STAGE",
        "BUILDS",
        "REVISION",
        "SINCE",
        "INHERITED BY",
        "SNAPSHOT",
    ]);
    let text = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    for item in items {
        let (name, snapshot) = match (&item.layer, item.snapshot) {
            (Layer::Tag { tag }, Some(id)) => (tag.as_str(), id.to_string()),
            (Layer::Tag { tag }, None) => (tag.as_str(), "nothing yet".to_owned()),
            (Layer::External(repo), _) => (repo.name.as_str(), repo.baseurl.clone()),
        };
        let snapshot = if item.composing { format!("{snapshot} (being composed)") } else { snapshot };
        table.row([
            item.priority.map(|number| number.to_string()).unwrap_or_default().into(),
            Cell::new(Tone::Strong, name),
            item.sig.as_deref().unwrap_or("outside").into(),
            item.stage.map(|stage| stage.as_str()).unwrap_or_default().into(),
            item.builds.map(|count| count.to_string()).unwrap_or_default().into(),
            text(item.revision).into(),
            item.since.map(|since| ago(since, look.now)).unwrap_or_default().into(),
            item.inherited_by.as_str().into(),
            snapshot.into(),
        ]);
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use farm::stamp::Stamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_layer_says_why_it_is_there_and_what_it_shows() {
        let items: Vec<LayerView> = serde_json::from_value(json!([
            {"priority": 10, "layer": {"kind": "tag", "tag": "guest9s-apps-1-candidate"}, "inherited_by": "guest9s-apps-1-el9s",
             "sig": "guest", "stage": "candidate", "snapshot": "01JZ8M3Q5T7V9X1B3D5F7H9K1M", "revision": 4,
             "since": 1_000, "builds": 2, "composing": true},
            {"priority": 15, "layer": {"kind": "external", "name": "crb", "baseurl": "https://mirror.example.org/crb"},
             "inherited_by": "demo9s-hello-2-el9s", "sig": null, "stage": null, "snapshot": null, "revision": null,
             "since": null, "builds": null, "composing": false}
        ]))
        .unwrap();
        let text = layers(&items, &Look::plain(Stamp::from_millis(61_000)));
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].starts_with("10        guest9s-apps-1-candidate  guest    candidate  2       4"),
            "{text}"
        );
        assert!(
            lines[1].ends_with("guest9s-apps-1-el9s  01JZ8M3Q5T7V9X1B3D5F7H9K1M (being composed)"),
            "{text}"
        );
        assert!(lines[2].starts_with("15        crb                       outside"), "{text}");
        assert!(lines[2].ends_with("demo9s-hello-2-el9s  https://mirror.example.org/crb"), "{text}");
    }
}

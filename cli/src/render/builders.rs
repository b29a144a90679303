//! Builders, in a row each or one in full.

use farm::api::BuilderView;
use farm::builder::Builder;

use super::{Cell, Table, ago, condition, size};
use crate::screen::{Look, Tone};

const MIB: u64 = 1024 * 1024;
/// A clock that is off by less is not worth a word, in milliseconds: a call takes that long.
const AGREES_MS: i64 = 1_000;

/// A listing of builders.
#[must_use]
pub fn builders(items: &[BuilderView], look: &Look) -> String {
    if items.is_empty() {
        return "no builder has joined yet; `grange builders enrol NAME` lets one in\n".to_owned();
    }
    let mut table = Table::new(&[
        "BUILDER", "STATE", "RUNNING", "SEEN", "MEMORY", "DISK", "CLOCK", "VERSION", "LABELS", "ARCHES",
    ]);
    for item in items {
        let builder = &item.builder;
        table.row([
            Cell::new(Tone::Strong, builder.name.as_str()),
            condition(item.condition),
            format!("{} of {}", builder.running.len(), builder.slots).into(),
            seen(builder, look).into(),
            room(builder.memory_mb).into(),
            room(builder.disk_mb).into(),
            clock(builder.ahead_ms).into(),
            builder.version.as_str().into(),
            labels(builder).into(),
            builder.arches_in_words().into(),
        ]);
    }
    table.render(look)
}

/// One builder in full.
#[must_use]
pub fn builder(item: &BuilderView, look: &Look) -> String {
    let builder = &item.builder;
    let name = look.paint(Tone::Strong, &builder.name);
    let mut text = format!("{name}  {}\n", condition(item.condition).painted(look));
    let mut facts = Table::new(&["", ""]).indented(2);
    let running: Vec<String> =
        builder.running.iter().map(|(job, turn)| format!("{job} (turn {turn})")).collect();
    for (name, value) in [
        ("seen", seen(builder, look)),
        ("arches", builder.arches_in_words()),
        ("slots", format!("{} of {} in use", builder.running.len(), builder.slots)),
        ("running", running.join(", ")),
        ("labels", labels(builder)),
        ("memory", room(builder.memory_mb)),
        ("disk", room(builder.disk_mb)),
        ("clock", clock(builder.ahead_ms)),
        ("version", builder.version.clone()),
        ("wanted", builder.wish.as_str().to_owned()),
    ] {
        facts.row([Cell::new(Tone::Dim, name), value.into()]);
    }
    text.push_str(&facts.render(look));
    text
}

fn seen(builder: &Builder, look: &Look) -> String {
    if builder.has_reported() { ago(builder.seen, look.now) } else { "never".to_owned() }
}

fn labels(builder: &Builder) -> String {
    builder.labels.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn room(mb: u64) -> String {
    if mb == 0 { String::new() } else { size(mb.saturating_mul(MIB)) }
}

fn clock(ahead_ms: i64) -> String {
    if ahead_ms.abs() < AGREES_MS {
        return "right".to_owned();
    }
    let tenths = ahead_ms.unsigned_abs() / 100;
    let side = if ahead_ms > 0 { "ahead" } else { "behind" };
    format!("{}.{} s {side}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_right_ahead_or_behind() {
        for (ahead_ms, expected) in
            [(0, "right"), (-999, "right"), (1_500, "1.5 s ahead"), (-61_240, "61.2 s behind")]
        {
            assert_eq!(clock(ahead_ms), expected);
        }
    }
}

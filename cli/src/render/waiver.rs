//! Waivers, and what public repos showed.

use farm::api::PublicationView;
use farm::gate::{Waiver, WaiverScope, suite_key};
use farm::stamp::Stamp;

use super::{Cell, Table, ago, ahead};
use crate::screen::{Look, Tone};

/// Every waiver, with its reason.
#[must_use]
pub fn waivers(items: &[Waiver], look: &Look) -> String {
    if items.is_empty() {
        return "no waivers\n".to_owned();
    }
    let mut table = Table::new(&["WAIVER", "SUITE", "ARCH", "OF", "BY", "GIVEN", "HOLDS", "REASON"]);
    for item in items {
        let is_over = item.revoked.is_some() || item.until <= look.now;
        table.row([
            Cell::new(if is_over { Tone::Dim } else { Tone::Strong }, item.id.to_string()),
            suite_key(&item.suite, item.on.as_deref()).into(),
            item.arch.map_or("all", |arch| arch.as_str()).into(),
            about(item).into(),
            item.by.as_str().into(),
            ago(item.made, look.now).into(),
            Cell::new(if is_over { Tone::Dim } else { Tone::Busy }, holds(item, look.now)),
            item.reason.as_str().into(),
        ]);
    }
    table.render(look)
}

/// `runs on s390x for hello-2.10-1.el9s`: what it stands in for.
#[must_use]
pub fn waived(waiver: &Waiver) -> String {
    let arch = waiver.arch.map_or("every architecture", |arch| arch.as_str());
    format!("{} on {arch} for {}", suite_key(&waiver.suite, waiver.on.as_deref()), about(waiver))
}

fn about(waiver: &Waiver) -> String {
    match &waiver.scope {
        WaiverScope::Content { content } => format!("content {}", content.short()),
        WaiverScope::Build { nvr, .. } => nvr.clone(),
    }
}

/// `for 3 d`, `expired 2 d ago`, `taken back by rita 1 h ago`
#[must_use]
pub fn holds(waiver: &Waiver, now: Stamp) -> String {
    match &waiver.revoked {
        Some((by, at)) => format!("taken back by {by} {}", ago(*at, now)),
        None if waiver.until <= now => format!("expired {}", ago(waiver.until, now)),
        None => ahead(waiver.until, now).replacen("in ", "for ", 1),
    }
}

/// What a public repo showed, the newest first.
#[must_use]
pub fn history(items: &[PublicationView], look: &Look) -> String {
    if items.is_empty() {
        return "it never showed anything\n".to_owned();
    }
    let mut table = Table::new(&["REVISION", "SINCE", "PACKAGES", "SNAPSHOT", "PROMOTION", "BY", "REASON"]);
    for (place, item) in items.iter().enumerate() {
        let tone = if place == 0 { Tone::Strong } else { Tone::Plain };
        table.row([
            Cell::new(tone, item.revision.to_string()),
            ago(item.at, look.now).into(),
            item.packages.to_string().into(),
            item.snapshot.to_string().into(),
            item.promotion.to_string().into(),
            item.by.as_str().into(),
            item.reason.as_deref().unwrap_or_default().into(),
        ]);
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn waiver(until: Stamp, revoked: Option<(String, Stamp)>) -> Waiver {
        let text = r#"{"id": "01JZ8M3Q5T7V9X1B3D5F7H9K1M", "target": "t", "suite": "runs", "arch": null, "on": null,
            "scope": {"kind": "build", "build": "01JZ8M3Q5T7V9X1B3D5F7H9KB1", "nvr": "hello-2.10-1.el9s"},
            "by": "rex", "reason": "the test host is wrong", "made": 0, "until": 0, "revoked": null}"#;
        Waiver { until, revoked, made: Stamp::ZERO, ..serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn a_waiver_is_shown_for_ever_and_says_what_it_is_worth() {
        let now = Stamp::from_millis(1_700_000_000_000);
        let past = Stamp::from_millis(now.millis() - 7_200_000);
        let items = [
            waiver(now + Duration::from_secs(3 * 24 * 3600), None),
            waiver(past, None),
            waiver(now + Duration::from_secs(3600), Some(("rita".to_owned(), past))),
        ];
        let text = waivers(&items, &Look::plain(now));
        for said in ["for 3 d", "expired 2 h ago", "taken back by rita 2 h ago"] {
            assert_eq!(text.matches(said).count(), 1, "{said}: {text}");
        }
        assert_eq!(text.matches("the test host is wrong").count(), 3, "{text}");
        assert_eq!(waived(&items[0]), "runs on every architecture for hello-2.10-1.el9s");
    }
}

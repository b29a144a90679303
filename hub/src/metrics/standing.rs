//! How the farm stands, read from the ledger when somebody asks. Every hub says the same, so alerts take the maximum.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use farm::arch::Arch;
use farm::builder::{Builder, Condition};
use farm::ledger::{Outbox, Outside, Queue};
use farm::sig::Community;
use farm::stamp::Stamp;

use super::promotions::Promotions;
use super::signing::Signing;
use crate::live;
use crate::problem::Answer;
use crate::state::Hub;

/// What the figures are made of.
struct Standing {
    now: Stamp,
    silent_after: Duration,
    phases: BTreeMap<String, i64>,
    queues: Vec<Queue>,
    outbox: Outbox,
    builders: Vec<(Builder, u32)>,
    open_requests: usize,
    promotions: Promotions,
    /// What is live and broken, by tag.
    red: BTreeMap<String, usize>,
    outside: Vec<Outside>,
    signing: Signing,
}

/// How the farm stands, in Prometheus' text format.
///
/// # Errors
/// When the ledger fails.
pub async fn standing(hub: &Hub) -> Answer<String> {
    let mut tx = hub.db.read().await?;
    let held = tx.held_by_builder().await?;
    let builders = tx.builders().await?.into_iter().map(|builder| {
        let held = held.get(&builder.name).copied().unwrap_or(0);
        (builder, held)
    });
    let community = tx.community().await?;
    let mut red = BTreeMap::new();
    for view in live::reds(hub, &mut tx, &community).await? {
        *red.entry(view.tag).or_default() += 1;
    }
    let standing = Standing {
        now: hub.now(),
        silent_after: Duration::from_millis(hub.config.silent_ms),
        red,
        outside: tx
            .outside()
            .await?
            .into_values()
            .filter(|repo| is_used(&community, &repo.baseurl))
            .collect(),
        phases: tx.jobs_by_phase().await?,
        queues: tx.queues().await?,
        signing: Signing::read(&mut tx, &community).await?,
        outbox: tx.outbox().await?,
        builders: builders.collect(),
        open_requests: tx.open_requests().await?.len(),
        promotions: Promotions::read(hub, &mut tx, &community).await?,
    };
    Ok(standing.text())
}

/// Does some project still have this repo outside below it?
fn is_used(community: &Community, baseurl: &str) -> bool {
    community.projects().flat_map(|project| &project.external).any(|repo| repo.baseurl == baseurl)
}

impl Standing {
    fn text(&self) -> String {
        let mut page = Page::default();
        page.family("grange_jobs", "Jobs that are not settled, by phase");
        for phase in ["waiting", "offered", "building", "stopping"] {
            page.figure(&[("phase", phase)], self.phases.get(phase).copied().unwrap_or(0));
        }
        page.family("grange_queue_jobs", "Jobs that wait, by SIG and architecture");
        for Queue { sig, arch, jobs, .. } in &self.queues {
            page.figure(&[("sig", sig), ("arch", arch.as_str())], *jobs);
        }
        page.family("grange_queue_age_seconds", "Age of the oldest job that waits, by SIG and architecture");
        for Queue { sig, arch, oldest, .. } in &self.queues {
            page.figure(&[("sig", sig), ("arch", arch.as_str())], (self.now - *oldest).as_secs());
        }
        self.slots(&mut page);
        page.family("grange_requests_open", "Requests that are not closed");
        page.figure(&[], self.open_requests);
        self.promotions.tell(&mut page, self.now);
        self.signing.tell(&mut page, self.now);
        page.family("grange_live_red", "Suites that what is live in a repo does not pass any more");
        for (tag, count) in &self.red {
            page.figure(&[("tag", tag)], *count);
        }
        page.family("grange_outside_age_seconds", "Since when a repo outside the farm was last readable");
        for Outside { baseurl, arch, seen, .. } in &self.outside {
            page.figure(&[("baseurl", baseurl), ("arch", arch.as_str())], (self.now - *seen).as_secs());
        }
        page.family("grange_outbox_events", "Changes that are still to be told to the outside");
        page.figure(&[], self.outbox.events);
        page.family("grange_outbox_age_seconds", "Age of the oldest change that is still to be told");
        page.figure(&[], self.outbox.oldest.map_or(0, |oldest| (self.now - oldest).as_secs()));
        page.text
    }

    fn slots(&self, page: &mut Page) {
        let (mut total, mut free) = (BTreeMap::<Arch, u32>::new(), BTreeMap::<Arch, u32>::new());
        let mut conditions: BTreeMap<&str, u32> =
            ["free", "busy", "draining", "clock-off", "silent", "disabled"].map(|word| (word, 0)).into();
        let mut unserved: BTreeSet<Arch> = self.queues.iter().map(|queue| queue.arch).collect();
        for (builder, held) in &self.builders {
            let condition = builder.condition(*held, self.now, self.silent_after);
            let (word, room) = match condition {
                Condition::Free { slots: 0 } => ("busy", Some(0)),
                Condition::Free { slots } => ("free", Some(slots)),
                Condition::Draining => ("draining", None),
                Condition::ClockOff { .. } => ("clock-off", None),
                Condition::Silent => ("silent", None),
                Condition::Disabled => ("disabled", None),
            };
            *conditions.entry(word).or_default() += 1;
            let Some(room) = room else { continue };
            for arch in builder.arches.iter().chain(&builder.emulated) {
                *total.entry(*arch).or_default() += builder.slots;
                *free.entry(*arch).or_default() += room;
                unserved.remove(arch);
            }
        }
        page.family("grange_builders", "Builders by condition");
        for (word, count) in conditions {
            page.figure(&[("condition", word)], count);
        }
        page.family(
            "grange_slots",
            "Slots of builders that work; one that serves two architectures is in both",
        );
        for (arch, count) in &total {
            page.figure(&[("arch", arch.as_str())], count);
        }
        page.family("grange_slots_free", "Slots that are free");
        for (arch, count) in &free {
            page.figure(&[("arch", arch.as_str())], count);
        }
        page.family(
            "grange_arch_unserved",
            "1 for an architecture that jobs wait for and no working builder has",
        );
        for arch in unserved {
            page.figure(&[("arch", arch.as_str())], 1);
        }
    }
}

#[derive(Default)]
pub(super) struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    pub(super) fn family(&mut self, name: &'static str, help: &str) {
        self.name = name;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    pub(super) fn figure(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{}{labels} {value}", self.name);
    }
}

#[cfg(test)]
impl Page {
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_architecture_that_only_silent_builders_have_is_unserved() {
        let now = Stamp::from_millis(1_000_000);
        let builder = |name: &str, arch: Arch, seen: i64| Builder {
            arches: vec![arch],
            slots: 4,
            seen: Stamp::from_millis(seen),
            ..Builder::expected(name)
        };
        let queue =
            |arch| Queue { sig: "a\"b".to_owned(), arch, jobs: 3, oldest: Stamp::from_millis(400_000) };
        let standing = Standing {
            now,
            silent_after: Duration::from_secs(15),
            phases: [("waiting".to_owned(), 6)].into(),
            queues: vec![queue(Arch::X86_64), queue(Arch::S390x)],
            outbox: Outbox { events: 0, oldest: None },
            builders: vec![(builder("x", Arch::X86_64, 999_000), 1), (builder("z", Arch::S390x, 100_000), 0)],
            open_requests: 2,
            promotions: Promotions::default(),
            red: [("a9s-b-1-release".to_owned(), 2)].into(),
            outside: Vec::new(),
            signing: Signing::default(),
        };
        let text = standing.text();
        for line in [
            "grange_jobs{phase=\"waiting\"} 6",
            "grange_queue_age_seconds{sig=\"a\\\"b\",arch=\"x86_64\"} 600",
            "grange_slots{arch=\"x86_64\"} 4",
            "grange_slots_free{arch=\"x86_64\"} 3",
            "grange_builders{condition=\"silent\"} 1",
            "grange_arch_unserved{arch=\"s390x\"} 1",
            "grange_live_red{tag=\"a9s-b-1-release\"} 2",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("grange_arch_unserved{arch=\"x86_64\"}"));
    }
}

//! Watches the repos outside the farm that projects install from: a change there is a reason to test again what is live.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use farm::arch::Arch;
use farm::digest::Digest;
use farm::sig::{Community, Layer};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::problem::Answer;
use crate::state::Hub;

/// Repos that are looked at at once.
const AT_ONCE: usize = 8;
/// A repo that cannot be reached is asked ever more rarely, but at least once in so many usual pauses.
const MOST_PAUSES: u32 = 16;
/// Between two looks whether a look at some repo is due.
const TICK: Duration = Duration::from_secs(5);

/// A repo's address, as templates have it, and an architecture.
pub(super) type Place = (String, Arch);

/// When a repo is looked at next. Nothing depends on it: a hub that starts anew looks at every repo at once.
struct Due {
    at: Instant,
    failures: u32,
}

/// Looks at every repo outside from time to time, until told to stop. Of hubs that share a data folder one does.
pub(super) async fn run(hub: &Hub, mut stop: watch::Receiver<bool>) {
    let pause = Duration::from_millis(hub.config.outside_ms);
    let mut due = BTreeMap::new();
    while !super::stopped(&stop) {
        if let Some(_turn) = super::alone::own_turn(hub, "outside", &mut stop).await {
            tokio::select! {
                looked = look_at_all(hub, pause, &mut due) => {
                    if let Err(problem) = looked {
                        super::log("repos outside", &problem);
                    }
                }
                _ = stop.changed() => {}
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause.min(TICK)) => {}
            _ = stop.changed() => {}
        }
    }
}

async fn look_at_all(hub: &Hub, pause: Duration, due: &mut BTreeMap<Place, Due>) -> Answer<()> {
    let places = places(&hub.community().await?);
    due.retain(|place, _| places.contains(place));
    let now = Instant::now();
    let is_due = |place: &Place| due.get(place).is_none_or(|due| due.at <= now);
    let mut waiting = places.into_iter().filter(is_due).collect::<Vec<_>>().into_iter();
    let mut looks = JoinSet::new();
    loop {
        while looks.len() < AT_ONCE
            && let Some((baseurl, arch)) = waiting.next()
        {
            let hub = hub.clone();
            looks.spawn(async move {
                let found = hub.outside.current(&baseurl, arch).await;
                ((baseurl, arch), found)
            });
        }
        let Some(looked) = looks.join_next().await else { return Ok(()) };
        let Ok((place, found)) = looked else { continue };
        let before = due.get(&place).map_or(0, |due| due.failures);
        let failures = match found {
            Ok(state) => {
                if before > 0 {
                    tracing::info!(baseurl = place.0, arch = %place.1, "a repo outside can be read again");
                }
                note(hub, &place, &state.digest).await?;
                0
            }
            Err(problem) => {
                if before == 0 {
                    tracing::warn!(
                        baseurl = place.0, arch = %place.1, why = problem.to_string(),
                        "a repo outside cannot be read: while that is so, nobody hears of changes there"
                    );
                }
                before.saturating_add(1)
            }
        };
        due.insert(place.clone(), Due { at: Instant::now() + wait(&place, pause, failures), failures });
    }
}

/// Notes what a repo shows now.
pub(super) async fn note(hub: &Hub, (baseurl, arch): &Place, digest: &Digest) -> Answer<()> {
    let mut tx = hub.db.write().await?;
    let has_changed = tx.note_outside(baseurl, *arch, digest, hub.now()).await?;
    tx.commit().await?;
    if has_changed {
        tracing::info!(baseurl, %arch, repomd = digest.short(), "a repo outside has changed");
    }
    Ok(())
}

/// Every repo outside that some project has below it.
fn places(community: &Community) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for project in community.projects() {
        for layer in community.layers_below(project) {
            if let Layer::External(repo) = layer {
                places.extend(project.arches.iter().map(|arch| (repo.baseurl.clone(), *arch)));
            }
        }
    }
    places
}

/// How long until the next look at a repo: a little less than `pause`, by its address, so that not all are asked at one moment;
/// after failures twice as long each time.
fn wait((baseurl, arch): &Place, pause: Duration, failures: u32) -> Duration {
    let digest = Digest::of(format!("{baseurl} {arch}").as_bytes());
    let tenths = digest.as_str().get(..2).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0);
    let early = pause / 10 * tenths / 256;
    let pauses = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(MOST_PAUSES).min(MOST_PAUSES);
    pause.saturating_sub(early).saturating_mul(pauses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_spread_and_get_rarer_while_a_repo_is_away() {
        let pause = Duration::from_secs(900);
        let place = |number: u32| (format!("https://example.org/{number}"), Arch::X86_64);
        let waits: BTreeSet<Duration> = (0..50).map(|number| wait(&place(number), pause, 0)).collect();
        assert!(waits.len() > 25, "{waits:?}");
        assert!(waits.iter().all(|wait| (pause * 9 / 10..=pause).contains(wait)));
        let first = wait(&place(1), pause, 1);
        assert_eq!(first, wait(&place(1), pause, 0), "the first failure may be a slip");
        for (failures, times) in [(2, 2), (3, 4), (5, 16), (9, 16), (99, 16)] {
            assert_eq!(wait(&place(1), pause, failures), first * times, "{failures}");
        }
    }
}

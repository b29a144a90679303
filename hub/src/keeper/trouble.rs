//! What failed for a reason of the farm's own is tried again, ever more rarely.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Progress;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// The pause after the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What failed lately. Nothing depends on it: a hub that starts anew tries everything at once.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<String, Trouble>>);

#[derive(Debug)]
struct Trouble {
    /// The version of it that failed: another one may do better.
    version: i64,
    failures: u32,
    at: Instant,
    why: String,
}

impl Trouble {
    fn pause(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures.saturating_sub(1)).unwrap_or(u32::MAX);
        FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
    }
}

/// Something that is taken one step on again and again.
pub(super) struct Subject<'a> {
    /// What it is called among the [`Troubles`].
    pub name: &'a str,
    /// Its version: another one is tried at once, whatever the last one failed for.
    pub version: i64,
    /// What it is, for the log.
    pub what: &'static str,
    /// Names it in the log.
    pub span: tracing::Span,
}

/// Takes something one step on, unless it has failed too lately. A failure is logged here, and remembered. A step is boxed because
/// it is large: moved about by value it would fill a thread's stack.
pub(super) async fn step_one(
    hub: &Hub,
    subject: Subject<'_>,
    step: Pin<Box<impl Future<Output = Answer<Progress>>>>,
) -> Progress {
    let Subject { name, version, what, span } = subject;
    if !hub.troubles.may_try(name, version, Instant::now()) {
        return Progress::None;
    }
    match step.await {
        Ok(made) => {
            hub.troubles.well(name);
            made
        }
        Err(problem) => {
            // Of two that do the same one is too late; that is no trouble.
            if !matches!(problem, Problem::Conflict { .. }) {
                hub.troubles.failed(name, version, Instant::now(), &problem);
            }
            span.in_scope(|| super::log(what, &problem));
            Progress::None
        }
    }
}

impl Troubles {
    /// Should this version of it be tried now?
    fn may_try(&self, what: &str, version: i64, now: Instant) -> bool {
        self.with(|troubles| {
            troubles.get(what).is_none_or(|trouble| {
                trouble.version != version || now.saturating_duration_since(trouble.at) >= trouble.pause()
            })
        })
    }

    /// It failed.
    fn failed(&self, what: &str, version: i64, now: Instant, why: &Problem) {
        self.with(|troubles| {
            let failures = troubles.get(what).filter(|trouble| trouble.version == version);
            let failures = failures.map_or(0, |trouble| trouble.failures).saturating_add(1);
            troubles.insert(what.to_owned(), Trouble { version, failures, at: now, why: why.to_string() });
        });
    }

    /// What a person may know of its last failure, if it failed.
    pub(crate) fn told(&self, what: &str) -> Option<String> {
        self.with(|troubles| troubles.get(what).map(|trouble| trouble.why.clone()))
    }

    /// It went well, or is over.
    fn well(&self, what: &str) {
        self.with(|troubles| troubles.remove(what));
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Trouble>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_pause_and_another_version_is_tried_at_once() {
        let (troubles, begun) = (Troubles::default(), Instant::now());
        let why = Problem::not_found("disk", "here");
        let mut now = begun;
        assert!(troubles.may_try("x", 1, now));
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            troubles.failed("x", 1, now, &why);
            assert!(troubles.told("x").is_some_and(|told| told == why.to_string()));
            assert!(!troubles.may_try("x", 1, now + Duration::from_millis(pause * 1000 - 1)));
            now += Duration::from_secs(pause);
            assert!(troubles.may_try("x", 1, now), "after {pause} s");
            assert!(troubles.may_try("y", 1, begun));
        }
        troubles.failed("x", 1, now, &why);
        assert!(troubles.may_try("x", 2, now));
        troubles.well("x");
        assert_eq!(troubles.told("x"), None);
        assert!(troubles.may_try("x", 1, now));
    }
}

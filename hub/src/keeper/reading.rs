//! Repos outside the farm are read beside the keeper's rounds, each in a task of its own: one that does not answer holds up
//! nobody but who needs it.
//!
//! A step asks for what it needs with [`layers`] and either has all of it or ends, saying what is missing. It goes on when that is
//! there: who waits for how much is part of the [version](Readings::ready) under which a step's troubles are remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use farm::arch::Arch;
use farm::ledger::Tx;
use farm::recipe::RepoOrigin;
use tokio::task::{AbortHandle, JoinSet};

use super::outside::{Place, note};
use super::trial;
use crate::closure::Layer;
use crate::external::State;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Who has not come for what was read in so long has it read again.
const KEPT: Duration = Duration::from_secs(3600);

/// What is being read, and for whom. Nothing depends on it: a hub that starts anew reads again.
#[derive(Debug, Default)]
pub struct Readings(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    repos: BTreeMap<Place, Reading>,
    tasks: JoinSet<()>,
}

/// One repo.
#[derive(Debug, Default)]
struct Reading {
    task: Option<AbortHandle>,
    /// Who asked and has no answer yet.
    waiting: BTreeSet<String>,
    /// Who may go by what was seen last, since when.
    served: BTreeMap<String, Instant>,
    seen: Option<Seen>,
    /// Why it could not be read the last time, if that is so.
    failed: Option<String>,
    /// Some check needs its filelists.
    deep: bool,
}

/// What a repo outside was found to be.
#[derive(Debug, Clone)]
enum Seen {
    /// It was read in this state.
    Read(State),
    /// It must not be read, for this reason.
    Refused(String),
}

/// The repos outside that something is compared with, each in the state in which it was read.
#[derive(Debug, Default)]
pub(super) struct Read(BTreeMap<Place, Seen>);

/// Everything outside that a project's own tests install from, as it is now.
///
/// # Errors
/// That some of it is still being read, or cannot be.
pub(super) fn layers(hub: &Hub, who: &str, place: &trial::Place) -> Answer<Read> {
    let (mut read, mut missing) = (Read::default(), None);
    for repo in outside(place) {
        match hub.readings.ask(hub, who, &repo) {
            Ok(seen) => drop(read.0.insert(repo, seen)),
            // What cannot be read says more than what is being read.
            Err(problem) if !matches!(missing, Some(Problem::Unavailable { .. })) => missing = Some(problem),
            Err(_) => {}
        }
    }
    missing.map_or(Ok(read), Err)
}

/// The repos outside below a project, for each of its architectures.
fn outside(place: &trial::Place) -> BTreeSet<Place> {
    let repos = place.layers.iter().filter_map(|layer| match &layer.origin {
        RepoOrigin::External { baseurl } => Some(baseurl),
        RepoOrigin::Snapshot { .. } => None,
    });
    let on_each = |baseurl: &String| {
        let baseurl = baseurl.clone();
        place.project.arches.iter().map(move |arch| (baseurl.clone(), *arch)).collect::<Vec<_>>()
    };
    repos.flat_map(on_each).collect()
}

/// A check cannot do without the filelists of the repos outside below this project. They are read, and it is done again.
pub(super) fn deeper(hub: &Hub, place: &trial::Place, arch: Arch) -> Problem {
    for repo in outside(place).into_iter().filter(|(_, on)| *on == arch) {
        hub.readings.with(|inner| {
            let reading = inner.repos.entry(repo).or_default();
            reading.deep = true;
            reading.served.clear();
        });
    }
    Problem::NotYet { what: "the filelists of the repos outside are being read".to_owned() }
}

impl Read {
    /// A repo as a layer of a check; `Ok(Err(why))` when it must not be read.
    pub(super) async fn layer(
        &self,
        hub: &Hub,
        baseurl: &str,
        arch: Arch,
        priority: u32,
    ) -> Answer<Result<Layer, String>> {
        let place = (baseurl.to_owned(), arch);
        match self.0.get(&place) {
            Some(Seen::Refused(why)) => Ok(Err(why.clone())),
            Some(Seen::Read(state)) => match hub.outside.kept(state, priority).await {
                Ok(layer) => Ok(Ok(layer)),
                // It was tidied away meanwhile.
                Err(_) => Err(hub.readings.again(&place)),
            },
            None => Err(hub.readings.again(&place)),
        }
    }

    /// What was compared must be what the ledger says is there: a repo of which another state was noted meanwhile is read again.
    pub(super) async fn must_be_noted(&self, hub: &Hub, tx: &mut Tx) -> Answer<()> {
        let noted = tx.outside().await?;
        for (place, seen) in &self.0 {
            let Seen::Read(state) = seen else { continue };
            if noted.get(place).is_none_or(|known| known.digest != state.digest) {
                return Err(hub.readings.again(place));
            }
        }
        Ok(())
    }
}

impl Readings {
    /// How much of what `who` asked for is there. It changes when more is: what failed for want of it is tried at once.
    pub(super) fn ready(&self, who: &str) -> i64 {
        self.with(|inner| {
            let ready = inner.repos.values().filter(|reading| reading.served.contains_key(who)).count();
            i64::try_from(ready).unwrap_or(i64::MAX)
        })
    }

    /// It has gone by what was read: the next time it asks, everything is read anew.
    pub(super) fn done(&self, who: &str) {
        self.with(|inner| {
            for reading in inner.repos.values_mut() {
                reading.served.remove(who);
                reading.waiting.remove(who);
            }
        });
    }

    /// Ends what is under way: the hub stops.
    pub(super) fn stop(&self) {
        self.with(|inner| inner.tasks.abort_all());
    }

    /// What was seen of a repo counts no more.
    fn again(&self, (baseurl, arch): &Place) -> Problem {
        self.with(|inner| {
            if let Some(reading) = inner.repos.get_mut(&(baseurl.clone(), *arch)) {
                reading.served.clear();
            }
        });
        Problem::NotYet { what: format!("the repo outside at {baseurl} is being read again") }
    }

    /// What was seen since `who` first asked. If nothing was, somebody reads it from now on.
    fn ask(&self, hub: &Hub, who: &str, place: &Place) -> Answer<Seen> {
        self.with(|inner| {
            let reading = inner.repos.entry(place.clone()).or_default();
            if let (Some(seen), true) = (&reading.seen, reading.served.contains_key(who)) {
                return Ok(seen.clone());
            }
            reading.waiting.insert(who.to_owned());
            if reading.task.as_ref().is_none_or(AbortHandle::is_finished) {
                // Those that are over are forgotten.
                while inner.tasks.try_join_next().is_some() {}
                let task = read(hub.clone(), place.clone(), reading.deep);
                reading.task = Some(inner.tasks.spawn(task));
            }
            Err(match &reading.failed {
                Some(why) => {
                    Problem::unavailable(why.clone(), "wait until it can be, or correct its address")
                }
                None => Problem::NotYet { what: format!("the repo outside at {} is being read", place.0) },
            })
        })
    }

    /// It was read, or it must not be. Says whether somebody waited for that.
    fn found(&self, place: &Place, found: Result<Seen, String>) -> bool {
        self.with(|inner| {
            let reading = inner.repos.entry(place.clone()).or_default();
            reading.served.retain(|_, since| since.elapsed() < KEPT);
            match found {
                Ok(seen) => {
                    (reading.seen, reading.failed) = (Some(seen), None);
                    let waiting = std::mem::take(&mut reading.waiting);
                    let is_awaited = !waiting.is_empty();
                    reading.served.extend(waiting.into_iter().map(|who| (who, Instant::now())));
                    is_awaited
                }
                Err(why) => {
                    reading.failed = Some(why);
                    false
                }
            }
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads a repo, and notes in which state it is.
async fn read(hub: Hub, place: Place, deep: bool) {
    let read = async {
        let state = hub.outside.read(&place.0, place.1, deep).await?;
        note(&hub, &place, &state.digest).await?;
        Ok(state)
    };
    let found = match read.await {
        Ok(state) => Ok(Seen::Read(state)),
        Err(Problem::Invalid { what, .. }) => Ok(Seen::Refused(what)),
        Err(problem) => Err(problem.to_string()),
    };
    if hub.readings.found(&place, found) {
        hub.hurry_keepers();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use farm::digest::Digest;
    use farm::ledger::Db;
    use farm::recipe::RepoSource;
    use farm::wire::Bus;

    use super::layers as layers_of;
    use super::*;
    use crate::config::Config;

    const TEMPLATE: &str = "name = \"demo\"\n[[member]]\nname = \"ada\"\nroles = [\"maintainer\"]\n[[project]]\n\
        name = \"hello\"\nrelease = \"1\"\ndist = \"9s\"\narches = [\"x86_64\"]\npackages = [\"hello\"]\n";

    fn show(folder: &Path, revision: u32) {
        let index = "<metadata packages=\"0\"></metadata>";
        let sum = Digest::of(index.as_bytes());
        let repomd = format!(
            "<repomd><revision>{revision}</revision><data type=\"primary\"><checksum type=\"sha256\">{}</checksum>\
             <location href=\"repodata/primary.xml\"/><size>{}</size></data></repomd>",
            sum.as_str(),
            index.len()
        );
        std::fs::create_dir_all(folder.join("repodata")).unwrap();
        std::fs::write(folder.join("repodata/primary.xml"), index).unwrap();
        std::fs::write(folder.join("repodata/repomd.xml"), repomd).unwrap();
    }

    /// Asks until it is there, as a step does.
    async fn read(hub: &Hub, place: &trial::Place) -> Read {
        loop {
            match layers_of(hub, "x", place) {
                Ok(read) => return read,
                Err(problem) => assert!(matches!(problem, Problem::NotYet { .. }), "{problem}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn what_was_compared_is_what_is_noted_or_it_is_read_again() {
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("ledger.sqlite").display())).await.unwrap();
        let mirror = dir.path().join("mirror");
        show(&mirror, 1);
        let (data, file_repos) = (dir.path().join("data"), vec![mirror.clone()]);
        let hub = Hub::open(db, Bus::local(), Config { data, file_repos, ..Config::default() }).unwrap();
        let url = format!("file://{}", mirror.display());
        let sig = farm::sig::template::parse("demo.toml", TEMPLATE).unwrap();
        let layers = vec![RepoSource {
            name: "base".to_owned(),
            priority: 50,
            origin: RepoOrigin::External { baseurl: url.clone() },
        }];
        let place = trial::Place { project: sig.projects[0].clone(), on: None, layers, members: Vec::new() };
        // A task that dies keeps nobody from reading it again.
        assert!(layers_of(&hub, "x", &place).is_err());
        hub.readings.stop();

        let first = read(&hub, &place).await;
        assert!(first.layer(&hub, &url, Arch::X86_64, 50).await.unwrap().is_ok());
        let mut tx = hub.db.write().await.unwrap();
        first.must_be_noted(&hub, &mut tx).await.unwrap();
        // Whoever watches it has seen something else meanwhile.
        tx.note_outside(&url, Arch::X86_64, &Digest::of(b"another"), hub.now()).await.unwrap();
        let said = first.must_be_noted(&hub, &mut tx).await;
        assert!(matches!(said, Err(Problem::NotYet { .. })), "{said:?}");
        tx.commit().await.unwrap();
        assert_eq!(hub.readings.ready("x"), 0);

        show(&mirror, 2);
        let second = read(&hub, &place).await;
        second.must_be_noted(&hub, &mut hub.db.read().await.unwrap()).await.unwrap();
        // What was used is read anew the next time.
        hub.readings.done("x");
        assert!(layers_of(&hub, "x", &place).is_err());
    }
}

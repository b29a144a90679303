//! An engine that runs no containers: it is told what each would do, keeps the port's contract, and fails loudly when
//! the caller does not. With it a whole farm runs in one process, without Docker.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farm::recipe::Recipe;
use tokio_util::sync::CancellationToken;

use super::EngineError;
use super::spec::{ContainerId, ContainerSpec, Ended, Ending, ImageId, Owner, Step};
use crate::spool::{Room, Spool};

/// What a container of the dummy does: says its lines, puts out its files, takes its time and ends. By default it
/// does nothing, at once and successfully.
#[derive(Debug, Clone, Default)]
pub struct Script {
    code: i64,
    lines: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    takes: Duration,
    hangs: bool,
    out_of_memory: bool,
    engine_fails: Option<String>,
}

impl Script {
    /// Adds a line to what goes to standard error.
    #[must_use]
    pub fn says(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Adds a file to what comes out at the end.
    #[must_use]
    pub fn puts_out(mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.into(), content.into()));
        self
    }

    /// Ends with this code instead of 0.
    #[must_use]
    pub fn exits(mut self, code: i64) -> Self {
        self.code = code;
        self
    }

    /// Takes this long, after its lines and before its files.
    #[must_use]
    pub fn takes(mut self, time: Duration) -> Self {
        self.takes = time;
        self
    }

    /// Never ends by itself.
    #[must_use]
    pub fn hangs(mut self) -> Self {
        self.hangs = true;
        self
    }

    /// Loses a process to the kernel for want of memory, and ends with 137.
    #[must_use]
    pub fn runs_out_of_memory(mut self) -> Self {
        self.out_of_memory = true;
        self.code = 137;
        self
    }

    /// Makes the engine fail instead, with this sentence.
    #[must_use]
    pub fn engine_fails(mut self, why: impl Into<String>) -> Self {
        self.engine_fails = Some(why.into());
        self
    }
}

/// The engine; clones share it.
#[derive(Clone)]
pub struct Dummy(Arc<Inner>);

type Director = dyn Fn(&Recipe, Step) -> Script + Send + Sync;

struct Inner {
    script: Box<Director>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    made: u64,
    down: Option<String>,
    containers: HashMap<ContainerId, Container>,
    images: HashMap<ImageId, Owner>,
    ran: Vec<(Owner, Step)>,
}

struct Container {
    owner: Owner,
    running: bool,
    committed: bool,
}

impl Dummy {
    /// An engine whose containers do what `script` says for their recipe and step.
    pub fn new(script: impl Fn(&Recipe, Step) -> Script + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { script: Box::new(script), state: Mutex::default() }))
    }

    /// Containers that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.state().containers.values().filter(|container| container.running).count()
    }

    /// Every container that was ever started, oldest first.
    #[must_use]
    pub fn ran(&self) -> Vec<(Owner, Step)> {
        self.state().ran.clone()
    }

    /// From now on the engine does not answer (`Some`), or does again (`None`).
    pub fn set_down(&self, why: Option<String>) {
        self.state().down = why;
    }

    pub(super) fn ping(&self) -> Result<(), EngineError> {
        match &self.state().down {
            Some(why) => Err(EngineError::Failed { doing: "answer", why: why.clone() }),
            None => Ok(()),
        }
    }

    pub(super) async fn run(
        &self,
        spec: &ContainerSpec,
        output: &mut Spool,
        log: &mut Spool,
        stop: &CancellationToken,
    ) -> Result<Ended, EngineError> {
        self.ping()?;
        let container = self.start(spec)?;
        let script = (self.0.script)(&spec.recipe, spec.step);
        let ending = play(&script, spec, output, log, stop).await;
        let mut state = self.state();
        if ending.is_err() {
            state.containers.remove(&container);
        } else if let Some(container) = state.containers.get_mut(&container) {
            container.running = false;
        }
        Ok(Ended { container, ending: ending?, oom_killed: script.out_of_memory })
    }

    fn start(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        let mut state = self.state();
        let busy = state.containers.values().any(|other| other.owner == spec.owner && other.running);
        if busy {
            return Err(out_of_order("two containers of one attempt at a time"));
        }
        let is_base = spec.image == spec.recipe.image;
        if !is_base && state.images.get(&ImageId(spec.image.clone())) != Some(&spec.owner) {
            return Err(out_of_order("the image is neither the recipe's nor one the attempt committed"));
        }
        if let Some(mount) =
            spec.mounts.iter().find(|mount| !mount.from.is_absolute() || !mount.from.exists())
        {
            return Err(out_of_order(&format!("{} is mounted and not there", mount.from.display())));
        }
        state.made += 1;
        let id = ContainerId(format!("{}#{}", spec.name(), state.made));
        let container = Container { owner: spec.owner.clone(), running: true, committed: false };
        state.containers.insert(id.clone(), container);
        state.ran.push((spec.owner.clone(), spec.step));
        Ok(id)
    }

    pub(super) fn commit(&self, container: &ContainerId, owner: &Owner) -> Result<ImageId, EngineError> {
        self.ping()?;
        let mut state = self.state();
        let State { made, containers, images, .. } = &mut *state;
        let container = containers.get_mut(container).filter(|container| container.owner == *owner);
        let container = container.ok_or_else(|| out_of_order("commit of a container that is not there"))?;
        if container.running || container.committed {
            return Err(out_of_order("commit of a container that runs or was committed before"));
        }
        container.committed = true;
        *made += 1;
        let image = ImageId(format!("sha256:{made:064x}"));
        images.insert(image.clone(), owner.clone());
        Ok(image)
    }

    pub(super) fn leftovers(&self, builder: &str) -> usize {
        let state = self.state();
        let owners = state.containers.values().map(|container| &container.owner).chain(state.images.values());
        owners.filter(|owner| owner.builder == builder).count()
    }

    pub(super) fn reap(&self, whose: impl Fn(&Owner) -> bool) {
        let mut state = self.state();
        state.containers.retain(|_, container| !whose(&container.owner));
        state.images.retain(|_, owner| !whose(owner));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn play(
    script: &Script,
    spec: &ContainerSpec,
    output: &mut Spool,
    log: &mut Spool,
    stop: &CancellationToken,
) -> Result<Ending, EngineError> {
    if let Some(why) = &script.engine_fails {
        return Err(EngineError::Failed { doing: "start a container", why: why.clone() });
    }
    for line in &script.lines {
        if log.append(format!("{line}\n").as_bytes()).await? == Room::Exhausted {
            return Ok(Ending::LogOverflow);
        }
    }
    let ends = async {
        tokio::time::sleep(script.takes).await;
        if script.hangs {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(Ending::Stopped),
        () = ends => {}
        () = tokio::time::sleep(Duration::from_secs(spec.recipe.limits.seconds)) => return Ok(Ending::TimedOut),
    }
    if output.append(&archive(&script.files)?).await? == Room::Exhausted {
        return Ok(Ending::OutputOverflow);
    }
    Ok(Ending::Exited(script.code))
}

fn archive(files: &[(String, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content.as_slice())?;
    }
    archive.into_inner()
}

fn out_of_order(what: &str) -> EngineError {
    EngineError::OutOfOrder(what.to_owned())
}

impl fmt::Debug for Dummy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dummy").field("running", &self.running()).finish_non_exhaustive()
    }
}

//! An engine that runs no containers: it is told what each would do, keeps the port's contract, and fails loudly when
//! the caller does not. With it a whole farm runs in one process, without Docker.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farm::digest::Digest;
use farm::recipe::Recipe;
use tokio_util::sync::CancellationToken;

use super::spec::{ContainerId, ContainerSpec, Ended, Ending, ImageFacts, ImageId, Owner, Step};
use super::{EngineError, Kept};
use crate::spool::{Room, Spool};

/// What a container of the dummy does: says its lines, puts out its files, takes its time and ends. By default it
/// does nothing, at once and successfully.
#[derive(Debug, Clone, Default)]
pub struct Script {
    code: i64,
    lines: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    pace: Duration,
    takes: Duration,
    waits_for: Option<PathBuf>,
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

    /// Lets this much time pass after each line.
    #[must_use]
    pub fn paced(mut self, pause: Duration) -> Self {
        self.pace = pause;
        self
    }

    /// Does not end before this file is there.
    #[must_use]
    pub fn waits_for(mut self, file: impl Into<PathBuf>) -> Self {
        self.waits_for = Some(file.into());
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

/// Between two looks for the file a container waits for.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes that an image of the dummy has; one that was committed has twice as many.
const IMAGE_BYTES: u64 = 100 * 1024 * 1024;
/// What is installed in every root, unless a script says otherwise.
const INSTALLED: [(&str, &str); 2] = [("packages.txt", "base-1-1.noarch (none)\n"), ("names.txt", "base\n")];

/// The engine; clones share it. Asked what is installed ([`Step::Lock`]), a container whose script puts out nothing
/// names one package.
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
        let mut script = (self.0.script)(&spec.recipe, spec.step);
        if spec.step == Step::Lock && script.files.is_empty() {
            script.files = INSTALLED.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into();
        }
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
        let is_base = spec.image == spec.recipe.image || spec.image == base(&spec.recipe.image).0;
        let committed = state.images.get(&ImageId(spec.image.clone()));
        if !is_base && committed.is_none_or(|owner| owner.builder != spec.owner.builder) {
            return Err(out_of_order("the image is neither the recipe's nor one the builder committed"));
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

    pub(super) fn image(&self, name: &str) -> Result<Option<ImageFacts>, EngineError> {
        self.ping()?;
        let id = if name.starts_with("sha256:") { ImageId(name.to_owned()) } else { base(name) };
        // It has whatever image a recipe names, but of those that were committed only the ones that are still there.
        let there = !name.starts_with("sha256:") || self.state().images.contains_key(&id);
        let bytes = if name.starts_with("sha256:") { 2 * IMAGE_BYTES } else { IMAGE_BYTES };
        Ok(there.then_some(ImageFacts { id, bytes }))
    }

    pub(super) fn leftovers(&self, builder: &str, kept: &Kept) -> usize {
        let state = self.state();
        let containers = state.containers.values().filter(|container| container.owner.builder == builder);
        let images =
            state.images.iter().filter(|(image, owner)| owner.builder == builder && !kept.contains(image));
        containers.count() + images.count()
    }

    pub(super) fn reap(&self, whose: impl Fn(&Owner) -> bool, kept: &Kept) {
        let mut state = self.state();
        state.containers.retain(|_, container| !whose(&container.owner));
        state.images.retain(|image, owner| !whose(owner) || kept.contains(image));
    }

    pub(super) fn remove(&self, builder: &str, image: &ImageId) -> Result<(), EngineError> {
        self.ping()?;
        let mut state = self.state();
        if state.images.get(image).is_some_and(|owner| owner.builder == builder) {
            state.images.remove(image);
        }
        Ok(())
    }

    /// Committed images that exist.
    #[must_use]
    pub fn images(&self) -> usize {
        self.state().images.len()
    }

    /// Loses every committed image, as when somebody tidies up the engine by hand.
    pub fn lose_images(&self) {
        self.state().images.clear();
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
        if !script.pace.is_zero() {
            tokio::select! {
                () = stop.cancelled() => return Ok(Ending::Stopped),
                () = tokio::time::sleep(script.pace) => {}
            }
        }
    }
    let ends = async {
        tokio::time::sleep(script.takes).await;
        while script.waits_for.as_ref().is_some_and(|file| !file.exists()) {
            tokio::time::sleep(LOOK).await;
        }
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

/// The content of an image that a recipe names.
fn base(name: &str) -> ImageId {
    ImageId(format!("sha256:{}", Digest::of(name.as_bytes())))
}

fn out_of_order(what: &str) -> EngineError {
    EngineError::OutOfOrder(what.to_owned())
}

impl fmt::Debug for Dummy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dummy").field("running", &self.running()).finish_non_exhaustive()
    }
}

//! The root a build starts from: made of the base image by installing what is needed, or kept from an earlier build.

use std::time::Instant;

use farm::buildroot::{LARGEST_LOCK, LOCK_FILE, Lock};
use farm::digest::Digest;

use super::bench::{Bench, Task};
use super::ground::Basis;
use super::repos::{self, Repos};
use crate::engine::{ImageFacts, Profile, Step};
use crate::halt::{Halt, OrFarm as _};
use crate::intake::Outputs;
use crate::roots::{Fresh, Pin, bearing};
use crate::spool::Spool;
use crate::workspace::INPUTS;

/// The log of dnf.
pub(super) const ROOT_LOG: &str = "root.log";
/// What the list of what is installed is called, and that of the names that play a part in it.
const PACKAGES: &str = "packages.txt";
const NAMES: &str = "names.txt";
/// Bytes of the list of names that are read.
const MOST_NAMES: u64 = 64 * 1024 * 1024;
/// What makes a root: with another script it would come out otherwise.
const SCRIPT: &str = include_str!("dependencies.sh");

/// The root of one build.
pub(super) struct Root {
    base: ImageFacts,
    /// What it is now.
    image: ImageFacts,
    /// What of it is digested: the base image's content, or the lock.
    content: String,
    /// The kept root it is, or was made from. Whatever it was made from must not go away meanwhile.
    pins: Vec<Pin>,
    /// It is one that was kept.
    was_kept: bool,
    repos: Option<Repos>,
    /// Kept roots are not looked at any more.
    anew: bool,
    /// The build in it has what earlier ones compiled; see [`Lock::ccache`].
    ccache: bool,
    /// [`Lock::toolchain`] of what is in it now.
    toolchain: Digest,
}

impl Root {
    /// The base image, in which nothing is installed yet.
    pub(super) async fn of_image(bench: &mut Bench<'_>, ccache: bool) -> Result<Self, Halt> {
        let base = bench.base().await?;
        let (image, content) = (base.clone(), base.id.0.clone());
        let toolchain = Digest::of(content.as_bytes());
        let (pins, repos) = (Vec::new(), None);
        Ok(Self { base, image, content, pins, was_kept: false, repos, anew: false, ccache, toolchain })
    }

    /// The image a container can start from.
    pub(super) fn image(&self) -> &str {
        &self.image.id.0
    }

    /// What compiles in it.
    pub(super) fn toolchain(&self) -> &Digest {
        &self.toolchain
    }

    /// Installs what the package of this name among the inputs needs, or takes a root in which that was done.
    pub(super) async fn install(
        &mut self,
        bench: &mut Bench<'_>,
        needs: &str,
        round: u32,
        log: &mut Spool,
    ) -> Result<(), Halt> {
        let begun = Instant::now();
        let sharing = bench.recipe.sharing.clone().filter(|_| bench.tools.roots.are_kept());
        let mut basis = match &sharing {
            Some(sharing) => {
                let path = bench.workspace.inputs().join(needs);
                let script = Digest::of(SCRIPT.as_bytes());
                Basis::of(bench, sharing, &self.content, script.as_str(), &path).await?
            }
            None => None,
        };
        if let Some(basis) = &mut basis
            && !self.anew
            && let Some(pin) = kept(bench, basis).await?
        {
            let lock = pin.lock().clone();
            let told = summary(&lock, "kept from an earlier build", begun);
            log.append(format!("The root is {told}: nothing is installed anew.\n").as_bytes())
                .await
                .or_farm("keep a log")?;
            self.image = pin.image().clone();
            self.was_kept = true;
            self.pins.push(pin);
            return self.record(bench, &lock, &told).await;
        }
        let (image, lock, names) = self.make(bench, needs, round, log).await?;
        let told = summary(&lock, "made anew", begun);
        if let (Some(basis), Some(sharing)) = (basis, &sharing)
            && basis.still_holds(bench).await
        {
            let fresh = Fresh {
                sharing,
                image: image.clone(),
                bytes: image.bytes.saturating_sub(self.image.bytes),
                lock: lock.clone(),
                parent: self.pins.last().map(|pin| pin.id().clone()),
                ground: basis.ground(bench, &bearing::names(&names)).await?,
                names,
            };
            self.pins.extend(bench.tools.roots.keep(&bench.tools.engine, fresh).await);
        }
        (self.image, self.was_kept) = (image, false);
        self.record(bench, &lock, &told).await
    }

    /// Is the kept root that was taken no longer there? Then it is not the build's fault that nothing could be started
    /// in it, and the next one is made anew.
    pub(super) async fn has_vanished(&mut self, bench: &mut Bench<'_>) -> Result<bool, Halt> {
        if !self.was_kept || bench.tools.engine.image(self.image()).await?.is_some() {
            return Ok(false);
        }
        bench.journal.note("Root: the kept one is gone; another is made").await;
        for pin in self.pins.drain(..) {
            bench.tools.roots.forget(pin.id());
        }
        (self.image, self.content) = (self.base.clone(), self.base.id.0.clone());
        (self.was_kept, self.anew) = (false, true);
        Ok(true)
    }

    async fn make(
        &mut self,
        bench: &mut Bench<'_>,
        needs: &str,
        round: u32,
        log: &mut Spool,
    ) -> Result<(ImageFacts, Lock, String), Halt> {
        if self.repos.is_none() {
            self.repos = Some(repos::lay_out(bench).await?);
        }
        let Some(repos) = &self.repos else { return Err(Halt::Farm("there are no repos".to_owned())) };
        let task = Task {
            step: Step::Dependencies,
            round,
            image: &self.image.id.0,
            script: SCRIPT,
            arguments: vec![format!("{INPUTS}/{needs}")],
            env: Vec::new(),
            mounts: repos.mounts_with(bench.workspace.inputs_mount()),
            profile: repos.profile(),
        };
        let ran = bench.run(task, log).await?;
        if ran.code != 0 {
            return Err(repos::failure(bench, &ran, ROOT_LOG));
        }
        let id = bench.tools.engine.commit(&ran.container, &bench.owner).await?;
        let image = bench.tools.engine.image(&id.0).await?;
        let image = image.ok_or_else(|| Halt::Farm(format!("the engine lost the image {} it made", id.0)))?;
        let (lock, names) = list(bench, &self.base, &image, round, log).await?;
        Ok((image, lock, names))
    }

    /// Tells the hub and the reader of the log what is in the root.
    async fn record(&mut self, bench: &mut Bench<'_>, lock: &Lock, told: &str) -> Result<(), Halt> {
        self.content = lock.digest().to_string();
        self.toolchain = lock.toolchain();
        bench.journal.note(&format!("Root: {told}")).await;
        let lock = Lock { ccache: self.ccache, ..lock.clone() };
        let bytes = serde_json::to_vec(&lock).or_farm("write down what is in a root")?;
        bench.upload_own(LOCK_FILE, &bytes).await
    }
}

fn summary(lock: &Lock, how: &str, since: Instant) -> String {
    let (digest, packages) = (lock.digest(), lock.packages.len());
    format!("lock {digest}, {packages} packages, {how} in {} ms", since.elapsed().as_millis())
}

/// A kept root that would come out the same.
async fn kept(bench: &Bench<'_>, basis: &mut Basis) -> Result<Option<Pin>, Halt> {
    let roots = &bench.tools.roots;
    for (id, ground) in roots.candidates(basis.exact()) {
        let Ok(names) = roots.names(&id) else {
            roots.forget(&id);
            continue;
        };
        if basis.yields(bench, &ground, &names).await?
            && let Some(pin) = roots.take(&bench.tools.engine, &id).await
        {
            return Ok(Some(pin));
        }
    }
    Ok(None)
}

/// Everything that is installed in a root, and the names that play a part in it: read in a container that can change
/// nothing.
async fn list(
    bench: &mut Bench<'_>,
    base: &ImageFacts,
    root: &ImageFacts,
    round: u32,
    log: &mut Spool,
) -> Result<(Lock, String), Halt> {
    let task = Task {
        step: Step::Lock,
        round,
        image: &root.id.0,
        script: include_str!("lock.sh"),
        arguments: Vec::new(),
        env: Vec::new(),
        mounts: Vec::new(),
        profile: Profile::Locked,
    };
    let ran = bench.run(task, log).await?;
    let wrong =
        |why: &str| Halt::Farm(format!("cannot list what is installed in the root: {why}; see {ROOT_LOG}"));
    if ran.code != 0 {
        return Err(wrong(&format!("rpm ended with {}", ran.code)));
    }
    let outputs = Outputs::read(ran.stream, &[".txt"]).await?;
    let text = |name: &str, limit: u64| {
        let file = outputs.files.iter().find(|file| file.name == name && file.size <= limit);
        let file = file.ok_or_else(|| wrong(&format!("{name} did not come out of it, or is too large")))?;
        outputs.text(file, limit).or_farm("read what came out of a container")
    };
    let lock = Lock::of_listing(&bench.recipe, &base.id.0, &text(PACKAGES, LARGEST_LOCK)?);
    let lock = lock.map_err(|fault| wrong(&fault.to_string()))?;
    let names = text(NAMES, MOST_NAMES)?;
    outputs.discard().or_farm("free its disk")?;
    Ok((lock, names))
}

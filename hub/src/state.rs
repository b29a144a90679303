//! What every room of the hub shares.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use farm::digest::{Digest, hex};
use farm::ids::{Id, JobId, Minter};
use farm::ledger::{Db, Person};
use farm::sig::{Community, Role};
use farm::stamp::Stamp;
use farm::wire::Bus;
use tokio::sync::watch;

use crate::artifacts::Artifacts;
use crate::bucket::Bucket;
use crate::config::Config;
use crate::external::Outside;
use crate::files::{FileLock, Held, lock_file};
use crate::keeper::{Readings, Troubles};
use crate::problem::{Answer, Problem};
use crate::repos::compose;
use crate::repos::engine::Engine;
use crate::repos::manifest;
use crate::repos::metalink;
use crate::repos::publish::SnapshotTree;
use crate::shelf::Shelf;
use crate::signing::Bell;

/// Memory for what repos hold: several distributions' worth.
const CLOSURES_BYTES: usize = 512 << 20;
/// Bytes of a MiB.
const MIB: u64 = 1 << 20;
/// How long another hub may hold a lock for one step; a long one takes seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// The hub: a handle that clones share.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

/// What the handle stands for.
pub struct Inner {
    /// The ledger.
    pub db: Db,
    /// The bus, to hurry the scheduler up.
    pub bus: Bus,
    /// The configuration.
    pub config: Config,
    /// The artifact store.
    pub artifacts: Artifacts,
    /// What makes repository metadata.
    pub engine: Engine,
    /// Lists of what snapshots consist of, as far as they were read lately.
    pub manifests: manifest::Cache,
    /// What repos hold, as far as it was read lately to look for broken packages.
    pub closures: crate::closure::Cache,
    /// What reads the repos outside the farm.
    pub outside: Outside,
    /// Snapshots that are composed but not live.
    pub staging: PathBuf,
    /// The candidate repos: for builds and tests.
    pub candidates: SnapshotTree,
    /// The public repos: buildlogs and production.
    pub public: SnapshotTree,
    /// Where users fetch them, when that is a bucket.
    pub shelf: Option<Shelf>,
    /// The secret the hub gives to the hooks of its own repos.
    pub hook_token: String,
    /// The secret that hooks on other git servers show.
    pub foreign_hook_token: Option<String>,
    /// The secret that signers show.
    pub signer_token: String,
    /// Wakes signers.
    pub signers: Bell,
    /// What the keeper could not do lately.
    pub troubles: Troubles,
    /// Repos outside that are being read for the keeper.
    pub readings: Readings,
    /// Wakes the keeper: counts what happened.
    wake: watch::Sender<u64>,
    minter: Mutex<Minter>,
    /// Locks that another hub would not let go of.
    hanging: Mutex<BTreeSet<String>>,
}

impl std::ops::Deref for Hub {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Hub {
    /// Opens everything below the data folder.
    ///
    /// # Errors
    /// When a folder cannot be made or a secret not be read.
    pub fn open(db: Db, bus: Bus, config: Config) -> anyhow::Result<Hub> {
        let data = std::path::absolute(&config.data).context("the data folder's path")?;
        let config = Config { data: data.clone(), ..config };
        for folder in ["git", "logs", "staging", "git-cache", "spool", "turns"] {
            let path = data.join(folder);
            std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        compose::clean(&data.join("staging")).context("cannot clean the staging folder")?;
        let foreign_hook_token = match &config.hook_token_file {
            Some(file) => Some(
                std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read the hook token from {}", file.display()))?
                    .trim()
                    .to_owned(),
            ),
            None => None,
        };
        let signer_token = match &config.signer_token_file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the signers' token from {}", file.display()))?
                .trim()
                .to_owned(),
            None => kept_secret(&data.join("signer-token")).context("cannot keep the signers' secret")?,
        };
        // An empty secret would let everybody in.
        anyhow::ensure!(!signer_token.is_empty(), "the signers' token file is empty; put a secret into it");
        if let Some(bad) = config.mirrors.iter().find(|mirror| !metalink::is_base(mirror)) {
            anyhow::bail!(
                "mirrors: `{bad}` is no address of a mirror; write it as https://mirror.example.org/grange"
            );
        }
        if let Some(url) = config.s3.as_ref().and_then(|place| place.public_url.as_ref())
            && !metalink::is_base(url)
        {
            anyhow::bail!(
                "hub.s3: public_url `{url}` is no address; write it as https://s3.example.org/bucket/public"
            );
        }
        let artifacts = Artifacts::open(&data.join("artifacts")).context("cannot open the artifact store")?;
        let bucket = match &config.s3 {
            Some(place) => Some((Bucket::open(place)?, place)),
            None => None,
        };
        let artifacts = match &bucket {
            Some((bucket, place)) => artifacts.behind(bucket.clone(), place.cache_mb.saturating_mul(MIB)),
            None => artifacts,
        };
        let public =
            SnapshotTree::open(&data.join("public"), &artifacts).context("cannot open the public repos")?;
        let shelf = bucket.map(|(bucket, place)| {
            Shelf::new(bucket, &artifacts, public.root(), &data.join("shelf"), place.public_url.as_deref())
        });
        let only_there = config.s3.as_ref().is_some_and(|place| !place.local_packages);
        let public = if only_there { public.without_packages() } else { public };
        let closures = crate::closure::Cache::new(CLOSURES_BYTES);
        Ok(Hub(Arc::new(Inner {
            engine: Engine::open(&data.join("repos"), &artifacts)
                .context("cannot open the metadata of repos")?,
            manifests: manifest::Cache::default(),
            outside: Outside::open(&data, &config.file_repos, closures.clone())
                .context("cannot read repos outside the farm")?,
            closures,
            staging: data.join("staging"),
            candidates: SnapshotTree::open(&data.join("candidate"), &artifacts)
                .context("cannot open the candidate repos")?,
            public,
            shelf,
            artifacts,
            hook_token: kept_secret(&data.join("hook-token")).context("cannot keep the hooks' secret")?,
            foreign_hook_token,
            signer_token,
            signers: Bell::default(),
            troubles: Troubles::default(),
            readings: Readings::default(),
            wake: watch::Sender::new(0),
            minter: Mutex::new(Minter::new(seed())),
            hanging: Mutex::default(),
            db,
            bus,
            config,
        })))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Stamp {
        now()
    }

    /// A fresh id.
    #[must_use]
    pub fn mint<T: Id>(&self) -> T {
        self.with_minter(|minter| minter.mint(now()))
    }

    /// Lends the source of ids.
    pub fn with_minter<T>(&self, work: impl FnOnce(&mut Minter) -> T) -> T {
        work(&mut self.0.minter.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until nobody makes a tree show its pointer, this hub or another of the same folder; nobody else does until what
    /// this gives is dropped.
    ///
    /// # Errors
    /// When the disk refuses, or another hub does not come to an end: then the caller goes on with what else there is.
    pub(crate) async fn pointing(&self) -> Answer<FileLock> {
        self.alone_at("pointing").await
    }

    /// Waits for the lock of this name, which all hubs of a data folder respect. One that hangs is waited for once: until
    /// it has let go, others are refused at once.
    ///
    /// # Errors
    /// When the disk refuses, or another does not let go in time.
    pub(crate) async fn alone_at(&self, what: &str) -> Answer<FileLock> {
        self.at(what, Held::Alone).await
    }

    /// The same for something that several may do at once, but nobody while another is [alone at](Self::alone_at) it.
    ///
    /// # Errors
    /// As [`Self::alone_at`].
    pub(crate) async fn together_at(&self, what: &str) -> Answer<FileLock> {
        self.at(what, Held::Together).await
    }

    async fn at(&self, what: &str, held: Held) -> Answer<FileLock> {
        let patience = if self.hanging.lock().unwrap_or_else(PoisonError::into_inner).contains(what) {
            Duration::ZERO
        } else {
            LOCK_PATIENCE
        };
        let lock = lock_file(&self.config.data.join("turns").join(what), held, patience).await;
        let lock = lock.map_err(|error| Problem::Internal(error.into()))?;
        let mut hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        match lock {
            Some(lock) => {
                hanging.remove(what);
                Ok(lock)
            }
            None => {
                hanging.insert(what.to_owned());
                Err(Problem::unavailable(
                    format!("another hub of this data folder has held the lock `{what}` for too long"),
                    "see whether one of them, or the disk they share, hangs",
                ))
            }
        }
    }

    /// Something changed: the keeper and the scheduler look soon.
    pub async fn hurry(&self) {
        self.hurry_keepers();
        self.bus.nudge().await;
    }

    /// Has the keeper's loops look now.
    pub fn hurry_keepers(&self) {
        self.wake.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Tells of every hurry from now on.
    #[must_use]
    pub fn hurries(&self) -> watch::Receiver<u64> {
        self.wake.subscribe()
    }

    /// Every applied SIG.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn community(&self) -> Answer<Community> {
        Ok(self.db.glance().await?.community().await?)
    }

    /// The page of a build, for people.
    #[must_use]
    pub fn build_url(&self, id: farm::ids::RequestId) -> String {
        format!("{}/builds/{id}", self.config.public_url)
    }

    /// The page of a promotion, for people.
    #[must_use]
    pub fn promotion_url(&self, id: farm::ids::PromotionId) -> String {
        format!("{}/promotions/{id}", self.config.public_url)
    }

    /// Where a log of an attempt is kept. The caller has checked the name.
    #[must_use]
    pub fn log_path(&self, job: JobId, turn: u32, name: &str) -> PathBuf {
        self.config.data.join("logs").join(job.to_string()).join(turn.to_string()).join(name)
    }
}

/// Refuses a person who has neither this role in the SIG nor, for maintainers' work, is an admin.
///
/// # Errors
/// [`Problem::Forbidden`], naming who could give the role.
pub fn require_role(community: &Community, person: &Person, sig: &str, role: Role) -> Answer<()> {
    let has_role = community.sig(sig).is_some_and(|sig| sig.has_role(&person.name, role));
    if has_role || (person.admin && role == Role::Maintainer) {
        return Ok(());
    }
    Err(Problem::forbidden(
        format!("{} is no {role} of SIG {sig}", person.name),
        format!("an admin can add `roles = [\"{role}\"]` to their [[member]] in the template of {sig}"),
    ))
}

/// The time.
#[must_use]
pub fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A fresh secret: 256 bits from the operating system, as 64 hexadecimal digits.
#[must_use]
pub fn secret() -> String {
    let mut bytes = [0u8; 32];
    #[allow(clippy::expect_used, reason = "without a random source no secret may be made")]
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    hex(&bytes)
}

/// A secret that all hubs of a data folder share: what one of them started may reach another. The first makes it.
pub(crate) fn kept_secret(path: &Path) -> anyhow::Result<String> {
    if !path.exists() {
        let folder = path.parent().context("a file has a folder")?;
        // Complete before it has its name, and whoever is later finds the name taken.
        let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
        fresh.write_all(secret().as_bytes())?;
        fresh.as_file().sync_all()?;
        match fresh.persist_noclobber(path) {
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => drop(made.map_err(|error| error.error)?),
        }
        std::fs::File::open(folder)?.sync_all()?;
    }
    let kept = std::fs::read_to_string(path)?.trim().to_owned();
    anyhow::ensure!(kept.len() == 64, "{} is no secret; remove it and start again", path.display());
    Ok(kept)
}

/// Do two secrets agree? Compares digests, so that the time it takes tells nothing.
#[must_use]
pub fn same_secret(given: &str, expected: &str) -> bool {
    Digest::of(given.as_bytes()) == Digest::of(expected.as_bytes())
}

fn seed() -> u64 {
    let mut bytes = [0u8; 8];
    if getrandom::fill(&mut bytes).is_err() {
        return u64::from(std::process::id());
    }
    u64::from_le_bytes(bytes)
}

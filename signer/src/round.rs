//! The signer at work: it asks what waits, does it, and says what it could not do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use farm::dsse::DecisionPublic;
use farm::ids::PromotionId;
use farm::openpgp::SecretKey;
use farm::signing::{Purpose, SignerWord, SigningKey, WorkItem, current};
use farm::stamp::Stamp;
use tokio::sync::{Mutex, watch};

use crate::Parts;
use crate::attested::Attested;
use crate::client::Hub;
use crate::config::Config;
use crate::endorse::{Desk, Hands, Remembered};
use crate::facts::{Facts, KnownMembers};
use crate::keys::{KeyError, Keys, Ring};
use crate::packages::{self, blocking};
use crate::trouble::Trouble;

/// The pause after a first failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause while the hub is away.
const HUB_AWAY: Duration = Duration::from_secs(2);
/// How often it says that it is there.
const WORD: Duration = Duration::from_secs(20);

/// A signer.
pub(crate) struct Signer {
    parts: Parts,
    config: Config,
    keys: Arc<Keys>,
    hub: Hub,
    attested: Attested,
    remembered: Remembered,
    members: Mutex<KnownMembers>,
    /// What it told the hub of its keys last.
    told: Option<Vec<SigningKey>>,
    failing: BTreeMap<PromotionId, Failing>,
    /// What it said last, and when.
    said: Option<(SignerWord, Instant)>,
}

/// What went wrong with a promotion, and when it is tried again.
struct Failing {
    why: String,
    pause: Duration,
    again: Instant,
}

impl Signer {
    pub(crate) fn open(parts: Parts, config: Config) -> anyhow::Result<Signer> {
        let keys = Keys::open(&config.keys, config.passphrase_file.as_deref())?;
        keys.list().context("the folder of keys")?;
        let attested = Attested::open(&config.keys).context("the list of signed files")?;
        let hub = Hub::new(config.hub.clone(), parts.token.clone(), Duration::from_millis(config.wait_ms))?;
        Ok(Signer {
            keys: Arc::new(keys),
            hub,
            attested,
            remembered: Remembered::default(),
            members: Mutex::default(),
            told: None,
            failing: BTreeMap::new(),
            said: None,
            parts,
            config,
        })
    }

    /// Works until it is told to stop. What is under way then is given up: nothing is lost by that.
    pub(crate) async fn run(&mut self, mut stop: watch::Receiver<bool>) {
        let mut seen: Option<String> = None;
        while !*stop.borrow() {
            let round = tokio::select! {
                round = self.round(seen.as_deref()) => round,
                _ = stop.changed() => break,
            };
            match round {
                Ok(now_seen) => seen = now_seen,
                Err(trouble) => {
                    tracing::warn!(%trouble, "the signer cannot work");
                    seen = None;
                    tokio::select! {
                        () = tokio::time::sleep(HUB_AWAY) => {}
                        _ = stop.changed() => break,
                    }
                }
            }
        }
    }

    /// One look at what waits. Gives the name of the list when nothing of it can be done now.
    async fn round(&mut self, seen: Option<&str>) -> Result<Option<String>, Trouble> {
        self.prepare().await?;
        self.speak().await?;
        let wait = Duration::from_millis(self.config.wait_ms).min(WORD).min(self.next_try());
        let work = self.hub.work(wait, seen).await?;
        let now = Instant::now();
        self.failing.retain(|promotion, _| work.items.iter().any(|item| item.promotion == *promotion));
        let due =
            |item: &&WorkItem| self.failing.get(&item.promotion).is_none_or(|failing| failing.again <= now);
        let mut items: Vec<&WorkItem> = work.items.iter().filter(due).collect();
        // What is staged has waited for all its packages already, and is quick.
        items.sort_by_key(|item| item.staged.is_none());
        let mut progress = false;
        for item in items {
            match self.sign(item).await {
                Ok(()) => {
                    self.failing.remove(&item.promotion);
                    progress = true;
                }
                Err(trouble) => self.note(item, &trouble),
            }
        }
        self.speak().await?;
        Ok(if progress { None } else { Some(work.seen) })
    }

    /// Makes the key for decisions if the farm has none, and tells the hub of the keys when they have changed.
    async fn prepare(&mut self) -> Result<(), Trouble> {
        let mut own = self.keys.list()?;
        if !own.iter().any(|key| key.purpose == Purpose::Decisions) {
            let told = self.parts.db.glance().await?.signing_keys().await?;
            if let Some(missing) = current(&told, Purpose::Decisions, "", now()) {
                // Another signer's, or this one's before it lost its folder: a second one would hide that.
                self.keys.decisions(missing)?;
            }
            let key = self.keys.new_decisions(now())?;
            tracing::info!(key = key.fingerprint, "the key for decisions is made");
            own = self.keys.list()?;
        }
        self.tell(own).await
    }

    async fn tell(&mut self, keys: Vec<SigningKey>) -> Result<(), Trouble> {
        if self.told.as_ref() != Some(&keys) {
            self.hub.keys(&keys).await?;
            self.told = Some(keys);
        }
        Ok(())
    }

    /// Does what one promotion waits for.
    async fn sign(&mut self, item: &WorkItem) -> Result<(), Trouble> {
        let decisions = self.decision_keys()?;
        let mut members = self.members.lock().await;
        let at = now();
        let facts =
            Facts::read(&self.parts.db, item.promotion, item.snapshot, &decisions, &mut members, at).await?;
        drop(members);
        let ring = self.ring(&facts, item).await?;
        if !item.packages.is_empty() {
            let key = self.unlock(&ring.current).await?;
            let parallel = self.config.parallel;
            let count =
                packages::sign(&self.hub, &self.attested, &facts, &item.packages, &key, parallel, at).await?;
            metrics::counter!("grange_signer_packages_total").increment(count as u64);
            tracing::info!(promotion = %item.promotion, snapshot = %item.snapshot, packages = count, "packages are signed");
        }
        if let Some(staged) = &item.staged {
            tracing::trace!(target: "steps", "the signer is asked for metadata");
            let hands = self.hands(&ring).await?;
            let desk = Desk {
                db: &self.parts.db,
                hub: &self.hub,
                attested: &self.attested,
                remembered: &self.remembered,
                metadata_mb: self.config.metadata_mb,
                parallel: self.config.parallel,
            };
            let endorsement = desk.endorse(&facts, staged.clone(), hands, at).await?;
            tracing::trace!(target: "steps", "the signer has signed metadata");
            self.hub.endorse(&endorsement).await?;
            tracing::trace!(target: "steps", "the signer has sent metadata");
            metrics::counter!("grange_signer_snapshots_total").increment(1);
            tracing::info!(
                promotion = %item.promotion, snapshot = %item.snapshot, repo = facts.snapshot.tag, by = facts.approved.by(),
                "metadata and decision are signed"
            );
        }
        Ok(())
    }

    /// The keys that sign for a promotion. The first key of a SIG is made when it is needed first.
    async fn ring(&mut self, facts: &Facts, item: &WorkItem) -> Result<Ring, Trouble> {
        let sig = &facts.project.sig;
        let own = self.keys.list()?;
        if let Some(ring) = Ring::of(&own, sig, item.key.as_deref(), now()) {
            return Ok(ring);
        }
        let told = self.parts.db.glance().await?.signing_keys().await?;
        if let Some(missing) = current(&told, Purpose::Packages, sig, now()) {
            let folder = self.config.keys.join("packages").join(sig);
            let fingerprint = missing.fingerprint.clone();
            return Err(KeyError::Missing { fingerprint, owner: format!("SIG {sig}"), folder }.into());
        }
        if own.iter().any(|key| key.purpose == Purpose::Packages && key.sig == *sig) {
            return Err(Trouble::refused(format!(
                "no key of SIG {sig} signs now: make one with `grange signer key new --sig {sig} --from now`"
            )));
        }
        let (keys, sig, at) = (self.keys.clone(), sig.clone(), now());
        let (user_id, bits) = (self.config.user_id.clone(), self.config.rsa_bits);
        let made = blocking(move || Ok(keys.new_packages(&sig, &user_id, bits, at, at)?)).await?;
        tracing::info!(sig = made.sig, key = made.fingerprint, "the first key of a SIG is made");
        let own = self.keys.list()?;
        self.tell(own.clone()).await?;
        Ring::of(&own, &made.sig, None, now())
            .ok_or_else(|| Trouble::refused(format!("the new key of SIG {} does not sign yet", made.sig)))
    }

    async fn hands(&self, ring: &Ring) -> Result<Hands, Trouble> {
        let mut packages = vec![self.unlock(&ring.current).await?];
        for key in ring.valid.iter().filter(|key| key.fingerprint != ring.current.fingerprint) {
            // The one that signs packages is enough; another one is for those who do not know it yet.
            match self.unlock(key).await {
                Ok(key) => packages.push(key),
                Err(trouble) => {
                    tracing::warn!(key = key.fingerprint, %trouble, "an older key does not sign the metadata");
                }
            }
        }
        let own = self.keys.list()?;
        let decisions = current(&own, Purpose::Decisions, "", now())
            .ok_or_else(|| Trouble::refused("no key for decisions signs now"))?;
        Ok(Hands { packages, valid: ring.valid.clone(), decisions: self.keys.decisions(decisions)? })
    }

    async fn unlock(&self, key: &SigningKey) -> Result<SecretKey, Trouble> {
        let (keys, key) = (self.keys.clone(), key.clone());
        blocking(move || Ok(keys.packages(&key)?)).await
    }

    /// The public part of every key for decisions there ever was here: what they signed once was let through once.
    fn decision_keys(&self) -> Result<Vec<DecisionPublic>, Trouble> {
        let own = self.keys.list()?;
        let of = |key: &SigningKey| DecisionPublic::from_pem(&key.public);
        let keys = own.iter().filter(|key| key.purpose == Purpose::Decisions).map(of);
        Ok(keys.collect::<Result<_, _>>()?)
    }

    fn note(&mut self, item: &WorkItem, trouble: &Trouble) {
        let why = trouble.to_string();
        let before = self.failing.get(&item.promotion);
        let pause = before.map_or(FIRST_PAUSE, |failing| (failing.pause * 2).min(LONGEST_PAUSE));
        if before.is_none_or(|failing| failing.why != why) {
            tracing::warn!(promotion = %item.promotion, snapshot = %item.snapshot, %trouble, "not signed");
        }
        metrics::counter!("grange_signer_refusals_total").increment(1);
        self.failing.insert(item.promotion, Failing { why, pause, again: Instant::now() + pause });
    }

    /// Until something that failed is tried again.
    fn next_try(&self) -> Duration {
        let now = Instant::now();
        let next = self.failing.values().map(|failing| failing.again.saturating_duration_since(now)).min();
        next.unwrap_or(Duration::MAX)
    }

    /// Says how it fares, when that has changed or was long ago.
    async fn speak(&mut self) -> Result<(), Trouble> {
        let troubles =
            self.failing.iter().map(|(promotion, failing)| (*promotion, failing.why.clone())).collect();
        let word = SignerWord { name: self.config.name.clone(), troubles };
        let is_old = self.said.as_ref().is_none_or(|(said, at)| *said != word || at.elapsed() >= WORD);
        if is_old {
            self.hub.word(&word).await?;
            self.said = Some((word, Instant::now()));
        }
        Ok(())
    }
}

/// The time.
fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

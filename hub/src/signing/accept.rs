//! Taking in what a signer has signed. Nothing of it is believed: every signature is checked, against keys that count now, and
//! every digest against what was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use farm::decision::{Statement, opened};
use farm::digest::Digest;
use farm::dsse::DecisionPublic;
use farm::ids::{PromotionId, SnapshotId};
use farm::ledger::{Kept, Tx};
use farm::openpgp::{PublicKey, read_signed, verify_detached};
use farm::promotion::Promotion;
use farm::signing::{Endorsement, Purpose, SignedFile, SignerWord, SigningKey, valid};
use farm::snapshot::Snapshot;

use super::publish;
use crate::artifacts::Stored;
use crate::files::blocking;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Characters of a signer's name, and of one of its sentences.
const NAME: usize = 64;
const SENTENCE: usize = 1_000;
/// Troubles a signer may have at once.
const TROUBLES: usize = 1_000;

/// What a signed package is said to be.
#[derive(Debug, Clone)]
pub struct SignedUpload {
    /// The promotion it was signed for.
    pub promotion: PromotionId,
    /// SHA-256 of its header and payload.
    pub body: Digest,
    /// The key that signed it.
    pub fingerprint: String,
}

/// Refuses a package that nobody asked for, or whose key does not count. Asked before the file is read, and once more before
/// it is noted.
///
/// # Errors
/// [`Problem`].
pub async fn must_be_wanted(hub: &Hub, tx: &mut Tx, upload: &SignedUpload) -> Answer<SigningKey> {
    let (promotion, snapshot) = approved(tx, upload.promotion, None).await?;
    if !snapshot.rpms().any(|rpm| rpm.body == upload.body) {
        return Err(Problem::conflict(
            format!("no package of snapshot {} has the body {}", snapshot.id, upload.body.short()),
            "sign what the list of work names",
        ));
    }
    let keys = tx.signing_keys().await?;
    let key = valid(&keys, Purpose::Packages, &promotion.sig, hub.now())
        .into_iter()
        .find(|key| key.fingerprint == upload.fingerprint);
    key.cloned().ok_or_else(|| {
        Problem::conflict(
            format!(
                "key {} is none that counts now for packages of SIG {}",
                upload.fingerprint, promotion.sig
            ),
            "tell of the key first; see `grange signer key list`",
        )
    })
}

/// Takes in a signed package that is in the artifact store already: checks that its body is the one asked for and that the key
/// has signed it. What is refused is held by nothing and swept away.
///
/// # Errors
/// [`Problem`].
pub async fn package(hub: &Hub, upload: &SignedUpload, stored: &Stored) -> Answer<()> {
    let key = must_be_wanted(hub, &mut hub.db.read().await?, upload).await?;
    let public = public_key(&key)?;
    let path = hub.artifacts.local(&stored.digest).await.context("cannot read what was stored just now")?;
    let read = blocking(move || read_signed(&path, &[public])).await;
    let read =
        read.map_err(|error| Problem::invalid(error.to_string(), "sign it with the key that is named"))?;
    if read.body != upload.body || read.digest != stored.digest {
        return Err(Problem::invalid(
            format!("the body of the file is {}, not {}", read.body.short(), upload.body.short()),
            "send the file that was signed",
        ));
    }
    let file = SignedFile { body: read.body, fingerprint: read.by, digest: read.digest, size: read.size };
    let mut tx = hub.db.write().await?;
    must_be_wanted(hub, &mut tx, upload).await?;
    tx.put_signed(&file, hub.now()).await?;
    tracing::trace!(target: "steps", "a signed package has come");
    tx.commit().await?;
    tracing::trace!(target: "steps", "a signed package is noted");
    hub.hurry().await;
    Ok(())
}

/// Takes in what a signer has put its name to: the metadata of every folder that is staged, no other, and the decision about
/// exactly that and the signed packages.
///
/// # Errors
/// [`Problem`].
pub async fn endorsement(hub: &Hub, endorsement: Endorsement) -> Answer<()> {
    let endorsement = check(hub, endorsement).await?;
    let mut tx = hub.db.write().await?;
    approved(&mut tx, endorsement.promotion, Some(endorsement.snapshot)).await?;
    tx.put_endorsement(&endorsement).await?;
    tracing::trace!(target: "steps", "signed metadata has come");
    tx.commit().await?;
    tracing::trace!(target: "steps", "signed metadata is noted");
    hub.signers.remember(endorsement.snapshot, named(&endorsement)?);
    tracing::info!(
        promotion = %endorsement.promotion, snapshot = %endorsement.snapshot, keys = endorsement.keys.join(" "),
        "the snapshot is signed"
    );
    hub.hurry().await;
    Ok(())
}

/// Is what the ledger has what a signer gave? It was checked when it was taken in; a row that is another one since, or that
/// another process took in, is checked once more.
///
/// # Errors
/// When the ledger or the disk fails.
pub(super) async fn still_holds(hub: &Hub, endorsement: &Endorsement) -> Answer<bool> {
    let name = named(endorsement)?;
    if hub.signers.knows(endorsement.snapshot, &name) {
        return Ok(true);
    }
    match check(hub, endorsement.clone()).await {
        Ok(_) => {
            hub.signers.remember(endorsement.snapshot, name);
            Ok(true)
        }
        Err(problem @ (Problem::Invalid { .. } | Problem::Conflict { .. } | Problem::NotFound { .. })) => {
            tracing::warn!(snapshot = %endorsement.snapshot, why = %problem, "what was signed is not what is there: it is signed anew");
            Ok(false)
        }
        Err(problem) => Err(problem),
    }
}

fn named(endorsement: &Endorsement) -> Answer<Digest> {
    Ok(Digest::of(&serde_json::to_vec(endorsement).map_err(anyhow::Error::from)?))
}

/// Refuses an endorsement of anything but what is staged now, or with a signature that does not count.
async fn check(hub: &Hub, endorsement: Endorsement) -> Answer<Endorsement> {
    let staged = super::staged(hub, endorsement.snapshot).await?;
    let staged = staged.ok_or_else(|| {
        Problem::conflict(
            format!("snapshot {} is not staged", endorsement.snapshot),
            "sign what the list of work names",
        )
    })?;
    let place = super::place(hub, endorsement.snapshot)
        .with_context(|| format!("snapshot {} has left the staging folder", endorsement.snapshot))?;
    let mut tx = hub.db.read().await?;
    let facts = Facts::read(hub, &mut tx, &endorsement).await?;
    drop(tx);
    let read = move || -> std::io::Result<BTreeMap<String, Vec<u8>>> {
        let folders = staged.into_keys();
        folders
            .map(|folder| {
                Ok((folder.clone(), std::fs::read(place.join(folder).join("repodata/repomd.xml"))?))
            })
            .collect()
    };
    let metadata = blocking(read).await?;
    let (checked, endorsement) = blocking(move || {
        let checked = facts.check(&endorsement, &metadata);
        (checked, endorsement)
    })
    .await;
    checked.map_err(|why| Problem::invalid(why, "sign what the list of work names, and nothing older"))?;
    Ok(endorsement)
}

/// Takes in what a signer tells of its keys, and publishes them.
///
/// # Errors
/// [`Problem`].
pub async fn keys(hub: &Hub, keys: Vec<SigningKey>) -> Answer<()> {
    let community = hub.community().await?;
    for key in &keys {
        must_be_itself(key)?;
    }
    // A signer keeps the keys of SIGs that are no more; they are nobody's.
    let owned = |key: &&SigningKey| key.purpose == Purpose::Decisions || community.sig(&key.sig).is_some();
    let mut tx = hub.db.write().await?;
    for key in keys.iter().filter(owned) {
        if tx.tell_key(key).await? {
            tracing::info!(
                key = key.fingerprint,
                purpose = key.purpose.as_str(),
                sig = key.sig,
                since = key.since.millis(),
                until = key.until.map(farm::stamp::Stamp::millis),
                "a signer has told of a key"
            );
        }
    }
    tx.commit().await?;
    publish::keys(hub).await?;
    hub.hurry().await;
    Ok(())
}

/// Hears what a signer says of itself.
///
/// # Errors
/// [`Problem`].
pub async fn word(hub: &Hub, mut word: SignerWord) -> Answer<()> {
    if word.name.is_empty() || word.name.chars().count() > NAME || word.troubles.len() > TROUBLES {
        return Err(Problem::invalid(
            format!("a signer has a name of at most {NAME} characters and at most {TROUBLES} troubles"),
            "set `name` in section [signer]",
        ));
    }
    for said in word.troubles.values_mut() {
        *said = said.chars().take(SENTENCE).collect();
    }
    let mut tx = hub.db.write().await?;
    tx.hear_signer(&word, hub.now()).await?;
    Ok(tx.commit().await?)
}

/// The promotion, if the gate has let it through and it stands for this snapshot.
async fn approved(
    tx: &mut Tx,
    id: PromotionId,
    expected: Option<SnapshotId>,
) -> Answer<(Kept<Promotion>, Arc<Snapshot>)> {
    let promotion = tx.promotion(id).await?.ok_or_else(|| Problem::not_found("promotion", id))?;
    let awaited =
        promotion.to_sign().filter(|snapshot| expected.is_none_or(|expected| expected == *snapshot));
    let snapshot = awaited.ok_or_else(|| {
        Problem::conflict(
            format!("promotion {id} is {} and waits for no signature of this", promotion.phase()),
            "ask for the list of work again",
        )
    })?;
    let snapshot = tx.snapshot(snapshot).await?.ok_or_else(|| Problem::not_found("snapshot", snapshot))?;
    Ok((promotion, snapshot))
}

fn public_key(key: &SigningKey) -> Answer<PublicKey> {
    let public = PublicKey::from_armored(&key.public);
    public.map_err(|error| Problem::Internal(anyhow::anyhow!("key {}: {error}", key.fingerprint)))
}

/// Refuses a key whose public part is not the one its fingerprint names.
fn must_be_itself(key: &SigningKey) -> Answer<()> {
    let wrong =
        |why: String| Problem::invalid(format!("key {}: {why}", key.fingerprint), "tell of the key itself");
    let actual = match key.purpose {
        Purpose::Packages => {
            PublicKey::from_armored(&key.public).map(|key| key.fingerprint()).map_err(|e| e.to_string())
        }
        Purpose::Decisions => {
            DecisionPublic::from_pem(&key.public).map(|key| key.id()).map_err(|e| e.to_string())
        }
    };
    match actual.map_err(wrong)? {
        actual if actual != key.fingerprint => Err(wrong(format!("its public part is that of {actual}"))),
        _ if key.purpose == Purpose::Decisions && !key.sig.is_empty() => {
            Err(wrong("keys for decisions belong to no SIG".to_owned()))
        }
        _ => Ok(()),
    }
}

/// What an endorsement is held against.
struct Facts {
    promotion: Promotion,
    snapshot: Arc<Snapshot>,
    revision: i64,
    packages: Vec<PublicKey>,
    decisions: Vec<DecisionPublic>,
    /// The statement, and the key that signed it.
    statement: Result<(Statement, String), String>,
    signed: BTreeMap<Digest, SignedFile>,
}

impl Facts {
    async fn read(hub: &Hub, tx: &mut Tx, endorsement: &Endorsement) -> Answer<Facts> {
        let (promotion, snapshot) = approved(tx, endorsement.promotion, Some(endorsement.snapshot)).await?;
        let (keys, now) = (tx.signing_keys().await?, hub.now());
        let known = valid(&keys, Purpose::Packages, &promotion.sig, now);
        let packages = known.iter().map(|key| public_key(key)).collect::<Answer<_>>()?;
        let decisions: Vec<DecisionPublic> = valid(&keys, Purpose::Decisions, "", now)
            .into_iter()
            .filter_map(|key| DecisionPublic::from_pem(&key.public).ok())
            .collect();
        let statement =
            opened::<Statement>(&endorsement.decision, &decisions).map_err(|error| error.to_string());
        let mut signed = BTreeMap::new();
        if let Ok((statement, _)) = &statement {
            let members = statement.predicate.members.iter().flat_map(|member| &member.rpms);
            let mut by_key: BTreeMap<&str, Vec<Digest>> = BTreeMap::new();
            for rpm in members {
                by_key.entry(&rpm.key).or_default().push(rpm.body.clone());
            }
            for key in known {
                if let Some(bodies) = by_key.get(key.fingerprint.as_str()) {
                    signed.extend(tx.signed_by(&key.fingerprint, bodies).await?);
                }
            }
        }
        let revision = tx.repo(&snapshot.tag).await?.revision;
        Ok(Facts { promotion: promotion.value, snapshot, revision, packages, decisions, statement, signed })
    }

    /// What speaks against the endorsement.
    fn check(&self, endorsement: &Endorsement, metadata: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
        if self.decisions.is_empty() {
            return Err("no key for decisions was told of".to_owned());
        }
        let mut by = BTreeSet::new();
        let digests: BTreeMap<String, Digest> =
            metadata.iter().map(|(folder, bytes)| (folder.clone(), Digest::of(bytes))).collect();
        let said: BTreeMap<String, Digest> = endorsement
            .folders
            .iter()
            .map(|(folder, metadata)| (folder.clone(), metadata.repomd.clone()))
            .collect();
        if said != digests {
            return Err("it is about other metadata than what is staged".to_owned());
        }
        for (folder, bytes) in metadata {
            let Some(signed) = endorsement.folders.get(folder) else { continue };
            let signers = verify_detached(&signed.signature, bytes, &self.packages)
                .map_err(|error| format!("{folder}/repodata/repomd.xml: {error}"))?;
            by.extend(signers);
        }
        let (statement, decided) = self.statement.as_ref().map_err(Clone::clone)?;
        statement.must_be_about(&self.promotion, &self.snapshot, &digests, &self.signed)?;
        crate::provenance::check(endorsement, &self.snapshot, &self.decisions)?;
        let all: BTreeSet<&String> = by.iter().chain([decided]).collect();
        if all != endorsement.keys.iter().collect() {
            return Err("it names other keys than those that have signed".to_owned());
        }
        if statement.predicate.revision != self.revision + 1 {
            return Err(format!(
                "the decision is for revision {}, and the repo is at {}",
                statement.predicate.revision, self.revision
            ));
        }
        if statement.predicate.keys.iter().any(|key| !by.contains(key)) {
            return Err("the decision names keys that have not signed the metadata".to_owned());
        }
        Ok(())
    }
}

//! Signing a snapshot as a whole: the metadata of its folders, and the decision that let it through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use farm::decision::statement;
use farm::digest::Digest;
use farm::dsse::{DecisionKey, IN_TOTO};
use farm::extras::{LARGEST, files};
use farm::ledger::Db;
use farm::nvr::Nevra;
use farm::openpgp::{PublicKey, SecretKey, SignedPackage, sign_detached};
use farm::provenance;
use farm::signing::{Endorsement, SignedFile, SignedMetadata, SigningKey};
use farm::snapshot::Rpm;
use farm::stamp::Stamp;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use crate::attested::Attested;
use crate::client::Hub;
use crate::facts::Facts;
use crate::metadata::{
    Package, is_extra, match_extras, match_packages, read_primary, read_repomd, unpacked_digest,
};
use crate::packages::{attest, blocking};
use crate::revision::match_revision;
use crate::trouble::Trouble;

/// Lists of packages that are remembered: those that a repo goes forth and back between.
const REMEMBERED: usize = 64;
/// Bytes a `repomd.xml` may have.
const REPOMD: u64 = 1 << 20;
const MIB: u64 = 1 << 20;

/// Files of metadata that were read before, by digest: they never change.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    primaries: Mutex<Vec<(Digest, Arc<Vec<Package>>)>>,
    others: Mutex<BTreeSet<Digest>>,
}

/// What endorsing needs besides the facts.
pub(crate) struct Desk<'a> {
    pub(crate) db: &'a Db,
    pub(crate) hub: &'a Hub,
    pub(crate) attested: &'a Attested,
    pub(crate) remembered: &'a Remembered,
    pub(crate) metadata_mb: u64,
    pub(crate) parallel: usize,
}

/// The keys that sign a snapshot.
pub(crate) struct Hands {
    /// Those that sign the metadata, the one that signs packages first.
    pub(crate) packages: Vec<SecretKey>,
    /// The keys whose signatures in packages count.
    pub(crate) valid: Vec<SigningKey>,
    pub(crate) decisions: DecisionKey,
}

/// What was found in a file of metadata.
enum Found {
    /// The packages that it lists.
    Packages(Vec<Package>),
    /// A file of this kind beside them, with the digest it has when it is unpacked.
    Extra(String, Digest),
    /// What packages have in them, and said of themselves.
    Rest,
}

impl Desk<'_> {
    /// Checks what is staged and signs it.
    pub(crate) async fn endorse(
        &self,
        facts: &Facts,
        staged: BTreeMap<String, Digest>,
        hands: Hands,
        now: Stamp,
    ) -> Result<Endorsement, Trouble> {
        let arches = &facts.project.arches;
        let expected = facts.snapshot.folders(arches);
        for (folder, rpms) in &expected {
            if !rpms.is_empty() && !staged.contains_key(folder) {
                return Err(Trouble::refused(format!("folder {folder} is not staged")));
            }
        }
        let mut known: BTreeSet<String> =
            arches.iter().flat_map(|arch| [arch.to_string(), format!("debug-{arch}")]).collect();
        known.insert("source".to_owned());
        if let Some(stranger) = staged.keys().find(|folder| !known.contains(*folder)) {
            return Err(Trouble::refused(format!("the snapshot has no folder {stranger}, but it is staged")));
        }
        let none = Vec::new();
        let mut metadata = BTreeMap::new();
        // Which signed file each package is listed as, by its body.
        let mut files: BTreeMap<&Digest, (&Rpm, Digest, u64)> = BTreeMap::new();
        for folder in staged.keys() {
            let rpms = expected.get(folder).unwrap_or(&none);
            let (repomd, listed) = self.read_folder(facts, folder, rpms).await?;
            for rpm in rpms {
                let Some((digest, size)) = listed.get(&rpm.file) else { continue };
                let before = files.insert(&rpm.body, (rpm, digest.clone(), *size));
                if before.is_some_and(|(_, before, _)| before != *digest) {
                    return Err(Trouble::refused(format!("{} is listed as two different files", rpm.file)));
                }
            }
            metadata.insert(folder.clone(), repomd);
        }
        let signed = self.signed_files(&files, &hands.valid).await?;
        let provenance = self.provenance(facts, &hands.decisions.id()).await?;
        sign(facts, metadata, &signed, provenance, hands, now).await
    }

    /// The provenance of the builds that need it signed, by NVR: those that the snapshot before did not have, or all when another
    /// key signed that one's. It is made of what the ledger says here and now.
    async fn provenance(&self, facts: &Facts, key: &str) -> Result<BTreeMap<String, Vec<u8>>, Trouble> {
        let mut tx = self.db.read().await?;
        let mut before = BTreeSet::new();
        if let Some(base) = facts.snapshot.base
            && tx.endorsed_by(base).await?.iter().any(|by| by == key)
            && let Some(base) = tx.snapshot(base).await?
        {
            before.extend(base.members.iter().map(|member| member.build));
        }
        let mut statements = BTreeMap::new();
        for member in facts.snapshot.members.iter().filter(|member| !before.contains(&member.build)) {
            // What cannot be told is left out: an audit sees that it is missing.
            let Some(facts) = tx.provenance(member.build).await? else { continue };
            let payload = serde_json::to_vec(&provenance::statement(&facts))
                .map_err(|error| Trouble::refused(error.to_string()))?;
            statements.insert(member.nvr.clone(), payload);
        }
        Ok(statements)
    }

    /// Fetches and checks the metadata of one folder. Gives `repomd.xml`, and for each package its file.
    async fn read_folder(
        &self,
        facts: &Facts,
        folder: &str,
        rpms: &[&Rpm],
    ) -> Result<(Vec<u8>, BTreeMap<String, (Digest, u64)>), Trouble> {
        let id = facts.snapshot.id;
        let repomd = self.hub.staged(id, folder, "repodata/repomd.xml", REPOMD).await?;
        match_revision(folder, &repomd, facts.snapshot.revision())?;
        let (mut packages, mut extras) = (None, BTreeMap::new());
        for file in read_repomd(&repomd)? {
            let is_extra = is_extra(&file.kind);
            let is_primary = file.kind == "primary";
            if is_primary && let Some(known) = self.remembered.primary(&file.digest) {
                packages = Some(known);
                continue;
            }
            if !is_primary && !is_extra && self.remembered.knows(&file.digest) {
                continue;
            }
            let bytes = self.hub.staged(id, folder, &file.href, file.size).await?;
            let (kind, most) = (file.kind.clone(), self.metadata_mb.saturating_mul(MIB));
            let name = format!("{folder}/{}", file.href);
            let read = blocking(move || {
                if bytes.len() as u64 != file.size || Digest::of(&bytes) != file.digest {
                    return Err(Trouble::refused(format!("{name} is not the file that repomd.xml names")));
                }
                let found = if kind == "primary" {
                    Found::Packages(read_primary(&bytes, most)?)
                } else if is_extra {
                    Found::Extra(kind, unpacked_digest(&bytes, LARGEST)?)
                } else {
                    Found::Rest
                };
                Ok((file.digest, found))
            })
            .await?;
            match read {
                (digest, Found::Packages(listed)) => {
                    packages = Some(self.remembered.keep_primary(digest, listed));
                }
                (_, Found::Extra(kind, open)) => drop(extras.insert(kind, open)),
                (digest, Found::Rest) => self.remembered.keep(digest),
            }
        }
        let is_of_an_architecture = facts.project.arches.iter().any(|arch| arch.as_str() == folder);
        let beside = facts.snapshot.extras.as_ref().filter(|_| is_of_an_architecture);
        match_extras(folder, &extras, files(beside))?;
        let packages = packages.ok_or_else(|| Trouble::refused(format!("{folder} has no primary")))?;
        let expected: BTreeMap<&str, &Nevra> =
            rpms.iter().map(|rpm| (rpm.file.as_str(), &rpm.nevra)).collect();
        Ok((repomd, match_packages(folder, &packages, &expected)?))
    }

    /// The signed file of each package, by body digest: one that the ledger knows, that is listed, and that is what it should be.
    async fn signed_files(
        &self,
        files: &BTreeMap<&Digest, (&Rpm, Digest, u64)>,
        valid: &[SigningKey],
    ) -> Result<BTreeMap<Digest, SignedFile>, Trouble> {
        let bodies: Vec<Digest> = files.keys().map(|body| (*body).clone()).collect();
        let mut known = Vec::new();
        let mut tx = self.db.read().await?;
        for key in valid {
            known.push(tx.signed_by(&key.fingerprint, &bodies).await?);
        }
        drop(tx);
        let mut signed = BTreeMap::new();
        for (body, (rpm, digest, size)) in files {
            let by = known
                .iter()
                .filter_map(|by| by.get(*body))
                .find(|file| file.digest == *digest && file.size == *size);
            let by = by.ok_or_else(|| {
                Trouble::refused(format!(
                    "{} is listed as a file that no key that counts has signed",
                    rpm.file
                ))
            })?;
            signed.insert((*body).clone(), by.clone());
        }
        let keys =
            valid.iter().map(|key| PublicKey::from_armored(&key.public)).collect::<Result<Vec<_>, _>>()?;
        let keys = &keys;
        let mut attestings = Vec::new();
        for (rpm, ..) in files.values() {
            let Some(SignedFile { body, fingerprint, digest, size }) = signed.get(&rpm.body).cloned() else {
                continue;
            };
            let (file, package) = (rpm.file.clone(), SignedPackage { body, digest, size, by: fingerprint });
            attestings
                .push(async move { attest(self.hub, self.attested, &file, &package, keys).await }.boxed());
        }
        stream::iter(attestings).buffer_unordered(self.parallel.max(1)).try_collect::<Vec<()>>().await?;
        Ok(signed)
    }
}

/// Signs the metadata of every folder and the decision about all of it.
async fn sign(
    facts: &Facts,
    metadata: BTreeMap<String, Vec<u8>>,
    signed: &BTreeMap<Digest, SignedFile>,
    statements: BTreeMap<String, Vec<u8>>,
    hands: Hands,
    now: Stamp,
) -> Result<Endorsement, Trouble> {
    let digests: BTreeMap<String, Digest> =
        metadata.iter().map(|(folder, repomd)| (folder.clone(), Digest::of(repomd))).collect();
    let keys: Vec<String> = hands.packages.iter().map(SecretKey::fingerprint).collect();
    let statement = statement(&facts.grounds(), &digests, signed, &keys, now)
        .map_err(|error| Trouble::refused(error.to_string()))?;
    let (snapshot, promotion) = (facts.snapshot.id, facts.promotion.id);
    blocking(move || {
        let by: Vec<&SecretKey> = hands.packages.iter().collect();
        let mut folders = BTreeMap::new();
        for (folder, repomd) in metadata {
            let signature = sign_detached(&by, &repomd, now)?;
            folders.insert(folder, SignedMetadata { repomd: Digest::of(&repomd), signature });
        }
        let payload = serde_json::to_vec(&statement).map_err(|error| Trouble::refused(error.to_string()))?;
        let decision = hands.decisions.sign(IN_TOTO, &payload).to_json()?;
        let keys = keys.into_iter().chain([hands.decisions.id()]).collect();
        let mut provenance = BTreeMap::new();
        for (nvr, payload) in statements {
            provenance.insert(nvr, hands.decisions.sign(IN_TOTO, &payload).to_json()?);
        }
        Ok(Endorsement { snapshot, promotion, made: now, folders, keys, decision, provenance })
    })
    .await
}

impl Remembered {
    fn primary(&self, digest: &Digest) -> Option<Arc<Vec<Package>>> {
        let known = self.primaries.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(known, _)| known == digest).map(|(_, packages)| packages.clone())
    }

    fn keep_primary(&self, digest: Digest, packages: Vec<Package>) -> Arc<Vec<Package>> {
        let packages = Arc::new(packages);
        let mut known = self.primaries.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.remove(0);
        }
        known.push((digest, packages.clone()));
        packages
    }

    fn knows(&self, digest: &Digest) -> bool {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    fn keep(&self, digest: Digest) {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
    }
}

//! The decision that let a snapshot through, as a statement that anybody can check later: an in-toto statement whose
//! subjects are what was signed, and whose predicate is why.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::digest::Digest;
#[cfg(feature = "openpgp")]
use crate::dsse::{DecisionPublic, DsseError, Envelope, IN_TOTO};
use crate::extras::Extras;
use crate::gate::{
    Approved, Layered, Requirement, TestResult, TestVerdict, Waiver, broken_before, newest_of_now,
    requirements,
};
use crate::ids::{BuildId, PromotionId, SnapshotId};
use crate::promotion::{Approval, Course, Promotion};
use crate::sig::{Project, Stage};
use crate::signing::SignedFile;
use crate::snapshot::{RpmKind, Snapshot};
use crate::stamp::Stamp;

/// The type of every in-toto statement of version 1.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What the predicate is. It is only a name: nothing is served there, and nothing ever will be (RFC 2606 reserves `.invalid`).
pub const PREDICATE: &str = "https://grange.invalid/decision/v1";

/// An in-toto statement about a published snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// [`STATEMENT`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// What it is about: `<folder>/repodata/repomd.xml` of each folder, then every RPM by its file name.
    pub subject: Vec<Subject>,
    /// [`PREDICATE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// Why.
    pub predicate: Decision,
}

/// One file a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: SubjectDigest,
}

/// The digest of a subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubjectDigest {
    /// SHA-256 of the file as users fetch it.
    pub sha256: Digest,
}

/// Why a snapshot was let through. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The repo's tag.
    pub tag: String,
    /// Its stage.
    pub stage: Stage,
    /// The SIG.
    pub sig: String,
    /// The target.
    pub target: String,
    /// The promotion.
    pub promotion: PromotionId,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What is live before.
    pub base: Option<SnapshotId>,
    /// The repo's revision with it.
    pub revision: i64,
    /// Names the content: the digest over NEVRA, kind and body digest of every RPM, and over kind and digest of every file
    /// beside them.
    pub content: Digest,
    /// Forward; or back, to what and why.
    pub course: Course,
    /// Was it asked for knowing that much less is left in the repo?
    pub confirmed: bool,
    /// Who asked for it; `gate` when it opened by itself.
    pub asked_by: String,
    /// Who the gate counted as having agreed; `gate` where tests alone decide.
    pub approved_by: String,
    /// Release managers' words.
    pub approvals: Vec<Approval>,
    /// What had to be shown: every suite on every architecture.
    pub required: Vec<Requirement>,
    /// What the required suites showed of this content: the newest run of each, whatever it showed.
    pub results: Vec<TestResult>,
    /// What suites of layered projects that fail with it showed last of what is live before: that they fail there too is
    /// why they hold nothing up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<TestResult>,
    /// The waivers that stood in for results, whole.
    pub waivers: Vec<Waiver>,
    /// Members that were withdrawn and stay only because they are live already.
    pub withdrawn: Vec<BuildId>,
    /// Packages that leave the repo with it.
    pub removed: Vec<String>,
    /// What is in it.
    pub members: Vec<SignedMember>,
    /// The files beside its packages, by the digests they have before they are compressed: each folder of binary packages
    /// has exactly these, the others none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extras: Option<Extras>,
    /// The fingerprints of the keys that signed its metadata.
    pub keys: Vec<String>,
    /// When the decision was signed.
    pub made: Stamp,
}

/// One build, as it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedMember {
    /// The build.
    pub build: BuildId,
    /// Its name, version and release.
    pub nvr: String,
    /// Its RPMs.
    pub rpms: Vec<SignedRpm>,
}

/// One RPM, as it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRpm {
    /// Its file name.
    pub file: String,
    /// Its full name.
    pub nevra: String,
    /// Which kind of folder it is in.
    pub kind: RpmKind,
    /// SHA-256 of its header and payload: what was tested.
    pub body: Digest,
    /// SHA-256 of the signed file: what users fetch.
    pub sha256: Digest,
    /// Bytes of the signed file.
    pub size: u64,
    /// The fingerprint of the key whose signature is in it.
    pub key: String,
}

/// What a decision is made of.
#[derive(Debug, Clone, Copy)]
pub struct Grounds<'a> {
    /// Whose gate it was.
    pub project: &'a Project,
    /// What was asked for.
    pub promotion: &'a Promotion,
    /// The content.
    pub snapshot: &'a Snapshot,
    /// The gate's answer.
    pub approved: &'a Approved,
    /// The revision the repo had before.
    pub revision: i64,
    /// The projects layered on the repo.
    pub layered: &'a [Layered],
    /// Every result for this content.
    pub results: &'a [TestResult],
    /// What is live.
    pub live: Option<&'a Snapshot>,
    /// Every result for the content that is live.
    pub before: &'a [TestResult],
    /// What the tests of each project run in now.
    pub environments: &'a BTreeMap<(Option<String>, Arch), Digest>,
    /// Every waiver of the target.
    pub waivers: &'a [Waiver],
    /// The members that were withdrawn.
    pub withdrawn: &'a BTreeSet<BuildId>,
}

impl Grounds<'_> {
    /// The results that the gate looked at: of each requirement, what the newest run in the present environment showed.
    #[must_use]
    pub fn results_used(&self) -> Vec<TestResult> {
        requirements(self.project, self.layered).iter().filter_map(|one| self.newest(one)).cloned().collect()
    }

    /// The results for what is live that the gate looked at: of each requirement that failed, why that holds nothing up.
    #[must_use]
    pub fn before_used(&self) -> Vec<TestResult> {
        let mut wanted = requirements(self.project, self.layered);
        wanted.retain(|one| {
            self.newest(one).is_some_and(|newest| matches!(newest.verdict, TestVerdict::Failed { .. }))
        });
        let (suites, environments) = (&self.promotion.suites, self.environments);
        let before = |one| broken_before(one, self.live, self.before, suites, environments);
        wanted.iter().filter_map(before).cloned().collect()
    }

    fn newest(&self, requirement: &Requirement) -> Option<&TestResult> {
        let (content, suites) = (&self.snapshot.content, &self.promotion.suites);
        newest_of_now(self.results, requirement, content, self.live, suites, self.environments)
    }
}

/// What a signed decision says, or a part of it, and the key that has signed it, which is one of these.
///
/// # Errors
/// [`DsseError`] when it cannot be read, or none of these keys has signed it.
#[cfg(feature = "openpgp")]
pub fn opened<T: serde::de::DeserializeOwned>(
    decision: &str,
    keys: &[DecisionPublic],
) -> Result<(T, String), DsseError> {
    let (payload, by) = Envelope::from_json(decision)?.open(IN_TOTO, keys)?;
    let said = serde_json::from_slice(&payload);
    let said = said.map_err(|error| DsseError::Envelope(format!("the decision cannot be read: {error}")))?;
    Ok((said, by))
}

/// A snapshot's RPM that was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not signed")]
pub struct Unsigned(pub String);

/// The statement of a decision, about these folders' metadata and these signed files by body digest.
///
/// # Errors
/// [`Unsigned`] when one of the snapshot's RPMs is not among the signed files.
pub fn statement(
    grounds: &Grounds<'_>,
    metadata: &BTreeMap<String, Digest>,
    signed: &BTreeMap<Digest, SignedFile>,
    keys: &[String],
    now: Stamp,
) -> Result<Statement, Unsigned> {
    let Grounds { project, promotion, snapshot, approved, .. } = *grounds;
    let mut members = Vec::with_capacity(snapshot.members.len());
    let mut packages: BTreeSet<Subject> = BTreeSet::new();
    for member in &snapshot.members {
        let mut rpms = Vec::with_capacity(member.rpms.len());
        for rpm in &member.rpms {
            let file = signed.get(&rpm.body).ok_or_else(|| Unsigned(rpm.file.clone()))?;
            packages.insert(subject(&rpm.file, &file.digest));
            rpms.push(SignedRpm {
                file: rpm.file.clone(),
                nevra: rpm.nevra.to_string(),
                kind: rpm.kind,
                body: rpm.body.clone(),
                sha256: file.digest.clone(),
                size: file.size,
                key: file.fingerprint.clone(),
            });
        }
        members.push(SignedMember { build: member.build, nvr: member.nvr.clone(), rpms });
    }
    let mut subjects: Vec<Subject> =
        metadata.iter().map(|(folder, repomd)| subject(&metadata_name(folder), repomd)).collect();
    subjects.extend(packages);
    let used = approved.waivers();
    Ok(Statement {
        kind: STATEMENT.to_owned(),
        subject: subjects,
        predicate_type: PREDICATE.to_owned(),
        predicate: Decision {
            tag: snapshot.tag.clone(),
            stage: promotion.to,
            sig: project.sig.clone(),
            target: project.target(),
            promotion: promotion.id,
            snapshot: snapshot.id,
            base: snapshot.base,
            revision: grounds.revision + 1,
            content: snapshot.content.clone(),
            course: promotion.course.clone(),
            confirmed: promotion.confirmed,
            asked_by: promotion.by.clone(),
            approved_by: approved.by(),
            approvals: promotion.approvals.clone(),
            required: requirements(project, grounds.layered),
            results: grounds.results_used(),
            before: grounds.before_used(),
            waivers: grounds.waivers.iter().filter(|waiver| used.contains(&waiver.id)).cloned().collect(),
            withdrawn: grounds.withdrawn.iter().copied().collect(),
            removed: promotion.remove.clone(),
            members,
            extras: snapshot.extras.clone(),
            keys: keys.to_vec(),
            made: now,
        },
    })
}

/// What a folder's `repomd.xml` is called in a statement.
#[must_use]
pub fn metadata_name(folder: &str) -> String {
    format!("{folder}/repodata/repomd.xml")
}

fn subject(name: &str, digest: &Digest) -> Subject {
    Subject { name: name.to_owned(), digest: SubjectDigest { sha256: digest.clone() } }
}

impl Statement {
    /// The digest of the metadata of each folder it is about.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, Digest> {
        let of = |subject: &Subject| {
            let folder = subject.name.strip_suffix("/repodata/repomd.xml")?;
            Some((folder.to_owned(), subject.digest.sha256.clone()))
        };
        self.subject.iter().filter_map(of).collect()
    }

    /// What is wrong with it, if it is no statement of this kind about this snapshot's content and metadata.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn must_be_about(
        &self,
        promotion: &Promotion,
        snapshot: &Snapshot,
        metadata: &BTreeMap<String, Digest>,
        signed: &BTreeMap<Digest, SignedFile>,
    ) -> Result<(), String> {
        let decision = &self.predicate;
        if self.kind != STATEMENT || self.predicate_type != PREDICATE {
            return Err(format!("it is a {} with a {}", self.kind, self.predicate_type));
        }
        if (decision.promotion, decision.snapshot) != (promotion.id, snapshot.id) {
            return Err(format!(
                "it is about snapshot {} of promotion {}, not about {} of {}",
                decision.snapshot, decision.promotion, snapshot.id, promotion.id
            ));
        }
        if decision.content != snapshot.content
            || decision.tag != snapshot.tag
            || decision.base != snapshot.base
        {
            return Err(format!(
                "it is about another content, repo or base than snapshot {} has",
                snapshot.id
            ));
        }
        if decision.extras != snapshot.extras {
            return Err("it names other files beside the packages than the snapshot has".to_owned());
        }
        if self.metadata() != *metadata {
            return Err("it is about other metadata than what is staged".to_owned());
        }
        let mut expected: BTreeSet<(&str, &Digest)> = BTreeSet::new();
        for rpm in snapshot.rpms() {
            let file = signed.get(&rpm.body).ok_or_else(|| Unsigned(rpm.file.clone()).to_string())?;
            expected.insert((&rpm.file, &file.digest));
        }
        let mut named: BTreeSet<(&str, &Digest)> =
            self.subject.iter().map(|subject| (subject.name.as_str(), &subject.digest.sha256)).collect();
        named.retain(|(name, _)| !name.ends_with("/repodata/repomd.xml"));
        if named != expected {
            return Err("it names other packages than the snapshot has".to_owned());
        }
        Ok(())
    }
}

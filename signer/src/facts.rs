//! What the ledger says of a promotion, and whether its rows agree with each other. Nothing is signed unless the gate, asked
//! here and now, lets exactly this snapshot through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use farm::arch::Arch;
use farm::decision::{Grounds, PREDICATE, opened};
use farm::digest::Digest;
use farm::dsse::DecisionPublic;
use farm::gate::{Approved, CLOSURE, Decision, Layered, TestResult, Waiver, under_test};
use farm::ids::{BuildId, PromotionId, SnapshotId};
use farm::ledger::{Db, Tx};
use farm::promotion::{Course, Promotion};
use farm::sig::Project;
use farm::snapshot::{Member, RpmKind, Snapshot, content_digest};
use farm::stamp::Stamp;
use serde::Deserialize;

use crate::trouble::Trouble;

/// Everything a decision is made of, held against each other.
#[derive(Debug)]
pub struct Facts {
    /// What was asked for.
    pub promotion: Promotion,
    /// Whose repo it is.
    pub project: Project,
    /// The content.
    pub snapshot: Arc<Snapshot>,
    /// The gate's word.
    pub approved: Approved,
    /// The repo's revision now.
    pub revision: i64,
    layered: Vec<Layered>,
    results: Vec<TestResult>,
    live: Option<Arc<Snapshot>>,
    before: Vec<TestResult>,
    environments: BTreeMap<(Option<String>, Arch), Digest>,
    waivers: Vec<Waiver>,
    withdrawn: BTreeSet<BuildId>,
}

/// Builds whose rows were held against a snapshot before: a build never changes, so what agreed once agrees for ever.
#[derive(Debug, Default)]
pub struct KnownMembers(BTreeMap<BuildId, Digest>);

impl Facts {
    /// Reads and checks the facts about a promotion, as they are now.
    ///
    /// # Errors
    /// [`Trouble::Refused`] when the gate does not let it through, or rows contradict each other.
    pub async fn read(
        db: &Db,
        id: PromotionId,
        expected: SnapshotId,
        decisions: &[DecisionPublic],
        known: &mut KnownMembers,
        now: Stamp,
    ) -> Result<Facts, Trouble> {
        let mut tx = db.read().await?;
        let promotion = tx.promotion(id).await?.map(|promotion| promotion.value);
        let Some(promotion) = promotion else {
            return Err(Trouble::refused(format!("promotion {id} is not in the ledger")));
        };
        if promotion.to_sign() != Some(expected) {
            return Err(Trouble::refused(format!(
                "promotion {id} is {} and not for snapshot {expected} any more",
                promotion.phase()
            )));
        }
        let approved = ask(&mut tx, &promotion, expected, now).await?;
        let snapshot = tx.snapshot(expected).await?;
        let snapshot =
            snapshot.ok_or_else(|| Trouble::refused(format!("snapshot {expected} is not in the ledger")))?;
        let community = tx.community().await?;
        let Some(project) = community.target(&promotion.target).cloned() else {
            return Err(Trouble::refused(format!("target {} is no more", promotion.target)));
        };
        if snapshot.id != expected
            || snapshot.tag != project.tag(promotion.to)
            || promotion.sig != project.sig
            || approved.tag() != snapshot.tag
        {
            return Err(Trouble::refused(format!("snapshot {expected} was made for another repo")));
        }
        if snapshot.content != snapshot.computed() {
            return Err(Trouble::refused(format!(
                "the row of snapshot {expected} was edited: its content is not the one it names"
            )));
        }
        let live = tx.live(&snapshot.tag).await?;
        check_revision(&snapshot, live.as_deref())?;
        check_members(&mut tx, &snapshot, &project, known).await?;
        let Some((layered, environments)) = tx.places(&community, &project, promotion.to).await? else {
            return Err(Trouble::refused("a layer below is being composed"));
        };
        let results = tx.results(&snapshot.content).await?;
        let before = match &live {
            Some(live) => tx.results(&live.content).await?,
            None => Vec::new(),
        };
        let facts = Facts {
            revision: tx.repo(&snapshot.tag).await?.revision,
            waivers: tx.waivers(&promotion.target).await?,
            withdrawn: tx.withdrawn_of(&snapshot).await?,
            promotion,
            project,
            snapshot,
            approved,
            layered,
            results,
            live,
            before,
            environments,
        };
        match &facts.promotion.course {
            Course::Forward => {
                let grounds = facts.grounds();
                for result in grounds.results_used().iter().chain(&grounds.before_used()) {
                    check_result(&mut tx, result).await?;
                }
            }
            Course::Back { to, .. } => check_former(&mut tx, *to, &facts, decisions).await?,
        }
        Ok(facts)
    }

    /// What the statement is made of.
    #[must_use]
    pub fn grounds(&self) -> Grounds<'_> {
        Grounds {
            project: &self.project,
            promotion: &self.promotion,
            snapshot: &self.snapshot,
            approved: &self.approved,
            revision: self.revision,
            layered: &self.layered,
            results: &self.results,
            live: self.live.as_deref(),
            before: &self.before,
            environments: &self.environments,
            waivers: &self.waivers,
            withdrawn: &self.withdrawn,
        }
    }
}

/// Asks the gate itself.
async fn ask(
    tx: &mut Tx,
    promotion: &Promotion,
    snapshot: SnapshotId,
    now: Stamp,
) -> Result<Approved, Trouble> {
    let no = |why: String| Err(Trouble::refused(format!("the gate does not let it through: {why}")));
    match tx.gate_says(promotion, now).await? {
        Decision::Approved(approved) if approved.snapshot() == snapshot => Ok(approved),
        Decision::Approved(approved) => no(format!("it means snapshot {}", approved.snapshot())),
        Decision::NeedsApproval => no("a release manager's word is missing".to_owned()),
        Decision::Missing(what) => {
            let what: Vec<String> = what.iter().map(farm::gate::Requirement::phrase).collect();
            no(format!("nothing shows {}", what.join(", ")))
        }
        Decision::Outdated => no("it was composed or tested on something that is not live".to_owned()),
        Decision::Behind => no("another one is ahead of it".to_owned()),
        Decision::Later => no("a layer below is being composed".to_owned()),
        Decision::Refused(why) => no(why.join("; ")),
    }
}

/// Its revision is more than that of what is live: what clients see never falls.
fn check_revision(snapshot: &Snapshot, live: Option<&Snapshot>) -> Result<(), Trouble> {
    let Some(before) = live else { return Ok(()) };
    if snapshot.revision() <= before.revision() {
        return Err(Trouble::refused(format!(
            "the row of snapshot {} was edited: its revision is {}, and what is live has {}",
            snapshot.id,
            snapshot.revision(),
            before.revision()
        )));
    }
    Ok(())
}

/// Every member is a build of the ledger, of this very target, as it was imported, and none is a scratch build.
async fn check_members(
    tx: &mut Tx,
    snapshot: &Snapshot,
    project: &Project,
    known: &mut KnownMembers,
) -> Result<(), Trouble> {
    let fresh: Vec<(&Member, Digest)> = snapshot
        .members
        .iter()
        .map(|member| (member, named(member, &project.target())))
        .filter(|(member, name)| known.0.get(&member.build) != Some(name))
        .collect();
    let ids: Vec<BuildId> = fresh.iter().map(|(member, _)| member.build).collect();
    let rows = tx.builds_with_requests(&ids).await?;
    for (member, name) in fresh {
        let refused = |why: &str| Err(Trouble::refused(format!("{}: {why}", member.nvr)));
        let Some((build, request)) = rows.get(&member.build) else {
            return refused("no such build is in the ledger");
        };
        if !is_of(member, &build.member()) {
            return refused("the build's row and the snapshot's differ; one of them was edited");
        }
        if build.target != project.target() {
            return refused(&format!("it was built for {}, not for {}", build.target, project.target()));
        }
        match request {
            Some(request) if request.kind.is_imported() && request.target == build.target => {}
            Some(request) => {
                return refused(&format!(
                    "it came from a {} request for {}",
                    request.kind.label(),
                    request.target
                ));
            }
            None => return refused("the request it came from is not in the ledger"),
        }
        known.0.insert(member.build, name);
    }
    Ok(())
}

/// Is a snapshot's member this build, whole but for architectures that its project had no more when it was composed?
fn is_of(member: &Member, built: &Member) -> bool {
    let native = member.rpms.iter().filter(|rpm| rpm.kind != RpmKind::Source && rpm.nevra.arch != "noarch");
    let arches: Vec<Arch> = native.filter_map(|rpm| rpm.built_on).collect();
    let shown = built.rpms.iter().filter(|rpm| rpm.is_shown_on(&arches)).cloned().collect();
    *member == Member { rpms: shown, ..built.clone() }
}

/// Names a member as a whole, for a target.
fn named(member: &Member, target: &str) -> Digest {
    let bodies = content_digest(std::slice::from_ref(member), None);
    let files: String =
        member.rpms.iter().map(|rpm| format!("{} {} {:?}\n", rpm.file, rpm.digest, rpm.built_on)).collect();
    Digest::of(format!("{target} {} {} {}\n{files}", member.nvr, member.package, bodies.as_str()).as_bytes())
}

/// A result that counted is what its job showed, of this content. The built-in suite has no job: the hub runs it.
async fn check_result(tx: &mut Tx, result: &TestResult) -> Result<(), Trouble> {
    if result.suite == CLOSURE && result.on.is_none() {
        return Ok(());
    }
    let which = format!("the result of suite {} on {} (job {})", result.suite, result.arch, result.job);
    let refused = |why: &str| Err(Trouble::refused(format!("{which}: {why}")));
    let Some(job) = tx.job(result.job).await? else { return refused("there is no such job") };
    let Some(shown) = TestResult::shown_by(&job, &result.content) else {
        return refused("its job shows nothing, or is no test");
    };
    if shown != *result {
        return refused("its job showed something else");
    }
    let Some(id) = under_test(&job.recipe.repos) else {
        return refused("its job tested no snapshot, or more than one repo is called what it tested");
    };
    let tested = tx.snapshot(id).await?;
    match tested {
        Some(tested) if tested.computed() == result.content => Ok(()),
        Some(_) | None => refused("its job tested another content"),
    }
}

/// Of a statement what it was about; it tells of every package besides.
#[derive(Deserialize)]
struct Former {
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: About,
}

#[derive(Deserialize)]
struct About {
    snapshot: SnapshotId,
    tag: String,
    content: Digest,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
}

/// What is gone back to was let through once, for every architecture that the project has now: a signer's own statement says so.
async fn check_former(
    tx: &mut Tx,
    to: SnapshotId,
    facts: &Facts,
    decisions: &[DecisionPublic],
) -> Result<(), Trouble> {
    let Facts { snapshot, project, .. } = facts;
    let refused = |why: String| Trouble::refused(format!("going back to snapshot {to}: {why}"));
    let Some(former) = tx.decision(to).await? else {
        return Err(refused("no signer ever signed it".to_owned()));
    };
    let (Former { subject, predicate_type, predicate: said }, _) =
        opened(&former, decisions).map_err(|error| refused(error.to_string()))?;
    if predicate_type != PREDICATE {
        return Err(refused(format!("what was signed then is a {predicate_type}, and no decision")));
    }
    if said.snapshot != to || said.tag != snapshot.tag || said.content != snapshot.content {
        return Err(refused("what was signed then had another content, or was of another repo".to_owned()));
    }
    let was_shown_on = |arch: &Arch| {
        let list = format!("{arch}/repodata/repomd.xml");
        subject.iter().any(|subject| subject.name == list)
    };
    if let Some(arch) = project.arches.iter().find(|arch| !was_shown_on(arch)) {
        return Err(refused(format!("what was signed then has no {arch}, which the project has now")));
    }
    Ok(())
}

//! Was each publication right at the moment at which it happened? Asked of the ledger's facts by rules of its own, not the
//! gate's, once for each move of a pointer: what people say later does not undo it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use farm::decision::{Decision, Statement};
use farm::digest::Digest;
use farm::dsse::{DecisionPublic, Envelope, IN_TOTO};
use farm::extras::files;
use farm::gate::{CLOSURE, TestResult, TestVerdict, Waiver, WaiverScope, environment};
use farm::ledger::{Db, Publication, Tx};
use farm::promotion::{Course, Promotion, PromotionState};
use farm::sig::{Community, Stage};
use farm::snapshot::Snapshot;

use crate::policy::beside;
use crate::world::Tally;

/// Remembers what it has looked at.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    judged: BTreeSet<(String, i64)>,
}

impl Judge {
    /// What is wrong with the publications since it looked last. `policies` are those that were in force since then, and
    /// `state` is the last one of what is to be published beside the packages.
    pub(crate) async fn look(
        &mut self,
        db: &Db,
        data: &Path,
        policies: &[Community],
        state: u64,
        tally: &mut Tally,
    ) -> Vec<String> {
        let mut tx = db.read().await.unwrap();
        let mut found = Vec::new();
        for tag in ["demo9s-fruit-1-testing", "demo9s-fruit-1-release"] {
            let mut history = tx.publications(tag, 10_000).await.unwrap();
            history.reverse();
            for (place, publication) in history.iter().enumerate() {
                if !self.judged.insert((tag.to_owned(), publication.revision)) {
                    continue;
                }
                let mut wrong = case(&mut tx, &history[..place], publication, data, tally).await;
                wrong.extend(by_state(&mut tx, &history[..place], publication, state, tally).await);
                let mut against = Vec::new();
                for policy in policies {
                    let last = history[..place].last().map(|last| &last.content);
                    against.push(by_policy(&mut tx, policy, publication, last, tally).await);
                }
                // It must have been right under one of them.
                if against.iter().all(|said| !said.is_empty()) {
                    wrong.extend(against.into_iter().flatten());
                }
                let name = |why: String| format!("{tag}, revision {}: {why}", publication.revision);
                found.extend(wrong.into_iter().map(name));
            }
        }
        found
    }
}

/// What speaks against it whatever the policy was.
async fn case(
    tx: &mut Tx,
    before: &[Publication],
    publication: &Publication,
    data: &Path,
    tally: &mut Tally,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let (promotion, snapshot) = facts(tx, publication).await;
    let is_of_it =
        matches!(promotion.state, PromotionState::Publishing { .. } | PromotionState::Published { .. });
    if !is_of_it || promotion.snapshot() != Some(publication.snapshot) {
        wrong.push(format!("its promotion {} is {}", promotion.id, promotion.phase()));
    }
    let last = before.last();
    if publication.revision != last.map_or(1, |last| last.revision + 1) {
        wrong.push("a revision is missing before it".to_owned());
    }
    if snapshot.base != last.map(|last| last.snapshot) {
        wrong.push(format!("it was composed on {:?}, and took the place of {last:?}", snapshot.base));
    }
    if snapshot.tag != publication.tag || snapshot.content != publication.content {
        wrong.push("it is a snapshot of something else".to_owned());
    }
    let live = match last {
        Some(last) => tx.snapshot(last.snapshot).await.unwrap(),
        None => None,
    };
    let shown: BTreeSet<_> = live.iter().flat_map(|live| &live.members).map(|member| member.build).collect();
    for member in snapshot.members.iter().filter(|member| !shown.contains(&member.build)) {
        if tx.withdrawal(member.build).await.unwrap().is_some_and(|said| said.at < publication.at) {
            wrong.push(format!("{} was withdrawn before", member.nvr));
        }
    }
    let (had, has) = (live.map_or(0, |live| live.rpms().count()), snapshot.rpms().count());
    if !promotion.confirmed && (had > 0 && has == 0 || has * 5 < had * 4) {
        wrong.push(format!("it has {has} packages instead of {had}, and nobody confirmed that"));
    }
    if let Course::Back { .. } = promotion.course {
        tally.count("went back");
        let has = folders(tx, publication).await;
        let mut was_shown = false;
        for earlier in before.iter().filter(|earlier| earlier.content == publication.content) {
            was_shown = was_shown || has.is_subset(&folders(tx, earlier).await);
        }
        if !was_shown {
            wrong.push("it goes back to what was never shown, or not on all its architectures".to_owned());
        }
    }
    tally.count(if publication.tag.ends_with("release") { "released" } else { "published for tests" });
    tally.count_if(promotion.stack.is_some(), "published a stack");
    tally.count_if(promotion.nvrs.len() > 1 && promotion.course == Course::Forward, "published a set");
    tally.count_if(!promotion.remove.is_empty() && promotion.course == Course::Forward, "removed a package");
    let path = data.join("public/snap").join(publication.snapshot.to_string()).join("decision.dsse.json");
    let keys: Vec<DecisionPublic> = tx
        .signing_keys()
        .await
        .unwrap()
        .iter()
        .filter_map(|key| DecisionPublic::from_pem(&key.public).ok())
        .collect();
    let envelope = Envelope::from_json(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (payload, _) = envelope.open(IN_TOTO, &keys).unwrap();
    let statement: Statement = serde_json::from_slice(&payload).unwrap();
    wrong.extend(by_decision(&statement.predicate, &promotion, publication));
    wrong
}

/// The folders that were signed for a publication.
async fn folders(tx: &mut Tx, publication: &Publication) -> BTreeSet<String> {
    tx.endorsement(publication.snapshot).await.unwrap().unwrap().folders.into_keys().collect()
}

/// Is what stands beside the packages what was to be there in one of the states, all of it?
async fn by_state(
    tx: &mut Tx,
    before: &[Publication],
    publication: &Publication,
    state: u64,
    tally: &mut Tally,
) -> Vec<String> {
    let shown = tx.extras_of(publication.snapshot).await.unwrap();
    let shown: Vec<_> =
        files(shown.as_ref()).iter().map(|extra| (extra.kind, extra.digest.clone())).collect();
    let last = match before.last() {
        Some(last) => tx.extras_of(last.snapshot).await.unwrap(),
        None => None,
    };
    let last: Vec<_> = files(last.as_ref()).iter().map(|extra| (extra.kind, extra.digest.clone())).collect();
    tally.count_if(!before.is_empty() && last != shown, "published other files");
    let is_of = |state: u64| {
        let wanted = beside(state).into_iter().map(|(kind, text)| (kind, Digest::of(text.as_bytes())));
        wanted.eq(shown.iter().cloned())
    };
    if (0..=state).any(is_of) { Vec::new() } else { vec![format!("beside its packages are {shown:?}")] }
}

/// Does the signed decision, which users can read, tell of the words and the waivers that counted?
fn by_decision(decision: &Decision, promotion: &Promotion, publication: &Publication) -> Vec<String> {
    let mut wrong = Vec::new();
    if decision.approved_by != publication.by || decision.approvals != promotion.approvals {
        wrong.push(format!(
            "the decision says that {} approved it, and it was {}",
            decision.approved_by, publication.by
        ));
    }
    if decision.revision != publication.revision {
        wrong.push(format!("the decision says that it is revision {}", decision.revision));
    }
    for waiver in decision.waivers.iter().filter(|waiver| !was_good(waiver, publication)) {
        wrong.push(format!("the decision rests on waiver {}, which was worth nothing then", waiver.id));
    }
    wrong
}

/// What speaks against it under this policy; `last` is the content it took the place of.
async fn by_policy(
    tx: &mut Tx,
    policy: &Community,
    publication: &Publication,
    last: Option<&Digest>,
    tally: &mut Tally,
) -> Vec<String> {
    let (project, stage) = policy.tag(&publication.tag).unwrap();
    let (promotion, snapshot) = facts(tx, publication).await;
    let mut wrong = Vec::new();
    let is_back = promotion.course != Course::Forward;
    let needed = match (stage, is_back) {
        (_, true) => 1,
        (Stage::Release, false) => usize::try_from(project.approvers).unwrap(),
        (Stage::Candidate | Stage::Testing, false) => 0,
    };
    let agreed: BTreeSet<&str> = promotion.approvals.iter().map(|approval| approval.by.as_str()).collect();
    if agreed.len() < needed || !agreed.iter().all(|name| ["rex", "rita"].contains(name)) {
        wrong.push(format!("{agreed:?} agreed, and {needed} must"));
    }
    tally.count_if(needed == 2 && wrong.is_empty(), "needed two approvers");
    if is_back {
        return wrong;
    }
    let results = known_then(tx, &snapshot, publication).await;
    let layers = tx.layer_sources(policy.layers_below(project)).await.unwrap().unwrap();
    let waivers = tx.waivers(&promotion.target).await.unwrap();
    for suite in project.required.iter().map(String::as_str).chain([CLOSURE]) {
        for arch in &project.arches {
            let around = environment(&project.image_for(*arch), &layers);
            let newest = results
                .iter()
                .filter(|result| result.suite == suite && result.arch == *arch && result.on.is_none())
                .filter(|result| promotion.suites.get(suite) == Some(&result.version))
                .filter(|result| result.environment == around)
                .filter(|result| suite != CLOSURE || result.against.as_ref() == last)
                .max_by_key(|result| (result.at, result.job));
            if newest.is_some_and(|result| result.verdict == TestVerdict::Passed) {
                tally.count_if(suite == "smoke", "passed another suite");
                tally.count_if(arch.as_str() == "aarch64", "passed on another architecture");
                continue;
            }
            let covers = |waiver: &&Waiver| {
                was_good(waiver, publication)
                    && waiver.suite == suite
                    && waiver.arch.is_none_or(|of| of == *arch)
                    && is_about(waiver, &snapshot)
            };
            match waivers.iter().find(covers) {
                Some(_) => tally.count("waived"),
                None => wrong.push(format!("{suite} on {arch}: {newest:?}, and no waiver")),
            }
        }
    }
    wrong
}

/// The results for a content that were in the ledger when it was published: those of requests that were closed by then, and
/// those of what the hub runs itself.
async fn known_then(tx: &mut Tx, snapshot: &Snapshot, publication: &Publication) -> Vec<TestResult> {
    let mut known = Vec::new();
    for result in tx.results(&snapshot.content).await.unwrap() {
        let job = tx.job(result.job).await.unwrap();
        let closed = match job {
            Some(job) => tx.request(job.request).await.unwrap().and_then(|request| request.value.closed),
            None => None,
        };
        if closed.map_or(result.at, |closed| closed.at) <= publication.at {
            known.push(result);
        }
    }
    known
}

async fn facts(tx: &mut Tx, publication: &Publication) -> (Promotion, Arc<Snapshot>) {
    let promotion = tx.promotion(publication.promotion).await.unwrap().unwrap().value;
    (promotion, tx.snapshot(publication.snapshot).await.unwrap().unwrap())
}

/// Was it worth something when this was published?
fn was_good(waiver: &Waiver, publication: &Publication) -> bool {
    let is_taken_back = waiver.revoked.as_ref().is_some_and(|(_, at)| *at < publication.at);
    waiver.made <= publication.at && publication.at < waiver.until && !is_taken_back
}

fn is_about(waiver: &Waiver, snapshot: &Snapshot) -> bool {
    match &waiver.scope {
        WaiverScope::Content { content } => *content == snapshot.content,
        WaiverScope::Build { build, .. } => snapshot.members.iter().any(|member| member.build == *build),
    }
}

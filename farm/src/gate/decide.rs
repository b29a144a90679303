//! The decision itself: from the facts to the one answer.

use std::collections::BTreeSet;

use super::{
    Approved, Decision, Question, Requirement, TestVerdict, Waiver, broken_before, is_about, is_much_smaller,
    newest_of_now, requirements,
};
use crate::arch::Arch;
use crate::ids::{SnapshotId, WaiverId};
use crate::promotion::{Course, Promotion};
use crate::sig::{Project, Stage};

/// May this content be published?
#[must_use]
pub fn decide(question: &Question<'_>) -> Decision {
    let Question { project, promotion, snapshot, .. } = *question;
    let stage = promotion.to;
    if stage == Stage::Candidate {
        return Decision::Refused(vec!["candidate repos are not published".to_owned()]);
    }
    if snapshot.tag != project.tag(stage) {
        return Decision::Refused(vec![format!(
            "the snapshot was composed for {}, not for {}",
            snapshot.tag,
            project.tag(stage)
        )]);
    }
    if project.required.is_empty() {
        return Decision::Refused(vec![format!(
            "no test, no promotion: {} requires no suite; add at least `required = [\"installs\"]` to its [project.tests]",
            project.target()
        )]);
    }
    let is_live = snapshot.base == question.live.map(|live| live.id);
    if !is_live {
        let is_behind = snapshot.base.is_some() && snapshot.base == question.ahead;
        return if is_behind { Decision::Behind } else { Decision::Outdated };
    }
    if snapshot.rpms().any(|rpm| !rpm.is_shown_on(&project.arches)) {
        // The project has lost an architecture since: nobody could fetch, or has tested, what it has of that.
        return Decision::Outdated;
    }
    let lacking = snapshot.lacks(&project.arches);
    if !lacking.is_empty() {
        // The project has got an architecture since: it would show a folder that nobody has tested.
        return match &promotion.course {
            Course::Forward => Decision::Outdated,
            Course::Back { to, .. } => Decision::Refused(vec![never_shown_on(*to, &lacking, project)]),
        };
    }
    let against = against_the_set(question);
    if !against.is_empty() {
        return Decision::Refused(against);
    }
    let waivers = match &promotion.course {
        // It has passed once, in exactly this combination, and was published then: going back must not wait for tests.
        Course::Back { .. } if question.was_published => Vec::new(),
        Course::Back { .. } => {
            return Decision::Refused(vec![format!(
                "{} never showed this content: only what was published before can be gone back to",
                snapshot.tag
            )]);
        }
        Course::Forward => match shown(question) {
            Ok(waivers) => waivers,
            Err(decision) => return *decision,
        },
    };
    let by = match agreed(question) {
        Ok(by) => by,
        Err(decision) => return *decision,
    };
    Decision::Approved(Approved {
        tag: snapshot.tag.clone(),
        snapshot: snapshot.id,
        base: snapshot.base,
        by,
        waivers,
    })
}

/// Why nobody goes back to a snapshot that lacks an architecture of its project.
#[must_use]
pub fn never_shown_on(snapshot: SnapshotId, lacking: &[Arch], project: &Project) -> String {
    let arches: Vec<String> = lacking.iter().map(ToString::to_string).collect();
    format!(
        "snapshot {snapshot} was never shown, and never tested, on {}, which {} has now: promote builds that were tested there",
        arches.join(" and "),
        project.target()
    )
}

/// What speaks against the set itself, whatever its tests show.
fn against_the_set(question: &Question<'_>) -> Vec<String> {
    let Question { promotion, snapshot, live, .. } = *question;
    let members =
        |snapshot: &super::Snapshot| snapshot.members.iter().map(|member| member.build).collect::<Vec<_>>();
    let live_builds = live.map(members).unwrap_or_default();
    let mut against: Vec<String> = snapshot
        .members
        .iter()
        .filter(|member| question.withdrawn.contains(&member.build) && !live_builds.contains(&member.build))
        .map(|member| format!("{} was withdrawn; build it anew with a higher release", member.nvr))
        .collect();
    let (before, after) = (live.map_or(0, |live| live.rpms().count()), snapshot.rpms().count());
    if is_much_smaller(before, after) && !promotion.confirmed {
        // The gate's own promotions, too, are asked for again by a person: nobody else can mean it.
        let meant = Promotion { confirmed: true, ..promotion.clone() };
        let how = match (meant.again(), snapshot.members.first()) {
            (Some(call), _) => format!("`{call}`"),
            // What brings files alone is asked for by naming a build that is shown already.
            (None, Some(shown)) if promotion.brings.is_some() => {
                format!("`grange promote --to {} {} --confirm`", promotion.to, shown.nvr)
            }
            (None, _) => "ask again with --confirm".to_owned(),
        };
        against.push(format!(
            "{} would have {after} packages instead of {before}; if that is meant: {how}",
            snapshot.tag
        ));
    }
    against
}

/// Has everything required been shown, or been waived? Gives the waivers that were needed.
fn shown(question: &Question<'_>) -> Result<Vec<WaiverId>, Box<Decision>> {
    let (mut missing, mut against, mut waivers) = (Vec::new(), Vec::new(), Vec::new());
    for requirement in requirements(question.project, question.layered) {
        let verdict = match verdict(question, &requirement) {
            Shown::Elsewhere => return Err(Box::new(Decision::Outdated)),
            Shown::Nothing => None,
            Shown::Verdict(verdict) => Some(verdict),
        };
        if verdict == Some(&TestVerdict::Passed) {
            continue;
        }
        if let Some(waiver) = waived(question, &requirement) {
            waivers.push(waiver.id);
            continue;
        }
        match verdict {
            Some(TestVerdict::Passed) => {}
            Some(TestVerdict::Failed { .. }) if was_broken(question, &requirement) => {}
            Some(TestVerdict::Failed { reason }) => {
                against.push(format!("{} failed: {reason}", requirement.phrase()));
            }
            Some(TestVerdict::Errored { reason }) => {
                against.push(format!("{} could not be run: {reason}", requirement.phrase()));
            }
            None => missing.push(requirement),
        }
    }
    if !against.is_empty() {
        return Err(Box::new(Decision::Refused(against)));
    }
    if !missing.is_empty() {
        return Err(Box::new(Decision::Missing(missing)));
    }
    Ok(waivers)
}

/// What is known of one requirement.
enum Shown<'a> {
    /// Nothing.
    Nothing,
    /// Something, but in another environment than the present one, or of the change of something else.
    Elsewhere,
    /// What the newest run showed: a suite may have been run again, after the farm failed, say.
    Verdict(&'a TestVerdict),
}

fn verdict<'a>(question: &Question<'a>, requirement: &Requirement) -> Shown<'a> {
    let Question { results, live, environments, .. } = *question;
    let (content, suites) = (&question.snapshot.content, &question.promotion.suites);
    match newest_of_now(results, requirement, content, live, suites, environments) {
        Some(newest) => Shown::Verdict(&newest.verdict),
        None if results.iter().any(|result| is_about(result, requirement, content, suites)) => {
            Shown::Elsewhere
        }
        None => Shown::Nothing,
    }
}

fn waived<'a>(question: &Question<'a>, requirement: &Requirement) -> Option<&'a Waiver> {
    let covers = |waiver: &&Waiver| {
        waiver.covers(requirement, question.snapshot, question.release_managers, question.now)
    };
    question.waivers.iter().find(covers)
}

fn was_broken(question: &Question<'_>, requirement: &Requirement) -> bool {
    let Question { live, before, environments, promotion, .. } = *question;
    broken_before(requirement, live, before, &promotion.suites, environments).is_some()
}

/// Who agreed, when nobody else has to.
fn agreed(question: &Question<'_>) -> Result<Vec<String>, Box<Decision>> {
    let Question { project, promotion, .. } = *question;
    let needs_word = promotion.to == Stage::Release || promotion.course != Course::Forward;
    if !needs_word {
        return Ok(vec!["gate".to_owned()]);
    }
    let managers = &question.release_managers.own;
    if let Some(approval) = promotion.approvals.iter().find(|approval| !managers.contains(&approval.by)) {
        return Err(Box::new(Decision::Refused(vec![format!(
            "{} approved it but is not a release manager of SIG {}",
            approval.by, project.sig
        )])));
    }
    // Going back is one person's word, as it must be quick.
    let needed = match promotion.course {
        Course::Forward => usize::try_from(project.approvers.max(1)).unwrap_or(usize::MAX),
        Course::Back { .. } => 1,
    };
    // Two words of one person are one, whoever wrote the second.
    let people: BTreeSet<&str> = promotion.approvals.iter().map(|approval| approval.by.as_str()).collect();
    if people.len() < needed {
        return Err(Box::new(Decision::NeedsApproval));
    }
    Ok(promotion.approvals.iter().map(|approval| approval.by.clone()).collect())
}

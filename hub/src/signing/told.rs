//! What a decision that is about to be published says of who agreed: it must be what the gate counts when the pointer moves.

use std::collections::BTreeSet;

use anyhow::Context as _;
use farm::decision::opened;
use farm::dsse::DecisionPublic;
use farm::gate::Approved;
use farm::ids::{SnapshotId, WaiverId};
use farm::signing::Purpose;
use serde::Deserialize;

use super::publish::DECISION;
use crate::files::blocking;
use crate::problem::Answer;
use crate::state::Hub;

/// Of a statement what people have said; it names every package besides.
#[derive(Debug, Deserialize)]
struct Statement {
    predicate: Told,
}

/// Who agreed and what was waived, as users will read it.
#[derive(Debug, Deserialize)]
pub struct Told {
    approved_by: String,
    waivers: Vec<Waived>,
}

#[derive(Debug, Deserialize)]
struct Waived {
    id: WaiverId,
}

impl Told {
    /// Reads it from a snapshot that is in the public tree, where nothing needs to point to it yet.
    ///
    /// # Errors
    /// When the ledger or the disk fails, or there is no decision.
    pub async fn read(hub: &Hub, id: SnapshotId) -> Answer<Told> {
        let keys = hub.db.glance().await?.signing_keys().await?;
        let path = hub.public.dir(id).join(DECISION);
        let read = move || -> anyhow::Result<Told> {
            let keys = keys.iter().filter(|key| key.purpose == Purpose::Decisions);
            let keys: Vec<DecisionPublic> =
                keys.filter_map(|key| DecisionPublic::from_pem(&key.public).ok()).collect();
            let (statement, _) = opened::<Statement>(&std::fs::read_to_string(&path)?, &keys)?;
            Ok(statement.predicate)
        };
        Ok(blocking(read).await.with_context(|| format!("cannot read the decision on snapshot {id}"))?)
    }

    /// Is it what the gate has answered? A word or a waiver, given or taken back since it was signed, makes it untrue.
    #[must_use]
    pub fn is_of(&self, approved: &Approved) -> bool {
        let waivers: BTreeSet<&WaiverId> = self.waivers.iter().map(|waiver| &waiver.id).collect();
        self.approved_by == approved.by() && waivers == approved.waivers().iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use farm::decision::{Grounds, statement};
    use farm::gate::{CLOSURE, Decision, Question, ReleaseManagers, Waiver, WaiverScope, decide};
    use farm::promotion::{Approval, Course, Promotion};
    use farm::sig::Stage;
    use farm::stamp::Stamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::repos::samples::{Bench, gluster};

    /// What the gate has answered, two people having agreed and two results having been waived, and the statement about that.
    fn decided() -> (Approved, Value) {
        let (mut bench, project) = (Bench::new(), gluster());
        let snapshot = bench.snapshot(&project.tag(Stage::Release), None, &[]);
        let now = snapshot.created;
        let word = |by: &str| Approval { by: by.to_owned(), at: now };
        let promotion = Promotion {
            course: Course::Forward,
            approvals: vec![word("rex"), word("rita")],
            ..bench.promotion(&project, Stage::Release, &snapshot)
        };
        let waivers = ["installs", CLOSURE].map(|suite| Waiver {
            id: bench.mint(),
            target: project.target(),
            suite: suite.to_owned(),
            arch: None,
            on: None,
            scope: WaiverScope::Content { content: snapshot.content.clone() },
            by: "rex".to_owned(),
            reason: "it is known".to_owned(),
            made: now,
            until: Stamp::from_millis(now.millis() + 1),
            revoked: None,
        });
        let release_managers = ["rex", "rita"].map(str::to_owned).into();
        let question = Question {
            project: &project,
            promotion: &promotion,
            snapshot: &snapshot,
            live: None,
            ahead: None,
            layered: &[],
            results: &[],
            before: &[],
            environments: &BTreeMap::new(),
            waivers: &waivers,
            release_managers: &ReleaseManagers { own: release_managers, layered: BTreeMap::new() },
            withdrawn: &BTreeSet::new(),
            was_published: false,
            now,
        };
        let Decision::Approved(approved) = decide(&question) else { panic!("the gate says no") };
        let grounds = Grounds {
            project: &project,
            promotion: &promotion,
            snapshot: &snapshot,
            approved: &approved,
            revision: 0,
            layered: &[],
            results: &[],
            live: None,
            before: &[],
            environments: &BTreeMap::new(),
            waivers: &waivers,
            withdrawn: &BTreeSet::new(),
        };
        let said = statement(&grounds, &BTreeMap::new(), &BTreeMap::new(), &[], now).unwrap();
        (approved, serde_json::to_value(said).unwrap())
    }

    #[test]
    fn a_decision_says_whom_and_what_the_gate_has_counted_and_nothing_else() {
        let (approved, said) = decided();
        let tells = |edit: fn(&mut Value)| {
            let mut said = said.clone();
            edit(&mut said["predicate"]);
            serde_json::from_value::<Statement>(said).unwrap().predicate.is_of(&approved)
        };
        assert!(tells(|_| {}));
        assert!(tells(|said| said["waivers"].as_array_mut().unwrap().reverse()));
        assert!(!tells(|said| said["approved_by"] = json!("rex")), "a word is missing");
        assert!(!tells(|said| said["approved_by"] = json!("rex, rita, vic")), "a word is too many");
        assert!(!tells(|said| drop(said["waivers"].as_array_mut().unwrap().pop())), "a waiver is missing");
        let more = |said: &mut Value| {
            let mut waiver = said["waivers"][0].clone();
            waiver["id"] = json!(Bench::new().mint::<WaiverId>());
            said["waivers"].as_array_mut().unwrap().push(waiver);
        };
        assert!(!tells(more), "a waiver is too many");
    }
}

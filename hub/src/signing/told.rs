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
        let keys = hub.db.read().await?.signing_keys().await?;
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

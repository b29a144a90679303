//! Changes of state that are still to be told: noted in the transaction that makes them, forgotten once they are told.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::pg::answered;
use super::{Kept, Repo, Result, Tx, execute, fetch, from_doc, to_doc};
use crate::arch::Arch;
use crate::digest::Digest;
use crate::event::{ChangeKind, StateChange};
use crate::ids::{EventId, Id as _};
use crate::job::Job;
use crate::outcome::Outcome;
use crate::promotion::Promotion;
use crate::request::{Request, RequestKind, Verdict};
use crate::sig::split_tag;
use crate::stamp::Stamp;

/// What a repo's changes are filed under when no SIG owns its tag any more.
const NO_SIG: &str = "none";
/// Bits of an event's id that hold the subject's version; those above them tell subjects apart.
const VERSION_BITS: u32 = 24;

/// What a change is about.
struct Subject<'a> {
    kind: ChangeKind,
    id: String,
    sig: &'a str,
    arch: Option<Arch>,
    /// The version the change gave it: grows with each change.
    version: i64,
}

/// The same for the same change, and greater for a later change of a subject in the same millisecond.
fn event_id(subject: &Subject<'_>, at: Stamp) -> EventId {
    let digest = Digest::of(format!("{}:{}", subject.kind.as_str(), subject.id).as_bytes());
    let hash = digest.as_str().get(..14).and_then(|hex| u128::from_str_radix(hex, 16).ok()).unwrap_or(0);
    let version = u128::from(subject.version.unsigned_abs()) & ((1 << VERSION_BITS) - 1);
    let low = (hash << VERSION_BITS) | version;
    EventId::from_ulid(ulid::Ulid::from_parts(at.millis().unsigned_abs(), low))
}

/// Puts the changes of each subject in the order in which they were made, whatever clocks said of it.
fn in_order(mut changes: Vec<StateChange>) -> Vec<StateChange> {
    let key = |change: &StateChange| (change.kind.as_str(), change.subject.clone());
    let version = |change: &StateChange| change.facts.get("version").and_then(Value::as_i64);
    let mut places: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, change) in changes.iter().enumerate() {
        places.entry(key(change)).or_default().push(place);
    }
    for places in places.into_values().filter(|places| places.len() > 1) {
        let mut of_one: Vec<StateChange> = places.iter().map(|place| changes[*place].clone()).collect();
        of_one.sort_by_key(version);
        for (place, change) in places.into_iter().zip(of_one) {
            changes[place] = change;
        }
    }
    changes
}

impl Tx {
    /// The oldest changes that are still to be told, `most` and those that belong to the same subjects; those of one subject
    /// in the order they were made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events(&mut self, most: u32) -> Result<Vec<StateChange>> {
        let sql = "SELECT doc FROM event ORDER BY at, id LIMIT $1";
        let mut rows = fetch!(fetch_all, self, (String,), sql, i64::from(most))?;
        if u32::try_from(rows.len()).unwrap_or(u32::MAX) >= most {
            // More are to be told. One that was noted by a clock that is ahead may be among them although it was made before
            // one of these. A subject is known by these letters of its events' ids: see `event_id`.
            let sql = "SELECT doc FROM event WHERE SUBSTR(id, 11, 11) IN (
                           SELECT SUBSTR(id, 11, 11) FROM event ORDER BY at, id LIMIT $1
                       ) ORDER BY at, id";
            rows = fetch!(fetch_all, self, (String,), sql, i64::from(most))?;
        }
        Ok(in_order(rows.into_iter().map(|(doc,)| from_doc("event", &doc)).collect::<Result<_>>()?))
    }

    /// Forgets changes that were told. Those that are gone already are passed over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_events(&mut self, told: &[EventId]) -> Result<()> {
        if told.is_empty() {
            return Ok(());
        }
        let places: Vec<String> = (1..=told.len()).map(|place| format!("${place}")).collect();
        let sql = format!("DELETE FROM event WHERE id IN ({})", places.join(", "));
        match self {
            Tx::Lite(tx) => {
                let query =
                    told.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, id| query.bind(id.to_string()));
                query.execute(&mut **tx).await?;
            }
            Tx::Pg(tx) => {
                let query =
                    told.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, id| query.bind(id.to_string()));
                answered(query.execute(&mut **tx)).await?;
            }
        }
        Ok(())
    }

    /// A job is new (`version` 0), or in another phase.
    pub(super) async fn note_job(&mut self, job: &Job, version: i64, at: Stamp) -> Result<()> {
        let subject = Subject {
            kind: ChangeKind::Job,
            id: job.id.to_string(),
            sig: &job.sig,
            arch: Some(job.arch),
            version,
        };
        let facts = json!({
            "request": job.request, "work": job.kind.label(), "class": job.class, "turn": job.turn,
            "tries": job.tries, "builder": job.builder(), "outcome": job.outcome().map(Outcome::sentence),
        });
        self.note(subject, job.phase(), facts, at).await
    }

    /// A request is new (`version` 0), or closed.
    pub(super) async fn note_request(&mut self, request: &Request, version: i64, at: Stamp) -> Result<()> {
        let subject = Subject {
            kind: ChangeKind::Request,
            id: request.id.to_string(),
            sig: &request.sig,
            arch: None,
            version,
        };
        let verdict = request.closed.as_ref().map(|closed| &closed.verdict);
        let state = match verdict {
            None => "open",
            Some(Verdict::Complete { .. }) => "complete",
            Some(Verdict::Failed { .. }) => "failed",
            Some(Verdict::Cancelled { .. }) => "cancelled",
        };
        let mut facts = json!({
            "kind": request.kind.label(), "target": request.target, "package": request.package, "by": request.by,
            "verdict": verdict,
        });
        if let RequestKind::Check { tag, causes, .. } = &request.kind {
            (facts["tag"], facts["causes"]) = (json!(tag), json!(causes));
        }
        self.note(subject, state, facts, at).await
    }

    /// A promotion is new (`version` 0), or took a step.
    pub(super) async fn note_promotion(
        &mut self,
        promotion: &Promotion,
        version: i64,
        at: Stamp,
    ) -> Result<()> {
        let subject = Subject {
            kind: ChangeKind::Promotion,
            id: promotion.id.to_string(),
            sig: &promotion.sig,
            arch: None,
            version,
        };
        let facts = json!({
            "target": promotion.target, "to": promotion.to.as_str(), "nvrs": promotion.nvrs, "by": promotion.by,
            "snapshot": promotion.snapshot(),
        });
        self.note(subject, promotion.phase(), facts, at).await
    }

    /// A repo's pointer moved away from what `before` shows.
    pub(super) async fn note_repo(&mut self, before: &Kept<Repo>, now: &Repo, at: Stamp) -> Result<()> {
        let sig = self.owner_of(&now.tag).await?.unwrap_or_else(|| NO_SIG.to_owned());
        let subject = Subject {
            kind: ChangeKind::Repo,
            id: now.tag.clone(),
            sig: &sig,
            arch: None,
            version: before.version + 1,
        };
        let current = now.current.map(|id| id.to_string()).unwrap_or_default();
        let facts = json!({ "revision": now.revision, "before": before.current });
        self.note(subject, &current, facts, at).await
    }

    /// A SIG was applied.
    pub(super) async fn note_sig(&mut self, name: &str, by: &str, version: i64, at: Stamp) -> Result<()> {
        let subject = Subject { kind: ChangeKind::Sig, id: name.to_owned(), sig: name, arch: None, version };
        self.note(subject, "applied", json!({ "by": by }), at).await
    }

    async fn owner_of(&mut self, tag: &str) -> Result<Option<String>> {
        let Some((stem, _)) = split_tag(tag) else { return Ok(None) };
        let community = self.community().await?;
        let owner =
            community.sigs.iter().find(|sig| sig.projects.iter().any(|project| project.stem() == stem));
        Ok(owner.map(|sig| sig.name.clone()))
    }

    async fn note(&mut self, subject: Subject<'_>, state: &str, mut facts: Value, at: Stamp) -> Result<()> {
        facts["version"] = subject.version.into();
        let change = StateChange {
            id: event_id(&subject, at),
            at,
            kind: subject.kind,
            subject: subject.id,
            sig: subject.sig.to_owned(),
            arch: subject.arch,
            state: state.to_owned(),
            facts,
        };
        let id = change.id.to_string();
        let sql = "INSERT INTO event (id, at, doc) VALUES ($1, $2, $3)";
        execute!(self, sql, &id, at.millis(), to_doc("event", &id, &change)?)?;
        Ok(())
    }
}

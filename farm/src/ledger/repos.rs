//! Repos: a pointer each, to an immutable snapshot.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Kept, LedgerError, Result, Tx, execute, fetch, from_doc, parsed, to_doc};
use crate::extras::{Extras, files};
use crate::gate::Approved;
use crate::ids::{PromotionId, SnapshotId};
use crate::recipe::{RepoOrigin, RepoSource};
use crate::sig::Layer;
use crate::snapshot::{Base, Snapshot};
use crate::stamp::Stamp;

/// The first dnf priority that layers get; each further one is worse by [`PRIORITY_STEP`].
const FIRST_PRIORITY: u32 = 10;
const PRIORITY_STEP: u32 = 5;

/// Bytes of rows that [`read_snapshot`] remembers, and how many rows.
const REMEMBERED: usize = 32 * 1024 * 1024;
const REMEMBERED_ROWS: usize = 64;

/// A repo's pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// The tag whose content it shows.
    pub tag: String,
    /// The live snapshot; `None` before the first.
    pub current: Option<SnapshotId>,
    /// Grows with every move of the pointer, also back.
    pub revision: i64,
    /// Counts the changes of a candidate tag's membership.
    pub wanted: i64,
    /// The count that the live snapshot shows.
    pub composed: i64,
}

/// A layer, and what its repo shows now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerState {
    /// The layer.
    pub layer: Layer,
    /// Its repo, when it is one of the farm's.
    pub repo: Option<Repo>,
    /// The repo as a build installs from it now; `None` while nothing was ever published in it.
    pub source: Option<RepoSource>,
}

/// Of a snapshot only what stands beside its packages.
#[derive(serde::Deserialize)]
struct Beside {
    #[serde(default)]
    extras: Option<Extras>,
}

impl LayerState {
    /// Does its tag hold something that its repo does not show yet?
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.repo.as_ref().is_some_and(|repo| repo.composed < repo.wanted)
    }
}

type Row = (String, i64, Option<String>, i64, i64, i64);

fn repo((tag, version, current, revision, wanted, composed): Row) -> Result<Kept<Repo>> {
    let current = current.map(|id| parsed("repo", &id)).transpose()?;
    Ok(Kept { value: Repo { tag, current, revision, wanted, composed }, version })
}

impl Tx {
    /// A tag's repo; one that was never written is empty.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn repo(&mut self, tag: &str) -> Result<Kept<Repo>> {
        let sql = "SELECT tag, version, current, revision, wanted, composed FROM repo WHERE tag = $1";
        match fetch!(fetch_optional, self, Row, sql, tag)? {
            Some(row) => repo(row),
            None => {
                let value = Repo { tag: tag.to_owned(), current: None, revision: 0, wanted: 0, composed: 0 };
                Ok(Kept { value, version: -1 })
            }
        }
    }

    /// Every repo that was ever written, by tag.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn repos(&mut self) -> Result<Vec<Kept<Repo>>> {
        let sql = "SELECT tag, version, current, revision, wanted, composed FROM repo ORDER BY tag";
        fetch!(fetch_all, self, Row, sql)?.into_iter().map(repo).collect()
    }

    /// Keeps an immutable snapshot, and what stands beside its packages for as long.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_snapshot(&mut self, snapshot: &Snapshot) -> Result<()> {
        let sql = "INSERT INTO snapshot (id, tag, content, doc) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
        let id = snapshot.id.to_string();
        execute!(
            self,
            sql,
            &id,
            &snapshot.tag,
            snapshot.content.as_str(),
            to_doc("snapshot", &id, snapshot)?
        )?;
        for extra in files(snapshot.extras.as_ref()) {
            self.hold(&format!("snapshot:{id}"), &extra.digest).await?;
        }
        Ok(())
    }

    /// A snapshot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn snapshot(&mut self, id: SnapshotId) -> Result<Option<Arc<Snapshot>>> {
        let row = fetch!(
            fetch_optional,
            self,
            (String,),
            "SELECT doc FROM snapshot WHERE id = $1",
            id.to_string()
        )?;
        row.map(|(doc,)| read_snapshot(doc)).transpose()
    }

    /// A snapshot as what another one is composed on, without reading what is in it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn base(&mut self, id: SnapshotId) -> Result<Option<Base>> {
        let sql = "SELECT doc FROM snapshot WHERE id = $1";
        let row = fetch!(fetch_optional, self, (String,), sql, id.to_string())?;
        row.map(|(doc,)| from_doc("snapshot", &doc)).transpose()
    }

    /// What stands beside the packages of a snapshot, without reading what is known of each of these.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn extras_of(&mut self, id: SnapshotId) -> Result<Option<Extras>> {
        let sql = "SELECT doc FROM snapshot WHERE id = $1";
        let row = fetch!(fetch_optional, self, (String,), sql, id.to_string())?;
        let read = |(doc,): (String,)| from_doc("snapshot", &doc).map(|Beside { extras }| extras);
        Ok(row.map(read).transpose()?.flatten())
    }

    /// The live snapshot of a tag.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn live(&mut self, tag: &str) -> Result<Option<Arc<Snapshot>>> {
        match self.repo(tag).await?.current {
            Some(id) => match self.snapshot(id).await? {
                Some(snapshot) => Ok(Some(snapshot)),
                None => Err(LedgerError::Corrupt {
                    table: "repo",
                    id: tag.to_owned(),
                    why: format!("its live snapshot {id} is not in the ledger"),
                }),
            },
            None => Ok(None),
        }
    }

    /// Layers as repos with priorities, in their order; those nothing was ever published in are left out. `None` while a
    /// candidate repo among them is behind its tag.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn layer_sources(&mut self, layers: Vec<Layer>) -> Result<Option<Vec<RepoSource>>> {
        let states = self.layer_states(layers).await?;
        if states.iter().any(LayerState::is_behind) {
            return Ok(None);
        }
        Ok(Some(states.into_iter().filter_map(|state| state.source).collect()))
    }

    /// Layers in their order, each with what its repo shows now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn layer_states(&mut self, layers: Vec<Layer>) -> Result<Vec<LayerState>> {
        let mut states = Vec::new();
        let mut priority = FIRST_PRIORITY;
        for layer in layers {
            let (repo, source) = match &layer {
                Layer::Tag { tag } => {
                    let repo = self.repo(tag).await?.value;
                    let source = repo.current.map(|id| (tag.clone(), RepoOrigin::Snapshot { id }));
                    (Some(repo), source)
                }
                Layer::External(repo) => {
                    (None, Some((repo.name.clone(), RepoOrigin::External { baseurl: repo.baseurl.clone() })))
                }
            };
            let source = source.map(|(name, origin)| RepoSource { name, priority, origin });
            if source.is_some() {
                priority += PRIORITY_STEP;
            }
            states.push(LayerState { layer, repo, source });
        }
        Ok(states)
    }

    /// The NVRs of the builds a candidate tag holds and a snapshot of it lacks.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lacking(&mut self, tag: &str, snapshot: SnapshotId) -> Result<Vec<String>> {
        let shown = self.snapshot(snapshot).await?;
        let sql = "SELECT m.build, b.nvr FROM membership m JOIN build b ON b.id = m.build WHERE m.tag = $1
                   ORDER BY m.package";
        let held = fetch!(fetch_all, self, (String, String), sql, tag)?;
        let shown: std::collections::BTreeSet<String> =
            shown.iter().flat_map(|shown| &shown.members).map(|member| member.build.to_string()).collect();
        Ok(held.into_iter().filter(|(build, _)| !shown.contains(build)).map(|(_, nvr)| nvr).collect())
    }

    /// Candidate repos whose live snapshot does not show their tag's content.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn uncomposed(&mut self) -> Result<Vec<Kept<Repo>>> {
        let sql = "SELECT tag, version, current, revision, wanted, composed FROM repo WHERE composed < wanted ORDER BY tag";
        fetch!(fetch_all, self, Row, sql)?.into_iter().map(repo).collect()
    }

    /// Points a candidate repo at a snapshot of the membership that `before` counted.
    ///
    /// # Errors
    /// [`LedgerError::LostRace`] when the repo changed meanwhile; [`LedgerError::Refused`] for a repo the gate guards.
    pub async fn point_candidate(
        &mut self,
        before: &Kept<Repo>,
        snapshot: SnapshotId,
        now: Stamp,
    ) -> Result<()> {
        if !before.tag.ends_with("-candidate") {
            return Err(LedgerError::Refused(format!("only the gate moves {}", before.tag)));
        }
        let next = Repo {
            current: Some(snapshot),
            revision: before.revision + 1,
            composed: before.wanted,
            ..before.value.clone()
        };
        self.advance_repo(before, &next).await?;
        self.note_repo(before, &next, now).await
    }

    /// Points a public repo at a snapshot the gate approved in this transaction. Gives the new revision.
    ///
    /// # Errors
    /// [`LedgerError::LostRace`] when the repo is not at the snapshot's base any more.
    pub async fn publish(&mut self, approved: &Approved, promotion: PromotionId, now: Stamp) -> Result<i64> {
        let mut before = self.repo(approved.tag()).await?;
        if before.version < 0 {
            before = self.create_repo(approved.tag()).await?;
        }
        // Looked at last: making the repo may have waited for somebody who made it and put a snapshot into it.
        if before.current != approved.base() {
            return Err(LedgerError::LostRace { table: "repo", id: approved.tag().to_owned() });
        }
        let next = Repo {
            current: Some(approved.snapshot()),
            revision: before.revision + 1,
            ..before.value.clone()
        };
        self.advance_repo(&before, &next).await?;
        self.note_repo(&before, &next, now).await?;
        self.note_publication(&next, approved, promotion, now).await?;
        Ok(next.revision)
    }

    /// Has a candidate repo composed anew although its tag holds what it held: what stands beside the packages has changed.
    ///
    /// # Errors
    /// [`LedgerError::LostRace`] when the repo changed meanwhile: it is composed anyway then.
    pub async fn compose_anew(&mut self, before: &Kept<Repo>) -> Result<()> {
        let next = Repo { wanted: before.wanted + 1, ..before.value.clone() };
        self.advance_repo(before, &next).await
    }

    pub(super) async fn want_compose(&mut self, tag: &str) -> Result<()> {
        let mut before = self.repo(tag).await?;
        if before.version < 0 {
            before = self.create_repo(tag).await?;
        }
        self.compose_anew(&before).await
    }

    async fn create_repo(&mut self, tag: &str) -> Result<Kept<Repo>> {
        let sql = "INSERT INTO repo (tag, version, current, revision, wanted, composed) VALUES ($1, 0, NULL, 0, 0, 0)
                   ON CONFLICT (tag) DO NOTHING";
        execute!(self, sql, tag)?;
        self.repo(tag).await
    }
}

/// A snapshot from its row. Whole repos are in it, and one move of a pointer reads the same two or three again and again: what was
/// read last is remembered, by all of its text, so that a row which was edited meanwhile is read as what it says now.
fn read_snapshot(doc: String) -> Result<Arc<Snapshot>> {
    static READ: Mutex<VecDeque<(String, Arc<Snapshot>)>> = Mutex::new(VecDeque::new());
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(place) = read.iter().position(|(known, _)| *known == doc)
        && let Some(known) = read.remove(place)
    {
        let snapshot = known.1.clone();
        read.push_front(known);
        return Ok(snapshot);
    }
    drop(read);
    let snapshot: Arc<Snapshot> = Arc::new(from_doc("snapshot", &doc)?);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    read.push_front((doc, snapshot.clone()));
    while read.len() > REMEMBERED_ROWS
        || read.iter().map(|(known, _)| known.len()).sum::<usize>() > REMEMBERED
    {
        read.pop_back();
    }
    Ok(snapshot)
}

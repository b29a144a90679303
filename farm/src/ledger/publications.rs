//! What public repos showed, and since when: every move of a pointer is kept.

use super::{Result, Tx, execute, fetch, from_doc, parsed, repos::Repo};
use crate::digest::Digest;
use crate::gate::Approved;
use crate::ids::{PromotionId, SnapshotId};
use crate::stamp::Stamp;

/// One move of a public repo's pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The repo's tag.
    pub tag: String,
    /// Its revision from then on.
    pub revision: i64,
    /// What it showed.
    pub snapshot: SnapshotId,
    /// The content of that.
    pub content: Digest,
    /// The promotion that moved it.
    pub promotion: PromotionId,
    /// Who approved it.
    pub by: String,
    /// When.
    pub at: Stamp,
}

type Row = (String, i64, String, String, String, String, i64);

fn publication((tag, revision, snapshot, content, promotion, by, at): Row) -> Result<Publication> {
    Ok(Publication {
        revision,
        snapshot: parsed("publication", &snapshot)?,
        content: parsed("publication", &content)?,
        promotion: parsed("publication", &promotion)?,
        by,
        at: Stamp::from_millis(at),
        tag,
    })
}

impl Tx {
    pub(super) async fn note_publication(
        &mut self,
        repo: &Repo,
        approved: &Approved,
        promotion: PromotionId,
        now: Stamp,
    ) -> Result<()> {
        let sql = "INSERT INTO publication (tag, revision, snapshot, content, promotion, by_whom, at)
                   SELECT $1, $2, id, content, $4, $5, $6 FROM snapshot WHERE id = $3";
        let (snapshot, promotion) = (approved.snapshot().to_string(), promotion.to_string());
        execute!(self, sql, &repo.tag, repo.revision, snapshot, promotion, approved.by(), now.millis())?;
        Ok(())
    }

    /// Was exactly this content ever public in this repo?
    ///
    /// # Errors
    /// When the database fails.
    pub async fn was_published(&mut self, tag: &str, content: &Digest) -> Result<bool> {
        let sql = "SELECT revision FROM publication WHERE tag = $1 AND content = $2 LIMIT 1";
        Ok(fetch!(fetch_optional, self, (i64,), sql, tag, content.as_str())?.is_some())
    }

    /// The last moves of a repo's pointer, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn publications(&mut self, tag: &str, limit: u32) -> Result<Vec<Publication>> {
        let sql =
            "SELECT tag, revision, snapshot, content, promotion, by_whom, at FROM publication WHERE tag = $1
                   ORDER BY revision DESC LIMIT $2";
        fetch!(fetch_all, self, Row, sql, tag, i64::from(limit))?.into_iter().map(publication).collect()
    }

    /// Every move of a pointer to this snapshot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn publications_of(&mut self, snapshot: SnapshotId) -> Result<Vec<Publication>> {
        let sql = "SELECT tag, revision, snapshot, content, promotion, by_whom, at FROM publication WHERE snapshot = $1
                   ORDER BY tag, revision";
        fetch!(fetch_all, self, Row, sql, snapshot.to_string())?.into_iter().map(publication).collect()
    }

    /// When another snapshot last took the place of this one in a public repo; `None` when none did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn replaced(&mut self, snapshot: SnapshotId) -> Result<Option<Stamp>> {
        let sql = "SELECT MAX(n.at) FROM publication p JOIN publication n ON n.tag = p.tag AND n.revision = p.revision + 1
                   WHERE p.snapshot = $1";
        let (at,) = fetch!(fetch_one, self, (Option<i64>,), sql, snapshot.to_string())?;
        Ok(at.map(Stamp::from_millis))
    }

    /// How many packages a snapshot has, without reading what is known of each; `None` when it is not in the ledger any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn packages_in(&mut self, snapshot: SnapshotId) -> Result<Option<usize>> {
        let sql = "SELECT doc FROM snapshot WHERE id = $1";
        let row = fetch!(fetch_optional, self, (String,), sql, snapshot.to_string())?;
        let counted = |(doc,): (String,)| {
            let Counted { members } = from_doc("snapshot", &doc)?;
            Ok(members.iter().map(|member| member.rpms.len()).sum())
        };
        row.map(counted).transpose()
    }
}

/// Of a snapshot only what is counted: a history has many, each of many thousand packages.
#[derive(serde::Deserialize)]
struct Counted {
    members: Vec<CountedMember>,
}

#[derive(serde::Deserialize)]
struct CountedMember {
    rpms: Vec<serde::de::IgnoredAny>,
}

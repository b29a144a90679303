//! What live repos were last tested on, the surroundings that results name by a digest, and what repos outside the farm were when
//! they were last looked at.

use std::collections::BTreeMap;

use super::{Kept, LedgerError, Result, Tx, execute, fetch, from_doc, kept, parsed, to_doc};
use crate::arch::Arch;
use crate::digest::Digest;
use crate::ids::SnapshotId;
use crate::recheck::{Surroundings, Watch};
use crate::stamp::Stamp;

/// An environment in which tests ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surrounding {
    /// What it consists of. Of repos outside, what they were when it was last met.
    pub around: Surroundings,
    /// When it was met for the first time.
    pub since: Stamp,
}

/// A repo outside the farm, when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// Its address, as templates have it.
    pub baseurl: String,
    /// For this architecture.
    pub arch: Arch,
    /// The digest of its `repomd.xml`.
    pub digest: Digest,
    /// Since when; [`Stamp::ZERO`] while it was never seen to change.
    pub changed: Stamp,
    /// When somebody last could look.
    pub seen: Stamp,
}

impl Tx {
    /// What is known of a live repo, if it was ever looked at.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn watch(&mut self, tag: &str) -> Result<Option<Kept<Watch>>> {
        let sql = "SELECT version, doc FROM recheck WHERE tag = $1";
        let row = fetch!(fetch_optional, self, (i64, String), sql, tag)?;
        Ok(kept("recheck", row.into_iter().collect())?.pop())
    }

    /// What is known of every live repo that was ever looked at, by tag.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn watches(&mut self) -> Result<Vec<Watch>> {
        let rows = fetch!(fetch_all, self, (i64, String), "SELECT version, doc FROM recheck ORDER BY tag")?;
        Ok(kept::<Watch>("recheck", rows)?.into_iter().map(|watch| watch.value).collect())
    }

    /// The live content of every repo that shows something, by tag.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn live_contents(&mut self) -> Result<BTreeMap<String, (SnapshotId, Digest)>> {
        let sql =
            "SELECT r.tag, s.id, s.content FROM repo r JOIN snapshot s ON s.id = r.current ORDER BY r.tag";
        let rows = fetch!(fetch_all, self, (String, String, String), sql)?;
        rows.into_iter()
            .map(|(tag, id, content)| Ok((tag, (parsed("repo", &id)?, parsed("snapshot", &content)?))))
            .collect()
    }

    /// Keeps what is known of a live repo, in place of `before`.
    ///
    /// # Errors
    /// [`LedgerError::LostRace`] when somebody else has looked meanwhile.
    pub async fn keep_watch(&mut self, before: Option<&Kept<Watch>>, next: &Watch) -> Result<()> {
        if let Some(before) = before {
            return self.advance_recheck(before.version, next).await;
        }
        let sql = "INSERT INTO recheck (tag, version, request, changed, doc) VALUES ($1, 0, $2, $3, $4)
                   ON CONFLICT (tag) DO NOTHING";
        let request = next.request.map(|id| id.to_string());
        let doc = to_doc("recheck", &next.tag, next)?;
        match execute!(self, sql, &next.tag, request, next.changed.millis(), doc)? {
            1 => Ok(()),
            _ => Err(LedgerError::LostRace { table: "recheck", id: next.tag.clone() }),
        }
    }

    /// Notes what an environment consists of, by the digest that results name it by.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_surroundings(
        &mut self,
        environment: &Digest,
        around: &Surroundings,
        now: Stamp,
    ) -> Result<()> {
        let sql = "INSERT INTO surrounding (environment, since, doc) VALUES ($1, $2, $3)
                   ON CONFLICT (environment) DO UPDATE SET doc = excluded.doc";
        execute!(
            self,
            sql,
            environment.as_str(),
            now.millis(),
            to_doc("surrounding", &environment.as_str(), around)?
        )?;
        Ok(())
    }

    /// What an environment consists of, if that was noted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn surroundings(&mut self, environment: &Digest) -> Result<Option<Surrounding>> {
        let sql = "SELECT since, doc FROM surrounding WHERE environment = $1";
        let row = fetch!(fetch_optional, self, (i64, String), sql, environment.as_str())?;
        row.map(|(since, doc)| {
            Ok(Surrounding { around: from_doc("surrounding", &doc)?, since: Stamp::from_millis(since) })
        })
        .transpose()
    }

    /// Notes what a repo outside the farm shows now. Says whether that is another state than the one before; the first look is
    /// no change.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_outside(
        &mut self,
        baseurl: &str,
        arch: Arch,
        digest: &Digest,
        now: Stamp,
    ) -> Result<bool> {
        self.lock(&format!("outside:{baseurl}")).await?;
        let known = self.outside_at(baseurl, arch).await?;
        let is_same = known.as_ref().is_some_and(|known| known.digest == *digest);
        let changed = match &known {
            None => Stamp::ZERO,
            Some(known) if is_same => known.changed,
            Some(_) => now,
        };
        let sql = "INSERT INTO outside (baseurl, arch, digest, changed, seen) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (baseurl, arch) DO UPDATE
                   SET digest = excluded.digest, changed = excluded.changed, seen = excluded.seen";
        execute!(self, sql, baseurl, arch.as_str(), digest.as_str(), changed.millis(), now.millis())?;
        Ok(known.is_some() && !is_same)
    }

    async fn outside_at(&mut self, baseurl: &str, arch: Arch) -> Result<Option<Outside>> {
        Ok(self.outside().await?.remove(&(baseurl.to_owned(), arch)))
    }

    /// Every repo outside the farm that was ever looked at, by address and architecture.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn outside(&mut self) -> Result<BTreeMap<(String, Arch), Outside>> {
        let sql = "SELECT baseurl, arch, digest, changed, seen FROM outside ORDER BY baseurl, arch";
        let rows = fetch!(fetch_all, self, (String, String, String, i64, i64), sql)?;
        rows.into_iter()
            .map(|(baseurl, arch, digest, changed, seen)| {
                let (arch, digest) = (parsed("outside", &arch)?, parsed("outside", &digest)?);
                let (changed, seen) = (Stamp::from_millis(changed), Stamp::from_millis(seen));
                Ok(((baseurl.clone(), arch), Outside { baseurl, arch, digest, changed, seen }))
            })
            .collect()
    }
}

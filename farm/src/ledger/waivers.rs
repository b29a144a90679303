//! What people say about content besides approving it: waivers, and builds they withdraw.

use std::collections::BTreeSet;

use super::{Kept, Result, Tx, execute, fetch, kept, parsed, to_doc};
use crate::gate::Waiver;
use crate::ids::{BuildId, WaiverId};
use crate::snapshot::Snapshot;
use crate::stamp::Stamp;

/// A build that must not be published any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// The build.
    pub build: BuildId,
    /// Who withdrew it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Stamp,
}

impl Tx {
    /// Keeps a waiver.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_waiver(&mut self, waiver: &Waiver) -> Result<()> {
        self.lock(&format!("gate:{}", waiver.target)).await?;
        let sql = "INSERT INTO waiver (id, version, target, doc) VALUES ($1, 0, $2, $3)";
        execute!(self, sql, waiver.id.to_string(), &waiver.target, to_doc("waiver", &waiver.id, waiver)?)?;
        Ok(())
    }

    /// A waiver.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiver(&mut self, id: WaiverId) -> Result<Option<Kept<Waiver>>> {
        let sql = "SELECT version, doc FROM waiver WHERE id = $1";
        let row = fetch!(fetch_optional, self, (i64, String), sql, id.to_string())?;
        Ok(kept("waiver", row.into_iter().collect())?.pop())
    }

    /// Every waiver ever given for a target, the oldest first; also those that are worth nothing any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waivers(&mut self, target: &str) -> Result<Vec<Waiver>> {
        let sql = "SELECT version, doc FROM waiver WHERE target = $1 ORDER BY id";
        let rows = fetch!(fetch_all, self, (i64, String), sql, target)?;
        Ok(kept::<Waiver>("waiver", rows)?.into_iter().map(|waiver| waiver.value).collect())
    }

    /// Takes a waiver back. It stays, for everybody to read.
    ///
    /// # Errors
    /// [`LedgerError::LostRace`](super::LedgerError::LostRace) when it was taken back meanwhile.
    pub async fn revoke_waiver(&mut self, waiver: &Kept<Waiver>, by: &str, now: Stamp) -> Result<()> {
        self.lock(&format!("gate:{}", waiver.target)).await?;
        let next = Waiver { revoked: Some((by.to_owned(), now)), ..waiver.value.clone() };
        self.advance_waiver(waiver.version, &next).await
    }

    /// Withdraws a build: it is not in its candidate tag any more, and the gate lets nothing through that it would newly be part
    /// of. Says whether it was not withdrawn before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn withdraw_build(
        &mut self,
        build: &crate::build::Build,
        candidate: &str,
        by: &str,
        reason: &str,
        now: Stamp,
    ) -> Result<bool> {
        self.lock(&format!("gate:{}", build.target)).await?;
        let sql = "INSERT INTO withdrawal (build, by_whom, reason, at) VALUES ($1, $2, $3, $4) ON CONFLICT (build) DO NOTHING";
        let id = build.id.to_string();
        let is_new = execute!(self, sql, &id, by, reason, now.millis())? == 1;
        let untag = "DELETE FROM membership WHERE tag = $1 AND build = $2";
        if execute!(self, untag, candidate, &id)? > 0 {
            self.want_compose(candidate).await?;
        }
        Ok(is_new)
    }

    /// Why a build was withdrawn, if it was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn withdrawal(&mut self, build: BuildId) -> Result<Option<Withdrawal>> {
        let sql = "SELECT by_whom, reason, at FROM withdrawal WHERE build = $1";
        let row = fetch!(fetch_optional, self, (String, String, i64), sql, build.to_string())?;
        Ok(row.map(|(by, reason, at)| Withdrawal { build, by, reason, at: Stamp::from_millis(at) }))
    }

    /// Those of a snapshot's builds that were withdrawn.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn withdrawn_of(&mut self, snapshot: &Snapshot) -> Result<BTreeSet<BuildId>> {
        let rows = fetch!(fetch_all, self, (String,), "SELECT build FROM withdrawal ORDER BY build")?;
        let all =
            rows.into_iter().map(|(id,)| parsed("withdrawal", &id)).collect::<Result<BTreeSet<BuildId>>>()?;
        Ok(snapshot.members.iter().map(|member| member.build).filter(|build| all.contains(build)).collect())
    }
}

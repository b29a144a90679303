//! Promotions.

use super::{Kept, LedgerError, Result, Tx, counted, execute, fetch, kept, to_doc};
use crate::ids::PromotionId;
use crate::promotion::{Promotion, PromotionEvent, PromotionState};
use crate::stamp::Stamp;

/// Which promotions to list. `None` means all.
#[derive(Debug, Clone, Default)]
pub struct PromotionFilter {
    /// Of this SIG.
    pub sig: Option<String>,
    /// Of this target.
    pub target: Option<String>,
    /// Settled ones, or unsettled ones.
    pub settled: Option<bool>,
    /// Older than this one: for paging.
    pub before: Option<PromotionId>,
    /// At most this many.
    pub limit: u32,
}

impl Tx {
    /// Waits until nobody else opens a promotion for this target, and keeps it so until the transaction ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lock_promotions(&mut self, target: &str) -> Result<()> {
        self.lock(&format!("promotions:{target}")).await
    }

    /// Opens a promotion.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_promotion(&mut self, promotion: &Promotion) -> Result<()> {
        let sql = "INSERT INTO promotion (id, version, sig, target, stage, settled, doc) VALUES ($1, 0, $2, $3, $4, $5, $6)";
        execute!(
            self,
            sql,
            promotion.id.to_string(),
            &promotion.sig,
            &promotion.target,
            promotion.to.as_str(),
            i64::from(promotion.is_settled()),
            to_doc("promotion", &promotion.id, promotion)?,
        )?;
        self.note_promotion(promotion, 0, promotion.created).await
    }

    /// A promotion.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn promotion(&mut self, id: PromotionId) -> Result<Option<Kept<Promotion>>> {
        let sql = "SELECT version, doc FROM promotion WHERE id = $1";
        let row = fetch!(fetch_optional, self, (i64, String), sql, id.to_string())?;
        Ok(kept("promotion", row.into_iter().collect())?.pop())
    }

    /// Every unsettled promotion, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unsettled_promotions(&mut self) -> Result<Vec<Promotion>> {
        let sql = "SELECT version, doc FROM promotion WHERE settled = 0 ORDER BY id";
        values(fetch!(fetch_all, self, (i64, String), sql)?)
    }

    /// Every unsettled promotion of a target, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unsettled_of(&mut self, target: &str) -> Result<Vec<Promotion>> {
        let sql = "SELECT version, doc FROM promotion WHERE settled = 0 AND target = $1 ORDER BY id";
        values(fetch!(fetch_all, self, (i64, String), sql, target)?)
    }

    /// Every promotion that the gate has let through and that is not published yet, oldest first: of each repo there is one, or
    /// two when one of them goes back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn approved_promotions(&mut self) -> Result<Vec<Promotion>> {
        let mut approved = self.unsettled_promotions().await?;
        approved.retain(|promotion| matches!(promotion.state, PromotionState::Approved { .. }));
        Ok(approved)
    }

    /// Promotions, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn promotions(&mut self, filter: &PromotionFilter) -> Result<Vec<Promotion>> {
        let sql = "SELECT version, doc FROM promotion
                   WHERE (CAST($1 AS TEXT) IS NULL OR sig = $1) AND (CAST($2 AS TEXT) IS NULL OR target = $2)
                     AND (CAST($3 AS BIGINT) IS NULL OR settled = $3) AND (CAST($4 AS TEXT) IS NULL OR id < $4)
                   ORDER BY id DESC LIMIT $5";
        let rows = fetch!(
            fetch_all,
            self,
            (i64, String),
            sql,
            filter.sig.as_deref(),
            filter.target.as_deref(),
            filter.settled.map(i64::from),
            filter.before.map(|id| id.to_string()),
            i64::from(filter.limit),
        )?;
        values(rows)
    }

    /// Takes a promotion one step on: the one way a promotion changes.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when the event does not fit its state, [`LedgerError::LostRace`] when it changed meanwhile.
    pub async fn step_promotion(
        &mut self,
        before: &Kept<Promotion>,
        event: PromotionEvent,
        now: Stamp,
    ) -> Result<Promotion> {
        let next = before.on(event, now).map_err(|refused| LedgerError::Refused(refused.to_string()))?;
        self.advance_promotion(before.version, &next).await?;
        self.note_promotion(&next, before.version + 1, now).await?;
        counted::promotion(&next, now);
        Ok(next)
    }
}

fn values(rows: Vec<(i64, String)>) -> Result<Vec<Promotion>> {
    Ok(kept("promotion", rows)?.into_iter().map(|promotion: Kept<Promotion>| promotion.value).collect())
}

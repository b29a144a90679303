//! The one writer of state. Every function names the version its caller has seen: exactly one row changes, or the
//! change did not happen and the caller hears of the lost race.

use super::{Kept, LedgerError, Repo, Result, Tx, execute, to_doc};
use crate::gate::Waiver;
use crate::job::{Job, JobState};
use crate::promotion::Promotion;
use crate::recheck::Watch;
use crate::request::Request;
use crate::sig::Sig;
use crate::stamp::Stamp;

fn one_row(changed: u64, table: &'static str, id: &impl ToString) -> Result<()> {
    if changed == 1 { Ok(()) } else { Err(LedgerError::LostRace { table, id: id.to_string() }) }
}

impl Tx {
    pub(super) async fn advance_job(&mut self, version: i64, next: &Job) -> Result<()> {
        let sql =
            "UPDATE job SET version = version + 1, phase = $3, due = $4, builder = $5, avoid = $6, began = $7, doc = $8
                   WHERE id = $1 AND version = $2";
        let holder = if matches!(next.state, JobState::Done { .. }) { None } else { next.builder() };
        let changed = execute!(
            self,
            sql,
            next.id.to_string(),
            version,
            next.phase(),
            next.due().map(Stamp::millis),
            holder,
            super::jobs::avoided(next),
            next.began().map(Stamp::millis),
            to_doc("job", &next.id, next)?,
        )?;
        one_row(changed, "job", &next.id)
    }

    pub(super) async fn advance_request(&mut self, version: i64, next: &Request) -> Result<()> {
        let sql = "UPDATE request SET version = version + 1, open = $3, expires = $4, doc = $5
                   WHERE id = $1 AND version = $2";
        let changed = execute!(
            self,
            sql,
            next.id.to_string(),
            version,
            i64::from(next.closed.is_none()),
            super::requests::expires(next),
            to_doc("request", &next.id, next)?,
        )?;
        one_row(changed, "request", &next.id)
    }

    pub(super) async fn advance_promotion(&mut self, version: i64, next: &Promotion) -> Result<()> {
        let sql = "UPDATE promotion SET version = version + 1, settled = $3, doc = $4 WHERE id = $1 AND version = $2";
        let changed = execute!(
            self,
            sql,
            next.id.to_string(),
            version,
            i64::from(next.is_settled()),
            to_doc("promotion", &next.id, next)?,
        )?;
        one_row(changed, "promotion", &next.id)
    }

    pub(super) async fn advance_waiver(&mut self, version: i64, next: &Waiver) -> Result<()> {
        let sql = "UPDATE waiver SET version = version + 1, doc = $3 WHERE id = $1 AND version = $2";
        let changed = execute!(self, sql, next.id.to_string(), version, to_doc("waiver", &next.id, next)?)?;
        one_row(changed, "waiver", &next.id)
    }

    pub(super) async fn advance_recheck(&mut self, version: i64, next: &Watch) -> Result<()> {
        let sql = "UPDATE recheck SET version = version + 1, request = $3, changed = $4, doc = $5
                   WHERE tag = $1 AND version = $2";
        let changed = execute!(
            self,
            sql,
            &next.tag,
            version,
            next.request.map(|id| id.to_string()),
            next.changed.millis(),
            to_doc("recheck", &next.tag, next)?,
        )?;
        one_row(changed, "recheck", &next.tag)
    }

    pub(super) async fn advance_repo(&mut self, before: &Kept<Repo>, next: &Repo) -> Result<()> {
        let sql =
            "UPDATE repo SET version = version + 1, current = $3, revision = $4, wanted = $5, composed = $6
                   WHERE tag = $1 AND version = $2";
        let changed = execute!(
            self,
            sql,
            &next.tag,
            before.version,
            next.current.map(|id| id.to_string()),
            next.revision,
            next.wanted,
            next.composed,
        )?;
        one_row(changed, "repo", &next.tag)
    }

    pub(super) async fn advance_sig(
        &mut self,
        version: i64,
        next: &Sig,
        template: &str,
        by: &str,
        now: Stamp,
    ) -> Result<()> {
        let sql =
            "UPDATE sig SET version = version + 1, applied_at = $3, applied_by = $4, template = $5, doc = $6
                   WHERE name = $1 AND version = $2";
        let changed = execute!(
            self,
            sql,
            &next.name,
            version,
            now.millis(),
            by,
            template,
            to_doc("sig", &next.name, next)?
        )?;
        one_row(changed, "sig", &next.name)
    }
}

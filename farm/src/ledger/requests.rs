//! Requests, and the pushes they come from.

use super::{Kept, Result, Tx, counted, execute, fetch, kept, parsed, to_doc};
use crate::ids::RequestId;
use crate::request::{Closed, Request, RequestKind, Source};
use crate::stamp::Stamp;

/// Which requests to list. `None` means all.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    /// Of this SIG.
    pub sig: Option<String>,
    /// Of this package.
    pub package: Option<String>,
    /// Of this target.
    pub target: Option<String>,
    /// Of this kind: `push`, `build`, `scratch`, `test`, `check`.
    pub kind: Option<String>,
    /// Asked for by this person.
    pub by: Option<String>,
    /// Open ones, or closed ones.
    pub open: Option<bool>,
    /// Older than this one: for paging.
    pub before: Option<RequestId>,
    /// At most this many.
    pub limit: u32,
}

/// What is known of a commit of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSeen {
    /// The request that came of it; `None` when nothing is built from it.
    pub request: Option<RequestId>,
    /// What the pusher was told.
    pub note: String,
}

/// When a request's results are to be removed, as the `expires` column has it. Nothing is removed while it runs.
pub(super) fn expires(request: &Request) -> Option<i64> {
    match (&request.kind, &request.closed) {
        (RequestKind::Scratch { expires }, Some(_)) => Some(expires.millis()),
        (RequestKind::Scratch { .. }, None)
        | (
            RequestKind::Push { .. }
            | RequestKind::Build
            | RequestKind::Test { .. }
            | RequestKind::Check { .. },
            _,
        ) => None,
    }
}

impl Tx {
    /// Takes in a new request.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_request(&mut self, request: &Request) -> Result<()> {
        let sql =
            "INSERT INTO request (id, version, sig, target, package, kind, asked_by, open, expires, doc, chain)
                   VALUES ($1, 0, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        execute!(
            self,
            sql,
            request.id.to_string(),
            &request.sig,
            &request.target,
            &request.package,
            request.kind.label(),
            &request.by,
            i64::from(request.closed.is_none()),
            expires(request),
            to_doc("request", &request.id, request)?,
            request.chain.map(|link| link.id.to_string()),
        )?;
        let input = match &request.source {
            Source::Git { tree, .. } => tree.as_ref(),
            Source::Srpm { srpm } => Some(srpm),
            Source::Snapshot => None,
        };
        if let Some(input) = input {
            self.hold(&format!("request:{}", request.id), &input.digest).await?;
        }
        self.note_request(request, 0, request.created).await
    }

    /// A request.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn request(&mut self, id: RequestId) -> Result<Option<Kept<Request>>> {
        let row = fetch!(
            fetch_optional,
            self,
            (i64, String),
            "SELECT version, doc FROM request WHERE id = $1",
            id.to_string()
        )?;
        Ok(kept("request", row.into_iter().collect())?.pop())
    }

    /// Every open request, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_requests(&mut self) -> Result<Vec<RequestId>> {
        let rows = fetch!(fetch_all, self, (String,), "SELECT id FROM request WHERE open = 1 ORDER BY id")?;
        rows.into_iter().map(|(id,)| parsed("request", &id)).collect()
    }

    /// Open requests that may be taken a step on, oldest first: all but those that have jobs of which none has ended. Looking
    /// costs little however long the backlog is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn movable_requests(&mut self) -> Result<Vec<RequestId>> {
        let sql = "SELECT r.id FROM request r WHERE r.open = 1
                   AND (NOT EXISTS (SELECT 1 FROM job j WHERE j.request = r.id AND j.phase <> 'done')
                        OR EXISTS (SELECT 1 FROM job j WHERE j.request = r.id AND j.phase = 'done')) ORDER BY r.id";
        let rows = fetch!(fetch_all, self, (String,), sql)?;
        rows.into_iter().map(|(id,)| parsed("request", &id)).collect()
    }

    /// Requests, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn requests(&mut self, filter: &RequestFilter) -> Result<Vec<Request>> {
        let sql = "SELECT version, doc FROM request
                   WHERE (CAST($1 AS TEXT) IS NULL OR sig = $1) AND (CAST($2 AS TEXT) IS NULL OR package = $2)
                     AND (CAST($3 AS TEXT) IS NULL OR target = $3) AND (CAST($4 AS TEXT) IS NULL OR kind = $4)
                     AND (CAST($5 AS TEXT) IS NULL OR asked_by = $5) AND (CAST($6 AS BIGINT) IS NULL OR open = $6)
                     AND (CAST($7 AS TEXT) IS NULL OR id < $7)
                   ORDER BY id DESC LIMIT $8";
        let rows = fetch!(
            fetch_all,
            self,
            (i64, String),
            sql,
            filter.sig.as_deref(),
            filter.package.as_deref(),
            filter.target.as_deref(),
            filter.kind.as_deref(),
            filter.by.as_deref(),
            filter.open.map(i64::from),
            filter.before.map(|id| id.to_string()),
            i64::from(filter.limit),
        )?;
        Ok(kept::<Request>("request", rows)?.into_iter().map(|request| request.value).collect())
    }

    /// Waits until nobody else plans, imports, cancels or closes this request, and keeps it so until the transaction ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lock_request(&mut self, id: RequestId) -> Result<()> {
        self.lock(&format!("request:{id}")).await
    }

    /// Closes a request for ever.
    ///
    /// # Errors
    /// [`super::LedgerError::LostRace`] when somebody else changed it meanwhile.
    pub async fn close_request(&mut self, before: &Kept<Request>, closed: Closed) -> Result<()> {
        let next = Request { closed: Some(closed.clone()), ..before.value.clone() };
        self.advance_request(before.version, &next).await?;
        counted::request(before, &closed);
        self.note_request(&next, before.version + 1, closed.at).await
    }

    /// Closed scratch requests whose results are due to be removed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expired(&mut self, now: Stamp) -> Result<Vec<RequestId>> {
        let sql = "SELECT r.id FROM request r WHERE r.expires <= $1 AND r.open = 0
                   AND (EXISTS (SELECT 1 FROM artifact a JOIN job j ON j.id = a.job WHERE j.request = r.id)
                        OR EXISTS (SELECT 1 FROM holding h WHERE h.holder = 'request:' || r.id)) ORDER BY r.id";
        let rows = fetch!(fetch_all, self, (String,), sql, now.millis())?;
        rows.into_iter().map(|(id,)| parsed("request", &id)).collect()
    }

    /// Notes that a commit of a branch was taken in. `false` when it was before: then nothing may be done about it again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_push(
        &mut self,
        repo: &str,
        branch: &str,
        commit: &str,
        request: Option<RequestId>,
        note: &str,
        now: Stamp,
    ) -> Result<bool> {
        let sql =
            "INSERT INTO push (repo, branch, commit_id, request, note, at) VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (repo, branch, commit_id) DO NOTHING";
        let added =
            execute!(self, sql, repo, branch, commit, request.map(|id| id.to_string()), note, now.millis())?;
        Ok(added == 1)
    }

    /// What was made of a commit of a branch, if it was taken in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn push_seen(&mut self, repo: &str, branch: &str, commit: &str) -> Result<Option<PushSeen>> {
        let sql = "SELECT request, note FROM push WHERE repo = $1 AND branch = $2 AND commit_id = $3";
        let row = fetch!(fetch_optional, self, (Option<String>, String), sql, repo, branch, commit)?;
        row.map(|(request, note)| {
            Ok(PushSeen { request: request.map(|id| parsed("push", &id)).transpose()?, note })
        })
        .transpose()
    }
}

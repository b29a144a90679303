//! Imported builds and the candidate tags that hold them.

use super::{LedgerError, Result, Tx, execute, fetch, from_doc, to_doc};
use crate::build::Build;
use crate::ids::{BuildId, RequestId};
use crate::stamp::Stamp;

/// Which builds to list. `None` means all.
#[derive(Debug, Clone, Default)]
pub struct BuildFilter {
    /// Of this package.
    pub package: Option<String>,
    /// For this target.
    pub target: Option<String>,
    /// At most this many.
    pub limit: u32,
}

impl Tx {
    /// Imports a build. `false` when a build of this NVR exists already, or this request was imported before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_build(&mut self, build: &Build) -> Result<bool> {
        let sql = "INSERT INTO build (id, nvr, package, sig, target, request, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)
                   ON CONFLICT DO NOTHING";
        let added = execute!(
            self,
            sql,
            build.id.to_string(),
            build.nvr.to_string(),
            &build.nvr.name,
            &build.sig,
            &build.target,
            build.request.to_string(),
            to_doc("build", &build.id, build)?,
        )?;
        if added == 1 {
            for rpm in &build.rpms {
                self.hold(&format!("build:{}", build.id), &rpm.digest).await?;
            }
        }
        Ok(added == 1)
    }

    /// A build.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn build(&mut self, id: BuildId) -> Result<Option<Build>> {
        let row =
            fetch!(fetch_optional, self, (String,), "SELECT doc FROM build WHERE id = $1", id.to_string())?;
        row.map(|(doc,)| from_doc("build", &doc)).transpose()
    }

    /// The build of this NVR.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn build_by_nvr(&mut self, nvr: &str) -> Result<Option<Build>> {
        let row = fetch!(fetch_optional, self, (String,), "SELECT doc FROM build WHERE nvr = $1", nvr)?;
        row.map(|(doc,)| from_doc("build", &doc)).transpose()
    }

    /// The build a request made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn build_of(&mut self, request: RequestId) -> Result<Option<Build>> {
        let sql = "SELECT doc FROM build WHERE request = $1";
        let row = fetch!(fetch_optional, self, (String,), sql, request.to_string())?;
        row.map(|(doc,)| from_doc("build", &doc)).transpose()
    }

    /// Builds, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builds(&mut self, filter: &BuildFilter) -> Result<Vec<Build>> {
        let sql = "SELECT doc FROM build
                   WHERE (CAST($1 AS TEXT) IS NULL OR package = $1) AND (CAST($2 AS TEXT) IS NULL OR target = $2)
                   ORDER BY id DESC LIMIT $3";
        let rows = fetch!(
            fetch_all,
            self,
            (String,),
            sql,
            filter.package.as_deref(),
            filter.target.as_deref(),
            i64::from(filter.limit)
        )?;
        rows.into_iter().map(|(doc,)| from_doc("build", &doc)).collect()
    }

    /// Puts a build into a candidate tag, in place of an older one of its package, and asks for the repo to be composed.
    ///
    /// # Errors
    /// When the database fails, or the tag is no candidate tag: others are filled by promotion alone.
    pub async fn tag_build(&mut self, tag: &str, build: &Build, now: Stamp) -> Result<()> {
        if !tag.ends_with("-candidate") {
            return Err(LedgerError::Refused(format!("builds enter {tag} by promotion, not by tagging")));
        }
        let sql = "INSERT INTO membership (tag, package, build, at) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (tag, package) DO UPDATE SET build = excluded.build, at = excluded.at";
        execute!(self, sql, tag, &build.nvr.name, build.id.to_string(), now.millis())?;
        self.want_compose(tag).await
    }

    /// The builds a candidate tag holds, by package.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tagged(&mut self, tag: &str) -> Result<Vec<Build>> {
        let sql = "SELECT b.doc FROM membership m JOIN build b ON b.id = m.build WHERE m.tag = $1 ORDER BY m.package";
        let rows = fetch!(fetch_all, self, (String,), sql, tag)?;
        rows.into_iter().map(|(doc,)| from_doc("build", &doc)).collect()
    }
}

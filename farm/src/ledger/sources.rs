//! What sources require and packages provide: what chains order themselves by.

use std::collections::{BTreeMap, BTreeSet};

use super::{LedgerError, Result, Tx, execute, fetch, from_doc, parsed, to_doc};
use crate::chain::{Before, SourceFacts};
use crate::ids::{BuildId, ChainId, RequestId};
use crate::request::Request;

/// Ids of the requests that others may have to wait for: open pushes and builds, everything in a chain that is not over,
/// and everything in the chain `$1`.
macro_rules! concerned {
    () => {
        "SELECT id FROM request WHERE open = 1 AND kind IN ('push', 'build')
         UNION SELECT id FROM request WHERE chain IN (SELECT chain FROM request WHERE open = 1 AND chain IS NOT NULL)
         UNION SELECT id FROM request WHERE chain = $1"
    };
}

/// A request that others may have to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concerned {
    /// It.
    pub request: Request,
    /// What its source RPM says, once that is read.
    pub source: Option<SourceFacts>,
    /// Are its builds planned? The first job makes the source RPM, all others are builds.
    pub planned: bool,
}

impl Tx {
    /// Keeps what a request's source RPM says; once kept it stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_source(&mut self, request: RequestId, facts: &SourceFacts) -> Result<()> {
        let sql = "INSERT INTO source (request, doc) VALUES ($1, $2) ON CONFLICT (request) DO NOTHING";
        execute!(self, sql, request.to_string(), to_doc("source", &request, facts)?)?;
        Ok(())
    }

    /// What a request's source RPM says, if it was read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn source(&mut self, request: RequestId) -> Result<Option<SourceFacts>> {
        let sql = "SELECT doc FROM source WHERE request = $1";
        let row = fetch!(fetch_optional, self, (String,), sql, request.to_string())?;
        row.map(|(doc,)| from_doc("source", &doc)).transpose()
    }

    /// Keeps the names an imported build provides.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_provides(&mut self, build: BuildId, names: &BTreeSet<String>) -> Result<()> {
        let sql = "INSERT INTO provide (build, name) VALUES ($1, $2) ON CONFLICT (build, name) DO NOTHING";
        for name in names {
            execute!(self, sql, build.to_string(), name)?;
        }
        Ok(())
    }

    /// The imported builds that provide a name, in whatever repo they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn providers(&mut self, name: &str) -> Result<Vec<BuildId>> {
        let rows = fetch!(
            fetch_all,
            self,
            (String,),
            "SELECT build FROM provide WHERE name = $1 ORDER BY build",
            name
        )?;
        rows.into_iter().map(|(build,)| parsed("provide", &build)).collect()
    }

    /// The members of a chain, in the order they were asked for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn chain(&mut self, id: ChainId) -> Result<Vec<Request>> {
        let sql = "SELECT doc FROM request WHERE chain = $1 ORDER BY id";
        let rows = fetch!(fetch_all, self, (String,), sql, id.to_string())?;
        rows.into_iter().map(|(doc,)| from_doc("request", &doc)).collect()
    }

    /// Everything that others may have to wait for: open pushes and builds, what belongs to a chain of which something
    /// is open, and all of `chain`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn concerned(&mut self, chain: Option<ChainId>) -> Result<Vec<Concerned>> {
        let sql = concat!(
            "SELECT r.doc, s.doc, (SELECT COUNT(*) FROM job j WHERE j.request = r.id)
             FROM request r LEFT JOIN source s ON s.request = r.id WHERE r.id IN (",
            concerned!(),
            ") ORDER BY r.id"
        );
        let chain = chain.map(|id| id.to_string());
        let rows = fetch!(fetch_all, self, (String, Option<String>, i64), sql, chain)?;
        rows.into_iter()
            .map(|(request, source, jobs)| {
                Ok(Concerned {
                    request: from_doc("request", &request)?,
                    source: source.map(|doc| from_doc("source", &doc)).transpose()?,
                    planned: jobs > 1,
                })
            })
            .collect()
    }

    /// What a candidate tag holds now of the packages that [`Tx::concerned`] is about.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn before(&mut self, tag: &str, chain: Option<ChainId>) -> Result<BTreeMap<String, Before>> {
        let chain = chain.map(|id| id.to_string());
        let sql = concat!(
            "SELECT m.package, s.doc FROM membership m JOIN build b ON b.id = m.build
             LEFT JOIN source s ON s.request = b.request
             WHERE m.tag = $2 AND m.package IN (SELECT package FROM request WHERE id IN (",
            concerned!(),
            "))"
        );
        let mut held: BTreeMap<String, Before> = BTreeMap::new();
        for (package, doc) in fetch!(fetch_all, self, (String, Option<String>), sql, &chain, tag)? {
            let source = doc.map(|doc| from_doc::<SourceFacts>("source", &doc)).transpose()?;
            let requires = source.map(|source| source.requires).unwrap_or_default();
            held.insert(package, Before { provides: BTreeSet::new(), requires });
        }
        let sql = concat!(
            "SELECT m.package, p.name FROM membership m JOIN provide p ON p.build = m.build
             WHERE m.tag = $2 AND m.package IN (SELECT package FROM request WHERE id IN (",
            concerned!(),
            "))"
        );
        for (package, name) in fetch!(fetch_all, self, (String, String), sql, &chain, tag)? {
            held.entry(package).or_default().provides.insert(name);
        }
        Ok(held)
    }

    /// The builds a tag's repo shows now, by their ids.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] when its live snapshot is gone; or when the database fails.
    pub async fn shown(&mut self, tag: &str) -> Result<BTreeSet<BuildId>, LedgerError> {
        let live = self.live(tag).await?;
        Ok(live.iter().flat_map(|live| &live.members).map(|member| member.build).collect())
    }
}

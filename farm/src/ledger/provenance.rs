//! What provenance is made of, and finding the build that a package is of.

use super::{Result, Tx, fetch, from_doc, parsed};
use crate::build::Build;
use crate::digest::Digest;
use crate::ids::BuildId;
use crate::provenance::{Facts, KnownHash, Made};

impl Tx {
    /// What the provenance of a build is made of; `None` when there is no such build, or the request it came from is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn provenance(&mut self, id: BuildId) -> Result<Option<Facts>> {
        let Some(build) = self.build(id).await? else { return Ok(None) };
        let Some(request) = self.request(build.request).await? else { return Ok(None) };
        let mut jobs = Vec::new();
        for job in self.jobs_of(build.request).await? {
            let made = self.artifacts_of(job.id, job.turn).await?;
            let made = made.into_iter().map(|file| Made { name: file.name, digest: file.digest }).collect();
            jobs.push((job, made));
        }
        // What was uploaded again later, under another kind of hash, was not known when it was built.
        let sql = "SELECT digest, kind, hash FROM lookaside WHERE package = $1 AND at <= $2 ORDER BY digest, kind, hash";
        let (package, until) = (&request.package, build.imported.millis());
        let hash = |(digest, kind, hash): (String, String, String)| {
            Ok(KnownHash { digest: parsed("lookaside", &digest)?, kind, hash })
        };
        let hashes = fetch!(fetch_all, self, (String, String, String), sql, package, until)?;
        let hashes = hashes.into_iter().map(hash).collect::<Result<_>>()?;
        Ok(Some(Facts { request: request.value, build, jobs, hashes }))
    }

    /// The builds that have an RPM with this body, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builds_with_body(&mut self, body: &Digest) -> Result<Vec<Build>> {
        let mut found = self.builds_mentioning(body.as_str()).await?;
        found.retain(|build| build.rpms.iter().any(|rpm| rpm.body == *body));
        Ok(found)
    }

    /// The builds that have an RPM whose file is called so, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builds_with_file(&mut self, file: &str) -> Result<Vec<Build>> {
        let mut found = self.builds_mentioning(file).await?;
        found.retain(|build| build.rpms.iter().any(|rpm| rpm.file == file));
        Ok(found)
    }

    /// Builds in whose row these words stand. It reads every row: people ask for it, one at a time.
    async fn builds_mentioning(&mut self, words: &str) -> Result<Vec<Build>> {
        let sql = "SELECT doc FROM build WHERE doc LIKE '%' || $1 || '%' ORDER BY id DESC";
        let rows = fetch!(fetch_all, self, (String,), sql, words)?;
        rows.into_iter().map(|(doc,)| from_doc("build", &doc)).collect()
    }
}

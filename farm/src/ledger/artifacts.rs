//! What jobs produced, what people uploaded, and which blobs of the artifact store are needed by whom.

use super::{LedgerError, Result, Tx, execute, fetch, parsed, size_in, size_out};
use crate::digest::Digest;
use crate::ids::{JobId, RequestId};
use crate::stamp::Stamp;

/// A file a job produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub turn: u32,
    /// Its file name.
    pub name: String,
    /// Its SHA-256, under which the artifact store keeps it.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A file in the lookaside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookasideFile {
    /// Its SHA-256, under which the artifact store keeps it.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Tx {
    /// Notes that something needs a blob.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hold(&mut self, holder: &str, digest: &Digest) -> Result<()> {
        let sql =
            "INSERT INTO holding (holder, digest) VALUES ($1, $2) ON CONFLICT (holder, digest) DO NOTHING";
        execute!(self, sql, holder, digest.as_str())?;
        Ok(())
    }

    /// Is the blob needed by anything?
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_held(&mut self, digest: &Digest) -> Result<bool> {
        let sql = "SELECT COUNT(*) FROM holding WHERE digest = $1";
        let (count,) = fetch!(fetch_one, self, (i64,), sql, digest.as_str())?;
        Ok(count > 0)
    }

    /// Forgets the files of a request and its jobs. Gives the blobs that nothing needs any more, for the caller to remove.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_files_of(&mut self, request: RequestId) -> Result<Vec<Digest>> {
        let id = request.to_string();
        let sql = "SELECT digest FROM holding
                   WHERE holder = 'request:' || $1 OR holder IN (SELECT 'job:' || id FROM job WHERE request = $1)";
        let held = fetch!(fetch_all, self, (String,), sql, &id)?;
        let sql = "DELETE FROM holding
                   WHERE holder = 'request:' || $1 OR holder IN (SELECT 'job:' || id FROM job WHERE request = $1)";
        execute!(self, sql, &id)?;
        execute!(self, "DELETE FROM artifact WHERE job IN (SELECT id FROM job WHERE request = $1)", &id)?;
        let mut free = Vec::new();
        for (digest,) in held {
            let digest: Digest = parsed("holding", &digest)?;
            if !free.contains(&digest) && !self.is_held(&digest).await? {
                free.push(digest);
            }
        }
        Ok(free)
    }

    /// Notes a file an attempt produced. Repeating it with the same content changes nothing.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when the attempt has given other content under this name before.
    pub async fn put_artifact(&mut self, artifact: &Artifact, now: Stamp) -> Result<()> {
        let sql = "INSERT INTO artifact (job, turn, name, digest, size, at) VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (job, turn, name) DO NOTHING";
        let job = artifact.job.to_string();
        let turn = i64::from(artifact.turn);
        let digest = artifact.digest.as_str();
        let added =
            execute!(self, sql, &job, turn, &artifact.name, digest, size_in(artifact.size), now.millis())?;
        if added == 0 {
            let sql = "SELECT digest FROM artifact WHERE job = $1 AND turn = $2 AND name = $3";
            let (known,) = fetch!(fetch_one, self, (String,), sql, &job, turn, &artifact.name)?;
            if known != digest {
                return Err(LedgerError::Refused(format!(
                    "{} was uploaded before with other content",
                    artifact.name
                )));
            }
        }
        self.hold(&format!("job:{job}"), &artifact.digest).await
    }

    /// The files of one attempt, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn artifacts_of(&mut self, job: JobId, turn: u32) -> Result<Vec<Artifact>> {
        let sql = "SELECT name, digest, size FROM artifact WHERE job = $1 AND turn = $2 ORDER BY name";
        let rows = fetch!(fetch_all, self, (String, String, i64), sql, job.to_string(), i64::from(turn))?;
        rows.into_iter()
            .map(|(name, digest, size)| {
                Ok(Artifact { job, turn, name, digest: parsed("artifact", &digest)?, size: size_out(size) })
            })
            .collect()
    }

    /// Notes a file in the lookaside under one of its hashes.
    ///
    /// # Errors
    /// When the database fails.
    #[allow(clippy::too_many_arguments, reason = "they are the columns of one row")]
    pub async fn put_lookaside(
        &mut self,
        package: &str,
        file: &str,
        kind: &str,
        hash: &str,
        stored: &LookasideFile,
        by: &str,
        now: Stamp,
    ) -> Result<()> {
        let sql = "INSERT INTO lookaside (package, file, kind, hash, digest, size, uploaded_by, at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (package, file, kind, hash) DO NOTHING";
        let digest = stored.digest.as_str();
        execute!(self, sql, package, file, kind, hash, digest, size_in(stored.size), by, now.millis())?;
        self.hold("lookaside", &stored.digest).await
    }

    /// A file in the lookaside.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lookaside(
        &mut self,
        package: &str,
        file: &str,
        kind: &str,
        hash: &str,
    ) -> Result<Option<LookasideFile>> {
        let sql =
            "SELECT digest, size FROM lookaside WHERE package = $1 AND file = $2 AND kind = $3 AND hash = $4";
        let row = fetch!(fetch_optional, self, (String, i64), sql, package, file, kind, hash)?;
        row.map(|(digest, size)| {
            Ok(LookasideFile { digest: parsed("lookaside", &digest)?, size: size_out(size) })
        })
        .transpose()
    }
}

//! Keys that signers told of, what they have signed, and what they say of themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sqlx::AssertSqlSafe;

use super::pg::answered;
use super::{LedgerError, Result, Tx, execute, fetch, from_doc, parsed, size_in, size_out, to_doc};
use crate::build::Build;
use crate::digest::Digest;
use crate::ids::{BuildId, SnapshotId};
use crate::request::Request;
use crate::signing::{Endorsement, HeardSigner, SignedFile, SignerWord, SigningKey};
use crate::stamp::Stamp;

/// Of an endorsement what was decided; it is large.
#[derive(Deserialize)]
struct Decided {
    decision: String,
}

/// Rows that one statement asks for: both databases take far more, and what is left of the cost is in the rows.
const AT_ONCE: usize = 2_000;

type KeyRow = (String, String, String, String, i64, Option<i64>);

/// Asks for the rows whose key is in a list of any length. `$before` is the statement up to the list; the values of
/// `$first` come before it.
macro_rules! fetch_in {
    ($tx:expr, $row:ty, $before:literal, $after:literal, [$($first:expr),*], $keys:expr) => {{
        let mut found: Vec<$row> = Vec::new();
        let first = <[&str]>::len(&[$($first),*]);
        for chunk in $keys.chunks(AT_ONCE) {
            let places: Vec<String> = (1..=chunk.len()).map(|place| format!("${}", first + place)).collect();
            let sql = format!(concat!($before, " IN ({})", $after), places.join(", "));
            let rows = match &mut *$tx {
                Tx::Lite(tx) => {
                    let sql = unnamed(&sql);
                    let query = sqlx::query_as::<_, $row>(AssertSqlSafe(sql))$(.bind($first))*;
                    chunk.iter().fold(query, |query, key| query.bind(key.to_string())).fetch_all(&mut **tx).await?
                }
                Tx::Pg(tx) => {
                    let query = sqlx::query_as::<_, $row>(AssertSqlSafe(sql))$(.bind($first))*;
                    let query = chunk.iter().fold(query, |query, key| query.bind(key.to_string()));
                    answered(query.fetch_all(&mut **tx)).await?
                }
            };
            found.extend(rows);
        }
        found
    }};
}

/// The same statement with places that have no names, of which SQLite would look up each among all others. They stand in order.
fn unnamed(sql: &str) -> String {
    let mut parts = sql.split('$');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |sql, part| sql + "?" + part.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

impl Tx {
    /// Every key that was ever told of.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signing_keys(&mut self) -> Result<Vec<SigningKey>> {
        let sql = "SELECT fingerprint, purpose, sig, public, since, until FROM signing_key ORDER BY since, fingerprint";
        let key = |(fingerprint, purpose, sig, public, since, until): KeyRow| {
            Ok(SigningKey {
                purpose: parsed("signing_key", &purpose)?,
                fingerprint,
                sig,
                public,
                since: Stamp::from_millis(since),
                until: until.map(Stamp::from_millis),
            })
        };
        fetch!(fetch_all, self, KeyRow, sql)?.into_iter().map(key).collect()
    }

    /// Takes in what a signer tells of one of its keys. Only its times may change later. Says whether anything is new.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when the key was told of before as another one.
    pub async fn tell_key(&mut self, key: &SigningKey) -> Result<bool> {
        let (since, until) = (key.since.millis(), key.until.map(Stamp::millis));
        let sql = "INSERT INTO signing_key (fingerprint, purpose, sig, public, since, until) VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (fingerprint) DO UPDATE SET since = $5, until = $6
                   WHERE signing_key.purpose = $2 AND signing_key.sig = $3 AND signing_key.public = $4
                     AND (signing_key.since <> $5 OR COALESCE(signing_key.until, -1) <> COALESCE($6, -1))";
        let purpose = key.purpose.as_str();
        let changed = execute!(self, sql, &key.fingerprint, purpose, &key.sig, &key.public, since, until)?;
        let sql = "SELECT COUNT(*) FROM signing_key WHERE fingerprint = $1 AND purpose = $2 AND sig = $3 AND public = $4";
        let (same,) = fetch!(fetch_one, self, (i64,), sql, &key.fingerprint, purpose, &key.sig, &key.public)?;
        if same == 0 {
            return Err(LedgerError::Refused(format!(
                "key {} was told of before with another owner or purpose",
                key.fingerprint
            )));
        }
        Ok(changed > 0)
    }

    /// Notes the signed form of an RPM, which from then on is needed. Was there one by the same key before, that one counts.
    /// Gives the one that counts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_signed(&mut self, file: &SignedFile, now: Stamp) -> Result<SignedFile> {
        let sql = "INSERT INTO signed (body, fingerprint, digest, size, at) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (body, fingerprint) DO NOTHING";
        let (body, digest) = (file.body.as_str(), file.digest.as_str());
        if execute!(self, sql, body, &file.fingerprint, digest, size_in(file.size), now.millis())? == 1 {
            self.hold(&format!("signed:{body}"), &file.digest).await?;
            return Ok(file.clone());
        }
        let mut known = self.signed_by(&file.fingerprint, std::slice::from_ref(&file.body)).await?;
        known.remove(&file.body).ok_or_else(|| LedgerError::LostRace { table: "signed", id: body.to_owned() })
    }

    /// The signed forms by this key of the RPMs with these body digests, as far as there are some.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signed_by(
        &mut self,
        fingerprint: &str,
        bodies: &[Digest],
    ) -> Result<BTreeMap<Digest, SignedFile>> {
        let mut wanted: BTreeSet<&Digest> = bodies.iter().collect();
        let each_once: Vec<&Digest> = wanted.iter().copied().collect();
        // Whole repos are asked for: ten thousand rows, one by one, take longer to come than to be found.
        let rows = fetch_in!(
            self,
            (Option<String>,),
            "SELECT string_agg(body || ' ' || digest || ' ' || CAST(size AS TEXT), ',') FROM signed
             WHERE fingerprint = $1 AND body",
            "",
            [fingerprint],
            each_once
        );
        let mut files = BTreeMap::new();
        for row in rows.iter().flat_map(|(rows,)| rows.as_deref()).flat_map(|rows| rows.split(',')) {
            let corrupt = |why: &str| {
                let (id, why) = (row.chars().take(200).collect(), why.to_owned());
                LedgerError::Corrupt { table: "signed", id, why }
            };
            let [body, digest, size] = row.split(' ').collect::<Vec<_>>()[..] else {
                return Err(corrupt("it is no digest, digest and size"));
            };
            let (body, digest) = (parsed::<Digest>("signed", body)?, parsed("signed", digest)?);
            if !wanted.remove(&body) {
                return Err(corrupt("it was not asked for, or is there twice"));
            }
            let size = size_out(parsed("signed", size)?);
            let file = SignedFile { body: body.clone(), fingerprint: fingerprint.to_owned(), digest, size };
            files.insert(body, file);
        }
        Ok(files)
    }

    /// Keeps what a signer has put its name to, in place of what it had for this snapshot before. What was published is not
    /// replaced.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when the snapshot was published.
    pub async fn put_endorsement(&mut self, endorsement: &Endorsement) -> Result<()> {
        let id = endorsement.snapshot;
        let sql = "INSERT INTO endorsement (snapshot, at, keys, doc) SELECT $1, $2, $3, $4
                   WHERE NOT EXISTS (SELECT 1 FROM publication WHERE snapshot = $1)
                   ON CONFLICT (snapshot) DO UPDATE SET at = $2, keys = $3, doc = $4";
        let keys = endorsement.keys.join(" ");
        let doc = to_doc("endorsement", &id, endorsement)?;
        if execute!(self, sql, id.to_string(), endorsement.made.millis(), keys, doc)? == 0 {
            return Err(LedgerError::Refused(format!(
                "snapshot {id} was published; nothing about it changes any more"
            )));
        }
        Ok(())
    }

    /// What a signer has put its name to for this snapshot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn endorsement(&mut self, snapshot: SnapshotId) -> Result<Option<Endorsement>> {
        let sql = "SELECT doc FROM endorsement WHERE snapshot = $1";
        let row = fetch!(fetch_optional, self, (String,), sql, snapshot.to_string())?;
        row.map(|(doc,)| from_doc("endorsement", &doc)).transpose()
    }

    /// The signed decision on this snapshot, as a signer gave it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn decision(&mut self, snapshot: SnapshotId) -> Result<Option<String>> {
        let sql = "SELECT doc FROM endorsement WHERE snapshot = $1";
        let row = fetch!(fetch_optional, self, (String,), sql, snapshot.to_string())?;
        let read = |(doc,): (String,)| from_doc("endorsement", &doc).map(|Decided { decision }| decision);
        row.map(read).transpose()
    }

    /// The keys with which a signer has put its name to this snapshot; none when it has not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn endorsed_by(&mut self, snapshot: SnapshotId) -> Result<Vec<String>> {
        let sql = "SELECT keys FROM endorsement WHERE snapshot = $1";
        let row = fetch!(fetch_optional, self, (String,), sql, snapshot.to_string())?;
        Ok(row.iter().flat_map(|(keys,)| keys.split_whitespace()).map(str::to_owned).collect())
    }

    /// What signed the snapshots that are live now: fingerprints, of whatever purpose.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keys_in_use(&mut self) -> Result<BTreeSet<String>> {
        let sql =
            "SELECT e.keys FROM endorsement e JOIN repo r ON r.current = e.snapshot ORDER BY e.snapshot";
        let mut keys = BTreeSet::new();
        for (of_one,) in fetch!(fetch_all, self, (String,), sql)? {
            keys.extend(of_one.split(' ').map(str::to_owned));
        }
        Ok(keys)
    }

    /// Hears what a signer says of itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hear_signer(&mut self, word: &SignerWord, now: Stamp) -> Result<()> {
        let sql = "INSERT INTO signer (name, at, doc) VALUES ($1, $2, $3)
                   ON CONFLICT (name) DO UPDATE SET at = $2, doc = $3";
        execute!(self, sql, &word.name, now.millis(), to_doc("signer", &word.name, word)?)?;
        Ok(())
    }

    /// What every signer said last, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signers(&mut self) -> Result<Vec<HeardSigner>> {
        let rows = fetch!(fetch_all, self, (i64, String), "SELECT at, doc FROM signer ORDER BY name")?;
        let heard = |(at, doc): (i64, String)| {
            Ok(HeardSigner { word: from_doc("signer", &doc)?, at: Stamp::from_millis(at) })
        };
        rows.into_iter().map(heard).collect()
    }

    /// These builds, each with the request it came from, as far as there are some.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builds_with_requests(
        &mut self,
        ids: &[BuildId],
    ) -> Result<BTreeMap<BuildId, (Build, Option<Request>)>> {
        let rows = fetch_in!(
            self,
            (String, Option<String>),
            "SELECT b.doc, r.doc FROM build b LEFT JOIN request r ON r.id = b.request WHERE b.id",
            "",
            [],
            ids
        );
        let both = |(build, request): (String, Option<String>)| {
            let build: Build = from_doc("build", &build)?;
            let request = request.map(|doc| from_doc("request", &doc)).transpose()?;
            Ok((build.id, (build, request)))
        };
        rows.into_iter().map(both).collect()
    }
}

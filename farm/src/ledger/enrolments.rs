//! Enrolments: one-time tokens by which a new machine becomes a builder of the farm.

use super::{Result, Tx, execute, fetch};
use crate::digest::Digest;
use crate::stamp::Stamp;

/// How long a token that is worth nothing any more is remembered, to say so instead of not knowing it.
const REMEMBERED: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

/// What became of a token that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolling {
    /// The builder of this name is let in with its secret.
    Done {
        /// The builder.
        builder: String,
    },
    /// Nobody made this token, or that was long ago.
    Unknown,
    /// Another secret came with it before.
    Used {
        /// For which builder it was made.
        builder: String,
    },
    /// It came too late.
    Expired {
        /// For which builder it was made.
        builder: String,
    },
}

impl Tx {
    /// Notes a one-time token for a builder of this name. Older ones for it that were not used are worth nothing any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_enrolment(
        &mut self,
        token: &Digest,
        builder: &str,
        by: &str,
        expires: Stamp,
        now: Stamp,
    ) -> Result<()> {
        let long_ago = now.millis().saturating_sub(i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX));
        execute!(self, "DELETE FROM enrolment WHERE expires < $1", long_ago)?;
        execute!(self, "DELETE FROM enrolment WHERE builder = $1 AND used IS NULL", builder)?;
        let sql =
            "INSERT INTO enrolment (token, builder, made_by, expires, used) VALUES ($1, $2, $3, $4, NULL)";
        execute!(self, sql, token.as_str(), builder, by, expires.millis())?;
        Ok(())
    }

    /// Lets in the builder the token was made for, with the secret of this digest. The token works once; the same
    /// secret may show it again, because the answer to the first time may have been lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enrol(&mut self, token: &Digest, secret: &Digest, now: Stamp) -> Result<Enrolling> {
        // Of two machines that show one token at once, one waits here and then finds it used.
        self.lock(&format!("enrolment {}", token.short())).await?;
        let sql = "SELECT builder, expires, used FROM enrolment WHERE token = $1";
        let row = fetch!(fetch_optional, self, (String, i64, Option<i64>), sql, token.as_str())?;
        let Some((builder, expires, used)) = row else { return Ok(Enrolling::Unknown) };
        if used.is_some() {
            let known = self.builder_by_secret(secret).await?;
            return Ok(match known {
                Some(known) if known.name == builder => Enrolling::Done { builder },
                Some(_) | None => Enrolling::Used { builder },
            });
        }
        if expires <= now.millis() {
            return Ok(Enrolling::Expired { builder });
        }
        execute!(self, "UPDATE enrolment SET used = $2 WHERE token = $1", token.as_str(), now.millis())?;
        self.lock_builder(&builder).await?;
        self.admit_builder(&builder, secret).await?;
        Ok(Enrolling::Done { builder })
    }
}

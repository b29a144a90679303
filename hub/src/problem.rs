//! What can be wrong with what a client asked: one enum, said the same way everywhere (RFC 9457, problem+json).
//!
//! Rooms of the hub return [`Problem`] for what the caller can do something about; faults of the farm itself become
//! [`Problem::Internal`], whose cause is logged once at the edge and never shown to a stranger.

use farm::api::ProblemBody;
use farm::ledger::LedgerError;
use farm::message::LEASE_OVER;

/// Shorthand for results whose error the client will read.
pub type Answer<T> = Result<T, Problem>;

/// What was wrong with a call.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No token was given.
    #[error("this needs a token, and none was given")]
    Unauthenticated,
    /// A token was given that nobody has.
    #[error("this token is not known: it was mistyped or replaced, or its owner was removed")]
    UnknownToken,
    /// The person may not do this.
    #[error("{what}")]
    Forbidden {
        /// What was refused.
        what: String,
        /// What to do.
        fix: String,
    },
    /// An operator has shut the builder out.
    #[error("builder {builder} is disabled: nothing it says counts until an admin enables it again")]
    BuilderDisabled {
        /// The builder.
        builder: String,
    },
    /// There is no such thing.
    #[error("{what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// What was sent is wrong.
    #[error("{what}")]
    Invalid {
        /// What is wrong.
        what: String,
        /// What to do.
        fix: String,
    },
    /// It does not fit the state things are in.
    #[error("{what}")]
    Conflict {
        /// What does not fit.
        what: String,
        /// What to do.
        fix: String,
    },
    /// More than the hub takes.
    #[error("{what}")]
    TooLarge {
        /// What is too large, and the limit.
        what: String,
    },
    /// The attempt is no longer the job's current one: the builder stops.
    #[error("this attempt is no longer the job's current one")]
    Stale,
    /// The attempt's lease has run out and nobody has given its turn up yet: a beat renews it.
    #[error("the attempt's lease has run out, and its token opens nothing until it is renewed")]
    LeaseOver,
    /// Something outside the farm cannot be had now; later it may be.
    #[error("{what}")]
    Unavailable {
        /// What cannot be had.
        what: String,
        /// What to do.
        fix: String,
    },
    /// The hub is about it: a moment later it may be there.
    #[error("{what}")]
    NotYet {
        /// What is not there yet.
        what: String,
    },
    /// The farm itself failed.
    #[error("{}", fault(.0))]
    Internal(#[source] anyhow::Error),
}

impl Problem {
    /// There is no `kind` called `name`.
    pub fn not_found(kind: &str, name: impl std::fmt::Display) -> Self {
        Problem::NotFound { what: format!("there is no {kind} {name}") }
    }

    /// What was sent is wrong, and how to mend it.
    pub fn invalid(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Problem::Invalid { what: what.into(), fix: fix.into() }
    }

    /// The person may not do this, and who may.
    pub fn forbidden(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Problem::Forbidden { what: what.into(), fix: fix.into() }
    }

    /// It does not fit the state things are in.
    pub fn conflict(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Problem::Conflict { what: what.into(), fix: fix.into() }
    }

    /// Something outside the farm cannot be had now, and what to do if that lasts.
    pub fn unavailable(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Problem::Unavailable { what: what.into(), fix: fix.into() }
    }

    /// The HTTP status, the stable code and the title.
    #[must_use]
    pub fn class(&self) -> (u16, &'static str, &'static str) {
        match self {
            Problem::Unauthenticated => (401, "unauthenticated", "This needs a token"),
            Problem::UnknownToken => (401, "unknown-token", "This token is not known"),
            Problem::Forbidden { .. } => (403, "forbidden", "You may not do this"),
            Problem::BuilderDisabled { .. } => (403, "builder-disabled", "This builder is disabled"),
            Problem::NotFound { .. } => (404, "not-found", "There is no such thing"),
            Problem::Invalid { .. } => (422, "invalid", "What was sent is wrong"),
            Problem::Conflict { .. } => (409, "conflict", "This does not fit the state things are in"),
            Problem::TooLarge { .. } => (413, "too-large", "This is more than the hub takes"),
            Problem::Stale => (409, "stale", "The attempt is over"),
            // A status that builders of every version take for a reason to ask again.
            Problem::LeaseOver => (503, LEASE_OVER, "The lease has run out"),
            Problem::Unavailable { .. } => (503, "unavailable", "This cannot be had now"),
            Problem::NotYet { .. } => (503, "not-yet", "This is not there yet"),
            Problem::Internal(_) => (500, "internal", "The hub failed"),
        }
    }

    /// The body a client reads.
    #[must_use]
    pub fn body(&self) -> ProblemBody {
        let (status, code, title) = self.class();
        let fix = match self {
            Problem::Unauthenticated => Some(
                "give one as `Authorization: Bearer <token>`, or as the password where git asks".to_owned(),
            ),
            Problem::UnknownToken => {
                Some("look for a newer one, or ask an admin of the farm for one".to_owned())
            }
            Problem::BuilderDisabled { builder } => {
                Some(format!("an admin can do so with `grange builders enable {builder}`"))
            }
            Problem::Forbidden { fix, .. }
            | Problem::Invalid { fix, .. }
            | Problem::Conflict { fix, .. }
            | Problem::Unavailable { fix, .. } => Some(fix.clone()),
            Problem::LeaseOver => Some("beat, then ask again".to_owned()),
            Problem::NotYet { .. } => Some("ask again in a moment".to_owned()),
            Problem::Internal(_) => Some("try again; the hub's log has the cause".to_owned()),
            Problem::NotFound { .. } | Problem::TooLarge { .. } | Problem::Stale => None,
        };
        ProblemBody {
            kind: format!("urn:grange:problem:{code}"),
            title: title.to_owned(),
            status,
            detail: self.to_string(),
            fix,
        }
    }
}

/// What a stranger may know of a fault of the farm itself.
fn fault(cause: &anyhow::Error) -> &'static str {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let kinds = cause.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    if kinds.map(std::io::Error::kind).any(|kind| matches!(kind, StorageFull | QuotaExceeded)) {
        "the hub's disk is full"
    } else {
        "the hub failed"
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::LostRace { .. } => {
                Problem::conflict(error.to_string(), "look at it again and repeat what still makes sense")
            }
            LedgerError::Refused(why) => Problem::conflict(why, "look at it again"),
            LedgerError::Undone => Problem::unavailable(error.to_string(), "try again: nothing was changed"),
            LedgerError::Sql(_)
            | LedgerError::Schema(_)
            | LedgerError::OtherSchema { .. }
            | LedgerError::Corrupt { .. } => Problem::Internal(error.into()),
        }
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Problem::Internal(error.into())
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Problem::Internal(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_hubs_own_faults_a_full_disk_is_named() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let wrapped = anyhow::Error::new(full).context("cannot write /var/lib/grange/x");
        assert_eq!(Problem::Internal(wrapped).body().detail, "the hub's disk is full");
        let other = anyhow::anyhow!("a secret place").context("cannot write");
        assert_eq!(Problem::Internal(other).body().detail, "the hub failed");
    }

    #[test]
    fn what_the_database_has_undone_may_be_asked_for_again() {
        let problem = Problem::from(LedgerError::Undone);
        assert_eq!(problem.class().0, 503, "a builder asks again, and a 409 would be the end of its attempt");
        assert_eq!(problem.body().fix.as_deref(), Some("try again: nothing was changed"));
    }
}

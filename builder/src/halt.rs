//! Why an attempt ends before all of its work is done, and who is to blame.

use std::fmt::Display;

use reqwest::StatusCode;

use crate::client::ClientError;
use crate::engine::EngineError;

/// The end of an attempt before all of its work was done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The package is at fault, in one sentence for its maintainer.
    Package(String),
    /// The farm is at fault, in one sentence for its operator.
    Farm(String),
    /// It was cut short; the attempt's interrupts say why.
    Interrupted,
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Self {
        Halt::Farm(error.to_string())
    }
}

impl From<ClientError> for Halt {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Lost => Halt::Interrupted,
            // More than the hub takes is more than another builder could deliver.
            ClientError::Refused { status: StatusCode::PAYLOAD_TOO_LARGE, .. } => {
                Halt::Package(error.to_string())
            }
            ClientError::Refused { .. } | ClientError::Disk { .. } => Halt::Farm(error.to_string()),
        }
    }
}

/// Gives the builder's own troubles a sentence.
pub(crate) trait OrFarm<T> {
    /// What could not be done, as in "lay out a repo".
    fn or_farm(self, doing: &str) -> Result<T, Halt>;
}

impl<T, E: Display> OrFarm<T> for Result<T, E> {
    fn or_farm(self, doing: &str) -> Result<T, Halt> {
        self.map_err(|error| Halt::Farm(format!("the builder cannot {doing}: {error}")))
    }
}

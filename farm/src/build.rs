//! An imported build: a package's RPMs on all its architectures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::buildroot::RootFacts;
use crate::ids::{BuildId, RequestId};
use crate::nvr::Nvr;
use crate::snapshot::{Member, Rpm};
use crate::stamp::Stamp;

/// An imported build. Nothing of it ever changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its id.
    pub id: BuildId,
    /// Its name, which no other build has.
    pub nvr: Nvr,
    /// The SIG that made it.
    pub sig: String,
    /// The target it was built for.
    pub target: String,
    /// The request it came from.
    pub request: RequestId,
    /// When it was imported.
    pub imported: Stamp,
    /// Its RPMs, the source RPM among them.
    pub rpms: Vec<Rpm>,
    /// The buildroot of each architecture it was built on.
    #[serde(default)]
    pub roots: BTreeMap<Arch, RootFacts>,
}

impl Build {
    /// The build as part of a snapshot.
    #[must_use]
    pub fn member(&self) -> Member {
        Member {
            build: self.id,
            package: self.nvr.name.clone(),
            nvr: self.nvr.to_string(),
            rpms: self.rpms.clone(),
        }
    }
}

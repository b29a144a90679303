//! Chains: builds that need each other order themselves by what their sources require and what they provide.
//!
//! [`Order`] decides who waits for whom; this file says what it knows of each.

mod order;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{ChainId, RequestId};
use crate::nvr::Nvr;
use crate::request::SourceArches;
use crate::stamp::Stamp;

pub use order::Order;

/// The file an srpm job uploads beside its source RPM: what `rpmspec -q --provides` says of every package it describes.
pub const PROVIDES_FILE: &str = "provides.txt";
/// Bytes of [`PROVIDES_FILE`] that are read; the rest of a longer one counts for nothing.
pub const PROVIDES_BYTES: u64 = 1024 * 1024;
/// Most requests one chain may have.
pub const MOST_MEMBERS: usize = 100;
/// Names a sentence has at most; of more it says how many.
const NAMES_SAID: usize = 3;

/// A request's place in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Link {
    /// The chain.
    pub id: ChainId,
    /// The level a person put it on: it waits for every member of a lower one. `None` where the farm finds the order.
    pub level: Option<u32>,
}

/// What a source RPM says, read once when it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// Its name.
    pub nvr: Nvr,
    /// Where it builds.
    pub arches: SourceArches,
    /// The names of what its build requires (`BuildRequires`): `zlib-devel`, `pkgconfig(zlib)`, `/usr/bin/xsltproc`.
    pub requires: BTreeSet<String>,
    /// The names of what its packages will provide, as far as its spec says: the packages themselves and explicit
    /// `Provides`. What rpm finds out while it builds (`pkgconfig(…)`, sonames) is not among them.
    pub provides: BTreeSet<String>,
    /// When it was read.
    pub read: Stamp,
}

/// What the candidate tag holds of a request's package now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// The names it provides: all of them, with those rpm found out.
    pub provides: BTreeSet<String>,
    /// The names its build required: whatever these are, somebody provides them.
    pub requires: BTreeSet<String>,
}

/// How a request stands that others may have to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its builds are not planned.
    Open,
    /// Its builds are planned or at work: it waits for nobody any more.
    Planned,
    /// It will never be imported: `failed: …` or `was cancelled by …`.
    Ended(String),
}

/// A request whose build enters a candidate tag, as the order sees it.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its id: ids sort in the order they were asked for.
    pub request: RequestId,
    /// Its package.
    pub package: String,
    /// When it was asked for.
    pub created: Stamp,
    /// Its chain, if it is part of one.
    pub link: Option<Link>,
    /// The candidate tag its build enters.
    pub tag: String,
    /// The tags its build installs from.
    pub sees: BTreeSet<String>,
    /// What its source RPM says; `None` as long as that is not read.
    pub source: Option<SourceFacts>,
    /// What its tag holds of its package now.
    pub before: Option<Before>,
    /// Those of the names it requires that only a build can show to be provided (`pkgconfig(…)`), which no repo it sees
    /// provides and its earlier build did not require. Only members of chains have any.
    pub unknown: BTreeSet<String>,
    /// How it stands.
    pub standing: Standing,
}

/// Why one request waits for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Need {
    /// The other provides names it requires.
    Names {
        /// Which.
        names: BTreeSet<String>,
    },
    /// The other is on a lower level of its chain.
    Level,
    /// Nobody is known to provide these names; the other was listed before it in its chain.
    Unknown {
        /// Which.
        names: BTreeSet<String>,
    },
    /// It is not known yet what the other will provide: its source RPM is being made.
    Unread,
}

/// One request that another waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Blocker {
    /// The request that comes first.
    pub request: RequestId,
    /// Its package.
    pub package: String,
    /// Why.
    pub need: Need,
    /// How it ended, if it will never be imported.
    pub ended: Option<String>,
}

impl Need {
    /// What is the matter with the one that waits: `needs zlib-devel`.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Need::Names { names } => format!("needs {}", said(names)),
            Need::Level => "is on a later level of the chain".to_owned(),
            Need::Unknown { names } => {
                format!("needs {}, which nobody is known to provide, and was listed later", said(names))
            }
            Need::Unread => "may need what it will provide, which is not known yet".to_owned(),
        }
    }
}

impl Blocker {
    /// What is the matter with the one that waits: [`Need::sentence`].
    #[must_use]
    pub fn sentence(&self) -> String {
        self.need.sentence()
    }

    /// Why a build that needs it is not tried: `needs zlib-devel from zlib, which failed: …`. `None` unless it ended.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let how = self.ended.as_ref()?;
        let package = &self.package;
        Some(match &self.need {
            Need::Names { names } => format!("needs {} from {package}, which {how}", said(names)),
            Need::Level | Need::Unknown { .. } | Need::Unread => {
                format!("comes after {package} in its chain, which {how}")
            }
        })
    }
}

impl Member {
    /// The names it requires now and did not require when it was built before.
    #[must_use]
    pub fn fresh(&self) -> BTreeSet<String> {
        let known = self.before.as_ref().map(|before| &before.requires);
        let requires = self.source.iter().flat_map(|source| &source.requires);
        requires.filter(|name| known.is_none_or(|known| !known.contains(*name))).cloned().collect()
    }
}

/// Is this a name that packages may turn out to provide when they are built, without their spec saying so: `pkgconfig(x)`,
/// a soname, a file?
#[must_use]
pub fn is_found_by_building(name: &str) -> bool {
    name.contains('(') || name.starts_with('/') || name.contains(".so.")
}

/// The names in one `BuildRequires`. Of a rich one (`(a or (b >= 1 with c))`) all are taken: whichever is needed in the
/// end, it is better to have waited for it.
#[must_use]
pub fn names_of(dependency: &str) -> BTreeSet<String> {
    const OPERATORS: [&str; 7] = ["and", "or", "if", "else", "with", "without", "unless"];
    const COMPARISONS: [&str; 5] = ["<", "<=", "=", ">=", ">"];
    if !dependency.starts_with('(') {
        let name = dependency.split_whitespace().next();
        return name.map(str::to_owned).into_iter().collect();
    }
    let mut names = BTreeSet::new();
    let mut words = dependency.split_whitespace();
    while let Some(word) = words.next() {
        if COMPARISONS.contains(&word) {
            words.next();
            continue;
        }
        let word = word.trim_start_matches('(');
        // A name's own brackets stay, those of the groups it closes go.
        let mut name = word;
        while name.ends_with(')') && name.matches(')').count() > name.matches('(').count() {
            name = &name[..name.len() - 1];
        }
        if !name.is_empty() && !OPERATORS.contains(&name) {
            names.insert(name.to_owned());
        }
    }
    names
}

/// The names in what `rpmspec -q --provides` prints: one on each line, perhaps with a version.
#[must_use]
pub fn provided_names(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn said(names: &BTreeSet<String>) -> String {
    let first: Vec<&str> = names.iter().take(NAMES_SAID).map(String::as_str).collect();
    match names.len().checked_sub(NAMES_SAID) {
        Some(more) if more > 0 => format!("{} and {more} more", first.join(", ")),
        Some(_) | None => first.join(", "),
    }
}

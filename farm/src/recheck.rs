//! Rechecks: what is live is tested again when what it stands on has moved.
//!
//! A public repo changes only through its gate, but the layers below it, repos outside the farm and the suites themselves move
//! without it. What its content was last tested on is kept as a [`Ground`]; [`causes`] says what is different now, and
//! [`Watch::look`] when that is worth a recheck: one at a time, and only once nothing has moved for a while, so that a row of
//! changes is one recheck. A failing recheck changes nothing by itself: it is said.

mod standing;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::digest::Digest;
use crate::gate::{TestResult, TestVerdict};
use crate::ids::RequestId;
use crate::stamp::Stamp;

pub use standing::standing;

/// The built-in suite of a recheck: everything in the repo can be installed from the layers as they are now. The gate asks another
/// question, [`crate::gate::CLOSURE`]: what a *change* breaks.
pub const WHOLE: &str = "repoclosure-whole";
/// What an outside repo's state is called when it is only known to be older than the present one.
const OLDER: &str = "older";
const DAY: i64 = 24 * 3_600_000;
const HOUR: i64 = 3_600_000;
/// So many hexadecimal digits of a digest tell the states of a repo apart for people.
const SHORT: usize = 8;

/// One layer below a repo, and what it showed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LayerVersion {
    /// The tag, or the name of a repo outside the farm.
    pub name: String,
    /// `r14` for a tag of the farm, the beginning of a digest for a repo outside; `None` while that was never seen.
    pub version: Option<String>,
    /// Is it outside the farm?
    #[serde(default)]
    pub outside: bool,
}

impl LayerVersion {
    /// A tag of the farm at a revision.
    #[must_use]
    pub fn tag(tag: &str, revision: i64) -> Self {
        Self { name: tag.to_owned(), version: Some(format!("r{revision}")), outside: false }
    }

    /// A repo outside the farm, with the digest of its `repomd.xml` on each architecture in order; `None` while one of them was
    /// never seen. The digests of several architectures are named by one.
    #[must_use]
    pub fn outside(name: &str, digests: Option<&[Digest]>) -> Self {
        let short = |digest: &Digest| digest.as_str().chars().take(SHORT).collect();
        let version = digests.map(|digests| match digests {
            [one] => short(one),
            several => short(&Digest::of(
                several.iter().map(Digest::as_str).collect::<Vec<_>>().join("\n").as_bytes(),
            )),
        });
        Self { name: name.to_owned(), version, outside: true }
    }

    /// `cloud9s-openstack-epoxy-release@r14`, `baseos@1a2b3c4d`.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.version {
            Some(version) => format!("{}@{version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// What the tests of a repo run in besides its own content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Surroundings {
    /// The image, as the template names it.
    pub image: String,
    /// The layers, the most preferred first.
    pub layers: Vec<LayerVersion>,
}

/// What a live content is tested on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// The content.
    pub content: Digest,
    /// What it runs in.
    pub around: Surroundings,
    /// The version of each of the project's own suites.
    pub suites: BTreeMap<String, Digest>,
}

/// Why something live is tested again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// Another SIG's repo below shows something else, or a layer came or went.
    LayerMoved {
        /// Its tag, or the name of a repo outside that came or went.
        layer: String,
        /// What it showed; `None` when it was no layer.
        from: Option<String>,
        /// What it shows; `None` when it is no layer any more.
        to: Option<String>,
    },
    /// A repo outside the farm has changed.
    OutsideChanged {
        /// Its name.
        name: String,
        /// What it was.
        from: String,
        /// What it is.
        to: String,
    },
    /// The image is another.
    ImageChanged {
        /// What it was.
        from: String,
        /// What it is.
        to: String,
    },
    /// A suite is new or another.
    SuiteChanged {
        /// Which one.
        suite: String,
    },
    /// It is that time of the night.
    Nightly,
}

impl Cause {
    /// For people: `cloud9s-openstack-epoxy-release@r14`, `baseos@1a2b3c4d`, `a new suite runs`, `the night`.
    #[must_use]
    pub fn phrase(&self) -> String {
        match self {
            Cause::LayerMoved { layer, to: Some(to), .. } => format!("{layer}@{to}"),
            Cause::LayerMoved { layer, from: None | Some(_), to: None } => {
                format!("{layer} is no layer any more")
            }
            Cause::OutsideChanged { name, to, .. } => format!("{name}@{to}"),
            Cause::ImageChanged { to, .. } => format!("image {to}"),
            Cause::SuiteChanged { suite } => format!("suite {suite} was changed"),
            Cause::Nightly => "nightly".to_owned(),
        }
    }

    /// Does it leave the digest of the environment as it was, so that results in that environment say nothing about it?
    #[must_use]
    pub fn needs_all(&self) -> bool {
        match self {
            Cause::OutsideChanged { .. } | Cause::Nightly => true,
            Cause::LayerMoved { .. } | Cause::ImageChanged { .. } | Cause::SuiteChanged { .. } => false,
        }
    }
}

/// All causes in one line.
#[must_use]
pub fn phrase(causes: &[Cause]) -> String {
    causes.iter().map(Cause::phrase).collect::<Vec<_>>().join(", ")
}

/// What is different now from what it was last tested on. Nothing when it was never looked at: its promotion tested it.
#[must_use]
pub fn causes(before: Option<&Ground>, now: &Ground, nightly: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(before) = before {
        let (was, is) = (&before.around, &now.around);
        if was.image != is.image {
            causes.push(Cause::ImageChanged { from: was.image.clone(), to: is.image.clone() });
        }
        let find =
            |layers: &[LayerVersion], name: &str| layers.iter().find(|layer| layer.name == name).cloned();
        for layer in &is.layers {
            let known = find(&was.layers, &layer.name);
            causes.extend(moved(known.as_ref(), layer));
        }
        for gone in was.layers.iter().filter(|layer| find(&is.layers, &layer.name).is_none()) {
            let (layer, from) = (gone.name.clone(), gone.version.clone());
            causes.push(Cause::LayerMoved { layer, from, to: None });
        }
        for (suite, version) in &now.suites {
            if before.suites.get(suite) != Some(version) {
                causes.push(Cause::SuiteChanged { suite: suite.clone() });
            }
        }
    }
    causes.extend(nightly.then_some(Cause::Nightly));
    causes
}

fn moved(was: Option<&LayerVersion>, is: &LayerVersion) -> Option<Cause> {
    let layer = is.name.clone();
    let Some(was) = was else {
        let to = Some(is.version.clone().unwrap_or_else(|| "new".to_owned()));
        return Some(Cause::LayerMoved { layer, from: None, to });
    };
    // What was never seen has not changed when it is seen for the first time.
    let (from, to) = (was.version.clone()?, is.version.clone()?);
    match (from == to, is.outside) {
        (true, _) => None,
        (false, true) => Some(Cause::OutsideChanged { name: layer, from, to }),
        (false, false) => Some(Cause::LayerMoved { layer, from: Some(from), to: Some(to) }),
    }
}

/// What a content that has become live was tested on by its own promotion: `around` is what is known of the surroundings of the
/// newest results (`None`: the present ones), `results` those of the project's own suites for it, and `moved` when each repo outside
/// changed last: one that did so after the tests was another one then.
#[must_use]
pub fn promoted_on(
    now: &Ground,
    around: Option<&Surroundings>,
    results: &[TestResult],
    moved: &BTreeMap<String, Stamp>,
) -> Ground {
    let mut ground = Ground { around: around.unwrap_or(&now.around).clone(), ..now.clone() };
    let own = |result: &&TestResult| result.on.is_none() && result.content == now.content;
    let newest = |suite: &str| {
        results
            .iter()
            .filter(own)
            .filter(|result| result.suite == suite)
            .max_by_key(|result| (result.at, result.job))
    };
    let mut since: Option<Stamp> = None;
    ground.suites.retain(|suite, version| {
        let Some(result) = newest(suite) else { return false };
        *version = result.version.clone();
        since = Some(since.map_or(result.at, |since| since.min(result.at)));
        true
    });
    for layer in ground.around.layers.iter_mut().filter(|layer| layer.outside) {
        let present = now.around.layers.iter().find(|known| known.name == layer.name);
        layer.version = present.and_then(|known| known.version.clone());
        if let (Some(since), Some(moved)) = (since, moved.get(&layer.name))
            && *moved > since
            && layer.version.is_some()
        {
            layer.version = Some(OLDER.to_owned());
        }
    }
    ground
}

/// One live repo, as the keeper watches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Its tag.
    pub tag: String,
    /// What its content was last tested on, or is being tested on.
    pub tested: Ground,
    /// What was there at the last look.
    pub seen: Ground,
    /// When that had changed last.
    pub changed: Stamp,
    /// The recheck under way.
    pub request: Option<RequestId>,
    /// Why it was tested last.
    #[serde(default)]
    pub causes: Vec<Cause>,
    /// What its last recheck has shown to be broken.
    #[serde(default)]
    pub red: Vec<Red>,
    /// When it was last tested because of the night, or first seen.
    pub night: Stamp,
}

/// Something live that does not work any more. It stays live: only its people can tell what is better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Red {
    /// The suite.
    pub suite: String,
    /// The architecture.
    pub arch: Arch,
    /// Did it fail? Otherwise it could not be run.
    pub failed: bool,
    /// What it said.
    pub reason: String,
    /// What had changed when it was found.
    pub since: Vec<Cause>,
    /// When it was found.
    pub at: Stamp,
    /// The recheck that found it, where builders ran something for it.
    pub request: Option<RequestId>,
}

impl Red {
    /// `suite runs fails on x86_64 since cloud9s-openstack-epoxy-release@r14: exit code 3`
    #[must_use]
    pub fn phrase(&self) -> String {
        let Red { suite, arch, reason, since, .. } = self;
        let verb = if self.failed { "fails" } else { "cannot be run" };
        let since = if since.is_empty() { String::new() } else { format!(" since {}", phrase(since)) };
        format!("suite {suite} {verb} on {arch}{since}: {reason}")
    }
}

/// What of the project's own suites, and of [`WHOLE`], the newest results show to be broken. What was broken `before` was found
/// then; what is new was found by the recheck for these causes.
#[must_use]
pub fn reds(watch: &Watch, arches: &[Arch], results: &[TestResult]) -> Vec<Red> {
    let ground = &watch.tested;
    let suites =
        ground.suites.iter().map(|(suite, version)| (suite.as_str(), Some(version))).chain([(WHOLE, None)]);
    let newest = |suite: &str, version: Option<&Digest>, arch: Arch| {
        results
            .iter()
            .filter(|result| result.on.is_none() && result.content == ground.content)
            .filter(|result| result.suite == suite && result.arch == arch)
            .filter(|result| version.is_none_or(|version| result.version == *version))
            .max_by_key(|result| (result.at, result.job))
    };
    let mut reds = Vec::new();
    for (suite, version) in suites {
        for arch in arches {
            let Some(result) = newest(suite, version, *arch) else { continue };
            let (failed, reason) = match &result.verdict {
                TestVerdict::Passed => continue,
                TestVerdict::Failed { reason } => (true, reason.clone()),
                TestVerdict::Errored { reason } => (false, reason.clone()),
            };
            let known =
                watch.red.iter().find(|red| red.suite == suite && red.arch == *arch && red.failed == failed);
            let (since, at) =
                known.map_or_else(|| (watch.causes.clone(), result.at), |red| (red.since.clone(), red.at));
            let (suite, request) = (suite.to_owned(), watch.request);
            reds.push(Red { suite, arch: *arch, failed, reason, since, at, request });
        }
    }
    reds
}

/// When rechecks begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long nothing must have changed.
    pub wait: Duration,
    /// The hour (UTC) of the nightly recheck, for projects that want one.
    pub night: Option<u32>,
}

/// What a look at a live repo comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing is new.
    Same,
    /// Something is to be remembered, and nothing to be done yet.
    Note(Watch),
    /// It is to be tested again.
    Check {
        /// What to remember when that has been asked for.
        watch: Watch,
        /// Why.
        causes: Vec<Cause>,
    },
}

impl Watch {
    /// The first look at a repo: `promoted` is what its own promotion has tested its content on.
    #[must_use]
    pub fn first(tag: &str, promoted: Ground, now: &Ground, at: Stamp) -> Watch {
        Watch {
            tag: tag.to_owned(),
            tested: promoted,
            seen: now.clone(),
            changed: at,
            request: None,
            causes: Vec::new(),
            red: Vec::new(),
            night: at,
        }
    }

    /// The content is another one since: a promotion has tested it on this.
    #[must_use]
    pub fn promoted(&self, promoted: Ground) -> Watch {
        Watch { tested: promoted, red: Vec::new(), ..self.clone() }
    }

    /// Looks at the repo: `now` is what is there, `busy` says that a recheck is under way.
    #[must_use]
    pub fn look(&self, now: &Ground, busy: bool, rules: Rules, at: Stamp) -> Look {
        let mut next = self.clone();
        if *now != self.seen {
            (next.seen, next.changed) = (now.clone(), at);
        }
        let is_night = rules.night.is_some_and(|hour| is_night(self.night, hour, at));
        let causes = causes(Some(&next.tested), now, is_night);
        let is_quiet = at - next.changed >= rules.wait;
        if causes.is_empty() || busy || !is_quiet {
            // A repo that is seen for the first time has been there all along.
            if causes.is_empty() && !busy {
                next.tested = now.clone();
            }
            return if next == *self { Look::Same } else { Look::Note(next) };
        }
        (next.tested, next.causes) = (now.clone(), causes.clone());
        if is_night {
            next.night = at;
        }
        Look::Check { watch: next, causes }
    }
}

/// Has this hour (UTC) begun since `last`?
fn is_night(last: Stamp, hour: u32, now: Stamp) -> bool {
    let begins = i64::from(hour) * HOUR;
    let latest = (now.millis() - begins).div_euclid(DAY) * DAY + begins;
    last.millis() < latest
}

//! What a repo holds: immutable snapshots, and how one follows from another.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::extras::{Extras, files};
use crate::ids::{BuildId, SnapshotId};
use crate::nvr::Nevra;
use crate::stamp::Stamp;

/// One RPM of one build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Rpm {
    /// Its full name.
    pub nevra: Nevra,
    /// Its file name.
    pub file: String,
    /// Where in a repo it belongs.
    pub kind: RpmKind,
    /// SHA-256 of header + payload: its identity, which signing leaves unchanged.
    pub body: Digest,
    /// SHA-256 of the file, under which the artifact store keeps it.
    pub digest: Digest,
    /// Size of the file in bytes.
    pub size: u64,
    /// The architecture of the job that made it; `None` for the source RPM.
    pub built_on: Option<crate::arch::Arch>,
}

impl Rpm {
    /// Is it in some folder of a repo for these architectures?
    #[must_use]
    pub fn is_shown_on(&self, arches: &[crate::arch::Arch]) -> bool {
        self.kind == RpmKind::Source
            || self.nevra.arch == "noarch"
            || self.built_on.is_some_and(|arch| arches.contains(&arch))
    }
}

/// Where in a repo an RPM belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RpmKind {
    /// `<arch>/`
    Binary,
    /// `debug-<arch>/`: debuginfo and debugsource.
    Debug,
    /// `source/`
    Source,
}

/// One build within a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Member {
    /// The build.
    pub build: BuildId,
    /// Its package; a snapshot holds one build of each.
    pub package: String,
    /// Its NVR.
    pub nvr: String,
    /// Its RPMs.
    pub rpms: Vec<Rpm>,
}

/// An immutable content of a repo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The tag whose repo it is made for.
    pub tag: String,
    /// What must be live when it is published: the repo's live snapshot at the time it was composed, or that of the promotion
    /// ahead of it in the queue.
    pub base: Option<SnapshotId>,
    /// Names what is in it: equal contents have equal digests, whichever repo they are for.
    pub content: Digest,
    /// When it was composed.
    pub created: Stamp,
    /// See [`Snapshot::revision`]; 0 in those that were composed before there was such a field.
    #[serde(default)]
    revision: i64,
    /// The architectures that it has folders for, and so was tested on when it was published. None where that was not noted: in
    /// candidate repos, and in what was composed before there was such a field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<crate::arch::Arch>,
    /// What is in it, in the order of packages.
    pub members: Vec<Member>,
    /// What stands beside them, where its project has such files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extras: Option<Extras>,
}

/// What is known of a snapshot without what is in it: enough to compose another one on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its id.
    pub id: SnapshotId,
    created: Stamp,
    #[serde(default)]
    revision: i64,
}

impl Base {
    /// See [`Snapshot::revision`].
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision.max(self.created.millis()).max(0)
    }
}

impl Snapshot {
    /// Composes: the members of `base`, with the given ones put in place of older builds of the same packages, and without
    /// the packages in `remove`. Nothing stands beside them until [`Snapshot::with_extras`] says so.
    #[must_use]
    pub fn compose(
        id: SnapshotId,
        tag: &str,
        base: Option<&Snapshot>,
        set: &[Member],
        remove: &[String],
        now: Stamp,
    ) -> Snapshot {
        let mut members: BTreeMap<&str, &Member> = BTreeMap::new();
        for member in base.map(|base| base.members.as_slice()).unwrap_or_default().iter().chain(set) {
            members.insert(&member.package, member);
        }
        members.retain(|package, _| !remove.iter().any(|gone| gone == package));
        let members = members.into_values().cloned().collect();
        Self::holding(id, tag, base.map(Snapshot::as_base), members, now)
    }

    /// Holds exactly these members, which are in the order of packages, and nothing beside them.
    #[must_use]
    pub fn holding(
        id: SnapshotId,
        tag: &str,
        base: Option<Base>,
        members: Vec<Member>,
        now: Stamp,
    ) -> Snapshot {
        let after = base.map_or(0, |base| base.revision().saturating_add(1));
        Snapshot {
            id,
            tag: tag.to_owned(),
            base: base.map(|base| base.id),
            content: content_digest(&members, None),
            created: now,
            revision: now.millis().max(after),
            arches: Vec::new(),
            members,
            extras: None,
        }
    }

    /// The same with these files beside its packages.
    #[must_use]
    pub fn with_extras(mut self, extras: Option<Extras>) -> Snapshot {
        self.extras = extras;
        self.content = self.computed();
        self
    }

    /// The digest of what is in it, computed anew: a row that was edited names another one.
    #[must_use]
    pub fn computed(&self) -> Digest {
        content_digest(&self.members, self.extras.as_ref())
    }

    /// It, as what another one is composed on.
    #[must_use]
    pub fn as_base(&self) -> Base {
        Base { id: self.id, created: self.created, revision: self.revision }
    }

    /// The revision of its metadata: the time it was composed at, in milliseconds, but always more than that of its base. So
    /// what a repo shows has a higher one than all it showed before, also on the way back, and when a clock has gone back.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.as_base().revision()
    }

    /// Every RPM in it.
    pub fn rpms(&self) -> impl Iterator<Item = &Rpm> {
        self.members.iter().flat_map(|member| &member.rpms)
    }

    /// The same for these architectures, without what none of its folders would show: the packages for architectures that a
    /// project has no more.
    #[must_use]
    pub fn shown_on(mut self, arches: &[crate::arch::Arch]) -> Snapshot {
        self.arches = arches.to_vec();
        for member in &mut self.members {
            member.rpms.retain(|rpm| rpm.is_shown_on(arches));
        }
        self.content = self.computed();
        self
    }

    /// Those of these architectures that it has no folder for, as far as that was noted.
    #[must_use]
    pub fn lacks(&self, arches: &[crate::arch::Arch]) -> Vec<crate::arch::Arch> {
        let is_noted = !self.arches.is_empty();
        arches.iter().copied().filter(|arch| is_noted && !self.arches.contains(arch)).collect()
    }

    /// The folders it consists of, each with its RPMs: `x86_64`, `debug-x86_64`, `source`. Every architecture in
    /// `arches` has its folder even when it is empty; noarch packages are in each.
    #[must_use]
    pub fn folders(&self, arches: &[crate::arch::Arch]) -> BTreeMap<String, Vec<&Rpm>> {
        let mut folders: BTreeMap<String, Vec<&Rpm>> =
            arches.iter().map(|arch| (arch.to_string(), Vec::new())).collect();
        for rpm in self.rpms() {
            match rpm.kind {
                RpmKind::Source => folders.entry("source".to_owned()).or_default().push(rpm),
                RpmKind::Binary | RpmKind::Debug => {
                    for arch in arches {
                        if rpm.nevra.arch == "noarch" || rpm.built_on == Some(*arch) {
                            let prefix = if rpm.kind == RpmKind::Debug { "debug-" } else { "" };
                            folders.entry(format!("{prefix}{arch}")).or_default().push(rpm);
                        }
                    }
                }
            }
        }
        folders
    }
}

/// The digest of a content: over the sorted set of NEVRA + body digest, so that neither order, signatures nor ids count. What
/// stands beside the packages counts by kind and digest, whichever commit it is of; where there is nothing, it is the digest
/// of the packages alone.
#[must_use]
pub fn content_digest(members: &[Member], extras: Option<&Extras>) -> Digest {
    // Of a package such a line has three words too, but the first is never this one: it has two hyphens.
    let beside =
        files(extras).iter().map(|extra| format!("extra {} {}\n", extra.kind, extra.digest.as_str()));
    let lines: BTreeSet<String> = members
        .iter()
        .flat_map(|member| &member.rpms)
        .map(|rpm| format!("{} {:?} {}\n", rpm.nevra, rpm.kind, rpm.body.as_str()))
        .chain(beside)
        .collect();
    Digest::of(lines.into_iter().collect::<String>().as_bytes())
}

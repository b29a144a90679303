//! Where a build's packages come from: SLSA provenance of version 1, as an in-toto statement.
//!
//! It is made of what the ledger says of a build that is imported, of which nothing changes any more: whoever makes it, and
//! whenever, makes the same bytes. That is why a signer can sign it and a hub can check it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::build::Build;
use crate::buildroot::LOCK_FILE;
use crate::digest::Digest;
use crate::ids::{BuildId, JobId, RequestId};
use crate::job::{Job, JobKind, JobState};
use crate::recipe::{Limits, RepoOrigin, Work};
use crate::request::{Request, RequestKind, Source};
use crate::stamp::Stamp;

/// The type of every in-toto statement of version 1.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What the predicate is.
pub const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// How packages are built here. It is only a name: nothing is served there (RFC 2606 reserves `.invalid`).
pub const BUILD_TYPE: &str = "https://grange.invalid/build/rpm/v1";
/// Who vouches for how they are built: the farm as a whole. Which of its builders did it, [`Performed`] says.
const PLATFORM: &str = "https://grange.invalid/farm/v1";
/// The kind of digest that is SHA-256 of an RPM's header and payload, which signing leaves unchanged.
pub const BODY: &str = "rpmBody";

/// Digests by kind.
type Digests = BTreeMap<String, String>;

/// The statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The type of the statement.
    #[serde(rename = "_type")]
    pub kind: String,
    /// The build's RPMs, as they were built; their signed forms have the same [`BODY`].
    pub subject: Vec<Subject>,
    /// [`PREDICATE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// Where they come from.
    pub predicate: Provenance,
}

/// One RPM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its file name.
    pub name: String,
    /// Its digests: `sha256` of the file as it was built, and [`BODY`].
    pub digest: Digests,
}

/// Where a build's packages come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was asked for and what was used.
    pub build_definition: BuildDefinition,
    /// Who did it, and when.
    pub run_details: RunDetails,
}

/// What was asked for and what was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// [`BUILD_TYPE`].
    pub build_type: String,
    /// What whoever asked has chosen.
    pub external_parameters: External,
    /// What the farm has chosen: of each architecture.
    pub internal_parameters: BTreeMap<Arch, Internal>,
    /// Everything that went in, as far as it is known by its digest.
    pub resolved_dependencies: Vec<Resource>,
}

/// What whoever asked has chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// `push` or `build`.
    pub request: String,
    /// Who pushed or asked.
    pub by: String,
    /// The SIG.
    pub sig: String,
    /// The target.
    pub target: String,
    /// The git repo, for a commit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repo: Option<String>,
    /// The branch that was pushed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub branch: Option<String>,
    /// The commit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    /// The source RPM that was uploaded, if it was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub srpm: Option<String>,
    /// The architectures it was built on.
    pub arches: Vec<Arch>,
}

/// What the farm has chosen for one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Internal {
    /// rpm macros.
    pub macros: BTreeMap<String, String>,
    /// What the build could use.
    pub limits: Limits,
    /// The repos that it could install from, the most preferred first: `name: origin`.
    pub repos: Vec<String>,
    /// Was at hand what earlier builds of the target had compiled?
    pub ccache: bool,
}

/// Something that went in or came out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// What it is called.
    pub name: String,
    /// Where it is, if it has an address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uri: Option<String>,
    /// Its digests.
    pub digest: Digests,
    /// What else is known of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub annotations: BTreeMap<String, String>,
}

/// Who did it, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDetails {
    /// Who vouches for it.
    pub builder: Builder,
    /// Which run it was.
    pub metadata: Metadata,
    /// What else came out: what was installed, and the like.
    pub byproducts: Vec<Resource>,
}

/// Who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// The farm.
    pub id: String,
    /// Which of its builders did what.
    #[serde(rename = "grange_jobs")]
    pub jobs: Vec<Performed>,
}

/// One job of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Performed {
    /// The job.
    pub job: JobId,
    /// The attempt that counted.
    pub turn: u32,
    /// `srpm` or `build`.
    pub kind: String,
    /// The architecture.
    pub arch: Arch,
    /// The builder.
    pub builder: Option<String>,
    /// When the attempt began.
    pub started_on: Option<String>,
    /// When it ended.
    pub finished_on: Option<String>,
}

/// Which run it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The request.
    pub invocation_id: RequestId,
    /// When it was asked for.
    pub started_on: String,
    /// When the build was imported.
    pub finished_on: String,
}

/// A source file as the lookaside knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownHash {
    /// Its SHA-256.
    pub digest: Digest,
    /// The kind of hash it was uploaded with: `sha512`, `md5`, …
    pub kind: String,
    /// The hash.
    pub hash: String,
}

/// A file that a job made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its name.
    pub name: String,
    /// Its SHA-256.
    pub digest: Digest,
}

/// What provenance is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The build.
    pub build: Build,
    /// The request it came from.
    pub request: Request,
    /// The request's jobs, each with the files of the attempt that counted.
    pub jobs: Vec<(Job, Vec<Made>)>,
    /// The hashes that its sources were uploaded with.
    pub hashes: Vec<KnownHash>,
}

/// The statement about a build. Equal facts make equal statements, whatever order they come in.
#[must_use]
pub fn statement(facts: &Facts) -> Statement {
    let Facts { build, request, jobs, .. } = facts;
    let mut jobs: Vec<&(Job, Vec<Made>)> = jobs.iter().collect();
    jobs.sort_by_key(|(job, _)| job.id);
    let mut subject: Vec<Subject> = build
        .rpms
        .iter()
        .map(|rpm| Subject {
            name: rpm.file.clone(),
            digest: [sha256(&rpm.digest), (BODY.to_owned(), rpm.body.as_str().to_owned())].into(),
        })
        .collect();
    subject.sort_by(|one, other| (&one.name, &one.digest).cmp(&(&other.name, &other.digest)));
    Statement {
        kind: STATEMENT.to_owned(),
        subject,
        predicate_type: PREDICATE.to_owned(),
        predicate: Provenance {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE.to_owned(),
                external_parameters: external(facts),
                internal_parameters: internal(facts, &jobs),
                resolved_dependencies: dependencies(facts, &jobs),
            },
            run_details: RunDetails {
                builder: Builder {
                    id: PLATFORM.to_owned(),
                    jobs: jobs.iter().map(|(job, _)| performed(job)).collect(),
                },
                metadata: Metadata {
                    invocation_id: request.id,
                    started_on: rfc3339(request.created),
                    finished_on: rfc3339(build.imported),
                },
                byproducts: byproducts(&jobs),
            },
        },
    }
}

fn external(facts: &Facts) -> External {
    let Facts { build, request, .. } = facts;
    let (repo, commit, srpm) = match &request.source {
        Source::Git { repo, commit, .. } => (Some(repo.clone()), Some(commit.clone()), None),
        Source::Srpm { srpm } => (None, None, Some(srpm.name.clone())),
        Source::Snapshot => (None, None, None),
    };
    let branch = if let RequestKind::Push { branch } = &request.kind { Some(branch.clone()) } else { None };
    External {
        request: request.kind.label().to_owned(),
        by: request.by.clone(),
        sig: build.sig.clone(),
        target: build.target.clone(),
        repo,
        branch,
        commit,
        srpm,
        arches: build.roots.keys().copied().collect(),
    }
}

fn internal(facts: &Facts, jobs: &[&(Job, Vec<Made>)]) -> BTreeMap<Arch, Internal> {
    let builds = jobs.iter().map(|(job, _)| job).filter(|job| job.kind == JobKind::Build);
    let of = |job: &Job| Internal {
        macros: job.recipe.macros.clone(),
        limits: job.recipe.limits.clone(),
        repos: job
            .recipe
            .repos
            .iter()
            .map(|repo| match &repo.origin {
                RepoOrigin::Snapshot { id } => format!("{}: snapshot {id}", repo.name),
                RepoOrigin::External { baseurl } => format!("{}: {baseurl}", repo.name),
            })
            .collect(),
        ccache: facts.build.roots.get(&job.arch).is_some_and(|root| root.ccache),
    };
    builds.map(|job| (job.arch, of(job))).collect()
}

/// The commit or source RPM, its tree and sources, and of each architecture the image and what was installed.
fn dependencies(facts: &Facts, jobs: &[&(Job, Vec<Made>)]) -> Vec<Resource> {
    let mut all = Vec::new();
    match &facts.request.source {
        Source::Git { repo, commit, tree } => {
            all.push(Resource {
                name: "commit".to_owned(),
                uri: Some(format!("git+{repo}@{commit}")),
                digest: [("gitCommit".to_owned(), commit.clone())].into(),
                ..Resource::default()
            });
            all.extend(tree.as_ref().map(|tree| file("tree", &tree.digest)));
        }
        Source::Srpm { srpm } => all.push(file(&srpm.name, &srpm.digest)),
        Source::Snapshot => {}
    }
    for (job, _) in jobs {
        if let Work::Srpm { sources, .. } = &job.recipe.work {
            for source in sources {
                let mut resource = file(&source.name, &source.digest);
                let known = facts.hashes.iter().filter(|known| known.digest == source.digest);
                resource.digest.extend(known.map(|known| (known.kind.clone(), known.hash.clone())));
                all.push(resource);
            }
        }
    }
    for (arch, root) in &facts.build.roots {
        all.push(Resource {
            name: format!("image {arch}"),
            digest: root
                .image_digest
                .split_once(':')
                .map(|(kind, digest)| (kind.to_owned(), digest.to_owned()))
                .into_iter()
                .collect(),
            annotations: [("image".to_owned(), root.image.clone())].into(),
            ..Resource::default()
        });
        let job = jobs.iter().map(|(job, _)| job).find(|job| job.kind == JobKind::Build && job.arch == *arch);
        all.push(Resource {
            name: format!("buildroot {arch}"),
            // Below the hub's API, where every installed package is listed with its own digest.
            uri: job.map(|job| format!("api/v1/jobs/{}/files/{LOCK_FILE}", job.id)),
            // Of the list, not of the file that it is written in.
            digest: [("grangeLock".to_owned(), root.lock.as_str().to_owned())].into(),
            ..Resource::default()
        });
    }
    all
}

/// What the jobs made besides packages.
fn byproducts(jobs: &[&(Job, Vec<Made>)]) -> Vec<Resource> {
    let mut all = Vec::new();
    for (job, made) in jobs {
        for made in made.iter().filter(|made| !made.name.ends_with(".rpm")) {
            let uri = Some(format!("api/v1/jobs/{}/files/{}", job.id, made.name));
            all.push(Resource {
                uri,
                ..file(&format!("{} {} {}", job.kind.label(), job.arch, made.name), &made.digest)
            });
        }
    }
    all.sort_by(|one, other| (&one.uri, &one.name).cmp(&(&other.uri, &other.name)));
    all
}

fn performed(job: &Job) -> Performed {
    let (builder, started, ended) = match &job.state {
        JobState::Done { at, started, builder, .. } => (builder.clone(), *started, Some(*at)),
        JobState::Building { builder, started, .. } | JobState::Stopping { builder, started, .. } => {
            (Some(builder.clone()), Some(*started), None)
        }
        JobState::Offered { builder, .. } => (Some(builder.clone()), None, None),
        JobState::Waiting { .. } => (None, None, None),
    };
    Performed {
        job: job.id,
        turn: job.turn,
        kind: job.kind.label(),
        arch: job.arch,
        builder,
        started_on: started.map(rfc3339),
        finished_on: ended.map(rfc3339),
    }
}

fn file(name: &str, digest: &Digest) -> Resource {
    Resource { name: name.to_owned(), digest: [sha256(digest)].into(), ..Resource::default() }
}

fn sha256(digest: &Digest) -> (String, String) {
    ("sha256".to_owned(), digest.as_str().to_owned())
}

/// A moment as RFC 3339 writes it, in UTC.
fn rfc3339(at: Stamp) -> String {
    const DAY: i64 = 86_400_000;
    let (days, rest) = (at.millis().div_euclid(DAY), at.millis().rem_euclid(DAY));
    // The calendar repeats every 400 years, which begin in March so that the leap day is the last.
    let since_march = days + 719_468;
    let (era, day) = (since_march.div_euclid(146_097), since_march.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1_000)
}

/// What the signed provenance of a build is called beside a repo: a build's name is safe as a file's.
#[must_use]
pub fn file_name(nvr: &str) -> String {
    format!("{nvr}.dsse.json")
}

/// A build's signed provenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SignedProvenance {
    /// The build.
    pub build: BuildId,
    /// The key for decisions that signed it.
    pub fingerprint: String,
    /// A DSSE envelope around the statement, as text.
    pub envelope: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_calendars_have_them() {
        let at = |millis: i64| rfc3339(Stamp::from_millis(millis));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_827_696_789), "2000-02-29T12:34:56.789Z");
        assert_eq!(at(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(at(-1), "1969-12-31T23:59:59.999Z");
    }
}

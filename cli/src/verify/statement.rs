//! Signed statements as an audit reads them: by their published form, not by the types they were written with.

use std::collections::{BTreeMap, BTreeSet};

use farm::digest::Digest;
use farm::dsse::{DecisionPublic, Envelope, IN_TOTO};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const DECISION: &str = "https://grange.invalid/decision/v1";
/// The suite that every decision needs besides those that its project requires.
const CLOSURE: &str = "repoclosure";

/// An in-toto statement.
#[derive(Debug, Deserialize)]
pub(super) struct Statement<P> {
    #[serde(rename = "_type")]
    kind: String,
    pub(super) subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    pub(super) predicate: P,
}

/// A file that a statement is about.
#[derive(Debug, Deserialize)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) digest: BTreeMap<String, String>,
}

/// Why a snapshot was let through.
#[derive(Debug, Deserialize)]
pub(super) struct Decision {
    pub(super) tag: String,
    pub(super) sig: String,
    pub(super) target: String,
    pub(super) snapshot: String,
    pub(super) revision: i64,
    base: Option<String>,
    content: String,
    course: Course,
    required: Vec<Requirement>,
    results: Vec<TestResult>,
    #[serde(default)]
    before: Vec<TestResult>,
    waivers: Vec<Waiver>,
    pub(super) members: Vec<Member>,
    /// What stands beside the packages; decisions of before there was such a thing name none.
    #[serde(default)]
    extras: Option<Extras>,
    made: i64,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Course {
    Forward,
    Back { to: String },
}

#[derive(Debug, Deserialize)]
struct Requirement {
    suite: String,
    arch: String,
    #[serde(default)]
    on: Option<String>,
}

#[derive(Debug, Deserialize)]
struct TestResult {
    content: String,
    suite: String,
    arch: String,
    #[serde(default)]
    on: Option<String>,
    #[serde(default)]
    against: Option<String>,
    environment: String,
    verdict: Verdict,
    at: i64,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    kind: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Waiver {
    target: String,
    suite: String,
    arch: Option<String>,
    on: Option<String>,
    scope: Scope,
    until: i64,
    revoked: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Scope {
    Content { content: String },
    Build { build: String },
}

/// A build that was decided on.
#[derive(Debug, Deserialize)]
pub(super) struct Member {
    build: String,
    pub(super) nvr: String,
    pub(super) rpms: Vec<Decided>,
}

/// An RPM that was decided on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Decided {
    pub(super) file: String,
    pub(super) nevra: String,
    pub(super) kind: Kind,
    /// SHA-256 of header and payload.
    pub(super) body: String,
    /// SHA-256 of the file.
    pub(super) sha256: String,
    pub(super) size: u64,
    /// The fingerprint of the key whose signature is in it.
    pub(super) key: String,
}

/// The files beside the packages that were decided on.
#[derive(Debug, Deserialize)]
struct Extras {
    files: Vec<Beside>,
}

/// A file beside the packages that was decided on.
#[derive(Debug, Deserialize)]
pub(super) struct Beside {
    /// As `repomd.xml` calls it.
    pub(super) kind: String,
    /// SHA-256 of the file before it is compressed.
    pub(super) digest: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Binary,
    Debug,
    Source,
}

/// The statement in an envelope, if one of these keys has signed it and it is of this kind.
pub(super) fn open<P: DeserializeOwned>(
    envelope: &[u8],
    keys: &[DecisionPublic],
    predicate_type: &str,
) -> Result<Statement<P>, String> {
    let text = std::str::from_utf8(envelope).map_err(|_| "it is no text".to_owned())?;
    let envelope = Envelope::from_json(text).map_err(|error| error.to_string())?;
    let (payload, _) = envelope.open(IN_TOTO, keys).map_err(|error| error.to_string())?;
    /// What it is, before the rest of it is believed to be that.
    #[derive(Deserialize)]
    struct Type {
        #[serde(rename = "predicateType")]
        predicate_type: String,
    }
    let unclear = |error: serde_json::Error| format!("the statement in it cannot be read: {error}");
    let Type { predicate_type: found } = serde_json::from_slice(&payload).map_err(unclear)?;
    if found != predicate_type {
        let found: String = found.chars().take(100).collect();
        return Err(format!("it is a statement of the kind `{found}`, not `{predicate_type}`"));
    }
    let statement: Statement<P> = serde_json::from_slice(&payload).map_err(unclear)?;
    if statement.kind != STATEMENT || statement.predicate_type != predicate_type {
        return Err("it is no in-toto statement of version 1".to_owned());
    }
    Ok(statement)
}

/// A signed decision.
pub(super) fn decision(envelope: &[u8], keys: &[DecisionPublic]) -> Result<Statement<Decision>, String> {
    open(envelope, keys, DECISION)
}

impl Statement<Decision> {
    /// The digest of the `repomd.xml` of each folder it is about.
    pub(super) fn folders(&self) -> BTreeMap<&str, &str> {
        let folder = |subject: &'_ Subject| subject.name.strip_suffix("/repodata/repomd.xml").map(str::len);
        self.subject
            .iter()
            .filter_map(|subject| Some((&subject.name[..folder(subject)?], sha256(subject)?)))
            .collect()
    }

    /// Every RPM that was decided on.
    pub(super) fn rpms(&self) -> impl Iterator<Item = &Decided> {
        self.predicate.members.iter().flat_map(|member| &member.rpms)
    }

    /// Every file beside the packages that was decided on.
    pub(super) fn beside(&self) -> &[Beside] {
        self.predicate.extras.as_ref().map(|extras| extras.files.as_slice()).unwrap_or_default()
    }

    /// What is wrong with it in itself: sentences.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let Decision { content, course, required, results, members, .. } = &self.predicate;
        let named: BTreeSet<(&str, &str)> = self
            .subject
            .iter()
            .filter(|subject| !subject.name.ends_with("/repodata/repomd.xml"))
            .filter_map(|subject| Some((subject.name.as_str(), sha256(subject)?)))
            .collect();
        let listed: BTreeSet<(&str, &str)> =
            self.rpms().map(|rpm| (rpm.file.as_str(), rpm.sha256.as_str())).collect();
        if named != listed {
            faults.push("its subjects are not the packages that it lists".to_owned());
        }
        let kinds: BTreeSet<&str> = self.beside().iter().map(|file| file.kind.as_str()).collect();
        if kinds.len() != self.beside().len() {
            faults.push("it names two files of one kind beside the packages".to_owned());
        }
        // Computed anew, so that results can only be about what is listed.
        if content_of(members, self.beside()) != *content {
            faults.push(
                "the content it names is not that of the packages it lists and of the files beside them"
                    .to_owned(),
            );
        }
        if let Some(other) = results.iter().find(|result| result.content != *content) {
            faults.push(format!(
                "the result of suite {} on {} is about another content",
                other.suite, other.arch
            ));
        }
        match course {
            Course::Forward => faults.extend(self.untested(required)),
            // It was tested when it was published first; going back is a person's word.
            Course::Back { to } if to.is_empty() => faults.push("it goes back to nothing".to_owned()),
            Course::Back { to: _ } => {}
        }
        faults
    }

    /// What was required and is not shown.
    fn untested(&self, required: &[Requirement]) -> Vec<String> {
        let Decision { base, results, before, waivers, .. } = &self.predicate;
        let mut faults = Vec::new();
        let arches: BTreeSet<&str> = self
            .folders()
            .into_keys()
            .filter(|folder| *folder != "source" && !folder.starts_with("debug-"))
            .collect();
        for arch in arches {
            let of = |suite: fn(&str) -> bool| {
                required.iter().any(|one| one.arch == arch && one.on.is_none() && suite(&one.suite))
            };
            if !of(|suite| suite == CLOSURE) {
                faults.push(format!("it did not require {CLOSURE} on {arch}"));
            }
            if !of(|suite| suite != CLOSURE) {
                faults.push(format!("it required no suite of the project on {arch}"));
            }
        }
        for one in required {
            let newest = self.newest(results, one);
            let passed = newest.is_some_and(|result| result.verdict.kind == "passed");
            // What fails above with what was live before, too, beside the same things, does not hold up the repo below.
            let of_before = newest.zip(self.newest(before, one));
            let was_broken = one.on.is_some()
                && base.is_some()
                && of_before.is_some_and(|(newest, before)| {
                    [newest, before].iter().all(|result| result.verdict.kind == "failed")
                        && newest.environment == before.environment
                });
            if passed || was_broken || waivers.iter().any(|waiver| self.covers(waiver, one)) {
                continue;
            }
            let of = one.on.as_ref().map_or_else(String::new, |target| format!(" of {target}"));
            let shown = match newest {
                None => "was not run".to_owned(),
                Some(result) => format!("{}: {}", result.verdict.kind, result.verdict.reason),
            };
            faults.push(format!(
                "required suite {}{of} on {} {shown}, and no waiver covers it",
                one.suite, one.arch
            ));
        }
        faults
    }

    /// The last word on what was required.
    fn newest<'a>(&self, known: &'a [TestResult], one: &Requirement) -> Option<&'a TestResult> {
        // What a change breaks is shown of the change of something, where there was something.
        let compares = one.suite == CLOSURE && one.on.is_none();
        let is_of_it = |result: &&TestResult| {
            (&result.suite, &result.arch, &result.on) == (&one.suite, &one.arch, &one.on)
                && (!compares || result.against.is_some() == self.predicate.base.is_some())
        };
        known.iter().filter(is_of_it).max_by_key(|result| result.at)
    }

    fn covers(&self, waiver: &Waiver, one: &Requirement) -> bool {
        let Decision { content, members, made, target, .. } = &self.predicate;
        let in_scope = match &waiver.scope {
            Scope::Content { content: about } => about == content,
            Scope::Build { build } => members.iter().any(|member| member.build == *build),
        };
        in_scope
            && waiver.revoked.is_none()
            && *made < waiver.until
            && waiver.target == *target
            && waiver.suite == one.suite
            && waiver.on == one.on
            && waiver.arch.as_ref().is_none_or(|arch| *arch == one.arch)
    }
}

fn sha256(subject: &Subject) -> Option<&str> {
    subject.digest.get("sha256").map(String::as_str)
}

/// Names a content: SHA-256 over the sorted lines `NEVRA kind body`, and `extra kind digest` of what stands beside the packages.
fn content_of(members: &[Member], beside: &[Beside]) -> String {
    let line = |rpm: &Decided| format!("{} {:?} {}\n", rpm.nevra, rpm.kind, rpm.body);
    let extra = |file: &Beside| format!("extra {} {}\n", file.kind, file.digest);
    let packages = members.iter().flat_map(|member| &member.rpms).map(line);
    let lines: BTreeSet<String> = packages.chain(beside.iter().map(extra)).collect();
    Digest::of(lines.into_iter().collect::<String>().as_bytes()).as_str().to_owned()
}

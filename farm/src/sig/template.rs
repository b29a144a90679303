//! A SIG as code: the TOML template a community keeps under version control, read strictly.
//!
//! Everything wrong is said at once, each with its line and what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{Clash, ExternalRepo, Project, RepoBranch, Role, Share, Sig, is_dist, is_name, is_tag_like};
use crate::arch::Arch;
use crate::gate::{CLOSURE, UNDER_TEST};
use crate::nvr::is_package_name;
use crate::recheck::WHOLE;
use crate::recipe::Limits;

/// Days the results of scratch builds are kept unless the template says otherwise.
pub const SCRATCH_DAYS: u32 = 7;
/// The image builds run in unless the template says otherwise.
pub const DEFAULT_IMAGE: &str = "grange/debian-rpm:$arch";

/// The weights a SIG may have.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=100;

/// How many approvers a project may ask for.
const APPROVERS: std::ops::RangeInclusive<u32> = 1..=5;

/// Something wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1; `None` when it is about the whole file.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

/// Everything wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults {
    /// The file, as the user named it.
    pub file: String,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if let Some(line) = fault.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": {} (fix: {})", fault.what, fault.fix)?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    name: Spanned<String>,
    #[serde(default)]
    title: String,
    #[serde(default)]
    member: Vec<MemberEntry>,
    #[serde(default)]
    project: Vec<ProjectEntry>,
    #[serde(default)]
    share: ShareEntry,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ShareEntry {
    #[serde(default)]
    weight: Option<Spanned<u32>>,
    #[serde(default)]
    cap: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MemberEntry {
    name: Spanned<String>,
    roles: BTreeSet<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ProjectEntry {
    name: Spanned<String>,
    release: Spanned<String>,
    dist: Spanned<String>,
    arches: Spanned<Vec<Arch>>,
    packages: Vec<Spanned<String>>,
    #[serde(default)]
    image: Option<Spanned<String>>,
    #[serde(default)]
    macros: BTreeMap<Spanned<String>, String>,
    #[serde(default)]
    branches: Vec<Spanned<String>>,
    #[serde(default)]
    default_branch: Option<bool>,
    #[serde(default)]
    inherit: Vec<Spanned<String>>,
    #[serde(default)]
    external_repo: Vec<ExternalEntry>,
    #[serde(default)]
    tests: TestsEntry,
    #[serde(default)]
    metadata: Option<BranchEntry>,
    #[serde(default)]
    promotion: PromotionEntry,
    #[serde(default)]
    stack: Vec<StackEntry>,
    #[serde(default)]
    repo: RepoEntry,
    #[serde(default)]
    retention: RetentionEntry,
    #[serde(default)]
    limits: Option<Limits>,
    #[serde(default)]
    labels: Vec<Spanned<String>>,
    #[serde(default)]
    ccache_mb: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ExternalEntry {
    name: Spanned<String>,
    baseurl: Spanned<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TestsEntry {
    #[serde(default)]
    required: Vec<Spanned<String>>,
    #[serde(default)]
    suites: Option<BranchEntry>,
    #[serde(default)]
    nightly: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PromotionEntry {
    #[serde(default)]
    approvers: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StackEntry {
    name: Spanned<String>,
    #[serde(default)]
    packages: Vec<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RepoEntry {
    #[serde(default)]
    zstd: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BranchEntry {
    repo: Spanned<String>,
    branch: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RetentionEntry {
    scratch_days: u32,
}

impl Default for RetentionEntry {
    fn default() -> Self {
        Self { scratch_days: SCRATCH_DAYS }
    }
}

/// Reads a template. `file` is only named in faults.
///
/// # Errors
/// [`Faults`]: every syntax error, unknown key or bad name with its line.
pub fn parse(file: &str, text: &str) -> Result<Sig, Faults> {
    let entry: File = toml::from_str(text).map_err(|error| Faults {
        file: file.to_owned(),
        faults: vec![Fault {
            line: error.span().map(|span| line_of(text, &span)),
            what: error.message().trim().to_owned(),
            fix: hint(error.message()),
        }],
    })?;
    let mut reader = Reader { text, faults: Vec::new() };
    let sig = reader.sig(entry);
    if reader.faults.is_empty() {
        Ok(sig)
    } else {
        Err(Faults { file: file.to_owned(), faults: reader.faults })
    }
}

/// Clashes with other SIGs, said as faults of this template with the lines of the names they are about.
#[must_use]
pub fn locate(file: &str, text: &str, clashes: Vec<Clash>) -> Faults {
    let faults = clashes
        .into_iter()
        .map(|clash| Fault {
            line: text.lines().position(|line| mentions(line, &clash.name)).map(|index| index + 1),
            what: clash.what,
            fix: clash.fix,
        })
        .collect();
    Faults { file: file.to_owned(), faults }
}

fn mentions(line: &str, name: &str) -> bool {
    line.contains(&format!("\"{name}\"")) || line.contains(&format!("'{name}'"))
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    text[..span.start.min(text.len())].matches('\n').count() + 1
}

/// For an unknown key, the nearest known one. serde's message is `unknown field `x`, expected one of `a`, `b``.
fn hint(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown ")
        && let Some(given) = names.next()
    {
        let nearest = names.min_by_key(|known| strsim::damerau_levenshtein(given, known));
        // For a value, a guess that is far off misleads; a wrong key is told its nearest one in any case.
        let is_near = |known: &&str| strsim::damerau_levenshtein(given, known) <= given.len() / 2;
        if let Some(known) = nearest.filter(|known| message.starts_with("unknown field") || is_near(known)) {
            return format!("did you mean `{known}`?");
        }
    }
    if message.starts_with("missing field") {
        return "add it; sig-templates/README.md lists every key".to_owned();
    }
    "sig-templates/README.md lists every key with its form".to_owned()
}

struct Reader<'a> {
    text: &'a str,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, span: &Range<usize>, what: String, fix: &str) {
        self.faults.push(Fault { line: Some(line_of(self.text, span)), what, fix: fix.to_owned() });
    }

    fn check(&mut self, value: &Spanned<String>, good: fn(&str) -> bool, what: &str, fix: &str) -> String {
        let text = value.get_ref();
        if !good(text) {
            self.fault(&value.span(), format!("`{text}` is not {what}"), fix);
        }
        text.clone()
    }

    fn sig(&mut self, entry: File) -> Sig {
        let name = self.check(&entry.name, is_name, "a SIG name", NAME_FIX);
        let mut members: BTreeMap<String, BTreeSet<Role>> = BTreeMap::new();
        for member in entry.member {
            let person = self.check(
                &member.name,
                is_person,
                "a person's name",
                "letters, digits, `.`, `_` and `-`, at most 40",
            );
            if members.insert(person.clone(), member.roles).is_some() {
                self.fault(
                    &member.name.span(),
                    format!("{person} is listed twice"),
                    "put all roles into one [[member]]",
                );
            }
        }
        let mut projects: Vec<Project> = Vec::new();
        for project in entry.project {
            let span = project.name.span();
            let project = self.project(&name, project);
            if projects.iter().any(|known| known.stem() == project.stem()) {
                self.fault(
                    &span,
                    format!("project {} for {} is listed twice", project.folder(), project.dist),
                    "put it into one [[project]]",
                );
            }
            projects.push(project);
        }
        projects.sort_by_key(Project::stem);
        Sig {
            title: if entry.title.is_empty() { name.clone() } else { entry.title },
            name,
            members,
            projects,
            share: self.share(&entry.share),
        }
    }

    fn share(&mut self, entry: &ShareEntry) -> Share {
        let mut share = Share::default();
        if let Some(weight) = &entry.weight {
            share.weight = *weight.get_ref();
            if !WEIGHTS.contains(&share.weight) {
                self.fault(
                    &weight.span(),
                    format!("{} is not a weight", share.weight),
                    "a number from 1 to 100; a SIG with weight 2 gets twice the machine time of one with weight 1",
                );
            }
        }
        share.cap = entry.cap.as_ref().map(|cap| *cap.get_ref());
        if let Some(cap) = entry.cap.as_ref().filter(|cap| *cap.get_ref() == 0) {
            self.fault(
                &cap.span(),
                "with a cap of 0 nothing of this SIG would ever be built".to_owned(),
                "1 or more; leave it out for no limit",
            );
        }
        share
    }

    fn project(&mut self, sig: &str, entry: ProjectEntry) -> Project {
        let mut project = Project {
            sig: sig.to_owned(),
            name: self.check(&entry.name, is_name, "a project name", NAME_FIX),
            release: self.check(
                &entry.release,
                is_release,
                "a project's release",
                "letters, digits and `.`, such as \"11\" or \"epoxy\"",
            ),
            dist: self.check(
                &entry.dist,
                is_dist,
                "a distribution",
                "digits, then `s` for Stream: \"9\", \"9s\", \"10s\"",
            ),
            arches: entry.arches.get_ref().clone(),
            packages: BTreeSet::new(),
            image: DEFAULT_IMAGE.to_owned(),
            macros: BTreeMap::new(),
            branches: BTreeSet::new(),
            inherit: Vec::new(),
            external: Vec::new(),
            required: Vec::new(),
            suites: None,
            metadata: None,
            nightly: entry.tests.nightly,
            approvers: 1,
            stacks: BTreeMap::new(),
            zstd: entry.repo.zstd,
            scratch_days: entry.retention.scratch_days,
            ccache_mb: entry.ccache_mb.as_ref().map_or(0, |size| *size.get_ref()),
            limits: entry.limits.unwrap_or_default(),
            labels: BTreeSet::new(),
        };
        if let Some(size) = &entry.ccache_mb {
            self.ccache(size, &project.limits);
        }
        if project.arches.is_empty() {
            self.fault(
                &entry.arches.span(),
                "no architecture is named".into(),
                "name at least one, such as [\"x86_64\"]",
            );
        }
        project.arches.sort_unstable();
        project.arches.dedup();
        if let Some(image) = &entry.image {
            project.image = self.check(
                image,
                is_image,
                "an image",
                "as the container engine names it, such as \"grange/debian-rpm:$arch\"",
            );
        }
        for package in &entry.packages {
            let name = self.check(
                package,
                is_package_name,
                "a package name",
                "as rpm allows: letters, digits and `_.+-`",
            );
            project.packages.insert(name);
        }
        for (key, value) in &entry.macros {
            let name = self.check(key, is_macro, "an rpm macro name", "letters, digits and `_`, at least 3");
            project.macros.insert(name, value.clone());
        }
        if entry.default_branch.unwrap_or(true) {
            project.branches.insert(project.default_branch());
        }
        for branch in &entry.branches {
            let name = self.check(branch, is_branch, "a branch name", "such as c9s-sig-storage-gluster-next");
            project.branches.insert(name);
        }
        for tag in &entry.inherit {
            let name = self.check(
                tag,
                |t| super::split_tag(t).is_some(),
                "a stage tag",
                "<sig><dist>-<project>-<release>-<stage>, stage being candidate, testing or release",
            );
            project.inherit.push(name);
        }
        for repo in &entry.external_repo {
            if project.external.iter().any(|known| known.name == *repo.name.get_ref()) {
                self.fault(
                    &repo.name.span(),
                    format!("external repo {} is listed twice", repo.name.get_ref()),
                    "give each its own name: it is dnf's repo id",
                );
            }
            if *repo.name.get_ref() == UNDER_TEST || is_tag_like(repo.name.get_ref()) {
                self.fault(
                    &repo.name.span(),
                    format!(
                        "external repo {} has a name that only repos of the farm have",
                        repo.name.get_ref()
                    ),
                    "call it otherwise: `under-test` is what a test is about, and <sig><dist>-<project>-<release>-<stage> a tag; \
                     to use a tag of the farm, name it in `inherit`",
                );
            }
            project.external.push(ExternalRepo {
                name: self.check(&repo.name, is_repo_id, "a repo id", "letters, digits, `_`, `.` and `-`"),
                baseurl: self.check(
                    &repo.baseurl,
                    is_baseurl,
                    "a repo's URL",
                    "it begins with file:///, http:// or https://",
                ),
            });
        }
        for label in &entry.labels {
            let name =
                self.check(label, is_label, "a label", "letters, digits, `_`, `.` and `-`, at most 40");
            project.labels.insert(name);
        }
        for suite in &entry.tests.required {
            let name = self.check(
                suite,
                is_suite,
                "a suite name",
                "letters, digits, `_` and `-`: a folder below the package's tests/",
            );
            if BUILT_IN.contains(&&*name) {
                self.fault(
                    &suite.span(),
                    format!("suite {name} is the farm's own, and no suite of this name would be run"),
                    "leave it out: the farm checks that in any case; is it a suite of yours, give its folder another name",
                );
            }
            if !project.required.contains(&name) {
                project.required.push(name);
            }
        }
        self.gate(&mut project, &entry.promotion, &entry.stack);
        project.suites = entry.tests.suites.map(|suites| self.branch(&suites, "tests/storage"));
        project.metadata = entry.metadata.map(|metadata| self.branch(&metadata, "metadata/storage"));
        project
    }
}

impl Reader<'_> {
    fn branch(&mut self, entry: &BranchEntry, such_as: &str) -> RepoBranch {
        let fix = format!("two segments, such as {such_as}");
        RepoBranch {
            repo: self.check(&entry.repo, is_repo_path, "a repo on the git server", &fix),
            branch: self.check(&entry.branch, is_branch, "a branch name", "such as main or c9s-sig-storage"),
        }
    }

    /// A ccache lies in the memory that the build itself may use, and twice while it is taken out, once of that on its disk.
    fn ccache(&mut self, size: &Spanned<u64>, limits: &Limits) {
        let most = limits.memory_mb.min(limits.disk_mb) / 4;
        if !(1..=most).contains(size.get_ref()) {
            self.fault(
                &size.span(),
                format!("a ccache of {} MiB does not fit a build", size.get_ref()),
                &format!(
                    "from 1 to {most}: at most a quarter of the project's limits.memory_mb and limits.disk_mb, which it counts \
                     against; leave it out for none"
                ),
            );
        }
    }

    /// How many must approve, and what is promoted by name.
    fn gate(&mut self, project: &mut Project, promotion: &PromotionEntry, stacks: &[StackEntry]) {
        if let Some(approvers) = &promotion.approvers {
            project.approvers = *approvers.get_ref();
            if !APPROVERS.contains(&project.approvers) {
                self.fault(
                    &approvers.span(),
                    format!("{} is not a number of approvers", project.approvers),
                    "a number from 1 to 5: so many release managers must agree before production changes",
                );
            }
        }
        for stack in stacks {
            let name = self.check(&stack.name, is_name, "a stack's name", NAME_FIX);
            let mut packages = BTreeSet::new();
            for package in &stack.packages {
                if !project.packages.contains(package.get_ref()) {
                    self.fault(
                        &package.span(),
                        format!(
                            "package {} of stack {name} is not in the project's `packages`",
                            package.get_ref()
                        ),
                        "add it there, or leave `packages` of the stack out for all of the project's",
                    );
                }
                packages.insert(package.get_ref().clone());
            }
            if project.stacks.insert(name.clone(), super::Stack { packages }).is_some() {
                self.fault(
                    &stack.name.span(),
                    format!("stack {name} is listed twice"),
                    "put it into one [[project.stack]]",
                );
            }
        }
    }
}

const NAME_FIX: &str = "lower-case letters, digits and single hyphens, beginning with a letter, at most 40";

fn within(text: &str, max: usize, also: &str) -> bool {
    (1..=max).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

/// Suites that the farm shows by itself, in its own version: asked for by name they would stand for nothing, and yet be a suite
/// that the project requires. (`installs` is run as asked.)
const BUILT_IN: [&str; 2] = [CLOSURE, WHOLE];

/// Names the farm itself acts under.
const RESERVED: [&str; 2] = ["gate", "sweep"];

/// Is this a name a person may have: letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 40, and none
/// the farm itself acts under (`gate`, `sweep`)?
#[must_use]
pub fn is_person(text: &str) -> bool {
    !RESERVED.contains(&text)
        && within(text, 40, "._-")
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Is this a suite's name, safe as a path segment?
#[must_use]
pub fn is_suite(text: &str) -> bool {
    within(text, 64, "_-") && !text.starts_with('-')
}

/// Is this a label a builder may have and a target may ask for: letters, digits, `_`, `.` and `-`, at most 40?
#[must_use]
pub fn is_label(text: &str) -> bool {
    within(text, 40, "._-")
}

/// Is this a repo's path on the git server: two safe segments, such as `rpms/hello`?
#[must_use]
pub fn is_repo_path(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(folder, name)| is_name(folder) && is_package_name(name) && !name.ends_with(".git"))
}

/// Is this a branch name git accepts and that is safe everywhere else?
#[must_use]
pub fn is_branch(text: &str) -> bool {
    within(text, 128, "._-")
        && !text.starts_with(['-', '.'])
        && !text.contains("..")
        && !text.ends_with(".lock")
}

fn is_release(text: &str) -> bool {
    within(text, 40, ".") && !text.starts_with('.')
}
fn is_repo_id(text: &str) -> bool {
    within(text, 64, "._-")
}
fn is_macro(text: &str) -> bool {
    within(text, 64, "_") && text.len() >= 3
}
fn is_image(text: &str) -> bool {
    within(text, 255, "._-/:@$") && !text.starts_with('-')
}
fn is_baseurl(text: &str) -> bool {
    ["file:///", "http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
        && !text.contains(char::is_whitespace)
        && !text.contains("..")
}

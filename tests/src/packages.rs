//! Sample packages of the stories: what is pushed, and what the dummy engine makes of it.
//!
//! The dist-git tree is real (a spec, suites); the spec says in a comment how the package behaves, and the dummy engine
//! does accordingly, putting out real RPM files.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::farm::digest::Digest;
use ::farm::recipe::{Recipe, Work};
use builder::engine::{Script, Step};
use hub::rpms::sample::sample_rpm;

/// What becomes of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It builds and passes its tests.
    Builds,
    /// rpmbuild cannot parse its spec.
    DoesNotParse,
    /// `%build` fails.
    FailsToBuild,
    /// It builds, and its suite fails.
    FailsItsTests,
    /// It never ends.
    Hangs,
    /// It takes a while to build.
    TakesAWhile,
    /// It writes log lines without end.
    PrintsForever,
    /// The kernel kills it.
    EatsMemory,
    /// It builds for another architecture only.
    ExcludesX86,
}

impl Behaviour {
    const ALL: [(Behaviour, &'static str); 9] = [
        (Behaviour::Builds, "builds"),
        (Behaviour::DoesNotParse, "does-not-parse"),
        (Behaviour::FailsToBuild, "fails-to-build"),
        (Behaviour::FailsItsTests, "fails-its-tests"),
        (Behaviour::Hangs, "hangs"),
        (Behaviour::TakesAWhile, "takes-a-while"),
        (Behaviour::PrintsForever, "prints-forever"),
        (Behaviour::EatsMemory, "eats-memory"),
        (Behaviour::ExcludesX86, "excludes-x86"),
    ];
}

/// A package to be pushed.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What becomes of it.
    pub behaviour: Behaviour,
    /// Its `sources` file.
    pub sources: Option<String>,
}

impl Package {
    /// A package that behaves so.
    #[must_use]
    pub fn new(name: &str, version: &str, behaviour: Behaviour) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), behaviour, sources: None }
    }

    /// Its dist-git tree: path, content, executable.
    #[must_use]
    pub fn tree(&self) -> Vec<(String, String, bool)> {
        let Package { name, version, behaviour, sources } = self;
        let word =
            Behaviour::ALL.iter().find(|(known, _)| known == behaviour).map_or("builds", |(_, word)| word);
        let spec = format!(
            "# behaviour: {word}\nName: {name}\nVersion: {version}\nRelease: 1\nSummary: A sample\nLicense: MIT\n%description\n%files\n"
        );
        let mut tree = vec![
            (format!("{name}.spec"), spec, false),
            ("tests/runs/run.sh".to_owned(), "#!/bin/sh\ntrue\n".to_owned(), true),
        ];
        tree.extend(sources.clone().map(|text| ("sources".to_owned(), text, false)));
        tree
    }

    /// What its build will be called.
    #[must_use]
    pub fn nvr(&self) -> String {
        format!("{}-{}-1", self.name, self.version)
    }

    fn from_spec(spec: &str) -> Option<Package> {
        let field = |key: &str| {
            spec.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
        };
        let word = field("# behaviour:")?;
        let behaviour = Behaviour::ALL.iter().find(|(_, known)| *known == word)?.0;
        Some(Package { name: field("Name:")?, version: field("Version:")?, behaviour, sources: None })
    }
}

/// What the dummy engine knows: which source RPM is which package.
#[derive(Clone, Default)]
pub(crate) struct Workshop {
    known: Arc<Mutex<BTreeMap<Digest, Package>>>,
}

impl Workshop {
    /// Makes a source RPM, as a developer would at home.
    pub(crate) fn source_rpm(&self, package: &Package) -> (String, Vec<u8>) {
        let mut sample = sample_rpm(&package.name, &package.version, "1", "src");
        if package.behaviour == Behaviour::ExcludesX86 {
            sample.exclusive = vec!["s390x".to_owned()];
        }
        let bytes = sample.bytes().expect("a sample can be made");
        self.known.lock().expect("nobody panics holding it").insert(Digest::of(&bytes), package.clone());
        (sample.file_name(), bytes)
    }

    /// What a container does. `artifacts` is where the hub of the same process keeps its blobs.
    pub(crate) fn script(&self, recipe: &Recipe, step: Step, artifacts: &Path) -> Script {
        match (&recipe.work, step) {
            (Work::Srpm { tree, spec, .. }, _) => {
                let blob = artifacts.join(&tree.digest.as_str()[..2]).join(tree.digest.as_str());
                let text = file_of(&std::fs::read(blob).expect("the hub has the tree"), spec);
                let package = Package::from_spec(&text).expect("a story's spec says how it behaves");
                if package.behaviour == Behaviour::DoesNotParse {
                    let line = "error: line 3: Unknown tag: Nmae: typo";
                    return Script::default().says(line).exits(1);
                }
                let (name, bytes) = self.source_rpm(&package);
                Script::default().says("Wrote: the source RPM").puts_out(name, bytes)
            }
            (Work::Build { .. }, Step::Dependencies) => Script::default().says("Nothing to do."),
            (Work::Build { srpm }, _) => {
                let package = self.known.lock().expect("nobody panics holding it").get(&srpm.digest).cloned();
                build(&package.expect("the source RPM came from here"), recipe)
            }
            (Work::Test { .. }, Step::Install) => Script::default().says("Complete!"),
            (Work::Test { packages, .. }, _) => {
                let known = self.known.lock().expect("nobody panics holding it");
                let failing = known.values().any(|package| {
                    package.behaviour == Behaviour::FailsItsTests
                        && packages.iter().any(|nevra| nevra.starts_with(&package.nvr()))
                });
                if failing {
                    Script::default().says("FAIL: it does not say hello").exits(1)
                } else {
                    Script::default().says("ok")
                }
            }
        }
    }
}

fn build(package: &Package, recipe: &Recipe) -> Script {
    let rpm = sample_rpm(&package.name, &package.version, "1", recipe.arch.as_str());
    let bytes = rpm.bytes().expect("a sample can be made");
    let good = Script::default().says("+ make").puts_out(rpm.file_name(), bytes);
    match package.behaviour {
        Behaviour::FailsToBuild => {
            Script::default().says("error: Bad exit status from /var/tmp/rpm-tmp.x (%build)").exits(1)
        }
        Behaviour::Hangs => Script::default().says("+ sleep infinity").hangs(),
        Behaviour::TakesAWhile => good.takes(Duration::from_millis(1_500)),
        Behaviour::PrintsForever => {
            (0..40).fold(Script::default(), |script, _| script.says("y".repeat(64 * 1024)))
        }
        Behaviour::EatsMemory => Script::default().says("+ ./eat").runs_out_of_memory(),
        Behaviour::Builds | Behaviour::DoesNotParse | Behaviour::FailsItsTests | Behaviour::ExcludesX86 => {
            good
        }
    }
}

fn file_of(tar: &[u8], path: &str) -> String {
    let mut archive = tar::Archive::new(Cursor::new(tar));
    for entry in archive.entries().expect("the tree is a tar") {
        let mut entry = entry.expect("the tree is a tar");
        if entry.path().is_ok_and(|found| found == Path::new(path)) {
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("a spec is text");
            return text;
        }
    }
    panic!("the tree has no {path}");
}

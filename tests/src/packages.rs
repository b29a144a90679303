//! Sample packages of the stories: what is pushed, and what the dummy engine makes of it.
//!
//! The dist-git tree is real (a spec, suites); the spec says in a comment how the package behaves, and the dummy engine
//! does accordingly, putting out real RPM files.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ::farm::arch::Arch;
use ::farm::chain::PROVIDES_FILE;
use ::farm::digest::Digest;
use ::farm::recipe::{Recipe, Work};
use builder::engine::{Script, Step};
use hub::rpms::sample::sample_rpm;

/// What a line of a spec begins with.
const REQUIRES: &str = "BuildRequires:";
const NEEDS: &str = "Requires:";
const PROVIDES: &str = "Provides:";
const FOUND: &str = "# found:";

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
    /// Its build ends when the story lets it: see [`crate::Farm::go`].
    Waits,
    /// It writes log lines without end.
    PrintsForever,
    /// The kernel kills it.
    EatsMemory,
    /// It builds for another architecture only.
    ExcludesX86,
    /// Its source RPM is made when the story lets it.
    WaitsToBePacked,
    /// It builds everywhere but on s390x.
    FailsOnS390x,
}

impl Behaviour {
    const ALL: [(Behaviour, &'static str); 11] = [
        (Behaviour::Builds, "builds"),
        (Behaviour::DoesNotParse, "does-not-parse"),
        (Behaviour::FailsToBuild, "fails-to-build"),
        (Behaviour::FailsItsTests, "fails-its-tests"),
        (Behaviour::Hangs, "hangs"),
        (Behaviour::Waits, "waits"),
        (Behaviour::PrintsForever, "prints-forever"),
        (Behaviour::EatsMemory, "eats-memory"),
        (Behaviour::ExcludesX86, "excludes-x86"),
        (Behaviour::WaitsToBePacked, "waits-to-be-packed"),
        (Behaviour::FailsOnS390x, "fails-on-s390x"),
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
    /// What its build requires.
    pub requires: Vec<String>,
    /// What must be there where it is installed.
    pub needs: Vec<String>,
    /// What its spec says it provides besides itself.
    pub provides: Vec<String>,
    /// What it provides that only shows when it is built.
    pub found: Vec<String>,
}

impl Package {
    /// A package that behaves so.
    #[must_use]
    pub fn new(name: &str, version: &str, behaviour: Behaviour) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            behaviour,
            sources: None,
            requires: Vec::new(),
            needs: Vec::new(),
            provides: Vec::new(),
            found: Vec::new(),
        }
    }

    /// The same package whose build requires this.
    #[must_use]
    pub fn requires(mut self, name: &str) -> Self {
        self.requires.push(name.to_owned());
        self
    }

    /// The same package, which can be installed only where this is provided.
    #[must_use]
    pub fn needs(mut self, name: &str) -> Self {
        self.needs.push(name.to_owned());
        self
    }

    /// The same package whose spec says that it provides this.
    #[must_use]
    pub fn provides(mut self, name: &str) -> Self {
        self.provides.push(name.to_owned());
        self
    }

    /// The same package, of which rpm finds out that it provides this.
    #[must_use]
    pub fn found_to_provide(mut self, name: &str) -> Self {
        self.found.push(name.to_owned());
        self
    }

    /// Its dist-git tree: path, content, executable.
    #[must_use]
    pub fn tree(&self) -> Vec<(String, String, bool)> {
        let Package { name, version, behaviour, sources, requires, needs, provides, found } = self;
        let word =
            Behaviour::ALL.iter().find(|(known, _)| known == behaviour).map_or("builds", |(_, word)| word);
        let lines = |key: &str, names: &[String]| {
            names.iter().map(|name| format!("{key} {name}\n")).collect::<String>()
        };
        let spec = format!(
            "# behaviour: {word}\n{}Name: {name}\nVersion: {version}\nRelease: 1\nSummary: A sample\nLicense: MIT\n{}{}{}%description\n%files\n",
            lines(FOUND, found),
            lines(REQUIRES, requires),
            lines(NEEDS, needs),
            lines(PROVIDES, provides),
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

    pub(crate) fn from_spec(spec: &str) -> Option<Package> {
        let field = |key: &str| {
            spec.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
        };
        let word = field("# behaviour:")?;
        let behaviour = Behaviour::ALL.iter().find(|(_, known)| *known == word)?.0;
        let all = |key: &str| {
            spec.lines()
                .filter_map(|line| line.strip_prefix(key))
                .map(|value| value.trim().to_owned())
                .collect()
        };
        let mut package = Package::new(&field("Name:")?, &field("Version:")?, behaviour);
        package.requires = all(REQUIRES);
        package.needs = all(NEEDS);
        package.provides = all(PROVIDES);
        package.found = all(FOUND);
        Some(package)
    }
}

/// What the dummy engine knows: which source RPM is which package, and in which folder the story says what may go on.
#[derive(Clone)]
pub(crate) struct Workshop {
    known: Arc<Mutex<BTreeMap<Digest, Package>>>,
    folder: PathBuf,
}

impl Workshop {
    /// A workshop that knows nothing yet. The folder must be there.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { known: Arc::default(), folder: folder.to_owned() }
    }

    /// The file for which a package waits.
    pub(crate) fn go(&self, package: &Package) -> PathBuf {
        self.folder.join(format!("go-{}", package.nvr()))
    }

    /// Makes a source RPM, as a developer would at home.
    pub(crate) fn source_rpm(&self, package: &Package) -> (String, Vec<u8>) {
        let mut sample = sample_rpm(&package.name, &package.version, "1", "src");
        if package.behaviour == Behaviour::ExcludesX86 {
            sample.exclusive = vec!["s390x".to_owned()];
        }
        sample.requires.clone_from(&package.requires);
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
                let told = [vec![package.name.clone()], package.provides.clone()].concat().join(" = 1-1\n");
                let script = Script::default().says("Wrote: the source RPM").puts_out(name, bytes);
                let script = script.puts_out(PROVIDES_FILE, told);
                let waits = package.behaviour == Behaviour::WaitsToBePacked;
                if waits { script.waits_for(self.go(&package)) } else { script }
            }
            (Work::Build { .. }, Step::Dependencies) => Script::default().says("Nothing to do."),
            (Work::Build { .. }, Step::Lock) => Script::default(),
            (Work::Build { srpm }, _) => {
                let package = self.known.lock().expect("nobody panics holding it").get(&srpm.digest).cloned();
                let package = package.expect("the source RPM came from here");
                let script = build(&package, recipe);
                let waits = package.behaviour == Behaviour::Waits;
                if waits { script.waits_for(self.go(&package)) } else { script }
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
    let mut rpm = sample_rpm(&package.name, &package.version, "1", recipe.arch.as_str());
    rpm.requires.clone_from(&package.needs);
    rpm.provides = [package.provides.clone(), package.found.clone()].concat();
    let bytes = rpm.bytes().expect("a sample can be made");
    let good = Script::default().says("+ make").puts_out(rpm.file_name(), bytes);
    match package.behaviour {
        Behaviour::FailsOnS390x if recipe.arch != Arch::S390x => good,
        Behaviour::FailsToBuild | Behaviour::FailsOnS390x => {
            Script::default().says("error: Bad exit status from /var/tmp/rpm-tmp.x (%build)").exits(1)
        }
        Behaviour::Hangs => Script::default().says("+ sleep infinity").hangs(),
        Behaviour::PrintsForever => {
            (0..40).fold(Script::default(), |script, _| script.says("y".repeat(64 * 1024)))
        }
        Behaviour::EatsMemory => Script::default().says("+ ./eat").runs_out_of_memory(),
        Behaviour::Builds
        | Behaviour::DoesNotParse
        | Behaviour::FailsItsTests
        | Behaviour::ExcludesX86
        | Behaviour::Waits
        | Behaviour::WaitsToBePacked => good,
    }
}

pub(crate) fn file_of(tar: &[u8], path: &str) -> String {
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

//! What the builders of a farm of processes do, and what they write down of it: the yard is a folder they share with the
//! story.
//!
//! A package's build says [`lines`] slowly, then waits for the file `go` in the yard, then puts out its package. So a story
//! decides how long everything runs, and knows every byte of every log. Of a package whose name begins with `quick` it does
//! neither; one whose name begins with `large` puts out [`LARGE`] bytes.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::farm::arch::Arch;
use ::farm::chain::PROVIDES_FILE;
use ::farm::digest::Digest;
use ::farm::recipe::{Recipe, Work};
use builder::engine::{Script, Step};
use hub::rpms::sample::sample_rpm;

use crate::packages::{Package, file_of};

/// Lines of a build's log, and how far apart they are said.
const LINES: u32 = 24;
const PACE: Duration = Duration::from_millis(400);
/// Bytes that a large package has, which no compression makes less.
pub const LARGE: usize = 2 * 1024 * 1024;

/// The file that lets builds end.
const GO: &str = "go";
/// Where containers are written down as they start.
const STARTS: &str = "starts";

/// The folder.
#[derive(Debug, Clone)]
pub struct Yard {
    folder: PathBuf,
    /// Where the hub of the same machine keeps its blobs.
    artifacts: PathBuf,
}

/// The steps a farm has told of, and the one at which it is to stop, with what it is to do there.
const STEPS: &str = "steps";
const ORDER: &str = "order";
const HELD: &str = "held";

/// What a farm does at a step that its story names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It is killed.
    Die,
    /// It waits there until the order is taken back.
    Hold,
}

/// A container that was started: for which package and which work, by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// `apple-1`.
    pub package: String,
    /// `srpm` or `build`.
    pub work: String,
    /// The builder's name.
    pub builder: String,
}

impl Yard {
    /// The yard in a folder, which must be there.
    #[must_use]
    pub fn new(folder: PathBuf, artifacts: PathBuf) -> Self {
        Self { folder, artifacts }
    }

    /// Lets builds end.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn go(&self) {
        std::fs::write(self.folder.join(GO), "").expect("a file");
    }

    /// From now on builds do not end.
    pub fn wait(&self) {
        let _was_not_there = std::fs::remove_file(self.folder.join(GO));
    }

    /// From now on tests on this architecture wait too.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn late(&self, arch: Arch) {
        std::fs::write(self.folder.join(arch.as_str()), "").expect("a file");
    }

    fn is_late(&self, arch: Arch) -> bool {
        self.folder.join(arch.as_str()).exists()
    }

    /// Everything that was started, oldest first.
    #[must_use]
    pub fn starts(&self) -> Vec<Start> {
        let text = std::fs::read_to_string(self.folder.join(STARTS)).unwrap_or_default();
        let start = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some(Start { package: words.next()?, work: words.next()?, builder: words.next()? })
        };
        text.lines().filter_map(start).collect()
    }

    /// How many containers a builder had when it last said so.
    #[must_use]
    pub fn containers(&self, builder: &str) -> Option<usize> {
        std::fs::read_to_string(self.containers_file(builder)).ok()?.trim().parse().ok()
    }

    /// A builder says how many containers it has.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn say_containers(&self, builder: &str, count: usize) -> std::io::Result<()> {
        let partly = self.folder.join(format!("{builder}.partly"));
        std::fs::write(&partly, count.to_string())?;
        std::fs::rename(partly, self.containers_file(builder))
    }

    fn containers_file(&self, builder: &str) -> PathBuf {
        self.folder.join(format!("{builder}.containers"))
    }

    /// Every step that was told of since the last [`Yard::forget_steps`], each once, in the order of their first time.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join(STEPS)).unwrap_or_default();
        let mut steps: Vec<String> = Vec::new();
        for step in text.lines() {
            if !steps.iter().any(|known| known == step) {
                steps.push(step.to_owned());
            }
        }
        steps
    }

    /// From now on steps count anew.
    pub fn forget_steps(&self) {
        let _was_not_there = std::fs::remove_file(self.folder.join(STEPS));
    }

    /// A farm tells of a step.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn tell_step(&self, step: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.folder.join(STEPS));
        file.and_then(|mut file| file.write_all(format!("{step}\n").as_bytes()))
            .expect("the yard can be written to");
    }

    /// Orders a farm to stop when it takes this step.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn order(&self, order: Order, step: &str) {
        let partly = self.folder.join("order.partly");
        let word = match order {
            Order::Die => "die",
            Order::Hold => "hold",
        };
        std::fs::write(&partly, format!("{word} {step}")).expect("a file");
        std::fs::rename(partly, self.folder.join(ORDER)).expect("a file");
    }

    /// Takes the order back.
    pub fn countermand(&self) {
        for file in [ORDER, HELD] {
            let _was_not_there = std::fs::remove_file(self.folder.join(file));
        }
    }

    /// What is to be done at this step.
    #[must_use]
    pub fn order_at(&self, step: &str) -> Option<Order> {
        let text = std::fs::read_to_string(self.folder.join(ORDER)).ok()?;
        let (word, at) = text.split_once(' ')?;
        let order = if word == "die" { Order::Die } else { Order::Hold };
        (at == step).then_some(order)
    }

    /// A farm waits where it was ordered to.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn say_held(&self) {
        std::fs::write(self.folder.join(HELD), "").expect("a file");
    }

    /// Does a farm wait where it was ordered to?
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.folder.join(HELD).exists()
    }

    /// What a container of a builder does.
    ///
    /// # Panics
    /// When a tree has no spec of ours, or the disk refuses: then the attempt breaks down and the story fails.
    #[must_use]
    pub fn script(&self, builder: &str, recipe: &Recipe, step: Step) -> Script {
        match (&recipe.work, step) {
            (Work::Srpm { tree, spec, .. }, _) => {
                let blob = self.artifacts.join(&tree.digest.as_str()[..2]).join(tree.digest.as_str());
                let text = file_of(&std::fs::read(blob).expect("the hub has the tree"), spec);
                let package = Package::from_spec(&text).expect("a story's spec says how it behaves");
                self.write_down(&format!("{}-{}", package.name, package.version), "srpm", builder);
                let (name, bytes) = source_rpm(&package.name, &package.version);
                Script::default()
                    .puts_out(name, bytes)
                    .puts_out(PROVIDES_FILE, format!("{} = 1-1\n", package.name))
            }
            (Work::Build { srpm }, Step::Build) => {
                let package = srpm.name.strip_suffix("-1.src.rpm").expect("a source RPM of ours");
                self.write_down(package, "build", builder);
                self.build(package, recipe)
            }
            (Work::Test { .. }, _) if self.is_late(recipe.arch) => {
                Script::default().says("Complete!").waits_for(self.folder.join(GO))
            }
            (Work::Build { .. } | Work::Test { .. }, _) => Script::default().says("Complete!"),
        }
    }

    fn build(&self, package: &str, recipe: &Recipe) -> Script {
        let (name, version) = package.rsplit_once('-').expect("a name and a version");
        let mut rpm = sample_rpm(name, version, "1", recipe.arch.as_str());
        if name.starts_with("large") {
            rpm.content = noise(name, LARGE);
        }
        let bytes = rpm.bytes().expect("a sample can be made");
        let script = lines(package).into_iter().fold(Script::default(), Script::says);
        let script = script.puts_out(rpm.file_name(), bytes);
        if name.starts_with("quick") { script } else { script.paced(PACE).waits_for(self.folder.join(GO)) }
    }

    /// One line, written at once: several builders write to the file.
    fn write_down(&self, package: &str, work: &str, builder: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.folder.join(STARTS));
        let line = format!("{package} {work} {builder}\n");
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the yard can be written to");
    }
}

/// What the build of a package (`apple-1`) says.
#[must_use]
pub fn lines(package: &str) -> Vec<String> {
    let line =
        |number| format!("{package} {number}: {}", Digest::of(format!("{package}{number}").as_bytes()));
    (0..LINES).map(line).collect()
}

/// A source RPM and its name.
///
/// # Panics
/// When rpm does not allow it.
#[must_use]
pub fn source_rpm(name: &str, version: &str) -> (String, Vec<u8>) {
    let sample = sample_rpm(name, version, "1", "src");
    (sample.file_name(), sample.bytes().expect("a sample can be made"))
}

/// Text that looks like chance and is the same each time.
fn noise(seed: &str, size: usize) -> String {
    let mut text = String::with_capacity(size + 64);
    let mut number = 0_u32;
    while text.len() < size {
        let _infallible = write!(text, "{}", Digest::of(format!("{seed}{number}").as_bytes()));
        number += 1;
    }
    text
}

/// The folder a hub keeps its blobs in.
#[must_use]
pub fn artifacts(data: &Path) -> PathBuf {
    data.join("artifacts")
}

//! What a container is asked to be, and how it ended.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use farm::ids::JobId;
use farm::recipe::Recipe;

/// One container, complete.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// Whose it is; becomes its labels.
    pub owner: Owner,
    /// What it is for.
    pub step: Step,
    /// Counts the containers of the same step in one attempt, from 1.
    pub round: u32,
    /// The recipe being followed: its limits and architecture hold for the container.
    pub recipe: Arc<Recipe>,
    /// The image it starts from: the recipe's, by its name or id, or one that was committed.
    pub image: String,
    /// The program and its arguments. No part of it is ever read by a shell that the caller did not name.
    pub command: Vec<String>,
    /// Environment variables, over those of the image.
    pub env: Vec<(String, String)>,
    /// Files and directories of the host, all read-only.
    pub mounts: Vec<Mount>,
    /// What it may do.
    pub profile: Profile,
}

impl ContainerSpec {
    /// The container's name: unique among those that exist at one time.
    #[must_use]
    pub fn name(&self) -> String {
        let Self { owner: Owner { builder: _, job, turn }, step, round, .. } = self;
        format!("grange-{job}-{turn}-{step}-{round}")
    }
}

/// An attempt, as an engine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The builder's name.
    pub builder: String,
    /// The job.
    pub job: JobId,
    /// The turn.
    pub turn: u32,
}

impl Owner {
    /// The labels that containers and committed images of this attempt carry, as name and value.
    #[must_use]
    pub fn labels(&self) -> [(&'static str, String); 3] {
        let [builder] = [Self::builder_label(&self.builder)];
        [builder, ("org.grange.job", self.job.to_string()), ("org.grange.turn", self.turn.to_string())]
    }

    /// The label that everything of one builder carries.
    #[must_use]
    pub fn builder_label(builder: &str) -> (&'static str, String) {
        ("org.grange.builder", builder.to_owned())
    }
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Makes a source RPM. Standard output: it.
    Srpm,
    /// Installs what a source RPM needs to be built.
    Dependencies,
    /// Lists what is installed. Standard output: the lists, as files.
    Lock,
    /// Builds a source RPM. Standard output: the binary RPMs, or what is still needed if the exit code is 11.
    Build,
    /// Installs the packages to be tested.
    Install,
    /// Runs a suite on them. Standard output: its result files.
    Suite,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Srpm => "srpm",
            Step::Dependencies => "dependencies",
            Step::Lock => "lock",
            Step::Build => "build",
            Step::Install => "install",
            Step::Suite => "suite",
        })
    }
}

/// Something of the host that the container can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is on the host: absolute, and there.
    pub from: PathBuf,
    /// Where it is in the container: absolute.
    pub to: String,
}

/// What the code in a container may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// For code of strangers: user 1000, no capability, no network, and a root that is read-only but for in-memory
    /// disks at `/builddir` (as large as the recipe's limit), `/tmp` and `/var/tmp`.
    Locked,
    /// For installing packages and testing them installed: root with the few capabilities that takes, in a writable
    /// root that is watched for its size.
    Installer {
        /// Whether it may reach a network: only if a recipe names a repo there.
        network: bool,
    },
}

/// The exit code of a command that got the signal KILL.
pub const KILLED: i64 = 137;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The stopped container.
    pub container: ContainerId,
    /// How.
    pub ending: Ending,
    /// The engine knows that the kernel killed at least one of its processes for want of memory. Podman often does not
    /// know of it: then only [`KILLED`] is left of it.
    pub oom_killed: bool,
}

/// How a container's command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code. 128 and more mean a signal.
    Exited(i64),
    /// It ran longer than the recipe allows and was killed.
    TimedOut,
    /// The caller had it killed.
    Stopped,
    /// It wrote more to standard error than `log` takes and was killed.
    LogOverflow,
    /// It wrote more to standard output than `output` takes and was killed.
    OutputOverflow,
    /// It wrote more to its writable root than the recipe's disk and was killed.
    DiskOverflow,
}

/// An engine's name for a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerId(pub String);

/// An engine's name for an image's content: `sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageId(pub String);

/// An image, as an engine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its content.
    pub id: ImageId,
    /// Its size, with everything it was made from.
    pub bytes: u64,
}

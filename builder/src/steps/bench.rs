//! What the steps of one attempt work with.

use std::path::PathBuf;
use std::sync::Arc;

use farm::digest::Digest;
use farm::recipe::{Input, Limits, Recipe};

use crate::attempt::Interrupts;
use crate::client::{AttemptClient, Slice};
use crate::engine::{
    ContainerId, ContainerSpec, Ended, Ending, EngineError, ImageFacts, KILLED, Mount, Owner, Profile, Step,
};
use crate::halt::{Halt, OrFarm as _};
use crate::intake::Outputs;
use crate::logs::Logs;
use crate::reasons;
use crate::slot::Tools;
use crate::spool::Spool;
use crate::workspace::Workspace;

pub(super) const MIB: u64 = 1024 * 1024;
/// Bytes at the end of a log in which the reason for a failure is looked for.
const TAIL: u64 = 256 * 1024;
/// Room for what tar adds around the files.
const FRAMES: u64 = MIB;

/// One attempt's means.
pub(crate) struct Bench<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) client: &'a AttemptClient,
    pub(crate) interrupts: &'a Interrupts,
    pub(crate) workspace: &'a Workspace,
    pub(crate) logs: &'a mut Logs,
    pub(crate) journal: &'a mut Journal,
    pub(crate) owner: Owner,
    pub(crate) recipe: Arc<Recipe>,
}

/// One container's task.
pub(super) struct Task<'a> {
    pub(super) step: Step,
    pub(super) round: u32,
    pub(super) image: &'a str,
    /// A script of ours, for bash.
    pub(super) script: &'static str,
    pub(super) arguments: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) mounts: Vec<Mount>,
    pub(super) profile: Profile,
}

/// A container that ended by itself.
pub(super) struct Ran {
    pub(super) container: ContainerId,
    pub(super) code: i64,
    /// What it wrote to standard output.
    pub(super) stream: PathBuf,
    /// The end of what it wrote to standard error.
    pub(super) tail: String,
}

impl Bench<'_> {
    /// Opens a log of the attempt.
    pub(super) async fn log(&mut self, name: &'static str) -> Result<Spool, Halt> {
        let limit = self.recipe.limits.log_mb.saturating_mul(MIB);
        self.logs.open(name, limit).await.or_farm("keep a log")
    }

    /// Fetches an input to `name` below the inputs.
    pub(super) async fn fetch(&self, input: &Input, name: &str) -> Result<(), Halt> {
        self.unless_interrupted(self.workspace.fetch(self.client, &self.tools.cache, input, name)).await
    }

    /// Does something that may be broken off half-way.
    pub(super) async fn unless_interrupted<T>(
        &self,
        doing: impl Future<Output = Result<T, Halt>>,
    ) -> Result<T, Halt> {
        tokio::select! {
            biased;
            () = self.interrupts.stop().cancelled() => Err(Halt::Interrupted),
            result = doing => result,
        }
    }

    /// The image the recipe names, as it is now. Containers start from its content: the name may come to mean another.
    pub(super) async fn base(&mut self) -> Result<ImageFacts, Halt> {
        let Recipe { image, arch, .. } = &*self.recipe;
        let found = self.tools.engine.image(image).await?;
        let found = found.ok_or_else(|| EngineError::NoImage { image: image.clone(), arch: *arch })?;
        self.journal.note(&format!("Image: {image} is {}", found.id.0)).await;
        Ok(found)
    }

    /// Runs a container; `log` is where it says what it does.
    ///
    /// # Errors
    /// If it did not end by itself, or lost a process to the kernel and failed.
    pub(super) async fn run(&mut self, task: Task<'_>, log: &mut Spool) -> Result<Ran, Halt> {
        let what = format!("{} (round {})", task.step, task.round);
        self.journal.note(&format!("Start: {what} in {}", task.image)).await;
        let result = self.run_unnoted(task, log).await;
        let end = match &result {
            Ok(ran) => format!("exit code {}", ran.code),
            Err(Halt::Package(why) | Halt::Farm(why)) => why.clone(),
            Err(Halt::Interrupted) => "interrupted".to_owned(),
        };
        self.journal.note(&format!("Finish: {what}: {end}")).await;
        result
    }

    async fn run_unnoted(&mut self, task: Task<'_>, log: &mut Spool) -> Result<Ran, Halt> {
        let limits = &self.recipe.limits;
        let stream = self.workspace.out().join(format!("{}-{}.tar", task.step, task.round));
        // A ccache comes out beside the packages and must not make them too many.
        let beside = if task.step == Step::Build { self.recipe.ccache_mb() } else { 0 };
        let room = limits.output_mb.saturating_add(beside).saturating_mul(MIB).saturating_add(FRAMES);
        let mut output = Spool::create(&stream, room).await.or_farm("keep what a container makes")?;
        let mut command: Vec<String> =
            ["/bin/bash", "-c", task.script, "grange"].map(str::to_owned).into_iter().collect();
        command.extend(task.arguments);
        // rpm would count the host's cores instead of those the container may use.
        let mut env = vec![
            ("HOME".to_owned(), "/builddir".to_owned()),
            ("RPM_BUILD_NCPUS".to_owned(), limits.cpus.max(1).to_string()),
        ];
        env.extend(task.env);
        let spec = ContainerSpec {
            owner: self.owner.clone(),
            step: task.step,
            round: task.round,
            recipe: self.recipe.clone(),
            image: task.image.to_owned(),
            command,
            env,
            mounts: task.mounts,
            profile: task.profile,
        };
        let before = log.size();
        let ended = self.tools.engine.run(&spec, &mut output, log, self.interrupts.stop()).await?;
        let code = judge(task.step, &ended, limits)?;
        let tail = tail(log, before).or_farm("read a log again")?;
        Ok(Ran { container: ended.container, code, stream, tail })
    }

    /// Why a container's command failed: by a limit it ran into, or by what `reason` finds.
    pub(super) fn failure(&self, ran: &Ran, reason: impl FnOnce(&str) -> String) -> Halt {
        let limit = reasons::broken_limit(&ran.tail, &self.recipe.limits);
        Halt::Package(limit.unwrap_or_else(|| reason(&ran.tail)))
    }

    /// Uploads a file that the builder itself has written.
    pub(super) async fn upload_own(&mut self, name: &str, content: &[u8]) -> Result<(), Halt> {
        let place = self.workspace.out().join(name);
        std::fs::write(&place, content).or_farm("write into its workspace")?;
        let slice = Slice { file: &place, offset: 0, size: content.len() as u64 };
        let digest = Digest::of(content);
        let upload = async { self.client.file(name, &digest, slice).await.map_err(Halt::from) };
        // The package has no part in it.
        self.unless_interrupted(upload).await.map_err(|halt| match halt {
            Halt::Package(why) => Halt::Farm(why),
            Halt::Farm(_) | Halt::Interrupted => halt,
        })
    }

    /// Uploads the files that came out of a container.
    pub(super) async fn upload(&mut self, outputs: &Outputs) -> Result<(), Halt> {
        let limits = &self.recipe.limits;
        if outputs.files.iter().map(|file| file.size).sum::<u64>() > limits.output_mb.saturating_mul(MIB) {
            return Err(Halt::Package(too_much(limits)));
        }
        for file in &outputs.files {
            self.journal.note(&format!("Upload: {} ({} bytes)", file.name, file.size)).await;
            let upload = async {
                self.client.file(&file.name, &file.digest, outputs.slice(file)).await.map_err(Halt::from)
            };
            self.unless_interrupted(upload).await?;
        }
        Ok(())
    }

    /// The recipe's macros as rpmbuild's arguments.
    pub(super) fn defines(&self) -> impl Iterator<Item = String> {
        let macros = self.recipe.macros.iter();
        macros.flat_map(|(name, value)| ["--define".to_owned(), format!("{name} {value}")])
    }
}

/// The exit code, or why there is none that counts.
fn judge(step: Step, ended: &Ended, limits: &Limits) -> Result<i64, Halt> {
    let reason = match ended.ending {
        Ending::Stopped => return Err(Halt::Interrupted),
        // A package may well survive the loss of a process, for example when it tests how much it can have.
        Ending::Exited(0) => return Ok(0),
        _ if ended.oom_killed => format!("out of memory (limit {} MiB)", limits.memory_mb),
        // The engine does not know who killed it; the package itself may have.
        Ending::Exited(KILLED) => {
            format!(
                "was killed (exit code {KILLED}), most likely out of memory (limit {} MiB)",
                limits.memory_mb
            )
        }
        Ending::Exited(code) => return Ok(code),
        Ending::TimedOut => format!("took longer than {}", span(limits.seconds)),
        Ending::LogOverflow => format!("wrote more than {} MiB of log", limits.log_mb),
        Ending::OutputOverflow => too_much(limits),
        Ending::DiskOverflow => format!("no space left on the build's disk (limit {} MiB)", limits.disk_mb),
    };
    Err(match step {
        // What is installed is others' work, from repos and over lines that are the farm's.
        Step::Dependencies | Step::Lock => Halt::Farm(format!("{step}: {reason}")),
        Step::Srpm | Step::Build | Step::Install | Step::Suite => Halt::Package(reason),
    })
}

fn too_much(limits: &Limits) -> String {
    format!("made more than {} MiB of files", limits.output_mb)
}

/// A span as people say it.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ => format!("{:#}", jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))),
    }
}

fn tail(log: &Spool, before: u64) -> std::io::Result<String> {
    use std::io::{Read as _, Seek as _};
    let mut file = std::fs::File::open(log.path())?;
    file.seek(std::io::SeekFrom::Start(before.max(log.size().saturating_sub(TAIL))))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The log of what the builder itself does.
pub(crate) struct Journal(Spool);

impl Journal {
    pub(crate) fn new(spool: Spool) -> Self {
        Self(spool)
    }

    /// Adds a line with the time. A line that cannot be kept is not worth failing for.
    pub(crate) async fn note(&mut self, line: &str) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ");
        if let Err(error) = self.0.append(format!("{now} {line}\n").as_bytes()).await {
            tracing::warn!(%error, line, "cannot keep a line of the state log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(ending: Ending, oom_killed: bool) -> Result<i64, Halt> {
        judge(
            Step::Build,
            &Ended { container: ContainerId("c".to_owned()), ending, oom_killed },
            &Limits::default(),
        )
    }

    #[test]
    fn every_broken_limit_is_named_with_its_size() {
        let package = |reason: &str| Err(Halt::Package(reason.to_owned()));
        assert_eq!(judged(Ending::Exited(0), true), Ok(0));
        assert_eq!(judged(Ending::Exited(3), false), Ok(3));
        assert_eq!(judged(Ending::Exited(3), true), package("out of memory (limit 4096 MiB)"));
        assert_eq!(
            judged(Ending::Exited(137), false),
            package("was killed (exit code 137), most likely out of memory (limit 4096 MiB)")
        );
        assert_eq!(judged(Ending::Exited(137), true), package("out of memory (limit 4096 MiB)"));
        assert_eq!(judged(Ending::TimedOut, true), package("out of memory (limit 4096 MiB)"));
        assert_eq!(judged(Ending::TimedOut, false), package("took longer than 4 h"));
        assert_eq!(judged(Ending::LogOverflow, false), package("wrote more than 64 MiB of log"));
        assert_eq!(judged(Ending::Stopped, true), Err(Halt::Interrupted));
        let ended =
            Ended { container: ContainerId("c".to_owned()), ending: Ending::TimedOut, oom_killed: false };
        let installing = judge(Step::Dependencies, &ended, &Limits::default());
        assert_eq!(installing, Err(Halt::Farm("dependencies: took longer than 4 h".to_owned())));
    }

    #[test]
    fn spans_read_as_people_say_them() {
        assert_eq!([5, 119, 600, 14_400].map(span), ["5 s", "119 s", "10 min", "4 h"]);
        assert_eq!(span(3_725), "1h 2m 5s");
    }
}

//! Docker, and Podman's service, which speaks Docker's language.
//!
//! The builder attaches before it starts the container and keeps the log itself. Asking the engine for the log
//! afterwards loses data on Podman, and would let a stranger's code fill the engine's disk.

mod images;
mod leftovers;

use std::pin::pin;
use std::time::Duration;

use bollard::ClientVersion;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error as Bollard;
use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, InspectContainerOptionsBuilder,
    KillContainerOptionsBuilder, StartContainerOptions,
};
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::spec::{ContainerId, ContainerSpec, Ended, Ending, Profile};
use super::{EngineError, profile};
use crate::spool::{Room, Spool};

/// The dialect: the newest that Docker 20.10 speaks, and old enough for Podman 4.
const DIALECT: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// Seconds one call may take. Committing a large root is the slowest.
const CALL_SECONDS: u64 = 600;

/// How long a killed container may take to be gone, and a finished one to be reported as such.
const GRACE: Duration = Duration::from_secs(20);

/// How often a container that is about to end is looked at.
const GLANCE: Duration = Duration::from_millis(25);

/// How often a writable root is measured. The engine walks its files for that, so not more often.
const MEASURE: Duration = Duration::from_secs(5);

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;

/// A connection to Docker or Podman.
#[derive(Debug, Clone)]
pub struct Docker {
    client: bollard::Docker,
}

impl Docker {
    pub(super) fn connect(address: &str) -> Result<Self, EngineError> {
        let bad = || EngineError::BadAddress { address: address.to_owned() };
        if !address.starts_with("unix:///") {
            return Err(bad());
        }
        let client =
            bollard::Docker::connect_with_unix(address, CALL_SECONDS, &DIALECT).map_err(|_| bad())?;
        Ok(Self { client })
    }

    pub(super) async fn ping(&self) -> Result<(), EngineError> {
        self.client.ping().await.map(drop).map_err(failed("answer"))
    }

    pub(super) async fn run(
        &self,
        spec: &ContainerSpec,
        output: &mut Spool,
        log: &mut Spool,
        stop: &CancellationToken,
    ) -> Result<Ended, EngineError> {
        let container = self.create(spec).await?;
        let ended = self.run_created(spec, &container, output, log, stop).await;
        if ended.is_err() {
            // Best effort: what cannot be removed now is found by its labels later.
            let _removed = self.remove(&container.0).await;
        }
        ended
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        let options = CreateContainerOptionsBuilder::default()
            .name(&spec.name())
            .platform(profile::platform(spec.recipe.arch))
            .build();
        match self.client.create_container(Some(options), profile::body(spec)).await {
            Ok(created) => Ok(ContainerId(created.id)),
            Err(Bollard::DockerResponseServerError { status_code: NOT_FOUND, .. }) => {
                Err(EngineError::NoImage { image: spec.image.clone(), arch: spec.recipe.arch })
            }
            Err(error) => Err(failed("create a container")(error)),
        }
    }

    async fn run_created(
        &self,
        spec: &ContainerSpec,
        container: &ContainerId,
        output: &mut Spool,
        log: &mut Spool,
        stop: &CancellationToken,
    ) -> Result<Ended, EngineError> {
        let ContainerId(id) = container;
        let attach = AttachContainerOptionsBuilder::default().stream(true).stdout(true).stderr(true).build();
        let attached =
            self.client.attach_container(id, Some(attach)).await.map_err(failed("attach to a container"))?;
        self.client
            .start_container(id, None::<StartContainerOptions>)
            .await
            .map_err(failed("start a container"))?;
        let killed = self.follow(spec, id, attached, output, log, stop).await?;
        let state = self.stopped(id).await?;
        let ending = killed.unwrap_or(Ending::Exited(state.exit_code.unwrap_or(-1)));
        let oom_killed = state.oom_killed.unwrap_or(false);
        Ok(Ended { container: container.clone(), ending, oom_killed })
    }

    /// Takes in what the container says until it ends; `Some` is why it had to be killed.
    ///
    /// Reading never pauses for anything else: Docker does not finish killing a container whose output nobody takes.
    async fn follow(
        &self,
        spec: &ContainerSpec,
        id: &str,
        attached: AttachContainerResults,
        output: &mut Spool,
        log: &mut Spool,
        stop: &CancellationToken,
    ) -> Result<Option<Ending>, EngineError> {
        let mut said = attached.output;
        let mut deadline = Instant::now() + Duration::from_secs(spec.recipe.limits.seconds);
        let mut overflow = pin!(self.overflow(spec, id));
        let mut killed = None;
        loop {
            let reason = tokio::select! {
                heard = said.next() => match heard {
                    None => return Ok(killed),
                    Some(Err(error)) => return Err(failed("pass on what a container says")(error)),
                    // What a killed container still had to say is of no use.
                    Some(Ok(_)) if killed.is_some() => None,
                    Some(Ok(message)) => take_in(message, output, log).await?,
                },
                () = sleep_until(deadline) => {
                    if killed.is_some() {
                        return Err(failed("kill a container")("it is still there"));
                    }
                    Some(Ending::TimedOut)
                }
                () = stop.cancelled(), if killed.is_none() => Some(Ending::Stopped),
                overflow = &mut overflow, if killed.is_none() => Some(overflow?),
            };
            if reason.is_some() {
                killed = reason;
                deadline = Instant::now() + GRACE;
                tokio::spawn(self.clone().kill(id.to_owned()));
            }
        }
    }

    /// Waits until the container has written too much to its root, if it has one that can be written to.
    async fn overflow(&self, spec: &ContainerSpec, id: &str) -> Result<Ending, EngineError> {
        if spec.profile == Profile::Locked {
            return std::future::pending().await;
        }
        let limit = spec.recipe.limits.disk_mb.saturating_mul(1024 * 1024);
        let options = InspectContainerOptionsBuilder::default().size(true).build();
        loop {
            sleep(MEASURE).await;
            let written = match self.client.inspect_container(id, Some(options.clone())).await {
                Ok(facts) => facts.size_rw.unwrap_or(0),
                // A container that is just ending; see `stopped`.
                Err(Bollard::JsonDataError { .. }) => 0,
                Err(error) => return Err(failed("measure a container")(error)),
            };
            if u64::try_from(written).unwrap_or(0) > limit {
                return Ok(Ending::DiskOverflow);
            }
        }
    }

    async fn kill(self, id: String) {
        let options = KillContainerOptionsBuilder::default().signal("KILL").build();
        match self.client.kill_container(&id, Some(options)).await {
            // A conflict means that it ended by itself in the meantime.
            Ok(()) | Err(Bollard::DockerResponseServerError { status_code: CONFLICT | NOT_FOUND, .. }) => {}
            // Whoever follows the container finds out that it is still there.
            Err(error) => tracing::error!(container = id, %error, "cannot kill a container"),
        }
    }

    /// Waits for a container whose streams have ended to be reported as stopped. Polling it is on purpose: the call
    /// that waits has no answer on Podman before the end, and would run into the client's time limit.
    ///
    /// Only what it calls its end is one: Podman says of a container that somebody is removing that it does not run
    /// and has exit code 0, long before it has an exit code at all.
    async fn stopped(&self, id: &str) -> Result<ContainerState, EngineError> {
        let deadline = Instant::now() + GRACE;
        loop {
            match self.client.inspect_container(id, None).await {
                Ok(ContainerInspectResponse { state: Some(state), .. })
                    if matches!(state.status, Some(Status::EXITED | Status::DEAD)) =>
                {
                    return Ok(state);
                }
                // Podman calls a container that is just ending "stopped", a word Docker does not have.
                Ok(_) | Err(Bollard::JsonDataError { .. }) if Instant::now() < deadline => {
                    sleep(GLANCE).await
                }
                Ok(_) => {
                    let broke = "the connection broke while it ran";
                    return Err(failed("pass on what a container says")(broke));
                }
                Err(error) => return Err(failed("inspect a container")(error)),
            }
        }
    }
}

async fn take_in(
    message: LogOutput,
    output: &mut Spool,
    log: &mut Spool,
) -> Result<Option<Ending>, EngineError> {
    let (room, ending) = match message {
        LogOutput::StdOut { message } => (output.append(&message).await?, Ending::OutputOverflow),
        LogOutput::StdErr { message } | LogOutput::Console { message } => {
            (log.append(&message).await?, Ending::LogOverflow)
        }
        LogOutput::StdIn { .. } => return Ok(None),
    };
    Ok((room == Room::Exhausted).then_some(ending))
}

fn failed<E: std::fmt::Display>(doing: &'static str) -> impl Fn(E) -> EngineError {
    move |error| EngineError::Failed { doing, why: error.to_string() }
}

//! Docker, and Podman's service, which speaks Docker's language.
//!
//! The builder attaches before it starts the container and keeps the log itself. Asking the engine for the log
//! afterwards loses data on Podman, and would let a stranger's code fill the engine's disk.

use std::collections::HashMap;
use std::time::Duration;

use bollard::ClientVersion;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error as Bollard;
use bollard::models::{ContainerConfig, ContainerState};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CommitContainerOptionsBuilder, CreateContainerOptionsBuilder,
    InspectContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    ListImagesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
    StartContainerOptions,
};
use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::spec::{ContainerId, ContainerSpec, Ended, Ending, ImageId, Owner, Profile};
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

type Label = (&'static str, String);

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
        Ok(Ended { container: container.clone(), ending, oom_killed: state.oom_killed.unwrap_or(false) })
    }

    /// Takes in what the container says until it ends; `Some` is why it had to be killed.
    async fn follow(
        &self,
        spec: &ContainerSpec,
        id: &str,
        attached: AttachContainerResults,
        output: &mut Spool,
        log: &mut Spool,
        stop: &CancellationToken,
    ) -> Result<Option<Ending>, EngineError> {
        let limits = &spec.recipe.limits;
        let mut said = attached.output;
        let mut deadline = Instant::now() + Duration::from_secs(limits.seconds);
        let mut measure = interval_at(Instant::now() + MEASURE, MEASURE);
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watched = matches!(spec.profile, Profile::Installer { .. });
        let mut killed = None;
        loop {
            let reason = tokio::select! {
                heard = said.next() => match heard {
                    Some(Ok(LogOutput::StdOut { message })) if killed.is_none() => {
                        (output.append(&message).await? == Room::Exhausted).then_some(Ending::OutputOverflow)
                    }
                    Some(Ok(LogOutput::StdErr { message } | LogOutput::Console { message })) if killed.is_none() => {
                        (log.append(&message).await? == Room::Exhausted).then_some(Ending::LogOverflow)
                    }
                    // What a killed container still had to say when it broke a limit is of no use.
                    Some(Ok(_)) => None,
                    Some(Err(error)) => return Err(failed("pass on what a container says")(error)),
                    None => return Ok(killed),
                },
                () = sleep_until(deadline) => {
                    if killed.is_some() {
                        return Err(failed("kill a container")("it is still there"));
                    }
                    Some(Ending::TimedOut)
                }
                () = stop.cancelled(), if killed.is_none() => Some(Ending::Stopped),
                _ = measure.tick(), if watched && killed.is_none() => {
                    (self.written(id).await? > limits.disk_mb.saturating_mul(1024 * 1024)).then_some(Ending::DiskOverflow)
                }
            };
            if reason.is_some() {
                self.kill(id).await?;
                killed = reason;
                deadline = Instant::now() + GRACE;
            }
        }
    }

    /// Bytes the container has written to its root.
    async fn written(&self, id: &str) -> Result<u64, EngineError> {
        let options = InspectContainerOptionsBuilder::default().size(true).build();
        match self.client.inspect_container(id, Some(options)).await {
            Ok(facts) => Ok(facts.size_rw.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)),
            Err(error) => Err(failed("measure a container")(error)),
        }
    }

    async fn kill(&self, id: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::default().signal("KILL").build();
        match self.client.kill_container(id, Some(options)).await {
            // A conflict means that it ended by itself in the meantime.
            Ok(()) | Err(Bollard::DockerResponseServerError { status_code: CONFLICT, .. }) => Ok(()),
            Err(error) => Err(failed("kill a container")(error)),
        }
    }

    /// Waits for a container whose streams have ended to be reported as stopped. Polling it is on purpose: the call
    /// that waits has no answer on Podman before the end, and would run into the client's time limit.
    async fn stopped(&self, id: &str) -> Result<ContainerState, EngineError> {
        let deadline = Instant::now() + GRACE;
        loop {
            let facts =
                self.client.inspect_container(id, None).await.map_err(failed("inspect a container"))?;
            match facts.state {
                Some(state) if state.running == Some(false) => return Ok(state),
                _ if Instant::now() > deadline => {
                    return Err(failed("pass on what a container says")("the connection broke while it ran"));
                }
                _ => sleep(GLANCE).await,
            }
        }
    }

    pub(super) async fn commit(
        &self,
        container: &ContainerId,
        owner: &Owner,
    ) -> Result<ImageId, EngineError> {
        let labels = owner.labels().map(|(name, value)| format!("LABEL {name}={value}")).join("\n");
        let options =
            CommitContainerOptionsBuilder::default().container(&container.0).changes(&labels).build();
        let image = self.client.commit_container(options, ContainerConfig::default()).await;
        image.map(|image| ImageId(image.id)).map_err(failed("commit a container"))
    }

    pub(super) async fn reap(&self, labels: &[Label]) -> Result<(), EngineError> {
        for container in self.containers(labels).await? {
            self.remove(&container).await?;
        }
        for image in self.images(labels).await? {
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            match self.client.remove_image(&image, Some(options), None).await {
                Ok(_) | Err(Bollard::DockerResponseServerError { status_code: NOT_FOUND, .. }) => {}
                Err(error) => return Err(failed("remove an image")(error)),
            }
        }
        Ok(())
    }

    pub(super) async fn leftovers(&self, labels: &[Label]) -> Result<usize, EngineError> {
        Ok(self.containers(labels).await?.len() + self.images(labels).await?.len())
    }

    async fn containers(&self, labels: &[Label]) -> Result<Vec<String>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters(labels)).build();
        let found = self.client.list_containers(Some(options)).await.map_err(failed("list containers"))?;
        Ok(found.into_iter().filter_map(|container| container.id).collect())
    }

    /// The newest first: an image cannot go before those that were made from it.
    async fn images(&self, labels: &[Label]) -> Result<Vec<String>, EngineError> {
        let options = ListImagesOptionsBuilder::default().filters(&filters(labels)).build();
        let mut found = self.client.list_images(Some(options)).await.map_err(failed("list images"))?;
        found.sort_by_key(|image| std::cmp::Reverse(image.created));
        Ok(found.into_iter().map(|image| image.id).collect())
    }

    async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.client.remove_container(id, Some(options)).await {
            // A conflict means that somebody else's removal of it is under way.
            Ok(()) | Err(Bollard::DockerResponseServerError { status_code: NOT_FOUND | CONFLICT, .. }) => {
                Ok(())
            }
            Err(error) => Err(failed("remove a container")(error)),
        }
    }
}

fn filters(labels: &[Label]) -> HashMap<String, Vec<String>> {
    let labels = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    HashMap::from([("label".to_owned(), labels)])
}

fn failed<E: std::fmt::Display>(doing: &'static str) -> impl Fn(E) -> EngineError {
    move |error| EngineError::Failed { doing, why: error.to_string() }
}

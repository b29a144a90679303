//! What an attempt leaves in the engine: committed images on purpose, and everything else until it is reaped.

use std::collections::HashMap;

use bollard::errors::Error as Bollard;
use bollard::models::ContainerConfig;
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
};

use super::{CONFLICT, Docker, NOT_FOUND, failed};
use crate::engine::spec::{ContainerId, ImageFacts, ImageId, Owner};
use crate::engine::{EngineError, Kept};

/// What committed images are called, with the beginning of the container's id as their tag.
const REPOSITORY: &str = "grange/root";
const TAG: usize = 32;

type Label = (&'static str, String);

impl Docker {
    pub(in crate::engine) async fn commit(
        &self,
        container: &ContainerId,
        owner: &Owner,
    ) -> Result<ImageId, EngineError> {
        let labels = owner.labels().map(|(name, value)| format!("LABEL {name}={value}")).join("\n");
        // With a name of its own: Podman sweeps away nameless images together with those that were made from them.
        let tag = container.0.get(..TAG).unwrap_or(&container.0);
        let options = CommitContainerOptionsBuilder::default()
            .container(&container.0)
            .repo(REPOSITORY)
            .tag(tag)
            .changes(&labels)
            .build();
        let image = self.client.commit_container(options, ContainerConfig::default()).await;
        image.map(|image| with_algorithm(image.id)).map_err(failed("commit a container"))
    }

    pub(in crate::engine) async fn image(&self, name: &str) -> Result<Option<ImageFacts>, EngineError> {
        let found = match self.client.inspect_image(name).await {
            Ok(found) => found,
            Err(Bollard::DockerResponseServerError { status_code: NOT_FOUND, .. }) => return Ok(None),
            Err(error) => return Err(failed("inspect an image")(error)),
        };
        let id = found.id.ok_or_else(|| failed("inspect an image")("it has no id"))?;
        let bytes = u64::try_from(found.size.unwrap_or(0)).unwrap_or(0);
        Ok(Some(ImageFacts { id: with_algorithm(id), bytes }))
    }

    pub(in crate::engine) async fn reap(&self, labels: &[Label], kept: &Kept) -> Result<(), EngineError> {
        for container in self.containers(labels).await? {
            self.remove(&container).await?;
        }
        self.remove_images(self.images(labels, kept).await?).await
    }

    pub(in crate::engine) async fn remove_image(
        &self,
        labels: &[Label],
        image: &ImageId,
    ) -> Result<(), EngineError> {
        if !self.images(labels, &Kept::new()).await?.contains(&image.0) {
            return Ok(());
        }
        let options = RemoveImageOptionsBuilder::default().noprune(true).build();
        match self.client.remove_image(&image.0, Some(options), None).await {
            Ok(_) | Err(Bollard::DockerResponseServerError { status_code: NOT_FOUND, .. }) => Ok(()),
            Err(error) => Err(failed("remove an image")(error)),
        }
    }

    /// An image cannot go before those that were made from it, and their dates are too coarse to tell which those are.
    async fn remove_images(&self, mut images: Vec<String>) -> Result<(), EngineError> {
        loop {
            let before = images.len();
            let mut kept = Vec::new();
            let mut trouble = None;
            for image in images {
                // What an image was made from is not swept away with it: it may be kept.
                let options = RemoveImageOptionsBuilder::default().force(true).noprune(true).build();
                match self.client.remove_image(&image, Some(options), None).await {
                    Ok(_) | Err(Bollard::DockerResponseServerError { status_code: NOT_FOUND, .. }) => {}
                    Err(error) => {
                        kept.push(image);
                        trouble = Some(error);
                    }
                }
            }
            match trouble {
                None => return Ok(()),
                Some(error) if kept.len() == before => return Err(failed("remove an image")(error)),
                Some(_) => images = kept,
            }
        }
    }

    pub(in crate::engine) async fn leftovers(
        &self,
        labels: &[Label],
        kept: &Kept,
    ) -> Result<usize, EngineError> {
        Ok(self.containers(labels).await?.len() + self.images(labels, kept).await?.len())
    }

    async fn containers(&self, labels: &[Label]) -> Result<Vec<String>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter(labels)).build();
        let found = self.client.list_containers(Some(options)).await.map_err(failed("list containers"))?;
        let found = found.into_iter().filter(|container| carries(container.labels.as_ref(), labels));
        Ok(found.filter_map(|container| container.id).collect())
    }

    async fn images(&self, labels: &[Label], kept: &Kept) -> Result<Vec<String>, EngineError> {
        // All: an image from which another was made is not listed otherwise.
        let options = ListImagesOptionsBuilder::default().all(true).filters(&filter(labels)).build();
        let found = self.client.list_images(Some(options)).await.map_err(failed("list images"))?;
        let found = found.into_iter().filter(|image| carries(Some(&image.labels), labels));
        let found = found.map(|image| with_algorithm(image.id)).filter(|image| !kept.contains(image));
        Ok(found.map(|image| image.0).collect())
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), EngineError> {
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

/// Podman sometimes leaves out of an id which digest it is.
fn with_algorithm(id: String) -> ImageId {
    ImageId(if id.contains(':') { id } else { format!("sha256:{id}") })
}

/// A filter by the first label only: Podman finds no image at all when it is asked for several.
fn filter(labels: &[Label]) -> HashMap<String, Vec<String>> {
    let first = labels.iter().take(1).map(|(name, value)| format!("{name}={value}")).collect();
    HashMap::from([("label".to_owned(), first)])
}

fn carries(found: Option<&HashMap<String, String>>, labels: &[Label]) -> bool {
    let has = |(name, value): &Label| found.is_some_and(|found| found.get(*name) == Some(value));
    labels.iter().all(has)
}

//! Base images, in Docker's terms.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;

use bollard::body_full;
use bollard::errors::Error as Bollard;
use bollard::models::ImageInspect;
use bollard::query_parameters::{
    BuildImageOptions, CreateImageOptionsBuilder, ImportImageOptions, ListImagesOptionsBuilder,
    RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;

use super::{Docker, NOT_FOUND, failed};
use crate::engine::images::{Image, RootArchive, Setup};
use crate::engine::{EngineError, profile};

/// Lines of a failed build that are shown: what went wrong is at its end.
const LAST_WORDS: usize = 20;

/// How much of a root is hashed at once.
const CHUNK: usize = 1 << 20;

impl Docker {
    pub(in crate::engine) async fn base_image(&self, reference: &str) -> Result<Option<Image>, EngineError> {
        let found: ImageInspect = match self.client.inspect_image(reference).await {
            Ok(found) => found,
            Err(Bollard::DockerResponseServerError { status_code: NOT_FOUND, .. }) => return Ok(None),
            Err(error) => return Err(failed("inspect an image")(error)),
        };
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        Ok(Some(Image {
            id: found.id.unwrap_or_default(),
            tags: found.repo_tags.unwrap_or_default(),
            labels: labels.into_iter().collect(),
            bytes: size(found.size.unwrap_or(0)),
        }))
    }

    pub(in crate::engine) async fn base_images(&self, label: &str) -> Result<Vec<Image>, EngineError> {
        let filter = HashMap::from([("label", vec![label])]);
        let options = ListImagesOptionsBuilder::default().filters(&filter).build();
        let found = self.client.list_images(Some(options)).await.map_err(failed("list images"))?;
        let images = found.into_iter().filter(|image| image.labels.contains_key(label));
        Ok(images
            .map(|image| Image {
                id: image.id,
                tags: image.repo_tags.into_iter().filter(|tag| tag != "<none>:<none>").collect(),
                labels: image.labels.into_iter().collect(),
                bytes: size(image.size),
            })
            .collect())
    }

    /// `docker import` would call every root one for this machine's architecture; an archive with a configuration says
    /// what it is.
    pub(in crate::engine) async fn load_root(&self, root: &RootArchive) -> Result<(), EngineError> {
        let doing = "load an image";
        let (layer, length) = hashed(&root.tar).await?;
        let config = json!({
            "architecture": profile::architecture(root.arch),
            "os": "linux",
            "created": root.made,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
            // Podman wants as many entries as there are layers, or it can commit no container made from this image.
            "history": [{"created": root.made, "created_by": "bootstrap"}],
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Cmd": ["/bin/bash"],
                "Labels": root.labels,
            },
        });
        let manifest =
            json!([{"Config": "config.json", "RepoTags": [root.reference], "Layers": ["root.tar"]}]);
        let mut head = entry("manifest.json", manifest.to_string().as_bytes())?;
        head.extend(entry("config.json", config.to_string().as_bytes())?);
        head.extend(header("root.tar", length)?);
        let file = tokio::fs::File::open(&root.tar).await?;
        let tail = vec![0; padding(length) + END_OF_TAR];
        let archive = stream::once(async { Ok::<_, std::io::Error>(head.into()) })
            .chain(ReaderStream::with_capacity(file, CHUNK))
            .chain(stream::once(async { Ok(tail.into()) }));
        let mut answers = self.client.import_image_stream(ImportImageOptions::default(), archive, None);
        while answers.try_next().await.map_err(failed(doing))?.is_some() {}
        match self.base_image(&root.reference).await? {
            Some(_) => Ok(()),
            None => Err(failed(doing)("it took the archive, but has no such image")),
        }
    }

    pub(in crate::engine) async fn set_up(
        &self,
        setup: &Setup,
        hear: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), EngineError> {
        let options = BuildImageOptions {
            dockerfile: "Dockerfile".to_owned(),
            t: Some(setup.reference.clone()),
            rm: true,
            forcerm: true,
            buildargs: Some(HashMap::from([("BASE".to_owned(), setup.base.clone())])),
            labels: Some(setup.labels.clone().into_iter().collect()),
            networkmode: Some(if setup.network { "default" } else { "none" }.to_owned()),
            platform: profile::platform(setup.arch).to_owned(),
            ..BuildImageOptions::default()
        };
        let context = body_full(setup.context.clone().into());
        let mut answers = self.client.build_image(options, None, Some(context));
        let mut said = String::new();
        while let Some(answer) = answers.next().await {
            let error = match answer {
                Ok(heard) => {
                    let heard = heard.stream.unwrap_or_default();
                    hear(&heard);
                    said.push_str(&heard);
                    continue;
                }
                Err(error) => error,
            };
            let lines: Vec<_> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
            return Err(failed("make an image")(format!("{error}\n{last}")));
        }
        Ok(())
    }

    pub(in crate::engine) async fn pull(
        &self,
        image: &str,
        arch: farm::arch::Arch,
    ) -> Result<(), EngineError> {
        let options =
            CreateImageOptionsBuilder::default().from_image(image).platform(profile::platform(arch)).build();
        let mut answers = self.client.create_image(Some(options), None, None);
        while answers.try_next().await.map_err(failed("pull an image"))?.is_some() {}
        // A digest that names one image and not a list of them is pulled whatever the platform.
        let found = self.client.inspect_image(image).await.map_err(failed("inspect an image"))?;
        let (wanted, found) = (profile::architecture(arch), found.architecture.unwrap_or_default());
        if found == wanted {
            Ok(())
        } else {
            Err(failed("pull an image")(format!("{image} is for {found}, not for {wanted}")))
        }
    }

    pub(in crate::engine) async fn tag(&self, image: &str, reference: &str) -> Result<(), EngineError> {
        let (name, tag) = split(reference);
        let options = TagImageOptionsBuilder::default().repo(name).tag(tag).build();
        self.client.tag_image(image, Some(options)).await.map_err(failed("tag an image"))
    }

    pub(in crate::engine) async fn untag(&self, reference: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::default().build();
        match self.client.remove_image(reference, Some(options), None).await {
            Ok(_) | Err(Bollard::DockerResponseServerError { status_code: NOT_FOUND, .. }) => Ok(()),
            Err(error) => Err(failed("remove an image")(error)),
        }
    }
}

fn size(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

/// `name:tag`, where the name may begin with a registry's host and port.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        Some(_) | None => (reference, "latest"),
    }
}

/// The SHA-256 of a file, and its length.
async fn hashed(path: &Path) -> Result<(String, u64), EngineError> {
    let path = path.to_owned();
    let hashing = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(path)?;
        let (mut hash, mut length, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
        loop {
            let read = file.read(&mut chunk)?;
            if read == 0 {
                let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                return Ok::<_, std::io::Error>((hash, length));
            }
            hash.update(&chunk[..read]);
            length += read as u64;
        }
    });
    Ok(hashing.await.map_err(std::io::Error::other)??)
}

/// Two empty blocks.
const END_OF_TAR: usize = 1024;
const BLOCK: u64 = 512;

fn padding(length: u64) -> usize {
    usize::try_from(length.next_multiple_of(BLOCK) - length).unwrap_or(0)
}

fn header(name: &str, length: u64) -> Result<Vec<u8>, EngineError> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_size(length);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

fn entry(name: &str, content: &[u8]) -> Result<Vec<u8>, EngineError> {
    let length = content.len() as u64;
    let mut entry = header(name, length)?;
    entry.extend_from_slice(content);
    entry.resize(entry.len() + padding(length), 0);
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(split("127.0.0.1:5000/base:9"), ("127.0.0.1:5000/base", "9"));
        assert_eq!(split("127.0.0.1:5000/base"), ("127.0.0.1:5000/base", "latest"));
        assert_eq!(split("grange/debian-rpm:x86_64"), ("grange/debian-rpm", "x86_64"));
    }

    #[test]
    fn entries_are_whole_blocks_that_tar_reads() {
        let mut archive = entry("a", b"hello").unwrap();
        archive.extend(entry("b", &[7; 512]).unwrap());
        archive.extend(vec![0; END_OF_TAR]);
        let mut read = Vec::new();
        for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            read.push((entry.path().unwrap().to_string_lossy().into_owned(), content));
        }
        assert_eq!(read, [("a".to_owned(), b"hello".to_vec()), ("b".to_owned(), vec![7; 512])]);
    }
}

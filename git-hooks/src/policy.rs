//! The rules a push is judged by, from wherever they can be had.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use farm::message::Policy;

use crate::hub::{Hub, NoAnswer};
use crate::say;
use crate::settings::{PolicySource, Settings};

/// Reads the rules: the hub's file where it serves the repo itself, otherwise the hub's answer, otherwise the last
/// answer it gave.
///
/// # Errors
/// When there is none of these, or the hub says that it does not know this git server: an unjudged push is refused.
pub async fn read(settings: &Settings) -> anyhow::Result<Policy> {
    match &settings.policy {
        PolicySource::File(path) => from_file(path).context("the farm's rules cannot be read"),
        PolicySource::Hub { cache } => match Hub::new(settings)?.policy().await {
            Ok(policy) => {
                if let Err(error) = keep(cache, &policy) {
                    say(&format!("grange: the rules cannot be kept in {}: {error:#}", cache.display()));
                }
                Ok(policy)
            }
            Err(NoAnswer::Away(why) | NoAnswer::Later(why)) => from_file(cache).map_err(|_| {
                anyhow!(
                    "the hub cannot be reached ({why}) and its rules have never been read here: try again later"
                )
            }),
            Err(NoAnswer::Unknown(said) | NoAnswer::Refused(said)) => {
                bail!("the hub does not give this git server its rules: {said}")
            }
        },
    }
}

fn from_file(path: &Path) -> anyhow::Result<Policy> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} holds no rules", path.display()))
}

/// Many pushes may do this at once: each writes its own file and puts it in place whole.
fn keep(cache: &Path, policy: &Policy) -> anyhow::Result<()> {
    if let Some(folder) = cache.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut name = cache.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(name);
    std::fs::write(&fresh, serde_json::to_vec(policy)?)?;
    std::fs::rename(&fresh, cache)?;
    Ok(())
}

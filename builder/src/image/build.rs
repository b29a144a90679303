//! Makes an image, unless it is there.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use farm::arch::Arch;
use farm::digest::Digest;
use tokio::process::Command;

use super::files::Files;
use super::{ARCH, BASE, Base, ImageError, MADE, RECIPE, Recipe, SHORT};
use crate::emulation;
use crate::engine::{Engine, RootArchive, Setup};

/// What is to be made.
#[derive(Debug)]
pub struct Order<'a> {
    /// The recipe's folder.
    pub folder: &'a Path,
    /// What its `recipe.toml` says.
    pub recipe: &'a Recipe,
    /// The architecture.
    pub arch: Arch,
    /// More references the image is to have.
    pub tags: &'a [String],
    /// Now, as RFC 3339 writes it.
    pub now: String,
}

/// An image that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its reference by its recipe's content; it will never mean another recipe.
    pub reference: String,
    /// It was there before.
    pub already: bool,
}

/// Makes an image, unless there is one of the same recipe, and gives it the tags of its architecture. `say` is told what
/// is being done, and `hear` what programs print.
///
/// # Errors
/// [`ImageError`]. What was made until then is used again at the next try.
pub async fn build(
    engine: &Engine,
    order: &Order<'_>,
    say: &mut (dyn FnMut(&str) + Send),
    hear: &mut (dyn FnMut(&str) + Send),
) -> Result<Made, ImageError> {
    let Order { folder, recipe, arch, tags, now } = order;
    let files = Files::read(folder, recipe.like.as_deref())?;
    let digest = files.digest();
    let reference = reference(&recipe.name, &digest, *arch);

    // The tag names the content, but tags can be moved; labels cannot.
    let found = engine.base_image(&reference).await?;
    let already = found.is_some_and(|image| {
        image.labels.get(RECIPE).map(String::as_str) == Some(digest.as_str())
            && image.labels.get(ARCH).map(String::as_str) == Some(arch.as_str())
    });
    if !already {
        emulation::check(*arch).map_err(ImageError::Emulation)?;
        let mut labels = labels(*arch, now);
        let base = base(engine, order, &files, &mut labels, say).await?;
        say(&format!("making {reference}"));
        labels.insert(RECIPE.to_owned(), digest.to_string());
        let setup = Setup {
            context: files.context()?,
            base,
            arch: *arch,
            reference: reference.clone(),
            labels,
            network: recipe.network,
        };
        engine.set_up(&setup, hear).await?;
    }
    engine.tag(&reference, &format!("{}:{arch}", recipe.name)).await?;
    for tag in *tags {
        engine.tag(&reference, tag).await?;
    }
    Ok(Made { reference, already })
}

fn reference(name: &str, digest: &Digest, arch: Arch) -> String {
    format!("{name}:{}-{arch}", &digest.as_str()[..SHORT])
}

fn labels(arch: Arch, now: &str) -> BTreeMap<String, String> {
    [(ARCH, arch.as_str()), (MADE, now)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Makes or gets what the Dockerfile starts from, and gives its reference.
async fn base(
    engine: &Engine,
    order: &Order<'_>,
    files: &Files,
    labels: &mut BTreeMap<String, String>,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<String, ImageError> {
    let Order { recipe, arch, now, folder: _, tags: _ } = order;
    match &recipe.base {
        Base::Pull { image } => {
            say(&format!("pulling {image} for {arch}"));
            engine.pull(image, *arch).await?;
            labels.insert(BASE.to_owned(), image.clone());
            Ok(image.clone())
        }
        Base::Bootstrap { script, reads } => {
            let digest =
                files.digest_of(std::iter::once(script.as_str()).chain(reads.iter().map(String::as_str)))?;
            let reference = self::reference(&format!("{}-base", recipe.name), &digest, *arch);
            labels.insert(BASE.to_owned(), reference.clone());
            if engine.base_image(&reference).await?.is_none() {
                say(&format!("bootstrapping a root for {arch}{}", patience(*arch)));
                bootstrap(engine, script, files, *arch, &reference, now).await?;
            }
            Ok(reference)
        }
    }
}

fn patience(arch: Arch) -> &'static str {
    if Arch::native() == Some(arch) { "" } else { ", under emulation, which takes some minutes" }
}

async fn bootstrap(
    engine: &Engine,
    script: &str,
    files: &Files,
    arch: Arch,
    reference: &str,
    now: &str,
) -> Result<(), ImageError> {
    let work = tempfile::tempdir().map_err(ImageError::file(&std::env::temp_dir()))?;
    let at = |path| ImageError::file(path);
    let (folder, tar) = (work.path().join("recipe"), work.path().join("root.tar"));
    files.write(&folder)?;
    let owner = std::fs::metadata(work.path()).map_err(at(work.path()))?.uid();
    let program = folder.join(script);
    let mut command = if owner == 0 { Command::new(&program) } else { Command::new("sudo") };
    if owner != 0 {
        command.arg(&program);
    }
    let status =
        command.arg(arch.as_str()).arg(&tar).kill_on_drop(true).status().await.map_err(at(&program))?;
    if !status.success() {
        return Err(ImageError::Script { script: script.to_owned(), status });
    }
    let mut labels = labels(arch, now);
    labels.insert(BASE.to_owned(), reference.to_owned());
    let root = RootArchive { tar, arch, reference: reference.to_owned(), labels, made: now.to_owned() };
    Ok(engine.load_root(&root).await?)
}

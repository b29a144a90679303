//! `grange image`: base images in which packages are built, on the machine of a builder.

use std::path::PathBuf;

use builder::Engine;
use builder::image::{self, ImageError, Order, RECIPE_FILE, Recipe};
use farm::arch::Arch;
use serde_json::json;

use crate::failure::Failure;
use crate::render::{Cell, Table};
use crate::screen::{Screen, Tone};
use crate::strict;

const AFTER_HELP: &str = "\
A recipe is a folder with a recipe.toml, and what it names:

  kind = \"bootstrap\"                       the script makes a root: SCRIPT ARCHITECTURE TAR
  name = \"grange/debian-rpm\"
  script = \"bootstrap\"
  reads = [\"packages\"]                     the files the script reads

  kind = \"pull\"                            an image of a registry, by its digest
  name = \"example/centos-stream-9\"
  image = \"registry.example.org/centos@sha256:…\"
  network = true                           may the Dockerfile's commands reach a network? (default: no)

A Dockerfile in the folder, if there is one, starts from that (ARG BASE, FROM ${BASE}). `like = \"../other\"` takes over the
files of another recipe. Templates name the image as grange/debian-rpm:$arch.

Examples:
  grange image build builder/images/debian-rpm
  grange image build builder/images/debian-rpm-small --arch s390x --arch aarch64";

/// What can be done with base images.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make an image by its recipe, for each architecture, unless it is there already
    #[command(after_help = AFTER_HELP)]
    Build(Build),
    /// List the images that recipes made here
    #[command(after_help = "Examples:\n  grange image list")]
    List(Where),
    /// Remove images that newer ones have replaced
    #[command(after_help = "Examples:\n  grange image prune")]
    Prune(Where),
}

/// Which container engine.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// The container engine: Docker's socket, or that of `podman system service`
    #[arg(long, value_name = "unix:///SOCKET", default_value = "unix:///var/run/docker.sock")]
    pub engine: String,
}

/// What `grange image build` takes.
#[derive(Debug, clap::Args)]
pub struct Build {
    /// The folder of the recipe
    #[arg(value_name = "FOLDER")]
    pub recipe: PathBuf,
    /// An architecture, in rpm's words; foreign ones need qemu-user [default: this machine's]
    #[arg(long = "arch", value_name = "ARCH")]
    pub arches: Vec<Arch>,
    /// One more reference for the image; with several architectures `$arch` in it is replaced
    #[arg(long = "tag", value_name = "NAME:TAG")]
    pub tags: Vec<String>,
    /// Show what is printed while the image is made
    #[arg(long)]
    pub verbose: bool,
    /// Where it is made.
    #[command(flatten)]
    pub engine: Where,
}

/// Does it.
///
/// # Errors
/// When a recipe makes no sense, or the container engine does not do its part.
pub async fn run(command: Command, screen: &mut Screen) -> Result<(), Failure> {
    match command {
        Command::Build(args) => build(args, screen).await,
        Command::List(at) => list(&at, screen).await,
        Command::Prune(at) => prune(&at, screen).await,
    }
}

async fn build(args: Build, screen: &mut Screen) -> Result<(), Failure> {
    let Build { recipe: folder, mut arches, tags, verbose, engine } = args;
    let path = folder.join(RECIPE_FILE);
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::usage(format!("cannot read {name}: {error}"), "name a folder that has a recipe.toml")
    })?;
    let recipe: Recipe = strict::read(&name, &text)?;
    if arches.is_empty() {
        arches.extend(Arch::native());
    }
    let sorts = tags.iter().all(|tag| tag.contains("$arch"));
    if arches.len() != 1 && !sorts {
        return Err(Failure::usage(
            "--tag would name the images of several architectures",
            "write $arch where the tag differs, such as --tag 'site/base:$arch'",
        ));
    }
    let engine = connect(&engine)?;
    let mut made = Vec::new();
    for arch in arches {
        let tags: Vec<String> = tags.iter().map(|tag| tag.replace("$arch", arch.as_str())).collect();
        let order = Order { folder: &folder, recipe: &recipe, arch, tags: &tags, now: now() };
        let mut say = |text: &str| eprintln!("{text}");
        let mut hear = |text: &str| {
            if verbose {
                eprint!("{text}");
            }
        };
        let one = image::build(&engine, &order, &mut say, &mut hear).await.map_err(failure)?;
        if one.already {
            say(&format!("{} is there already: nothing to do", one.reference));
        }
        if screen.json {
            made.push(json!({ "image": one.reference, "arch": arch, "already": one.already }));
        } else {
            screen.line(&one.reference)?;
        }
    }
    if screen.json {
        screen.line(&json!({ "images": made }).to_string())?;
    }
    Ok(())
}

async fn list(at: &Where, screen: &mut Screen) -> Result<(), Failure> {
    let images = image::inventory(&connect(at)?).await.map_err(failure)?;
    if screen.json {
        let images: Vec<_> = images
            .iter()
            .map(|image| {
                json!({
                    "tags": image.tags, "arch": image.arch, "recipe": image.recipe, "made": image.made,
                    "bytes": image.bytes, "current": image.current,
                })
            })
            .collect();
        return Ok(screen.line(&json!({ "images": images }).to_string())?);
    }
    if images.is_empty() {
        return Ok(screen.line("no image yet; `grange image build FOLDER` makes one")?);
    }
    let look = screen.look();
    let mut table = Table::new(&["IMAGE", "ARCH", "MADE", "SIZE", "STATE"]);
    for image in &images {
        let (word, tone) = match (&image.recipe, image.current) {
            (_, false) => ("superseded", Tone::Dim),
            (None, true) => ("base", Tone::Dim),
            (Some(_), true) => ("current", Tone::Good),
        };
        table.row([
            image.tags.join(" ").into(),
            image.arch.as_str().into(),
            Cell::new(Tone::Dim, image.made.as_str()),
            format!("{} MiB", image.bytes >> 20).into(),
            Cell::new(tone, word),
        ]);
    }
    Ok(screen.print(&table.render(&look))?)
}

async fn prune(at: &Where, screen: &mut Screen) -> Result<(), Failure> {
    let (gone, used) = image::prune(&connect(at)?).await.map_err(failure)?;
    if screen.json {
        let used: Vec<_> = used.iter().map(|(image, why)| json!({ "image": image, "why": why })).collect();
        return Ok(screen.line(&json!({ "removed": gone, "in_use": used }).to_string())?);
    }
    for reference in &gone {
        screen.line(&format!("removed {reference}"))?;
    }
    for (reference, why) in &used {
        screen.line(&format!("kept {reference}: {why}"))?;
    }
    if gone.is_empty() && used.is_empty() {
        screen.line("no image has been superseded: nothing to do")?;
    }
    Ok(())
}

fn connect(at: &Where) -> Result<Engine, Failure> {
    Engine::connect(&at.engine).map_err(|error| {
        Failure::usage(
            error.to_string(),
            "start Docker or `podman system service`, and name its socket with --engine",
        )
    })
}

fn failure(error: ImageError) -> Failure {
    match error {
        ImageError::NoFile(_) => Failure::usage(error.to_string(), "add it, or correct recipe.toml"),
        ImageError::File { .. }
        | ImageError::Emulation(_)
        | ImageError::Script { .. }
        | ImageError::Engine(_) => Failure::Local(error.into()),
    }
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

//! `grange download`

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use farm::api::{FileView, JobView, RequestView};
use farm::recipe::Work;
use farm::request::RequestKind;
use farm::stamp::Stamp;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::AsyncWriteExt as _;

use super::nearby;
use crate::client::Client;
use crate::failure::Failure;
use crate::render::{ago, size};
use crate::screen::Screen;

/// What `grange download` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Source RPMs go into the folder itself, everything else into a folder for each architecture.
The packages of a build that is no scratch build may be untested: the hub gives them to people with a token (`grange login`).

Examples:
  grange download hello-2.10-1.el9s
  grange download 01JZ8M3Q5T7V9X1B3D5F7H9K1M ./rpms --arch x86_64
  grange download 01JZ8M3Q5T7V9X1B3D5F7H9K1M --logs")]
pub struct Args {
    /// The build's id or name
    #[arg(value_name = "ID|NVR")]
    pub id: String,
    /// The folder to put it into; by default one called like the build
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Only what was made on this architecture
    #[arg(long)]
    pub arch: Option<String>,
    /// The logs too
    #[arg(long)]
    pub logs: bool,
}

/// One thing to download.
struct Item<'a> {
    path: PathBuf,
    from: [&'a str; 2],
    job: String,
    size: u64,
}

/// Downloads it.
///
/// # Errors
/// When the hub refuses, or a file cannot be written.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { id, folder, arch, logs } = args;
    let body =
        nearby::or_hint(client.get(&["builds", &id], &[]).await, &id, client, screen.look().now).await?;
    let view: RequestView = body.read()?;
    let folder = match folder {
        Some(folder) => folder,
        None => PathBuf::from(safe(view.nvr.as_deref().unwrap_or(&view.request.id.to_string()))?),
    };
    let mut items = Vec::new();
    for job in view.jobs.iter().filter(|job| arch.as_ref().is_none_or(|arch| job.arch.as_str() == arch)) {
        items.extend(items_of(job, &folder, logs)?);
    }
    if items.is_empty() {
        return Err(Failure::Failed(nothing(&view, screen.look().now)));
    }
    for item in &items {
        fetch(item, client, screen).await?;
        if !screen.json {
            screen.line(&format!("{}  {}", item.path.display(), size(item.size)))?;
        }
    }
    if screen.json {
        screen.line(body.text())?;
    }
    Ok(())
}

/// Why there is nothing to download.
fn nothing(view: &RequestView, now: Stamp) -> String {
    match &view.request.kind {
        RequestKind::Scratch { expires } if *expires <= now => {
            format!("this is a scratch build: its files expired {}", ago(*expires, now))
        }
        RequestKind::Push { .. }
        | RequestKind::Build
        | RequestKind::Scratch { .. }
        | RequestKind::Test { .. }
        | RequestKind::Check { .. } => "this build has no files to download".to_owned(),
    }
}

fn items_of<'a>(job: &'a JobView, folder: &Path, logs: bool) -> Result<Vec<Item<'a>>, Failure> {
    let below = match &job.recipe.work {
        Work::Srpm { .. } => folder.to_owned(),
        Work::Build { .. } => folder.join(job.arch.as_str()),
        Work::Test { suite, .. } => folder.join(safe(&format!("test-{suite}"))?).join(job.arch.as_str()),
    };
    let mut items = Vec::new();
    for FileView { name, size } in &job.files {
        items.push(Item {
            path: below.join(safe(name)?),
            from: ["files", name],
            job: job.id.to_string(),
            size: *size,
        });
    }
    for log in job.logs.iter().filter(|_| logs) {
        items.push(Item {
            path: below.join(safe(&log.name)?),
            from: ["logs", &log.name],
            job: job.id.to_string(),
            size: log.size,
        });
    }
    Ok(items)
}

/// A name that stays in the folder it is put into, whatever the hub says.
fn safe(name: &str) -> Result<&str, Failure> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        return Err(Failure::Failed(format!("the hub names a file {name:?}, which is not safe to write")));
    }
    Ok(name)
}

async fn fetch(item: &Item<'_>, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let Item { path, from: [kind, name], job, size } = item;
    let doing = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await.with_context(doing)?;
    }
    // A file that is there under its name is whole.
    let part = path.with_file_name(format!(".{name}.part"));
    let mut response = client.open(&["jobs", job, kind, name], &[]).await?;
    let mut file = tokio::fs::File::create(&part).await.with_context(doing)?;
    let bar = bar(screen, *size, name);
    while let Some(bytes) = response.chunk().await.map_err(|error| client.broken_off(&error))? {
        file.write_all(&bytes).await.with_context(doing)?;
        bar.inc(bytes.len() as u64);
    }
    file.flush().await.with_context(doing)?;
    drop(file);
    tokio::fs::rename(&part, path).await.with_context(doing)?;
    bar.finish_and_clear();
    Ok(())
}

fn bar(screen: &Screen, size: u64, name: &str) -> ProgressBar {
    if !screen.animated {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(size).with_message(name.to_owned());
    match ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stays_in_its_folder() {
        assert_eq!(safe("hello-2.10-1.x86_64.rpm").unwrap(), "hello-2.10-1.x86_64.rpm");
        for wrong in ["", "..", ".bashrc", "../x", "a/b", "a\\b", "a\0b"] {
            assert!(safe(wrong).is_err(), "{wrong:?}");
        }
    }
}

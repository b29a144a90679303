//! `grange buildroot`

use farm::api::{JobView, RequestView};
use farm::buildroot::{LOCK_FILE, Lock};
use farm::recipe::Work;

use super::nearby;
use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange buildroot` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange buildroot hello-2.10-1.el9s
  grange buildroot hello-2.10-1.el9s --arch s390x
  grange buildroot hello-2.10-1.el9s --diff hello-2.10-2.el9s")]
pub struct Args {
    /// The build's id or name
    #[arg(value_name = "ID|NVR")]
    pub id: String,
    /// The buildroot of this architecture; by default the first one's
    #[arg(long)]
    pub arch: Option<String>,
    /// Show only what is different in the buildroot of this build
    #[arg(long, value_name = "ID|NVR")]
    pub diff: Option<String>,
}

/// Shows what was installed when a build ran.
///
/// # Errors
/// When the hub refuses, or the build has no buildroot.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { id, arch, diff } = args;
    let (arch, lock) = fetch(&id, arch.as_deref(), client, screen).await?;
    let Some(other) = diff else {
        if screen.json {
            return Ok(screen.line(&to_json(&lock)?)?);
        }
        return Ok(screen.print(&render::lock(&lock, &screen.look()))?);
    };
    let (_, theirs) = fetch(&other, Some(&arch), client, screen).await?;
    let diff = lock.diff(&theirs);
    if screen.json {
        return Ok(screen.line(&to_json(&diff)?)?);
    }
    Ok(screen.print(&render::lock_diff(&diff, &screen.look()))?)
}

fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::Failed(error.to_string()))
}

/// The architecture and the lock of a build's root on it.
async fn fetch(
    id: &str,
    arch: Option<&str>,
    client: &Client,
    screen: &Screen,
) -> Result<(String, Lock), Failure> {
    let answer = client.get(&["builds", id], &[]).await;
    let view: RequestView = nearby::or_hint(answer, id, client, screen.look().now).await?.read()?;
    let builds = |job: &&JobView| {
        matches!(job.recipe.work, Work::Build { .. }) && arch.is_none_or(|arch| job.arch.as_str() == arch)
    };
    let job = view.jobs.iter().find(builds).ok_or_else(|| {
        let on = arch.map(|arch| format!(" on {arch}")).unwrap_or_default();
        Failure::Failed(format!("nothing was built{on} for {id}: `grange show {id}` lists its jobs"))
    })?;
    if !job.files.iter().any(|file| file.name == LOCK_FILE) {
        let why =
            format!("the build of {id} on {} has no buildroot yet, or its files have expired", job.arch);
        return Err(Failure::Failed(why));
    }
    let job_id = job.id.to_string();
    let lock: Lock = client.get(&["jobs", &job_id, "files", LOCK_FILE], &[]).await?.read()?;
    Ok((job.arch.to_string(), lock))
}

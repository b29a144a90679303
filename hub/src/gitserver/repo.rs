//! Bare repos on disk, and the hooks in them.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use farm::sig::template::is_repo_path;

use crate::files::{blocking, swap_link};
use crate::problem::Answer;
use crate::state::Hub;

/// The hooks of a repo: what git calls them, and the programs they are.
const HOOKS: [(&str, &str); 2] = [("update", "grange-update"), ("post-receive", "grange-post-receive")];
/// What a fresh repo is told. That history stays is the update hook's to say, which no push gets past.
const SETTINGS: [(&str, &str); 2] = [("receive.fsckObjects", "true"), ("gc.auto", "0")];

/// A repo's path on the git server: `rpms/hello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoPath(String);

impl RepoPath {
    /// Takes a path that is safe, without `.git` at its end.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        is_repo_path(text).then(|| Self(text.to_owned()))
    }

    /// `rpms`
    #[must_use]
    pub fn folder(&self) -> &str {
        self.0.split_once('/').map_or("", |(folder, _)| folder)
    }

    /// `hello`
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// Where the repo is on the disk, or would be.
    #[must_use]
    pub fn on_disk(&self, hub: &Hub) -> PathBuf {
        hub.config.data.join("git").join(format!("{}.git", self.0))
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes the repo if there is none, and sees to its hooks. The caller has asked whether the person may.
///
/// # Errors
/// When the hooks' programs are missing, or the disk or git refuses: a repo without hooks must take no push.
pub async fn make_ready(hub: &Hub, repo: &RepoPath) -> Answer<()> {
    let path = repo.on_disk(hub);
    if !path.is_dir() {
        create(hub, &path).await.with_context(|| format!("cannot make the repo {repo}"))?;
        tracing::info!(%repo, "a repo was made");
    }
    let programs = hub.config.hooks.clone();
    let placed = blocking(move || place_hooks(&path, &programs)).await;
    Ok(placed.with_context(|| format!("cannot put the hooks into the repo {repo}"))?)
}

/// Makes it elsewhere first, so that nobody ever sees half a repo, and two at once make one.
async fn create(hub: &Hub, path: &Path) -> anyhow::Result<()> {
    let parent = path.parent().context("a repo has a folder")?;
    tokio::fs::create_dir_all(parent).await?;
    let fresh = tempfile::Builder::new().prefix(".new-").tempdir_in(hub.config.data.join("git"))?;
    let bare = fresh.path().join("repo.git");
    let mut init = command("git");
    init.args(["init", "--quiet", "--bare", "--template=", "--initial-branch=main"]).arg(&bare);
    run(init).await?;
    for (key, value) in SETTINGS {
        let mut config = command("git");
        config.arg("--git-dir").arg(&bare).args(["config", key, value]);
        run(config).await?;
    }
    match tokio::fs::rename(&bare, path).await {
        Err(_) if path.is_dir() => Ok(()),
        result => Ok(result?),
    }
}

fn place_hooks(repo: &Path, programs: &Path) -> anyhow::Result<()> {
    let programs = std::path::absolute(programs)?;
    let folder = repo.join("hooks");
    std::fs::create_dir_all(&folder)?;
    for (hook, program) in HOOKS {
        let program = programs.join(program);
        // What git cannot run as a hook it leaves out.
        let runs = std::fs::metadata(&program)
            .is_ok_and(|known| known.is_file() && known.permissions().mode() & 0o111 != 0);
        if !runs {
            bail!(
                "there is no program {}; `hooks` in the hub's configuration names its folder",
                program.display()
            );
        }
        let link = folder.join(hook);
        if !std::fs::read_link(&link).is_ok_and(|target| target == program) {
            swap_link(&link, &program)?;
        }
    }
    Ok(())
}

/// A program of git's, with nothing of the hub's own environment but where programs are.
pub(super) fn command(program: impl AsRef<std::ffi::OsStr>) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
    command
}

async fn run(mut command: tokio::process::Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("cannot run git")?;
    if !output.status.success() {
        bail!("git failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_paths_name_repos() {
        let path = RepoPath::new("rpms/hello").unwrap();
        assert_eq!((path.folder(), path.name(), path.to_string().as_str()), ("rpms", "hello", "rpms/hello"));
        for bad in
            ["", "hello", "rpms/", "/hello", "rpms/../x", "rpms/.git", "rpms/a/b", "../rpms", "rpms/x.git"]
        {
            assert_eq!(RepoPath::new(bad), None, "{bad}");
        }
    }
}

//! The directory one attempt works in. Containers see parts of it, read-only; it is gone when the attempt is.
//!
//! ```text
//! in/            what containers see as /grange/in: the inputs, lookaside files in in/sources/
//! repos/<id>/    what containers see as /grange/repos/<id>
//! grange.repo    dnf's configuration
//! logs/          what containers wrote to standard error
//! out/           what containers wrote to standard output
//! ```

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use farm::recipe::Input;
use tempfile::TempDir;

use crate::cache::Cache;
use crate::check;
use crate::client::AttemptClient;
use crate::engine::Mount;
use crate::halt::{Halt, OrFarm as _};

/// Where containers find the inputs.
pub(crate) const INPUTS: &str = "/grange/in";

/// One attempt's directory.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: TempDir,
}

impl Workspace {
    /// Makes a fresh one below `parent`, which must be an absolute path.
    pub(crate) fn create(parent: &Path) -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("attempt-").tempdir_in(parent)?;
        for folder in ["in/sources", "repos", "logs", "out"] {
            make_folder(&root.path().join(folder))?;
        }
        Ok(Self { root })
    }

    pub(crate) fn inputs(&self) -> PathBuf {
        self.root.path().join("in")
    }
    pub(crate) fn repo(&self, id: &str) -> PathBuf {
        self.root.path().join("repos").join(id)
    }
    pub(crate) fn repo_file(&self) -> PathBuf {
        self.root.path().join("grange.repo")
    }
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.path().join("logs")
    }
    pub(crate) fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    /// The mount of all inputs.
    pub(crate) fn inputs_mount(&self) -> Mount {
        Mount { from: self.inputs(), to: INPUTS.to_owned() }
    }

    /// Fetches one input and puts it at `name` below the inputs.
    pub(crate) async fn fetch(
        &self,
        client: &AttemptClient,
        cache: &Cache,
        input: &Input,
        name: &str,
    ) -> Result<(), Halt> {
        if !check::is_inner_path(name) {
            return Err(Halt::Farm(format!("the recipe names the input {name:?}")));
        }
        let fetch = || client.input(&input.digest);
        cache.place(&input.digest, input.size, &self.inputs().join(name), fetch).await
    }

    /// Removes everything; what fails is left for the next start of the builder.
    pub(crate) async fn remove(self) {
        let removed = tokio::task::spawn_blocking(move || self.root.close()).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "cannot remove a workspace");
        }
    }
}

/// Makes a folder and those above it, readable for the user in the container whatever the builder's umask. What is there
/// already stays as it is.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(above)?;
    }
    match std::fs::create_dir(path) {
        Ok(()) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)),
        // Somebody was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes what an earlier life of the builder left below `parent`, and makes it if it is not there.
pub(crate) fn clear(parent: &Path) -> io::Result<()> {
    make_folder(parent)?;
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Writes a file that containers can read, whatever the builder's umask.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Halt> {
    std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)))
        .or_farm("write into its workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set in the process that has a strict umask.
    const STRICT: &str = "GRANGE_TEST_STRICT_UMASK";

    #[test]
    fn containers_can_read_what_a_builder_with_a_strict_umask_makes() {
        if std::env::var_os(STRICT).is_none() {
            // The umask is the process's, and other tests run in this one.
            let itself = std::env::current_exe().unwrap();
            let name = std::thread::current().name().unwrap().to_owned();
            let mut strict = std::process::Command::new("sh");
            strict
                .args(["-c", "umask 077 && exec \"$0\" --exact \"$1\""])
                .arg(itself)
                .arg(name)
                .env(STRICT, "1");
            let output = strict.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
            return;
        }
        let parent = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(parent.path()).unwrap();
        make_folder(&workspace.repo("own").join("repodata")).unwrap();
        write(&workspace.repo_file(), "[own]\n").unwrap();
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for folder in
            [workspace.inputs().join("sources"), workspace.inputs(), workspace.repo("own").join("repodata")]
        {
            assert_eq!(mode(folder.clone()), 0o755, "{}", folder.display());
        }
        assert_eq!(mode(workspace.repo_file()), 0o644);
    }
}

//! What stories need of the machine: this build's programs, git, and services.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder with this build's programs.
///
/// # Panics
/// When this is no program that cargo built.
#[must_use]
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("this program has a path");
    test.parent().and_then(Path::parent).expect("target/<profile>/deps").to_owned()
}

/// The folder of this program, which cargo built beside the others.
///
/// # Errors
/// When the system does not say where this program is.
pub fn programs_beside() -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().map_or_else(PathBuf::new, Path::to_owned))
}

/// Runs git in a folder, as Ada, who is never asked for a password.
///
/// # Panics
/// When there is no git.
#[must_use]
pub fn run_git(dir: &Path, args: &[&str]) -> Output {
    Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
        .args(args)
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .expect("git runs")
}

/// Where a real service is, or `None`, said so that CI notices: it counts every such line as a failure.
#[must_use]
pub fn service(variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if found.is_none() {
        eprintln!("SKIPPED: {variable} is not set; run dev/test, or `. var/test-env`");
    }
    found
}

//! git's `update` hook: `grange-update <ref> <old> <new>`. Exit code 0 lets the branch move.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use git_hooks::rules::{Update, may, only_grows};
use git_hooks::settings::Settings;
use git_hooks::{block_on, git_dir, policy, say};
use git2::Repository;

fn main() -> ExitCode {
    // gitolite gives a VREF more arguments than git gives a hook; the first three are the same.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [reference, old, new, ..] = arguments.as_slice() else {
        say("grange-update is git's update hook: grange-update <ref> <old> <new>");
        return ExitCode::from(2);
    };
    match judge(Update { reference, old, new }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&format!("grange: refused: {why:#}"));
            ExitCode::FAILURE
        }
    }
}

fn judge(update: Update<'_>) -> anyhow::Result<()> {
    let settings = Settings::read(&git_dir()?)?;
    let person = settings.person()?;
    let repo = settings.repo(&git_dir()?)?;
    let policy = block_on(policy::read(&settings))??;
    may(&policy, &person, &repo, update).map_err(two_lines)?;
    let git = Repository::open_from_env().context("cannot open the repo")?;
    only_grows(&git, update).map_err(two_lines)
}

fn two_lines(refused: farm::sig::PushRefused) -> anyhow::Error {
    anyhow!("{}\ngrange: fix: {}", refused.what, refused.fix)
}

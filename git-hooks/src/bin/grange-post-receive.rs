//! git's `post-receive` hook: tells the hub which branches moved. It never fails a push, which is over by then.
//! `grange-post-receive --deliver` only delivers what was kept while the hub was down, and fails while something remains.

use std::io::Read as _;
use std::process::ExitCode;

use git_hooks::hub::Hub;
use git_hooks::settings::Settings;
use git_hooks::spool::Spool;
use git_hooks::{block_on, git_dir, report, say};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--deliver"] => deliver(),
        ["--help" | "-h"] => {
            say(
                "git's post-receive hook: reads `old new ref` lines and tells the hub; --deliver only delivers kept reports",
            );
            ExitCode::SUCCESS
        }
        _ => {
            if let Err(why) = receive() {
                say("grange: your push is in the repo, but the hub could not be told:");
                say(&format!("grange: {why:#}"));
            }
            ExitCode::SUCCESS
        }
    }
}

fn receive() -> anyhow::Result<()> {
    // git must be able to write all of it, whatever goes wrong afterwards.
    let mut lines = Vec::new();
    std::io::stdin().read_to_end(&mut lines)?;
    let updates = report::branches(&String::from_utf8_lossy(&lines));
    let git_dir = git_dir()?;
    let settings = Settings::read(&git_dir)?;
    block_on(report::send(&settings, &git_dir, updates))?
}

fn deliver() -> ExitCode {
    let delivered = git_dir().and_then(|folder| Settings::read(&folder)).and_then(|settings| {
        let hub = Hub::new(&settings)?;
        let spool = Spool::new(&settings.spool, settings.spool_limit);
        block_on(report::deliver(&settings, &hub, &spool))?
    });
    match delivered {
        Ok(left) if left.reports == 0 => ExitCode::SUCCESS,
        Ok(left) => {
            say(&format!("grange: {} push reports are still waiting for the hub", left.reports));
            ExitCode::FAILURE
        }
        Err(why) => {
            say(&format!("grange: {why:#}"));
            ExitCode::FAILURE
        }
    }
}

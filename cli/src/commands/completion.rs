//! `grange completion`

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::screen::Screen;

/// What `grange completion` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange completion bash > /etc/bash_completion.d/grange
  grange completion fish > ~/.config/fish/completions/grange.fish")]
pub struct Args {
    /// Your shell
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When nobody reads it.
pub fn run(args: &Args, screen: &mut Screen) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "grange", &mut script);
    Ok(screen.bytes(&script)?)
}

//! The `grange` program.

use std::process::ExitCode;

use clap::Parser as _;
use cli::screen::{Screen, standard_error};
use cli::settings::Environment;
use cli::{Cli, client, run};

#[tokio::main]
async fn main() -> ExitCode {
    client::install_tls();
    let cli = Cli::parse();
    let colour = cli.global.color;
    let mut screen = Screen::standard(colour, cli.global.json);
    match run(cli, &Environment::of_process(), &mut screen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprint!("{}", failure.told(&standard_error(colour)));
            failure.into()
        }
    }
}

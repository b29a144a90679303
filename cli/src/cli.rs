//! The command line, and who does what it asks.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::client::Client;
use crate::commands::{
    admin, build, builder, builders, buildroot, builds, cancel, chain, completion, download, history, hub,
    image, log, login, lookaside, matrix, person, promote, promotions, repos, retry, rollback, scheduler,
    scratch, show, sig, signer, standalone, status, tags, targets, trace, verify, waive, waivers, watch,
    whoami, why, withdraw,
};
use crate::failure::Failure;
use crate::screen::{Colour, Screen};
use crate::settings::{Environment, Flags, Settings};

/// Builds, tests and publishes RPMs for the SIGs of a community.
#[derive(Debug, Parser)]
#[command(name = "grange", version, propagate_version = false, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Configuration: ~/.config/grange/config.toml (url, token), written by `grange login`; GRANGE_CONFIG names another file,
GRANGE_URL and GRANGE_TOKEN go before it, and the options above before both.

Exit codes: 0 done; 1 what was asked for came out badly; 2 wrong call or configuration; 3 the hub refused, or knows no
such thing; 4 the hub cannot be reached, or failed itself.

Examples:
  grange login https://grange.example.org
  grange build storage9s-gluster-11-el9s rpms/hello#c9s-sig-storage-gluster --watch --tests
  grange promote hello-2.10-1.el9s --wait";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The hub's address [env: GRANGE_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = "Everywhere")]
    pub url: Option<String>,
    /// A file with your token [env: GRANGE_TOKEN has the token itself]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub token_file: Option<PathBuf>,
    /// Print what the hub's API answers, for programs
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true,
        help_heading = "Everywhere"
    )]
    pub color: Colour,
}

/// Everything that can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a commit for a target, or several; a finished build enters the candidate repo and is tested
    Build(build::Args),
    /// Show a chain of builds: their order, and who waits for whom
    Chain(chain::Args),
    /// Build a commit or a source RPM into no repo
    Scratch(scratch::Args),
    /// List builds, the newest first
    Builds(builds::Args),
    /// Show one build: why it failed, its jobs, its promotions
    Show(show::Args),
    /// Show what was installed when a build ran, or what was different for another build
    Buildroot(buildroot::Args),
    /// Say why something is not moving: one answer
    Why(why::Args),
    /// Follow a build until it is final
    Watch(watch::Args),
    /// Print the log that matters, or any other
    Log(log::Args),
    /// Stop a build
    Cancel(cancel::Args),
    /// Do a build again
    Retry(retry::Args),
    /// Download what a build made
    Download(download::Args),
    /// List targets: what can be built for
    Targets(targets::Args),
    /// List tags, or the builds of one
    Tags(tags::Args),
    /// Show where dnf finds the repos
    Repos(repos::Args),
    /// Move builds or a stack into production, or approve a promotion
    Promote(promote::Args),
    /// List promotions, or show what the gate says about one
    Promotions(promotions::Args),
    /// Give your word in place of a test's result, as a release manager
    Waive(waive::Args),
    /// List every waiver of a target, or take one back
    Waivers(waivers::Args),
    /// Take a promotion back, or withdraw a build for good
    Withdraw(withdraw::Args),
    /// Make a public repo show again what it showed before
    Rollback(rollback::Args),
    /// List what a public repo showed, and when
    History(history::Args),
    /// Tell where a package comes from: commit, sources, buildroot, builders, tests, approvers, repos
    Trace(trace::Args),
    /// Audit a public tree with nothing but public keys: is everything in it what was tested and let through?
    Verify(verify::Args),
    /// Show what of a project works on which versions of the layers below it
    Matrix(matrix::Args),
    /// SIGs as code: plan and apply templates
    #[command(subcommand)]
    Sig(sig::Command),
    /// The store of source files beside dist-git
    #[command(subcommand)]
    Lookaside(lookaside::Command),
    /// Builders: list them, let new ones join, drain them, shut them out
    Builders(builders::Args),
    /// Show the farm at a glance
    Status(status::Args),
    /// Keep the hub's address and your token
    Login(login::Args),
    /// Say who the hub takes you for
    Whoami(whoami::Args),
    /// People and their tokens, on the hub's own machine
    #[command(subcommand)]
    Person(person::Command),
    /// Run a whole farm in this process: hub, scheduler, builder and signer
    Standalone(standalone::Args),
    /// Run a hub
    Hub(hub::Args),
    /// Run a scheduler
    Scheduler(scheduler::Args),
    /// Run a builder
    Builder(builder::Args),
    /// Run a signer, or manage its keys
    Signer(signer::Args),
    /// What an operator does to a farm's ledger and files
    #[command(subcommand)]
    Admin(admin::Command),
    /// Base images in which packages are built, on a builder's machine
    #[command(subcommand)]
    Image(image::Command),
    /// Print a completion script for your shell
    Completion(completion::Args),
}

/// Does what the command line asks.
///
/// # Errors
/// [`Failure`], whose exit code says of which kind.
pub async fn run(cli: Cli, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let flags = Flags { url: cli.global.url.clone(), token_file: cli.global.token_file.clone() };
    let client = || Client::new(Settings::gather(&flags, environment)?);
    match cli.command {
        Command::Build(args) => build::run(args, &client()?, screen).await,
        Command::Chain(args) => chain::run(args, &client()?, screen).await,
        Command::Scratch(args) => scratch::run(args, &client()?, screen).await,
        Command::Builds(args) => builds::run(args, &client()?, screen).await,
        Command::Show(args) => show::run(args, &client()?, screen).await,
        Command::Buildroot(args) => buildroot::run(args, &client()?, screen).await,
        Command::Why(args) => why::run(args, &client()?, screen).await,
        Command::Watch(args) => watch::run(args, &client()?, screen).await,
        Command::Log(args) => log::run(args, &client()?, screen).await,
        Command::Cancel(args) => cancel::run(args, &client()?, screen).await,
        Command::Retry(args) => retry::run(args, &client()?, screen).await,
        Command::Download(args) => download::run(args, &client()?, screen).await,
        Command::Targets(args) => targets::run(args, &client()?, screen).await,
        Command::Tags(args) => tags::run(args, &client()?, screen).await,
        Command::Repos(args) => repos::run(args, &client()?, screen).await,
        Command::Promote(args) => promote::run(args, &client()?, screen).await,
        Command::Promotions(args) => promotions::run(args, &client()?, screen).await,
        Command::Waive(args) => waive::run(args, &client()?, screen).await,
        Command::Waivers(args) => waivers::run(args, &client()?, screen).await,
        Command::Withdraw(args) => withdraw::run(args, &client()?, screen).await,
        Command::Rollback(args) => rollback::run(args, &client()?, screen).await,
        Command::History(args) => history::run(args, &client()?, screen).await,
        Command::Trace(args) => trace::run(args, &client()?, screen).await,
        Command::Verify(args) => verify::run(args, screen).await,
        Command::Matrix(args) => matrix::run(args, &client()?, screen).await,
        Command::Sig(command) => sig::run(command, &client()?, screen).await,
        Command::Lookaside(command) => lookaside::run(command, &client()?, screen).await,
        Command::Builders(args) => builders::run(args, &client()?, screen).await,
        Command::Status(args) => status::run(args, &client()?, screen).await,
        Command::Login(args) => login::run(args, &flags, environment, screen).await,
        Command::Whoami(args) => whoami::run(args, &client()?, screen).await,
        Command::Person(command) => person::run(command, environment, screen).await,
        Command::Standalone(args) => standalone::run(args, environment, screen).await,
        Command::Hub(args) => hub::run(args, environment).await,
        Command::Scheduler(args) => scheduler::run(args, environment).await,
        Command::Builder(args) => builder::run(args, environment).await,
        Command::Signer(args) => signer::run(args, environment, screen).await,
        Command::Admin(command) => admin::run(command, environment, screen).await,
        Command::Image(command) => image::run(command, screen).await,
        Command::Completion(args) => completion::run(&args, screen),
    }
}

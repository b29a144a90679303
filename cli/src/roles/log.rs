//! The log of a process.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::failure::Failure;
use crate::settings::Environment;

/// What is logged unless GRANGE_LOG says otherwise.
const LOGGED: &str = "info,sqlx=warn,lapin=warn";

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line.
    Json,
}

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogTo {
    /// Standard output: of a role, which says nothing else.
    Output,
    /// Standard error: where standard output is the answer.
    Error,
}

/// Begins to log.
///
/// # Errors
/// [`Failure::Usage`] when GRANGE_LOG makes no sense.
pub(crate) fn begin(to: LogTo, format: LogFormat, environment: &Environment) -> Result<(), Failure> {
    let filter = environment.get("GRANGE_LOG").unwrap_or(LOGGED);
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::usage(format!("GRANGE_LOG: {error}"), "it looks like `debug` or `info,hub=debug`")
    })?;
    let (writer, terminal) = match to {
        LogTo::Output => (BoxMakeWriter::new(std::io::stdout), std::io::stdout().is_terminal()),
        LogTo::Error => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
    };
    let colour = terminal && environment.get("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colour);
    let begun = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    begun.map_err(|error| Failure::Local(anyhow::anyhow!("cannot log: {error}")))
}

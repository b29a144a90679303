//! How a command can fail, and the exit code that says so to scripts.
//!
//! 0: done. 1: what was asked for came out badly (a build failed, a promotion was refused). 2: the call or the
//! configuration is wrong. 3: the hub refused, or knows no such thing. 4: the hub cannot be reached, or failed itself.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use farm::api::ProblemBody;

use crate::screen::{Look, Tone};

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for was done, and came out badly.
    Failed(String),
    /// The call or the configuration is wrong.
    Usage {
        /// What is wrong.
        what: String,
        /// What to do.
        fix: String,
    },
    /// The hub refused, or knows no such thing.
    Refused(ProblemBody),
    /// The hub failed itself.
    HubFailed(ProblemBody),
    /// The hub cannot be reached.
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// Why it cannot be reached.
        why: String,
    },
    /// Something of this machine is at fault: a file, a port, the ledger.
    Local(anyhow::Error),
    /// Nobody reads what is printed any more.
    Output(io::Error),
}

impl Failure {
    /// The call or the configuration is wrong, and how to mend it.
    pub fn usage(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Failure::Usage { what: what.into(), fix: fix.into() }
    }

    /// There is no such thing, found out without asking the hub for it by name.
    pub fn not_found(what: impl Into<String>) -> Self {
        Failure::Refused(ProblemBody {
            kind: "urn:grange:problem:not-found".to_owned(),
            title: "There is no such thing".to_owned(),
            status: 404,
            detail: what.into(),
            fix: None,
        })
    }

    /// What the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Failed(_) | Failure::Local(_) => 1,
            Failure::Usage { .. } => 2,
            Failure::Refused(_) => 3,
            Failure::HubFailed(_) | Failure::Unreachable { .. } => 4,
            // `grange builds | head` is no failure.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Output(_) => 1,
        }
    }

    /// May the same call succeed a moment later?
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Failure::HubFailed(_) | Failure::Unreachable { .. } => true,
            Failure::Failed(_)
            | Failure::Usage { .. }
            | Failure::Refused(_)
            | Failure::Local(_)
            | Failure::Output(_) => false,
        }
    }

    /// What the person reads: what was wrong first, then what to do. Nothing when nobody reads.
    #[must_use]
    pub fn told(&self, look: &Look) -> String {
        let (what, fix) = match self {
            Failure::Failed(what) => (what.clone(), None),
            Failure::Usage { what, fix } => (what.clone(), Some(fix.clone())),
            Failure::Refused(problem) | Failure::HubFailed(problem) => told_problem(problem),
            Failure::Unreachable { url, why } => (
                format!("cannot reach the hub at {url}: {why}"),
                Some("is it running, and is this its address? `--url`, GRANGE_URL or `grange login URL` say where it is".into()),
            ),
            Failure::Local(error) => (format!("{error:#}"), None),
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return String::new(),
            Failure::Output(error) => (format!("cannot print: {error}"), None),
        };
        let mut text = format!("{} {what}\n", look.paint(Tone::Bad, "grange:"));
        if let Some(fix) = fix {
            let _ = writeln!(text, "  {} {fix}", look.paint(Tone::Dim, "fix:"));
        }
        text
    }
}

fn told_problem(problem: &ProblemBody) -> (String, Option<String>) {
    let what = if problem.detail.is_empty() { problem.title.clone() } else { problem.detail.clone() };
    // The hub says how a client authenticates; a person wants to know how this program is told.
    let fix = if problem.status == 401 {
        Some(
            "`grange login` keeps your token; GRANGE_TOKEN or --token-file give one for a single call"
                .to_owned(),
        )
    } else {
        problem.fix.clone()
    };
    (what, fix)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Local(error)
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> ExitCode {
        ExitCode::from(failure.exit_code())
    }
}

//! Where a command prints, and how it looks there.

use std::io::{self, IsTerminal as _, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use farm::stamp::Stamp;

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a piece of text means, from which its colour follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    Plain,
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// It is under way.
    Busy,
    /// It is beside the point.
    Dim,
    /// It is the point.
    Strong,
}

/// How things look: everything that rendering depends on besides what is rendered.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Are colours used?
    pub colour: bool,
    /// Columns of the terminal; `None` when it is not one.
    pub width: Option<usize>,
    /// The time, for "3 min ago".
    pub now: Stamp,
}

impl Look {
    /// Without colours, as a pipe gets it.
    #[must_use]
    pub fn plain(now: Stamp) -> Self {
        Look { colour: false, width: None, now }
    }

    /// The text in its tone's colour. Much of what is shown was written by a package or a stranger: nothing in it may
    /// speak to the terminal.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
        let code = match tone {
            Tone::Plain => return text,
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Busy => "33",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
    }
}

/// Where a command prints.
pub struct Screen {
    out: Box<dyn Write + Send>,
    look: Look,
    fixed_now: bool,
    /// Print the API's bodies instead of text for people.
    pub json: bool,
    /// May a spinner be drawn on standard error?
    pub animated: bool,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("look", &self.look).field("json", &self.json).finish_non_exhaustive()
    }
}

impl Screen {
    /// Standard output.
    #[must_use]
    pub fn standard(colour: Colour, json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let look = Look {
            colour: wants_colour(colour, terminal),
            width: terminal.then(|| usize::from(console::Term::stdout().size().1)),
            now: now(),
        };
        let animated = !json && terminal && io::stderr().is_terminal();
        Screen { out: Box::new(io::stdout()), look, fixed_now: false, json, animated }
    }

    /// Somewhere else, without colours, as if it were always `now`.
    #[must_use]
    pub fn plain(out: Box<dyn Write + Send>, json: bool, now: Stamp) -> Self {
        Screen { out, look: Look::plain(now), fixed_now: true, json, animated: false }
    }

    /// How things look now.
    #[must_use]
    pub fn look(&self) -> Look {
        let now = if self.fixed_now { self.look.now } else { now() };
        Look { now, ..self.look }
    }

    /// Prints text that ends its own lines.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Prints a line.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.print(&format!("{text}\n"))
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// When nobody reads them.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.flush()
    }
}

/// How standard error looks.
#[must_use]
pub fn standard_error(colour: Colour) -> Look {
    Look { colour: wants_colour(colour, io::stderr().is_terminal()), width: None, now: now() }
}

fn wants_colour(colour: Colour, terminal: bool) -> bool {
    match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

/// The time.
#[must_use]
pub fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

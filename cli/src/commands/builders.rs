//! `grange builders`

use farm::api::{BuilderView, Enrolment, NewEnrolment, NewWish, Wished};
use farm::builder::Wish;

use crate::client::Client;
use crate::failure::Failure;
use crate::render::{self, ahead};
use crate::screen::Screen;

/// What `grange builders` takes. Without a verb it lists them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange builders
  grange builders --json
  grange builders show b1
  grange builders enrol b2
  grange builders drain b1")]
pub struct Args {
    /// What to do; without it, they are listed
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be done with builders.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List builders
    List(List),
    /// Show one builder: what it has, what it does, how its clock is
    Show(Show),
    /// Make a one-time token by which a new machine joins as a builder
    Enrol(Enrol),
    /// Let a builder end what it has, and give it nothing new
    Drain(Drain),
    /// Shut a builder out at once: what it has is given to others, and its secret is refused
    Disable(Disable),
    /// Let a builder work again
    Enable(Enable),
    /// Forget a builder that is gone for good; refused while it has jobs
    Remove(Remove),
}

/// What `grange builders list` takes: nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange builders list")]
pub struct List {}

/// What `grange builders show` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange builders show b1")]
pub struct Show {
    /// The builder
    pub name: String,
}

/// What `grange builders enrol` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The token is printed once. On the new machine, put it into a file that only the builder's user can read, name that file as
`enrolment_token_file` in section [builder], and start `grange builder`. The file is not needed after that.

A name that is enrolled again belongs to the new machine: the old one's secret is refused from then on.

Examples:
  grange builders enrol b2
  grange builders enrol b2 --expires 15m")]
pub struct Enrol {
    /// What the builder will be called
    pub name: String,
    /// How long the token may be used: 45s, 15m, 2h, 1d
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = seconds)]
    pub expires: u64,
}

/// What `grange builders drain` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange builders drain b1")]
pub struct Drain {
    /// The builder
    pub name: String,
}

/// What `grange builders disable` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange builders disable b1")]
pub struct Disable {
    /// The builder
    pub name: String,
}

/// What `grange builders enable` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange builders enable b1")]
pub struct Enable {
    /// The builder
    pub name: String,
}

/// What `grange builders remove` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange builders remove b1")]
pub struct Remove {
    /// The builder
    pub name: String,
}

/// Does it.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    match args.command {
        None | Some(Command::List(List {})) => list(client, screen).await,
        Some(Command::Show(Show { name })) => show(&name, client, screen).await,
        Some(Command::Enrol(args)) => enrol(args, client, screen).await,
        Some(Command::Drain(Drain { name })) => wish(&name, Wish::Drain, client, screen).await,
        Some(Command::Disable(Disable { name })) => wish(&name, Wish::Disabled, client, screen).await,
        Some(Command::Enable(Enable { name })) => wish(&name, Wish::Work, client, screen).await,
        Some(Command::Remove(Remove { name })) => remove(&name, client, screen).await,
    }
}

async fn list(client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = client.get(&["builders"], &[]).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let page = body.items::<BuilderView>()?;
    Ok(screen.print(&render::builders(&page.items, &screen.look()))?)
}

async fn show(name: &str, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = client.get(&["builders", name], &[]).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    Ok(screen.print(&render::builder(&body.read()?, &screen.look()))?)
}

async fn enrol(Enrol { name, expires }: Enrol, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let asked = NewEnrolment { builder: name, seconds: Some(expires) };
    let body = client.post(&["builders", "enrolments"], &asked).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let Enrolment { builder, token, expires } = body.read()?;
    eprintln!(
        "with this token a machine joins as builder {builder}, once; it expires {} and is not shown again:",
        ahead(expires, screen.look().now)
    );
    Ok(screen.line(&token)?)
}

async fn wish(name: &str, wish: Wish, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = client.put(&["builders", name, "wish"], &NewWish { wish }).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let Wished { view, taken } = body.read()?;
    let name = view.builder.name;
    let said = match wish {
        Wish::Work => format!("{name} may work again"),
        Wish::Drain => format!("{name} ends what it has and gets nothing new"),
        Wish::Disabled => match taken.len() {
            0 => format!("{name} is shut out; it had no jobs"),
            1 => format!("{name} is shut out; the job it had is given to others"),
            count => format!("{name} is shut out; the {count} jobs it had are given to others"),
        },
    };
    Ok(screen.line(&said)?)
}

async fn remove(name: &str, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    client.delete(&["builders", name]).await?;
    if screen.json {
        return Ok(());
    }
    Ok(screen.line(&format!("{name} is forgotten, and its secret with it"))?)
}

/// A span as people write it, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no span; write it as 45s, 15m, 2h or 1d");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, expected) in [("45s", 45), ("90", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400)] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for wrong in ["", "h", "-1h", "1w", "1h30m", "99999999999999999999d"] {
            assert!(seconds(wrong).unwrap_err().contains("45s"), "{wrong}");
        }
    }
}

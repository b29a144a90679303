//! `grange person`: people and their tokens, straight in the ledger, for who has the hub's machine.

use anyhow::Context as _;
use farm::digest::{Digest, hex};
use farm::ledger::Db;
use farm::sig::template::is_person;
use farm::stamp::Stamp;
use serde_json::json;

use crate::failure::Failure;
use crate::render::{Cell, Table, ago};
use crate::roles::Place;
use crate::screen::{Screen, Tone, now};
use crate::settings::Environment;

/// What can be done with people.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a person, or give one a new token in place of the old; the token is printed once
    Add(Add),
    /// List people
    List(List),
    /// Remove a person, and their token with them
    Remove(Remove),
}

/// What `grange person add` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange person add ada --data /var/lib/grange
  grange person add grace --admin --config /etc/grange/grange.toml
  grange person add grace --admin --database postgres://grange@db/grange")]
pub struct Add {
    /// The person's name, as SIG templates use it
    pub name: String,
    /// They may apply templates and do whatever a maintainer of any SIG may
    #[arg(long)]
    pub admin: bool,
    /// Where the ledger is.
    #[command(flatten)]
    pub place: Place,
}

/// What `grange person list` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange person list --data /var/lib/grange")]
pub struct List {
    /// Where the ledger is.
    #[command(flatten)]
    pub place: Place,
}

/// What `grange person remove` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange person remove ada --data /var/lib/grange")]
pub struct Remove {
    /// The person's name
    pub name: String,
    /// Where the ledger is.
    #[command(flatten)]
    pub place: Place,
}

/// Does it. The farm may be running meanwhile.
///
/// # Errors
/// When there is no ledger, or it fails.
pub async fn run(command: Command, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    match command {
        Command::Add(args) => add(args, environment, screen).await,
        Command::List(args) => list(args, environment, screen).await,
        Command::Remove(args) => remove(args, environment, screen).await,
    }
}

async fn add(args: Add, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let Add { name, admin, place } = args;
    if !is_person(&name) {
        return Err(Failure::usage(
            format!("`{name}` is no name for a person"),
            "use letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 40",
        ));
    }
    let db = place.open(environment).await?;
    let (token, known) = put(&db, &name, admin, now()).await?;
    db.close().await;
    if screen.json {
        return Ok(screen.line(&json!({ "name": name, "admin": admin, "token": token }).to_string())?);
    }
    if known {
        eprintln!("{name} has a new token; the old one is worth nothing any more");
    } else {
        eprintln!("{name} has this token; it is not shown again:");
    }
    Ok(screen.line(&token)?)
}

/// Gives a person a fresh token. Also says whether they were there before.
pub(crate) async fn put(
    db: &Db,
    name: &str,
    admin: bool,
    now: Stamp,
) -> Result<(String, bool), anyhow::Error> {
    let token = fresh_token()?;
    let mut tx = db.write().await?;
    let known = tx.people().await?.into_iter().find(|person| person.name == name);
    // A new token takes nothing away: who was an admin stays one until they are removed.
    let admin = admin || known.as_ref().is_some_and(|person| person.admin);
    tx.put_person(name, &Digest::of(token.as_bytes()), admin, now).await?;
    tx.commit().await?;
    Ok((token, known.is_some()))
}

async fn list(args: List, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let db = args.place.open(environment).await?;
    let people = db.read().await.context("the ledger")?.people().await.context("the ledger")?;
    db.close().await;
    if screen.json {
        let people: Vec<_> = people
            .iter()
            .map(|person| json!({ "name": person.name, "admin": person.admin, "created": person.created }))
            .collect();
        return Ok(screen.line(&json!(people).to_string())?);
    }
    let look = screen.look();
    let mut table = Table::new(&["PERSON", "ADMIN", "SINCE"]);
    for person in people {
        table.row([
            Cell::new(Tone::Strong, person.name),
            if person.admin { "yes" } else { "" }.into(),
            ago(person.created, look.now).into(),
        ]);
    }
    let text = if table.is_empty() { "nobody yet\n".to_owned() } else { table.render(&look) };
    Ok(screen.print(&text)?)
}

async fn remove(args: Remove, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let db = args.place.open(environment).await?;
    let mut tx = db.write().await.context("the ledger")?;
    let known = tx.remove_person(&args.name).await.context("the ledger")?;
    tx.commit().await.context("the ledger")?;
    db.close().await;
    if !known {
        return Err(Failure::not_found(format!("there is no person {}", args.name)));
    }
    if screen.json {
        return Ok(());
    }
    Ok(screen.line(&format!("{} is removed, and so is their token", args.name))?)
}

/// A fresh secret: 256 bits from the operating system.
pub(crate) fn fresh_token() -> anyhow::Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("there is no random source: {error}"))?;
    Ok(hex(&bytes))
}

//! `grange person`: people and their tokens, straight in the ledger, for who has the hub's machine.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use farm::digest::{Digest, hex};
use farm::ledger::Db;
use farm::sig::template::is_person;
use farm::stamp::Stamp;
use serde_json::json;

use crate::failure::Failure;
use crate::render::{Cell, Table, ago};
use crate::screen::{Screen, Tone, now};

/// Where a farm in one process keeps everything unless it is told otherwise.
pub const DEFAULT_DATA: &str = "var/grange";
/// The ledger's file in the data folder.
pub const LEDGER_FILE: &str = "ledger.sqlite";

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

/// Where the ledger is.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The folder the farm keeps everything in
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// The database, when it is not in that folder
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    pub database: Option<String>,
}

/// Does it. The farm may be running meanwhile.
///
/// # Errors
/// When there is no ledger, or it fails.
pub async fn run(command: Command, screen: &mut Screen) -> Result<(), Failure> {
    match command {
        Command::Add(args) => add(args, screen).await,
        Command::List(args) => list(args, screen).await,
        Command::Remove(args) => remove(args, screen).await,
    }
}

async fn add(args: Add, screen: &mut Screen) -> Result<(), Failure> {
    let Add { name, admin, place } = args;
    if !is_person(&name) {
        return Err(Failure::usage(
            format!("`{name}` is no name for a person"),
            "use letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 40",
        ));
    }
    let db = open(&place).await?;
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

async fn list(args: List, screen: &mut Screen) -> Result<(), Failure> {
    let db = open(&args.place).await?;
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

async fn remove(args: Remove, screen: &mut Screen) -> Result<(), Failure> {
    let db = open(&args.place).await?;
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

async fn open(place: &Place) -> Result<Db, Failure> {
    let url = match &place.database {
        Some(url) => url.clone(),
        None => {
            let file = place.data.join(LEDGER_FILE);
            // A mistyped folder must not become a new, empty farm.
            if !file.exists() {
                return Err(Failure::usage(
                    format!("there is no ledger in {}", place.data.display()),
                    "name the farm's folder with --data; `grange standalone` makes it at its first start",
                ));
            }
            ledger_url(&place.data)
        }
    };
    Ok(Db::open(&url).await.context("cannot open the ledger")?)
}

/// The address of the ledger in a data folder.
#[must_use]
pub fn ledger_url(data: &Path) -> String {
    format!("sqlite:{}", data.join(LEDGER_FILE).display())
}

/// A fresh secret: 256 bits from the operating system.
pub(crate) fn fresh_token() -> anyhow::Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("there is no random source: {error}"))?;
    Ok(hex(&bytes))
}

//! `grange signer key`: the keys in a signer's folder. A signer that runs hears of what is changed here by itself.

use std::path::PathBuf;
use std::time::Duration;

use farm::signing::{Purpose, SigningKey, Standing, current, valid};
use farm::stamp::Stamp;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;
use signer::keys::{KeyError, Keys, owner};

use crate::failure::Failure;
use crate::render::{Cell, Table, ago, ahead};
use crate::roles::Config;
use crate::screen::{Screen, Tone, now};
use crate::settings::Environment;

/// Where a farm in one process keeps the keys, in its data folder.
pub(crate) const KEYS: &str = "keys";
/// Digits of a fingerprint that are enough to name it.
const ENOUGH: usize = 8;

/// What can be done with keys.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the keys: who signs, who will, who did
    List(List),
    /// Make a key that follows the present one: it is published at once and signs later
    New(New),
    /// Say from when on nothing that a key signed counts any more
    Retire(Retire),
}

/// Where the keys are.
#[derive(Debug, clap::Args)]
pub struct Folder {
    /// The signer's configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data folder of a farm in one process
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub data: Option<PathBuf>,
}

/// What `grange signer key list` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange signer key list --config /etc/grange/signer.toml
  grange signer key list --sig storage --data /var/lib/grange")]
pub struct List {
    /// Only those of this SIG
    #[arg(long, value_name = "SIG")]
    pub sig: Option<String>,
    /// Where the keys are.
    #[command(flatten)]
    pub folder: Folder,
}

/// What `grange signer key new` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A new key is published beside the present one at once, so that users have it when the first signature is made with it. From
`--from` on it signs whatever is published; the present one still counts, and signs the metadata too, for `--overlap`
longer. What is not published anew within that time should be: nothing that only a retired key signed is let through.

Examples:
  grange signer key new --sig storage --config /etc/grange/signer.toml
  grange signer key new --sig storage --from now --overlap 90d --config /etc/grange/signer.toml
  grange signer key new --decisions --from 7d --data /var/lib/grange")]
pub struct New {
    /// The SIG whose packages it signs
    #[arg(long, value_name = "SIG", required_unless_present = "decisions")]
    pub sig: Option<String>,
    /// It signs the gate's decisions
    #[arg(long, conflicts_with = "sig")]
    pub decisions: bool,
    /// From when on it signs: `now`, `7d`, `12h`, `2027-01-31` [default: 7d; now for a first key]
    #[arg(long, value_name = "WHEN")]
    pub from: Option<String>,
    /// How long the present one counts after that
    #[arg(long, value_name = "SPAN", default_value = "30d")]
    pub overlap: String,
    /// Where the keys are.
    #[command(flatten)]
    pub folder: Folder,
}

/// What `grange signer key retire` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange signer key retire 0123abcd --config /etc/grange/signer.toml
  grange signer key retire 0123abcd --at 30d --data /var/lib/grange")]
pub struct Retire {
    /// Its fingerprint, or as much of it as names one key
    pub fingerprint: String,
    /// From when on: `now`, `7d`, `12h`, `2027-01-31`
    #[arg(long, value_name = "WHEN", default_value = "now")]
    pub at: String,
    /// Even if then no key signs
    #[arg(long)]
    pub force: bool,
    /// Where the keys are.
    #[command(flatten)]
    pub folder: Folder,
}

/// Does it.
///
/// # Errors
/// When the folder of keys cannot be used.
pub(super) async fn run(
    command: Command,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<(), Failure> {
    match command {
        Command::List(args) => list(&args, environment, screen),
        Command::New(args) => new(args, environment, screen).await,
        Command::Retire(args) => retire(&args, environment, screen),
    }
}

fn open(folder: &Folder, environment: &Environment) -> Result<(Keys, signer::Config), Failure> {
    let config = Config::read(folder.config.as_deref(), environment)?;
    let mut signer = config.signer;
    match &folder.data {
        Some(data) => signer.keys = data.join(KEYS),
        // What the configuration of a farm in one process does not say follows from its data folder.
        None if !config.said.contains("signer.keys") && config.said.contains("hub.data") => {
            signer.keys = config.hub.data.join(KEYS);
        }
        None => {}
    }
    if !signer.keys.is_dir() {
        return Err(Failure::usage(
            format!("there is no folder {}", signer.keys.display()),
            "name the signer's configuration with --config, or the data folder of a farm in one process with --data",
        ));
    }
    let keys = Keys::open(&signer.keys, signer.passphrase_file.as_deref()).map_err(unusable)?;
    Ok((keys, signer))
}

fn unusable(error: KeyError) -> Failure {
    Failure::Local(error.into())
}

fn list(args: &List, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let (keys, _) = open(&args.folder, environment)?;
    let mut keys = keys.list().map_err(unusable)?;
    if let Some(sig) = &args.sig {
        keys.retain(|key| key.sig == *sig);
    }
    if screen.json {
        return Ok(screen.line(&serde_json::to_string(&keys).map_err(anyhow::Error::from)?)?);
    }
    let look = screen.look();
    let mut table = Table::new(&["OF", "KEY", "STANDS", "SINCE", "UNTIL"]);
    for key in &keys {
        let (tone, stands) = stands(key, &keys, look.now);
        table.row(vec![
            owner(key).into(),
            key.fingerprint.clone().into(),
            Cell::new(tone, stands),
            when(key.since, look.now).into(),
            key.until.map_or_else(String::new, |until| when(until, look.now)).into(),
        ]);
    }
    Ok(screen.line(&table.render(&look))?)
}

fn when(at: Stamp, now: Stamp) -> String {
    if at > now { ahead(at, now) } else { ago(at, now) }
}

/// Where a key stands, in words.
fn stands(key: &SigningKey, all: &[SigningKey], now: Stamp) -> (Tone, &'static str) {
    match key.standing(now) {
        Standing::Announced => (Tone::Busy, "announced"),
        Standing::Retired => (Tone::Dim, "retired"),
        Standing::Valid if current(all, key.purpose, &key.sig, now) == Some(key) => (Tone::Good, "signs"),
        Standing::Valid => (Tone::Plain, "still counts"),
    }
}

async fn new(args: New, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let New { sig, decisions, from, overlap, folder } = args;
    let (keys, config) = open(&folder, environment)?;
    let (now, purpose) = (now(), if decisions { Purpose::Decisions } else { Purpose::Packages });
    let sig = sig.unwrap_or_default();
    let known = keys.list().map_err(unusable)?;
    let before: Vec<SigningKey> = valid(&known, purpose, &sig, now).into_iter().cloned().collect();
    let from = match (from, before.is_empty()) {
        (Some(text), _) => moment("--from", &text, now)?,
        (None, true) => now,
        (None, false) => now + LEAD,
    };
    let until = from + span("--overlap", &overlap)?;
    let (user_id, bits) = (config.user_id, config.rsa_bits);
    let made = tokio::task::spawn_blocking(move || {
        let made = match purpose {
            Purpose::Packages => keys.new_packages(&sig, &user_id, bits, from, now),
            Purpose::Decisions => keys.new_decisions(from),
        }?;
        for key in before.iter().filter(|key| key.until.is_none_or(|known| known > until)) {
            keys.set_times(&key.fingerprint, key.since, Some(until))?;
        }
        Ok::<_, KeyError>(made)
    });
    let made = made.await.map_err(anyhow::Error::from)?.map_err(unusable)?;
    if screen.json {
        let said = json!({ "fingerprint": made.fingerprint, "sig": made.sig, "since": made.since });
        return Ok(screen.line(&said.to_string())?);
    }
    let since =
        if from > now { format!("signs {}", ahead(from, now)) } else { "signs from now on".to_owned() };
    Ok(screen.line(&format!("{} has a new key {}, which {since}", owner(&made), made.fingerprint))?)
}

/// How long a key that follows another one is announced before.
const LEAD: Duration = Duration::from_secs(7 * 24 * 3600);

fn retire(args: &Retire, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    let (keys, _) = open(&args.folder, environment)?;
    let (now, known) = (now(), keys.list().map_err(unusable)?);
    let wanted = args.fingerprint.to_ascii_lowercase();
    let mut found = known.iter().filter(|key| wanted.len() >= ENOUGH && key.fingerprint.starts_with(&wanted));
    let (Some(key), None) = (found.next(), found.next()) else {
        return Err(Failure::usage(
            format!("`{}` does not name one key", args.fingerprint),
            format!("give at least {ENOUGH} digits of a fingerprint that `grange signer key list` shows"),
        ));
    };
    let at = moment("--at", &args.at, now)?;
    let left = known.iter().any(|other| {
        other.fingerprint != key.fingerprint
            && (other.purpose, &other.sig) == (key.purpose, &key.sig)
            && other.is_valid(at)
    });
    if !left && !args.force {
        return Err(Failure::usage(
            format!("no other key of {} signs then: nothing of it could be published any more", owner(key)),
            "make one first with `grange signer key new`, or say --force",
        ));
    }
    let retired = keys.set_times(&key.fingerprint, key.since, Some(at)).map_err(unusable)?;
    if screen.json {
        let said = json!({ "fingerprint": retired.fingerprint, "until": retired.until });
        return Ok(screen.line(&said.to_string())?);
    }
    let when = if at > now { ahead(at, now) } else { "from now on".to_owned() };
    Ok(screen.line(&format!("nothing that {} signed counts any more {when}", retired.fingerprint))?)
}

/// `now`, a span from now, a day, or a moment as RFC 3339 has it.
fn moment(option: &str, text: &str, now: Stamp) -> Result<Stamp, Failure> {
    if text == "now" {
        return Ok(now);
    }
    if let Ok(span) = span(option, text) {
        return Ok(now + span);
    }
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    let at = text.parse::<Timestamp>().ok().or_else(day);
    at.map(|at| Stamp::from_millis(at.as_millisecond())).ok_or_else(|| {
        Failure::usage(format!("{option}: `{text}` is no moment"), "write `now`, `7d`, `12h` or `2027-01-31`")
    })
}

/// `90s`, `30m`, `12h`, `7d`, `2w`
fn span(option: &str, text: &str) -> Result<Duration, Failure> {
    let wrong = || Failure::usage(format!("{option}: `{text}` is no span"), "write `12h`, `7d` or `2w`");
    let split = text.len() - text.chars().last().map_or(0, char::len_utf8);
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = Stamp::from_millis(1_000_000);
        let at = |text| moment("--from", text, now).unwrap().millis();
        assert_eq!(at("now"), 1_000_000);
        assert_eq!(at("90s"), 1_090_000);
        assert_eq!(at("2w"), 1_000_000 + 14 * 86_400_000);
        assert_eq!(at("1970-01-02"), 86_400_000);
        assert_eq!(at("1970-01-01T00:00:01Z"), 1_000);
        for wrong in ["", "soon", "d", "-1d", "7 d", "2027-13-01"] {
            assert!(moment("--from", wrong, now).is_err(), "{wrong}");
        }
    }
}

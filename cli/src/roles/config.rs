//! The one configuration of every role: a section for each, for the ledger and for the bus, and the environment over the
//! file. A role reads what concerns it; what nobody knows is refused by all.

use std::collections::BTreeSet;
use std::path::Path;

use farm::wire::AmqpConfig;
use serde::Deserialize;
use toml::{Table, Value};

use super::LedgerPlace;
use crate::failure::Failure;
use crate::settings::Environment;
use crate::strict;

/// What stands before the name of a key in the environment.
const PREFIX: &str = "GRANGE_";
/// What stands between section and key there.
const SEPARATOR: &str = "__";

/// The sections of the file: the fields of [`Sections`].
const SECTIONS: [&str; 6] = ["ledger", "bus", "hub", "scheduler", "builder", "signer"];

/// The roles' configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where the ledger is.
    pub ledger: LedgerPlace,
    /// Where the bus is.
    pub bus: AmqpConfig,
    /// The hub's.
    pub hub: hub::config::Config,
    /// The scheduler's.
    pub scheduler: scheduler::Config,
    /// The builder's.
    pub builder: builder::Config,
    /// The signer's.
    pub signer: signer::Config,
    /// What was said, as `hub.public_url`: whatever was not may follow from where the farm really is.
    pub said: BTreeSet<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Sections {
    ledger: LedgerPlace,
    bus: AmqpConfig,
    hub: hub::config::Config,
    scheduler: scheduler::Config,
    builder: builder::Config,
    signer: signer::Config,
}

impl Config {
    /// The same, with links that lead to this address.
    #[must_use]
    pub fn with_public_url(mut self, url: &str) -> Config {
        self.hub.public_url = url.to_owned();
        self.said.insert("hub.public_url".to_owned());
        self
    }

    /// Was a bus configured? A farm in one process needs none.
    #[must_use]
    pub fn has_bus(&self) -> bool {
        self.said.iter().any(|key| key.starts_with("bus."))
    }

    /// Reads the file, if there is one, and puts the environment's `GRANGE_HUB__PUBLIC_URL` and the like over it.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the line or the variable, what is wrong with it, and the nearest known key.
    pub fn read(file: Option<&Path>, environment: &Environment) -> Result<Config, Failure> {
        let mut table = match file {
            Some(path) => read_file(path)?,
            None => Table::new(),
        };
        for (name, value) in environment.iter() {
            if let Some(keys) = keys(name) {
                put(&mut table, &keys, typed(name, &keys, value)?);
            }
        }
        let said = said(&table);
        let Sections { ledger, bus, hub, mut scheduler, builder, signer } =
            table.try_into().map_err(|error: toml::de::Error| {
                Failure::usage(
                    format!("the configuration: {}", error.message()),
                    strict::fix(error.message()),
                )
            })?;
        // The two must agree on these, so that saying it once is enough.
        if !said.contains("scheduler.patience") {
            scheduler.patience.clone_from(&hub.patience);
        }
        if !said.contains("scheduler.silent_ms") {
            scheduler.silent_ms = hub.silent_ms;
        }
        if !said.contains("scheduler.hub_gap_ms") {
            scheduler.hub_gap_ms = hub.hub_gap_ms;
        }
        Ok(Config { ledger, bus, hub, scheduler, builder, signer, said })
    }
}

fn read_file(path: &Path) -> Result<Table, Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("cannot read {name}: {error}"), "name another file with --config")
    })?;
    // Read once for what is wrong and in which line, and once more as a table the environment can be put over.
    strict::read::<Sections>(&name, &text)?;
    strict::read(&name, &text)
}

/// `GRANGE_HUB__PATIENCE__LEASE_MS` is `hub`, `patience`, `lease_ms`.
fn keys(name: &str) -> Option<Vec<String>> {
    let (section, rest) = name.strip_prefix(PREFIX)?.split_once(SEPARATOR)?;
    let section = section.to_ascii_lowercase();
    SECTIONS.into_iter().find(|known| *known == section)?;
    let rest = rest.split(SEPARATOR).map(str::to_ascii_lowercase);
    Some(std::iter::once(section).chain(rest).collect())
}

/// A variable's text as the value its key takes: as TOML writes it (`3`, `true`, `["/srv"]`), else as plain text.
fn typed(name: &str, keys: &[String], text: &str) -> Result<Value, Failure> {
    let as_toml = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"));
    let mut wrong = None;
    for value in as_toml.into_iter().chain([Value::String(text.to_owned())]) {
        let mut alone = Table::new();
        put(&mut alone, keys, value.clone());
        match alone.try_into::<Sections>() {
            Ok(_) => return Ok(value),
            Err(error) => wrong = wrong.or(Some(error.message().trim().to_owned())),
        }
    }
    let wrong = wrong.unwrap_or_default();
    Err(Failure::usage(format!("{name}: {wrong}"), strict::fix(&wrong)))
}

fn put(table: &mut Table, keys: &[String], value: Value) {
    let Some((last, above)) = keys.split_last() else { return };
    let mut place = table;
    for key in above {
        let entry = place.entry(key.as_str()).or_insert_with(|| Value::Table(Table::new()));
        if !entry.is_table() {
            *entry = Value::Table(Table::new());
        }
        match entry {
            Value::Table(deeper) => place = deeper,
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => return,
        }
    }
    place.insert(last.clone(), value);
}

fn said(table: &Table) -> BTreeSet<String> {
    table
        .iter()
        .filter_map(|(section, keys)| Some((section, keys.as_table()?)))
        .flat_map(|(section, keys)| keys.keys().map(move |key| format!("{section}.{key}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn read(text: &str, pairs: &[(&str, &str)]) -> Result<Config, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grange.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(Some(&path), &environment(pairs))
    }

    fn told(result: Result<Config, Failure>) -> (String, String) {
        match result.unwrap_err() {
            Failure::Usage { what, fix } => (what, fix),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_said_is_enough() {
        let config = Config::read(None, &Environment::default()).unwrap();
        assert_eq!(config.hub, hub::config::Config::default());
        assert!(config.said.is_empty());
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let config = read(
            "[hub]\npublic_url = \"https://grange.example.org\"\nupload_mb = 7\n[builder]\nslots = 3\n",
            &[
                ("GRANGE_HUB__UPLOAD_MB", "9"),
                ("GRANGE_HUB__PATIENCE__LEASE_MS", "1234"),
                ("GRANGE_BUILDER__NAME", "17"),
                ("GRANGE_BUILDER__FILE_REPOS", "[\"/srv/repos\"]"),
                ("GRANGE_BUILDER__ENGINE", "unix:///run/podman/podman.sock"),
                ("GRANGE_URL", "https://elsewhere.example.org"),
                ("GRANGE_HUB", "https://of-a-hook.example.org"),
            ],
        )
        .unwrap();
        assert_eq!((config.hub.upload_mb, config.hub.patience.lease_ms), (9, 1234));
        assert_eq!(config.hub.public_url, "https://grange.example.org");
        assert_eq!(config.builder.slots, 3);
        assert_eq!(config.builder.name, "17");
        assert_eq!(config.builder.file_repos, [Path::new("/srv/repos")]);
        assert_eq!(config.builder.engine, "unix:///run/podman/podman.sock");
        assert!(config.said.contains("hub.public_url") && !config.said.contains("builder.hub"));
        assert_eq!(config.scheduler.patience.lease_ms, 1234, "the roles agree when one is told");
    }

    #[test]
    fn what_is_unknown_is_refused_with_its_place_and_the_nearest_key() {
        let (what, fix) = told(read("[hub]\n\npublic_ur = \"https://x\"\n", &[]));
        assert!(what.contains("grange.toml:3:"), "{what}");
        assert_eq!(fix, "did you mean `public_url`?");
        let (what, fix) = told(read("[buidler]\nslots = 1\n", &[]));
        assert!(what.contains("grange.toml:1:"), "{what}");
        assert_eq!(fix, "did you mean `builder`?");
        let (what, fix) = told(read("", &[("GRANGE_BUILDER__SLOT", "2")]));
        assert!(what.contains("GRANGE_BUILDER__SLOT"), "{what}");
        assert_eq!(fix, "did you mean `slots`?");
        let (what, _) = told(read("", &[("GRANGE_BUILDER__SLOTS", "many")]));
        assert!(what.contains("GRANGE_BUILDER__SLOTS"), "{what}");
    }
}

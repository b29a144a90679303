//! What a builder can be told. Every value has a default that is enough for a farm in one process.

use std::path::PathBuf;

use farm::arch::Arch;
use serde::Deserialize;
use url::Url;

/// A builder's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What the builder is called: unique in the farm, and unique among all that use the same container engine,
    /// because a builder removes what an earlier life of the same name left there. Letters, digits, `-`, `_` and `.`.
    /// The host's name by default.
    pub name: String,
    /// How many jobs it takes at once.
    pub slots: u32,
    /// The architectures it takes jobs for. Foreign ones need qemu-user and images of that architecture.
    pub arches: Vec<Arch>,
    /// Where the hub is.
    pub hub: Url,
    /// A directory of its own, for workspaces and the cache. No two builders may share one.
    pub data: PathBuf,
    /// The container engine's socket, as `unix:///path`: Docker's, or that of `podman system service`.
    pub engine: String,
    /// Milliseconds between two signs of presence to the scheduler.
    pub presence_ms: u64,
    /// MiB of fetched files that are kept for later jobs.
    pub cache_mb: u64,
    /// Directories below which a recipe's `file://` repos may lie. None by default: such repos are refused.
    pub file_repos: Vec<PathBuf>,
    /// Seconds that running jobs get to end by themselves when the builder is told to stop. What still runs then is
    /// killed and given back to the farm.
    pub drain_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: host_name(),
            slots: 2,
            arches: Arch::native().into_iter().collect(),
            hub: default_hub(),
            data: PathBuf::from("var/builder"),
            engine: "unix:///var/run/docker.sock".to_owned(),
            presence_ms: 3_000,
            cache_mb: 10 * 1024,
            file_repos: Vec::new(),
            drain_seconds: 0,
        }
    }
}

fn default_hub() -> Url {
    #[allow(clippy::expect_used, reason = "a constant that the tests below parse")]
    Url::parse("http://127.0.0.1:8080/").expect("the default address of the hub is a URL")
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "builder".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_configuration_is_enough_and_an_unknown_key_is_refused() {
        let config: Config = serde_json::from_str("{}").unwrap();
        assert_eq!(config, Config::default());
        assert!(!config.name.is_empty());
        let unknown = serde_json::from_str::<Config>(r#"{"slot": 3}"#).unwrap_err();
        assert!(unknown.to_string().contains("slot"));
    }
}

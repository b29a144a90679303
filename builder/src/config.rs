//! What a builder can be told. Every value has a default that is enough for a farm in one process.

use std::collections::BTreeSet;
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
    /// A file with the one-time token by which a new machine joins the farm, and gets the name the token was made for.
    /// A builder that has joined does not look at it any more.
    pub enrolment_token_file: Option<PathBuf>,
    /// How many jobs it takes at once.
    pub slots: u32,
    /// MiB of memory all its jobs together may use; what the machine has when it is not said.
    pub memory_mb: Option<u64>,
    /// MiB of disk all its jobs together may use; what is free below `data` once the cache is full when it is not said.
    pub disk_mb: Option<u64>,
    /// What distinguishes it (`ssd`, `big`): targets may ask for labels.
    pub labels: BTreeSet<String>,
    /// The architectures it runs natively. Each needs images of that architecture.
    pub arches: Vec<Arch>,
    /// The architectures it runs under qemu-user emulation besides, many times slower.
    pub emulated: Vec<Arch>,
    /// Where the hub is.
    pub hub: Url,
    /// A directory of its own, for workspaces and the cache. No two builders may share one.
    pub data: PathBuf,
    /// The container engine's socket, as `unix:///path`: Docker's, or that of `podman system service`.
    pub engine: String,
    /// Milliseconds between two signs of presence to the hub.
    pub presence_ms: u64,
    /// MiB of fetched files that are kept for later jobs; on a small disk at most a quarter of what is free at the start.
    pub cache_mb: u64,
    /// MiB of roots that are kept in the container engine for later builds, with the same bound; 0 keeps none.
    pub roots_mb: u64,
    /// MiB of compilers' results that are kept for the targets that ask for a ccache, all together, with the same bound; 0
    /// keeps none.
    pub ccache_mb: u64,
    /// Directories below which a recipe's `file://` repos may lie. None by default: such repos are refused.
    pub file_repos: Vec<PathBuf>,
    /// Seconds that running jobs get to end by themselves when the builder is told to stop. What still runs then is
    /// killed and given back to the farm.
    pub drain_seconds: u64,
    /// Where the process tells `/metrics`, `/healthz` and `/readyz`; nowhere when it is not said.
    pub metrics: Option<std::net::SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: host_name(),
            enrolment_token_file: None,
            slots: 2,
            memory_mb: None,
            disk_mb: None,
            labels: BTreeSet::new(),
            emulated: Vec::new(),
            arches: Arch::native().into_iter().collect(),
            hub: default_hub(),
            data: PathBuf::from("var/builder"),
            engine: "unix:///var/run/docker.sock".to_owned(),
            presence_ms: 3_000,
            cache_mb: 10 * 1024,
            roots_mb: 10 * 1024,
            ccache_mb: 5 * 1024,
            file_repos: Vec::new(),
            drain_seconds: 0,
            metrics: None,
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

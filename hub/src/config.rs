//! What a hub can be told. Every value has a default that is enough for a farm in one process.

use std::net::SocketAddr;
use std::path::PathBuf;

use farm::job::Patience;
use serde::Deserialize;

use crate::bucket::S3;

/// A hub's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where everything is kept: git repos, artifacts, logs, repos.
    pub data: PathBuf,
    /// Where the hub listens. `grange standalone` takes it from its command line instead.
    pub listen: SocketAddr,
    /// Milliseconds for which a hub that was told to stop says so at `/readyz` and still takes calls, so that a proxy before
    /// several hubs sends it no more of them.
    pub leave_ms: u64,
    /// Milliseconds that calls under way get to end when the hub stops.
    pub drain_ms: u64,
    /// The address people and builders reach the hub by, without a slash at the end.
    pub public_url: String,
    /// The folder that has `grange-update` and `grange-post-receive`, for the repos the hub serves itself.
    pub hooks: PathBuf,
    /// Milliseconds for which these wait for the hub, while the person who pushes looks on; then the push is kept, and taken in later.
    pub hook_ms: u64,
    /// Clone URLs of other git servers may be built from when they begin with one of these.
    pub git_prefixes: Vec<String>,
    /// A file with the secret that hooks on other git servers show. Without it only the hub's own repos report pushes.
    pub hook_token_file: Option<PathBuf>,
    /// A file with the secret that signers show. Without it the hub makes one, in `signer-token` in its data folder.
    pub signer_token_file: Option<PathBuf>,
    /// Directories below which `file://` repos outside the farm may lie that checks read. None by default: such repos are refused.
    pub file_repos: Vec<PathBuf>,
    /// MiB one upload may have: a lookaside file, a source RPM, a job's output.
    pub upload_mb: u64,
    /// Milliseconds between two looks of the keeper at everything unsettled. It is woken earlier when something happens.
    pub keeper_ms: u64,
    /// Milliseconds between two comparisons of branch heads with what was taken in.
    pub sweep_ms: u64,
    /// Hours for which a snapshot that no candidate repo shows any more, or that never became public, is kept: a build or a
    /// test may still be at it.
    pub keep_hours: u64,
    /// Hours for which clients act on metadata they have: what a public repo does not show any more can be fetched for that
    /// long, and for `mirror_lag_hours` more.
    pub keep_public_hours: u64,
    /// Hours by which mirrors may be behind.
    pub mirror_lag_hours: u64,
    /// Where else the public root can be fetched (`https://mirror.example.org/grange`), by http or https and without a slash
    /// at the end; named to clients after the hub's own address, in this order.
    pub mirrors: Vec<String>,
    /// Milliseconds for which nothing below a live repo must have changed before what is live is tested again.
    pub recheck_ms: u64,
    /// The hour (UTC) at which projects with `nightly` are tested every day.
    pub nightly_hour: u32,
    /// Milliseconds between two looks at each repo outside the farm.
    pub outside_ms: u64,
    /// Milliseconds after which a builder that has not reported counts as silent.
    pub silent_ms: u64,
    /// Milliseconds between two signs of life the hub leaves in the ledger.
    pub pulse_ms: u64,
    /// Milliseconds between two signs of life of any hub after which there was none to hear builders; leases that run out
    /// then do not count. The scheduler must know the same.
    pub hub_gap_ms: u64,
    /// A bucket of an S3-compatible store that has the artifacts and what is published; the disk has all when there is none.
    pub s3: Option<S3>,
    /// How long the farm waits for whom.
    pub patience: Patience,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("var/grange"),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            leave_ms: 0,
            drain_ms: 5_000,
            public_url: "http://127.0.0.1:8080".to_owned(),
            hooks: std::env::current_exe()
                .ok()
                .and_then(|exe| exe.parent().map(PathBuf::from))
                .unwrap_or_else(|| PathBuf::from("/usr/libexec/grange")),
            hook_ms: 5_000,
            git_prefixes: Vec::new(),
            hook_token_file: None,
            signer_token_file: None,
            file_repos: Vec::new(),
            upload_mb: 2048,
            keeper_ms: 1_000,
            sweep_ms: 30_000,
            keep_hours: 48,
            keep_public_hours: 48,
            mirror_lag_hours: 24,
            mirrors: Vec::new(),
            recheck_ms: 60_000,
            nightly_hour: 2,
            outside_ms: 900_000,
            silent_ms: 15_000,
            pulse_ms: 3_000,
            hub_gap_ms: 15_000,
            s3: None,
            patience: Patience::default(),
        }
    }
}

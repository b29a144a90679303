//! Numbers for operators, in Prometheus' text format: what this process counted since it began, and, from a hub, how the farm
//! stands at this moment.

mod standing;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

pub use standing::standing;

/// Upper bounds of a histogram's buckets, in seconds: from a quick call to a long build.
const SECONDS: [f64; 16] = [
    0.005, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1_800.0, 3_600.0, 10_800.0,
    43_200.0,
];

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to count, in the whole process. Doing it again changes nothing.
pub fn begin() {
    recorder();
}

/// What this process counted so far.
#[must_use]
pub fn exposition() -> String {
    recorder().map_or_else(String::new, |handle| {
        handle.run_upkeep();
        handle.render()
    })
}

fn recorder() -> Option<&'static PrometheusHandle> {
    RECORDER
        .get_or_init(|| {
            let built =
                PrometheusBuilder::new().set_buckets(&SECONDS).and_then(PrometheusBuilder::install_recorder);
            built.inspect_err(|error| tracing::error!(%error, "nothing can be counted")).ok()
        })
        .as_ref()
}

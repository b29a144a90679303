//! Numbers for operators, in Prometheus' text format: what this process counted since it began, and, from a hub, how the farm
//! stands at this moment.

mod promotions;
mod signing;
mod standing;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use standing::standing;

/// Upper bounds of the buckets of what takes as long as a build, or waits for one, in seconds: from a dispatch at once to a
/// build that is emulated for half a day.
const OF_WORK: [f64; 16] = [
    0.05, 0.15, 0.5, 1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0,
    86_400.0,
];
/// The same of calls, which last as long as somebody waits in front of a screen, or as a large upload.
const OF_CALLS: [f64; 11] = [0.002, 0.005, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 120.0];
/// What the names of histograms of calls begin with.
const CALLS: &str = "grange_http";

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
            let built = PrometheusBuilder::new()
                .set_buckets(&OF_WORK)
                .and_then(|builder| {
                    builder.set_buckets_for_metric(Matcher::Prefix(CALLS.to_owned()), &OF_CALLS)
                })
                .and_then(PrometheusBuilder::install_recorder);
            built.inspect_err(|error| tracing::error!(%error, "nothing can be counted")).ok()
        })
        .as_ref()
}

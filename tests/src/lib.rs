//! Grange's stories: a farm in this process that speaks its users' language, and the sample packages it builds.

mod audit;
mod farm;
mod packages;

pub use audit::audit;
pub use farm::{Farm, Options};
pub use packages::{Behaviour, Package};

/// Where a real service is, or `None`, said so that CI notices: it counts every such line as a failure.
#[must_use]
pub fn service(variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if found.is_none() {
        eprintln!("SKIPPED: {variable} is not set; run dev/test, or `. var/test-env`");
    }
    found
}

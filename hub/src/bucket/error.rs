//! What went wrong at the store, as a sentence.

/// A call to the store that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{key}` in the bucket {address}: {}", told(source.as_ref()))]
pub struct BucketError {
    doing: &'static str,
    address: String,
    key: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl BucketError {
    pub(super) fn new(
        doing: &'static str,
        address: &str,
        key: &str,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> Self {
        Self { doing, address: address.to_owned(), key: key.to_owned(), source }
    }
}

/// The error and what is behind it, each once: some say in their own sentence what is behind them, and some do not.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        behind = error.source();
    }
    said
}

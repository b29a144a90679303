//! Where the bucket is, and how to open it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use serde::Deserialize;
use url::Url;

use super::Bucket;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a call that failed is made again, and within which time.
const RETRIES: usize = 3;
const RETRYING: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// `[hub.s3]`: an S3-compatible store that has the artifacts and what is published.
///
/// Without `secret_key_file` the key is taken from where the tools of such stores look for one: the variables
/// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or what the machine is given by the place it runs at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    /// The store's address, such as `https://s3.example.org`.
    pub endpoint: String,
    /// The bucket's name. It is there already, and is this farm's alone below `prefix`.
    pub bucket: String,
    /// The store's region.
    pub region: String,
    /// What stands before every key, such as `farm/one`.
    pub prefix: String,
    /// Is the bucket part of the path (`https://s3.example.org/bucket/…`), rather than of the host name?
    pub path_style: bool,
    /// The name of the key, when its secret is in `secret_key_file`.
    pub access_key: Option<String>,
    /// A file with the secret of the key.
    pub secret_key_file: Option<PathBuf>,
    /// Where everybody can fetch what is below `public/` in the bucket, without a slash at the end: users are sent there.
    /// Without it the hub fetches for them.
    pub public_url: Option<String>,
    /// MiB of artifacts that are kept on the disk besides, those used last.
    pub cache_mb: u64,
    /// Does the public tree on the disk have the packages too, for rsync and other web servers?
    pub local_packages: bool,
    /// Milliseconds for which the store may say nothing.
    pub silence_ms: u64,
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            bucket: String::new(),
            region: "us-east-1".to_owned(),
            prefix: String::new(),
            path_style: true,
            access_key: None,
            secret_key_file: None,
            public_url: None,
            cache_mb: 51_200,
            local_packages: true,
            silence_ms: 30_000,
        }
    }
}

impl Bucket {
    /// Makes ready to call the store; does not call it yet.
    ///
    /// # Errors
    /// What is missing or wrong in the configuration, or that the secret cannot be read.
    pub fn open(place: &S3) -> anyhow::Result<Bucket> {
        if place.bucket.is_empty() {
            bail!("hub.s3: `bucket` is missing; name the bucket that the farm may use");
        }
        let endpoint = Url::parse(&place.endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .with_context(|| {
                format!(
                    "hub.s3: `endpoint` is `{}`; write the store's address as https://s3.example.org",
                    place.endpoint
                )
            })?;
        let address = place.endpoint.trim_end_matches('/');
        let host = |(scheme, rest)| format!("{scheme}://{}.{rest}", place.bucket);
        let called = if place.path_style { None } else { address.split_once("://").map(host) };
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT)
            .with_read_timeout(Duration::from_millis(place.silence_ms))
            // A large file takes as long as it takes.
            .with_timeout_disabled()
            .with_allow_http(endpoint.scheme() == "http");
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 2. },
            max_retries: RETRIES,
            retry_timeout: RETRYING,
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_endpoint(called.as_deref().unwrap_or(address))
            .with_bucket_name(&place.bucket)
            .with_region(&place.region)
            .with_virtual_hosted_style_request(!place.path_style)
            // Not every such store can remove several at once.
            .with_disable_bulk_delete(true)
            .with_client_options(options)
            .with_retry(retry);
        match (&place.access_key, &place.secret_key_file) {
            (Some(name), Some(file)) => {
                let secret = std::fs::read_to_string(file)
                    .with_context(|| format!("hub.s3: cannot read the secret from {}", file.display()))?;
                builder = builder.with_access_key_id(name).with_secret_access_key(secret.trim());
            }
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => {
                bail!("hub.s3: `access_key` and `secret_key_file` go together; give both or neither")
            }
        }
        let store = builder.build().context("hub.s3: the store cannot be used")?;
        let prefix = place.prefix.trim_matches('/');
        Ok(Bucket {
            store: Arc::new(store),
            prefix: if prefix.is_empty() { "".into() } else { format!("{prefix}/").into() },
            address: format!("{address}/{}", place.bucket).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_and_no_secret_is_shown() {
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "hush-hush\n").unwrap();
        let whole = S3 {
            endpoint: "https://s3.example.org".to_owned(),
            bucket: "farm".to_owned(),
            access_key: Some("one".to_owned()),
            secret_key_file: Some(secret),
            ..S3::default()
        };
        let bucket = Bucket::open(&whole).unwrap();
        assert_eq!(bucket.address(), "https://s3.example.org/farm");
        assert!(!format!("{bucket:?} {whole:?}").contains("hush"));
        for (broken, expected) in [
            (S3 { bucket: String::new(), ..whole.clone() }, "`bucket` is missing"),
            (S3 { endpoint: "s3.example.org".to_owned(), ..whole.clone() }, "write the store's address"),
            (S3 { access_key: None, ..whole.clone() }, "go together"),
            (
                S3 { secret_key_file: Some(dir.path().join("none")), ..whole.clone() },
                "cannot read the secret",
            ),
        ] {
            let said = format!("{:#}", Bucket::open(&broken).unwrap_err());
            assert!(said.contains(expected), "{said}");
        }
    }
}

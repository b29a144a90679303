//! Where the broker is, and how it is spoken to.

use std::path::{Path, PathBuf};

use lapin::uri::AMQPUri;
use serde::Deserialize;

use super::super::BusError;

/// How to reach a broker. Unknown keys are refused.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AmqpConfig {
    /// `amqp://user@host:5672/vhost`, or `amqps://user@host:5671/vhost` with TLS. The vhost `/` is written `%2f`.
    pub url: String,
    /// A file with the password, in place of one in the address.
    pub password_file: Option<PathBuf>,
    /// A file with the certificates (PEM) of the authorities that may vouch for the broker, besides this machine's own.
    pub ca_file: Option<PathBuf>,
    /// What the names of everything we make on the broker begin with, so that farms can share a vhost.
    pub prefix: String,
    /// After two of these without a sign of life the broker counts as gone.
    pub heartbeat_seconds: u16,
    /// Milliseconds that sending one message, or one batch of events, may take until the broker answers for it.
    pub send_ms: u64,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        Self {
            url: "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned(),
            password_file: None,
            ca_file: None,
            prefix: "grange.".to_owned(),
            heartbeat_seconds: 10,
            send_ms: 2_000,
        }
    }
}

impl std::fmt::Debug for AmqpConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may hold a password.
        f.debug_struct("AmqpConfig")
            .field("broker", &self.uri().map(|uri| shown(&uri)).unwrap_or_default())
            .field("password_file", &self.password_file)
            .field("ca_file", &self.ca_file)
            .field("prefix", &self.prefix)
            .field("heartbeat_seconds", &self.heartbeat_seconds)
            .field("send_ms", &self.send_ms)
            .finish()
    }
}

impl AmqpConfig {
    /// The address without what comes from files.
    fn uri(&self) -> Result<AMQPUri, BusError> {
        self.url.parse().map_err(|why| {
            BusError::Unusable(format!(
                "its address is none ({why}); write it as amqp://user@host:5672/vhost or amqps://…"
            ))
        })
    }

    /// The address with everything in it.
    pub(super) fn full_uri(&self) -> Result<AMQPUri, BusError> {
        let mut uri = self.uri()?;
        if let Some(file) = &self.password_file {
            uri.authority.userinfo.password = read("password_file", file)?.trim().to_owned();
        }
        uri.query.heartbeat = Some(self.heartbeat_seconds);
        Ok(uri)
    }

    /// The authorities' certificates.
    pub(super) fn authorities(&self) -> Result<Option<String>, BusError> {
        self.ca_file.as_deref().map(|file| read("ca_file", file)).transpose()
    }
}

/// An address as logs may show it.
pub(super) fn shown(uri: &AMQPUri) -> String {
    format!("{}@{}:{}/{}", uri.authority.userinfo.username, uri.authority.host, uri.authority.port, uri.vhost)
}

fn read(key: &str, file: &Path) -> Result<String, BusError> {
    std::fs::read_to_string(file).map_err(|why| {
        BusError::Unusable(format!(
            "`{key}`: cannot read {}: {why}; name a file this user may read",
            file.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_comes_from_its_file_and_is_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret/\n").unwrap();
        let config: AmqpConfig = serde_json::from_value(serde_json::json!({
            "url": "amqps://grange@bus.example.org/farm", "password_file": file.path(),
        }))
        .unwrap();
        let uri = config.full_uri().unwrap();
        assert_eq!(uri.authority.userinfo.password, "s3cret/");
        assert_eq!((uri.authority.port, uri.vhost.as_str()), (5671, "farm"));
        assert!(!format!("{config:?}").contains("s3cret"));
        let inline = AmqpConfig { url: "amqp://grange:s3cret@b".to_owned(), ..AmqpConfig::default() };
        assert!(!format!("{inline:?}").contains("s3cret"), "{inline:?}");
    }

    #[test]
    fn what_makes_no_sense_is_said_with_what_to_do() {
        let none = AmqpConfig { url: "http://b".to_owned(), ..AmqpConfig::default() };
        assert!(none.full_uri().unwrap_err().to_string().contains("write it as amqp://"));
        let missing = AmqpConfig { ca_file: Some("/nowhere/ca.pem".into()), ..AmqpConfig::default() };
        assert!(missing.authorities().unwrap_err().to_string().contains("/nowhere/ca.pem"));
        assert!(
            serde_json::from_str::<AmqpConfig>(r#"{"host": "b"}"#).unwrap_err().to_string().contains("host")
        );
    }
}

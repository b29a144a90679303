//! Messages as they cross a broker: JSON with a kind and a version.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::message::Delivery;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::stamp::Stamp;

/// The largest body this program sends or reads, in bytes. A recipe names its inputs by digest, so real messages are small.
pub(super) const LARGEST: usize = 1024 * 1024;

const CONTENT_TYPE: &str = "application/json";
/// The mode of messages that survive a restart of the broker.
const PERSISTENT: u8 = 2;
/// A nudge that waited this long says nothing any more, and neither does any other message in passing.
const PASSING: Duration = Duration::from_secs(5);

/// A kind of message and the version of its JSON that this program writes and reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    name: &'static str,
    version: u32,
}

pub(super) const OFFER: Kind = Kind { name: "offer", version: 1 };
pub(super) const STOP: Kind = Kind { name: "stop", version: 1 };
pub(super) const NUDGE: Kind = Kind { name: "nudge", version: 1 };
pub(super) const EVENT: Kind = Kind { name: "state-change", version: 1 };

impl Kind {
    fn label(self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}

/// A message that is ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) exchange: String,
    pub(super) key: String,
    pub(super) mandatory: bool,
    pub(super) properties: BasicProperties,
    /// Its bytes, or why there are none.
    pub(super) body: Result<Vec<u8>, String>,
}

impl Letter {
    pub(super) fn new(kind: Kind, message: &impl Serialize) -> Self {
        let body = serde_json::to_vec(message)
            .map_err(|why| why.to_string())
            .and_then(|body| if body.len() <= LARGEST { Ok(body) } else { Err(too_large(body.len())) });
        let properties = BasicProperties::default()
            .with_content_type(CONTENT_TYPE.into())
            .with_type(kind.label().into())
            .with_delivery_mode(PERSISTENT);
        Self { exchange: String::new(), key: String::new(), mandatory: false, properties, body }
    }

    pub(super) fn to(mut self, exchange: &str, key: &str) -> Self {
        exchange.clone_into(&mut self.exchange);
        key.clone_into(&mut self.key);
        self
    }

    pub(super) fn named(mut self, id: &str) -> Self {
        self.properties = self.properties.with_message_id(id.into());
        self
    }

    pub(super) fn dated(mut self, at: Stamp) -> Self {
        self.properties = self.properties.with_timestamp(at.millis().unsigned_abs() / 1000);
        self
    }

    /// It comes back when it fits no queue.
    pub(super) fn mandatory(mut self) -> Self {
        self.mandatory = true;
        self
    }

    /// The broker forgets it after this.
    pub(super) fn expiring(mut self, left: Duration) -> Self {
        self.properties = self.properties.with_expiration(left.as_millis().to_string().into());
        self
    }

    /// It is of no use to anybody later.
    pub(super) fn passing(self) -> Self {
        let mut passing = self.expiring(PASSING);
        passing.properties = passing.properties.with_delivery_mode(1);
        passing
    }
}

/// Reads a message of this kind, or says why it cannot be read.
pub(super) fn read<T: DeserializeOwned>(kind: Kind, delivery: &Delivery) -> Result<T, String> {
    let label = delivery.properties.kind().as_ref().map_or("", |label| label.as_str());
    if label != kind.label() {
        let version = label.strip_prefix(kind.name).and_then(|rest| rest.strip_prefix('/'));
        return Err(match version {
            Some(version) => {
                format!(
                    "its version is {version}, and this program knows version {} of {}",
                    kind.version, kind.name
                )
            }
            None => format!("it is of type `{label}`, and what is read here is `{}`", kind.label()),
        });
    }
    if delivery.data.len() > LARGEST {
        return Err(too_large(delivery.data.len()));
    }
    serde_json::from_slice(&delivery.data).map_err(|why| format!("its JSON is unreadable: {why}"))
}

fn too_large(size: usize) -> String {
    format!("it has {size} bytes, and at most {LARGEST} are sent or read")
}

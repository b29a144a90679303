//! What a broker refuses, in words that say what to do about it.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// What a broker that is too old says of the time after which dead letters expire.
const UNKNOWN_TO_OLD_BROKERS: &str = "invalid arg 'x-message-ttl'";
/// The oldest broker that will do.
const OLDEST: &str = "3.10";

/// What the broker said, what it means, and what to do about it.
pub(super) fn explained(error: &lapin::Error) -> String {
    let said = error.to_string();
    let ErrorKind::ProtocolError(refusal) = error.kind() else { return said };
    let AMQPErrorKind::Soft(reason) = refusal.kind() else { return said };
    match reason {
        AMQPSoftError::NOTFOUND => {
            format!(
                "{said}; hubs and schedulers make it when they connect: it is waited for until one has been here"
            )
        }
        AMQPSoftError::ACCESSREFUSED => {
            format!(
                "{said}; see that the password is right, and that the user may do what its role needs, as \
                 ansible/roles/rabbitmq/vars/main.yml has it"
            )
        }
        AMQPSoftError::PRECONDITIONFAILED if said.contains(UNKNOWN_TO_OLD_BROKERS) => {
            format!(
                "{said}; the broker is older than RabbitMQ {OLDEST}, the oldest that is of use: upgrade it"
            )
        }
        AMQPSoftError::PRECONDITIONFAILED => {
            format!("{said}; it was made otherwise: delete it, and it is made anew")
        }
        AMQPSoftError::CONTENTTOOLARGE
        | AMQPSoftError::NOROUTE
        | AMQPSoftError::NOCONSUMERS
        | AMQPSoftError::RESOURCELOCKED => said,
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn refused(reason: AMQPSoftError, words: &str) -> String {
        explained(&ErrorKind::ProtocolError(AMQPError::new(reason.into(), words.into())).into())
    }

    #[test]
    fn a_refusal_is_told_with_what_to_do() {
        // The words of RabbitMQ 3.8, and of those that name the type of the queue too.
        for words in [
            "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'grange.dead' in vhost '/'",
            "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'grange.dead' in vhost '/' of queue type rabbit_quorum_queue",
        ] {
            let told = refused(AMQPSoftError::PRECONDITIONFAILED, words);
            assert!(told.contains("older than RabbitMQ 3.10") && told.ends_with("upgrade it"), "{told}");
        }
        let other =
            "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'grange.dead' in vhost '/'";
        let told = refused(AMQPSoftError::PRECONDITIONFAILED, other);
        assert!(!told.contains("3.10") && told.contains("delete it"), "{told}");
        let told = refused(AMQPSoftError::NOTFOUND, "NOT_FOUND - no exchange 'grange.dead' in vhost '/'");
        assert!(
            told.contains("no exchange 'grange.dead'") && told.contains("hubs and schedulers make it"),
            "{told}"
        );
        assert!(refused(AMQPSoftError::ACCESSREFUSED, "ACCESS_REFUSED").contains("user"));
    }
}

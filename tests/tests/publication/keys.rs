//! The signer's keys. Making one takes a second, so they are made once and every world gets a copy: one that signs, and others
//! that are announced and wait for their time.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use farm::signing::{Purpose, SigningKey, Standing, current};
use farm::stamp::Stamp;
use signer::keys::Keys;
use tempfile::TempDir;

/// As many bits as a test needs.
const BITS: u32 = 2048;
/// Keys of each purpose.
const PACKAGES: usize = 3;
const DECISIONS: usize = 2;
/// When they were made.
const MADE: Stamp = Stamp::from_millis(1_750_000_000_000);
/// When those sign that wait: never, unless they are told to sooner.
const FAR: Stamp = Stamp::from_millis(9_000_000_000_000);

/// Puts the keys into this folder.
pub(crate) fn lay_out(folder: &Path) {
    static MADE_ONCE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE_ONCE.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        let keys = Keys::open(&place.path().join("keys"), None).unwrap();
        let since = |number: usize| if number == 0 { MADE } else { FAR };
        for number in 0..PACKAGES {
            keys.new_packages("demo", "SIG $sig", BITS, since(number), MADE).unwrap();
        }
        for number in 0..DECISIONS {
            keys.new_decisions(since(number)).unwrap();
        }
        place
    });
    let copied =
        std::process::Command::new("cp").arg("-a").arg(made.path().join("keys/.")).arg(folder).status();
    assert!(Keys::open(folder, None).is_ok() && copied.unwrap().success(), "cannot copy the keys");
}

/// What became of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// Another one signs, and the one before still counts.
    Followed,
    /// The one before does not count any more.
    Retired,
    /// There is no further key.
    Nothing,
}

/// Takes the rotation of the keys for one purpose one step on.
pub(crate) fn turn(folder: &Path, purpose: Purpose, now: Stamp) -> Turned {
    let keys = Keys::open(folder, None).unwrap();
    let own: Vec<SigningKey> =
        keys.list().unwrap().into_iter().filter(|key| key.purpose == purpose).collect();
    let sig = &own[0].sig;
    let newest = current(&own, purpose, sig, now).unwrap().fingerprint.clone();
    let older = own.iter().find(|key| key.is_valid(now) && key.fingerprint != newest);
    if let Some(older) = older {
        keys.set_times(&older.fingerprint, older.since, Some(now)).unwrap();
        return Turned::Retired;
    }
    match own.iter().find(|key| key.standing(now) == Standing::Announced) {
        Some(next) => {
            // It is the newest only when it signs later than the one before began to.
            let since = Stamp::from_millis(now.millis()) + Duration::from_millis(1);
            keys.set_times(&next.fingerprint, since, None).unwrap();
            Turned::Followed
        }
        None => Turned::Nothing,
    }
}

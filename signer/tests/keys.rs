//! The folder of keys: made, locked, lost, and followed by others.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use farm::signing::Purpose;
use farm::stamp::Stamp;
use signer::keys::{KeyError, Keys, Ring};

/// As many bits as a test needs.
const BITS: u32 = 2048;
const NOON: Stamp = Stamp::from_millis(1_800_000_000_000);

fn later(seconds: u64) -> Stamp {
    NOON + Duration::from_secs(seconds)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn nobody_else_reads_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("keys");
    let keys = Keys::open(&place, None).unwrap();
    let made = keys.new_packages("storage", "SIG $sig", BITS, NOON, NOON).unwrap();
    let secret = place.join("packages/storage").join(format!("{}.secret", made.fingerprint));
    assert_eq!((mode(&place), mode(secret.parent().unwrap()), mode(&secret)), (0o700, 0o700, 0o600));
    assert_eq!(keys.list().unwrap(), std::slice::from_ref(&made));
    assert_eq!(keys.packages(&made).unwrap().fingerprint(), made.fingerprint);
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(Keys::open(&place, None), Err(KeyError::Open { .. })));
}

#[test]
fn a_locked_key_waits_for_its_passphrase_and_a_lost_one_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (place, passphrase) = (folder.path().join("keys"), folder.path().join("passphrase"));
    std::fs::write(&passphrase, "open sesame\n").unwrap();
    let keys = Keys::open(&place, Some(&passphrase)).unwrap();
    let made = keys.new_packages("storage", "SIG $sig", BITS, NOON, NOON).unwrap();
    let path = place.join("packages/storage").join(format!("{}.secret", made.fingerprint));

    // Another process, which was not told the passphrase yet, or told another one.
    let told = |text: Option<&str>| {
        match text {
            Some(text) => std::fs::write(&passphrase, text).unwrap(),
            None => std::fs::remove_file(&passphrase).unwrap(),
        }
        Keys::open(&place, Some(&passphrase)).unwrap().packages(&made).map(|key| key.fingerprint())
    };
    let wrong = told(Some("open barley")).unwrap_err().to_string();
    assert!(wrong.contains("the key of SIG storage is locked: the passphrase is wrong"), "{wrong}");
    assert!(told(None).unwrap_err().to_string().contains("is not there"));
    let without = Keys::open(&place, None).unwrap().packages(&made).unwrap_err().to_string();
    assert!(without.contains("no passphrase was given"), "{without}");
    assert_eq!(told(Some("open sesame")).unwrap(), made.fingerprint);

    // One that was unlocked stops signing when its file is taken away.
    keys.packages(&made).unwrap();
    std::fs::remove_file(&path).unwrap();
    let missing = keys.packages(&made).unwrap_err();
    assert!(matches!(missing, KeyError::Missing { .. }), "{missing}");
}

#[test]
fn one_key_follows_another_and_both_count_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(&folder.path().join("keys"), None).unwrap();
    let old = keys.new_packages("storage", "SIG $sig", BITS, NOON, NOON).unwrap();
    let new = keys.new_packages("storage", "SIG $sig", BITS, later(1000), NOON).unwrap();
    keys.set_times(&old.fingerprint, old.since, Some(later(2000))).unwrap();
    let all = keys.list().unwrap();
    let ring = |seconds, asked: Option<&str>| {
        Ring::of(&all, "storage", asked, later(seconds)).map(|ring| {
            let valid: Vec<String> = ring.valid.iter().map(|key| key.fingerprint.clone()).collect();
            (ring.current.fingerprint, valid)
        })
    };
    let (old, new) = (old.fingerprint, new.fingerprint);
    assert_eq!(ring(0, None), Some((old.clone(), vec![old.clone()])));
    // The hub's clock is a little ahead: the key it asks for will sign in a moment.
    assert_eq!(ring(999, Some(&new)), Some((new.clone(), vec![new.clone(), old.clone()])));
    assert_eq!(ring(0, Some(&new)), Some((old.clone(), vec![old.clone()])), "but not by much");
    assert_eq!(ring(1500, None), Some((new.clone(), vec![new.clone(), old.clone()])));
    assert_eq!(ring(2000, Some(&old)), Some((new.clone(), vec![new])), "a retired key signs nothing");
    assert_eq!(Ring::of(&all, "cloud", None, later(0)).map(|ring| ring.current), None);
}

#[test]
fn names_from_files_lead_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(&folder.path().join("keys"), None).unwrap();
    for sig in ["", "../x", "a/b", "A", "a--b", "-a"] {
        assert!(matches!(keys.new_packages(sig, "x", BITS, NOON, NOON), Err(KeyError::NoSig(_))), "{sig}");
    }
    let mut key = keys.new_decisions(NOON).unwrap();
    assert_eq!(key.purpose, Purpose::Decisions);
    assert_eq!(keys.decisions(&key).unwrap().id(), key.fingerprint);
    key.fingerprint = "../../etc/passwd".into();
    assert!(matches!(keys.decisions(&key), Err(KeyError::Unknown(_))));
}

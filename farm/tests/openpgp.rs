//! Signatures, held against the tools that users check them with.
#![cfg(feature = "openpgp")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use farm::openpgp::{
    OpenPgpError, PublicKey, SecretKey, body_of, read_signed, sign_detached, sign_package, verify_detached,
};
use farm::stamp::Stamp;
use rpm::{BuildConfig, FileOptions, PackageBuilder};

/// As many bits as a test needs.
const BITS: u32 = 2048;
const NOON: Stamp = Stamp::from_millis(1_750_000_000_000);

static OURS: LazyLock<SecretKey> =
    LazyLock::new(|| SecretKey::generate("Storage SIG <storage@example.org>", BITS, NOON).unwrap());
static OTHERS: LazyLock<SecretKey> =
    LazyLock::new(|| SecretKey::generate("Somebody else <x@example.org>", BITS, NOON).unwrap());

/// A package of a file, unsigned.
fn package(folder: &Path) -> PathBuf {
    let path = folder.join("hello-1-1.noarch.rpm");
    let mut builder = PackageBuilder::new("hello", "1", "MIT", "noarch", "a test");
    builder.release("1").using_config(BuildConfig::v4());
    builder.with_file_contents("hello\n".repeat(1000), FileOptions::new("/usr/share/hello")).unwrap();
    builder.build().unwrap().write_file(&path).unwrap();
    path
}

fn run(program: &str, args: &[&str]) -> Option<Output> {
    match Command::new(program).args(args).output() {
        Ok(output) => Some(output),
        Err(_) => {
            println!("SKIPPED: {program} is not installed");
            None
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_key_is_locked_and_unlocked_and_stays_the_same() {
    let locked = OURS.to_armored(Some("a passphrase")).unwrap();
    assert!(matches!(SecretKey::from_armored(&locked, None), Err(OpenPgpError::Locked { .. })));
    let wrong = SecretKey::from_armored(&locked, Some("another")).unwrap_err();
    assert!(wrong.to_string().contains("the passphrase is wrong"), "{wrong}");
    let opened = SecretKey::from_armored(&locked, Some("a passphrase")).unwrap();
    assert_eq!(opened.fingerprint(), OURS.fingerprint());
    assert_eq!(opened.fingerprint().len(), 40);
    let plain = SecretKey::from_armored(&OURS.to_armored(None).unwrap(), None).unwrap();
    assert_eq!(plain.public(), OURS.public());
    let public = PublicKey::from_armored(&OURS.public().to_armored().unwrap()).unwrap();
    assert_eq!(public.fingerprint(), OURS.fingerprint());
    assert!(matches!(SecretKey::generate("x", 1024, NOON), Err(OpenPgpError::Key(_))));
}

#[test]
fn a_detached_signature_is_good_for_those_who_know_the_key_and_for_these_bytes() {
    let (ours, others) = (OURS.public(), OTHERS.public());
    let text = sign_detached(&[&OURS], b"<repomd/>", NOON).unwrap();
    let known = [others.clone(), ours.clone()];
    assert_eq!(verify_detached(&text, b"<repomd/>", &known).unwrap(), [OURS.fingerprint()]);
    for (bytes, keys) in [(&b"<repomd />"[..], vec![ours.clone()]), (b"<repomd/>", vec![others.clone()])] {
        assert!(matches!(verify_detached(&text, bytes, &keys), Err(OpenPgpError::Unaccepted(_))));
    }
    let both = sign_detached(&[&OURS, &OTHERS], b"x", NOON).unwrap();
    let names = [OURS.fingerprint(), OTHERS.fingerprint()];
    assert_eq!(verify_detached(&both, b"x", &known).unwrap(), names);
    assert!(verify_detached(&both, b"x", &[ours]).is_err(), "one of them is a stranger's");
    assert!(verify_detached("", b"x", &known).is_err());
}

#[test]
fn gpgv_accepts_a_detached_signature_and_nothing_edited() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("key.asc"), OURS.public().to_armored().unwrap()).unwrap();
    std::fs::write(at("other.asc"), OTHERS.public().to_armored().unwrap()).unwrap();
    std::fs::write(at("repomd.xml"), b"<repomd/>").unwrap();
    std::fs::write(at("repomd.xml.asc"), sign_detached(&[&OURS], b"<repomd/>", NOON).unwrap()).unwrap();
    for name in ["key", "other"] {
        let from = at(&format!("{name}.asc"));
        let Some(made) = run("gpg", &["--batch", "--yes", "-o", &at(name), "--dearmor", &from]) else {
            return;
        };
        assert!(made.status.success(), "{}", said(&made));
    }
    let verify = |key: &str| run("gpgv", &["--keyring", &at(key), &at("repomd.xml.asc"), &at("repomd.xml")]);
    let Some(good) = verify("key") else { return };
    assert!(good.status.success(), "{}", said(&good));
    assert!(
        said(&good).contains("Good signature from \"Storage SIG <storage@example.org>\""),
        "{}",
        said(&good)
    );
    assert!(!verify("other").unwrap().status.success());
    std::fs::write(at("repomd.xml"), b"<repomd />").unwrap();
    assert!(!verify("key").unwrap().status.success());
}

#[test]
fn a_signed_package_has_the_body_it_had_and_one_signature() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, once, twice) =
        (package(folder.path()), folder.path().join("once.rpm"), folder.path().join("twice.rpm"));
    let known = [OURS.public(), OTHERS.public()];
    let unsigned = read_signed(&plain, &known).unwrap_err();
    assert!(unsigned.to_string().contains("there is none"), "{unsigned}");
    let body = body_of(&plain).unwrap();
    let signed = sign_package(&plain, &once, &OTHERS, NOON).unwrap();
    assert_eq!((&signed.body, &signed.by), (&body, &OTHERS.fingerprint()));
    assert_eq!(read_signed(&once, &known).unwrap(), signed);
    assert!(matches!(read_signed(&once, &known[..1]), Err(OpenPgpError::Unaccepted(_))));

    // Signed anew, by another key: nothing of the first signature is left.
    let anew = sign_package(&once, &twice, &OURS, NOON).unwrap();
    assert_eq!((&anew.body, &anew.by), (&body, &OURS.fingerprint()));
    assert_eq!(read_signed(&twice, &known[..1]).unwrap(), anew);
    assert_eq!(anew.size, std::fs::metadata(&twice).unwrap().len());
    assert_ne!(anew.digest, signed.digest);

    let mut bytes = std::fs::read(&twice).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&twice, &bytes).unwrap();
    assert_ne!(read_signed(&twice, &known).unwrap().body, body, "the payload is part of the body");
    for cut in [0, 50, 150, 500] {
        std::fs::write(&twice, &bytes[..cut]).unwrap();
        assert!(matches!(body_of(&twice), Err(OpenPgpError::NotRpm(_))), "{cut}");
    }
}

#[test]
fn rpmkeys_accepts_a_signed_package_by_a_key_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, signed, strange) =
        (package(folder.path()), folder.path().join("signed.rpm"), folder.path().join("strange.rpm"));
    sign_package(&plain, &signed, &OURS, NOON).unwrap();
    sign_package(&plain, &strange, &OTHERS, NOON).unwrap();
    let key = folder.path().join("key.asc");
    std::fs::write(&key, OURS.public().to_armored().unwrap()).unwrap();
    let db = format!("--dbpath={}", folder.path().join("db").display());
    let Some(made) = run("rpmkeys", &[&db, "--import", key.to_str().unwrap()]) else { return };
    assert!(made.status.success(), "{}", said(&made));
    let strict = "--define=_pkgverify_level all";
    let check = |file: &Path| run("rpmkeys", &[&db, strict, "-Kv", file.to_str().unwrap()]).unwrap();
    let good = check(&signed);
    assert!(good.status.success(), "{}", said(&good));
    assert!(said(&good).contains("RSA/SHA256 Signature") && said(&good).contains(": OK"), "{}", said(&good));
    assert!(!check(&strange).status.success(), "{}", said(&check(&strange)));
    assert!(!check(&plain).status.success(), "{}", said(&check(&plain)));
}

#[test]
fn a_package_of_rpmbuild_is_signed_too() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("hello.spec");
    std::fs::write(
        &spec,
        "Name: hello\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n%description\nx\n\
         %install\nmkdir -p %{buildroot}/usr/share\necho hi > %{buildroot}/usr/share/hi\n%files\n/usr/share/hi\n",
    )
    .unwrap();
    let top = format!("--define=_topdir {}", folder.path().display());
    let Some(built) = run("rpmbuild", &["-bb", &top, spec.to_str().unwrap()]) else { return };
    assert!(built.status.success(), "{}", said(&built));
    let built = folder.path().join("RPMS/noarch/hello-1-1.noarch.rpm");
    let signed = folder.path().join("signed.rpm");
    let made = sign_package(&built, &signed, &OURS, NOON).unwrap();
    assert_eq!(made.body, body_of(&built).unwrap());
    let key = folder.path().join("key.asc");
    std::fs::write(&key, OURS.public().to_armored().unwrap()).unwrap();
    let db = format!("--dbpath={}", folder.path().join("db").display());
    assert!(run("rpmkeys", &[&db, "--import", key.to_str().unwrap()]).unwrap().status.success());
    let strict = "--define=_pkgverify_level all";
    let good = run("rpmkeys", &[&db, strict, "-Kv", signed.to_str().unwrap()]).unwrap();
    assert!(good.status.success(), "{}", said(&good));
}

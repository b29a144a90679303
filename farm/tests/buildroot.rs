//! What counts as the lock of a buildroot, and what is different in another one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use farm::arch::Arch;
use farm::buildroot::{Lock, LockFault, input_digest};
use farm::job::JobKind;
use farm::recipe::{Recipe, Sharing};
use sample::digest;
use serde_json::{Value, json};

fn recipe() -> Recipe {
    sample::job(1, JobKind::Build, Arch::X86_64).recipe
}

fn content() -> String {
    format!("sha256:{}", digest("image"))
}

fn lock() -> Value {
    json!({
        "image": recipe().image,
        "image_digest": content(),
        "packages": [{ "nevra": "zlib-1:1.2-3.el9.x86_64", "digest": digest("zlib") }, { "nevra": "key-1-2", "digest": "" }],
    })
}

fn read(value: &Value) -> Result<Lock, LockFault> {
    Lock::read(&recipe(), value.to_string().as_bytes())
}

#[test]
fn a_lock_is_read_as_rpm_lists_it() {
    let listing = format!("zlib-1:1.2-3.el9.x86_64 {}\nkey-1-2.(none) (none)\n", digest("zlib"));
    let listed = Lock::of_listing(&recipe(), &content(), &listing).unwrap();
    let read = read(&lock()).unwrap();
    assert_eq!(listed.digest(), read.digest(), "whatever the order");
    assert!(read.diff(&listed).is_empty());
    let written = serde_json::to_vec(&listed).unwrap();
    assert_eq!(Lock::read(&recipe(), &written), Ok(listed));
}

#[test]
fn whatever_is_not_surely_a_lock_is_refused() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut value = lock();
        change(&mut value);
        read(&value).map(|lock| lock.packages.len())
    };
    let package = |nevra: &str, digest: &str| {
        let fault = LockFault::NoPackage(
            format!("{nevra} {digest}").chars().filter(|c| !c.is_control()).take(100).collect(),
        );
        assert_eq!(
            with(&|value| value["packages"][0] = json!({ "nevra": nevra, "digest": digest })),
            Err(fault)
        );
    };
    for nevra in [
        "",
        "zlib",
        "a b-1",
        "zlib-1\u{1b}[31m",
        "zlib-1/../x",
        "zlib-1\n",
        &format!("z-{}", "1".repeat(600)),
    ] {
        package(nevra, "");
    }
    for wrong in ["x", &"A".repeat(64), &"0".repeat(63), &format!("sha256:{}", "0".repeat(64))] {
        package("zlib-1-1.noarch", wrong);
    }
    for wrong in
        ["", "sha256:", &"0".repeat(64), &format!("md5:{}", "0".repeat(64)), &format!("{}0", content())]
    {
        let found = with(&|value| value["image_digest"] = json!(wrong));
        assert!(matches!(found, Err(LockFault::NoDigest(_))), "{wrong}: {found:?}");
    }
    assert_eq!(with(&|value| value["packages"] = json!([])), Err(LockFault::Empty));
    let many = vec![json!({ "nevra": "a-1", "digest": "" }); 100_001];
    assert_eq!(with(&|value| value["packages"] = json!(many)), Err(LockFault::TooMany(100_001)));
    assert!(matches!(with(&|value| value["image"] = json!("another")), Err(LockFault::OtherImage { .. })));
    for (what, change) in [
        (
            "a key nobody knows",
            json!({ "image": "image", "image_digest": content(), "packages": [], "more": 1 }),
        ),
        ("nothing about packages", json!({ "image": "image", "image_digest": content() })),
        ("a list", json!([])),
    ] {
        assert!(matches!(read(&change), Err(LockFault::NotOne(_))), "{what}");
    }
    for bytes in [b"".as_slice(), b"\xff", b"{}{}"] {
        assert!(matches!(Lock::read(&recipe(), bytes), Err(LockFault::NotOne(_))), "{bytes:?}");
    }
}

#[test]
fn a_listing_that_rpm_did_not_make_is_no_lock() {
    for listing in
        ["", "zlib-1-1.noarch", "zlib-1-1.noarch wrong", "warning: something\nzlib-1-1.noarch (none)"]
    {
        assert!(Lock::of_listing(&recipe(), &content(), listing).is_err(), "{listing}");
    }
}

#[test]
fn a_difference_names_every_package_once() {
    let of = |image: &str, packages: &[(&str, &str)]| {
        let listing: String =
            packages.iter().map(|(nevra, of)| format!("{nevra} {}\n", digest(of))).collect();
        Lock::of_listing(&recipe(), &format!("sha256:{}", digest(image)), &listing).unwrap()
    };
    let one = of("image", &[("a-1-1.noarch", "a"), ("b-1-1.noarch", "b"), ("c-1-1.noarch", "c")]);
    let two = of("other", &[("a-1-1.noarch", "a"), ("b-1-1.noarch", "again"), ("d-1-1.noarch", "d")]);
    let diff = one.diff(&two);
    let names = |names: &[String]| names.join(" ");
    assert_eq!(
        [&diff.removed, &diff.added, &diff.rebuilt].map(|list| names(list)),
        ["c-1-1.noarch", "d-1-1.noarch", "b-1-1.noarch"]
    );
    assert!(diff.images.is_some() && !diff.is_empty());
    assert_ne!(one.digest(), two.digest());
}

#[test]
fn a_ccache_is_told_and_no_part_of_the_digests() {
    let mut allowed = recipe();
    allowed.sharing = Some(Sharing { target: "demo9s-any-el9s".to_owned(), scratch: false, ccache_mb: 100 });
    let mut told = lock();
    assert!(
        !Lock::read(&allowed, told.to_string().as_bytes()).unwrap().ccache,
        "unless it says so there was none"
    );
    told["ccache"] = json!(true);
    let with = Lock::read(&allowed, told.to_string().as_bytes()).unwrap();
    assert!(with.ccache);
    assert_eq!(Lock::read(&allowed, &serde_json::to_vec(&with).unwrap()).as_ref(), Ok(&with));
    assert_eq!(with.digest(), read(&lock()).unwrap().digest());
    allowed.sharing.as_mut().unwrap().scratch = true;
    for denied in [recipe(), allowed] {
        assert_eq!(Lock::read(&denied, told.to_string().as_bytes()), Err(LockFault::Ccache));
    }
    let plain = serde_json::to_string(&read(&lock()).unwrap()).unwrap();
    assert!(!plain.contains("ccache"), "hubs that do not know the word are not told it: {plain}");
}

#[test]
fn what_compiles_is_the_image_and_every_compiler() {
    let of = |image: &str, packages: &[&str]| {
        let listing: String = packages.iter().map(|nevra| format!("{nevra} {}\n", digest(nevra))).collect();
        Lock::of_listing(&recipe(), &format!("sha256:{}", digest(image)), &listing).unwrap().toolchain()
    };
    let base = of("image", &["gcc-1-1.x86_64", "binutils-1-1.x86_64", "bash-1-1.x86_64"]);
    assert_eq!(
        base,
        of("image", &["binutils-1-1.x86_64", "bash-2-1.x86_64", "gcc-1-1.x86_64", "zsh-1-1.x86_64"])
    );
    assert_ne!(base, of("other", &["gcc-1-1.x86_64", "binutils-1-1.x86_64", "bash-1-1.x86_64"]));
    assert_ne!(base, of("image", &["gcc-1-1.x86_64", "binutils-1-2.x86_64", "bash-1-1.x86_64"]));
    assert_ne!(base, of("image", &["gcc-1-1.x86_64", "bash-1-1.x86_64"]));
}

#[test]
fn what_went_into_a_build_is_source_root_macros_and_limits() {
    let lock = read(&lock()).unwrap();
    let base = input_digest(&digest("source"), &lock, &recipe());
    assert_eq!(base, input_digest(&digest("source"), &lock, &recipe()));
    assert_ne!(base, input_digest(&digest("another"), &lock, &recipe()));
    let mut other = lock.clone();
    other.packages.pop();
    assert_ne!(base, input_digest(&digest("source"), &other, &recipe()));
    let mut macros = recipe();
    macros.macros.insert("dist".to_owned(), ".el9".to_owned());
    assert_ne!(base, input_digest(&digest("source"), &lock, &macros));
}

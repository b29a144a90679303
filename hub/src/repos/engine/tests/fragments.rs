//! What is said of packages that rpmbuild makes of specs with everything specs can have.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::oracle::agrees;
use crate::rpms::sample::sample_rpm;

/// A package with every kind of dependency, script, file and entry of a changelog.
const RICH: &[u8] = include_bytes!("specs/rich.spec");
/// One whose source is not shipped, and which is nearly empty.
const BARE: &[u8] =
    b"Name: bare\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nSource0: secret.tar\nNoSource: 0\n\
    BuildArch: noarch\nBuildRequires: gcc >= 4, make\nExclusiveArch: noarch x86_64\n%description\n%files\n";
/// One from before text had to be UTF-8.
const LATIN1: &[u8] =
    b"Name: latin1\nVersion: 1\nRelease: 1\nSummary: caf\xe9 \x80x\nLicense: MIT\nProvides: pro-\xe9\n\
    BuildArch: noarch\n%description\nd\xe9\n%install\nmkdir -p %{buildroot}/usr/share/odd\n\
    echo > \"%{buildroot}/usr/share/odd/l\xe9\"\n%files\n/usr/share/odd\n\
    %changelog\n* Mon Jan 01 2024 Jos\xe9 \"Q\" <j@x> - 1\n- \xe9\n";

fn rpmbuild(top: &Path, name: &str, spec: &[u8]) {
    let path = top.join(format!("{name}.spec"));
    fs::write(&path, spec).unwrap();
    fs::create_dir_all(top.join("SOURCES")).unwrap();
    fs::write(top.join("SOURCES/secret.tar"), "secret").unwrap();
    let output = Command::new("rpmbuild")
        .args(["-ba", "--nodeps", "--define", &format!("_topdir {}", top.display())])
        .args(["--define", "_invalid_encoding_terminates_build 0", "--target", "x86_64"])
        .arg(&path)
        .output()
        .expect("rpmbuild must be installed (Debian: apt install rpm)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn gather(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, to);
        } else if path.extension().is_some_and(|extension| extension == "rpm") {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn createrepo_says_the_same_of_what_rpmbuild_makes() {
    let dir = tempfile::tempdir().unwrap();
    let (top, repo) = (dir.path().join("top"), dir.path().join("repo"));
    fs::create_dir_all(&top).unwrap();
    fs::create_dir_all(&repo).unwrap();
    for (name, spec) in [("rich", RICH), ("bare", BARE), ("latin1", LATIN1)] {
        rpmbuild(&top, name, spec);
    }
    gather(&top, &repo);
    assert_eq!(agrees(&repo), 8);
}

#[test]
fn createrepo_says_the_same_of_samples() {
    let dir = tempfile::tempdir().unwrap();
    for arch in ["x86_64", "noarch", "src"] {
        let mut sample = sample_rpm("hello", "2.10", "1.el9s", arch);
        sample.epoch = 3;
        sample.requires = vec!["glibc".into(), "/usr/bin/sh".into()];
        sample.provides = vec!["greeting".into()];
        fs::write(dir.path().join(sample.file_name()), sample.bytes().unwrap()).unwrap();
    }
    assert_eq!(agrees(dir.path()), 3);
}

//! What dnf makes of the layers a build installs from.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::path::Path;
use std::process::Command;

use hub::rpms::sample::sample_rpm;

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|told| told.status.success())
}

/// A repo of one package in this version.
fn repo(folder: &Path, version: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let rpm = sample_rpm("zlib", version, "1", "noarch");
    std::fs::write(folder.join(rpm.file_name()), rpm.bytes().unwrap()).unwrap();
    let made = Command::new("createrepo_c").arg("--quiet").arg(folder).status().unwrap();
    assert!(made.success());
}

/// The version of zlib that dnf would install from two repos with these priorities, of which the second has the higher one.
fn chosen(folder: &Path, priorities: [u32; 2]) -> String {
    let section = |name: &str, priority: u32| {
        let path = folder.join(name);
        format!(
            "[{name}]\nname={name}\nbaseurl=file://{}\npriority={priority}\nenabled=1\ngpgcheck=0\n",
            path.display()
        )
    };
    let file = section("own", priorities[0]) + &section("inherited", priorities[1]);
    std::fs::create_dir_all(folder.join("conf")).unwrap();
    std::fs::write(folder.join("conf/grange.repo"), file).unwrap();
    let output = Command::new("dnf")
        .args([
            "--quiet",
            "--assumeyes",
            "--nogpgcheck",
            "--downloadonly",
            "install",
            "zlib",
            "--releasever=9",
        ])
        .arg(format!("--installroot={}", folder.join("root").display()))
        .arg(format!("--setopt=reposdir={}", folder.join("conf").display()))
        .arg(format!("--setopt=cachedir={}", folder.join("cache").display()))
        .arg(format!("--destdir={}", folder.join("got").display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let got = folder.join("got");
    let names =
        std::fs::read_dir(&got).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.collect();
    std::fs::remove_dir_all(&got).unwrap();
    names.join(" ")
}

#[test]
fn the_layer_with_the_lower_number_wins_over_a_higher_version() {
    if let Some(missing) = ["dnf", "createrepo_c"].into_iter().find(|program| !is_there(program)) {
        println!("SKIPPED: {missing} is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    repo(&folder.path().join("own"), "1");
    repo(&folder.path().join("inherited"), "2");
    assert_eq!(chosen(folder.path(), [10, 15]), "zlib-1-1.noarch.rpm");
    // It is the number that decides, not that one repo is named first.
    assert_eq!(chosen(folder.path(), [15, 10]), "zlib-2-1.noarch.rpm");
    assert_eq!(chosen(folder.path(), [10, 10]), "zlib-2-1.noarch.rpm");
}

//! Indexes that createrepo_c wrote of real RPMs.

use std::path::Path;
use std::process::Command;

use farm::arch::Arch;

use super::dsl::{FIRST, Spec};
use super::hawkey::rpm_file;
use crate::closure::{Cache, Layer, Question, World, check};

const LIVE: &str = "lib-1 provides libx.so.1()(64bit); files /usr/lib64/libx.so.1
    tool-1.noarch files /usr/bin/tool, /usr/share/tool/a&b
    app-1 requires libx.so.1()(64bit), /usr/share/tool/a&b, tool >= 1, rpmlib(Absent) <= 1";
const CANDIDATE: &str = "lib-2 provides libx.so.2()(64bit); files /usr/lib64/libx.so.2
    tool-1.noarch files /usr/bin/tool, /usr/share/tool/a&b
    app-1 requires libx.so.1()(64bit), /usr/share/tool/a&b, tool >= 1, rpmlib(Absent) <= 1
    new-1 requires (absent if lib < 2), libx.so.2()(64bit), /usr/bin/tool";

fn made(folder: &Path, text: &str) -> Option<Layer> {
    std::fs::create_dir_all(folder).unwrap();
    for line in text.lines() {
        rpm_file(folder, &Spec::parse(line));
    }
    let Ok(output) = Command::new("createrepo_c").args(["--no-database", "--quiet"]).arg(folder).output()
    else {
        println!("SKIPPED: there is no createrepo_c: run dev/setup --tests");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(Layer::on_disk(folder, FIRST, &Cache::new(1 << 20)).unwrap())
}

#[test]
fn what_createrepo_writes_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let Some(live) = made(&folder.path().join("live"), LIVE) else { return };
    let Some(candidate) = made(&folder.path().join("candidate"), CANDIDATE) else { return };
    assert_eq!((live.data.len(), candidate.data.len()), (3, 4));
    let (before, after) = ([live], [candidate]);
    let question = Question { arch: Arch::X86_64, before: &before, after: &after, world: World::Complete };
    let report = check(&question).unwrap();
    let broken: Vec<(&str, &str)> =
        report.broken.iter().map(|breakage| (breakage.nevra.as_str(), breakage.why.as_str())).collect();
    let why = "app-1-1.x86_64 needs libx.so.1()(64bit), which nothing provides; it was provided by lib-1-1.x86_64 before";
    assert_eq!(broken, [("app-1-1.x86_64", why)], "{report:#?}");
    // lib, new, and app that needs lib; the unchanged tool is not looked at.
    assert_eq!(report.checked, 3);
}

//! How long a check takes. Nothing is asserted of the time: it is printed.

use std::fmt::Write as _;
use std::time::Instant;

use farm::arch::Arch;

use super::dsl::{BASE, FIRST, Repos, data};
use crate::closure::{Layer, Question, World, check};

const PACKAGES: usize = 10_000;
const DEPENDENTS: usize = 200;

/// Ten thousand packages that need each other as in a distribution: everything libc, most a few others that are lower.
fn distribution() -> String {
    let mut text = "base:\nglibc-2 provides libc.so.6()(64bit); files /usr/bin/sh\n".to_owned();
    for at in 0..PACKAGES {
        let _ = write!(text, "pkg{at}-1 provides libpkg{at}.so.1()(64bit), pkg{at}(x86-64) = 1-1");
        let _ = write!(text, "; requires libc.so.6()(64bit), /usr/bin/sh");
        for step in [3, 7, 11] {
            let below = at / step;
            if below != at {
                let _ = write!(text, ", libpkg{below}.so.1()(64bit)");
            }
        }
        text.push('\n');
    }
    text
}

#[test]
fn a_change_with_two_hundred_dependents_among_ten_thousand_packages() {
    let mut text = distribution();
    for side in ["live", "candidate"] {
        let version = if side == "live" { 1 } else { 2 };
        let _ = writeln!(
            text,
            "{side}:\nlib-{version} provides liblib.so.1()(64bit); requires libpkg9999.so.1()(64bit)"
        );
        for at in 0..DEPENDENTS {
            let _ =
                writeln!(text, "user{at}-1 requires liblib.so.1()(64bit), libpkg{}.so.1()(64bit)", at * 37);
        }
    }
    let repos = Repos::parse(&text);
    let read = Instant::now();
    let base = Layer { priority: BASE, data: data(&repos.base) };
    let read = read.elapsed();
    let own = [&repos.live, &repos.candidate].map(|specs| Layer { priority: FIRST, data: data(specs) });
    let [before, after] = own.map(|own| [own, base.clone()]);
    let question = Question { arch: Arch::X86_64, before: &before, after: &after, world: World::Complete };
    let checked = Instant::now();
    let report = check(&question).unwrap();
    let checked = checked.elapsed();
    println!(
        "reading {PACKAGES} packages took {read:?} ({} kB of memory); a check of {} took {checked:?}",
        base.data.weight() / 1024,
        report.checked,
    );
    assert_eq!((report.checked, report.broken), (1 + DEPENDENTS, Vec::new()));

    // The same with a soname less: every dependent is broken, and says why.
    let gone = text.replace("lib-2 provides liblib.so.1", "lib-2 provides liblib.so.2");
    let broken = Layer { priority: FIRST, data: data(&Repos::parse(&gone).candidate) };
    let after = [broken, base];
    let checked = Instant::now();
    let report = check(&Question { after: &after, ..question }).unwrap();
    println!("with a soname less it took {:?} to tell {} breakages", checked.elapsed(), report.broken.len());
    assert!(report.cut_short && report.broken.len() >= 100);
}

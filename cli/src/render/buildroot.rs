//! Buildroots: what was installed when a build ran.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use farm::arch::Arch;
use farm::buildroot::{Lock, LockDiff, RootFacts};

use super::{Cell, Table};
use crate::screen::{Look, Tone};

/// Everything that was in one.
#[must_use]
pub fn lock(lock: &Lock, look: &Look) -> String {
    let mut facts = Table::new(&["", ""]);
    facts.row([Cell::new(Tone::Dim, "image"), lock.image.as_str().into()]);
    facts.row([Cell::new(Tone::Dim, "content"), lock.image_digest.as_str().into()]);
    facts.row([Cell::new(Tone::Dim, "lock"), lock.digest().to_string().into()]);
    facts.row([Cell::new(Tone::Dim, "packages"), lock.packages.len().to_string().into()]);
    if lock.ccache {
        facts.row([Cell::new(Tone::Dim, "ccache"), CCACHE.into()]);
    }
    let mut text = facts.render(look);
    text.push('\n');
    for package in &lock.packages {
        let _ = writeln!(text, "{}", package.nevra);
    }
    text
}

/// What is different in another one.
#[must_use]
pub fn lock_diff(diff: &LockDiff, look: &Look) -> String {
    if diff.is_empty() {
        return "no difference: the same packages in the same image\n".to_owned();
    }
    let mut text = String::new();
    if let Some((ours, theirs)) = &diff.images {
        let _ = writeln!(text, "{} image {ours}", look.paint(Tone::Bad, "-"));
        let _ = writeln!(text, "{} image {theirs}", look.paint(Tone::Good, "+"));
    }
    for (tone, sign, packages) in
        [(Tone::Bad, "-", &diff.removed), (Tone::Good, "+", &diff.added), (Tone::Strong, "~", &diff.rebuilt)]
    {
        for package in packages {
            let _ = writeln!(text, "{} {package}", look.paint(tone, sign));
        }
    }
    text
}

/// The buildroots of a build in short.
#[must_use]
pub(super) fn roots(roots: &BTreeMap<Arch, RootFacts>, look: &Look) -> String {
    let mut table = Table::new(&["BUILDROOT", "LOCK", "INPUT", "IMAGE", "CONTENT"]).indented(2);
    for (arch, facts) in roots {
        let RootFacts { image, image_digest, lock, input, ccache } = facts;
        table.row([
            arch.as_str().into(),
            lock.short().into(),
            format!("{}{}", input.short(), if *ccache { " + ccache" } else { "" }).into(),
            image.as_str().into(),
            image_digest.chars().take(SHOWN).collect::<String>().into(),
        ]);
    }
    table.render(look)
}

/// What a ccache at hand means.
const CCACHE: &str = "what earlier builds of the target had compiled was at hand";

/// How much of an image's digest tells two apart: `sha256:` and twelve digits.
const SHOWN: usize = 19;

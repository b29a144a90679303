//! The jobs of a simulation: a SIG that floods the farm, and a small one.

use std::collections::BTreeMap;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::ids::{Minter, RequestId};
use farm::job::{Class, Job, JobKind, JobState};
use farm::recipe::{Input, Limits, Recipe, Work};
use farm::stamp::Stamp;

use crate::dice::Dice;

pub(crate) const FLOOD: &str = "flood";
pub(crate) const SMALL: &str = "small";
/// MiB of memory that a usual job may use, and one that small ones could keep out.
pub(crate) const USUAL_MB: u64 = 4_096;
pub(crate) const WIDE_MB: u64 = 9_000;

pub(crate) fn job(minter: &mut Minter, dice: &Dice, request: RequestId, sig: &str, now: Stamp) -> Job {
    let arch = if dice.chance(70) { Arch::X86_64 } else { Arch::Aarch64 };
    let class = [Class::Release, Class::Push, Class::Scratch, Class::Nightly][(dice.roll() % 4) as usize];
    let memory_mb = if dice.chance(8) { WIDE_MB } else { USUAL_MB };
    let srpm = Input { name: "hello.src.rpm".to_owned(), digest: Digest::of(b"hello"), size: 5 };
    Job {
        id: minter.mint(now),
        request,
        sig: sig.to_owned(),
        class,
        kind: JobKind::Build,
        arch,
        created: now,
        recipe: Recipe {
            image: "image".to_owned(),
            arch,
            work: Work::Build { srpm },
            repos: Vec::new(),
            macros: BTreeMap::new(),
            limits: Limits { memory_mb, ..Limits::default() },
            sharing: None,
        },
        turn: 0,
        tries: 0,
        state: JobState::Waiting { not_before: now },
        history: Vec::new(),
        labels: std::collections::BTreeSet::new(),
        height: 0,
    }
}

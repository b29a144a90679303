//! Why something is not moving.

use farm::why::{Why, WhyCode};

use super::{ago, ahead};
use crate::screen::{Look, Tone};

/// The sentence, and below it what is at the root of it, what to do, and when it is likely to go on.
#[must_use]
pub fn why(why: &Why, look: &Look) -> String {
    let Why { code, sentence, root, next, starts, ends } = why;
    let mut text = format!("{}: {sentence}\n", look.paint(tone(*code), code.as_str()));
    let at = |when: &farm::stamp::Stamp| {
        if *when > look.now { ahead(*when, look.now) } else { ago(*when, look.now) }
    };
    let lines = [
        ("root", root.clone()),
        ("next", next.clone()),
        ("begins", starts.as_ref().map(at)),
        ("ends", ends.as_ref().map(at)),
    ];
    for (label, line) in lines {
        if let Some(line) = line {
            text.push_str(&format!("  {label:7}{line}\n"));
        }
    }
    text
}

fn tone(code: WhyCode) -> Tone {
    match code {
        WhyCode::Done => Tone::Good,
        WhyCode::Running
        | WhyCode::Testing
        | WhyCode::WaitingForSlot
        | WhyCode::WaitingForChain
        | WhyCode::WaitingForRepo
        | WhyCode::WaitingForLease
        | WhyCode::BackingOff
        | WhyCode::WaitingForApproval
        | WhyCode::WaitingForQueue
        | WhyCode::WaitingForSigner => Tone::Busy,
        WhyCode::Cancelled | WhyCode::Superseded => Tone::Dim,
        WhyCode::NoBuilder
        | WhyCode::HeldByCap
        | WhyCode::FailedDependency
        | WhyCode::MissingSource
        | WhyCode::Gate
        | WhyCode::Failed => Tone::Bad,
    }
}

//! What people read, made of what the hub answered. Nothing here prints: every function gives text that ends its lines.

mod build;
mod builders;
mod buildroot;
mod chain;
mod farm;
mod matrix;
mod promotion;
mod sig;
mod status;
mod table;
mod time;
mod trace;
mod verify;
mod waiver;
mod why;
mod words;

pub use build::{builds, request};
pub use builders::{builder, builders};
pub use buildroot::{lock, lock_diff};
pub use chain::{chain, chain_gist, chain_news, layers};
pub use farm::{tag, tags, targets};
pub use matrix::matrix;
use promotion::standing;
pub use promotion::{promotion, promotions};
pub use sig::{plan, sig, sigs};
pub use status::status;
pub use table::{Cell, Table};
pub use time::{ago, ahead, clock, expiry, span};
pub use trace::trace;
pub use verify::audit;
pub use waiver::{history, holds, waived, waivers};
pub use why::why;
pub use words::{condition, job_state, promotion_phase, request_status, size};

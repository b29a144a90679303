//! What people read, made of what the hub answered. Nothing here prints: every function gives text that ends its lines.

mod build;
mod farm;
mod promotion;
mod sig;
mod table;
mod time;
mod words;

pub use build::{builds, request};
pub use farm::{builders, status, tag, tags, targets};
use promotion::standing;
pub use promotion::{nvrs, promotion, promotions};
pub use sig::{plan, sig, sigs};
pub use table::{Cell, Table};
pub use time::{ago, clock, expiry, span};
pub use words::{condition, job_state, promotion_phase, request_status, size};

//! What people ask of the gate: promotions, words for them, waivers, and ways back.

mod approve;
mod open;
mod reasons;
mod refusal;
mod rollback;
mod stack;
mod view;
mod waive;
mod withdraw;

use farm::ids::PromotionId;

pub use approve::approve;
pub use open::open;
pub use rollback::{history, rollback};
pub(crate) use view::{needs_word, standing, to_name, trouble};
pub use view::{sentence, view};
pub use waive::{revoke, waive, waivers};
pub use withdraw::{withdraw, withdraw_build};

/// A promotion that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its id.
    pub id: PromotionId,
    /// What the person should know, one sentence each.
    pub warnings: Vec<String>,
}

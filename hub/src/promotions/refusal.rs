//! Why a build cannot be released: it is not in testing.

use farm::ledger::{PromotionFilter, Tx};
use farm::promotion::PromotionState;
use farm::sig::Stage;

use crate::problem::{Answer, Problem};

/// How many of a target's newest promotions are searched for the one that refused a build.
const LOOK_BACK: u32 = 200;

/// Why a build is not in testing: what the gate said of it, or that it has not spoken yet.
pub(super) async fn not_in_testing(tx: &mut Tx, nvr: &str, target: &str, testing: &str) -> Answer<Problem> {
    let filter = PromotionFilter { target: Some(target.to_owned()), limit: LOOK_BACK, ..Default::default() };
    let newest =
        tx.promotions(&filter).await?.into_iter().find(|promotion| {
            promotion.to == Stage::Testing && promotion.nvrs.iter().any(|known| known == nvr)
        });
    let (what, fix) = match newest.map(|promotion| (promotion.id, promotion.state)) {
        Some((id, PromotionState::Rejected { why, .. })) => (
            format!("{nvr} has not passed its tests: {}", why.join("; ")),
            format!(
                "mend it and push again; `grange promotions {id}` has the results, `grange promote --to testing {nvr}` runs them again"
            ),
        ),
        Some((id, PromotionState::Withdrawn { by, .. })) => (
            format!("{nvr} was withdrawn by {by} before it reached {testing} (promotion {id})"),
            format!("`grange promote --to testing {nvr}` starts over"),
        ),
        Some((id, PromotionState::Published { .. })) => (
            format!("{nvr} is not in {testing} any more: another build took its place after promotion {id}"),
            format!("`grange promote --to testing {nvr}` puts it back"),
        ),
        Some((
            id,
            PromotionState::Composing
            | PromotionState::InTesting { .. }
            | PromotionState::Ready { .. }
            | PromotionState::Approved { .. }
            | PromotionState::Publishing { .. },
        )) => (
            format!("{nvr} is still being tested (promotion {id})"),
            "wait for it with `grange watch`, then promote again".to_owned(),
        ),
        None => (
            format!("{nvr} never came to {testing}"),
            format!("`grange promote --to testing {nvr}` tests it"),
        ),
    };
    Ok(Problem::conflict(what, fix))
}

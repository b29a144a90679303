//! A release manager agrees.

use farm::ids::PromotionId;
use farm::ledger::Person;
use farm::promotion::PromotionEvent;
use farm::sig::Role;
use farm::why::needed;

use crate::problem::{Answer, Problem};
use crate::state::{Hub, require_role};

/// A release manager agrees to a promotion. Where two must agree, that is two people.
///
/// # Errors
/// That it is over or needs nobody's word, that the person is no release manager of its SIG, or has agreed already.
pub async fn approve(hub: &Hub, person: &Person, id: PromotionId) -> Answer<()> {
    let mut tx = hub.db.write().await?;
    let promotion = tx.promotion(id).await?.ok_or_else(|| Problem::not_found("promotion", id))?;
    let community = tx.community().await?;
    require_role(&community, person, &promotion.sig, Role::ReleaseManager)?;
    let approvers = community.target(&promotion.target).map_or(1, |project| project.approvers);
    let needed = needed(&promotion, approvers);
    if needed == 0 {
        return Err(Problem::conflict(
            format!("promotion {id} to {} needs nobody's word: its tests alone decide", promotion.to),
            format!("`grange why {id}` says what it waits for"),
        ));
    }
    if promotion.approvals.iter().any(|approval| approval.by == person.name) && !promotion.is_settled() {
        return Err(Problem::conflict(
            format!("{} has approved promotion {id} already", person.name),
            match needed.saturating_sub(promotion.approvals.len()) {
                0 => format!("it needs no more words: `grange why {id}` says what it waits for"),
                1 => "one more release manager must".to_owned(),
                more => format!("{more} more release managers must"),
            },
        ));
    }
    tx.step_promotion(&promotion, PromotionEvent::Approve { by: person.name.clone() }, hub.now()).await?;
    tx.commit().await?;
    tracing::info!(promotion = %id, by = person.name, "a promotion was approved");
    hub.hurry().await;
    Ok(())
}

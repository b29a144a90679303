//! What there is to sign now, and waiting for there to be something.

use std::time::{Duration, Instant};

use farm::digest::Digest;
use farm::promotion::Promotion;
use farm::signing::{Work, WorkItem};

use super::Signed;
use crate::problem::Answer;
use crate::state::Hub;

/// Packages that one list asks for. A signer asks again when it has signed them.
const PACKAGES: usize = 200;
/// Promotions that one list names.
const PROMOTIONS: usize = 1_000;
/// Between two looks when nothing is told: what another hub has done is not heard here.
const LOOK: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits until there is something to sign that is not the list called `seen`, but no longer than `wait`. Gives what there is.
///
/// # Errors
/// When the ledger or the disk fails.
pub async fn wait(hub: &Hub, wait: Duration, seen: Option<&str>) -> Answer<Work> {
    let until = Instant::now() + wait.min(LONGEST);
    let (mut hurries, mut bell) = (hub.hurries(), hub.signers.heard());
    loop {
        hurries.mark_unchanged();
        bell.mark_unchanged();
        let work = list(hub).await?;
        let is_new = seen != Some(work.seen.as_str());
        let left = until.saturating_duration_since(Instant::now());
        if (is_new && !work.items.is_empty()) || left.is_zero() {
            return Ok(work);
        }
        tokio::select! {
            _ = hurries.changed() => {}
            _ = bell.changed() => {}
            () = tokio::time::sleep(left.min(LOOK)) => {}
        }
    }
}

/// What there is to sign, the oldest promotion first. What cannot be read for one promotion holds up no other: the keeper meets the
/// same, and tells people.
async fn list(hub: &Hub) -> Answer<Work> {
    let approved = hub.db.read().await?.approved_promotions().await?;
    let mut items = Vec::new();
    for promotion in approved {
        match item(hub, &promotion).await {
            Ok(item) => items.extend(item),
            Err(problem) => {
                tracing::debug!(promotion = %promotion.id, cause = ?problem, "no signer is asked to sign it");
            }
        }
        if items.len() == PROMOTIONS {
            break;
        }
    }
    let named = serde_json::to_vec(&items).map_err(anyhow::Error::from)?;
    Ok(Work { seen: Digest::of(&named).as_str().to_owned(), items })
}

/// What there is to sign for a promotion; `None` when that is nothing.
async fn item(hub: &Hub, promotion: &Promotion) -> Answer<Option<WorkItem>> {
    let Some(snapshot) = promotion.to_sign() else { return Ok(None) };
    let mut tx = hub.db.read().await?;
    let Some(snapshot) = tx.snapshot(snapshot).await? else { return Ok(None) };
    let signed = Signed::of(hub, &mut tx, &snapshot).await?;
    drop(tx);
    let packages: Vec<_> = signed.missing(&snapshot).take(PACKAGES).cloned().collect();
    let staged = super::staged(hub, snapshot.id).await?;
    let is_endorsed = staged.is_some() && super::endorsement(hub, snapshot.id).await?.is_some();
    // Without a key nothing may be missing, in an empty repo, whose metadata is signed all the same.
    let staged = staged.filter(|_| packages.is_empty() && !is_endorsed);
    if packages.is_empty() && staged.is_none() && signed.key.is_some() {
        return Ok(None);
    }
    Ok(Some(WorkItem {
        promotion: promotion.id,
        snapshot: snapshot.id,
        sig: signed.sig,
        key: signed.key.map(|key| key.fingerprint),
        packages,
        staged,
    }))
}

//! Is a promotion still tested with the suites that its SIG has now?
//!
//! The gate counts what the versions have shown that were there when the snapshot was composed. A suite may be mended while the
//! promotion waits, for a word or for a signer, and what the version before it showed counts no more.

use std::collections::BTreeMap;

use anyhow::Context as _;
use farm::digest::Digest;
use farm::gate::CLOSURE;
use farm::ledger::Kept;
use farm::promotion::{Course, Promotion, PromotionEvent};

use super::promotions::advance;
use super::trial::{self, Folders, pack_suites, version};
use super::{Progress, closure};
use crate::problem::Answer;
use crate::state::Hub;

/// What has become of the suites that a promotion is tested with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suites {
    /// They are the ones that there are.
    Same,
    /// One is another by now, or is not there any more: composing anew tests with those that are there, or says what is missing.
    Changed,
    /// That is not known before a layer is composed.
    NotYet,
}

/// The version of each suite that was found.
pub(super) fn found(folders: &Folders) -> BTreeMap<String, Digest> {
    folders.iter().map(|(suite, folder)| (suite.clone(), version(suite, folder.as_ref()))).collect()
}

/// The same, and that of the built-in one.
pub(super) fn all(folders: &Folders) -> BTreeMap<String, Digest> {
    let mut all = found(folders);
    all.insert(CLOSURE.to_owned(), closure::version());
    all
}

/// Sees to it that a promotion goes no further with what was shown by suites that have changed since: it is composed anew then.
/// `None` when it may go on.
pub(super) async fn catch_up(hub: &Hub, promotion: &Kept<Promotion>) -> Answer<Option<Progress>> {
    match look(hub, promotion).await? {
        Suites::Same => Ok(None),
        Suites::Changed => advance(hub, promotion, PromotionEvent::Outdated).await.map(Some),
        Suites::NotYet => Ok(Some(Progress::None)),
    }
}

/// Looks for every required suite of a promotion's snapshot, as composing does. This reads the suite repos and the trees of its
/// packages: it is asked before a step, and never for something that waits.
async fn look(hub: &Hub, promotion: &Promotion) -> Answer<Suites> {
    // What goes back was tested when it was live.
    let (Course::Forward, Some(id)) = (&promotion.course, promotion.snapshot()) else {
        return Ok(Suites::Same);
    };
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    // The gate refuses what has no project any more.
    let Some(project) = community.target(&promotion.target) else { return Ok(Suites::Same) };
    let snapshot = tx.snapshot(id).await?.with_context(|| format!("snapshot {id} is not in the ledger"))?;
    let places = trial::places(&mut tx, &community, project, promotion.to, &snapshot).await?;
    drop(tx);
    let Some(places) = places else { return Ok(Suites::NotYet) };
    // Nothing is stored for it: where the bucket is away, that is found out by who needs it.
    let Ok(packed) = pack_suites(hub, &places).await? else { return Ok(Suites::Changed) };
    let folders: Folders =
        packed.into_iter().map(|(suite, packed)| (suite, packed.map(|packed| packed.folder))).collect();
    let is_known = |(suite, version): (&String, &Digest)| promotion.suites.get(suite) == Some(version);
    Ok(if all(&folders).iter().all(is_known) { Suites::Same } else { Suites::Changed })
}

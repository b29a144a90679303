//! Who waits for whom: what the ledger knows of everything open, put before [`farm::chain::Order`].

use std::collections::{BTreeMap, BTreeSet};

use farm::chain::{Before, Blocker, Member, Order, Standing, is_found_by_building};
use farm::ids::{BuildId, ChainId, RequestId, SnapshotId};
use farm::ledger::{Concerned, LayerState, Tx};
use farm::recipe::{RepoOrigin, RepoSource};
use farm::request::Verdict;
use farm::sig::{Community, Layer, Stage};

use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// What a request waits for before its builds are planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocked {
    /// The requests that come first.
    pub blockers: Vec<Blocker>,
    /// The tags whose repos must still be composed.
    pub composing: Vec<String>,
}

/// What a request waits for now: nothing when its builds are planned, or it enters no repo.
///
/// # Errors
/// When the ledger fails.
pub async fn blockers_of(tx: &mut Tx, id: RequestId) -> Answer<Blocked> {
    let order = order(tx, None).await?;
    let Some(member) = order.member(id).filter(|member| member.standing == Standing::Open) else {
        return Ok(Blocked::default());
    };
    let tags = member.sees.iter().map(|tag| Layer::Tag { tag: tag.clone() }).collect();
    let states = tx.layer_states(tags).await?;
    let composing = states.into_iter().filter(LayerState::is_behind).filter_map(|state| state.repo);
    Ok(Blocked { blockers: order.blockers(id), composing: composing.map(|repo| repo.tag).collect() })
}

/// The order of everything that is open, and of the ended members of chains that are.
///
/// # Errors
/// When the ledger fails.
pub async fn order(tx: &mut Tx, chain: Option<ChainId>) -> Answer<Order> {
    let community = tx.community().await?;
    let mut desk = Desk { community: &community, chain, before: BTreeMap::new(), shown: BTreeMap::new() };
    let mut members = Vec::new();
    for concerned in tx.concerned(chain).await? {
        members.extend(desk.member(tx, concerned).await?);
    }
    Ok(Order::of(members))
}

/// The order in which a chain's members are built, or were: as if all of them were still open.
///
/// # Errors
/// When the ledger fails.
pub async fn resolved(tx: &mut Tx, chain: ChainId) -> Answer<Order> {
    let community = tx.community().await?;
    let mut desk =
        Desk { community: &community, chain: Some(chain), before: BTreeMap::new(), shown: BTreeMap::new() };
    let mut members = Vec::new();
    for mut concerned in tx.concerned(Some(chain)).await? {
        if concerned.request.chain.is_some_and(|link| link.id == chain) {
            concerned.request.closed = None;
            concerned.planned = false;
            members.extend(desk.member(tx, concerned).await?);
        }
    }
    Ok(Order::of(members))
}

/// What was looked up for one member and is needed for the next.
struct Desk<'a> {
    community: &'a Community,
    chain: Option<ChainId>,
    /// What each candidate tag holds of the packages concerned.
    before: BTreeMap<String, BTreeMap<String, Before>>,
    /// The builds each tag's repo shows.
    shown: BTreeMap<String, BTreeSet<BuildId>>,
}

impl Desk<'_> {
    /// A request as the order sees it; `None` when it is done, or enters no repo.
    async fn member(&mut self, tx: &mut Tx, concerned: Concerned) -> Answer<Option<Member>> {
        let Concerned { request, source, planned } = concerned;
        let standing = match request.closed.as_ref().map(|closed| &closed.verdict) {
            Some(Verdict::Complete { .. }) => return Ok(None),
            Some(Verdict::Failed { reason }) => Standing::Ended(format!("failed: {reason}")),
            Some(Verdict::Cancelled { by }) => Standing::Ended(format!("was cancelled by {by}")),
            None if planned => Standing::Planned,
            None => Standing::Open,
        };
        let Some(project) = self.community.target(&request.target).filter(|_| request.kind.is_imported())
        else {
            return Ok(None);
        };
        let tag = project.tag(Stage::Candidate);
        if !self.before.contains_key(&tag) {
            self.before.insert(tag.clone(), tx.before(&tag, self.chain).await?);
        }
        let before = self.before.get(&tag).and_then(|held| held.get(&request.package)).cloned();
        let sees = self.community.layers(project).into_iter().filter_map(|layer| match layer {
            Layer::Tag { tag } => Some(tag),
            Layer::External(_) => None,
        });
        let mut member = Member {
            request: request.id,
            package: request.package,
            created: request.created,
            link: request.chain,
            tag,
            sees: sees.collect(),
            source,
            before,
            unknown: BTreeSet::new(),
            standing,
        };
        if member.link.is_some() && member.standing == Standing::Open {
            member.unknown = self.unknown(tx, &member).await?;
        }
        Ok(Some(member))
    }

    /// The names only a build can show to be provided that are new to its package and in no repo it sees.
    async fn unknown(&mut self, tx: &mut Tx, member: &Member) -> Answer<BTreeSet<String>> {
        let mut unknown = BTreeSet::new();
        for name in member.fresh().into_iter().filter(|name| is_found_by_building(name)) {
            let providers = tx.providers(&name).await?;
            let mut is_known = false;
            for tag in &member.sees {
                if !self.shown.contains_key(tag) {
                    self.shown.insert(tag.clone(), tx.shown(tag).await?);
                }
                is_known |= providers.iter().any(|build| self.shown[tag].contains(build));
            }
            if !is_known {
                unknown.insert(name);
            }
        }
        Ok(unknown)
    }
}

/// What one round of the keeper looks up once for all requests. What happens meanwhile is seen in the next round: a
/// request that was imported since still counts as open, and one that was asked for since is not waited for.
#[derive(Default)]
pub(crate) struct Round {
    order: Option<Order>,
    whole: BTreeSet<SnapshotId>,
}

impl Round {
    /// The order of everything that was open when it was first asked for.
    pub(crate) async fn order(&mut self, hub: &Hub) -> Answer<&Order> {
        let order = match self.order.take() {
            Some(order) => order,
            None => order(&mut hub.db.read().await?, None).await?,
        };
        Ok(self.order.insert(order))
    }

    /// Makes sure that these repos show everything their candidate tags hold. `false` when one is being composed.
    pub(crate) async fn are_whole(&mut self, tx: &mut Tx, repos: &[RepoSource]) -> Answer<bool> {
        for repo in repos.iter().filter(|repo| repo.name.ends_with("-candidate")) {
            let RepoOrigin::Snapshot { id } = &repo.origin else { continue };
            // Looked at once in a round: while a repo is not behind its tag, what its snapshot shows is what the tag holds.
            if self.whole.contains(id) {
                continue;
            }
            let lacking = tx.lacking(&repo.name, *id).await?;
            if lacking.is_empty() {
                self.whole.insert(*id);
                continue;
            }
            let now = tx.repo(&repo.name).await?;
            if now.composed < now.wanted || now.current != Some(*id) {
                return Ok(false);
            }
            return Err(Problem::Internal(anyhow::anyhow!(
                "snapshot {id} of {} counts as complete but lacks {}; nothing is built on it",
                repo.name,
                lacking.join(", ")
            )));
        }
        Ok(true)
    }
}

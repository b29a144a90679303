//! Chains: several builds asked for at once, which order themselves.

use std::collections::BTreeSet;

use farm::api::{NewChain, NewMember};
use farm::chain::{Link, MOST_MEMBERS};
use farm::ids::{ChainId, RequestId};
use farm::ledger::Person;
use farm::request::RequestKind;

use super::ask::{Draft, easiest, insert, may_build, stop, target};
use super::source::{locate, prepare};
use crate::keeper::tell;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Builds of several commits for one target: all of them are taken in, or none.
///
/// # Errors
/// What is wrong with the target or one of the commits, or that the person may not.
pub async fn chain(hub: &Hub, person: &Person, new: NewChain) -> Answer<ChainId> {
    let community = hub.community().await?;
    let project = target(&community, &new.target)?;
    if new.members.is_empty() || new.members.len() > MOST_MEMBERS {
        return Err(Problem::invalid(
            format!("a chain of {} builds was asked for", new.members.len()),
            format!("ask for 1 to {MOST_MEMBERS}"),
        ));
    }
    let mut packages = BTreeSet::new();
    let mut ready = Vec::new();
    for NewMember { repo, commit, level } in new.members {
        let commit = locate(hub, &repo, &commit).await?;
        may_build(&community, person, project, &commit.package)?;
        if !packages.insert(commit.package.clone()) {
            return Err(Problem::invalid(
                format!("package {} is in the chain twice", commit.package),
                "a package is built once in a chain",
            ));
        }
        let prepared = prepare(hub, &commit).await?.map_err(|reason| {
            Problem::invalid(
                format!("{} cannot be built: {reason}", commit.package),
                "mend it, then ask for the chain again: nothing of it was queued",
            )
        })?;
        ready.push((commit, prepared, level));
    }
    let arch = easiest(hub, project).await?;
    let id: ChainId = hub.mint();
    // The order they are listed in is that of their ids, which is the order they count as asked for in.
    let mut ids: Vec<RequestId> = ready.iter().map(|_| hub.mint()).collect();
    ids.sort_unstable();
    let mut tx = hub.db.write().await?;
    for ((commit, prepared, level), request) in ready.into_iter().zip(ids) {
        let draft = Draft {
            id: request,
            chain: Some(Link { id, level }),
            ..Draft::new(hub, RequestKind::Build, project, &person.name)
        };
        let (request, job) = draft.for_commit(hub, arch, &commit, Ok(prepared));
        insert(&mut tx, &request, job.as_ref()).await?;
    }
    tx.commit().await?;
    tracing::info!(chain = %id, packages = packages.len(), by = person.name, "a chain is taken in");
    hub.hurry().await;
    Ok(id)
}

/// Stops every build of a chain that is not over.
///
/// # Errors
/// That there is no such chain, that all of it is over, or that the person may not.
pub async fn cancel_chain(hub: &Hub, person: &Person, id: ChainId) -> Answer<()> {
    let mut tx = hub.db.write().await?;
    let members = tx.chain(id).await?;
    if members.is_empty() {
        return Err(Problem::not_found("chain", id));
    }
    let mut stops = Vec::new();
    let mut is_over = true;
    for member in members {
        if let Some(told) = stop(hub, &mut tx, person, member.id).await? {
            is_over = false;
            stops.extend(told);
        }
    }
    if is_over {
        return Err(Problem::conflict(format!("chain {id} is over already"), "there is nothing to cancel"));
    }
    tx.commit().await?;
    tell(&hub.bus, stops).await;
    hub.hurry().await;
    Ok(())
}

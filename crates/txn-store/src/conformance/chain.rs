//! The chain: what the receipts say, what the export proves, and that nothing is left out of it.

use futures_util::future::BoxFuture;
use txn_change::{GroupDigest, Link};
use txn_suite::{Checked, equal, holds, some, within};

use super::{
    Failure, Harness, Scenario,
    admin::filled,
    named,
    sample::{change, event, note, stocked, tally},
    subject::{Contents, Subject, done},
};
use crate::{
    admin::Row,
    store::{Commit, Position, Receipt},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    receipts_state_a_chain_that_the_export_proves,
    a_replay_states_the_head_of_the_chain,
    what_writes_nothing_adds_no_link,
    many_writers_make_one_chain,
];

pub(super) const DURABLE: &[Scenario] = named![Durability: the_chain_goes_on_when_the_store_is_opened_again];

/// Computes every link again from the changes that stand before it; the links from the first to the head, which holds all changes.
fn prove(contents: &Contents) -> Checked<Vec<Link>> {
    let (mut links, mut begin, mut end) = (vec![Link::START], 0usize, Position(0));
    for (behind, row) in &contents.links {
        let Row::Link { link, changes, events, position } = row else { continue };
        let mut group = GroupDigest::default();
        for row in contents.commits.get(begin..*behind).unwrap_or_default() {
            let Row::Commit { tenant, id, stored, .. } = row else { continue };
            group.add(tenant, id, &stored.digest, stored.events);
        }
        let group = group.finish();
        let before = some("a link before", links.last())?;
        equal("a link over its changes and the link before", link, &before.next(&group))?;
        equal("changes and events of a link", &(*changes, *events), &(group.changes, group.events))?;
        holds(format!("link {} holds a change", link.number), *changes > 0)?;
        let room = position.0.checked_sub(end.0);
        let is_room = if *events == 0 { room == Some(0) } else { room >= Some(*events) };
        holds(format!("the log grows from {end:?} to {position:?} with {events} events"), is_room)?;
        (begin, end) = (*behind, *position);
        links.push(*link);
    }
    equal("changes in the chain", &begin, &contents.commits.len())?;
    Ok(links)
}

/// What receipts state is in the chain, and never goes back.
fn state(receipts: &[Receipt], links: &[Link]) -> Checked {
    holds("the heads of receipts never go back", receipts.is_sorted_by_key(|receipt| receipt.head.number))?;
    match receipts.iter().find(|receipt| !links.contains(&receipt.head)) {
        Some(receipt) => Err(Failure::new(format!("expected {:?} in the chain, found {links:?}", receipt.head))),
        None => Ok(()),
    }
}

async fn receipts_state_a_chain_that_the_export_proves(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let other = subject.tenant("other")?;
    let mut receipts = Vec::new();
    for round in 0..6u32 {
        let mut batch = Vec::new();
        for index in 0..4u32 {
            let of = if index % 2 == 0 { &subject } else { &other };
            let mut change = stocked(&format!("{round}-{index}"), &tally("t")?, [1, 0, 0, 0])?;
            for part in 0..index {
                change = change.append(event(&part.to_string()));
            }
            batch.push(Commit { tenant: of.tenant.clone(), change });
        }
        for outcome in subject.store.commit(batch).await {
            receipts.push(done(outcome?)?);
        }
        receipts.push(subject.done(change(&format!("alone-{round}"))?).await?);
    }
    let health = subject.settled().await?;
    let contents = subject.contents(7).await?;
    let links = prove(&contents)?;
    state(&receipts, &links)?;
    equal("the head of the chain", &Some(&health.chain), &links.last())?;
    let last = contents.links.last().map(|(_, row)| row);
    let end = if let Some(Row::Link { position, .. }) = last { Some(*position) } else { None };
    equal("where the log ends with the last link", &end, &Some(health.head))?;
    equal("the last event", &end, &subject.log(1_000).await?.last().map(|item| item.position))
}

async fn a_replay_states_the_head_of_the_chain(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for index in 0..5u32 {
        subject.done(change(&index.to_string())?.append(event(""))).await?;
    }
    let chain = subject.settled().await?.chain;
    // A handle may learn a moment later that the others are chained.
    let replays = async {
        loop {
            let replay = subject.done(change("0")?).await?;
            equal("replayed", &replay.replayed, &true)?;
            if replay.head == chain {
                return Ok::<_, Failure>(());
            }
        }
    };
    within(20, "a replay that states the head", replays).await?
}

async fn what_writes_nothing_adds_no_link(harness: &Harness) -> Checked {
    let subject = filled(harness).await?;
    let before = subject.settled().await?;
    for round in 0..3u32 {
        subject.done(change("1")?).await?;
        subject.refused(change(&format!("refused-{round}"))?.remove(note("none")?, 1)).await?;
    }
    equal("the health", &subject.settled().await?, &before)?;
    prove(&subject.contents(1_000).await?).map(drop)
}

async fn many_writers_make_one_chain(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let writer = |caller: u32| -> BoxFuture<'static, Checked<Vec<Receipt>>> {
        let subject = subject.clone();
        Box::pin(async move {
            let mut receipts = Vec::new();
            for step in 0..20u32 {
                let change = stocked(&format!("{caller}-{step}"), &tally(&(caller % 3).to_string())?, [1, 0, 0, 0])?;
                receipts.push(subject.done(change.append(event(&step.to_string()))).await?);
            }
            Ok(receipts)
        })
    };
    let written = subject.race((0..6).map(writer).collect()).await?;
    let links = prove(&subject.contents(50).await?)?;
    for receipts in written {
        state(&receipts?, &links)?;
    }
    equal("the head of the chain", &links.last(), &Some(&subject.settled().await?.chain))
}

async fn the_chain_goes_on_when_the_store_is_opened_again(harness: &Harness) -> Checked {
    let mut subject = harness.fresh().await?;
    let mut kept: Vec<Link> = vec![Link::START];
    for round in 0..4u32 {
        for step in 0..3u32 {
            subject.done(change(&format!("{round}-{step}"))?.append(event(""))).await?;
        }
        subject = reopened(subject).await?;
        let links = prove(&subject.contents(1_000).await?)?;
        equal("the links that were known before", &links.get(..kept.len()), &Some(kept.as_slice()))?;
        holds("the chain has grown", links.len() > kept.len())?;
        kept = links;
    }
    Ok(())
}

async fn reopened(subject: Subject) -> Checked<Subject> {
    let before = subject.settled().await?;
    let subject = subject.reopened().await?;
    equal("the health", &subject.settled().await?, &before)?;
    Ok(subject)
}

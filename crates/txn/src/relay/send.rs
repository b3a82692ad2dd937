//! Sending a batch: what the store must know first, then the queue, then what is parked. One future, which may be dropped anywhere: everything in it may be done again.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use txn_change::{Change, ChangeId, Document, Expect, Fingerprint, Key, Kind, Refusal};
use txn_queue::{Address, ErrorKind, Message, Publish, Published, Reschedule, Rescheduled};
use txn_store::{Commit, Outcome};

use super::{
    Parts,
    lane::{Batch, Fate, Mark, Place, Ticket, Which},
    observe, parked,
    tenure::Tenure,
};
use crate::{failure::Failure, leases};

const LANE_KIND: Kind = Kind::reserved("txn-relay-lane");

/// Moves and cancellations that a lane has carried out and not acknowledged, each by the position of its event and its number there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Executed {
    pub(crate) steps: Vec<(u64, u32)>,
}

impl Document for Executed {
    const TYPE: &'static str = "txn.relay-lane";
    const SCHEMA: u16 = 1;
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) lanes: Vec<Which>,
    pub(super) fates: Vec<(Ticket, Fate)>,
    /// What the store knows of a lane's moves and cancellations by now.
    pub(super) marked: Vec<(Which, u64, BTreeSet<Place>)>,
    pub(super) published: u64,
    pub(super) duplicates: u64,
    pub(super) rescheduled: u64,
    pub(super) parked: u64,
    /// So many messages were too many for one call.
    pub(super) too_many: Option<usize>,
    /// It was a message by itself that the queue could not be asked to take.
    pub(super) was_alone: bool,
    /// What trying again does not help.
    pub(super) failure: Option<Failure>,
}

/// Nothing is asked of the queue for a lane that may be another's by then; what has not gone is to be tried again.
pub(super) async fn send(parts: Arc<Parts>, tenure: Tenure, batch: Batch) -> Sent {
    let Batch { lanes, marks, publishes, reschedules, mut parks } = batch;
    let mut sent = Sent { lanes, ..Sent::default() };
    let mut unmarked = BTreeSet::new();
    for mark in marks {
        if !remember(&parts, &mark, &mut sent).await {
            unmarked.insert(mark.lane);
        }
    }
    let may_go = |ticket: &Ticket| !unmarked.contains(&ticket.lane) && tenure.is_sure_of(ticket.lane);
    let (publishes, held): (Vec<_>, Vec<_>) = publishes.into_iter().partition(|(ticket, _)| may_go(ticket));
    sent.fates.extend(held.into_iter().map(|(ticket, _)| (ticket, Fate::Again)));
    publish(&parts, publishes, &mut parks, &mut sent).await;
    let (reschedules, held): (Vec<_>, Vec<_>) = reschedules.into_iter().partition(|(ticket, _)| may_go(ticket));
    sent.fates.extend(held.into_iter().map(|(ticket, _)| (ticket, Fate::Again)));
    reschedule(&parts, reschedules, &mut parks, &mut sent).await;
    for (ticket, reason) in parks {
        let fate = match parked::park(&parts, &ticket, &reason).await {
            Ok(is_new) => {
                sent.parked = sent.parked.saturating_add(is_new.into());
                Fate::Done
            }
            Err(failure) => retried(failure, &mut sent),
        };
        sent.fates.push((ticket, fate));
    }
    observe::sent(&parts.name, &sent);
    sent
}

async fn publish(
    parts: &Parts,
    publishes: Vec<(Ticket, (Address, Arc<Message>))>,
    parks: &mut Vec<(Ticket, Arc<str>)>,
    sent: &mut Sent,
) {
    if publishes.is_empty() {
        return;
    }
    let (tickets, messages): (Vec<Ticket>, Vec<_>) = publishes.into_iter().unzip();
    let (count, batch) = (tickets.len(), Publish::each(messages));
    let results = match observe::publish(&parts.name, count, parts.queue.publish(batch)).await {
        Ok(results) => results,
        Err(error) if error.kind() == ErrorKind::Invalid && count > 1 => {
            sent.too_many = Some(count);
            Vec::new()
        }
        Err(error) if error.kind() == ErrorKind::Invalid => {
            sent.was_alone = true;
            parks.extend(tickets.into_iter().map(|ticket| (ticket, error.to_string().into())));
            return;
        }
        Err(error) => {
            let fate = retried(error.into(), sent);
            sent.fates.extend(tickets.into_iter().map(|ticket| (ticket, fate.clone())));
            return;
        }
    };
    let mut results = results.into_iter();
    for ticket in tickets {
        let fate = match results.next() {
            Some(Published::Accepted { .. }) => {
                sent.published = sent.published.saturating_add(1);
                Fate::Done
            }
            Some(Published::Duplicate) => {
                sent.duplicates = sent.duplicates.saturating_add(1);
                Fate::Done
            }
            Some(Published::Refused(txn_queue::Refusal::Full { topic, .. })) => Fate::Full(topic),
            Some(Published::Refused(refusal)) if !refusal.is_retryable() => {
                parks.push((ticket, refusal.to_string().into()));
                continue;
            }
            // Unknown, or no result at all: publishing it again is safe under its dedupe id.
            _ => Fate::Again,
        };
        sent.fates.push((ticket, fate));
    }
}

async fn reschedule(
    parts: &Parts,
    reschedules: Vec<(Ticket, Reschedule)>,
    parks: &mut Vec<(Ticket, Arc<str>)>,
    sent: &mut Sent,
) {
    if reschedules.is_empty() {
        return;
    }
    let (tickets, batch): (Vec<Ticket>, Vec<Reschedule>) = reschedules.into_iter().unzip();
    let keys: Vec<_> = batch.iter().map(|reschedule| reschedule.key.clone()).collect();
    let count = batch.len();
    let results = match parts.queue.reschedule(batch).await {
        Ok(results) => results,
        Err(error) if error.kind() == ErrorKind::Invalid && count > 1 => {
            sent.too_many = Some(count);
            Vec::new()
        }
        Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unsupported) => {
            parks.extend(tickets.into_iter().map(|ticket| (ticket, error.to_string().into())));
            return;
        }
        Err(error) => {
            let fate = retried(error.into(), sent);
            sent.fates.extend(tickets.into_iter().map(|ticket| (ticket, fate.clone())));
            return;
        }
    };
    let mut results = results.into_iter();
    for (ticket, key) in tickets.into_iter().zip(keys) {
        let fate = match results.next() {
            Some(Rescheduled::Moved | Rescheduled::Cancelled | Rescheduled::TooLate) => {
                sent.rescheduled = sent.rescheduled.saturating_add(1);
                Fate::Executed(key)
            }
            Some(Rescheduled::NoSuchTopic) => {
                parks.push((ticket, parked::NO_TOPIC.into()));
                continue;
            }
            _ => Fate::Again,
        };
        sent.fates.push((ticket, fate));
    }
}

/// What is tried again, if that may help.
fn retried(failure: Failure, sent: &mut Sent) -> Fate {
    if !failure.is_retryable() {
        sent.failure = Some(failure);
    }
    Fate::Again
}

fn lane_key(parts: &Parts, lane: u32) -> Key {
    Key::of(LANE_KIND).text(&parts.name).expect("a name of at most 64 bytes").number(lane.into()).build()
}

/// Makes known to the store what a lane has carried out, so that nobody does it again; false when it is not.
async fn remember(parts: &Parts, mark: &Mark, sent: &mut Sent) -> bool {
    let Mark { lane: which, version, ref fence, ref executed } = *mark;
    let (lane, token) = (which.lane, fence.token);
    let id = format!("relay.mark/{}/{lane}/{token}/{version}", parts.name);
    let id = ChangeId::new(&id).expect("at most 140 graphic bytes");
    let steps = executed.iter().map(|place| (place.position, place.nth)).collect();
    let mut change = Change::new(id.clone(), Fingerprint::of_bytes("relay.mark", id.as_bytes()));
    change.fence.push(fence.clone());
    let expect = Expect::of((version > 0).then_some(version));
    let change = change.put(lane_key(parts, lane), expect, leases::body(&Executed { steps }), Vec::new());
    let batch = vec![Commit { tenant: parts.scope.tenant().clone(), change }];
    match parts.store().commit(batch).await.pop() {
        Some(Ok(Outcome::Done(receipt))) if !receipt.replayed => {
            sent.marked.push((which, version.saturating_add(1), executed.clone()));
            return true;
        }
        // Written earlier, when less may have been carried out; or it has been moved on: look.
        Some(Ok(Outcome::Done(_) | Outcome::Refused(Refusal::Conflict { .. }))) => match known(parts, lane).await {
            Ok((version, known)) => {
                let is_covered = executed.is_subset(&known);
                sent.marked.push((which, version, known));
                return is_covered;
            }
            Err(failure) => drop(retried(failure, sent)),
        },
        // Another has the lane by now: the next look at the leases tells.
        Some(Ok(Outcome::Refused(Refusal::FenceStale { .. })) | Ok(Outcome::Unknown(_))) | None => {}
        Some(Ok(Outcome::Refused(refusal))) => drop(retried(Failure::Refused(refusal), sent)),
        Some(Err(error)) => drop(retried(error.into(), sent)),
    }
    false
}

/// What the store knows of a lane's moves and cancellations, and the version of that.
pub(super) async fn known(parts: &Parts, lane: u32) -> Result<(u64, BTreeSet<Place>), Failure> {
    let Some(record) = parts.scope.record(lane_key(parts, lane)).await? else { return Ok((0, BTreeSet::new())) };
    let executed: Executed = record.body.read()?;
    let steps = executed.steps.into_iter().map(|(position, nth)| Place { position, nth });
    Ok((record.version, steps.collect()))
}

//! Calls on their way to a turn, and their answers on the way back.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use futures_channel::oneshot;

use super::{
    declared::Declared,
    medium::Medium,
    row::Row,
    turn::{Given, Stop, Turn},
    waiting::Waiting,
};
use crate::{
    admin::{Control, Redrive, Redriven, Reschedule, Rescheduled, TopicStats},
    error::{Error, ErrorKind},
    name::Topic,
    queue::{
        Action, Address, Delivery, Group, Lease, Position, Publish, Published, Receive, Received, Seen, Settle, Settled,
    },
    topology::Topology,
};

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// A call.
pub(crate) enum Job {
    Publish(Vec<Publish>, Reply<Vec<Published>>),
    Receive(Receive, Reply<Received>),
    Settle(Group, Vec<Settle>, Reply<Vec<Settled>>),
    Reschedule(Vec<Reschedule>, Reply<Vec<Rescheduled>>),
    /// An order, for one topic.
    Control(Topic, Control, Reply<()>),
    Redrive(Redrive, Reply<Redriven>),
    Declare(Topology, Reply<()>),
    /// How a topic stands.
    Stats(Topic, Reply<TopicStats>),
    /// What settling these would come to.
    #[cfg(feature = "postgres")]
    Examine(Group, Vec<Lease>, Reply<Vec<Settled>>),
    /// Which topics there are.
    Topics(Reply<Vec<Topic>>),
    /// Has the topic read.
    Look(Topic, Option<Reply<()>>),
}

/// How the calls of a turn have come out, before it is committed.
pub(crate) struct Outcomes {
    results: Vec<Outcome>,
    /// The messages that were leased, in order.
    messages: HashMap<Topic, Vec<Row>>,
}

enum Outcome {
    Publish(Result<Vec<Published>, Error>),
    /// With how much of the group had been seen when it was decided.
    Receive(Result<Given, Error>, Seen),
    Settle(Result<Vec<Settled>, Error>),
    Reschedule(Result<Vec<Rescheduled>, Error>),
    Redrive(Result<Redriven, Error>),
    Stats(Result<TopicStats, Error>),
    Topics(Vec<Topic>),
    Nothing(Result<(), Error>),
}

impl Job {
    /// The topics that it concerns, as far as that is known before.
    pub(crate) fn topics(&self, declared: &Declared) -> BTreeSet<Topic> {
        let mut topics = BTreeSet::new();
        match self {
            Self::Publish(batch, _) => {
                for Publish { to, messages } in batch {
                    match to {
                        Address::Topic(topic) => topics.extend([topic.clone()]),
                        Address::Exchange { name, routing_key } => {
                            let route = |message| declared.routes.route(name, routing_key.as_ref(), message);
                            topics.extend(messages.iter().filter_map(|message| route(message)).flatten());
                        }
                    }
                }
            }
            Self::Receive(receive, _) => topics.extend([receive.group.topic().clone()]),
            Self::Settle(group, ..) => topics.extend([group.topic().clone()]),
            #[cfg(feature = "postgres")]
            Self::Examine(group, ..) => topics.extend([group.topic().clone()]),
            Self::Reschedule(batch, _) => topics.extend(batch.iter().map(|reschedule| reschedule.topic.clone())),
            Self::Control(topic, ..) | Self::Stats(topic, _) | Self::Look(topic, _) => topics.extend([topic.clone()]),
            Self::Redrive(redrive, _) => topics.extend([redrive.group.topic().clone()]),
            Self::Topics(_) => {}
            Self::Declare(topology, _) => {
                topics.extend(topology.topics.iter().map(|spec| spec.topic.clone()));
                topics.extend(topology.groups.iter().map(|spec| spec.group.topic().clone()));
            }
        }
        topics.retain(|topic| declared.topics.contains_key(topic));
        topics
    }

    /// The leases that are asked about.
    #[cfg(feature = "postgres")]
    fn examined(&self) -> Option<(&Group, &[Lease])> {
        match self {
            Self::Examine(group, leases, _) => Some((group, leases)),
            _ => None,
        }
    }

    /// Whether somebody still waits for the answer.
    pub(crate) fn is_wanted(&self) -> bool {
        !match self {
            Self::Publish(_, reply) => reply.is_canceled(),
            Self::Receive(_, reply) => reply.is_canceled(),
            Self::Settle(_, _, reply) => reply.is_canceled(),
            #[cfg(feature = "postgres")]
            Self::Examine(_, _, reply) => reply.is_canceled(),
            Self::Reschedule(_, reply) => reply.is_canceled(),
            Self::Control(_, _, reply) | Self::Declare(_, reply) => reply.is_canceled(),
            Self::Look(_, reply) => reply.as_ref().is_some_and(Reply::is_canceled),
            Self::Redrive(_, reply) => reply.is_canceled(),
            Self::Stats(_, reply) => reply.is_canceled(),
            Self::Topics(reply) => reply.is_canceled(),
        }
    }

    /// How many bytes it brings, of messages and of reasons.
    pub(crate) fn bytes(&self) -> usize {
        let reason = |settle: &Settle| match &settle.action {
            Action::Retry { reason, .. } | Action::Dead { reason } => reason.len(),
            Action::Ack | Action::Release | Action::Extend { .. } => 0,
        };
        match self {
            Self::Publish(batch, _) => {
                let messages = batch.iter().flat_map(|publish| &publish.messages);
                messages.map(|message| message.data.len()).fold(0, usize::saturating_add)
            }
            Self::Settle(_, batch, _) => batch.iter().map(reason).fold(0, usize::saturating_add),
            _ => 0,
        }
    }

    /// Tells that nothing of it was executed.
    pub(crate) fn fail(self, error: &Error) {
        let again = || Err(error.again());
        // Nobody may be waiting any more.
        match self {
            Self::Publish(_, reply) => drop(reply.send(again().map(|()| Vec::new()))),
            Self::Receive(_, reply) => drop(reply.send(again().map(|()| nothing()))),
            Self::Settle(_, _, reply) => drop(reply.send(again().map(|()| Vec::new()))),
            #[cfg(feature = "postgres")]
            Self::Examine(_, _, reply) => drop(reply.send(again().map(|()| Vec::new()))),
            Self::Reschedule(_, reply) => drop(reply.send(again().map(|()| Vec::new()))),
            Self::Control(_, _, reply) | Self::Declare(_, reply) => drop(reply.send(again())),
            Self::Look(_, reply) => drop(reply.map(|reply| reply.send(again()))),
            Self::Redrive(_, reply) => drop(reply.send(again().map(|()| Redriven { moved: 0, has_more: false }))),
            Self::Stats(_, reply) => drop(reply.send(again().map(|()| TopicStats::default()))),
            Self::Topics(reply) => drop(reply.send(again().map(|()| Vec::new()))),
        }
    }

    /// Tells that nobody knows what became of it.
    pub(crate) fn lost(self, error: &Error) {
        match self {
            Self::Publish(batch, reply) => drop(reply.send(Ok(vec![Published::Unknown; Publish::count(&batch)]))),
            Self::Settle(_, batch, reply) => drop(reply.send(Ok(vec![Settled::Unknown; batch.len()]))),
            Self::Reschedule(batch, reply) => drop(reply.send(Ok(vec![Rescheduled::Unknown; batch.len()]))),
            other => other.fail(&error.as_unknown()),
        }
    }
}

fn nothing() -> Received {
    Received { deliveries: Vec::new(), next_in: None, seen: Seen::default() }
}

/// Decides all calls, one after the other; before them, what hosts' transactions have brought is taken in. True beside them when the topology is to be written.
pub(crate) async fn run<M: Medium>(
    turn: &mut Turn<'_, M>,
    jobs: &[Job],
    takes_in: bool,
    waiting: &Waiting,
) -> Result<(Outcomes, bool), Stop> {
    let mut results = Vec::with_capacity(jobs.len());
    let mut is_declared = false;
    // Whoever asks holds the leases' locks already, for which they would be kept alive.
    #[cfg(feature = "postgres")]
    let mut examined: std::collections::VecDeque<Vec<Settled>> = jobs
        .iter()
        .filter_map(Job::examined)
        .map(|(group, leases)| leases.iter().map(|lease| turn.examine(group, lease)).collect())
        .collect();
    if takes_in {
        let ends_leases = jobs.iter().any(|job| matches!(job, Job::Receive(..)));
        turn.take_in(ends_leases).await?;
    }
    // And what another transaction settled and committed before, with the lease, is settled.
    #[cfg(feature = "postgres")]
    for ((group, leases), found) in jobs.iter().filter_map(Job::examined).zip(&mut examined) {
        for (lease, found) in leases.iter().zip(found).filter(|(_, found)| **found == Settled::Applied) {
            *found = turn.examine(group, lease);
        }
    }
    for job in jobs {
        results.push(match job {
            Job::Publish(batch, _) => Outcome::Publish(told(turn.publish(batch).await)?),
            Job::Receive(receive, _) => {
                // Before it is decided: what a later call of this very turn makes ready must not be taken for seen.
                let seen = waiting.seen(receive.group.topic(), receive.group.name());
                Outcome::Receive(told(turn.receive(receive).await)?, seen)
            }
            Job::Settle(group, batch, _) => Outcome::Settle(told(turn.settle(group, batch).await)?),
            #[cfg(feature = "postgres")]
            Job::Examine(..) => Outcome::Settle(Ok(examined.pop_front().unwrap_or_default())),
            Job::Reschedule(batch, _) => Outcome::Reschedule(told(turn.reschedule(batch).await)?),
            Job::Control(topic, control, _) => Outcome::Nothing(told(turn.control(topic, control).await)?),
            Job::Redrive(redrive, _) => Outcome::Redrive(told(turn.redrive(redrive).await)?),
            Job::Declare(topology, _) => Outcome::Nothing(told(turn.declare(topology.clone()))?.map(|is_changed| {
                is_declared |= is_changed;
            })),
            Job::Stats(topic, _) => Outcome::Stats(told(turn.stats(topic))?),
            Job::Topics(_) => Outcome::Topics(turn.declared.topics.keys().cloned().collect()),
            Job::Look(topic, _) => Outcome::Nothing(told(turn.stats(topic))?.map(drop)),
        });
    }
    let messages = messages(turn, &results).await?;
    Ok((Outcomes { results, messages }, is_declared))
}

/// A call that was refused by itself does not end the turn.
fn told<T>(result: Result<T, Stop>) -> Result<Result<T, Error>, Stop> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Refused(error)) => Ok(Err(error)),
        Err(stop) => Err(stop),
    }
}

async fn messages<M: Medium>(turn: &mut Turn<'_, M>, results: &[Outcome]) -> Result<HashMap<Topic, Vec<Row>>, Stop> {
    let mut wanted: HashMap<Topic, Vec<u64>> = HashMap::new();
    for outcome in results {
        if let Outcome::Receive(Ok(given), _) = outcome
            && !given.leased.is_empty()
        {
            let positions = given.leased.iter().map(|leased| leased.position);
            wanted.entry(given.group.topic().clone()).or_default().extend(positions);
        }
    }
    let mut messages = HashMap::new();
    for (topic, mut positions) in wanted {
        positions.sort_unstable();
        positions.dedup();
        let mut rows = turn.fetch(&topic, &positions).await?;
        rows.sort_unstable_by_key(|row| row.position);
        messages.insert(topic, rows);
    }
    Ok(messages)
}

/// Gives every call its answer, when the turn is committed.
pub(crate) fn answer(jobs: Vec<Job>, outcomes: Outcomes) {
    let Outcomes { results, messages } = outcomes;
    for (job, outcome) in jobs.into_iter().zip(results) {
        match (job, outcome) {
            (Job::Publish(_, reply), Outcome::Publish(result)) => drop(reply.send(result)),
            (Job::Settle(_, _, reply), Outcome::Settle(result)) => drop(reply.send(result)),
            #[cfg(feature = "postgres")]
            (Job::Examine(_, _, reply), Outcome::Settle(result)) => drop(reply.send(result)),
            (Job::Reschedule(_, reply), Outcome::Reschedule(result)) => drop(reply.send(result)),
            (Job::Redrive(_, reply), Outcome::Redrive(result)) => drop(reply.send(result)),
            (Job::Stats(_, reply), Outcome::Stats(result)) => drop(reply.send(result)),
            (Job::Topics(reply), Outcome::Topics(topics)) => drop(reply.send(Ok(topics))),
            (Job::Control(_, _, reply) | Job::Declare(_, reply), Outcome::Nothing(result)) => drop(reply.send(result)),
            (Job::Look(_, reply), Outcome::Nothing(result)) => drop(reply.map(|reply| reply.send(result))),
            (Job::Receive(_, reply), Outcome::Receive(result, seen)) => {
                let received = result.map(|given| {
                    let rows = messages.get(given.group.topic()).map(Vec::as_slice).unwrap_or_default();
                    Received { deliveries: deliveries(&given, rows), next_in: given.next_in, seen }
                });
                drop(reply.send(received));
            }
            // Results stand in the order of their calls.
            (job, _) => job.fail(&Error::new(ErrorKind::Corrupt, "an answer of another call")),
        }
    }
}

fn deliveries(given: &Given, rows: &[Row]) -> Vec<Delivery> {
    let row = |position: u64| rows.get(rows.binary_search_by_key(&position, |row| row.position).ok()?);
    let delivery = |leased: &crate::engine::group::Leased| {
        let row = row(leased.position)?;
        Some(Delivery {
            lease: Lease { position: Position(leased.position), token: leased.token },
            message: Arc::clone(&row.message),
            deliveries: leased.deliveries,
            is_last: leased.is_last,
            accepted_at: row.accepted_at,
            leased_until: given.until,
            death: row.death.clone(),
        })
    };
    given.leased.iter().filter_map(delivery).collect()
}

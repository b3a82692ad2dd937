//! Where a durable backend keeps steps and messages.

use std::{collections::VecDeque, future::Future, ops::Range, sync::Arc};

use txn_change::Timestamp;

use super::{
    pack::{self, Pack},
    packs::Packs,
    replica::Replica,
    row::{Brief, Row},
    step::{Op, Step},
};
use crate::{
    error::Error,
    message::Message,
    name::{DedupeId, ScheduleKey, Topic},
    queue::{Group, Refusal, Settle},
};

/// Steps in a page, at most.
pub(crate) const STEPS: usize = 1_024;

/// Packs in a page, at most.
pub(crate) const PACKS: usize = 256;

/// One transaction, on a medium in which some topics are locked for it.
///
/// Everything that is read was committed, or was written through it. An error ends it.
pub(crate) trait Medium: Send {
    /// Locks another topic without waiting; false when it is another's.
    fn lock(&mut self, topic: i64) -> impl Future<Output = Result<bool, Error>> + Send;

    /// A reading of a topic that is at hand, and in nobody's use.
    fn known(&mut self, _topic: &Topic) -> Option<Replica> {
        None
    }

    /// The steps of a topic from this number on, itself included, in order; at most [`STEPS`].
    fn steps(&mut self, topic: i64, from: u64) -> impl Future<Output = Result<Vec<Step>, Error>> + Send;

    /// The newest saved state of a topic, and the number of the step that it was saved after.
    fn saved(&mut self, topic: i64) -> impl Future<Output = Result<Option<(u64, Vec<u8>)>, Error>> + Send;

    /// Of the packs of a topic that begin before `until`: the one that holds the message at `from`, and those that follow, in order; at most [`PACKS`]. Where each begins, and its first part.
    fn briefs(
        &mut self,
        topic: i64,
        from: u64,
        until: u64,
    ) -> impl Future<Output = Result<Vec<(u64, Vec<u8>)>, Error>> + Send;

    /// The packs that begin at these positions, in any order.
    fn packs(&mut self, topic: i64, firsts: &[u64]) -> impl Future<Output = Result<Vec<Pack>, Error>> + Send;

    /// What was published under these dedupe ids and is remembered still.
    fn repeats(
        &mut self,
        topic: i64,
        ids: &[DedupeId],
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<(DedupeId, [u8; 32])>, Error>> + Send;

    /// The last message that was published under each of these schedule keys.
    fn scheduled(
        &mut self,
        topic: i64,
        keys: &[ScheduleKey],
    ) -> impl Future<Output = Result<Vec<(ScheduleKey, u64)>, Error>> + Send;

    /// Whether no host's transaction is settling these leases: one that begins to hears how they stand after this transaction, whose topics are locked. False for those that one is settling.
    fn secure(&mut self, _tokens: &[u64]) -> impl Future<Output = Result<Vec<(u64, bool)>, Error>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Takes what hosts' committed transactions have brought for a topic, a page of it; it is gone with this transaction.
    fn hosted(&mut self, _topic: i64, _from: i64) -> impl Future<Output = Result<Vec<FromHost>, Error>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Keeps what a host's transaction has brought and cannot be, for people.
    fn refuse(
        &mut self,
        _topic: i64,
        _message: &Message,
        _refusal: &Refusal,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Writes a step and what belongs to it.
    fn write(&mut self, written: Written<'_>) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Something that a host's transaction has done.
#[derive(Debug)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only a server has transactions of hosts"))]
pub(crate) enum FromHost {
    Published(Arc<Message>),
    Settled(Group, Settle),
}

/// Things that hosts did in a page, at most.
pub(crate) const HOSTED: usize = 1_024;

/// A step on its way.
pub(crate) struct Written<'d> {
    pub(crate) topic: i64,
    pub(crate) step: Step,
    pub(crate) draft: &'d Draft,
    /// The messages of the draft.
    pub(crate) packs: Vec<Pack>,
    /// The state after the step, when it is time to save it, and the number of the step after which it was saved before: what is older than that was deleted then.
    pub(crate) saved: Option<(u64, Vec<u8>)>,
}

/// What a turn did to one topic.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) ops: Vec<Op>,
    pub(crate) rows: Vec<Row>,
    pub(crate) repeats: Vec<Repeat>,
    pub(crate) schedules: Vec<(ScheduleKey, u64)>,
    /// Whether it was only told who holds what: should it be lost, no answer was wrong for longer than a lease.
    pub(crate) is_passing: bool,
}

/// What is remembered of a message under a dedupe id.
#[derive(Debug)]
pub(crate) struct Repeat {
    pub(crate) id: DedupeId,
    pub(crate) until: Timestamp,
    pub(crate) digest: [u8; 32],
}

/// Brings a replica up to date, or reads the topic anew. The topic is locked, or what others add meanwhile may be missed.
pub(crate) async fn read<M: Medium>(
    medium: &mut M,
    known: Option<Replica>,
    id: i64,
    name: &Topic,
) -> Result<Replica, Error> {
    if let Some(replica) = known {
        let from = replica.number;
        if let Some(replica) = follow(medium, replica, from).await? {
            return Ok(replica);
        }
    }
    let replica = match medium.saved(id).await? {
        None => Replica::empty(id, name),
        Some((number, bytes)) => {
            let saved: super::replica::Saved = super::step::from_bytes("a saved topic", &bytes)?;
            let (mut messages, mut packs) = (VecDeque::new(), Packs::default());
            add(medium, id, saved.messages(), &mut messages, &mut packs).await?;
            Replica::restore(id, number, saved, messages.into(), packs)?
        }
    };
    let from = replica.number.saturating_add(1);
    let read = follow(medium, replica, from).await?;
    read.ok_or_else(|| {
        let context = format!("the steps of {name} do not follow its saved state");
        Error::new(crate::error::ErrorKind::Corrupt, context)
    })
}

/// `None` when the step that the replica has last is not there any more, or is another.
async fn follow<M: Medium>(medium: &mut M, mut replica: Replica, from: u64) -> Result<Option<Replica>, Error> {
    let mut from = from;
    loop {
        let steps = medium.steps(replica.id, from).await?;
        let count = steps.len();
        let mut steps = steps.into_iter().peekable();
        if from > 0 && from == replica.number {
            match steps.next() {
                Some(step) if step.number == replica.number && step.nonce == replica.nonce => {}
                _ => return Ok(None),
            }
        }
        let next = replica.number.saturating_add(1);
        if steps.peek().is_some_and(|step| step.number != next) {
            return Ok(None);
        }
        let read = steps.map(Step::read).collect::<Result<Vec<_>, Error>>()?;
        let added = read.iter().flat_map(|(_, ops)| ops).fold(0u64, |sum, op| match op {
            Op::Added(count) => sum.saturating_add(u64::from(*count)),
            _ => sum,
        });
        let end = replica.topic.log.end();
        let mut messages = VecDeque::new();
        add(medium, replica.id, end..end.saturating_add(added), &mut messages, &mut replica.packs).await?;
        for (step, ops) in read {
            replica.follow(&step, ops, &mut messages)?;
        }
        if count < STEPS {
            return Ok(Some(replica));
        }
        from = replica.number.saturating_add(1);
    }
}

/// Reads the messages at these positions, and any that stand in a pack with them.
async fn add<M: Medium>(
    medium: &mut M,
    topic: i64,
    wanted: Range<u64>,
    messages: &mut VecDeque<Brief>,
    packs: &mut Packs,
) -> Result<(), Error> {
    let mut at = wanted.start;
    while at < wanted.end {
        let page = medium.briefs(topic, at, wanted.end).await?;
        let before = at;
        for (first, bytes) in page {
            let briefs = pack::briefs(first, &bytes)?;
            at = briefs.last().map_or(at, |last| last.position.saturating_add(1));
            packs.push(first);
            messages.extend(briefs);
        }
        if at <= before {
            // Whoever takes the messages in misses the next, and says so.
            break;
        }
    }
    Ok(())
}

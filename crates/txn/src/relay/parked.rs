//! What could not be sent, kept by reference with the reason, until a person decides. The event itself stays in the log: the relay holds it back from being purged.

use serde::{Deserialize, Serialize};
use txn_change::{Change, ChangeId, Document, Expect, Fingerprint, Key, Kind, Record, Refusal, Tenant, Timestamp};
use txn_queue::{Publish, Published, Rescheduled};
use txn_store::{Commit, ErrorKind, LogItem, Outcome, Position, Range};

use super::{
    Parts, Relay,
    lane::{Place, Ticket, What},
    mapping::Origin,
    reader::steps,
};
use crate::{
    failure::Failure,
    leases::{body, records},
};

const PARKED_KIND: Kind = Kind::reserved("txn-parked");

pub(super) const NO_TOPIC: &str = "there is no such topic to move or to cancel a message in";

/// Bytes of a reason that are kept, at most.
const REASON_MAX: usize = 1_024;

/// An event, or one of the messages that it comes to, that could not be sent. It holds ids and no payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ParkedEvent {
    /// Where the event stands in the log.
    pub position: u64,
    /// Which of the things that the event comes to, from 0; `None` when the mapping gave up the whole event.
    pub nth: Option<u32>,
    /// Why.
    pub reason: String,
    /// The event's tenant.
    pub tenant: Tenant,
    /// The change that appended it.
    pub change: ChangeId,
    /// Its place in that change.
    pub index: u32,
    /// Its type.
    pub kind: String,
    /// When it was recorded, in the store's time.
    pub recorded_at: Timestamp,
    /// How often a person has tried it again.
    pub retries: u32,
}

impl Document for ParkedEvent {
    const TYPE: &'static str = "txn.parked";
    const SCHEMA: u16 = 1;
}

impl ParkedEvent {
    fn place(&self) -> Place {
        Place { position: self.position, nth: self.nth.unwrap_or(Place::WHOLE) }
    }
}

/// What came of trying a parked event again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retried {
    /// It is sent, or comes to nothing by now, and is parked no more.
    Sent,
    /// It stays parked, with this reason.
    Refused(String),
    /// There was no room, or no answer: it stays as it was, and may be tried again.
    NotNow(String),
    /// It is not parked.
    NotParked,
}

/// The parked events of a relay, for operators.
///
/// Those of one subject that came behind a parked one have been sent: what is tried again comes late, and out of their order.
#[derive(Debug, Clone, Copy)]
pub struct Parked<'a> {
    pub(super) relay: &'a Relay,
}

impl Parked<'_> {
    fn parts(&self) -> &Parts {
        &self.relay.parts
    }

    /// All that is parked, in the order of the log.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn list(&self) -> Result<Vec<ParkedEvent>, Failure> {
        Ok(all(self.parts()).await?.into_iter().map(|(_, _, parked)| parked).collect())
    }

    /// Maps the event anew and sends it: for when a mapping, a topic or a limit has been mended.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Queue`]. What was sent is a repetition under its dedupe id when it is sent again.
    pub async fn retry(&self, parked: &ParkedEvent) -> Result<Retried, Failure> {
        let (parts, place) = (self.parts(), parked.place());
        let Some(record) = parts.scope.record(key(parts, place)).await? else { return Ok(Retried::NotParked) };
        let parked: ParkedEvent = record.body.read()?;
        let Some(item) = event(parts, Position(parked.position)).await? else {
            return Ok(Retried::NotNow(format!("the log holds no event at position {}", parked.position)));
        };
        let origin = Origin::new(&item, parked.index, &parts.source);
        let mut refused = None;
        for step in steps(&*parts.mapping, &origin) {
            if parked.nth.is_none_or(|nth| nth == step.nth) {
                match again(parts, step.what).await? {
                    Again::Sent => {}
                    Again::Refused(reason) => refused = refused.or(Some(reason)),
                    Again::NotNow(reason) => return Ok(Retried::NotNow(reason)),
                }
            }
        }
        let Some(reason) = refused else {
            remove(parts, "unpark", &parked, &record).await?;
            return Ok(Retried::Sent);
        };
        let reason = cut(&reason);
        let change = change(parts, "repark", place, record.version);
        let parked = ParkedEvent { reason: reason.clone(), retries: parked.retries.saturating_add(1), ..parked };
        let expect = Expect::Version(record.version);
        commit(parts, change.put(key(parts, place), expect, body(&parked), Vec::new())).await?;
        Ok(Retried::Refused(reason))
    }

    /// Gives it up: it is never sent. False when it is not parked.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unknown`].
    pub async fn discard(&self, parked: &ParkedEvent) -> Result<bool, Failure> {
        let parts = self.parts();
        let Some(record) = parts.scope.record(key(parts, parked.place())).await? else { return Ok(false) };
        remove(parts, "discard", parked, &record).await
    }
}

/// What came of a step that was tried again.
enum Again {
    Sent,
    Refused(String),
    NotNow(String),
}

async fn again(parts: &Parts, what: What) -> Result<Again, Failure> {
    Ok(match what {
        What::Park(reason) => Again::Refused(reason.to_string()),
        What::Publish(to, message) => match parts.queue.publish(vec![Publish::one(to, message)]).await?.pop() {
            Some(Published::Accepted { .. } | Published::Duplicate) => Again::Sent,
            Some(Published::Refused(refusal)) if !refusal.is_retryable() => Again::Refused(refusal.to_string()),
            Some(Published::Refused(refusal)) => Again::NotNow(refusal.to_string()),
            _ => Again::NotNow("the queue's answer was lost".to_owned()),
        },
        What::Reschedule(reschedule) => match parts.queue.reschedule(vec![reschedule]).await?.pop() {
            Some(Rescheduled::Moved | Rescheduled::Cancelled | Rescheduled::TooLate) => Again::Sent,
            Some(Rescheduled::NoSuchTopic) => Again::Refused(NO_TOPIC.to_owned()),
            _ => Again::NotNow("the queue's answer was lost".to_owned()),
        },
    })
}

/// Parks a step; says whether it was new. What was parked once is not parked again, even when it has been sent or given up since.
pub(super) async fn park(parts: &Parts, ticket: &Ticket, reason: &str) -> Result<bool, Failure> {
    let Ticket { place, ref from, .. } = *ticket;
    let parked = ParkedEvent {
        position: place.position,
        nth: (place.nth != Place::WHOLE).then_some(place.nth),
        reason: cut(reason),
        tenant: from.tenant.clone(),
        change: from.change.clone(),
        index: from.index,
        kind: from.kind.to_string(),
        recorded_at: from.recorded_at,
        retries: 0,
    };
    let change = change(parts, "park", place, 0);
    commit(parts, change.insert(key(parts, place), body(&parked), Vec::new())).await
}

/// The first position that is parked, if any.
pub(super) async fn first(parts: &Parts) -> Result<Option<Position>, Failure> {
    Ok(all(parts).await?.first().map(|(_, _, parked)| Position(parked.position)))
}

async fn all(parts: &Parts) -> Result<Vec<(Key, Record, ParkedEvent)>, Failure> {
    let range = Range::prefix(Key::of(PARKED_KIND).text(&parts.name)?);
    let read = |(key, record): (Key, Record)| {
        let parked = record.body.read()?;
        Ok((key, record, parked))
    };
    records(&parts.scope, range).await?.into_iter().map(read).collect()
}

async fn event(parts: &Parts, position: Position) -> Result<Option<LogItem>, Failure> {
    let before = Position(position.0.saturating_sub(1));
    match parts.store().read(before, 1).await {
        Ok(page) => Ok(page.items.into_iter().find(|item| item.position == position)),
        Err(error) if error.kind() == ErrorKind::Purged => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn key(parts: &Parts, place: Place) -> Key {
    let of_relay = Key::of(PARKED_KIND).text(&parts.name).expect("a name of at most 64 bytes");
    of_relay.number(place.position).number(place.nth.into()).build()
}

/// A change that is the same whoever makes it, since it follows from what was seen.
fn change(parts: &Parts, verb: &str, place: Place, version: u64) -> Change {
    let id = format!("relay.{verb}/{}/{}/{}/{version}", parts.name, place.position, place.nth);
    let id = ChangeId::new(&id).expect("at most 150 graphic bytes");
    let fingerprint = Fingerprint::of_bytes("relay.parked", id.as_bytes());
    Change::new(id, fingerprint)
}

async fn remove(parts: &Parts, verb: &str, parked: &ParkedEvent, record: &Record) -> Result<bool, Failure> {
    let place = parked.place();
    commit(parts, change(parts, verb, place, record.version).remove(key(parts, place), record.version)).await
}

/// Whether it is so by this call; a conflict means that somebody else has decided.
async fn commit(parts: &Parts, change: Change) -> Result<bool, Failure> {
    let batch = vec![Commit { tenant: parts.scope.tenant().clone(), change }];
    match parts.store().commit(batch).await.pop() {
        Some(Ok(Outcome::Done(receipt))) => Ok(!receipt.replayed),
        Some(Ok(Outcome::Refused(Refusal::Conflict { .. }))) => Ok(false),
        Some(Ok(Outcome::Refused(refusal))) => Err(Failure::Refused(refusal)),
        Some(Ok(Outcome::Unknown(id))) => Err(Failure::Unknown { id }),
        Some(Err(error)) => Err(error.into()),
        None => Err(txn_store::Error::new(ErrorKind::Corrupt, "the store gave no result for a change").into()),
    }
}

fn cut(reason: &str) -> String {
    let mut end = REASON_MAX.min(reason.len());
    while !reason.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    reason.get(..end).unwrap_or_default().to_owned()
}

//! What a change leaves behind for ever: events, which it states, and entries, which the evaluator writes.

use alloc::vec::Vec;

use crate::{
    body::Body,
    canon::Canon,
    counter::Lanes,
    fingerprint::Fingerprint,
    key::{Key, Term},
    name::{ChangeId, FactId, Label},
    time::Timestamp,
};

/// Something that happened. With an id it is a fact: unique in its tenant, readable by id and by terms, and never a record as well.
///
/// ```
/// use txn_change::{Body, Event, FactId};
/// let plain = Event::new(Body::raw("note.written", 1, b"{}".to_vec()));
/// assert!(plain.id.is_none());
/// let fact = plain.with_id(FactId::new("note.written/n-1")?);
/// assert!(fact.id.is_some());
/// # Ok::<(), txn_change::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The unique id of a fact.
    pub id: Option<FactId>,
    /// What the event is about: events of one subject keep their order.
    pub subject: Option<Key>,
    /// The type (in the past tense) and its payload. Payloads carry ids rather than personal data.
    pub body: Body,
    /// Index entries.
    pub terms: Vec<Term>,
}

impl Event {
    /// An event without id, subject or terms.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { id: None, subject: None, body, terms: Vec::new() }
    }

    /// Makes it a fact.
    #[must_use]
    pub fn with_id(mut self, id: FactId) -> Self {
        self.id = Some(id);
        self
    }

    /// Says what it is about.
    #[must_use]
    pub fn about(mut self, subject: Key) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Adds an index entry.
    #[must_use]
    pub fn with_term(mut self, term: Term) -> Self {
        self.terms.push(term);
        self
    }

    pub(crate) fn write_to(&self, canon: &mut Canon) {
        canon.bytes(self.id.as_deref().unwrap_or_default().as_bytes());
        canon.bytes(self.subject.as_ref().map(Key::as_bytes).unwrap_or_default());
        write_body(&self.body, canon);
        canon.int(self.terms.len() as u64);
        for term in &self.terms {
            canon.bytes(term.as_bytes());
        }
    }
}

/// One addition to a counter that keeps history, as it was applied. Written by the evaluator alone, so that no back-dated addition can falsify a
/// running balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The counter.
    pub counter: Key,
    /// 1, 2, 3 … without gaps, per counter.
    pub sequence: u64,
    /// What was added.
    pub delta: Lanes,
    /// The lanes after it.
    pub after: Lanes,
    /// When it counts, in the business's time.
    pub effective_at: Timestamp,
    /// When it was committed, in the store's time.
    pub recorded_at: Timestamp,
    /// The change that added it.
    pub change: ChangeId,
    /// The label of the addition.
    pub label: Label,
    /// Whether it was forced past a guard: it recorded what had already happened, and left the counter short.
    pub short: bool,
}

impl Entry {
    pub(crate) fn write_to(&self, canon: &mut Canon) {
        canon.bytes(self.counter.as_bytes());
        canon.int(self.sequence);
        for lane in self.delta.0.into_iter().chain(self.after.0) {
            canon.wide(lane);
        }
        canon.int(self.effective_at.as_nanos().cast_unsigned());
        canon.bytes(self.label.as_str().as_bytes());
        canon.int(u64::from(self.short));
    }
}

/// The digest of a committed change: what it asked, what it was answered, and the entries and events it left behind, in order. Stored under its id, so that an
/// audit can prove that nothing of it was edited, swapped or removed. Bodies enter by [`Body::content_digest`], so that erasing one keeps the proof.
#[must_use]
pub fn digest(
    change: &ChangeId,
    fingerprint: Fingerprint,
    answer: &Body,
    recorded_at: Timestamp,
    entries: &[Entry],
    events: &[Event],
) -> [u8; 32] {
    let mut canon = Canon::new();
    canon.bytes(change.as_bytes());
    canon.bytes(&fingerprint.0);
    write_body(answer, &mut canon);
    canon.int(recorded_at.as_nanos().cast_unsigned());
    canon.int(entries.len() as u64);
    for entry in entries {
        entry.write_to(&mut canon);
    }
    canon.int(events.len() as u64);
    for event in events {
        event.write_to(&mut canon);
    }
    canon.digest()
}

fn write_body(body: &Body, canon: &mut Canon) {
    canon.bytes(body.type_name().as_bytes());
    canon.int(u64::from(body.schema()));
    canon.bytes(&body.content_digest());
}

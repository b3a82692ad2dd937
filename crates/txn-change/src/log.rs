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
    view::Stored,
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

    /// Whether it stays for as long as the store: a fact, or an event of txn's own types, which its services and audit read. Any other may be
    /// let go of when it is old.
    ///
    /// ```
    /// use txn_change::{Body, Event, FactId};
    /// let event = Event::new(Body::raw("note.written", 1, b"{}".to_vec()));
    /// assert!(!event.is_lasting());
    /// assert!(event.with_id(FactId::new("note.written/n-1")?).is_lasting());
    /// # Ok::<(), txn_change::NameError>(())
    /// ```
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.id.is_some() || self.body.is_reserved()
    }

    fn write_to(&self, canon: &mut Canon) {
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
/// audit can prove that nothing of it was edited, swapped or removed. Bodies enter by [`Body::content_digest`], so that erasing one keeps the proof, and events that
/// are not lasting by [`passing_digest`], so that letting go of them keeps it too.
#[must_use]
pub fn digest(
    change: &ChangeId,
    fingerprint: Fingerprint,
    answer: &Body,
    recorded_at: Timestamp,
    entries: &[Entry],
    events: &[Event],
) -> [u8; 32] {
    let parts = Parts { change, fingerprint, answer, recorded_at, entries };
    parts.digest(events, &passing_digest(events))
}

/// The digest over those events of a change that are not lasting, each with its place among all of them; zeros when there is none. What is kept of them when
/// they are let go of.
#[must_use]
pub fn passing_digest(events: &[Event]) -> [u8; 32] {
    let mut passing = events.iter().enumerate().filter(|(_, event)| !event.is_lasting()).peekable();
    if passing.peek().is_none() {
        return [0; 32];
    }
    let mut canon = Canon::new();
    for (place, event) in passing {
        canon.int(place as u64);
        event.write_to(&mut canon);
    }
    canon.digest()
}

impl Stored {
    /// Whether the digest is over this id, these entries and these events, each all that is left of the change's, in their order.
    ///
    /// ```
    /// use txn_change::{evaluate, Body, Change, ChangeId, Event, Fingerprint, MapView, Timestamp, Verdict};
    /// let written = Event::new(Body::raw("note.written", 1, b"{}".to_vec()));
    /// let change = Change::new(ChangeId::new("note.write/1")?, Fingerprint::of("note.write", "hello")).append(written.clone());
    /// let Ok(Verdict::Accepted(effects)) = evaluate(&MapView::default(), &change, Timestamp::from_nanos(0)) else { panic!() };
    /// assert!(effects.stored.proves(&change.id, &effects.entries, &[written]));
    /// assert!(!effects.stored.proves(&change.id, &effects.entries, &[]));
    /// # Ok::<(), txn_change::NameError>(())
    /// ```
    #[must_use]
    pub fn proves(&self, change: &ChangeId, entries: &[Entry], events: &[Event]) -> bool {
        let (passing, counts) = match self.passed {
            // Their number is in the digest, by the places of those that have gone.
            Some(_) if events.iter().any(|event| !event.is_lasting()) => return false,
            Some(digest) => (digest, events.len() < self.events as usize),
            None => (passing_digest(events), events.len() == self.events as usize),
        };
        let Self { fingerprint, ref answer, recorded_at, .. } = *self;
        let parts = Parts { change, fingerprint, answer, recorded_at, entries };
        counts && entries.len() == self.entries as usize && parts.digest(events, &passing) == self.digest
    }
}

/// What enters a digest beside the events.
struct Parts<'a> {
    change: &'a ChangeId,
    fingerprint: Fingerprint,
    answer: &'a Body,
    recorded_at: Timestamp,
    entries: &'a [Entry],
}

impl Parts<'_> {
    fn digest(&self, events: &[Event], passing: &[u8; 32]) -> [u8; 32] {
        let mut canon = Canon::new();
        canon.bytes(self.change.as_bytes());
        canon.bytes(&self.fingerprint.0);
        write_body(self.answer, &mut canon);
        canon.int(self.recorded_at.as_nanos().cast_unsigned());
        canon.int(self.entries.len() as u64);
        for entry in self.entries {
            entry.write_to(&mut canon);
        }
        let lasting = || events.iter().filter(|event| event.is_lasting());
        canon.int(lasting().count() as u64);
        for event in lasting() {
            event.write_to(&mut canon);
        }
        canon.bytes(passing);
        canon.digest()
    }
}

fn write_body(body: &Body, canon: &mut Canon) {
    canon.bytes(body.type_name().as_bytes());
    canon.int(u64::from(body.schema()));
    canon.bytes(&body.content_digest());
}

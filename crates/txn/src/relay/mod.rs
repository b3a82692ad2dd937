//! The relay: what the log tells the world. It reads the log, turns events into messages, and hands them to a queue.
//!
//! - **At least once.** An event whose commit was acknowledged is published, parked or skipped by its mapping, whatever crashes in between; the cursor of a lane passes it only then. What is published twice has the
//!   same id and the same dedupe id, so that the queue swallows it within its window, and an [`Inbox`](crate::Inbox) for ever.
//! - **In order.** Messages of events of one subject reach a topic in the order of the log. One for which there is no room holds up those of its subject, and no other, until 8,192 events wait, or the log
//!   has been read 65,536 events beyond the first that does (or 8,192 moves and cancellations were carried out there): as much is read again after a crash.
//! - **Poison is set aside.** What the queue will never take, or the mapping gives up, is [`Parked`] with the reason, and those behind it go on.
//! - **Shared.** The log is divided into lanes, by subject; every lane has its cursor, and is held by one process at a time through [`Leases`]. A process that dies is replaced when its lease is over; one that was
//!   stopped, or whose store hangs, asks nothing of the queue from three quarters of its lease on until it has looked at its leases again, and can acknowledge nothing that another has. What both have published
//!   meanwhile are repetitions.
//! - **Nothing unsent is purged.** The cursors hold the log back; while something is parked, so does one more, `relay/<name>/parked`. Who gives a relay up for good calls [`Relay::retire`].
//!
//! **Moving and cancelling.** A [`Outgoing::Reschedule`] is carried out in its place in the log, so that it finds a message whose event stands before it, even one that was still in the log when the cancellation was
//! committed. Carried out a second time after a crash it could hit a later message under the same key; so before such a message goes, the store is told that the move or cancellation is done with. (A process that hangs *inside* the
//! queue's call for longer than its lease is the exception: a queue's calls carry no token.)
//!
//! **Cost.** A cursor, and a lease, is moved by a change, whose row stays for ever. So cursors are moved once a second at most, and a process renews one record for all of its leases.
//!
//! **Watching it.** A publishing is a span, `txn_relay.publish{messaging.batch.message_count, relay, outcome}`, with the names of OpenTelemetry's conventions.
//!
//! | metric | kind | what |
//! |---|---|---|
//! | `txn_relay_messages_total{relay, outcome}` | counter | `published`, `duplicate`, `rescheduled`, `parked` |
//! | `txn_relay_batch_messages{relay}` | histogram | messages handed to the queue at once |
//! | `txn_relay_lag_events{relay}` | gauge | events that this process has yet to be done with: what it has read, and what the log holds behind that |
//! | `txn_relay_lag_seconds{relay}` | gauge | the age of the oldest that it has read, in the store's time |
//! | `txn_relay_lanes{relay}` | gauge | lanes that this process holds |

mod duties;
mod engine;
mod lag;
mod lane;
mod mapping;
mod observe;
mod parked;
mod reader;
pub(crate) mod send;
mod tenure;

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use txn_change::{Change, ChangeId, Document, Expect, Fingerprint, Key, Kind, NameError, Refusal, Tenant, name};
use txn_queue::{QueueAdmin, Source};
use txn_store::{Commit, Consumer, ErrorKind, Outcome, Scope, Store};

pub use lag::Lag;
pub(crate) use mapping::digested;
pub use mapping::{Everything, Mapping, Origin, Outgoing, Verdict};
pub use parked::{Parked, ParkedEvent, Retried};

use crate::{
    failure::Failure,
    leases::{self, LeaseSet, Leases},
    sleep::Sleep,
};
use engine::Engine;

/// In a shorter time nothing can be renewed, and nothing would be sent.
const LEASE_MIN: Duration = Duration::from_millis(100);
const RELAY_KIND: Kind = Kind::reserved("txn-relay");

name!(
    /// The name of a relay: 1 to 64 bytes of lower-case ASCII letters, digits, `-`, `_` and `.`.
    RelayName, "relay", 64, "a-z, 0-9, '-', '_' and '.'",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
);

/// How a relay was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Begun {
    pub(crate) lanes: u32,
}

impl Document for Begun {
    const TYPE: &'static str = "txn.relay";
    const SCHEMA: u16 = 1;
}

/// From a store's log to a queue. Cheap to clone; every clone is another process, as it were.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use std::sync::Arc;
/// use txn::change::{Body, Change, ChangeId, Event, Fingerprint, Tenant};
/// use txn::queue::{Group, GroupName, GroupSpec, Queue, QueueAdmin, Receive, Topic, TopicSpec, Topology, WorkerId};
/// use txn::relay::{Everything, Relay, RelayName};
/// use txn::store::{Scope, memory::Memory};
/// # pollster::block_on(async {
/// let store = Arc::new(Memory::new());
/// let queue = Arc::new(txn::queue::memory::Memory::new());
/// let notes = Topic::new("notes")?;
/// let group = Group::new(notes.clone(), GroupName::new("mailer")?);
/// queue.declare(Topology::default().topic(TopicSpec::new(notes.clone())).group(GroupSpec::new(group.clone()))).await?;
///
/// let written = Event::new(Body::raw("note.written", 1, br#"{"text":"hello"}"#.to_vec()));
/// let change = Change::new(ChangeId::new("note.write/1")?, Fingerprint::of("note.write", "hello")).append(written);
/// Scope::new(store.clone(), Tenant::default()).commit(change).await?;
///
/// let relay = Relay::builder(store, queue.clone(), RelayName::new("notes")?, Everything::to_topic(notes)).build()?;
/// assert_eq!(relay.run_once().await?.published, 1);
///
/// let receive = Receive { group, worker: WorkerId::new("a-1")?, max: 10, lease: std::time::Duration::from_secs(30) };
/// let message = &queue.receive(receive).await?.deliveries[0].message;
/// assert_eq!(message.id.as_str(), "note.write/1/0");
/// assert_eq!(&*message.data, br#"{"text":"hello"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
#[derive(Clone)]
pub struct Relay {
    parts: Arc<Parts>,
}

/// What a relay is made of.
pub(crate) struct Parts {
    scope: Scope,
    queue: Arc<dyn QueueAdmin>,
    name: RelayName,
    mapping: Arc<dyn Mapping>,
    source: String,
    lanes: u32,
    lease: Duration,
    page_max: usize,
    batch_max: usize,
    buffer_max: usize,
    buffer_bytes_max: usize,
}

/// Builds a [`Relay`].
pub struct Builder {
    parts: Parts,
}

/// What a relay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Pass {
    /// Messages that the queue took.
    pub published: u64,
    /// Messages that it had taken before.
    pub duplicates: u64,
    /// Moves and cancellations that were carried out.
    pub rescheduled: u64,
    /// Messages and events that were parked.
    pub parked: u64,
    /// Events that had been read and were not done when it ended: the queue had no room, or did not answer.
    pub left: u64,
}

impl Builder {
    /// Where messages come from: their source is this, `/`, and the tenant. `/txn` unless said otherwise; two stores that publish to the same topics need two.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.parts.source = source.into();
        self
    }

    /// Into how many lanes the log is divided, and so how many processes can share it: 4 unless said otherwise, 1 to 256. It is fixed with the first run of the name, since the cursors hang on it.
    #[must_use]
    pub fn lanes(mut self, lanes: u32) -> Self {
        self.parts.lanes = lanes.clamp(1, 256);
        self
    }

    /// How long a process that shows no sign of life keeps its lanes: 15 seconds unless said otherwise, 100 milliseconds at least. It renews a record every third of it.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.parts.lease = lease.max(LEASE_MIN);
        self
    }

    /// Messages handed to the queue in one call, at most: 4,096 unless said otherwise. It is lowered by itself when the queue takes fewer.
    #[must_use]
    pub fn batch_max(mut self, messages: usize) -> Self {
        self.parts.batch_max = messages.max(1);
        self
    }

    /// Events that are read and not done, at most, and bytes of their messages: 8,192 and 64 MiB unless said otherwise. A page more may be in memory.
    #[must_use]
    pub fn buffer_max(mut self, events: usize, bytes: usize) -> Self {
        (self.parts.buffer_max, self.parts.buffer_bytes_max) = (events.max(1), bytes.max(1));
        self
    }

    /// Events read at once, at most: 1,000 unless said otherwise. It is lowered by itself when the store gives fewer.
    #[must_use]
    pub fn page_max(mut self, events: usize) -> Self {
        self.parts.page_max = events.max(1);
        self
    }

    /// Finishes.
    ///
    /// # Errors
    /// [`NameError`] when the source is none, or too long to have a tenant behind it.
    pub fn build(self) -> Result<Relay, NameError> {
        let longest = format!("{}/{}", self.parts.source, "t".repeat(Tenant::LENGTH_MAX));
        Source::new(longest)?;
        Ok(Relay { parts: Arc::new(self.parts) })
    }
}

impl Relay {
    /// Begins to build.
    #[must_use]
    pub fn builder(
        store: Arc<dyn Store>,
        queue: Arc<dyn QueueAdmin>,
        name: RelayName,
        mapping: impl Mapping,
    ) -> Builder {
        let parts = Parts {
            scope: Scope::of_services(store, Tenant::default()),
            queue,
            name,
            mapping: Arc::new(mapping),
            source: "/txn".to_owned(),
            lanes: 4,
            lease: Duration::from_secs(15),
            page_max: 1_000,
            batch_max: 4_096,
            buffer_max: 8_192,
            buffer_bytes_max: 64 << 20,
        };
        Builder { parts }
    }

    /// Works until `stop` ends, then finishes what is on its way, acknowledges, and gives its lanes back. Dropped, it has lost nothing: another process takes over when the lease is over.
    ///
    /// ```no_run
    /// # async fn example(relay: txn::Relay, stop: impl Future<Output = ()>) -> Result<(), txn::Failure> {
    /// relay.run(tokio::time::sleep, stop).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What trying again does not help: the store or the queue is closed, what is stored cannot be read, [`Failure::PartsDiffer`]. Everything else is tried again, for ever.
    pub async fn run(&self, sleep: impl Sleep, stop: impl Future<Output = ()>) -> Result<Pass, Failure> {
        let sleep: Arc<dyn Sleep> = Arc::new(sleep);
        let mut stop = pin!(stop);
        while let Err(failure) = self.parts.begin().await {
            if !failure.is_retryable() {
                return Err(failure);
            }
            observe::failed(&self.parts.name, "the relay cannot begin yet", &failure);
            let wait = sleep.sleep(duties::BACKOFF_MAX);
            if let futures_util::future::Either::Right(_) = futures_util::future::select(wait, stop.as_mut()).await {
                return Ok(Pass::default());
            }
        }
        Engine::new(Arc::clone(&self.parts), self.leases(), Some(sleep)).run(stop).await
    }

    /// Does what can be done now: sends what the log holds in the lanes that are free, acknowledges, and leaves. It waits for no room and no event.
    ///
    /// # Errors
    /// As [`Relay::run`]; and when the store does not answer.
    pub async fn run_once(&self) -> Result<Pass, Failure> {
        self.parts.begin().await?;
        Engine::new(Arc::clone(&self.parts), self.leases(), None).run(std::future::pending()).await
    }

    /// What is parked.
    #[must_use]
    pub fn parked(&self) -> Parked<'_> {
        Parked { relay: self }
    }

    /// How far the relay is behind, all of its processes together, by what they have acknowledged.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn lag(&self) -> Result<Lag, Failure> {
        lag::of(&self.parts).await
    }

    /// Gives the relay up: it holds the log back no more, and a relay that is begun under its name later begins where the log begins then, with any number of lanes. To be called when none of its processes runs.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unknown`]: the same again goes on.
    pub async fn retire(&self) -> Result<(), Failure> {
        let parts = &self.parts;
        let prefix = parts.cursor("");
        for (name, _) in Consumer::list(&**parts.store()).await? {
            if name.starts_with(&prefix) {
                Consumer::open(Arc::clone(parts.store()), &name).await?.retire().await?;
            }
        }
        let Some(record) = parts.scope.record(parts.key()).await? else { return Ok(()) };
        parts.commit("retire", |change| change.remove(parts.key(), record.version)).await.map(drop)
    }

    fn leases(&self) -> Leases {
        let set = LeaseSet::new(format!("relay/{}", self.parts.name)).expect("at most 70 bytes");
        Leases::new(Arc::clone(self.parts.store()), set, self.parts.lanes, self.parts.lease)
    }
}

impl Parts {
    fn store(&self) -> &Arc<dyn Store> {
        self.scope.store()
    }

    fn key(&self) -> Key {
        Key::of(RELAY_KIND).text(&self.name).expect("a name of at most 64 bytes").build()
    }

    /// The name of a cursor: a lane's number, or `parked`.
    fn cursor(&self, of: &str) -> String {
        format!("relay/{}/{of}", self.name)
    }

    /// Sees to it that every lane has a cursor, so that nothing of the log is purged before it is read.
    async fn begin(&self) -> Result<(), Failure> {
        loop {
            if let Some(record) = self.scope.record(self.key()).await? {
                let Begun { lanes: stored } = record.body.read()?;
                let (name, asked) = (format!("the relay {}", self.name), self.lanes);
                return if stored == asked { Ok(()) } else { Err(Failure::PartsDiffer { name, stored, asked }) };
            }
            for of in (0..self.lanes).map(|lane| lane.to_string()).chain(["parked".to_owned()]) {
                Consumer::open(Arc::clone(self.store()), &self.cursor(&of)).await?;
            }
            let begun = leases::body(&Begun { lanes: self.lanes });
            let put = |change: Change| change.put(self.key(), Expect::Absent, begun, Vec::new());
            // Whoever was first has it; look again.
            self.commit("begin", put).await?;
        }
    }

    /// Commits a change under an id of its own; false when something stands elsewhere.
    async fn commit(&self, verb: &str, with: impl FnOnce(Change) -> Change) -> Result<bool, Failure> {
        let id = ChangeId::new(format!("relay.{verb}/{}/{}", self.name, crate::new_uuid())).expect("at most 130 bytes");
        let change = with(Change::new(id.clone(), Fingerprint::of_bytes("relay", id.as_bytes())));
        let batch = vec![Commit { tenant: self.scope.tenant().clone(), change }];
        match self.store().commit(batch).await.pop() {
            Some(Ok(Outcome::Done(_))) => Ok(true),
            Some(Ok(Outcome::Refused(Refusal::Conflict { .. }))) => Ok(false),
            Some(Ok(Outcome::Refused(refusal))) => Err(Failure::Refused(refusal)),
            Some(Ok(Outcome::Unknown(id))) => Err(Failure::Unknown { id }),
            Some(Err(error)) => Err(error.into()),
            None => Err(txn_store::Error::new(ErrorKind::Corrupt, "the store gave no result for a change").into()),
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("name", &self.parts.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.parts.name).finish_non_exhaustive()
    }
}

//! The relay on every store: what is sent, in which order, once and again; what it does when the queue, the store or the process fails.

mod crash;
mod flaky;
mod full;
mod observe;
mod park;
#[cfg(feature = "servers")]
pub(crate) mod postgres;
mod run;
mod schedule;
mod shared;
mod stall;

pub(crate) use flaky::{Dice, FlakyStore};
pub(crate) use run::Down;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pollster::block_on;
use txn::{
    change::{Body, Change, ChangeId, Event, Fingerprint, Key, Kind, Tenant},
    queue::{
        self, Group, GroupName, GroupSpec, Message, Queue, QueueAdmin, Receive, Topic, TopicSpec, Topology, WorkerId,
    },
    relay::{Everything, Relay, RelayName},
    store::{ManualClock, Outcome, Scope, Store, StoreAdmin, StoreLimits, memory::Memory, sqlite::Sqlite},
};

/// A store and a queue, each with a clock of its own in hand.
pub(crate) struct World {
    pub(crate) store: Arc<dyn StoreAdmin>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) queue: Arc<queue::memory::Memory>,
    pub(crate) queue_clock: Arc<ManualClock>,
    _folder: Option<tempfile::TempDir>,
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2030-01-01T00:00:00Z".parse().unwrap()))
}

pub(crate) fn worlds() -> Vec<World> {
    vec![
        in_memory(),
        on_sqlite(),
        #[cfg(feature = "servers")]
        on_postgres(),
    ]
}

#[cfg(feature = "servers")]
fn on_postgres() -> World {
    let clock = clock();
    World::over(postgres::store(&clock), clock, None)
}

pub(crate) fn in_memory() -> World {
    let clock = clock();
    World::over(Arc::new(Memory::with(Arc::clone(&clock) as _, StoreLimits::default())), clock, None)
}

pub(crate) fn on_sqlite() -> World {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let sqlite = Sqlite::options(folder.path().join("shop.db")).clock(Arc::clone(&clock) as _).open().unwrap();
    World::over(Arc::new(sqlite), clock, Some(folder))
}

/// A world for each seed of a test: all in memory but the last few.
pub(crate) fn seeded(seeds: u64, on_disk: u64) -> impl Iterator<Item = (u64, World)> {
    let world = move |seed: u64| match seed.checked_sub(seeds) {
        None => in_memory(),
        #[cfg(feature = "servers")]
        Some(more) if more >= on_disk => on_postgres(),
        Some(_) => on_sqlite(),
    };
    let all = if cfg!(feature = "servers") { seeds + on_disk + on_disk } else { seeds + on_disk };
    (0..all).map(move |seed| (seed, world(seed)))
}

pub(crate) fn topic() -> Topic {
    Topic::new("notes").unwrap()
}

pub(crate) fn group() -> Group {
    Group::new(topic(), GroupName::new("reader").unwrap())
}

/// An event about `subject` that says `text`.
pub(crate) fn event(subject: &str, text: &str) -> Event {
    let body = Body::raw("note.written", 1, format!("{text:?}").into_bytes());
    let subject = Key::of(Kind::new("note").unwrap()).text(subject).unwrap().build();
    Event::new(body).about(subject)
}

impl World {
    fn over(store: Arc<dyn StoreAdmin>, clock: Arc<ManualClock>, folder: Option<tempfile::TempDir>) -> Self {
        let queue_clock = self::clock();
        let queue = queue::memory::Memory::with(Arc::clone(&queue_clock) as _, queue::QueueLimits::default());
        let world = Self { store, clock, queue: Arc::new(queue), queue_clock, _folder: folder };
        world.declare(TopicSpec::new(topic()));
        world
    }

    pub(crate) fn declare(&self, topic: TopicSpec) {
        let group = GroupSpec::new(Group::new(topic.topic.clone(), group().name().clone()));
        block_on(self.queue.declare(Topology::default().topic(topic).group(group))).unwrap();
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as _
    }

    pub(crate) fn write(&self, id: &str, events: Vec<Event>) {
        self.write_for("default", id, events);
    }

    pub(crate) fn write_for(&self, tenant: &str, id: &str, events: Vec<Event>) {
        let scope = Scope::new(self.store(), Tenant::new(tenant).unwrap());
        let change = Change::new(ChangeId::new(id).unwrap(), Fingerprint::of("note.write", id));
        let change = events.into_iter().fold(change, Change::append);
        assert!(matches!(block_on(scope.commit(change)), Ok(Outcome::Done(_))), "{id}");
    }

    pub(crate) fn relay(&self) -> Relay {
        self.relay_to(Arc::clone(&self.queue) as _)
    }

    pub(crate) fn relay_to(&self, queue: Arc<dyn QueueAdmin>) -> Relay {
        let name = RelayName::new("notes").unwrap();
        Relay::builder(self.store(), queue, name, Everything::to_topic(topic())).build().unwrap()
    }

    /// Everything that a group is given, in the order of its delivery; each is acknowledged.
    pub(crate) fn received(&self) -> Vec<Arc<Message>> {
        self.received_from(&topic())
    }

    pub(crate) fn received_from(&self, topic: &Topic) -> Vec<Arc<Message>> {
        let group = Group::new(topic.clone(), group().name().clone());
        let mut all = Vec::new();
        loop {
            let worker = WorkerId::new("a-1").unwrap();
            let receive = Receive { group: group.clone(), worker, max: 256, lease: Duration::from_secs(30) };
            let received = block_on(self.queue.receive(receive)).unwrap();
            if received.deliveries.is_empty() {
                return all;
            }
            let ack = |delivery: &queue::Delivery| queue::Settle { lease: delivery.lease, action: queue::Action::Ack };
            let acks = received.deliveries.iter().map(ack).collect();
            block_on(self.queue.settle(&group, acks)).unwrap();
            all.extend(received.deliveries.into_iter().map(|delivery| delivery.message));
        }
    }

    /// The lease of a process that is dead is over.
    pub(crate) fn pass_lease(&self) {
        self.clock.advance(Duration::from_secs(16));
    }
}

/// The texts of messages, by what they are about.
pub(crate) fn texts(messages: &[Arc<Message>]) -> BTreeMap<String, Vec<String>> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in messages {
        let subject = message.subject.as_deref().unwrap_or_default().to_owned();
        texts.entry(subject).or_default().push(String::from_utf8(message.data.to_vec()).unwrap());
    }
    texts
}

#[test]
fn an_event_is_a_cloud_event_with_the_ids_of_its_change() {
    for world in worlds() {
        world.write_for("shop", "note.write/1", vec![event("a", "one"), event("a", "two")]);
        world.write_for("other", "note.write/1", vec![event("a", "three")]);
        let pass = block_on(world.relay().run_once()).unwrap();
        assert_eq!((pass.published, pass.duplicates, pass.left), (3, 0, 0));
        let messages = world.received();
        let of = |tenant: &str| {
            let messages = messages.iter().filter(|message| message.source.as_str() == format!("/txn/{tenant}"));
            messages.map(|message| (message.id.to_string(), message.data.to_vec())).collect::<Vec<_>>()
        };
        let expected = [("note.write/1/0", b"\"one\"".to_vec()), ("note.write/1/1", b"\"two\"".to_vec())];
        assert_eq!(of("shop"), expected.map(|(id, data)| (id.to_owned(), data)));
        assert_eq!(of("other"), [("note.write/1/0".to_owned(), b"\"three\"".to_vec())]);
        let first = &messages[0];
        assert_eq!(first.kind.as_str(), "note.written");
        assert_eq!(first.key.as_deref(), Some("note/a"));
        assert_eq!(first.causation_id.as_deref(), Some("note.write/1"));
        assert_eq!(first.content_type.as_deref(), Some("application/json"));
        assert_eq!(first.time, Some("2030-01-01T00:00:00Z".parse().unwrap()));
        // Nothing is sent again, by this relay or by another of its name.
        let pass = block_on(world.relay().run_once()).unwrap();
        assert_eq!((pass.published, pass.duplicates), (0, 0));
    }
}

/// Ids are made of the change and the place in it, so that the events behind a page's end, or behind a crash in the midst of a change, are not called otherwise.
#[test]
fn ids_are_the_same_wherever_a_page_ends() {
    for page in [1, 2, 3, 100] {
        for world in worlds() {
            world.write("a", (0..5).map(|n| event("x", &n.to_string())).collect());
            world.write("b", (0..3).map(|n| event("x", &n.to_string())).collect());
            let name = RelayName::new("notes").unwrap();
            let queue = Arc::clone(&world.queue) as _;
            let builder = Relay::builder(world.store(), queue, name, Everything::to_topic(topic()));
            block_on(builder.page_max(page).buffer_max(2, 1 << 20).build().unwrap().run_once()).unwrap();
            let ids: Vec<String> = world.received().iter().map(|message| message.id.to_string()).collect();
            assert_eq!(ids, ["a/0", "a/1", "a/2", "a/3", "a/4", "b/0", "b/1", "b/2"], "pages of {page}");
        }
    }
}

#[test]
fn another_number_of_lanes_is_refused_until_the_relay_is_retired() {
    for world in worlds() {
        world.write("1", vec![event("a", "one")]);
        block_on(world.relay().run_once()).unwrap();
        let with = |lanes: u32| {
            let name = RelayName::new("notes").unwrap();
            let queue = Arc::clone(&world.queue) as _;
            Relay::builder(world.store(), queue, name, Everything::to_topic(topic())).lanes(lanes).build().unwrap()
        };
        let error = block_on(with(8).run_once()).unwrap_err();
        assert!(matches!(error, txn::Failure::PartsDiffer { stored: 4, asked: 8, .. }), "{error}");
        block_on(with(8).retire()).unwrap();
        let names = block_on(txn::store::Consumer::list(&*world.store())).unwrap();
        assert_eq!(names, []);
        world.write("2", vec![event("a", "two")]);
        let pass = block_on(with(8).run_once()).unwrap();
        // What the log still holds is a repetition.
        assert_eq!((pass.published, pass.duplicates), (1, 1));
    }
}

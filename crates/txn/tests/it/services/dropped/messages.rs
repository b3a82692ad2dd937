//! The way of a message: leases, relay, what it parked, inbox.

use std::convert::Infallible;

use txn::{
    Inbox, Leases, Relay,
    change::{Body, Change, ChangeId, Event, Fingerprint},
    core::Context as Decided,
    inbox::Applied,
    leases::LeaseSet,
    queue::{
        GroupName, Message, MessageId, MessageType, QueueAdmin, Source, Topic, TopicSpec, Topology, memory::Memory,
    },
    relay::{Origin, RelayName, Verdict},
    store::{Scope, Snapshot},
};

use super::*;

fn nothing(context: &Decided, _: &Snapshot) -> Result<Change, Infallible> {
    Ok(Change::new(context.id.clone(), context.fingerprint))
}

/// Two notes of a round are sent, and one of them turns out to be poison; everything else in the log is nobody's.
fn mapping(origin: &Origin<'_>) -> Verdict {
    let message = origin.message().unwrap();
    match &*message.kind {
        "note.good" => Verdict::topic(Topic::new("notes").unwrap(), message),
        "note.bad" => Verdict::Poison("it makes no sense".into()),
        _ => Verdict::Skip,
    }
}

pub(super) async fn messages(world: &World, round: &mut Round) {
    let n = round.polls;
    // A log of its own: a relay that is begun anew reads it from its beginning.
    let own: Arc<dyn txn::store::Store> =
        Arc::new(txn::store::memory::Memory::with(world.clock.clone(), txn::store::StoreLimits::default()));
    let store = || Arc::clone(&own);
    let lease = Duration::from_secs(30);
    // Whoever was dropped with leases in hand keeps nobody out for longer than they last.
    let rest = || world.clock.advance(lease * 2);

    let mut leases = Leases::new(store(), LeaseSet::new("dropped").unwrap(), 3, lease);
    call!(round, "Leases::keep", leases.keep());
    call!(round, "Leases::release", leases.release(&[0]));
    call!(round, "Leases::leave", leases.leave());
    rest();

    let scope = Scope::new(store(), txn::Tenant::new("notes").unwrap());
    let id = ChangeId::new(format!("note/{n}")).unwrap();
    let event = |name: &str| Event::new(Body::raw(name, 1, b"{}".to_vec()));
    let change = Change::new(id, Fingerprint::of("note", &n));
    scope.commit(change.append(event("note.good")).append(event("note.bad")).append(event("note.bad"))).await.unwrap();

    let queue = Arc::new(Memory::new());
    let topic = Topic::new("notes").unwrap();
    queue.declare(Topology::default().topic(TopicSpec::new(topic.clone()))).await.unwrap();
    let relay = || {
        let name = RelayName::new(format!("r-{n}")).unwrap();
        Relay::builder(store(), Arc::clone(&queue) as _, name, mapping).lease(lease).build().unwrap()
    };
    let no_time = |_: Duration| std::future::ready(());
    call!(round, "Relay::run", relay().run(no_time, std::future::ready(())));
    rest();
    call!(round, "Relay::run_once", relay().run_once());
    rest();
    relay().run_once().await.unwrap();
    assert_eq!(queue.stats().await.unwrap().topics[&topic].messages, 1, "each note once");
    call!(round, "Relay::lag", relay().lag());
    let relay = relay();
    let parked = call!(round, "Parked::list", relay.parked().list());
    assert_eq!(parked.len(), 2);
    call!(round, "Parked::retry", relay.parked().retry(&parked[0]));
    call!(round, "Parked::discard", relay.parked().discard(&parked[1]));
    call!(round, "Relay::retire", relay.retire());

    let inbox = Inbox::new(scope, GroupName::new("readers").unwrap());
    let kind = MessageType::new("note.good").unwrap();
    let message = Message::new(MessageId::new(format!("m-{n}")).unwrap(), Source::new("/notes").unwrap(), kind);
    let applied = call!(round, "Inbox::apply", inbox.apply(&message, inbox.ask(), nothing));
    let again: Applied = inbox.apply(&message, inbox.ask(), nothing).await.unwrap();
    assert!(again.is_duplicate() && again.answer() == applied.answer());
    call!(round, "Inbox::reprocess", inbox.reprocess(&message, "ann", inbox.ask(), nothing));
}

//! From an order to its effect: a relay brings the event of an order to a queue, a worker gives a loyalty point for it, and a mailer hears of the point. A worker dies with every message in its hands; each
//! order has one point all the same.
//!
//! `main.rs` reads arguments and prints; everything else is here, so that a test can call it.

pub mod backends;
mod points;

use std::{
    error,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use tokio::sync::{Semaphore, oneshot};
use txn::{
    Inbox, InertGateway, Relay, Tenant, Txn,
    core::{
        id::{CustomerId, HoldId, LocationId, OrderId, PaymentId, Sku},
        money::{Currency, Money},
        order::{NewLine, PlaceOrder, Placed},
        quantity::Quantity,
    },
    queue::{
        Control, Criterion, ExchangeKind, ExchangeName, Group, GroupName, GroupSpec, MessageType, Queue, RoutingKey,
        Topic, TopicSpec, Topology, WorkerId,
        worker::{Class, Failure, Handlers, Job, Worker},
    },
    relay::{Everything, RelayName},
    store::Store,
};

/// Whatever goes wrong: an example has no use for the difference.
pub type Error = Box<dyn error::Error + Send + Sync>;

/// What was counted, how many there are, and how many there should be.
pub type Line = (&'static str, u64, u64);

/// Orders of the demo, and who orders, in turn.
const ORDERS: u32 = 20;
const CUSTOMERS: [&str; 4] = ["ann", "bob", "carol", "dave"];

#[derive(Default)]
struct Tally {
    redelivered: AtomicU64,
    applied: AtomicU64,
    duplicates: AtomicU64,
}

/// Places orders and follows each to its effect. Run again on the same backends, it finds every order placed, and gives nothing more. It waits for messages that do not come for as long as it is let.
///
/// # Errors
/// What the backends say.
pub async fn app((store, queue): backends::Backends) -> Result<Vec<Line>, Error> {
    let (exchange, placed, earned) = (ExchangeName::new("events")?, "order.placed", "point.earned");
    let loyalty = Group::new(Topic::new("orders")?, GroupName::new("loyalty")?);
    let mailer = Group::new(Topic::new("points")?, GroupName::new("mailer")?);
    let mut topology = Topology::default().exchange(exchange.clone(), ExchangeKind::Direct);
    for (group, event) in [(&loyalty, placed), (&mailer, earned)] {
        let (topic, key) = (group.topic().clone(), Criterion::Key(RoutingKey::new(event)?));
        topology = topology.topic(TopicSpec::new(topic.clone())).group(GroupSpec::new(group.clone()));
        topology = topology.bind(exchange.clone(), key, topic);
    }
    queue.declare(topology).await?;
    let (log, everything) = (Arc::clone(&store) as Arc<dyn Store>, Everything::to_exchange(exchange));
    let relay = Relay::builder(log, Arc::clone(&queue), RelayName::new("events")?, everything).build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let relaying = tokio::spawn(async move { relay.run(tokio::time::sleep, async { drop(stopped.await) }).await });

    let txn = Txn::builder(store, Arc::new(InertGateway::default())).build();
    let scope = txn.tenant(Tenant::default()).scope();
    let new = place(&txn).await?;
    let (tally, handled) = (Arc::new(Tally::default()), Arc::new(Semaphore::new(0)));
    let inbox = Inbox::new(scope.clone(), loyalty.name().clone());
    let handlers = Handlers::new().on(MessageType::new(placed)?, earning(inbox, &tally, &handled));
    let plain = Arc::clone(&queue) as Arc<dyn Queue>;

    // A worker gives all the points, and is killed before it has acknowledged anything. What it held goes to the next.
    let doomed = WorkerId::new(txn::new_uuid().to_string())?;
    let worker = Worker::new(Arc::clone(&plain), loyalty.clone()).id(doomed.clone()).concurrency(64);
    let working = tokio::spawn(worker.run(handlers.clone(), pending()));
    drop(handled.acquire_many(new).await?);
    working.abort();
    drop(working.await);
    queue.control(Control::Rescue(doomed)).await?;
    let again = async { drop(handled.acquire_many(new.saturating_mul(2)).await) };
    let acknowledged = Worker::new(Arc::clone(&plain), loyalty).run(handlers, again).await?.done;

    let sent = Arc::new(Semaphore::new(0));
    let mailing = Arc::clone(&sent);
    let handlers = Handlers::new().on(MessageType::new(earned)?, move |_: points::Earned, _: Job| {
        mailing.add_permits(1);
        async { Ok::<(), Failure>(()) }
    });
    let mailed = Worker::new(plain, mailer).run(handlers, async { drop(sent.acquire_many(new).await) }).await?.done;
    drop(stop);
    let published = relaying.await??.published;

    let (delivered, new, mut lines) = (u64::try_from(handled.available_permits())?, u64::from(new), Vec::new());
    let twice = new.saturating_mul(2);
    lines.extend([
        ("orders placed (each asked for twice)", new, if new == 0 { 0 } else { ORDERS.into() }),
        ("events published by the relay", published, twice),
        ("messages delivered to workers", delivered, twice),
        ("  redelivered, since a worker died", tally.redelivered.load(SeqCst), new),
        ("  effects applied", tally.applied.load(SeqCst), new),
        ("  duplicates swallowed by the inbox", tally.duplicates.load(SeqCst), new),
        ("messages acknowledged", acknowledged, new),
        ("follow-up events that came to the mailer", mailed, new),
    ]);
    let each = u64::from(ORDERS / 4);
    let shown = ["points of ann", "points of bob", "points of carol", "points of dave"];
    for (customer, shown) in CUSTOMERS.into_iter().zip(shown) {
        lines.push((shown, points::points(&scope, customer).await?, each));
    }
    lines.push(("violations found by the audit", txn.verify().await?.violations_total, 0));
    Ok(lines)
}

/// Places each order twice, as an impatient customer does. How many were new.
async fn place(txn: &Txn) -> Result<u32, Error> {
    let shop = txn.tenant(Tenant::default());
    let mut new = 0_u32;
    for (number, customer) in (1..=ORDERS).zip(CUSTOMERS.into_iter().cycle()) {
        let price = Money::parse("3.50", Currency::USD)?;
        let order = PlaceOrder {
            order: OrderId::new(format!("o-{number}"))?,
            customer: Some(CustomerId::new(customer)?),
            currency: Currency::USD,
            location: LocationId::new("main")?,
            hold: HoldId::new(format!("h-{number}"))?,
            payment: PaymentId::new(format!("p-{number}"))?,
            expires_at: None,
            lines: vec![NewLine { sku: Sku::new("tea")?, quantity: Quantity::new(1)?, price }],
        };
        for _ in 0..2 {
            new = new.saturating_add(u32::from(!shop.orders().place(&order).await?.replayed()));
        }
    }
    Ok(new)
}

/// The handler of an order: a point, through the inbox. Whoever has a message for the first time never comes to acknowledge it.
fn earning(
    inbox: Inbox,
    tally: &Arc<Tally>,
    handled: &Arc<Semaphore>,
) -> impl Fn(Placed, Job) -> Handling + Send + Sync + 'static {
    let (tally, handled) = (Arc::clone(tally), Arc::clone(handled));
    move |placed, job| {
        let (inbox, tally, handled) = (inbox.clone(), Arc::clone(&tally), Arc::clone(&handled));
        Box::pin(async move {
            let applied = inbox.apply(job.message(), inbox.ask(), |context, _| points::earn(context, &placed)).await;
            let applied = applied.map_err(|unapplied| {
                let class = if unapplied.is_retryable() { Class::Retry } else { Class::Fatal };
                Failure::new(class, unapplied.to_string())
            })?;
            let counted = if applied.is_duplicate() { &tally.duplicates } else { &tally.applied };
            counted.fetch_add(1, SeqCst);
            tally.redelivered.fetch_add(u64::from(job.deliveries() > 1), SeqCst);
            handled.add_permits(1);
            if job.deliveries() == 1 { pending().await } else { Ok(()) }
        })
    }
}

type Handling = std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

//! Processes that die anywhere, or stand still for longer than their lease and go on, over a queue and a store that fail before and after they did what they were asked. What comes out is compared with what was committed.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Waker},
};

use txn::{
    Failure, Relay,
    queue::{Reschedule, ScheduleKey, When},
    relay::{Origin, Outgoing, Pass, Verdict},
};

use super::{
    flaky::{Dice, FlakyQueue, FlakyStore, pause},
    *,
};

/// What an event's text says: `say`, `later <key>`, `move <key>`, `cancel <key>`.
fn mapping(origin: &Origin<'_>) -> Verdict {
    let text: String = serde_json::from_slice(origin.recorded().event.body.bytes()).unwrap();
    let message = origin.message().unwrap();
    let due: txn::change::Timestamp = "2031-01-01T00:00:00Z".parse().unwrap();
    let mut words = text.split(' ');
    let (verb, key) = (words.next().unwrap(), words.next().and_then(|key| ScheduleKey::new(key).ok()));
    let reschedule = |due| Verdict::reschedule(Reschedule { topic: topic(), key: key.clone().unwrap(), due });
    match verb {
        "say" => Verdict::topic(topic(), message),
        "later" => Verdict::topic(topic(), message.due_at(due).schedule_key(key.unwrap())),
        "move" => reschedule(Some(When::At(due.after(Duration::from_secs(60)).unwrap()))),
        "cancel" => reschedule(None),
        // Both in one event: the one that waits goes, and another comes in its place.
        "again" => Verdict::Send(vec![
            Outgoing::Reschedule(Reschedule { topic: topic(), key: key.clone().unwrap(), due: None }),
            Outgoing::Publish {
                to: queue::Address::Topic(topic()),
                message: Arc::new(message.due_at(due).schedule_key(key.unwrap())),
            },
        ]),
        _ => panic!("{text}"),
    }
}

/// What should be delivered in the end, by subject.
#[derive(Default)]
struct Model {
    said: BTreeMap<String, Vec<String>>,
    waiting: BTreeMap<String, String>,
    count: usize,
}

impl Model {
    /// A change with some events, over six subjects.
    fn write(&mut self, world: &World, dice: &Dice, schedules: bool) {
        let id = format!("change-{}", self.count);
        self.count += 1;
        let mut events = Vec::new();
        for index in 0..1 + dice.below(3) {
            let subject = format!("s{}", dice.below(6));
            let name = format!("note/{subject}");
            let message = format!("{id}/{index}");
            let text = match dice.below(if schedules { 6 } else { 1 }) {
                1 if !self.waiting.contains_key(&name) => {
                    self.waiting.insert(name, message);
                    format!("later {subject}")
                }
                2 => format!("move {subject}"),
                3 => {
                    self.waiting.remove(&name);
                    format!("cancel {subject}")
                }
                4 => {
                    self.waiting.insert(name, format!("{message}.1"));
                    format!("again {subject}")
                }
                _ => {
                    self.said.entry(name).or_default().push(message);
                    "say".to_owned()
                }
            };
            events.push(event(&subject, &text));
        }
        world.write(&id, events);
    }
}

type Process = Pin<Box<dyn Future<Output = Result<Pass, Failure>>>>;

struct Setting<'a> {
    world: &'a World,
    queue: Arc<FlakyQueue>,
    store: Arc<FlakyStore>,
}

impl<'a> Setting<'a> {
    fn new(world: &'a World, dice: &Arc<Dice>) -> Self {
        let queue =
            FlakyQueue { queue: Arc::clone(&world.queue), dice: Arc::clone(dice), is_well: AtomicBool::new(false) };
        let store = FlakyStore { store: world.store(), dice: Arc::clone(dice), is_well: AtomicBool::new(false) };
        Self { world, queue: Arc::new(queue), store: Arc::new(store) }
    }

    fn relay(&self) -> Relay {
        let (name, queue) = (RelayName::new("notes").unwrap(), Arc::clone(&self.queue) as _);
        let builder = Relay::builder(Arc::clone(&self.store) as _, queue, name, mapping);
        builder.page_max(7).batch_max(5).buffer_max(12, 1 << 20).lanes(3).build().unwrap()
    }

    fn process(&self) -> Process {
        let relay = self.relay();
        Box::pin(async move { relay.run(|_| pause(), std::future::pending()).await })
    }

    /// Everything is well again: what is left is sent, and all of it is looked at.
    fn settle(&self, model: &Model, seed: u64) {
        self.queue.is_well.store(true, Ordering::SeqCst);
        self.store.is_well.store(true, Ordering::SeqCst);
        self.world.pass_lease();
        let relay = self.relay();
        assert_eq!(block_on(relay.run_once()).unwrap().left, 0, "seed {seed}");
        let lag = block_on(relay.lag()).unwrap();
        assert_eq!((lag.events, lag.oldest_age), (0, None), "seed {seed}");
        assert_eq!(block_on(relay.parked().list()).unwrap(), [], "seed {seed}");
        assert_eq!(block_on(txn::audit::verify(&*self.world.store)).unwrap().violations, [], "seed {seed}");
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for message in self.world.received() {
            let subject = message.subject.as_deref().unwrap().to_owned();
            found.entry(subject).or_default().push(message.id.to_string());
        }
        assert_eq!(found, model.said, "seed {seed}");
        self.world.queue_clock.advance(Duration::from_secs(2 * 365 * 24 * 3_600));
        let late = self.world.received();
        let late: Vec<(String, String)> = late
            .iter()
            .map(|message| (message.subject.as_deref().unwrap().to_owned(), message.id.to_string()))
            .collect();
        let mut expected: Vec<_> = model.waiting.clone().into_iter().collect();
        let mut late = late;
        late.sort();
        expected.sort();
        // The message of an event that does two things has the first's name.
        let plain = |list: Vec<(String, String)>| {
            list.into_iter().map(|(subject, id)| (subject, id.trim_end_matches(".1").to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(plain(late), plain(expected), "seed {seed}");
    }
}

fn is_over(process: &mut Process) -> bool {
    let result = process.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(!matches!(&result, std::task::Poll::Ready(Err(_))), "{result:?}");
    result.is_ready()
}

/// Cases Q22 and Q39. A process dies at any await point, one after another; messages are scheduled, moved and cancelled meanwhile. Nothing is lost, doubled, out of order, or hit by a cancellation that was meant for another.
#[test]
fn processes_that_die_anywhere_lose_and_double_nothing() {
    for (seed, world) in seeded(150, 4) {
        let dice = Arc::new(Dice::new(seed));
        let (setting, mut model) = (Setting::new(&world, &dice), Model::default());
        for _ in 0..14 {
            for _ in 0..dice.below(4) {
                model.write(&world, &dice, true);
            }
            let mut process = setting.process();
            for _ in 0..dice.below(160) {
                is_over(&mut process);
            }
            drop(process);
            world.pass_lease();
        }
        setting.settle(&model, seed);
    }
}

/// Case Q23. Several processes share the lanes; some stand still for longer than their lease and go on as if nothing had happened, some die. Each message is taken once, and in its order.
#[test]
fn processes_that_share_and_outstay_their_leases_double_nothing() {
    for (seed, world) in seeded(150, 4) {
        let dice = Arc::new(Dice::new(seed));
        let (setting, mut model) = (Setting::new(&world, &dice), Model::default());
        let mut processes: Vec<Process> = (0..3).map(|_| setting.process()).collect();
        for _ in 0..40 {
            let chosen = dice.choose(3);
            match dice.below(12) {
                0 => processes[chosen] = setting.process(),
                1 | 2 => world.clock.advance(Duration::from_secs(6)),
                3 | 4 => model.write(&world, &dice, false),
                _ => {
                    for _ in 0..dice.below(60) {
                        is_over(&mut processes[chosen]);
                    }
                }
            }
        }
        drop(processes);
        setting.settle(&model, seed);
    }
}

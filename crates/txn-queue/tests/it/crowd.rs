//! Many publish, receive, settle and give up at once, and nobody knows a model of it: what was told must fit together.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

use txn_change::Timestamp;
use txn_queue::{
    Action, Address, Clock as _, DedupeId, Error, Group, GroupName, GroupSpec, Key, Lease, Message, MessageId,
    MessageType, Publish, Published, QueueAdmin, Receive, Settle, Settled, Source, SystemClock, Topic, TopicSpec,
    Topology, WorkerId, conformance::block_on, sqlite::Sqlite,
};

const PUBLISHERS: usize = 3;
const WORKERS: usize = 4;
const MESSAGES: usize = 60;
const KEYS: usize = 7;
const LEASE: Duration = Duration::from_millis(150);
/// How long may take what takes seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A queue as some processes have it open; handles come and go.
pub(crate) struct Crowd {
    handles: RwLock<Vec<Arc<dyn QueueAdmin>>>,
    told: Mutex<Told>,
    accepted: AtomicUsize,
    group: Group,
    /// The server forgets who holds what, once or more.
    forgets: bool,
}

/// What callers were told.
#[derive(Default)]
struct Told {
    deliveries: Vec<Told1>,
    /// Messages that were acknowledged, and said to be.
    acked: Vec<String>,
    /// Messages of which nobody knows, since the call was dropped or its answer was lost.
    unknown: HashSet<String>,
    /// Tokens whose settlement was applied.
    ended: HashSet<u64>,
    calls_failed: usize,
}

struct Told1 {
    id: String,
    key: usize,
    position: u64,
    token: u64,
    count: u32,
    until: Timestamp,
}

/// Numbers by chance, the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Polls once and drops it, as a caller does that is gone.
fn give_up<T>(future: impl Future<Output = T>) {
    let mut future = pin!(future);
    let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

impl Crowd {
    pub(crate) fn new(handles: Vec<Arc<dyn QueueAdmin>>) -> Self {
        let topic = Topic::new("crowd").unwrap();
        let group = Group::new(topic.clone(), GroupName::new("workers").unwrap());
        let deliveries_max = std::num::NonZeroU32::new(4).unwrap();
        let spec = GroupSpec { deliveries_max, ..GroupSpec::new(group.clone()) };
        let reader = Group::new(spec.dead_letter_topic(), GroupName::new("people").unwrap());
        let topology = Topology::default().topic(TopicSpec::new(topic)).group(spec).group(GroupSpec::new(reader));
        // The first group makes the topic that the second reads.
        while let Err(error) = block_on(handles[0].declare(topology.clone())) {
            assert!(is_passing(&error), "{error}");
        }
        Self {
            handles: RwLock::new(handles),
            told: Mutex::default(),
            accepted: AtomicUsize::new(0),
            group,
            forgets: false,
        }
    }

    fn handle(&self, random: &mut Random) -> Arc<dyn QueueAdmin> {
        let handles = self.handles.read().unwrap();
        let at = usize::try_from(random.below(handles.len() as u64)).unwrap();
        Arc::clone(&handles[at])
    }

    /// One process ends, and another begins.
    #[cfg(feature = "servers")]
    pub(crate) fn replace(&self, at: usize, open: impl FnOnce() -> Arc<dyn QueueAdmin>) {
        let new = open();
        let old = std::mem::replace(&mut self.handles.write().unwrap()[at], new);
        drop(old);
    }

    pub(crate) fn is_published(&self) -> bool {
        self.accepted.load(Ordering::SeqCst) == PUBLISHERS * MESSAGES
    }

    /// How many calls failed or had no answer.
    #[cfg(feature = "servers")]
    pub(crate) fn hits(&self) -> usize {
        self.told.lock().unwrap().calls_failed
    }

    /// Runs until everything is settled, while `meanwhile` does harm.
    pub(crate) fn run(&self, meanwhile: impl FnOnce(&Self) + Send) {
        thread::scope(|scope| {
            for publisher in 0..PUBLISHERS {
                scope.spawn(move || self.publish(publisher));
            }
            for worker in 0..WORKERS {
                scope.spawn(move || self.work(worker));
            }
            scope.spawn(move || meanwhile(self));
        });
        self.check();
    }

    fn failed(&self) {
        self.told.lock().unwrap().calls_failed += 1;
        thread::sleep(Duration::from_millis(5));
    }

    fn publish(&self, publisher: usize) {
        let mut random = Random(0x5eed + publisher as u64);
        let begun = Instant::now();
        for number in 0..MESSAGES {
            let id = format!("{publisher}-{number}");
            let (source, kind) = (Source::new("/crowd").unwrap(), MessageType::new("crowd.spoke").unwrap());
            let message = Message::new(MessageId::new(&id).unwrap(), source, kind)
                .data("text/plain", id.as_bytes().to_vec())
                .key(Key::new(format!("{}", number % KEYS)).unwrap())
                .dedupe_id(DedupeId::new(&id).unwrap());
            let publish = Publish::one(Address::Topic(self.group.topic().clone()), message);
            let mut is_unknown = false;
            loop {
                assert!(begun.elapsed() < PATIENCE, "publishing takes too long");
                let handle = self.handle(&mut random);
                if random.below(8) == 0 {
                    give_up(handle.publish(vec![publish.clone()]));
                    is_unknown = true;
                    continue;
                }
                match block_on(handle.publish(vec![publish.clone()])).map(|told| told[0].clone()) {
                    Ok(Published::Accepted { copies: 1 }) => break,
                    Ok(Published::Duplicate) if is_unknown => break,
                    Ok(Published::Unknown) => {
                        is_unknown = true;
                        self.failed();
                    }
                    Err(error) if is_passing(&error) => self.failed(),
                    other => panic!("{id}, which was never accepted before: {other:?}"),
                }
            }
            self.accepted.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn work(&self, worker: usize) {
        let mut random = Random(0xf00d + worker as u64);
        let begun = Instant::now();
        let receive = Receive {
            group: self.group.clone(),
            worker: WorkerId::new(format!("worker-{worker}")).unwrap(),
            max: 3,
            lease: LEASE,
        };
        loop {
            assert!(begun.elapsed() < PATIENCE, "working takes too long");
            let is_published = self.is_published();
            let handle = self.handle(&mut random);
            if random.below(12) == 0 {
                give_up(handle.receive(receive.clone()));
                continue;
            }
            let received = match block_on(handle.receive(receive.clone())) {
                Ok(received) => received,
                Err(error) if is_passing(&error) => {
                    self.failed();
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            if received.deliveries.is_empty() {
                let depth = block_on(handle.stats())
                    .ok()
                    .map(|stats| stats.topics[self.group.topic()].groups[self.group.name()].depth);
                if is_published && depth == Some(0) {
                    return;
                }
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            for delivery in received.deliveries {
                let id = delivery.message.id.to_string();
                assert_eq!(&*delivery.message.data, id.as_bytes());
                let key = delivery.message.key.as_ref().unwrap().parse().unwrap();
                let (position, token) = (delivery.lease.position.0, delivery.lease.token);
                let (count, until) = (delivery.deliveries, delivery.leased_until);
                self.told.lock().unwrap().deliveries.push(Told1 { id: id.clone(), key, position, token, count, until });
                let action = match random.below(20) {
                    0 => continue,
                    1 => Action::Retry { after: Duration::from_millis(3), reason: "it failed".into() },
                    2 => Action::Dead { reason: "it never will".into() },
                    3 => {
                        // Others have it by now.
                        thread::sleep(LEASE + LEASE);
                        Action::Ack
                    }
                    _ => Action::Ack,
                };
                self.settle(&mut random, &id, &delivery.lease, &action, until);
            }
        }
    }

    fn settle(&self, random: &mut Random, id: &str, lease: &Lease, action: &Action, until: Timestamp) {
        let batch = vec![Settle { lease: *lease, action: action.clone() }];
        let mut is_unknown = false;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let handle = self.handle(random);
            if random.below(15) == 0 {
                self.told.lock().unwrap().unknown.insert(id.to_owned());
                give_up(handle.settle(&self.group, batch.clone()));
                is_unknown = true;
                continue;
            }
            let is_late = SystemClock.now() >= until;
            let settled = block_on(handle.settle(&self.group, batch.clone())).map(|told| told[0]);
            let mut told = self.told.lock().unwrap();
            match settled {
                Ok(Settled::Applied) => {
                    assert!(!is_late, "{id} was settled when the lease had ended");
                    told.ended.insert(lease.token);
                    if *action == Action::Ack {
                        told.acked.push(id.to_owned());
                    }
                    return;
                }
                Ok(Settled::Stale) => return,
                Ok(Settled::Gone) if is_unknown || told.unknown.contains(id) => return,
                Ok(Settled::Gone) => {
                    // Its lease may have ended, and others have done it since.
                    let is_others = told.deliveries.iter().any(|other| other.id == id && other.token != lease.token);
                    assert!(is_others, "{id} is gone, and nobody was told that it was settled");
                    return;
                }
                Ok(Settled::Unknown) => {
                    told.unknown.insert(id.to_owned());
                    told.ended.insert(lease.token);
                    is_unknown = true;
                    told.calls_failed += 1;
                }
                Err(error) if is_passing(&error) => told.calls_failed += 1,
                other => panic!("{other:?}"),
            }
            drop(told);
            thread::sleep(Duration::from_millis(5));
        }
        panic!("settling takes too long");
    }

    fn check(&self) {
        let told = self.told.lock().unwrap();
        let handles = self.handles.read().unwrap();
        let letters = letters(&handles[0], &self.group);
        let done: HashSet<&String> = told.acked.iter().collect();
        assert_eq!(done.len(), told.acked.len(), "no message was acknowledged twice");
        assert_eq!(letters.iter().collect::<HashSet<_>>().len(), letters.len(), "no message is dead twice");
        let all =
            (0..PUBLISHERS).flat_map(|publisher| (0..MESSAGES).map(move |number| format!("{publisher}-{number}")));
        for id in all {
            let (is_done, is_dead) = (done.contains(&id), letters.contains(&id));
            assert!(!(is_done && is_dead), "{id} is done, and dead too");
            assert!(is_done || is_dead || told.unknown.contains(&id), "{id} was accepted, and is nowhere");
        }
        let tokens: HashSet<u64> = told.deliveries.iter().map(|delivery| delivery.token).collect();
        assert_eq!(tokens.len(), told.deliveries.len(), "every delivery has its own token");
        let lease = i64::try_from(LEASE.as_nanos()).unwrap();
        let begins = |delivery: &Told1| delivery.until.as_nanos() - lease;
        let mut by_id: HashMap<&str, Vec<&Told1>> = HashMap::new();
        for delivery in &told.deliveries {
            by_id.entry(&delivery.id).or_default().push(delivery);
        }
        let mut keys: BTreeMap<usize, Vec<(i64, u64)>> = BTreeMap::new();
        for (id, mut of_one) in by_id {
            of_one.sort_by_key(|delivery| delivery.until);
            for pair in of_one.windows(2).filter(|_| !self.forgets) {
                assert!(
                    pair[0].count < pair[1].count,
                    "{id} was delivered {} times, and then {}",
                    pair[0].count,
                    pair[1].count
                );
                // A settlement of which nobody knows may have ended it.
                if !told.ended.contains(&pair[0].token) && !told.unknown.contains(id) {
                    assert!(begins(pair[1]) >= pair[0].until.as_nanos(), "two hold {id} at a time");
                }
            }
            keys.entry(of_one[0].key).or_default().push((begins(of_one[0]), of_one[0].position));
        }
        for (key, mut order) in keys {
            order.sort_unstable();
            assert!(order.is_sorted_by_key(|(_, position)| *position), "the order of {key}: {order:?}");
        }
        assert!(
            !letters.is_empty() && told.deliveries.len() > PUBLISHERS * MESSAGES,
            "nothing went wrong, so nothing was tested"
        );
    }
}

/// Nothing was executed, and it may be later.
fn is_passing(error: &Error) -> bool {
    error.is_retryable() || error.kind() == txn_queue::ErrorKind::Closed
}

fn letters(queue: &Arc<dyn QueueAdmin>, group: &Group) -> Vec<String> {
    let topic = GroupSpec::new(group.clone()).dead_letter_topic();
    let group = Group::new(topic, GroupName::new("people").unwrap());
    let receive = Receive { group, worker: WorkerId::new("last").unwrap(), max: 4_000, lease: PATIENCE };
    let begun = Instant::now();
    let mut all = Vec::new();
    while begun.elapsed() < PATIENCE {
        match block_on(queue.receive(receive.clone())) {
            Ok(received) if received.deliveries.is_empty() => return all,
            Ok(received) => {
                let settle = |delivery: &txn_queue::Delivery| Settle { lease: delivery.lease, action: Action::Ack };
                all.extend(received.deliveries.iter().map(|delivery| delivery.message.id.to_string()));
                let batch: Vec<Settle> = received.deliveries.iter().map(settle).collect();
                while let Err(error) = block_on(queue.settle(&receive.group, batch.clone())) {
                    assert!(is_passing(&error), "{error}");
                }
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
    panic!("reading the dead letters takes too long");
}

/// Case Q33.
#[test]
fn what_a_crowd_is_told_over_one_file_fits_together() {
    let folder = tempfile::tempdir().unwrap();
    Crowd::new(vec![Arc::new(Sqlite::open(folder.path().join("queue.db")).unwrap())]).run(|_| ());
}

#[cfg(feature = "servers")]
mod on_a_server {
    use sqlx::{Connection as _, PgConnection};
    use tokio::runtime::Runtime;
    use txn_queue::postgres::{Postgres, sqlx};

    use super::*;
    use crate::{own::Own, proxy::Proxy, server};

    /// A database of the test's own, so that it knows its sessions.
    fn database(runtime: &Runtime) -> (String, PgConnection) {
        let name = server::name("crowd");
        runtime.block_on(async {
            let mut session = PgConnection::connect(&server::url()).await.unwrap();
            let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
            sqlx::raw_sql(create).execute(&mut session).await.unwrap();
            let url = server::url();
            let (server, _) = url.rsplit_once('/').unwrap();
            (format!("{server}/{name}"), session)
        })
    }

    fn open(runtime: &Runtime, url: &str) -> Arc<dyn QueueAdmin> {
        Arc::new(runtime.block_on(Postgres::options(url).unwrap().lanes(2).open()).unwrap())
    }

    /// Case Q33.
    #[test]
    fn what_a_crowd_is_told_over_handles_that_come_and_go_fits_together() {
        let runtime = Runtime::new().unwrap();
        let (url, _) = database(&runtime);
        let handles = (0..3).map(|_| open(&runtime, &url)).collect();
        Crowd::new(handles).run(|crowd| {
            for round in 0.. {
                if crowd.is_published() {
                    return;
                }
                thread::sleep(Duration::from_millis(100));
                crowd.replace(round % 3, || open(&runtime, &url));
            }
        });
    }

    /// Case Q10.
    #[test]
    fn sessions_that_are_ended_under_a_crowd_double_nothing_and_lose_nothing() {
        let runtime = Runtime::new().unwrap();
        let (url, mut session) = database(&runtime);
        let handles = (0..3).map(|_| open(&runtime, &url)).collect();
        let crowd = Crowd::new(handles);
        let name = url.rsplit_once('/').unwrap().1.to_owned();
        // Now one that commits, now one that asks, now any.
        let which = ["query LIKE '%COMMIT%'", "query LIKE '%step%'", "true"];
        crowd.run(|crowd| {
            for round in 0.. {
                if crowd.is_published() && round > 60 {
                    return;
                }
                thread::sleep(Duration::from_millis(15));
                let end = format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = '{name}' AND state <> 'idle' AND {} LIMIT 1",
                    which[round % 3]
                );
                runtime.block_on(async {
                    sqlx::raw_sql(sqlx::AssertSqlSafe(end)).execute(&mut session).await.unwrap();
                });
            }
        });
        println!("{} calls failed or had no answer", crowd.hits());
        assert!(crowd.hits() > 0, "no session was ended in the middle of a call");
    }

    /// Case Q9.
    #[test]
    fn a_server_that_dies_under_a_crowd_loses_nothing_and_the_crowd_goes_on() {
        let runtime = Runtime::new().unwrap();
        let mut own = Own::start();
        let url = own.url();
        let handles = (0..3).map(|_| open(&runtime, &url)).collect();
        let crowd = Crowd { forgets: true, ..Crowd::new(handles) };
        let away = Mutex::new(Duration::ZERO);
        crowd.run(|crowd| {
            for (signal, share) in [("-QUIT", 1), ("-KILL", 2), ("-QUIT", 3)] {
                while crowd.accepted.load(Ordering::SeqCst) < PUBLISHERS * MESSAGES * share / 4 {
                    thread::sleep(Duration::from_millis(1));
                }
                let ended = Instant::now();
                own.end(signal);
                own.go_on();
                *away.lock().unwrap() += ended.elapsed();
            }
        });
        let away = away.into_inner().unwrap();
        println!("{} calls failed or had no answer, while the server was away for {away:?}", crowd.hits());
        // Each caller rests 5 milliseconds after a failure, and a handle 50: none asks without end.
        let most = 2_000 + 20 * (PUBLISHERS + WORKERS) * usize::try_from(away.as_secs()).unwrap();
        assert!((1..most).contains(&crowd.hits()), "{} calls failed", crowd.hits());
    }

    /// Case Q10.
    #[test]
    fn what_a_crowd_is_told_when_answers_to_commits_are_lost_is_true() {
        let runtime = Runtime::new().unwrap();
        let (url, _) = database(&runtime);
        let (account, rest) = url.rsplit_once('@').unwrap();
        let (server, name) = rest.split_once('/').unwrap();
        let proxy = Proxy::start(server.parse().unwrap(), 9);
        let through = format!("{account}@127.0.0.1:{}/{name}", proxy.port);
        // The schema is made by one that loses nothing.
        drop(open(&runtime, &url));
        let open = || loop {
            if let Ok(queue) = runtime.block_on(Postgres::options(&through).unwrap().lanes(2).open()) {
                return Arc::new(queue) as Arc<dyn QueueAdmin>;
            }
        };
        Crowd::new((0..3).map(|_| open()).collect()).run(|_| ());
        assert!(proxy.lost() > 20, "{} answers were lost", proxy.lost());
    }
}

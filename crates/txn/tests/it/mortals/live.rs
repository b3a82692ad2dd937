//! The life of a process that may end at any moment: it writes, relays, applies what comes, and runs errands.

use std::{
    collections::BTreeSet, convert::Infallible, fs, io::Read as _, io::Write as _, path::Path, sync::Arc, thread,
};

use futures_util::future::{join, join4};
use txn::{
    InertGateway, Relay, Tenant, Txn,
    change::{Body, Change, ChangeId, Expect, Fingerprint, Key, Kind},
    inbox::{Inbox, action},
    process::{CorrelationId, Incoming, IncomingId, Processes, Registry},
    queue::{self, Action, GroupSpec, Message, QueueAdmin, Receive, Settle, TopicSpec, Topology, WorkerId},
    relay::{Everything, RelayName},
    store::{Outcome, Scope, StoreAdmin},
};

use super::{
    errand::{Elsewhere, Errand, Errands, Event},
    *,
};

pub(super) const SUBJECTS: u64 = 5;
const LEASE: Duration = Duration::from_millis(700);
const MOMENT: Duration = Duration::from_millis(5);

/// The store and the queue, whichever they are kept in.
pub(super) struct App {
    pub(super) store: Arc<dyn StoreAdmin>,
    pub(super) queue: Arc<dyn QueueAdmin>,
    pub(super) processes: Processes,
    pub(super) txn: Txn,
}

impl App {
    /// Whoever had a file before may be dying still.
    pub(super) async fn open(medium: &Medium, folder: &Path) -> Self {
        let begun = std::time::Instant::now();
        loop {
            match Self::try_open(medium, folder).await {
                Ok(app) => return app,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "opening: {error}"),
            }
            tokio::time::sleep(MOMENT).await;
        }
    }

    async fn try_open(medium: &Medium, folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let (store, queue): (Arc<dyn StoreAdmin>, Arc<dyn QueueAdmin>) = match medium {
            Medium::Files => (
                Arc::new(txn::store::sqlite::Sqlite::open(folder.join("store.db"))?),
                Arc::new(queue::sqlite::Sqlite::open(folder.join("queue.db"))?),
            ),
            #[cfg(feature = "servers")]
            Medium::Server { url, schema } => {
                let store = txn::store::postgres::Postgres::options(url)?.schema(&format!("{schema}_s")).readers(1);
                let queue = queue::postgres::Postgres::options(url)?.schema(&format!("{schema}_q")).lanes(1);
                (Arc::new(store.open().await?), Arc::new(queue.open().await?))
            }
        };
        let groups = [group("notes"), group("errands")];
        let topology = Topology::default().topic(TopicSpec::new(group("notes").topic().clone()));
        let spec = |group| GroupSpec { deliveries_max: std::num::NonZeroU32::MAX, ..GroupSpec::new(group) };
        queue.declare(groups.into_iter().fold(topology, |to, group| to.group(spec(group)))).await?;
        let txn = Txn::builder(Arc::clone(&store) as _, Arc::new(InertGateway::default())).build();
        let elsewhere = Arc::new(Elsewhere::open(folder));
        let registry = Registry::builder().step("fetch", Arc::clone(&elsewhere) as _).step("bring", elsewhere);
        let registry = registry.process(Errands)?.build()?;
        let processes = Processes::new(&txn.tenant(Tenant::default()), registry);
        Ok(Self { store, queue, processes, txn })
    }

    fn scope(&self) -> Scope {
        Scope::new(Arc::clone(&self.store) as _, Tenant::default())
    }

    pub(super) fn relay(&self) -> Relay {
        let (store, queue) = (Arc::clone(&self.store) as _, Arc::clone(&self.queue));
        // What the processes tell of themselves goes there as well, and concerns nobody.
        let mapping = |origin: &txn::relay::Origin<'_>| match origin.recorded().event.body.type_name() {
            "note.written" => txn::relay::Mapping::map(&Everything::to_topic(group("notes").topic().clone()), origin),
            _ => txn::relay::Verdict::Skip,
        };
        let name = RelayName::new("notes").unwrap();
        Relay::builder(store, queue, name, mapping).lanes(3).lease(LEASE).page_max(16).build().unwrap()
    }

    /// Commits what the one before was not told of, and goes on from there.
    async fn write(&self, folder: &Path, place: usize) {
        let path = notes(folder, place);
        let before = fs::read_to_string(&path).unwrap_or_default();
        let noted = |verb: &str| -> BTreeSet<u64> {
            before.lines().filter_map(|line| line.strip_prefix(verb)?.trim().parse().ok()).collect()
        };
        let (asked, told) = (noted("asked"), noted("told"));
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let mut note = |verb: &str, number: u64| file.write_all(format!("{verb} {number}\n").as_bytes()).unwrap();
        let mut left: Vec<u64> = asked.difference(&told).copied().collect();
        let mut next = asked.last().map_or(0, |last| last + 1);
        loop {
            let number = match left.pop() {
                Some(number) => number,
                None if folder.join("stop").exists() => return,
                None => {
                    next += 1;
                    note("asked", next - 1);
                    next - 1
                }
            };
            let id = format!("{place}-{number}");
            let body = Body::raw("note.written", 1, format!("{number}").into_bytes());
            let subject = Key::of(Kind::new("note").unwrap()).text(format!("{place}/{}", number % SUBJECTS)).unwrap();
            let change = Change::new(ChangeId::new(&id).unwrap(), Fingerprint::of("note.write", &id));
            let change = change.append(txn::change::Event::new(body).about(subject.build()));
            while !matches!(self.scope().commit(change.clone()).await, Ok(Outcome::Done(_))) {
                tokio::time::sleep(MOMENT).await;
            }
            note("told", number);
            tokio::time::sleep(MOMENT).await;
        }
    }

    /// Gives each message of a group to a function, and acknowledges it when it says so.
    async fn consume(&self, of: &str, apply: impl AsyncFn(&Message) -> Action) {
        let worker = WorkerId::new(format!("mortal-{}", std::process::id())).unwrap();
        loop {
            let receive = Receive { group: group(of), worker: worker.clone(), max: 4, lease: LEASE };
            let deliveries = self.queue.receive(receive).await.map(|received| received.deliveries).unwrap_or_default();
            if deliveries.is_empty() {
                tokio::time::sleep(MOMENT).await;
            }
            for delivery in deliveries {
                let action = apply(&delivery.message).await;
                let _ = self.queue.settle(&group(of), vec![Settle { lease: delivery.lease, action }]).await;
            }
        }
    }

    /// Adds the message's id to those that a subject has had.
    async fn apply(&self, message: &Message) -> Action {
        let inbox = Inbox::new(self.scope(), group("notes").name().clone());
        let key = had(message.subject.as_deref().unwrap());
        let decide = |context: &txn::core::Context, snapshot: &txn::store::Snapshot| {
            let stood = snapshot.records[0].as_ref();
            let mut ids: Vec<String> =
                stood.map(|record| serde_json::from_slice(record.body.bytes()).unwrap()).unwrap_or_default();
            ids.push(message.id.to_string());
            let body = Body::raw("had", 1, serde_json::to_vec(&ids).unwrap());
            let change = Change::new(context.id.clone(), context.fingerprint);
            let expect = Expect::of(stood.map(|record| record.version));
            Ok::<_, Infallible>(change.put(key.clone(), expect, body, vec![]))
        };
        let applied = inbox.apply(message, inbox.ask().record(key.clone()), decide).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        action(&applied, MOMENT)
    }

    /// Begins an errand for the message.
    async fn begin(&self, message: &Message) -> Action {
        let what = Errand { what: message.id.to_string() };
        let correlation = CorrelationId::new(message.id.replace('/', ".")).unwrap();
        let id = IncomingId::new(message.id.replace('/', ".")).unwrap();
        let incoming = Incoming::new::<Errands>(correlation, id, Event::Asked, &what).unwrap();
        match self.processes.handle(&incoming).await {
            Ok(_) => Action::Ack,
            Err(error) => Action::Retry { after: MOMENT, reason: error.to_string().into() },
        }
    }

    async fn run_errands(&self) {
        let runner = self.processes.runner();
        loop {
            let pass = runner.run_once().await;
            if !pass.is_ok_and(|pass| pass.did_something()) {
                tokio::time::sleep(MOMENT).await;
            }
        }
    }

    /// Relays, applies and runs errands, for ever.
    pub(super) async fn work(&self) {
        join4(
            self.relay_on(),
            self.consume("notes", async |message| self.apply(message).await),
            self.consume("errands", async |message| self.begin(message).await),
            self.run_errands(),
        )
        .await;
    }

    /// Whether everything is relayed and settled, and the errand of each message is done.
    pub(super) async fn is_quiet(&self, told: &BTreeSet<String>) -> bool {
        let stats = self.queue.stats().await.unwrap();
        let is_settled = stats.topics[group("notes").topic()].groups.values().all(|group| group.depth == 0);
        if !is_settled || self.relay().lag().await.unwrap().events > 0 {
            return false;
        }
        for id in told {
            let correlation = CorrelationId::new(id.replace('/', ".")).unwrap();
            let instance = self.processes.get("errand", &correlation).await.unwrap();
            if instance.is_none_or(|instance| instance.state.as_deref() != Some("Done")) {
                return false;
            }
        }
        true
    }

    async fn relay_on(&self) {
        loop {
            let ran = self.relay().run(tokio::time::sleep, std::future::pending()).await;
            assert!(ran.is_ok_and(|_| false), "the relay ended");
        }
    }
}

/// What a subject has had.
pub(super) fn had(subject: &str) -> Key {
    Key::of(Kind::new("had").unwrap()).text(subject).unwrap().build()
}

pub(super) fn live(value: &str) {
    // When nobody kills it any more, it ends by itself.
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(3);
    });
    let life: Life = serde_json::from_str(value).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = Path::new(&life.folder);
        let app = App::open(&life.medium, folder).await;
        let written = async {
            app.write(folder, life.place).await;
            fs::write(folder.join(format!("written-{}", life.place)), "").unwrap();
        };
        join(written, app.work()).await;
    });
}

//! Processes that publish and work on one server and are killed at any moment, over and over; the server, too. At the end every message that was ever asked for has had its effect, once for each group.

mod live;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection};
use tokio::runtime::Runtime;
use txn_queue::{
    Group, GroupName, GroupSpec, QueueAdmin as _, Topic, TopicSpec, Topology,
    postgres::{Postgres, sqlx},
};
use txn_suite::Mortal;

use crate::{crowd::Random, own::Own};

const VARIABLE: &str = "TXN_TEST_QUEUE_MORTAL";
/// How long may take what takes seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the processes do.
const ROLES: [Role; 6] = [Role::Publisher, Role::Settling, Role::Inbox, Role::Publisher, Role::Settling, Role::Inbox];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Publishes, notes what it asks for and what it was told, and asks again for what its predecessor was not told.
    Publisher,
    /// Works: the effect and the settlement are one transaction of the host's.
    Settling,
    /// Works: the effect is committed together with the message's id, and acknowledged then.
    Inbox,
}

impl Role {
    /// The group that it works for.
    const fn group(self) -> &'static str {
        match self {
            Self::Publisher => "nobody",
            Self::Settling => "settling",
            Self::Inbox => "inbox",
        }
    }
}

fn group(role: Role) -> Group {
    Group::new(Topic::new("mortals").unwrap(), GroupName::new(role.group()).unwrap())
}

/// The processes, and what they work on.
struct World {
    test: String,
    folder: tempfile::TempDir,
    own: Own,
    runtime: Runtime,
    mortals: Vec<Mortal>,
}

impl World {
    fn new(test: String) -> Self {
        let (runtime, own, folder) = (Runtime::new().unwrap(), Own::start(), tempfile::tempdir().unwrap());
        let world = Self { test, folder, own, runtime, mortals: Vec::new() };
        world.runtime.block_on(async {
            let queue = Postgres::open(&world.own.url()).await.unwrap();
            // Small, so that publishers wait for workers.
            let topic = TopicSpec { messages_max: 200, ..TopicSpec::new(Topic::new("mortals").unwrap()) };
            let topology =
                [Role::Settling, Role::Inbox].into_iter().fold(Topology::default().topic(topic), |to, role| {
                    let spec = GroupSpec::new(group(role));
                    to.group(GroupSpec { deliveries_max: std::num::NonZeroU32::MAX, ..spec })
                });
            queue.declare(topology).await.unwrap();
            let mut session = PgConnection::connect(&world.own.url()).await.unwrap();
            // Nothing of the tables keeps an effect from being written twice.
            let tables = "CREATE TABLE effect (nth bigserial, reader text, id text, deliveries int);
                CREATE TABLE inbox (id text PRIMARY KEY)";
            sqlx::raw_sql(tables).execute(&mut session).await.unwrap();
        });
        world
    }

    fn start(&self, place: usize) -> Mortal {
        let folder = self.folder.path();
        let errors = fs::OpenOptions::new().append(true).create(true).open(folder.join("errors")).unwrap();
        let value = format!("{place} {} {}", self.own.url(), folder.display());
        Mortal::start(&self.test, VARIABLE, &value, errors).unwrap()
    }

    /// Kills one after the other, at least so many, and puts another in its place. When they have not done enough by then they live longer, and longer: on a busy machine a process may take that long to begin.
    fn storm(&mut self, kills: usize, restarts: bool) {
        self.mortals = (0..ROLES.len()).map(|place| self.start(place)).collect();
        let (begun, mut random) = (Instant::now(), Random(0x5eed));
        for nth in 1.. {
            if nth > kills && self.noted("told").len() > 150 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "too little is done: {}", self.errors());
            let longer = u64::try_from(nth / kills).unwrap() + 1;
            thread::sleep(Duration::from_millis((20 + random.below(160)) * longer));
            let place = usize::try_from(random.below(ROLES.len() as u64)).unwrap();
            assert!(!self.mortals[place].has_ended().unwrap(), "a process ended by itself: {}", self.errors());
            self.mortals[place].die().unwrap();
            self.mortals[place] = self.start(place);
            if restarts && nth <= kills && nth % (kills / 3) == 0 {
                self.own.end("-QUIT");
                self.own.go_on();
            }
        }
    }

    /// Publishers end when they have been told of all they asked for; workers go on until nothing is left.
    fn calm(&mut self) {
        fs::write(self.folder.path().join("stop"), "").unwrap();
        let is_publisher = |place: &usize| ROLES[*place] == Role::Publisher;
        let begun = Instant::now();
        while !(0..ROLES.len()).filter(is_publisher).all(|place| self.mortals[place].has_ended().unwrap()) {
            assert!(begun.elapsed() < PATIENCE, "publishers go on: {}", self.errors());
            thread::sleep(Duration::from_millis(20));
        }
        let url = self.own.url();
        self.runtime.block_on(async {
            let queue = Postgres::open(&url).await.unwrap();
            loop {
                let stats = queue.stats().await.unwrap();
                let groups = &stats.topics[group(Role::Inbox).topic()].groups;
                assert!(groups.values().all(|group| group.dead == 0), "{stats:?}");
                if groups.values().all(|group| group.depth == 0) {
                    return;
                }
                assert!(begun.elapsed() < PATIENCE, "something is left: {stats:?} {}", self.errors());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        self.mortals.clear();
    }

    /// Which messages were asked for, and of which it was told that they are accepted, in one file of notes each.
    fn noted(&self, verb: &str) -> BTreeSet<String> {
        let mut noted = BTreeSet::new();
        for place in 0..ROLES.len() {
            let notes = fs::read_to_string(notes(self.folder.path(), place)).unwrap_or_default();
            for line in notes.lines().filter_map(|line| line.strip_prefix(verb)) {
                noted.extend(line.split_ascii_whitespace().map(|number| format!("{place}-{number}")));
            }
        }
        noted
    }

    /// The effects of a group, in the order in which they were made.
    fn effects(&self, role: Role) -> Vec<(String, i32)> {
        let asked = "SELECT id, deliveries FROM effect WHERE reader = $1 ORDER BY nth";
        self.runtime.block_on(async {
            let mut session = PgConnection::connect(&self.own.url()).await.unwrap();
            sqlx::query_as(asked).bind(role.group()).fetch_all(&mut session).await.unwrap()
        })
    }

    #[allow(clippy::print_stdout, reason = "what the test came to")]
    fn check(&self) {
        let (asked, told) = (self.noted("asked"), self.noted("told"));
        assert_eq!(asked, told, "publishers were told of all they asked for");
        let mut again = 0;
        for role in [Role::Settling, Role::Inbox] {
            let effects = self.effects(role);
            let once: BTreeSet<String> = effects.iter().map(|(id, _)| id.clone()).collect();
            let lost: Vec<&String> = told.difference(&once).collect();
            assert!(lost.is_empty(), "accepted, and without an effect in {}: {lost:?}", role.group());
            assert_eq!(once.len(), effects.len(), "none has two effects in {}", role.group());
            assert_eq!(once, told, "none has an effect that was never asked for");
            let mut last = std::collections::HashMap::new();
            for (id, deliveries) in &effects {
                let (publisher, number) = id.split_once('-').unwrap();
                let number: u64 = number.parse().unwrap();
                let before = last.insert((publisher, number % live::KEYS), number);
                assert!(before < Some(number), "of one key, {before:?} before {number} in {}", role.group());
                again += usize::from(*deliveries > 1);
            }
        }
        println!("{} messages, {again} effects at a later delivery", told.len());
        assert!(again > 0, "nothing was held when the processes died");
        assert!(!self.errors().contains("panicked"), "{}", self.errors());
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default()
    }
}

fn notes(folder: &Path, place: usize) -> PathBuf {
    folder.join(format!("notes-{place}"))
}

/// Whether this is one of the processes; then it has lived.
fn lived() -> bool {
    env::var(VARIABLE).map(|value| live::live(&value)).is_ok()
}

fn name(of: &str) -> String {
    let name = format!("{}::{of}", module_path!());
    name.split_once("::").unwrap().1.to_owned()
}

/// Cases Q1, Q11, Q34.
#[test]
fn killed_processes_lose_nothing_and_double_nothing() {
    if lived() {
        return;
    }
    let mut world = World::new(name("killed_processes_lose_nothing_and_double_nothing"));
    world.storm(50, false);
    world.calm();
    world.check();
}

/// Cases Q9, Q34.
#[test]
fn killed_processes_lose_nothing_and_double_nothing_when_the_server_dies_too() {
    if lived() {
        return;
    }
    let mut world = World::new(name("killed_processes_lose_nothing_and_double_nothing_when_the_server_dies_too"));
    world.storm(36, true);
    world.calm();
    world.check();
}

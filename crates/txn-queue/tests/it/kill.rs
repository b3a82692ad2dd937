//! A process that works on a queue in a file and is killed, over and over: what it had been told before is so.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use txn_queue::{
    Action, Address, Clock as _, Control, Group, GroupName, GroupSpec, Key, ManualClock, Message, MessageId,
    MessageType, Publish, Published, Queue as _, QueueAdmin as _, QueueLimits, Receive, Settle, Settled, Source,
    SystemClock, Topic, TopicSpec, Topology, WorkerId, conformance::block_on, sqlite::Sqlite,
};

const VARIABLE: &str = "TXN_TEST_QUEUE_KILL";
const KILLS: u64 = 12;
const KILLS_MAX: u64 = 60;
const LEASE: Duration = Duration::from_secs(600);

fn group() -> Group {
    Group::new(Topic::new("killed").unwrap(), GroupName::new("workers").unwrap())
}

fn receive(worker: &str) -> Receive {
    Receive { group: group(), worker: WorkerId::new(worker).unwrap(), max: 3, lease: LEASE }
}

/// Publishes, receives and acknowledges without end, and notes what it was told as soon as it is.
fn live(folder: &Path, round: &str) {
    let limits = QueueLimits { steps_max: 16, ..QueueLimits::default() };
    let queue = Sqlite::with(folder.join("queue.db"), Arc::new(SystemClock), limits).unwrap();
    let spec = GroupSpec { deliveries_max: std::num::NonZeroU32::MAX, ..GroupSpec::new(group()) };
    let topology = Topology::default().topic(TopicSpec::new(group().topic().clone())).group(spec);
    block_on(queue.declare(topology)).unwrap();
    let mut notes = fs::OpenOptions::new().append(true).create(true).open(folder.join("notes")).unwrap();
    let mut note = |what: &str, id: &str| notes.write_all(format!("{what} {id}\n").as_bytes()).unwrap();
    let worker = format!("pod-7.{round}");
    for number in 0.. {
        let ids = [0, 1].map(|nth| format!("{round}-{number}-{nth}"));
        let publish = |id: &String| {
            let (source, kind) = (Source::new("/kill").unwrap(), MessageType::new("kill.told").unwrap());
            let message = Message::new(MessageId::new(id).unwrap(), source, kind).data("text/plain", id.as_bytes());
            let message = message.key(Key::new(format!("k{}", number % 5)).unwrap());
            Publish::one(Address::Topic(group().topic().clone()), message)
        };
        let published = block_on(queue.publish(ids.iter().map(publish).collect())).unwrap();
        assert_eq!(published, [Published::Accepted { copies: 1 }, Published::Accepted { copies: 1 }]);
        ids.iter().for_each(|id| note("accepted", id));
        let received = block_on(queue.receive(receive(&worker))).unwrap();
        for (delivery, nth) in received.deliveries.iter().zip(0..) {
            let id = &delivery.message.id;
            note("leased", &format!("{id} {}", delivery.deliveries));
            if nth < 2 {
                let settle = Settle { lease: delivery.lease, action: Action::Ack };
                assert_eq!(block_on(queue.settle(&group(), vec![settle])).unwrap(), [Settled::Applied]);
                note("acked", id);
            }
        }
    }
}

/// Cases Q1, Q11.
#[test]
fn a_killed_process_leaves_what_it_was_told_and_its_messages_go_to_the_next() {
    if let Ok(value) = env::var(VARIABLE) {
        // This is the process that is killed.
        let (round, folder) = value.split_once(' ').unwrap();
        return live(Path::new(folder), round);
    }
    let folder = tempfile::tempdir().unwrap();
    let name = concat!(module_path!(), "::a_killed_process_leaves_what_it_was_told_and_its_messages_go_to_the_next");
    let name = name.split_once("::").unwrap().1;
    let (mut seen_again, mut counted) = (0, 0);
    for round in 0..KILLS_MAX {
        // On a machine that is busy all of them may die with nothing in hand.
        if round >= KILLS && seen_again > 0 && counted > 0 {
            break;
        }
        let mut child = Command::new(env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(VARIABLE, format!("{round} {}", folder.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let notes = || fs::read_to_string(folder.path().join("notes")).unwrap_or_default();
        let (before, begun) = (notes().len(), Instant::now());
        while notes().len() < before + 200 {
            assert!(child.try_wait().unwrap().is_none(), "the process ended by itself");
            assert!(begun.elapsed() < Duration::from_secs(60), "the process does nothing");
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(round * 1_777));
        child.kill().unwrap();
        child.wait().unwrap();
        let notes = notes();
        let told = |what: &str| -> BTreeSet<String> {
            let lines = notes.lines().filter_map(|line| line.strip_prefix(what));
            lines.filter_map(|line| line.split_ascii_whitespace().next()).map(str::to_owned).collect()
        };
        let (accepted, acked) = (told("accepted "), told("acked "));
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(folder.path()).unwrap().flatten() {
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        // Nobody needs to wait for the leases: their holder is known to be dead, and the same name is another incarnation.
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let queue =
            Sqlite::with(copy.path().join("queue.db"), Arc::clone(&clock) as _, QueueLimits::default()).unwrap();
        let rescue = Control::Rescue(WorkerId::new(format!("pod-7.{round}")).unwrap());
        block_on(queue.control(rescue)).unwrap();
        if round % 2 == 1 {
            clock.advance(LEASE);
        }
        let leased: Vec<(&str, u32)> = notes
            .lines()
            .filter_map(|line| line.strip_prefix("leased ")?.split_once(' '))
            .map(|(id, count)| (id, count.parse().unwrap()))
            .collect();
        let mut found = BTreeSet::new();
        loop {
            let received = block_on(queue.receive(Receive { max: 100, ..receive("next") })).unwrap();
            if received.deliveries.is_empty() {
                break;
            }
            for delivery in received.deliveries {
                let id = delivery.message.id.to_string();
                assert_eq!(&*delivery.message.data, id.as_bytes());
                assert!(!acked.contains(&id), "{id} was acknowledged, and is delivered again");
                let before = leased.iter().filter(|(known, _)| *known == id).map(|(_, count)| *count).max();
                if let Some(before) = before {
                    counted += 1;
                    assert!(delivery.deliveries > before, "{id} had {before}, and has {}", delivery.deliveries);
                }
                block_on(queue.settle(&group(), vec![Settle { lease: delivery.lease, action: Action::Ack }])).unwrap();
                found.insert(id);
            }
        }
        let held_by_others = block_on(queue.stats()).unwrap().topics[group().topic()].groups[group().name()].leased;
        let missing: Vec<&String> = accepted.difference(&acked).filter(|id| !found.contains(*id)).collect();
        // An acknowledgement may have been done that the process was not told of any more: one in each life.
        let unsaid = usize::try_from(round + 1 + held_by_others).unwrap();
        if round % 2 == 1 {
            assert_eq!(held_by_others, 0);
            assert!(missing.iter().all(|missing| leased.iter().any(|(id, _)| *id == missing.as_str())), "{missing:?}");
            assert!(missing.len() <= unsaid, "accepted, and nowhere: {missing:?}");
        }
        seen_again += found.len();
    }
    assert!(seen_again > 0 && counted > 0, "nothing was held when the processes died");
}

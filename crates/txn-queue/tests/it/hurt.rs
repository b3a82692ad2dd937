//! A disk that fails below a queue in a file: flushes and writes that end with an error, once or from then on. Each test prints how often its fault really hit, and never is no pass.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use txn_queue::{
    Action, Address, Clock as _, ErrorKind, Group, GroupName, GroupSpec, ManualClock, Message, MessageId, MessageType,
    Publish, Published, Queue as _, QueueAdmin as _, QueueLimits, Receive, Settle, Settled, Source, SystemClock, Topic,
    TopicSpec, Topology, WorkerId, conformance::block_on, sqlite::Sqlite,
};

const VARIABLE: &str = "TXN_TEST_QUEUE_HURT";
const TURNS: u64 = 40;
const LEASE: Duration = Duration::from_secs(600);

fn group() -> Group {
    Group::new(Topic::new("hurt").unwrap(), GroupName::new("workers").unwrap())
}

fn receive(max: usize) -> Receive {
    Receive { group: group(), worker: WorkerId::new("worker").unwrap(), max, lease: LEASE }
}

fn publish(id: &str) -> Publish {
    let (source, kind) = (Source::new("/hurt").unwrap(), MessageType::new("hurt.told").unwrap());
    let message = Message::new(MessageId::new(id).unwrap(), source, kind).data("text/plain", id.as_bytes());
    Publish::one(Address::Topic(group().topic().clone()), message)
}

/// So few steps that states are saved, and rows deleted, in the middle of it.
fn open(folder: &Path) -> Sqlite {
    let limits = QueueLimits { steps_max: 8, ..QueueLimits::default() };
    Sqlite::with(folder.join("queue.db"), Arc::new(SystemClock), limits).unwrap()
}

/// Publishes, receives and acknowledges, goes on after errors, and notes what it was told as soon as it is.
fn live(folder: &Path) {
    let mut notes = fs::OpenOptions::new().append(true).create(true).open(folder.join("notes")).unwrap();
    let mut note = |what: &str, id: &str| notes.write_all(format!("{what} {id}\n").as_bytes()).unwrap();
    let queue = open(folder);
    for number in 0..TURNS {
        let id = format!("m{number}");
        match block_on(queue.publish(vec![publish(&id)])) {
            Ok(published) => match published.as_slice() {
                [Published::Accepted { copies: 1 }] => note("accepted", &id),
                [Published::Unknown] => note("unknown", &id),
                other => note("unexpected", &format!("{other:?}")),
            },
            Err(error) if error.kind() == ErrorKind::Unavailable => note("refused", &id),
            Err(error) => note("unexpected", &format!("{error:?}")),
        }
        let deliveries = match block_on(queue.receive(receive(2))) {
            Ok(received) => received.deliveries,
            // What was leased is held for nobody then, until the lease ends.
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown) => {
                note("failed", "receive");
                Vec::new()
            }
            Err(error) => {
                note("unexpected", &format!("{error:?}"));
                Vec::new()
            }
        };
        for delivery in deliveries {
            let id = delivery.message.id.as_str();
            let settle = Settle { lease: delivery.lease, action: Action::Ack };
            match block_on(queue.settle(&group(), vec![settle])).as_deref() {
                Ok([Settled::Applied]) => note("acked", id),
                Ok([Settled::Unknown]) => note("perhaps-acked", id),
                Ok(other) => note("unexpected", &format!("{other:?}")),
                Err(error) if error.kind() == ErrorKind::Unavailable => note("failed", "settle"),
                Err(error) => note("unexpected", &format!("{error:?}")),
            }
        }
    }
    note("lived", "on");
}

struct Hurt {
    hits: usize,
    lived_on: bool,
    accepted: BTreeSet<String>,
    /// Accepted after something was told to have failed.
    accepted_again: bool,
    unknown: usize,
    /// Whether the file itself was written and flushed between the fault and the next that was accepted; nothing when none was.
    is_flushed_anew: Option<bool>,
}

fn is_flushed_anew(trace: &str) -> Option<bool> {
    let mut lines = trace.lines().skip_while(|line| !line.contains("(INJECTED)")).skip(1);
    let (mut is_written, mut is_flushed) = (false, false);
    loop {
        let line = lines.next()?;
        if line.contains("/notes>") && line.contains("\"accepted ") {
            return Some(is_flushed);
        }
        is_written |= line.contains("pwrite64(") && line.contains("/queue.db>");
        is_flushed |= is_written && line.contains("sync(") && line.contains("/queue.db>") && line.ends_with("= 0");
    }
}

/// Lets a process live under a fault, and looks whether the file holds what the process was told.
fn hurt(test: &str, calls: &str, fault: &str) -> Hurt {
    let folder = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(folder.path()).unwrap();
    let file = |name: &str| path.join(name);
    let topology = Topology::default().topic(TopicSpec::new(group().topic().clone())).group(GroupSpec::new(group()));
    block_on(open(&path).declare(topology)).unwrap();
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "--seccomp-bpf", "-o"]).arg(file("trace"));
    for name in ["queue.db", "queue.db-wal", "notes"] {
        command.arg("-P").arg(file(name));
    }
    command.args(["-e", "trace=write,pwrite64,fsync,fdatasync", "-e", &format!("inject={calls}:{fault}")]);
    command.arg(env::current_exe().unwrap()).args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(VARIABLE, &path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status();
    let status = status.unwrap_or_else(|error| {
        panic!("strace does not start: {error}; these tests need it (Debian: apt-get install strace)")
    });
    let read = |name: &str| fs::read_to_string(file(name)).unwrap_or_default();
    let notes = read("notes");
    println!("{fault} at {calls}: {status}, {} lines", notes.lines().count());
    let told = |what: &str| -> BTreeSet<String> {
        let lines = notes.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(known, _)| *known == what).map(|(_, id)| id.to_owned()).collect()
    };
    assert_eq!(told("unexpected"), BTreeSet::new());
    check(&path, &told);
    let failed = ["\nunknown ", "\nrefused ", "\nperhaps-acked ", "\nfailed "];
    let failed = failed.into_iter().filter_map(|what| notes.find(what)).min();
    Hurt {
        hits: read("trace").matches("(INJECTED").count(),
        lived_on: notes.ends_with("lived on\n"),
        accepted_again: failed.and_then(|at| notes.get(at..)).is_some_and(|rest| rest.contains("\naccepted ")),
        unknown: told("unknown").len(),
        is_flushed_anew: is_flushed_anew(&read("trace")),
        accepted: told("accepted"),
    }
}

/// What was accepted and not acknowledged is there, once; what was acknowledged is not; what was refused never was.
fn check(folder: &Path, told: &dyn Fn(&str) -> BTreeSet<String>) {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    clock.advance(LEASE);
    let queue = Sqlite::with(folder.join("queue.db"), clock, QueueLimits::default()).unwrap();
    let found = block_on(queue.receive(receive(1_000))).unwrap().deliveries;
    let count = found.len();
    let found: BTreeSet<String> = found.into_iter().map(|delivery| delivery.message.id.to_string()).collect();
    assert_eq!(found.len(), count, "a message stands there twice");
    let (accepted, acked, perhaps) = (told("accepted"), told("acked"), told("perhaps-acked"));
    let twice: Vec<_> = acked.intersection(&found).collect();
    assert!(twice.is_empty(), "acknowledged, and delivered again: {twice:?}");
    let gone = |id: &&String| !acked.contains(*id) && !perhaps.contains(*id) && !found.contains(*id);
    let gone: Vec<_> = accepted.iter().filter(gone).collect();
    assert!(gone.is_empty(), "accepted, and nowhere: {gone:?}");
    let refused = told("refused");
    let made: Vec<_> = refused.iter().filter(|id| found.contains(*id) || acked.contains(*id)).collect();
    assert!(made.is_empty(), "told that nothing was done, and there: {made:?}");
    // It works again.
    assert_eq!(block_on(queue.publish(vec![publish("last")])).unwrap(), [Published::Accepted { copies: 1 }]);
    let last = block_on(queue.receive(receive(1))).unwrap().deliveries;
    assert_eq!(last.first().map(|delivery| delivery.message.id.to_string()), Some("last".to_owned()));
}

fn is_child() -> bool {
    env::var(VARIABLE).is_ok_and(|folder| {
        live(Path::new(&folder));
        true
    })
}

macro_rules! this_test {
    ($name:ident) => {
        concat!(module_path!(), "::", stringify!($name)).split_once("::").unwrap().1
    };
}

/// What failed once is told as not done or as unknown, and the queue opens its file again and goes on in the same process.
#[test]
fn a_disk_that_fails_once_makes_nothing_untrue_and_the_queue_goes_on() {
    if is_child() {
        return;
    }
    let test = this_test!(a_disk_that_fails_once_makes_nothing_untrue_and_the_queue_goes_on);
    let (mut hits, mut unknown, mut again, mut flushed) = (0, 0, 0, 0);
    for (calls, error) in [("fsync,fdatasync", "EIO"), ("pwrite64", "ENOSPC"), ("pwrite64", "EIO")] {
        for nth in [3, 8, 21, 34, 55] {
            let hurt = hurt(test, calls, &format!("error={error}:when={nth}"));
            hits += hurt.hits;
            unknown += hurt.unknown;
            again += usize::from(hurt.accepted_again);
            // A write that failed was never believed; a flush that failed may have dropped what others had written.
            if calls.contains("sync") && hurt.accepted_again {
                assert_eq!(hurt.is_flushed_anew, Some(true), "acknowledged before all was written and flushed anew");
                flushed += 1;
            }
            assert!(hurt.lived_on, "the process ended");
        }
    }
    println!("{hits} times hit, {unknown} unknown, {again} went on, {flushed} flushed anew");
    assert!(hits >= 10 && unknown > 0 && again >= 8 && flushed > 1, "too little was hurt");
}

/// Nothing is acknowledged on a disk that does not work any more; what had been is there when it works again.
#[test]
fn a_disk_that_fails_for_good_acknowledges_nothing_more() {
    if is_child() {
        return;
    }
    let test = this_test!(a_disk_that_fails_for_good_acknowledges_nothing_more);
    for (calls, error) in [("fsync,fdatasync", "EIO"), ("pwrite64", "ENOSPC")] {
        let hurt = hurt(test, calls, &format!("error={error}:when=30+"));
        assert!(hurt.hits > 10 && hurt.lived_on, "{} times hit", hurt.hits);
        assert!(!hurt.accepted.is_empty() && hurt.accepted.len() < 30, "{:?}", hurt.accepted);
        assert!(!hurt.accepted_again, "something was accepted on a disk that does not work");
    }
}

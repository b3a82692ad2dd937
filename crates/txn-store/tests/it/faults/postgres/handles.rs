//! A process that has no file descriptor left for a session.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use txn_change::{Change, ChangeId, Fingerprint};
use txn_store::{Ask, Commit, Error, ErrorKind, Outcome, Store, conformance::block_on, faults::Workload};

use super::{Scene, settings::Role};
use crate::faults::{child::this_test, hit, rounds, wait_for};

const VARIABLE: &str = "TXN_TEST_HANDLES";

/// Somebody outside who says how many file descriptors this process may have: it could not start anybody when it has none left.
struct Warden {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Warden {
    fn start() -> Self {
        let text =
            format!("while read most; do prlimit --pid {} --nofile=$most: && echo done; done", std::process::id());
        let mut process =
            Command::new("sh").args(["-c", &text]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, answers) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, orders, answers }
    }

    fn allow(&mut self, most: u32) {
        writeln!(self.orders, "{most}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "prlimit is installed (Debian: util-linux)");
    }

    fn end(self) {
        let Self { mut process, orders, answers } = self;
        drop((orders, answers));
        process.wait().unwrap();
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Its sessions are ended and it can open none, over and over: each time an error says so, and each time it goes on when there is room. In the end the process has the descriptors that it had, and the server the sessions.
///
/// Case F23.
#[test]
fn a_process_that_ran_out_of_file_descriptors_many_times_has_leaked_none_and_no_session() {
    if env::var_os(VARIABLE).is_none() {
        // A process of its own: no other test opens files in it.
        let this = env::current_exe().unwrap();
        let test = this_test!(a_process_that_ran_out_of_file_descriptors_many_times_has_leaked_none_and_no_session);
        let mut child = Command::new(this);
        child.args([test, "--exact", "--nocapture"]).env(VARIABLE, "1");
        let output = child.stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        println!("{said}");
        assert!(output.status.success() && said.contains("1 passed"), "the process failed");
        return;
    }
    let mut warden = Warden::start();
    let role = Role::new(&[]);
    let scene = Scene::at(role.url.clone(), Workload::default());
    let store = scene.open();
    let commit = |id: &str| -> Result<Outcome, Error> {
        let change = Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("handles", id.as_bytes()));
        block_on(store.commit(vec![Commit { tenant: Workload::tenant(), change }])).pop().unwrap()
    };
    let read = || block_on(store.get(vec![Ask::new(Workload::tenant())])).map(drop);
    let is_done = |id: &str| matches!(commit(id), Ok(Outcome::Done(_)));
    let settled = || {
        wait_for("all sessions", || {
            let _ = read();
            let before = (descriptors(), role.sessions());
            std::thread::sleep(std::time::Duration::from_millis(300));
            before.1 >= 3 && before == (descriptors(), role.sessions())
        });
        (descriptors(), role.sessions())
    };
    assert!(is_done("first"));
    // The sessions of a store that has lost all of them once.
    role.disconnect();
    wait_for("a commit", || is_done("second"));
    let before = settled();
    let mut hits = 0;
    for round in 0..rounds(25) {
        role.disconnect();
        // Those that are open stay, and none is opened.
        warden.allow(3);
        let id = format!("starved/{round}");
        let mut told = None;
        wait_for("an error", || {
            let is_out = |error: &Error| format!("{error:?}").to_lowercase().contains("too many open files");
            match (commit(&id), read()) {
                (Err(error), read) if is_out(&error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    assert!(read.map_or_else(|error| error.kind() == ErrorKind::Unavailable, |()| true));
                    told = Some(error);
                }
                (Err(error), _) => assert!(error.is_retryable(), "{error}"),
                (Ok(_), _) => panic!("committed without a session"),
            }
            told.is_some()
        });
        hits += 1;
        warden.allow(256);
        wait_for("a commit", || is_done(&id));
    }
    hit("a session that no file descriptor was left for", hits);
    let after = settled();
    println!("descriptors and sessions: {before:?} before, {after:?} after");
    assert!(after.0 <= before.0 && after.1 <= before.1, "a leak: {before:?} before, {after:?} after");
    warden.end();
    drop(store);
    wait_for("the sessions to end", || role.sessions() == 0);
}

//! A server of a test's own, that may be killed: `TXN_POSTGRES_BIN` says where its programs are, and `TXN_POSTGRES_ACCOUNT` who it runs as, when this is root.

use std::{
    env, fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use txn_change::{Change, ChangeId, Fingerprint};
use txn_store::{Commit, ErrorKind, Outcome, Store, conformance::block_on, faults::Workload};

use super::{PATIENT, Scene, execute};
use crate::{
    faults::{hit, is_alive, rounds, wait_for},
    postgres::server::RUNTIME,
};

/// A server, and its data. Both go with the value.
pub(super) struct Own {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Own {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some((uid, gid)) = account() {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut own = Self { folder, port, process: None };
        let mut initdb = own.program("initdb");
        initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=trust", "--username=txn", "--pgdata"]);
        assert!(initdb.arg(own.data()).status().unwrap().success(), "initdb failed");
        own.go_on();
        own
    }

    fn program(&self, name: &str) -> Command {
        self.program_under(&[], name)
    }

    /// The same, run by another program.
    fn program_under(&self, runner: &[String], name: &str) -> Command {
        let bin = env::var("TXN_POSTGRES_BIN").expect("TXN_POSTGRES_BIN is the folder of initdb and postgres");
        let program = PathBuf::from(bin).join(name);
        let mut command = match runner {
            [] => Command::new(program),
            [runner, words @ ..] => {
                let mut command = Command::new(runner);
                command.args(words).arg(program);
                command
            }
        };
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = account() {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://txn@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it on the data that is there.
    pub(super) fn go_on(&mut self) {
        self.go_on_under(&[]);
    }

    /// Starts it under `strace`, which makes these calls of each of its processes fail on these files of its data.
    pub(super) fn go_on_hurt(&mut self, files: &[String], calls: &str, fault: &str) {
        let trace = self.path("trace");
        let _ = fs::remove_file(&trace);
        // Not its parent, so that a signal to the server is one to the server.
        let mut words: Vec<String> =
            ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", &trace].map(str::to_owned).into();
        for file in files {
            words.extend(["-P".to_owned(), format!("{}/{file}", self.path("data"))]);
        }
        words.extend(["-e".to_owned(), format!("trace={calls}"), "-e".to_owned(), format!("inject={calls}:{fault}")]);
        self.go_on_under(&words);
        assert!(Path::new(&trace).exists(), "strace must be installed, and this user allowed to trace");
    }

    fn path(&self, name: &str) -> String {
        fs::canonicalize(self.folder.path()).unwrap().join(name).to_string_lossy().into_owned()
    }

    /// How often a call has failed since it was started to be hurt.
    pub(super) fn hits(&self) -> u64 {
        fs::read_to_string(self.path("trace")).unwrap().matches("(INJECTED)").count() as u64
    }

    /// All that it has said.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn go_on_under(&mut self, runner: &[String]) {
        let url = self.url();
        wait_for("the server", || {
            let is_up = self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_none());
            if !is_up {
                // Sessions of a server that was killed may be there a moment longer, and keep its data; then the next one ends at once.
                let mut serve = self.program_under(runner, "postgres");
                let log = fs::OpenOptions::new().append(true).create(true).open(self.path("log")).unwrap();
                serve.stderr(log).arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
                for setting in
                    ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=on", "max_connections=16"]
                {
                    serve.args(["-c", setting]);
                }
                self.process = Some(serve.spawn().unwrap());
                thread::sleep(Duration::from_millis(50));
            }
            execute(&url, "SELECT 1").is_ok()
        });
    }

    /// Sends a signal to the server, and waits until it is gone.
    pub(super) fn end(&mut self, signal: &str) {
        let Some(mut process) = self.process.take() else { return };
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(sent.unwrap().success());
        process.wait().unwrap();
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // At once, and its sessions with it.
            let _ = Command::new("kill").args(["-QUIT", &process.id().to_string()]).status();
            let _ = process.wait();
        }
    }
}

fn account() -> Option<(u32, u32)> {
    let account = env::var("TXN_POSTGRES_ACCOUNT").ok()?;
    let (uid, gid) = account.split_once(':').unwrap();
    Some((uid.parse().unwrap(), gid.parse().unwrap()))
}

/// Case F33.
#[test]
fn a_server_that_dies_under_load_has_every_acknowledged_change_when_it_is_back() {
    let mut own = Own::start();
    let scene = Scene::at(own.url(), Workload { seed: 33, changes: u64::MAX, workers: 4, ..Workload::default() });
    let store = scene.open();
    let is_over = AtomicBool::new(false);
    let (mut deaths, mut ran) = (0, None);
    thread::scope(|scope| {
        let running = scope.spawn(|| scene.run(&store, &|_| is_over.load(Ordering::SeqCst)));
        for round in 0..rounds(4) {
            let before = scene.side.read().unwrap().done();
            wait_for("some changes", || scene.side.read().unwrap().done() > before + 25);
            own.end(if round % 2 == 0 { "-KILL" } else { "-QUIT" });
            deaths += 1;
            own.go_on();
            let reopened = scene.open();
            drop(reopened);
        }
        let before = scene.side.read().unwrap().done();
        wait_for("some changes", || scene.side.read().unwrap().done() > before + 25);
        is_over.store(true, Ordering::SeqCst);
        ran = Some(running.join().unwrap());
    });
    let ran = ran.unwrap();
    println!("{ran:?}");
    assert_eq!(ran.given_up, 0);
    hit("death of the server", deaths);
    hit("calls that the death of the server hit", ran.unknown + ran.failed);
    // The store that lived through it works, and so does a new one.
    is_alive(&store, &scene.workload, &scene.side);
    drop(store);
    scene.end();
}

/// Case F36.
#[test]
fn a_server_without_free_connections_is_an_error_in_time_and_no_harm() {
    let own = Own::start();
    let scene = Scene::at(own.url(), Workload { seed: 36, changes: 30, workers: 2, ..Workload::default() });
    let (proxy, store) = scene.through_within(PATIENT);
    let ran = scene.run(&store, &|ran| ran.done > 10);
    assert_eq!((ran.unknown, ran.failed), (0, 0), "{ran:?}");
    let mut eaten = Vec::new();
    let mut hits = 0;
    let eat = |eaten: &mut Vec<PgConnection>| {
        while let Ok(session) = RUNTIME.block_on(PgConnection::connect(&own.url())) {
            eaten.push(session);
        }
    };
    eat(&mut eaten);
    // The sessions of the store go, and others take their places.
    proxy.refuse();
    wait_for("the sessions to be taken", || {
        eat(&mut eaten);
        eaten.len() >= 16
    });
    proxy.flow();
    let asked = Instant::now();
    let refused = scene.try_open(&own.url()).map(drop).unwrap_err();
    assert!(asked.elapsed() < PATIENT, "within the deadline: {:?}", asked.elapsed());
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    hits += u64::from(refused.to_string().contains("53300"));
    let change = Change::new(ChangeId::new("starved").unwrap(), Fingerprint::of_bytes("own", b""));
    let starved = || block_on(store.commit(vec![Commit { tenant: Workload::tenant(), change: change.clone() }])).pop();
    let asked = Instant::now();
    let error = starved().unwrap().unwrap_err();
    assert!(asked.elapsed() < PATIENT * 2, "two sessions, each within the deadline: {:?}", asked.elapsed());
    assert!(error.is_retryable() && error.kind() == ErrorKind::Unavailable, "{error}");
    hits += u64::from(error.to_string().contains("53300"));
    for session in eaten {
        RUNTIME.block_on(session.close()).unwrap();
    }
    assert!(matches!(starved(), Some(Ok(Outcome::Done(_)))), "as soon as there is room");
    hit("too many connections", hits);
    is_alive(&store, &scene.workload, &scene.side);
    drop(store);
    scene.end();
}

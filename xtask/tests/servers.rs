//! Real servers, and every way in which the process that started them can end.
//!
//! Each test has a temporary folder of its own, so that what a server leaves behind has nowhere to hide.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may stop at once, and so may what they share")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(60);

/// A temporary folder that every account may use, as the system's own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("txn-xtask-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
        Self(path)
    }

    fn xtask(&self, arguments: &[&str]) -> Command {
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        xtask.args(arguments).env("TMPDIR", self.tmp()).env("CARGO_TARGET_DIR", self.0.join("target"));
        xtask
    }

    fn tmp(&self) -> PathBuf {
        let tmp = self.0.join("tmp");
        if !tmp.exists() {
            fs::create_dir(&tmp).unwrap();
            fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
        }
        tmp
    }

    fn is_clean(&self) -> bool {
        fs::read_dir(self.tmp()).unwrap().next().is_none()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The address in `postgres://user:password@address/database`.
fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once('@').unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < WITHIN, "not within {} s: {what}", WITHIN.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
}

/// A process group as a terminal makes it, that holds a server until it is ended.
fn holder(place: &Place) -> (Child, SocketAddr) {
    let xtask = place.xtask(&["services", "run", "sh", "-c", "echo $TXN_POSTGRES_URL; exec sleep 600"]);
    // Of a run in the background of a shell, everything ignores interrupts, what is started here too.
    let mut run = Command::new("env");
    run.arg("--default-signal=INT").arg(xtask.get_program()).args(xtask.get_args());
    run.envs(xtask.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = run.stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let address = address(&url);
    assert!(answers(address) && !place.is_clean());
    (child, address)
}

fn kill(signal: &str, target: &str) {
    assert!(Command::new("kill").args([signal, "--", target]).status().unwrap().success());
}

/// The run was interrupted from the keyboard: the terminal signals the whole group, and nobody cleans up.
#[test]
fn an_interrupt_stops_the_server_and_removes_its_folder() {
    let place = Place::new("interrupt");
    let (mut child, address) = holder(&place);
    kill("-INT", &format!("-{}", child.id()));
    assert!(!child.wait().unwrap().success());
    eventually("the server ends", || !answers(address));
    eventually("the folder goes", || place.is_clean());
}

/// The run was killed, as a machine short of memory does: the process that started the server had no last word.
#[test]
fn a_kill_stops_the_server_and_removes_its_folder() {
    let place = Place::new("kill");
    let (mut child, address) = holder(&place);
    kill("-KILL", &child.id().to_string());
    assert!(!child.wait().unwrap().success());
    eventually("the server ends", || !answers(address));
    eventually("the folder goes", || place.is_clean());
    // What the killed process had started is not ours to leave behind.
    kill("-KILL", &format!("-{}", child.id()));
}

/// Killed while the server is still being made.
#[test]
fn a_kill_during_the_start_leaves_nothing() {
    let place = Place::new("early");
    let mut child = place.xtask(&["services", "run", "true"]).spawn().unwrap();
    eventually("the start begins", || !place.is_clean());
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the folder goes", || place.is_clean());
}

#[test]
fn a_run_ends_with_the_outcome_of_its_command_and_stops_the_server() {
    let place = Place::new("run");
    assert!(place.xtask(&["services", "run", "true"]).status().unwrap().success());
    assert!(place.is_clean(), "stopped before we go on");
    let output = place.xtask(&["services", "run", "sh", "-c", "exit 3"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("exit status: 3"));
    assert!(place.is_clean());
}

#[test]
fn services_stay_until_they_are_stopped_and_are_found_again() {
    let place = Place::new("services");
    // Evaluated as a shell does it: the call must end, although the server holds on to what it inherited.
    let eval = "eval \"$(\"$0\" services)\" && echo \"$TXN_POSTGRES_URL\"";
    let urls = [(); 2].map(|()| {
        let xtask = place.xtask(&[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", eval]).arg(xtask.get_program());
        shell.envs(xtask.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    });
    assert_eq!(urls[0], urls[1]);
    let address = address(&urls[0]);
    assert!(answers(address));

    for said in ["PostgreSQL stopped", "no servers run"] {
        let output = place.xtask(&["services", "stop"]).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains(said), "{output:?}");
        assert!(!answers(address) && place.is_clean());
    }
}

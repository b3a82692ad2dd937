//! Shells as servers: what is promised of a server's life holds for any program.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{Plan, Step, Supervised, quoted, script};
use crate::servers::random;

const LIMIT: Duration = Duration::from_secs(30);

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn plan(prepare: Vec<Step>, serve: &str) -> Plan {
    let folder = random::path("txn-supervisor").unwrap();
    let files = vec![("file", "a text".to_owned())];
    let serve = words(&["sh", "-c", serve]);
    Plan { account: None, folder, files, prepare, serve, stop_signal: "TERM", stop_tenths_max: 5 }
}

/// The server runs in its folder, and is ready when it has made a file there.
fn start(plan: Plan, limit: Duration) -> (PathBuf, Result<Supervised, String>) {
    let folder = plan.folder.clone();
    let ready = folder.join("ready");
    (folder, Supervised::start(plan, limit, |_| ready.exists()))
}

fn runs(pid: u32) -> bool {
    Command::new("kill").args(["-0", &pid.to_string()]).output().unwrap().status.success()
}

#[test]
fn a_server_runs_after_its_preparations_and_ends_with_the_value() {
    let sum = Step {
        command: words(&["sh", "-c", "cat > 'it is prepared'; cat file >> 'it is prepared'"]),
        input: "a 'quoted' word\n",
    };
    let (folder, server) = start(plan(vec![sum], "mv 'it is prepared' ready; exec sleep 600"), LIMIT);
    let server = server.unwrap();
    assert!(runs(server.pid));
    assert_eq!(std::fs::read_to_string(folder.join("ready")).unwrap(), "a 'quoted' word\na text");
    let pid = server.pid;
    drop(server);
    assert!(!runs(pid), "stopped and waited for");
    assert!(!folder.exists(), "removed");
}

#[test]
fn a_start_that_fails_says_what_failed_and_leaves_nothing() {
    let broken = Step { command: words(&["sh", "-c", "echo the reason >&2; exit 3"]), input: "" };
    let cases = [
        (plan(vec![broken], "exec sleep 600"), LIMIT, ["sh failed", "| the reason"]),
        (plan(vec![], "echo no port >&2; exit 1"), LIMIT, ["ended at once", "| no port"]),
        (plan(vec![], "echo busy >&2; exec sleep 600"), Duration::from_secs(2), ["not ready", "| busy"]),
    ];
    for (plan, limit, said) in cases {
        let (folder, server) = start(plan, limit);
        let problem = server.map(drop).unwrap_err();
        for said in said {
            assert!(problem.contains(said), "{said:?} is missing from: {problem}");
        }
        assert!(!folder.exists(), "{} is left", folder.display());
    }
}

#[test]
fn a_kept_server_and_its_folder_stay() {
    let (folder, server) = start(plan(vec![], "touch ready; exec sleep 600"), LIMIT);
    let server = server.unwrap();
    let pid = server.pid;
    server.keep().unwrap();
    assert!(runs(pid) && folder.exists());
    assert!(Command::new("kill").arg(pid.to_string()).status().unwrap().success());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_word_stays_one_word() {
    assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    let script = script(&Plan { folder: "/a b".into(), ..plan(vec![], "x; y") });
    assert!(script.contains("'sh' '-c' 'x; y' </dev/null &"), "{script}");
    assert!(script.ends_with("rm -rf '/a b'\n"), "{script}");
}

/// A server that waits for its clients would hold up everybody who stops it.
#[test]
fn a_server_that_ignores_its_signal_is_killed() {
    let (folder, server) = start(plan(vec![], "trap '' TERM; touch ready; exec sleep 600"), LIMIT);
    let server = server.unwrap();
    let pid = server.pid;
    drop(server);
    assert!(!runs(pid) && !folder.exists());
}

//! A private PostgreSQL server: its own folder, a free port of the loopback address, and a password.
//!
//! It is as durable as a production server, `fsync` included: fault tests and measurements rely on that.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Account;
use super::binaries::{self, Binaries};
use super::supervisor::{Plan, Step, Supervised};
use super::{Running, random};

/// The folder of the programs; fault tests start servers of their own with them.
const VARIABLE_BIN: &str = "TXN_POSTGRES_BIN";

/// Where the server answers, with user, password and database.
const VARIABLE_URL: &str = "TXN_POSTGRES_URL";

/// As root only: the account, `uid:gid`, that a test's own server must run as.
const VARIABLE_ACCOUNT: &str = "TXN_POSTGRES_ACCOUNT";

/// Both the superuser and the database.
const NAME: &str = "txn";

/// In the server's folder: a command line would show the password to every user of the machine.
const PASSWORD_FILE: &str = "password";

const READY_WITHIN: Duration = Duration::from_secs(120);

/// Somebody else may take the free port before the server does; not three times in a row.
const ATTEMPTS: u32 = 3;

/// An immediate shutdown: no checkpoint, since the data goes away with the folder.
const STOP_SIGNAL: &str = "QUIT";

/// Twice what PostgreSQL itself gives its processes in an immediate shutdown.
const STOP_TENTHS_MAX: u32 = 100;

const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    // No socket file, so no limit on the length of the folder's path.
    "unix_socket_directories=",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "shared_buffers=256MB",
    "max_connections=200",
    "max_wal_size=2GB",
    "log_min_messages=warning",
    "logging_collector=off",
];

/// Debian's package makes a cluster of its own and starts it, unless this says otherwise.
const CREATE_CLUSTER: (&str, &str) = (
    "/etc/postgresql-common/createcluster.conf",
    "# Written by `cargo xtask` of txn before it installed PostgreSQL for its tests, which bring their own servers.\n\
     create_main_cluster = false\n",
);

pub(super) fn start() -> Result<(Supervised, Running), String> {
    let bin = binaries().find_or_install()?;
    let account = Account::unprivileged(&["postgres", "nobody"])?;
    let mut attempt = 1;
    loop {
        match start_in(random::path("txn-postgres")?, &bin, account) {
            Err(problem) if attempt < ATTEMPTS && problem.contains("Address already in use") => {
                attempt = attempt.saturating_add(1);
            }
            ended => return ended.map_err(|problem| format!("PostgreSQL of {}: {problem}", bin.display())),
        }
    }
}

fn binaries() -> Binaries<'static> {
    Binaries {
        server: "PostgreSQL",
        variable: VARIABLE_BIN,
        programs: &["initdb", "postgres"],
        folders: binaries::newest_first(Path::new("/usr/lib/postgresql"), "bin"),
        package: "postgresql",
        before: Some((Path::new(CREATE_CLUSTER.0), CREATE_CLUSTER.1)),
    }
}

fn start_in(folder: PathBuf, bin: &Path, account: Option<Account>) -> Result<(Supervised, Running), String> {
    let (port, password) = (free_port()?, random::hex(16)?);
    let status = folder.join("data/postmaster.pid");
    let plan = plan(bin, &folder, port, &password, account);
    let ready = |pid| fs::read_to_string(&status).is_ok_and(|text| is_ready(&text, pid));
    let server = Supervised::start(plan, READY_WITHIN, ready)?;
    let mut variables = vec![
        (VARIABLE_URL.to_owned(), format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{NAME}")),
        (VARIABLE_BIN.to_owned(), bin.to_string_lossy().into_owned()),
    ];
    variables.extend(account.map(|account| (VARIABLE_ACCOUNT.to_owned(), format!("{}:{}", account.uid, account.gid))));
    let (name, stop_signal) = ("PostgreSQL".to_owned(), STOP_SIGNAL.to_owned());
    let running = Running { name, pid: server.pid, folder, stop_signal, variables };
    Ok((server, running))
}

fn plan(bin: &Path, folder: &Path, port: u16, password: &str, account: Option<Account>) -> Plan {
    let word = |path: &Path| path.to_string_lossy().into_owned();
    let owned = |words: &[&str]| words.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();

    let (data, password_file) = (folder.join("data"), folder.join(PASSWORD_FILE));
    let mut create = vec![word(&bin.join("initdb"))];
    create.extend(owned(&["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"]));
    create.push(format!("--username={NAME}"));
    create.push(format!("--pwfile={}", word(&password_file)));
    create.push(format!("--pgdata={}", word(&data)));

    // The single-user mode needs no client program, which some installations lack.
    let mut database = vec![word(&bin.join("postgres"))];
    database.extend(owned(&["--single", "-c", "exit_on_error=on", "-D", &word(&data), "postgres"]));

    let mut serve = vec![word(&bin.join("postgres"))];
    serve.extend(owned(&["-D", &word(&data), "-p", &port.to_string()]));
    serve.extend(SETTINGS.iter().flat_map(|setting| owned(&["-c", setting])));

    Plan {
        account,
        folder: folder.to_owned(),
        files: vec![(PASSWORD_FILE, password.to_owned())],
        prepare: vec![Step { command: create, input: "" }, Step { command: database, input: "CREATE DATABASE txn\n" }],
        serve,
        stop_signal: STOP_SIGNAL,
        stop_tenths_max: STOP_TENTHS_MAX,
    }
}

/// PostgreSQL's own account of itself, as `pg_ctl` reads it: the process id on line 1, the state on line 8. Unlike
/// a connection to the port it cannot be another server's answer.
fn is_ready(postmaster_pid: &str, pid: u32) -> bool {
    let mut lines = postmaster_pid.lines();
    lines.next() == Some(&pid.to_string()) && lines.nth(6).map(str::trim_end) == Some("ready")
}

fn free_port() -> Result<u16, String> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| format!("no free port of 127.0.0.1: {error}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{is_ready, plan};

    #[test]
    fn readiness_is_said_by_this_server_and_by_no_other() {
        let says = |state: &str| format!("42\n/f/data\n1700000000\n5555\n\n127.0.0.1\n  123 4\n{state}\n");
        assert!(is_ready(&says("ready   "), 42));
        assert!(!is_ready(&says("starting"), 42));
        assert!(!is_ready(&says("ready   "), 43), "left over from another server");
        assert!(!is_ready("42\n/f/data\n", 42), "half written");
        assert!(!is_ready("", 42));
    }

    #[test]
    fn the_server_is_durable_private_and_asks_for_a_password() {
        let plan = plan(Path::new("/b"), Path::new("/f"), 5555, "secret", None);
        let serve = plan.serve.join(" ");
        assert!(serve.starts_with("/b/postgres -D /f/data -p 5555 "), "{serve}");
        for setting in ["fsync=on", "synchronous_commit=on", "listen_addresses=127.0.0.1"] {
            assert!(serve.contains(&format!("-c {setting}")), "{setting} is missing from: {serve}");
        }
        let create = plan.prepare[0].command.join(" ");
        assert!(create.contains("--auth=scram-sha-256") && create.contains("--pwfile=/f/password"), "{create}");
        assert_eq!(plan.files, [("password", "secret".to_owned())]);
    }
}

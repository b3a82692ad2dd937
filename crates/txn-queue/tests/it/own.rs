//! A server of a test's own, that may be killed: `TXN_POSTGRES_BIN` says where its programs are, and `TXN_POSTGRES_ACCOUNT` who it runs as, when this is root.

use std::{
    env, fs,
    io::Write as _,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A server, and its data. Both go with the value.
pub(crate) struct Own {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Own {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some((uid, gid)) = account() {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut own = Self { folder, port, process: None };
        own.initialise();
        own.go_on();
        own
    }

    fn initialise(&self) {
        let mut initdb = self.program("initdb");
        initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=trust", "--username=txn", "--pgdata"]);
        assert!(initdb.arg(self.data()).status().unwrap().success(), "initdb failed");
    }

    /// All that is in a schema, as SQL.
    pub(crate) fn dump(&self, schema: &str) -> String {
        let mut dump = self.program("pg_dump");
        let dumped = dump.arg(format!("--schema={schema}")).arg(self.url()).stdout(Stdio::piped()).output().unwrap();
        assert!(dumped.status.success(), "pg_dump failed");
        String::from_utf8(dumped.stdout).unwrap()
    }

    /// Runs SQL.
    pub(crate) fn script(&self, sql: &str) {
        let mut psql = self.program("psql");
        psql.args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1"]).arg(self.url());
        let mut psql = psql.stdin(Stdio::piped()).spawn().unwrap();
        psql.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        assert!(psql.wait().unwrap().success(), "psql failed");
    }

    /// Another server in the same place, which has nothing in it, and has done nothing yet.
    pub(crate) fn begin_anew(&mut self) {
        self.end("-QUIT");
        fs::remove_dir_all(self.data()).unwrap();
        self.initialise();
        self.go_on();
    }

    fn program(&self, name: &str) -> Command {
        let bin = env::var("TXN_POSTGRES_BIN").expect("TXN_POSTGRES_BIN is the folder of initdb and postgres");
        let mut command = Command::new(PathBuf::from(bin).join(name));
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

    pub(crate) fn url(&self) -> String {
        format!("postgres://txn@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it on the data that is there.
    pub(crate) fn go_on(&mut self) {
        let begun = Instant::now();
        while !self.is_ready() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server does not start");
            let is_up = self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_none());
            if !is_up {
                // Sessions of a server that was killed may be there a moment longer, and keep its data; then the next one ends at once.
                let mut serve = self.program("postgres");
                serve.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
                for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=on"] {
                    serve.args(["-c", setting]);
                }
                self.process = Some(serve.spawn().unwrap());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// It listens earlier than it takes sessions.
    fn is_ready(&self) -> bool {
        let mut asked = self.program("pg_isready");
        asked
            .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Sends a signal to the server, and waits until it is gone.
    pub(crate) fn end(&mut self, signal: &str) {
        let Some(mut process) = self.process.take() else { return };
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(sent.unwrap().success());
        process.wait().unwrap();
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // At once, and its sessions with it.
        if let Some(mut process) = self.process.take() {
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

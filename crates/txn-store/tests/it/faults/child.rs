//! A process that works on a SQLite store and is hurt from outside: this very executable, run again with one variable set, under `strace` where system calls are to fail.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use txn_store::{
    Ask, Store, StoreAdmin, StoreLimits,
    conformance::block_on,
    faults::{SideFile, Workload},
    sqlite::{Options, Sqlite},
};

const VARIABLE: &str = "TXN_TEST_FAULTS";

/// A store in a folder, with the notes of its workload beside it.
pub(crate) struct Scene {
    folder: TempDir,
    pub(crate) workload: Workload,
    pub(crate) side: SideFile,
    deadline: Duration,
    queue_max: usize,
    openings: u64,
}

/// How a process under faults ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// How often the fault hit, as the tracer saw it.
    pub(crate) hits: u64,
    /// What the process found, by the name of the step.
    pub(crate) said: BTreeMap<String, String>,
}

impl Ended {
    pub(crate) fn is_killed(&self) -> bool {
        use std::os::unix::process::ExitStatusExt as _;
        self.status.signal() == Some(9) || self.status.code() == Some(137)
    }

    pub(crate) fn said(&self, step: &str) -> &str {
        self.said.get(step).map_or("nothing", String::as_str)
    }

    /// A number of what the workload came to, as [`Ran`](txn_store::faults::Ran) names it.
    pub(crate) fn ran(&self, what: &str) -> u64 {
        let ran = self.said("ran");
        let number = ran.split_once(&format!(" {what}: ")).and_then(|(_, rest)| rest.split([',', ' ']).next());
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {what} in {:?}", self.said))
    }
}

/// Does the work of the child, if this is one. The first line of every test that has children.
pub(crate) fn is_child() -> bool {
    let Ok(folder) = env::var(VARIABLE) else { return false };
    let folder = Path::new(&folder);
    let side = SideFile::open(folder.join("side")).unwrap();
    let words = fs::read_to_string(folder.join("workload")).unwrap();
    let mut words = words.split_ascii_whitespace().map(|word| word.parse::<u64>().unwrap());
    let mut word = || words.next().unwrap();
    let (seed, changes, workers) = (word(), word(), word());
    let [patience, deadline] = [word(), word()].map(Duration::from_millis);
    let (queue_max, openings) = (usize::try_from(word()).unwrap(), word());
    let limits = StoreLimits { queue_max, ..StoreLimits::default() };
    let mut said = String::new();
    let mut say = |step: &str, what: String| {
        said.push_str(&format!("{step} {}\n", what.replace('\n', " ")));
        // A file that cannot be written leaves the step unsaid, which its test notices.
        let _ = fs::write(folder.join("said"), &said);
    };
    say("began", "ok".to_owned());
    say("descriptors", descriptors());
    for _ in 0..openings {
        let options = Sqlite::options(folder.join("store.db")).deadline(deadline).limits(limits);
        live(options, &side, &Workload { seed, changes, workers, patience }, &mut say);
    }
    say("descriptors-after", descriptors());
    true
}

/// How many file descriptors this process has.
fn descriptors() -> String {
    fs::read_dir("/proc/self/fd").map_or_else(|error| error.to_string(), |open| open.count().to_string())
}

fn live(options: Options, side: &SideFile, workload: &Workload, say: &mut dyn FnMut(&str, String)) {
    let store = match options.open() {
        Ok(store) => Arc::new(store),
        Err(error) => return say("open", error.to_string()),
    };
    say("open", "ok".to_owned());
    let plain: Arc<dyn Store> = Arc::<Sqlite>::clone(&store);
    let ran = workload.run(&plain, side, &|_| false);
    say("ran", format!("{ran:?}"));
    say("longest-ms", ran.longest.as_millis().to_string());
    let ask = Ask::new(Workload::tenant()).stored(Workload::id(0));
    say(
        "read",
        block_on(store.get(vec![ask])).map_or_else(
            |e| e.to_string(),
            |found| {
                let is_there = found.first().is_some_and(|found| found.stored.is_some());
                if is_there { "ok".to_owned() } else { "empty".to_owned() }
            },
        ),
    );
    let asks = (0..workload.changes).map(|number| Ask::new(Workload::tenant()).stored(Workload::id(number)));
    let stored = block_on(store.get(asks.collect()))
        .map(|found| found.into_iter().filter(|found| found.stored.is_some()).count().to_string());
    say("stored", stored.unwrap_or_else(|error| error.to_string()));
    say("health", block_on(store.health()).map_or_else(|e| e.to_string(), |_| "ok".to_owned()));
}

impl Scene {
    pub(crate) fn new(workload: Workload) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let side = SideFile::open(folder.path().join("side")).unwrap();
        let queue_max = StoreLimits::default().queue_max;
        let scene = Self { folder, workload, side, deadline: Duration::from_secs(10), queue_max, openings: 1 };
        scene.write();
        scene
    }

    /// The same for a child whose store answers its callers within this time.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self.write();
        self
    }

    /// The same for a child whose store lets so many changes wait.
    pub(crate) fn queue_max(mut self, queue_max: usize) -> Self {
        self.queue_max = queue_max;
        self.write();
        self
    }

    /// The same for a child that opens its store so often, one after the other.
    pub(crate) fn openings(mut self, openings: u64) -> Self {
        self.openings = openings;
        self.write();
        self
    }

    fn write(&self) {
        let Workload { seed, changes, workers, patience } = self.workload;
        let [patience, deadline] = [patience, self.deadline].map(|wait| wait.as_millis());
        let (queue_max, openings) = (self.queue_max, self.openings);
        let words = format!("{seed} {changes} {workers} {patience} {deadline} {queue_max} {openings}");
        fs::write(self.path("workload"), words).unwrap();
    }

    /// The same notes and work for more changes.
    pub(crate) fn changes(&mut self, changes: u64) {
        self.workload.changes = changes;
        self.write();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap().join(name)
    }

    pub(crate) fn open(&self) -> Arc<dyn StoreAdmin> {
        Arc::new(Sqlite::open(self.path("store.db")).unwrap())
    }

    /// A copy of the store and its notes as they are, on which nothing that is done hurts the original.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new(self.workload).deadline(self.deadline).queue_max(self.queue_max).openings(self.openings);
        for file in fs::read_dir(self.folder.path()).unwrap().flatten() {
            fs::copy(file.path(), copy.folder.path().join(file.file_name())).unwrap();
        }
        Self { side: SideFile::open(copy.path("side")).unwrap(), ..copy }
    }

    /// Every line of the notes that says this.
    pub(crate) fn notes(&self, what: &str) -> Vec<String> {
        let notes = fs::read_to_string(self.path("side")).unwrap();
        notes.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
    }

    /// The child, as a command.
    pub(crate) fn command(&self, test: &str, before: &[String]) -> Command {
        let this = env::current_exe().unwrap().to_string_lossy().into_owned();
        let child =
            [this, test.to_owned(), "--exact".to_owned(), "--nocapture".to_owned(), "--test-threads=1".to_owned()];
        let words: Vec<&String> = before.iter().chain(&child).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env(VARIABLE, self.path("")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Lets a child live to its end, or to that which is prepared for it.
    pub(crate) fn run(&self, test: &str, before: &[String]) -> Ended {
        let _ = fs::remove_file(self.path("said"));
        let status = self.command(test, before).status().unwrap_or_else(|error| {
            let program = before.first().map_or("the child", String::as_str);
            panic!("`{program}` does not start: {error}; these tests need strace and prlimit (Debian: apt-get install strace util-linux)")
        });
        let said = fs::read_to_string(self.path("said")).unwrap_or_default();
        let said = said.lines().filter_map(|line| line.split_once(' '));
        let said = said.map(|(step, what)| (step.to_owned(), what.to_owned())).collect();
        let trace = fs::read_to_string(self.path("trace")).unwrap_or_default();
        Ended {
            status,
            hits: ["(INJECTED", "(DELAYED"].iter().map(|mark| trace.matches(mark).count() as u64).sum(),
            said,
        }
    }

    /// Lets a child live under `strace`, which hurts these system calls on these files of the store.
    pub(crate) fn traced(&self, test: &str, files: &[&str], calls: &str, fault: &str) -> Ended {
        self.watched(test, files, calls, calls, fault)
    }

    /// The same, where the trace shows these `seen` calls too.
    pub(crate) fn watched(&self, test: &str, files: &[&str], seen: &str, calls: &str, fault: &str) -> Ended {
        let trace = self.path("trace").to_string_lossy().into_owned();
        let _ = fs::remove_file(&trace);
        let mut words: Vec<String> = ["strace", "-f", "-y", "-qq", "-o", &trace].map(str::to_owned).to_vec();
        if !fault.starts_with("signal") {
            // Faster; but then a signal is only ever sent at the first call.
            words.push("--seccomp-bpf".to_owned());
        }
        for file in files {
            words.extend(["-P".to_owned(), self.path(file).to_string_lossy().into_owned()]);
        }
        words.extend(["-e".to_owned(), format!("trace={seen}")]);
        if !fault.is_empty() {
            words.extend(["-e".to_owned(), format!("inject={calls}:{fault}")]);
        }
        let ended = self.run(test, &words);
        assert!(
            Path::new(&trace).exists() && (ended.is_killed() || !ended.said.is_empty()),
            "the process did not run under strace ({}): strace must be installed, and this user allowed to trace",
            ended.status
        );
        ended
    }
}

/// All files of a store.
pub(crate) const FILES: &[&str] = &["store.db", "store.db-wal", "store.db-shm", "store.db.lock", "store.db-journal"];

/// The name of a test of this folder, as the harness knows it.
macro_rules! this_test {
    ($name:ident) => {
        concat!(module_path!(), "::", stringify!($name)).split_once("::").unwrap().1
    };
}
pub(crate) use this_test;

//! A crate of two lines, with a test for one of them, and a bug of every fate planted in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::limited::{self, Ended};
use super::{Plant, TURNS, Verdict, Which, header, judge, own_turn, read};

const LIBRARY: &str = "\
pub fn guarded(n: u8) -> u8 { n }
pub fn unguarded(n: u8) -> u8 { n }
#[test]
fn guarded_returns_its_argument() { assert_eq!(guarded(1), 1); }
";

/// Removed with the value, also when the test fails.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("txn-xtask-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn patch(story: &str, old: &str, new: &str) -> String {
    let place = "diff --git a/src/lib.rs b/src/lib.rs\n--- a/src/lib.rs\n+++ b/src/lib.rs\n";
    let (first, second) = LIBRARY.split_once('\n').unwrap();
    let second = second.lines().next().unwrap();
    let change = |line: &str| if line == old { format!("-{old}\n+{new}\n") } else { format!(" {line}\n") };
    let (first, second) = (change(first), change(second));
    format!("# {story}\n# test: --lib\n{place}@@ -1,3 +1,3 @@\n{first}{second} #[test]\n")
}

fn a_planted_crate(folder: &Folder) {
    let guarded = "pub fn guarded(n: u8) -> u8 { n }";
    let unguarded = "pub fn unguarded(n: u8) -> u8 { n }";
    folder.write("Cargo.toml", "[package]\nname = \"planted\"\nedition = \"2024\"\n[workspace]\n");
    folder.write(".gitignore", "target\n");
    folder.write("src/lib.rs", LIBRARY);
    folder.write("plants/a-caught.patch", &patch("Off by one.", guarded, "pub fn guarded(n: u8) -> u8 { n + 1 }"));
    folder.write("plants/b-green.patch", &patch("No test.", unguarded, "pub fn unguarded(n: u8) -> u8 { n + 1 }"));
    folder.write("plants/c-broken.patch", &patch("No type.", guarded, "pub fn guarded(n: u8) -> u8 { \"\" }"));
    folder.write("plants/d-stale.patch", &patch("Old.", guarded, "x").replace("-pub fn guarded", "-pub fn before"));
    // Last, so that it also shows that each patch before it was taken back.
    folder.write("plants/e-caught.patch", &patch("Nothing.", guarded, "pub fn guarded(_: u8) -> u8 { 0 }"));
    folder.write("plants/README.md", "not a patch");
    assert!(Command::new("git").args(["init", "--quiet"]).current_dir(&folder.0).status().unwrap().success());
}

#[test]
fn a_bug_is_caught_only_by_a_test_that_builds_and_fails() {
    let folder = Folder::new("plants");
    a_planted_crate(&folder);
    let plants = read(&folder.0.join("plants")).unwrap();
    assert_eq!(plants.iter().map(|plant| plant.story.as_str()).next(), Some("Off by one."));
    let verdicts = judge(&folder.0, &folder.0.join("target"), &plants, &[]).unwrap();
    let expected =
        [Verdict::Caught, Verdict::StayedGreen, Verdict::DoesNotBuild, Verdict::DoesNotApply, Verdict::Caught];
    assert_eq!(verdicts, expected);
    assert_eq!(fs::read_to_string(folder.0.join("src/lib.rs")).unwrap(), LIBRARY, "the tree itself is untouched");
}

/// Three commits that follow each other plant all bugs, wherever they begin to be counted, and none twice.
#[test]
fn every_plant_has_one_turn_of_three() {
    let names: Vec<String> = (0..300).map(|number| format!("a-bug-of-number-{number}")).collect();
    for name in &names {
        for first in [0, 1, 2, 4_711, u64::MAX - 2] {
            let turns = (first..=first + 2).filter(|turn| Which::Turn(*turn).takes(name));
            assert_eq!(turns.count(), 1, "{name} from {first} on");
        }
    }
    for turn in 0..TURNS {
        let share = names.iter().filter(|name| own_turn(name) == turn).count();
        assert!((70..=130).contains(&share), "{share} of 300 in turn {turn}");
    }
}

#[test]
fn a_folder_that_is_not_there_holds_no_plants() {
    assert!(read(Path::new("no/such/folder")).unwrap().is_empty());
}

#[test]
fn the_header_is_a_story_and_one_test() {
    let text = "# A bug\n# of two lines.\n#\n# test: -p a --features b c\ndiff --git a/x b/x\n# test: not here\n";
    let (story, test) = header(text).unwrap();
    assert_eq!(story, "A bug of two lines.");
    assert_eq!(test, ["-p", "a", "--features", "b", "c"]);
    for (text, named) in [
        ("# test: a\ndiff", "what the bug is"),
        ("# A bug\ndiff", "no line"),
        ("# A bug\n# test:\ndiff", "no line"),
        ("# A bug\n# test: a\n# test: b\n", "more than one"),
    ] {
        let problem = header(text).unwrap_err();
        assert!(problem.contains(named), "{text:?}: {problem}");
    }
}

#[test]
fn a_test_needs_a_server_when_it_stands_behind_that_feature() {
    let needs = |test: &str| {
        let (story, patch) = (String::new(), PathBuf::new());
        let test = test.split_whitespace().map(str::to_owned).collect();
        Plant { name: String::new(), patch, story, test }.needs_servers()
    };
    for test in [
        "-p txn-store --features servers --test it skipped",
        "-p txn-store --features faults,servers --test it",
        "-F servers",
        "--features=txn-store/servers -p txn-store",
        "--all-features",
    ] {
        assert!(needs(test), "{test}");
    }
    for test in ["-p xtask servers", "-p txn-store --features faults servers", "-p txn-store -- --features servers"] {
        assert!(!needs(test), "{test}");
    }
}

#[cfg(unix)]
#[test]
fn the_variables_of_the_servers_reach_the_tests() {
    let folder = Folder::new("variables");
    let test = "#[test]\nfn it_is_told() { assert!(std::env::var(\"TXN_PLANTED_URL\").is_err()); }\n";
    folder.write("Cargo.toml", "[package]\nname = \"told\"\nedition = \"2024\"\n[workspace]\n");
    folder.write(".gitignore", "target\n");
    folder.write("src/lib.rs", test);
    let place = "diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+new\n";
    folder.write("plants/a.patch", &format!("# Nothing.\n# test: --lib\n{place}"));
    assert!(Command::new("git").args(["init", "--quiet"]).current_dir(&folder.0).status().unwrap().success());
    let plants = read(&folder.0.join("plants")).unwrap();
    let variables = [("TXN_PLANTED_URL".to_owned(), "postgres://".to_owned())];
    let verdicts = |variables| judge(&folder.0, &folder.0.join("target"), &plants, variables).unwrap();
    assert_eq!(verdicts(&variables), [Verdict::Caught]);
    assert_eq!(verdicts(&[]), [Verdict::StayedGreen]);
}

#[cfg(unix)]
#[test]
fn a_program_past_its_limit_is_stopped_with_what_it_started() {
    let folder = Folder::new("limited");
    let log = folder.0.join("log");
    let shell = |script: &str, limit| limited::run(Command::new("sh").args(["-c", script]), &log, limit).unwrap();
    assert_eq!(shell("echo out; echo err >&2", Duration::MAX), Ended::Success);
    assert_eq!(shell("exit 3", Duration::MAX), Ended::Failure);
    assert_eq!(fs::read_to_string(&log).unwrap(), "out\nerr\n");
    // The inner shell holds a pipe open; `cat` ends only when everything that was started is gone.
    let pipe = folder.0.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = Command::new("cat").arg(&pipe).spawn().unwrap();
    let script = format!("(sleep 600; true) > '{}' & wait", pipe.display());
    assert_eq!(shell(&script, Duration::from_millis(300)), Ended::TimeOut);
    // Opened once by ourselves, in case the limit came before the inner shell had opened it.
    drop(fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap());
    assert!(reader.wait_with_output().unwrap().status.success());
}

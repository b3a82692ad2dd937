//! `cargo xtask plants`: the tests are tested.
//!
//! Each `plants/*.patch` holds one bug that somebody could write. It is planted in a copy of the tree, and the test
//! named in the patch must fail there. A patch that no longer applies, a copy that no longer builds and a test that
//! does not end are not catches. The tree itself is never touched.
//!
//! A patch begins with its story, and with the arguments of the `cargo test` that must fail:
//!
//! ```text
//! # A guard is checked before the adds of the same change, so two adds together can pass it.
//! # test: -p txn-change guards
//! diff --git a/… b/…
//! ```
//!
//! A test behind the feature `servers` gets a private server, which all of them share and which stops with this command. `--embedded` leaves these
//! bugs out, and says so. `--turn N` takes those whose turn it is: a third of them, and all of them in three turns that follow each other.

mod copy;
mod limited;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cargo::{self, Workspace};
use crate::servers::{Servers, strace};
use crate::test::Suites;
use copy::Copy;
use limited::Ended;

/// A build of the planted copy may take this long; the first one compiles every dependency.
const BUILD_MAX: Duration = Duration::from_secs(1200);

/// A planted bug may hang its test: that is an answer nobody waits for.
const TEST_MAX: Duration = Duration::from_secs(300);

/// So many turns come to all plants.
const TURNS: u64 = 3;

/// What makes the builds short: nobody looks for a planted bug in a debugger, and it changes some lines of one crate.
const BUILD: [(&str, &str); 2] = [("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_TEST_DEBUG", "0")];
const INCREMENTAL: &str = "CARGO_INCREMENTAL";

/// Which of the plants are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those whose name contains this.
    Named(String),
    /// Those whose turn it is.
    Turn(u64),
}

impl Which {
    fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(part) => name.contains(part),
            Self::Turn(turn) => own_turn(name) == turn % TURNS,
        }
    }
}

/// By its name alone (FNV-1a), so that a plant that comes or goes moves no other one to another turn.
fn own_turn(name: &str) -> u64 {
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    name.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, hash) % TURNS
}

/// One kept patch.
struct Plant {
    name: String,
    patch: PathBuf,
    story: String,
    /// Arguments of the `cargo test` that must fail.
    test: Vec<String>,
}

impl Plant {
    /// Whether its test is one of those that need a server: they stand behind a feature, which cargo is asked for.
    fn needs_servers(&self) -> bool {
        let mut words = self.test.iter().map(String::as_str).take_while(|word| *word != "--");
        while let Some(word) = words.next() {
            let listed = match word {
                "--all-features" => return true,
                "--features" | "-F" => words.next().unwrap_or_default(),
                word => word.strip_prefix("--features=").unwrap_or_default(),
            };
            // With or without its package.
            if listed.split([',', ' ']).any(|feature| feature.rsplit('/').next() == Some("servers")) {
                return true;
            }
        }
        false
    }
}

/// What the tests said about one planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Caught,
    StayedGreen,
    DoesNotApply,
    DoesNotBuild,
    DoesNotEnd,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Caught => "caught",
            Self::StayedGreen => "NOT CAUGHT (the test stays green)",
            Self::DoesNotApply => "NOT CAUGHT (the patch does not apply)",
            Self::DoesNotBuild => "NOT CAUGHT (the planted tree does not build)",
            Self::DoesNotEnd => "NOT CAUGHT (the test does not end)",
        })
    }
}

pub(crate) fn run(workspace: &Workspace, suites: Suites, which: &Which) -> Result<(), String> {
    let mut plants = read(&workspace.root.join("plants"))?;
    let all = plants.len();
    plants.retain(|plant| which.takes(&plant.name));
    if let Which::Turn(turn) = which {
        println!("turn {} of {TURNS}: {} of {all} planted bugs", turn % TURNS, plants.len());
    }
    let mut servers = None;
    if plants.iter().any(Plant::needs_servers) {
        match suites {
            Suites::All => {
                strace::find()?;
                servers = Some(Servers::start()?);
            }
            Suites::Embedded => {
                let (left_out, embedded) = plants.into_iter().partition(Plant::needs_servers);
                plants = embedded;
                left_out.iter().for_each(|plant: &Plant| println!("left out {}: it needs a server", plant.name));
            }
        }
    }
    let variables = servers.as_ref().map(Servers::variables).unwrap_or_default();
    let verdicts = judge(&workspace.root, &workspace.target.join("plants"), &plants, &variables)?;
    let missed = verdicts.iter().filter(|verdict| **verdict != Verdict::Caught).count();
    match (verdicts.len(), missed) {
        (0, _) => Err("there are no planted bugs".to_owned()),
        (_, 0) => Ok(()),
        (all, missed) => Err(format!("{missed} of {all} planted bugs are not caught")),
    }
}

/// Plants each bug in turn in one copy of the tree, and says how each ended.
///
/// `target` must not be the tree's own target folder: cargo would take a build of the planted copy for one of the
/// tree, since both name their packages alike.
///
/// `variables` lead the tests to their servers.
fn judge(root: &Path, target: &Path, plants: &[Plant], variables: &[(String, String)]) -> Result<Vec<Verdict>, String> {
    if plants.is_empty() {
        return Ok(Vec::new());
    }
    fs::create_dir_all(target).map_err(|error| format!("{}: {error}", target.display()))?;
    let copy = Copy::of(root)?;
    let mut verdicts = Vec::new();
    for plant in plants {
        let log = target.join(format!("{}.log", plant.name));
        let verdict = judge_one(&copy, target, &log, plant, variables)?;
        println!("{verdict} {}: {}", plant.name, plant.story);
        if verdict != Verdict::Caught {
            println!("    cargo test {}", plant.test.join(" "));
            for line in last_lines(&log, 20) {
                println!("    | {line}");
            }
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

fn judge_one(
    copy: &Copy,
    target: &Path,
    log: &Path,
    plant: &Plant,
    variables: &[(String, String)],
) -> Result<Verdict, String> {
    fs::write(log, "").map_err(|error| format!("{}: {error}", log.display()))?;
    if !copy.apply(&plant.patch, log)? {
        return Ok(Verdict::DoesNotApply);
    }
    let test = |first: &[&str], incremental: &str, limit| {
        let arguments = first.iter().copied().chain(plant.test.iter().map(String::as_str));
        let mut command = cargo::command(copy.root(), arguments);
        command.env("CARGO_TARGET_DIR", target).envs(BUILD).env(INCREMENTAL, incremental);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        limited::run(&mut command, log, limit)
    };
    // Built apart, so that a compile error cannot pass for a caught bug. The compiler may stumble over what it has left
    // from the bug before: then it builds without that.
    let mut verdict = Verdict::DoesNotBuild;
    for incremental in ["1", "0"] {
        match test(&["test", "--no-run"], incremental, BUILD_MAX)? {
            Ended::Failure => {}
            Ended::TimeOut => break,
            Ended::Success => {
                verdict = match test(&["test"], incremental, TEST_MAX)? {
                    Ended::Success => Verdict::StayedGreen,
                    Ended::Failure => Verdict::Caught,
                    Ended::TimeOut => Verdict::DoesNotEnd,
                };
                break;
            }
        }
    }
    copy.revert(&plant.patch, log)?;
    Ok(verdict)
}

/// The patches of a folder; none when there is no folder. Those of one test stand together, so that one after the other changes the same crate and no other is built again.
fn read(folder: &Path) -> Result<Vec<Plant>, String> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let unreadable = |error| format!("{}: {error}", folder.display());
    let mut plants = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let patch = entry.map_err(unreadable)?.path();
        if patch.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&patch).map_err(|error| format!("{}: {error}", patch.display()))?;
        let (story, test) = header(&text).map_err(|problem| format!("{}: {problem}", patch.display()))?;
        plants.push(Plant { name, patch, story, test });
    }
    plants.sort_by(|one, other| (&one.test, &one.name).cmp(&(&other.test, &other.name)));
    Ok(plants)
}

/// The story and the test's arguments, from the lines before the patch proper.
fn header(text: &str) -> Result<(String, Vec<String>), String> {
    let mut story = Vec::new();
    let mut tests = Vec::new();
    for line in text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim) {
        match line.strip_prefix("test:") {
            Some(arguments) => tests.push(arguments.split_whitespace().map(str::to_owned).collect::<Vec<_>>()),
            None if line.is_empty() => {}
            None => story.push(line),
        }
    }
    match tests.as_slice() {
        _ if story.is_empty() => Err("the patch does not begin with a line `# what the bug is`".to_owned()),
        [test] if !test.is_empty() => Ok((story.join(" "), test.clone())),
        [] | [_] => Err("no line `# test: <arguments of cargo test>` before the patch".to_owned()),
        _ => Err("more than one line `# test:`; one planted bug is caught by one test".to_owned()),
    }
}

fn last_lines(log: &Path, count: usize) -> Vec<String> {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(count)).map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests;

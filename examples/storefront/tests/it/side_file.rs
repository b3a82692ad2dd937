//! What a process meant to do and what it was told, line by line in a file of its own: an intent before each call, an ack with the answer after it.
//!
//! A line is one append to a file that no store touches, so it survives the death of its process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    path::Path,
};

pub(crate) struct SideFile(File);

impl SideFile {
    pub(crate) fn open(path: &Path) -> Self {
        Self(File::options().append(true).create(true).open(path).unwrap())
    }

    pub(crate) fn line(&self, line: &str) {
        (&self.0).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub(crate) fn intent(&self, call: &str) {
        self.line(&format!("intent {call}"));
    }

    pub(crate) fn ack(&self, call: &str, answer: &str) {
        self.line(&format!("ack {call} {answer}"));
    }
}

/// What a side file holds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Known {
    /// Every call that was begun.
    pub(crate) intents: BTreeSet<String>,
    /// The answer of every call that was answered.
    pub(crate) acks: BTreeMap<String, String>,
    /// Every other line.
    pub(crate) notes: Vec<String>,
}

impl Known {
    pub(crate) fn read(path: &Path) -> Self {
        let mut known = Self::default();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let mut words = line.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("intent"), Some(call), None) => {
                    known.intents.insert(call.into());
                }
                (Some("ack"), Some(call), Some(answer)) => {
                    let before = known.acks.insert(call.into(), answer.into());
                    assert!(before.is_none_or(|before| before == answer), "{call} was answered in two ways");
                }
                _ => known.notes.push(line.into()),
            }
        }
        known
    }

    /// Calls that were begun, and of which nobody was told what became.
    pub(crate) fn open(&self) -> impl Iterator<Item = &String> {
        self.intents.iter().filter(|call| !self.acks.contains_key(*call))
    }
}

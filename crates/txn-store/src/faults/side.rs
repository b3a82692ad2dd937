//! The side file: what a workload was about to ask, and what it was told. Each line is handed to the system whole before the work goes on, so that it survives the death of the process.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use txn_change::{Fingerprint, Link};

use crate::store::Receipt;

/// What a call was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is done, with this answer, and the store stated this head of its chain.
    Done {
        /// The bytes of the answer.
        answer: String,
        /// When it was committed, in nanoseconds.
        recorded_at: i64,
        /// The head of the chain.
        head: Link,
        /// Whether it had been done before.
        replayed: bool,
    },
    /// It was refused.
    Refused(String),
    /// It was settled as not done.
    NotDone,
    /// It is not known.
    Unknown,
    /// It was not executed.
    Failed(String),
}

impl Told {
    pub(super) fn done(receipt: &Receipt) -> Self {
        let answer = String::from_utf8_lossy(receipt.answer.bytes()).into_owned();
        let recorded_at = receipt.recorded_at.as_nanos();
        Self::Done { answer, recorded_at, head: receipt.head, replayed: receipt.replayed }
    }

    /// Whether nothing more is to come of it.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Refused(_) | Self::NotDone)
    }

    fn line(&self) -> String {
        match self {
            Self::Done { answer, recorded_at, head, replayed } => {
                format!("done {replayed} {recorded_at} {} {} {answer}", head.number, hex(&head.hash))
            }
            Self::Refused(why) => format!("refused {}", one_line(why)),
            Self::NotDone => "not-done".to_owned(),
            Self::Unknown => "unknown".to_owned(),
            Self::Failed(why) => format!("failed {}", one_line(why)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (verdict, rest) = text.split_once(' ').unwrap_or((text, ""));
        Some(match verdict {
            "refused" => Self::Refused(rest.to_owned()),
            "failed" => Self::Failed(rest.to_owned()),
            "not-done" => Self::NotDone,
            "unknown" => Self::Unknown,
            "done" => {
                let mut words = rest.splitn(5, ' ');
                let replayed = words.next()?.parse().ok()?;
                let recorded_at = words.next()?.parse().ok()?;
                let head = Link { number: words.next()?.parse().ok()?, hash: unhex(words.next()?)? };
                Self::Done { answer: words.next()?.to_owned(), recorded_at, head, replayed }
            }
            _ => return None,
        })
    }
}

/// What is known of one change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct History {
    /// All that it was told that is final, in order.
    pub(super) told: Vec<Told>,
    /// Whether a call was begun or ended of which nobody knows what became of it, since the last one that is certain.
    pub(super) is_open: bool,
    is_asked: bool,
    /// Whether it was found done before, though every call until then certainly was not executed.
    pub(super) is_contradicted: bool,
}

impl History {
    /// Whether a call is under way or was lost.
    pub(super) const fn is_uncertain(&self) -> bool {
        self.is_open || self.is_asked
    }
}

/// What a side file holds: of each change by its number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known(pub(super) BTreeMap<u64, History>);

impl Known {
    fn add(&mut self, line: &str) -> Option<()> {
        let mut words = line.splitn(3, ' ');
        let (what, number, rest) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        let history = self.0.entry(number).or_default();
        match what {
            "intent" => {
                // Asked again without an answer to the call before: that one died with its process.
                history.is_open |= history.is_asked;
                history.is_asked = true;
            }
            "ack" => {
                let told = Told::parse(rest)?;
                history.is_asked = false;
                match told {
                    Told::Failed(_) => {}
                    Told::Unknown => history.is_open = true,
                    told => {
                        let was_done = matches!(told, Told::Done { replayed: true, .. });
                        history.is_contradicted |= was_done && !history.is_open && history.told.is_empty();
                        history.is_open = false;
                        history.told.push(told);
                    }
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Whether nothing more is to come of the change.
    #[must_use]
    pub fn is_settled(&self, number: u64) -> bool {
        self.0.get(&number).is_some_and(|history| !history.told.is_empty())
    }

    /// How many changes were acknowledged as done.
    #[must_use]
    pub fn done(&self) -> usize {
        self.0.values().filter(|history| history.told.iter().any(|told| matches!(told, Told::Done { .. }))).count()
    }

    /// How many changes were asked and have no certain end.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.values().filter(|history| history.told.is_empty()).count()
    }
}

/// The file beside the store. Any number of threads may write to it.
#[derive(Debug)]
pub struct SideFile(Mutex<File>);

impl SideFile {
    /// Opens it, or makes it; new lines come behind those that are there.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        if !text.is_empty() && !text.ends_with(b"\n") {
            // The last line died with its process.
            file.write_all(b"\n")?;
        }
        Ok(Self(Mutex::new(file)))
    }

    /// Notes that a change is about to be asked.
    ///
    /// # Errors
    /// What the system says.
    pub fn intent(&self, number: u64, fingerprint: Fingerprint, what: &str) -> io::Result<()> {
        self.line(&format!("intent {number} {} {}\n", hex(&fingerprint.0), one_line(what)))
    }

    /// Notes what it was told.
    ///
    /// # Errors
    /// What the system says.
    pub fn ack(&self, number: u64, told: &Told) -> io::Result<()> {
        self.line(&format!("ack {number} {}\n", told.line()))
    }

    fn line(&self, line: &str) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
    }

    /// Everything that was noted, in whole lines.
    ///
    /// # Errors
    /// What the system says, and `InvalidData` for a line that no workload wrote.
    pub fn read(&self) -> io::Result<Known> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(0))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut known = Known::default();
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        for line in whole.lines() {
            if known.add(line).is_none() && !line.is_empty() && !is_torn(line) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no line of a workload: {line}")));
            }
        }
        Ok(known)
    }
}

/// A line that was cut short by the death of its process; what it was to say is not known.
fn is_torn(line: &str) -> bool {
    ["intent", "ack"].iter().any(|word| line.starts_with(word) || word.starts_with(line))
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let begin = at.checked_mul(2)?;
        *byte = u8::from_str_radix(text.get(begin..begin.checked_add(2)?)?, 16).ok()?;
    }
    (text.len() == 64).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_and_a_torn_end_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("side");
        let side = SideFile::open(&path).unwrap();
        let print = Fingerprint::of_bytes("test", b"");
        let head = Link { number: 3, hash: [0xA5; 32] };
        let done = Told::Done { answer: "{\"n\": 1}".into(), recorded_at: -4, head, replayed: true };
        side.intent(7, print, "a transfer").unwrap();
        side.ack(7, &Told::Failed("certainly not executed".into())).unwrap();
        side.intent(7, print, "a transfer").unwrap();
        side.ack(7, &done).unwrap();
        assert!(side.read().unwrap().0[&7].is_contradicted);
        for told in [Told::Unknown, Told::Failed("a\nb".into()), done.clone()] {
            side.intent(1, print, "a transfer").unwrap();
            side.ack(1, &told).unwrap();
        }
        side.intent(2, print, "a transfer").unwrap();
        side.line("ack 2 do").unwrap();
        let known = side.read().unwrap();
        assert_eq!(known.0[&1].told, [done]);
        assert!(known.is_settled(1) && !known.is_settled(2));
        assert!(!known.0[&1].is_contradicted);
        assert_eq!((known.done(), known.open()), (2, 1));
        drop(side);
        let side = SideFile::open(&path).unwrap();
        side.intent(2, print, "again").unwrap();
        assert!(side.read().unwrap().0[&2].is_open, "what became of the first call is not known");
    }
}

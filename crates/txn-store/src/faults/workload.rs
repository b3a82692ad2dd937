//! A seeded workload: transfers between guarded accounts, movements of guarded stock, notes that are written at the version that was read. Change `n` of a seed is the same
//! in every process, so that it can be asked again.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use txn_change::{
    Add, Body, Change, ChangeId, Class, Event, Expect, FactId, Fingerprint, Guard, Key, Kind, Label, Lanes, Opening,
    Refusal, Tenant, Timestamp,
};

use super::side::{SideFile, Told};
use crate::{
    conformance::block_on,
    error::Error,
    scope::Scope,
    store::{Outcome, Resolution, Store},
};

const ACCOUNTS: u64 = 6;
const ITEMS: u64 = 3;
const NOTES: u64 = 3;
/// How far an account may be overdrawn: little enough that transfers are refused now and then.
const OVERDRAFT: i128 = 40;
const CONFLICT: &str = "somebody else wrote the note";
/// How often a note is read again when somebody else wrote it between.
const CONFLICTS_MAX: u32 = 6;
/// How long to wait before what could not be done is asked again.
const PAUSE: Duration = Duration::from_millis(5);

/// A workload. Two of one seed ask for the same changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// What everything follows from.
    pub seed: u64,
    /// How many changes there are: 0 to `changes` − 1.
    pub changes: u64,
    /// How many threads ask.
    pub workers: u64,
    /// How long one change is asked again while its outcome is unknown or the store cannot do it.
    pub patience: Duration,
}

impl Default for Workload {
    fn default() -> Self {
        Self { seed: 1, changes: 200, workers: 4, patience: Duration::from_secs(30) }
    }
}

/// What one run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ran {
    /// Changes that are done.
    pub done: u64,
    /// Those of them that had been done before.
    pub replayed: u64,
    /// Changes that were refused.
    pub refused: u64,
    /// Calls whose outcome was unknown.
    pub unknown: u64,
    /// Calls that certainly were not executed, because the store could not.
    pub failed: u64,
    /// Calls that were refused since somebody else wrote the note, and asked again.
    pub conflicts: u64,
    /// Changes that were settled with [`Scope::resolve`].
    pub resolved: u64,
    /// Changes that were given up without a certain end: the store is closed, or the patience was over.
    pub given_up: u64,
    /// The longest that one call took.
    pub longest: Duration,
}

/// What a change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Command {
    Transfer { from: u64, to: u64, amount: i64 },
    Receive { item: u64, amount: i64 },
    Reserve { item: u64, amount: i64 },
    Write { note: u64 },
}

impl Workload {
    /// The tenant of all changes.
    #[must_use]
    pub fn tenant() -> Tenant {
        Tenant::new("faults").expect("a word is a tenant")
    }

    /// The id of a change.
    #[must_use]
    pub fn id(number: u64) -> ChangeId {
        ChangeId::new(format!("faults/{number}")).expect("a word and a number are an id")
    }

    pub(super) fn number(id: &ChangeId) -> Option<u64> {
        id.as_str().strip_prefix("faults/")?.parse().ok()
    }

    pub(super) fn fingerprint(&self, number: u64) -> Fingerprint {
        Fingerprint::of("faults.change", &(self.seed, number, self.command(number)))
    }

    pub(super) fn command(&self, number: u64) -> Command {
        let draw = |salt: u64, below: u64| mixed(self.seed, number, salt).checked_rem(below).unwrap_or(0);
        let amount = i64::try_from(draw(1, 9)).unwrap_or(0).saturating_add(1);
        let from = draw(2, ACCOUNTS);
        let to = from.saturating_add(1).saturating_add(draw(3, ACCOUNTS.saturating_sub(1)));
        if number == 0 {
            // Nothing can refuse the first.
            return Command::Receive { item: 0, amount };
        }
        match draw(0, 8) {
            0..=3 => Command::Transfer { from, to: to.checked_rem(ACCOUNTS).unwrap_or(0), amount },
            4 => Command::Receive { item: draw(4, ITEMS), amount },
            5 | 6 => Command::Reserve { item: draw(4, ITEMS), amount },
            _ => Command::Write { note: draw(5, NOTES) },
        }
    }

    /// The change itself; `version` is that of the note, as it was read.
    pub(super) fn change(&self, number: u64, version: Option<u64>) -> Change {
        let command = self.command(number);
        let answer = match command {
            Command::Write { .. } => format!("{{\"n\":{number},\"on\":{}}}", version.unwrap_or(0)),
            _ => format!("{{\"n\":{number}}}"),
        };
        let body = |name| Body::raw(name, 1, answer.clone().into_bytes());
        let made = key("faults-made", number);
        let fact = FactId::new(format!("faults/{number}")).expect("a word and a number are an id");
        let fact = Event::new(body("faults.made")).with_id(fact).with_term(key("faults-by-number", number));
        let change = Change::new(Self::id(number), self.fingerprint(number)).answer(body("faults.answer"));
        let change = change.insert(made.clone(), body("faults.made"), vec![key("faults-by-number", number)]);
        let change = change.append(fact.about(made));
        match command {
            Command::Transfer { from, to, amount } => {
                let amount = i128::from(amount);
                let pays = add(account(from), [0, amount, 0, 0], accounts(), "pays");
                change.add(pays).add(add(account(to), [0, 0, 0, amount], accounts(), "gets"))
            }
            Command::Receive { item, amount } => {
                change.add(add(stock(item), [i128::from(amount), 0, 0, 0], stocks(), "receives"))
            }
            Command::Reserve { item, amount } => {
                change.add(add(stock(item), [0, i128::from(amount), 0, 0], stocks(), "reserves"))
            }
            Command::Write { note } => {
                let event = Event::new(body("faults.written")).about(key("faults-note", note));
                change.put(key("faults-note", note), Expect::of(version), body("faults.note"), vec![]).append(event)
            }
        }
    }

    /// Asks for every change that has no certain end yet, from several threads, until all have one or `is_over` says so. A side file that cannot be written ends it too.
    pub fn run(&self, store: &Arc<dyn Store>, side: &SideFile, is_over: &(dyn Fn(&Ran) -> bool + Sync)) -> Ran {
        let Ok(known) = side.read() else { return Ran::default() };
        let (next, ran) = (AtomicU64::new(0), Mutex::new(Ran::default()));
        let work = || {
            let worker =
                Worker { workload: self, scope: Scope::new(Arc::clone(store), Self::tenant()), side, ran: &ran };
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= self.changes || is_over(&worker.ran()) {
                    return;
                }
                if !known.is_settled(number) && block_on(worker.settle(number)).is_err() {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.workers {
                scope.spawn(work);
            }
        });
        ran.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker<'a> {
    workload: &'a Workload,
    scope: Scope,
    side: &'a SideFile,
    ran: &'a Mutex<Ran>,
}

impl Worker<'_> {
    fn ran(&self) -> Ran {
        *self.ran.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, number: u64, told: &Told, begun: Instant) -> io::Result<()> {
        self.side.ack(number, told)?;
        let mut ran = self.ran.lock().unwrap_or_else(PoisonError::into_inner);
        ran.longest = ran.longest.max(begun.elapsed());
        let count = match told {
            Told::Done { replayed, .. } => {
                ran.replayed = ran.replayed.saturating_add(u64::from(*replayed));
                &mut ran.done
            }
            Told::Refused(_) => &mut ran.refused,
            Told::NotDone => &mut ran.resolved,
            Told::Unknown => &mut ran.unknown,
            Told::Failed(why) if why == CONFLICT => &mut ran.conflicts,
            Told::Failed(_) => &mut ran.failed,
        };
        *count = count.saturating_add(1);
        Ok(())
    }

    /// Asks for one change until it has a certain end. An error ends the worker: the store is closed, or the side file cannot be written.
    async fn settle(&self, number: u64) -> io::Result<()> {
        let begun = Instant::now();
        let mut conflicts = 0u32;
        loop {
            if begun.elapsed() > self.workload.patience {
                let mut ran = self.ran.lock().unwrap_or_else(PoisonError::into_inner);
                ran.given_up = ran.given_up.saturating_add(1);
                return Ok(());
            }
            let version = match self.version(number).await {
                Ok(version) => version,
                Err(error) if error.is_retryable() => {
                    thread::sleep(PAUSE);
                    continue;
                }
                Err(error) => return Err(io::Error::other(error)),
            };
            let change = self.workload.change(number, version);
            self.side.intent(number, change.fingerprint, &format!("{:?}", self.workload.command(number)))?;
            let asked = Instant::now();
            let told = match self.scope.commit(change).await {
                Ok(Outcome::Done(receipt)) => Told::done(&receipt),
                // Nothing was written, and the same id may be asked again.
                Ok(Outcome::Refused(Refusal::Conflict { .. })) if conflicts < CONFLICTS_MAX => {
                    conflicts = conflicts.saturating_add(1);
                    Told::Failed(CONFLICT.to_owned())
                }
                Ok(Outcome::Refused(refusal)) => Told::Refused(refusal.to_string()),
                Ok(Outcome::Unknown(_)) => Told::Unknown,
                Err(error) => {
                    self.tell(number, &Told::Failed(error.to_string()), asked)?;
                    if error.is_retryable() {
                        thread::sleep(PAUSE);
                        continue;
                    }
                    return Err(io::Error::other(error));
                }
            };
            self.tell(number, &told, asked)?;
            if told.is_final() {
                return Ok(());
            }
            if told == Told::Unknown && mixed(self.workload.seed, number, 9).is_multiple_of(3) {
                return self.resolve(number, begun).await;
            }
        }
    }

    /// Settles the id of a change whose outcome is unknown.
    async fn resolve(&self, number: u64, begun: Instant) -> io::Result<()> {
        while begun.elapsed() <= self.workload.patience {
            let asked = Instant::now();
            let told = match self.scope.resolve(&Workload::id(number)).await {
                Ok(Resolution::Done(receipt)) if receipt.head == txn_change::Link::START => {
                    // A store that read it again states no head; the same id does.
                    let answer = String::from_utf8_lossy(receipt.answer.bytes()).into_owned();
                    let recorded_at = receipt.recorded_at.as_nanos();
                    Told::Done { answer, recorded_at, head: receipt.head, replayed: true }
                }
                Ok(Resolution::Done(receipt)) => Told::done(&receipt),
                Ok(Resolution::NotDone) => Told::NotDone,
                Err(error) if error.is_retryable() => {
                    thread::sleep(PAUSE);
                    continue;
                }
                Err(error) => return Err(io::Error::other(error)),
            };
            return self.tell(number, &told, asked);
        }
        Ok(())
    }

    async fn version(&self, number: u64) -> Result<Option<u64>, Error> {
        let Command::Write { note } = self.workload.command(number) else { return Ok(None) };
        Ok(self.scope.record(key("faults-note", note)).await?.map(|record| record.version))
    }
}

fn key(kind: &'static str, number: u64) -> Key {
    Key::of(Kind::new(kind).expect("letters and hyphens are a kind")).number(number).build()
}

/// The record that change `number` makes.
pub(super) fn made(number: u64) -> Key {
    key("faults-made", number)
}

fn account(number: u64) -> Key {
    key("faults-account", number)
}

fn stock(number: u64) -> Key {
    key("faults-stock", number)
}

/// What is paid is received: lane 1 against lane 3.
fn accounts() -> Opening {
    let class = Class {
        name: "faults-account".to_owned(),
        signed: [false; 4],
        history: true,
        conserves: [Some([0, 1, 0, -1]), None],
    };
    let funded = Guard { weights: [0, -1, 0, 1], min: OVERDRAFT.saturating_neg() };
    Opening { class: Arc::new(class), unit: Arc::from("EUR"), guards: [Some(funded), None] }
}

/// What is on hand and not reserved is not below zero.
fn stocks() -> Opening {
    let class = Class { name: "faults-stock".to_owned(), signed: [false; 4], history: true, conserves: [None; 2] };
    let available = Guard { weights: [1, -1, 0, 0], min: 0 };
    Opening { class: Arc::new(class), unit: Arc::from("item"), guards: [Some(available), None] }
}

fn add(counter: Key, delta: [i128; 4], opening: Opening, label: &'static str) -> Add {
    Add {
        counter,
        delta: Lanes(delta),
        or_open: Some(Arc::new(opening)),
        force: false,
        effective_at: Some(Timestamp::EPOCH),
        label: Label::new(label),
    }
}

/// A number that follows from these three and looks drawn (splitmix64).
pub(super) fn mixed(seed: u64, number: u64, salt: u64) -> u64 {
    let steps = seed.wrapping_mul(31).wrapping_add(number).wrapping_mul(31).wrapping_add(salt).wrapping_add(1);
    let mut z = steps.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

//! The loop around a decision without a store: read records, decide, evaluate, apply, or say why not.

use txn_change::{
    Change, ChangeId, Document, Entry, Event, Fingerprint, Key, Limits, MapView, Refusal, Timestamp, Verdict, evaluate,
};
use txn_core::{Context, Versioned, aftersale, inventory, ledger, order, payment};

/// Why a command did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum No {
    Order(order::Rejection),
    Stock(inventory::Rejection),
    Ledger(ledger::Rejection),
    Payment(payment::Rejection),
    Return(aftersale::Rejection),
    Refused(Refusal),
}

macro_rules! from {
    ($($variant:ident($error:ty)),*) => {$(
        impl From<$error> for No {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}
from!(
    Order(order::Rejection),
    Stock(inventory::Rejection),
    Ledger(ledger::Rejection),
    Payment(payment::Rejection),
    Return(aftersale::Rejection),
    Refused(Refusal)
);

pub(crate) type Outcome = Result<(), No>;

/// One tenant's state, everything that was appended to it, and the time.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) view: MapView,
    pub(crate) events: Vec<Event>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) now: Timestamp,
    commits: u64,
}

pub(crate) fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds).unwrap()
}

impl World {
    /// A context under a new id.
    pub(crate) fn context(&mut self) -> Context {
        self.commits += 1;
        self.context_under(&format!("change-{}", self.commits))
    }

    pub(crate) fn context_under(&self, id: &str) -> Context {
        Context {
            id: ChangeId::new(id).unwrap(),
            fingerprint: Fingerprint::of_bytes("test", id.as_bytes()),
            now: self.now,
            effective_at: None,
        }
    }

    pub(crate) fn find<T: Document>(&self, key: &Key) -> Option<Versioned<T>> {
        self.view.records.get(key).map(|record| Versioned::read(record).unwrap())
    }

    pub(crate) fn read<T: Document>(&self, key: &Key) -> Versioned<T> {
        self.find(key).unwrap_or_else(|| panic!("there is no {key}"))
    }

    /// Every record of a type.
    pub(crate) fn all<T: Document>(&self) -> Vec<T> {
        let of_type = self.view.records.values().filter(|record| record.body.type_name() == T::TYPE);
        of_type.map(|record| record.body.read().unwrap()).collect()
    }

    /// Every event of a type, in order.
    pub(crate) fn told<T: Document>(&self) -> Vec<T> {
        let of_type = self.events.iter().filter(|event| event.body.type_name() == T::TYPE);
        of_type.map(|event| event.body.read().unwrap()).collect()
    }

    pub(crate) fn lanes(&self, key: &Key) -> [i128; 4] {
        self.view.counters.get(key).map_or([0; 4], |counter| counter.lanes.0)
    }

    /// Judges a change and applies it. What was accepted is answered again when asked again, and leaves no trace the second time.
    pub(crate) fn commit(&mut self, change: Change) -> Result<(), Refusal> {
        change.check(&Limits::default())?;
        let Verdict::Accepted(effects) = evaluate(&self.view, &change, self.now)? else { return Ok(()) };
        self.view.apply(&change, &effects);
        let again = evaluate(&self.view, &change, self.now);
        assert!(matches!(again, Ok(Verdict::Replayed(stored)) if stored.answer == change.answer));
        self.events.extend(change.append);
        self.entries.extend(effects.entries);
        Ok(())
    }

    /// Commits what was decided, with the evaluator's refusals in the ledger's or the shop's words.
    pub(crate) fn settle(&mut self, items: &[inventory::Item], decided: Result<Change, No>) -> Outcome {
        self.commit(decided?).map_err(|refusal| {
            let stock = inventory::explain(&refusal, items).map(No::Stock);
            stock.or_else(|| ledger::explain(&refusal).map(No::Ledger)).unwrap_or(No::Refused(refusal))
        })
    }

    /// As [`World::settle`], for what moves no stock.
    pub(crate) fn put<R: Into<No>>(&mut self, decided: Result<Change, R>) -> Outcome {
        self.settle(&[], decided.map_err(Into::into))
    }
}

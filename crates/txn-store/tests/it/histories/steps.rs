//! What a history does: it commits, settles ids, erases, purges, follows the log, and looks at everything.

use proptest::{collection::vec, option, prelude::*};
use txn_change::{Key, Kind};
use txn_store::{Erase, Purge};

use super::spec::{self, ChangeSpec};

#[derive(Debug, Clone)]
pub(super) struct Step {
    /// How far the clock moves before it, backwards too.
    pub(super) seconds: i64,
    pub(super) act: Act,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    /// What is handed over in one call.
    Commit(Vec<ChangeSpec>),
    Resolve {
        tenant: u8,
        id: u8,
    },
    Erase {
        tenant: u8,
        what: Vec<Content>,
    },
    Purge(Purging),
    Follow {
        name: &'static str,
        doing: Following,
    },
    Look,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Record(u8),
    Answer(u8),
    Events(u8),
    /// A record of txn's own.
    Own,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Purging {
    pub(super) what: Purge,
    /// In seconds; nothing is too young when nothing is said.
    pub(super) age: Option<i64>,
    pub(super) max: usize,
    /// Called until it is complete, instead of once.
    pub(super) is_to_end: bool,
}

/// What is done with a consumer; one that is not open is opened instead. The numbers are of events that are read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Following {
    Open,
    Read(u8),
    Acknowledge(u8),
    Retire,
}

impl Content {
    pub(super) fn erase(&self) -> Erase {
        match self {
            Self::Record(key) => Erase::Record(spec::record(*key)),
            Self::Answer(id) => Erase::Answer(spec::id(*id)),
            Self::Events(id) => Erase::Events(spec::id(*id)),
            Self::Own => Erase::Record(Key::of(Kind::reserved("txn-cursor")).text("a").unwrap().build()),
        }
    }
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        4 => (0..5u8).prop_map(Content::Record),
        4 => spec::any_id().prop_map(Content::Answer),
        4 => spec::any_id().prop_map(Content::Events),
        1 => Just(Content::Own),
    ]
}

fn purging() -> impl Strategy<Value = Purging> {
    let what = prop_oneof![2 => Just(Purge::Answers), 3 => Just(Purge::Events)];
    let max = prop_oneof![1 => 1..8usize, 1 => Just(1_000)];
    (what, option::weighted(0.6, 0..200i64), max, any::<bool>()).prop_map(|(what, age, max, is_to_end)| Purging {
        what,
        age,
        max,
        is_to_end,
    })
}

fn following() -> impl Strategy<Value = Following> {
    prop_oneof![
        3 => Just(Following::Open),
        1 => (0..4u8).prop_map(Following::Read),
        6 => (0..8u8).prop_map(Following::Acknowledge),
        1 => Just(Following::Retire),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let seconds = prop_oneof![4 => 0..100i64, 1 => -100..0i64];
    let name = prop_oneof![3 => Just("mailer"), 1 => Just("a")];
    let act = prop_oneof![
        12 => vec(spec::change(), 1..6).prop_map(Act::Commit),
        1 => (spec::any_tenant(), spec::any_id()).prop_map(|(tenant, id)| Act::Resolve { tenant, id }),
        2 => (spec::any_tenant(), vec(content(), 0..4)).prop_map(|(tenant, what)| Act::Erase { tenant, what }),
        3 => purging().prop_map(Act::Purge),
        3 => (name, following()).prop_map(|(name, doing)| Act::Follow { name, doing }),
        1 => Just(Act::Look),
    ];
    (seconds, act).prop_map(|(seconds, act)| Step { seconds, act })
}

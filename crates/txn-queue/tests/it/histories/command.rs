//! What a history is made of: calls, and the passing of time, chosen by chance.

use proptest::{collection::vec, option, prelude::*};

/// One thing that is done to a queue. Numbers name topics, groups, workers and keys; [`super::world`] says which.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    Publish(Vec<Letter>),
    Receive {
        group: usize,
        worker: u8,
        max: usize,
        lease: u64,
    },
    Settle(Vec<Settlement>),
    Reschedule {
        topic: usize,
        key: u8,
        due: Option<u64>,
    },
    Pause(usize),
    Resume(usize),
    Seek(usize, Place),
    Rescue(u8),
    Redrive {
        group: usize,
        max: usize,
        is_slow: bool,
        only_rejected: bool,
    },
    /// The group is declared anew, as one of some that it may be.
    Declare {
        group: usize,
        as_of: u8,
    },
    Advance(u64),
    /// The subject is opened anew, or one of its handles is; the model goes on.
    Reopen,
    Stats,
}

/// A message; the times are milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// One of the topics, or the exchange behind them.
    pub(crate) to: usize,
    pub(crate) body: u8,
    pub(crate) key: Option<u8>,
    pub(crate) priority: u8,
    pub(crate) dedupe: Option<u8>,
    pub(crate) delay: Option<u64>,
    pub(crate) schedule: Option<u8>,
    pub(crate) expiry: Option<u64>,
}

/// Which delivery, counted from the last, is settled how; or the delivery with a token that it never had.
#[derive(Debug, Clone)]
pub(crate) struct Settlement {
    pub(crate) back: usize,
    pub(crate) is_forged: bool,
    pub(crate) how: How,
}

#[derive(Debug, Clone)]
pub(crate) enum How {
    Ack,
    Retry(u64),
    Release,
    Dead,
    Extend(u64),
}

#[derive(Debug, Clone)]
pub(crate) enum Place {
    Beginning,
    End,
    Position(u64),
    Ago(u64),
}

const TOPICS: usize = 2;
const GROUPS: usize = 5;

fn letter() -> impl Strategy<Value = Letter> {
    let named = (0..=TOPICS, 0u8..3, option::of(0u8..3), prop_oneof![4 => Just(4u8), 1 => 0u8..10]);
    let timed = (
        option::weighted(0.3, 0u8..4),
        option::weighted(0.3, 0u64..30),
        option::weighted(0.3, 0u8..2),
        option::weighted(0.2, 1u64..40),
    );
    (named, timed).prop_map(|((to, body, key, priority), (dedupe, delay, schedule, expiry))| Letter {
        to,
        body,
        key,
        priority,
        dedupe,
        delay,
        schedule,
        expiry,
    })
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        4 => Just(How::Ack),
        3 => (0u64..25).prop_map(How::Retry),
        2 => Just(How::Release),
        1 => Just(How::Dead),
        2 => (1u64..30).prop_map(How::Extend),
    ]
}

fn settlement() -> impl Strategy<Value = Settlement> {
    (prop_oneof![5 => 0usize..4, 1 => 0usize..20], prop::bool::weighted(0.05), how())
        .prop_map(|(back, is_forged, how)| Settlement { back, is_forged, how })
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        Just(Place::Beginning),
        Just(Place::End),
        (0u64..30).prop_map(Place::Position),
        (0u64..60).prop_map(Place::Ago)
    ]
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let receive = (0..GROUPS, 0u8..3, 0usize..5, 1u64..25);
    let reschedule = (0..TOPICS, 0u8..2, option::of(0u64..30));
    let redrive = (0..GROUPS, 0usize..4, any::<bool>(), any::<bool>());
    prop_oneof![
        12 => vec(letter(), 1..5).prop_map(Command::Publish),
        16 => receive.prop_map(|(group, worker, max, lease)| Command::Receive { group, worker, max, lease }),
        12 => vec(settlement(), 1..4).prop_map(Command::Settle),
        3 => reschedule.prop_map(|(topic, key, due)| Command::Reschedule { topic, key, due }),
        1 => (0..GROUPS).prop_map(Command::Pause),
        2 => (0..GROUPS).prop_map(Command::Resume),
        1 => (0..GROUPS, place()).prop_map(|(group, place)| Command::Seek(group, place)),
        1 => (0u8..3).prop_map(Command::Rescue),
        2 => redrive.prop_map(|(group, max, is_slow, only_rejected)| {
            Command::Redrive { group, max, is_slow, only_rejected }
        }),
        1 => (0..GROUPS, 0u8..4).prop_map(|(group, as_of)| Command::Declare { group, as_of }),
        10 => prop_oneof![3 => 0u64..8, 1 => 8u64..60].prop_map(Command::Advance),
        6 => Just(Command::Reopen),
        1 => Just(Command::Stats),
    ]
}

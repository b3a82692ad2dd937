//! A step of a topic's journal: what was done in one transaction, in order, at one instant.

use serde::{Deserialize, Serialize};
use txn_change::Timestamp;

use crate::{
    error::{Error, ErrorKind},
    name::{GroupName, WorkerId},
    queue::Action,
    topology::{GroupSpec, Start, TopicSpec},
};

/// The form of [`Op`]s in bytes, which stands before them.
const FORM: u8 = 1;

/// A step as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// 1, 2, 3 … without gaps.
    pub(crate) number: u64,
    /// By chance: tells this step from another that took its number, when a crash of the server had taken this one away.
    pub(crate) nonce: u64,
    pub(crate) at: Timestamp,
    /// The [`Op`]s.
    pub(crate) body: Vec<u8>,
}

impl Step {
    /// What was done.
    pub(crate) fn read(self) -> Result<(Self, Vec<Op>), Error> {
        let ops = from_bytes("a step", &self.body)?;
        Ok((self, ops))
    }
}

/// One thing that was done. New ones are added at the end, and none is ever changed: they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Op {
    /// The topic is as said from here on.
    Topic(TopicSpec),
    /// There is such a group, or it is as said from here on.
    Group(GroupSpec),
    /// So many messages were added behind the last.
    Added(u32),
    /// Time went on for a group.
    Advanced(GroupName),
    /// Messages were leased.
    Leased(Leases),
    /// Deliveries ended, or were extended.
    Settled(GroupName, Vec<Ended>),
    /// A message stands among the dead letters, or did not find room there.
    Died {
        group: GroupName,
        position: u64,
        is_buried: bool,
    },
    /// A message is due then, or is for nobody any more.
    Moved {
        position: u64,
        due: Option<i64>,
    },
    Paused(GroupName),
    Resumed(GroupName),
    Sought(GroupName, Start),
    Rescued(WorkerId),
    /// What nobody wants any more was let go of.
    Released,
    /// Deliveries ended, or were extended, that a host's transaction had settled before, or is about to.
    SettledLate(GroupName, Vec<Ended>),
}

/// What one worker was given at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leases {
    pub(crate) group: GroupName,
    pub(crate) worker: WorkerId,
    /// So many had been asked for.
    pub(crate) max: u32,
    pub(crate) until: i64,
    /// The token before the first.
    pub(crate) token: u64,
    /// Which, each by its distance from the one before.
    got: Vec<i64>,
}

/// How one delivery ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    position: i64,
    token: i64,
    action: Act,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Act {
    Ack,
    Retry { after: std::time::Duration, reason: String },
    Release,
    Dead { reason: String },
    Extend { lease: std::time::Duration },
}

impl Leases {
    pub(crate) fn new(
        group: GroupName,
        worker: WorkerId,
        max: usize,
        until: Timestamp,
        token: u64,
        got: impl Iterator<Item = u64>,
    ) -> Self {
        let mut last = 0u64;
        let got = got.map(|position| position.wrapping_sub(std::mem::replace(&mut last, position)).cast_signed());
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        Self { group, worker, max, until: until.as_nanos(), token, got: got.collect() }
    }

    pub(crate) fn positions(&self) -> Vec<u64> {
        let mut last = 0u64;
        let follow = |distance: &i64| {
            last = last.wrapping_add(distance.cast_unsigned());
            last
        };
        self.got.iter().map(follow).collect()
    }
}

/// Writes deliveries that ended: of each, its distance from the one before, since they mostly stand together.
pub(crate) fn ended<'a>(items: impl Iterator<Item = (u64, u64, &'a Action)>) -> Vec<Ended> {
    let (mut last_position, mut last_token) = (0u64, 0u64);
    let write = |(position, token, action): (u64, u64, &Action)| {
        let action = match action {
            Action::Ack => Act::Ack,
            Action::Retry { after, reason } => Act::Retry { after: *after, reason: (**reason).to_owned() },
            Action::Release => Act::Release,
            Action::Dead { reason } => Act::Dead { reason: (**reason).to_owned() },
            Action::Extend { lease } => Act::Extend { lease: *lease },
        };
        Ended {
            position: position.wrapping_sub(std::mem::replace(&mut last_position, position)).cast_signed(),
            token: token.wrapping_sub(std::mem::replace(&mut last_token, token)).cast_signed(),
            action,
        }
    };
    items.map(write).collect()
}

/// Reads what [`ended`] wrote.
pub(crate) fn settled(items: Vec<Ended>) -> Vec<(u64, u64, Action)> {
    let (mut position, mut token) = (0u64, 0u64);
    let read = |ended: Ended| {
        position = position.wrapping_add(ended.position.cast_unsigned());
        token = token.wrapping_add(ended.token.cast_unsigned());
        let action = match ended.action {
            Act::Ack => Action::Ack,
            Act::Retry { after, reason } => Action::Retry { after, reason: reason.into() },
            Act::Release => Action::Release,
            Act::Dead { reason } => Action::Dead { reason: reason.into() },
            Act::Extend { lease } => Action::Extend { lease },
        };
        (position, token, action)
    };
    items.into_iter().map(read).collect()
}

pub(crate) fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let written = postcard::to_extend(value, vec![FORM]);
    written.expect("plain data of ours always has a form in bytes")
}

pub(crate) fn from_bytes<'b, T: Deserialize<'b>>(what: &'static str, bytes: &'b [u8]) -> Result<T, Error> {
    match bytes.split_first() {
        Some((&FORM, rest)) => postcard::from_bytes(rest)
            .map_err(|error| Error::new(ErrorKind::Corrupt, format!("reading {what}")).because(error)),
        Some((form, _)) if *form > FORM => {
            let context = format!("{what} has form {form}; this build knows forms up to {FORM}");
            Err(Error::new(ErrorKind::Newer, context))
        }
        _ => Err(Error::new(ErrorKind::Corrupt, format!("reading {what}: it has no form"))),
    }
}

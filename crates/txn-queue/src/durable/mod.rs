//! What the durable backends share: a topic is its messages, which never change, and a journal of steps; whoever reads the steps in their order comes to the same state.
//!
//! Messages that were added together stand together, in a [`pack::Pack`]. A [`step::Step`] says what was done to a topic in one transaction: so many messages were added, these were leased until then, these were settled. It is small, and it is only ever added: nothing that is stored is
//! updated for a message that is published, leased, extended or settled. A [`replica::Replica`] is a topic as its steps have left it. A [`turn::Turn`] holds the topics' locks, has
//! their replicas read what others did, decides by [`crate::engine`], and writes what it came to; when that fails, the replicas are read anew.
//!
//! The backends bring a [`medium::Medium`]: where steps and messages are kept, and how a topic is locked.

pub(crate) mod chance;
pub(crate) mod declared;
#[cfg(test)]
mod fixtures;
mod hosts;
pub(crate) mod jobs;
mod letters;
pub(crate) mod medium;
pub(crate) mod pack;
mod packs;
mod publish;
pub(crate) mod replica;
pub(crate) mod row;
pub(crate) mod step;
pub(crate) mod turn;
pub(crate) mod waiting;

//! What hosts' own transactions did: taken in by the next turn of the topic, before anything else is decided.
//!
//! A host that settles a delivery holds a lock of the lease's token until its transaction ends. Whoever would end the lease asks for that lock first: where it is held, the lease goes on for a while;
//! where it is not, what the host has done is seen, since it was committed before the lock was free.

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use txn_change::Timestamp;

use super::{
    medium::{FromHost, HOSTED, Medium},
    step::{self, Op},
    turn::{Stop, Turn},
};
use crate::{
    engine::topic::Topic as Decided,
    error::{Error, ErrorKind},
    name::{Topic, WorkerId},
    queue::{Action, Address, Group, Lease, Position, Publish, Published, Settle, Settled},
};

/// How long a lease goes on whose delivery is being settled.
const GRACE: Duration = Duration::from_secs(1);

impl<M: Medium> Turn<'_, M> {
    /// Takes in what hosts have done, in all topics of the turn; before that, when leases will be ended, sees to it that those that are being settled are not.
    pub(crate) async fn take_in(&mut self, ends_leases: bool) -> Result<(), Stop> {
        let topics: Vec<Topic> = self.topics.keys().cloned().collect();
        for topic in topics {
            if ends_leases {
                self.keep_settled(&topic).await?;
            }
            self.take_all_in(&topic).await?;
        }
        Ok(())
    }

    /// Leases that end now, but whose deliveries are being settled, go on for a while.
    async fn keep_settled(&mut self, topic: &Topic) -> Result<(), Stop> {
        let now = self.now;
        let Some(replica) = self.topics.get(topic) else { return Ok(()) };
        let groups = replica.topic.groups.values();
        let ending: Vec<(Group, Vec<(u64, u64)>)> = groups
            .map(|group| (group.group().clone(), group.ending(now)))
            .filter(|(_, ending)| !ending.is_empty())
            .collect();
        for (group, ending) in ending {
            let tokens: Vec<u64> = ending.iter().map(|(_, token)| *token).collect();
            let secured = self.medium.secure(&tokens).await?;
            let held: BTreeSet<u64> =
                secured.into_iter().filter(|(_, is_ours)| !is_ours).map(|(token, _)| token).collect();
            let kept: Vec<Settle> = ending
                .iter()
                .filter(|(_, token)| held.contains(token))
                .map(|(position, token)| Settle {
                    lease: Lease { position: Position(*position), token: *token },
                    action: Action::Extend { lease: GRACE },
                })
                .collect();
            self.settle_late(&group, &kept).await?;
        }
        Ok(())
    }

    /// Sees to it that no host is settling what a worker holds, so that its leases can be ended.
    pub(super) async fn secure_all_of(&mut self, topic: &Topic, worker: &WorkerId) -> Result<(), Stop> {
        let Some(replica) = self.topics.get(topic) else { return Ok(()) };
        let held = replica.topic.groups.values().flat_map(|group| group.held_by(worker));
        let tokens: Vec<u64> = held.map(|(_, token)| token).collect();
        self.secure_all(topic, &tokens, worker).await
    }

    /// The same for what all workers of a group hold.
    pub(super) async fn secure_all_in(&mut self, group: &Group) -> Result<(), Stop> {
        let topic = group.topic();
        let state = self.replica(topic)?.topic.group(group).map_err(Stop::Refused)?;
        let tokens: Vec<u64> = state.ending(Timestamp::MAX).into_iter().map(|(_, token)| token).collect();
        self.secure_all(topic, &tokens, group.name()).await
    }

    async fn secure_all(&mut self, topic: &Topic, tokens: &[u64], who: &(dyn Display + Sync)) -> Result<(), Stop> {
        if tokens.is_empty() {
            return Ok(());
        }
        if self.medium.secure(tokens).await?.iter().any(|(_, is_ours)| !is_ours) {
            let context = format!("a host's transaction is settling what {who} holds; try again when it has ended");
            return Err(Stop::Refused(Error::new(ErrorKind::Unavailable, context)));
        }
        // What was committed before the locks were free.
        self.take_all_in(topic).await
    }

    /// Where hosts are settling deliveries of a topic that the turn came upon; what they have committed is taken in.
    pub(super) async fn being_settled(&mut self, topic: &Topic) -> Result<BTreeSet<u64>, Stop> {
        let Some(replica) = self.topics.get(topic) else { return Ok(BTreeSet::new()) };
        let live: Vec<(u64, u64)> =
            replica.topic.groups.values().flat_map(|group| group.ending(Timestamp::MAX)).collect();
        let tokens: Vec<u64> = live.iter().map(|(_, token)| *token).collect();
        let secured = if tokens.is_empty() { Vec::new() } else { self.medium.secure(&tokens).await? };
        let held: BTreeSet<u64> = secured.into_iter().filter(|(_, is_ours)| !is_ours).map(|(token, _)| token).collect();
        self.take_all_in(topic).await?;
        Ok(live.into_iter().filter(|(_, token)| held.contains(token)).map(|(position, _)| position).collect())
    }

    async fn take_all_in(&mut self, topic: &Topic) -> Result<(), Stop> {
        while let Some(replica) = self.topics.get(topic) {
            let (id, from) = (replica.id, replica.hosted.low);
            let page = self.medium.hosted(id, from).await?;
            if page.is_empty() {
                break;
            }
            // What is committed while this is read comes with the next turn: whoever holds a lock of a lease's has committed before it was free.
            let is_last = page.len() < HOSTED;
            self.place(topic, id, page).await?;
            if is_last {
                break;
            }
        }
        Ok(())
    }

    async fn place(&mut self, topic: &Topic, id: i64, page: Vec<FromHost>) -> Result<(), Stop> {
        let (mut messages, mut settles) = (Vec::new(), Vec::new());
        for from_host in page {
            match from_host {
                FromHost::Published(message) => messages.push(message),
                FromHost::Settled(group, settle) => settles.push((group, settle)),
            }
        }
        self.took = true;
        let publish = Publish { to: Address::Topic(topic.clone()), messages };
        let results = self.publish_all(std::slice::from_ref(&publish), true).await?;
        for (message, published) in publish.messages.iter().zip(results) {
            if let Published::Refused(refusal) = published {
                self.medium.refuse(id, message, &refusal).await?;
            }
        }
        let mut settles = settles.into_iter().peekable();
        while let Some((group, first)) = settles.next() {
            let mut same = vec![first];
            while let Some((_, settle)) = settles.next_if(|(other, _)| *other == group) {
                same.push(settle);
            }
            if group.topic() == topic {
                self.settle_late(&group, &same).await?;
            }
        }
        Ok(())
    }

    async fn settle_late(&mut self, group: &Group, batch: &[Settle]) -> Result<(), Stop> {
        let now = self.now;
        let known = self.topics.get_mut(group.topic()).map(|replica| &mut replica.topic);
        let known = known.and_then(|Decided { groups, log, .. }| Some((groups.get_mut(group.name())?, log)));
        let Some((state, log)) = known else { return Ok(()) };
        let mut dying = Vec::new();
        let mut applied = Vec::new();
        for settle in batch {
            if state.settle_late(&settle.lease, &settle.action, log, now, &mut dying) == Settled::Applied {
                applied.push(settle);
            }
        }
        if applied.is_empty() {
            return Ok(());
        }
        state.forget_done();
        state.changed(&mut Vec::new());
        let items = applied.iter().map(|settle| (settle.lease.position.0, settle.lease.token, &settle.action));
        self.did(group.topic(), Op::SettledLate(group.name().clone(), step::ended(items)));
        self.bury(group, dying).await?;
        self.did(group.topic(), Op::Released);
        if let Some(replica) = self.topics.get_mut(group.topic()) {
            replica.topic.release(now, &mut Vec::new(), |_, _| ());
        }
        Ok(())
    }

    /// Whether a lease may be settled now, as far as the topic knows.
    #[cfg(feature = "postgres")]
    pub(crate) fn examine(&mut self, group: &Group, lease: &Lease) -> Settled {
        let now = self.now;
        let Some(replica) = self.topics.get_mut(group.topic()) else { return Settled::Gone };
        let Decided { groups, log, .. } = &mut replica.topic;
        crate::engine::topic::find(groups, group).map_or(Settled::Gone, |group| group.examine(lease, log, now))
    }
}

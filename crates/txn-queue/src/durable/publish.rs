//! Messages on their way into a topic, and those that wait there under a schedule key.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use txn_change::Timestamp;

use super::{
    medium::{Medium, Repeat},
    replica::{Replica, of_message},
    row::Row,
    step::Op,
    turn::{Stop, Turn},
};
use crate::{
    admin::{Reschedule, Rescheduled},
    engine::admit,
    message::Message,
    name::{DedupeId, ScheduleKey, Topic},
    queue::{Address, Publish, Published, Refusal},
};

impl<M: Medium> Turn<'_, M> {
    pub(crate) async fn publish(&mut self, batch: &[Publish]) -> Result<Vec<Published>, Stop> {
        self.publish_all(batch, false).await
    }

    /// With `is_host`, a topic that is full is no reason to refuse: what a host has committed is kept.
    pub(super) async fn publish_all(&mut self, batch: &[Publish], is_host: bool) -> Result<Vec<Published>, Stop> {
        let mut routed = Vec::with_capacity(Publish::count(batch));
        let mut asked: BTreeMap<&Topic, (Vec<DedupeId>, Vec<ScheduleKey>)> = BTreeMap::new();
        for (to, message) in batch.iter().flat_map(Publish::addressed) {
            let route = self.route(to, message);
            for topic in route.iter().flat_map(|(topics, _)| topics) {
                // A binding may have been declared since the call was taken.
                self.enter(topic).await?;
            }
            routed.push(route);
        }
        for (topics, message) in routed.iter().flatten() {
            for topic in topics {
                let (ids, keys) = asked.entry(topic).or_default();
                ids.extend(message.dedupe_id.clone());
                keys.extend(message.schedule_key.clone());
            }
        }
        let mut known = Known::default();
        for (topic, (ids, keys)) in asked {
            let id = self.replica(topic)?.id;
            if !ids.is_empty() {
                let repeats = self.medium.repeats(id, &ids, self.now).await?;
                // What this very turn has taken is not in the medium yet.
                let asked: HashSet<&DedupeId> = ids.iter().collect();
                let drafted = self.drafts.get(topic).into_iter().flat_map(|draft| &draft.repeats);
                let drafted = drafted.filter(|repeat| asked.contains(&repeat.id));
                let drafted = drafted.map(|repeat| (repeat.id.clone(), repeat.digest));
                known.seen.entry(topic.clone()).or_default().extend(repeats.into_iter().chain(drafted));
            }
            if !keys.is_empty() {
                let scheduled = self.medium.scheduled(id, &keys).await?;
                let drafted = self.drafts.get(topic).into_iter().flat_map(|draft| draft.schedules.iter().cloned());
                known.scheduled.entry(topic.clone()).or_default().extend(scheduled.into_iter().chain(drafted));
            }
        }
        let mut results = Vec::with_capacity(routed.len());
        for routed in routed {
            results.push(match routed {
                Err(refusal) => Published::Refused(refusal),
                Ok((topics, message)) => {
                    self.accept(&topics, message, &mut known, is_host).unwrap_or_else(Published::Refused)
                }
            });
        }
        Ok(results)
    }

    fn route(&self, to: &Address, message: &Arc<Message>) -> Result<(Vec<Topic>, Arc<Message>), Refusal> {
        self.limits.check(message)?;
        let topics = match to {
            Address::Topic(topic) => vec![topic.clone()],
            Address::Exchange { name, routing_key } => {
                admit::targets(&self.declared.routes, name.clone(), routing_key.as_ref(), message, self.limits)?
            }
        };
        match topics.iter().find(|topic| !self.declared.topics.contains_key(*topic)) {
            Some(topic) => Err(Refusal::NoSuchTopic { topic: topic.clone() }),
            None => Ok((topics, Arc::clone(message))),
        }
    }

    /// Those that have it already are passed over; one that refuses, refuses for all.
    fn accept(
        &mut self,
        topics: &[Topic],
        message: Arc<Message>,
        known: &mut Known,
        is_host: bool,
    ) -> Result<Published, Refusal> {
        let (message, due, expires) = admit::timed(message, self.now)?;
        let mut takers = Vec::new();
        for topic in topics {
            let Some(replica) = self.topics.get(topic) else { continue };
            if let Some(id) = &message.dedupe_id
                && let Some(digest) = known.seen.get(topic).and_then(|seen| seen.get(id))
            {
                if *digest == message.digest() {
                    continue;
                }
                return Err(Refusal::Conflict { dedupe_id: id.clone() });
            }
            if let Some(key) = &message.schedule_key
                && known.waiting(topic, replica, key, self.now).is_some()
            {
                return Err(Refusal::Scheduled { schedule_key: key.clone() });
            }
            if !is_host && !replica.topic.has_room() {
                return Err(Refusal::Full { topic: topic.clone(), max: replica.topic.spec.messages_max });
            }
            takers.push(topic);
        }
        for topic in &takers {
            let stored = of_message(&message, self.now, due, expires);
            let Some(replica) = self.topics.get_mut(*topic) else { continue };
            let row = Row::new(replica.topic.log.end(), Arc::clone(&message), &stored);
            let position = row.position;
            let until = self.now.after(replica.topic.spec.dedupe_window).unwrap_or(Timestamp::MAX);
            replica.topic.push(stored, self.now, |_, _| ());
            replica.topic.changed(&mut Vec::new());
            let (now, draft) = (self.now, self.draft(topic));
            draft.rows.push(row);
            if let Some(id) = message.dedupe_id.clone().filter(|_| until > now) {
                let digest = message.digest();
                known.seen.entry((*topic).clone()).or_default().insert(id.clone(), digest);
                draft.repeats.push(Repeat { id, until, digest });
            }
            if let Some(key) = message.schedule_key.clone().filter(|_| due > now) {
                known.scheduled.entry((*topic).clone()).or_default().insert(key.clone(), position);
                draft.schedules.push((key, position));
            }
            self.did(topic, Op::Added(1));
        }
        Ok(match takers.len() {
            0 => Published::Duplicate,
            copies => Published::Accepted { copies },
        })
    }

    pub(crate) async fn reschedule(&mut self, batch: &[Reschedule]) -> Result<Vec<Rescheduled>, Stop> {
        let mut results = Vec::with_capacity(batch.len());
        let mut known = Known::default();
        let mut asked: BTreeMap<&Topic, Vec<ScheduleKey>> = BTreeMap::new();
        for Reschedule { topic, key, .. } in batch {
            asked.entry(topic).or_default().push(key.clone());
        }
        for (topic, keys) in asked {
            let Some(id) = self.topics.get(topic).map(|replica| replica.id) else { continue };
            let scheduled = self.medium.scheduled(id, &keys).await?;
            let drafted = self.drafts.get(topic).into_iter().flat_map(|draft| draft.schedules.iter().cloned());
            known.scheduled.entry(topic.clone()).or_default().extend(scheduled.into_iter().chain(drafted));
        }
        for Reschedule { topic, key, due } in batch {
            let now = self.now;
            let Some(replica) = self.topics.get_mut(topic) else {
                results.push(Rescheduled::NoSuchTopic);
                continue;
            };
            let Some(position) = known.waiting(topic, replica, key, now) else {
                results.push(Rescheduled::TooLate);
                continue;
            };
            let due = due.map(|due| due.instant(now).unwrap_or(Timestamp::MAX).max(now));
            replica.topic.move_to(position, due, now, &mut Vec::new());
            self.did(topic, Op::Moved { position, due: due.map(Timestamp::as_nanos) });
            results.push(if due.is_some() { Rescheduled::Moved } else { Rescheduled::Cancelled });
        }
        Ok(results)
    }
}

/// What is remembered of earlier messages.
#[derive(Default)]
struct Known {
    seen: HashMap<Topic, HashMap<DedupeId, [u8; 32]>>,
    scheduled: HashMap<Topic, HashMap<ScheduleKey, u64>>,
}

impl Known {
    /// The message that waits under a schedule key.
    fn waiting(&self, topic: &Topic, replica: &Replica, key: &ScheduleKey, now: Timestamp) -> Option<u64> {
        let position = *self.scheduled.get(topic)?.get(key)?;
        let stored = replica.topic.log.get(position)?;
        (!stored.is_removed && stored.due > now).then_some(position)
    }
}

//! The queue in memory beside another, and what is compared of their answers.

use std::{collections::HashSet, fmt::Debug, sync::Arc, time::Duration};

use proptest::test_runner::TestCaseError;
use txn_change::Timestamp;
use txn_queue::{
    Action, Address, Cause, Clock as _, Control, DedupeId, Delivery, Error, Group, Key, Lease, ManualClock, Message,
    MessageId, MessageType, Position, Priority, Publish, QueueAdmin, QueueLimits, Rate, Receive, Received, Redrive,
    Reschedule, ScheduleKey, Settle, Source, Start, Topology, When, Which, WorkerId, conformance::block_on,
    memory::Memory,
};

use super::{
    command::{Command, How, Letter, Place, Settlement},
    world::{exchange, group, ms, spec, topic, topology},
};

/// The other queue.
pub(crate) trait Subject {
    /// The handle that has its turn.
    fn queue(&mut self) -> Arc<dyn QueueAdmin>;

    /// Forgets what is not stored.
    fn reopen(&mut self);
}

pub(crate) struct Pair<S> {
    clock: Arc<ManualClock>,
    model: Arc<dyn QueueAdmin>,
    subject: S,
    /// Every delivery, as the model and as the subject gave it.
    leases: Vec<(Group, Lease, Lease)>,
    tokens: HashSet<u64>,
    ids: u64,
}

type Checked = Result<(), TestCaseError>;

fn same<T: PartialEq + Debug>(what: &dyn Debug, model: &T, subject: &T) -> Checked {
    if model == subject {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("{what:?}\n   model: {model:?}\n subject: {subject:?}")))
}

/// An error says the same when it is of the same kind.
fn plain<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(|error| format!("{:?}", error.kind()))
}

/// A delivery without its token, and what else is told with it but what was seen.
fn comparable(received: &Received) -> (Vec<Delivery>, Option<Duration>) {
    let without = |delivery: &Delivery| Delivery { lease: Lease { token: 0, ..delivery.lease }, ..delivery.clone() };
    (received.deliveries.iter().map(without).collect(), received.next_in)
}

impl<S: Subject> Pair<S> {
    pub(crate) fn new(subject: impl FnOnce(&Arc<ManualClock>) -> S) -> Self {
        let clock = Arc::new(ManualClock::at("2030-01-01T00:00:00Z".parse().unwrap()));
        let subject = subject(&clock);
        let model: Arc<dyn QueueAdmin> = Arc::new(Memory::with(Arc::clone(&clock) as _, QueueLimits::default()));
        Self { clock, model, subject, leases: Vec::new(), tokens: HashSet::new(), ids: 0 }
    }

    pub(crate) fn run(mut self, commands: &[Command]) -> Checked {
        self.both(&"declaring", async |queue| queue.declare(topology()).await)?;
        for command in commands {
            self.step(command)?;
        }
        self.subject.reopen();
        self.both(&"the statistics at the end", async |queue| queue.stats().await)
    }

    fn both<T: PartialEq + Debug>(
        &mut self,
        what: &dyn Debug,
        call: impl AsyncFn(&dyn QueueAdmin) -> Result<T, Error>,
    ) -> Checked {
        let model = plain(block_on(call(&*self.model)));
        let subject = plain(block_on(call(&*self.subject.queue())));
        same(what, &model, &subject)
    }

    fn step(&mut self, command: &Command) -> Checked {
        match command {
            Command::Publish(letters) => {
                let batch: Vec<Publish> = letters.iter().map(|letter| self.publish(letter)).collect();
                self.both(command, async |queue| queue.publish(batch.clone()).await)
            }
            Command::Receive { group: number, worker, max, lease } => {
                let receive =
                    Receive { group: group(*number), worker: self::worker(*worker), max: *max, lease: ms(*lease) };
                self.receive(command, &receive)
            }
            Command::Settle(settlements) => self.settle(command, settlements),
            Command::Reschedule { topic: number, key, due } => {
                let due = due.map(|due| When::After(ms(due)));
                let reschedule = Reschedule { topic: topic(*number), key: schedule_key(*key), due };
                self.both(command, async |queue| queue.reschedule(vec![reschedule.clone()]).await)
            }
            Command::Pause(number) => self.control(command, Control::Pause(group(*number))),
            Command::Resume(number) => self.control(command, Control::Resume(group(*number))),
            Command::Seek(number, place) => {
                let start = match place {
                    Place::Beginning => Start::Beginning,
                    Place::End => Start::End,
                    Place::Position(position) => Start::Position(Position(*position)),
                    Place::Ago(ago) => {
                        let ago = i64::try_from(ago * 1_000_000).unwrap();
                        Start::Time(Timestamp::from_nanos(self.clock.now().as_nanos() - ago))
                    }
                };
                self.control(command, Control::Seek(group(*number), start))
            }
            Command::Rescue(number) => self.control(command, Control::Rescue(worker(*number))),
            Command::Redrive { group: number, max, is_slow, only_rejected } => {
                let rate = is_slow.then_some(Rate { messages: std::num::NonZeroU32::MIN, per: ms(4) });
                let which = Which { cause: only_rejected.then_some(Cause::Rejected), ..Which::default() };
                let redrive = Redrive { group: group(*number), max: *max, rate, which };
                self.both(command, async |queue| queue.redrive(redrive.clone()).await)
            }
            Command::Declare { group, as_of } => {
                let declared = Topology::default().group(spec(*group, *as_of));
                self.both(command, async |queue| queue.declare(declared.clone()).await)
            }
            Command::Advance(millis) => {
                self.clock.advance(ms(*millis));
                Ok(())
            }
            Command::Reopen => {
                self.subject.reopen();
                Ok(())
            }
            Command::Stats => self.both(command, async |queue| queue.stats().await),
        }
    }

    fn control(&mut self, command: &Command, control: Control) -> Checked {
        self.both(command, async |queue| queue.control(control.clone()).await)
    }

    fn receive(&mut self, command: &Command, receive: &Receive) -> Checked {
        let model = plain(block_on(self.model.receive(receive.clone())));
        let subject = plain(block_on(self.subject.queue().receive(receive.clone())));
        same(command, &model.as_ref().map(comparable), &subject.as_ref().map(comparable))?;
        let (Ok(model), Ok(subject)) = (model, subject) else { return Ok(()) };
        for (model, subject) in model.deliveries.into_iter().zip(subject.deliveries) {
            let is_new = self.tokens.insert(subject.lease.token);
            same(&"whether a token is new", &true, &is_new)?;
            self.leases.push((receive.group.clone(), model.lease, subject.lease));
        }
        Ok(())
    }

    fn settle(&mut self, command: &Command, settlements: &[Settlement]) -> Checked {
        let mut batches = Vec::new();
        for Settlement { back, is_forged, how } in settlements {
            let Some(index) = self.leases.len().checked_sub(back + 1) else { continue };
            let (group, mut model, mut subject) = self.leases[index].clone();
            if *is_forged {
                (model.token, subject.token) = (u64::MAX, u64::MAX);
            }
            let action = action(how);
            batches.push((group, Settle { lease: model, action: action.clone() }, Settle { lease: subject, action }));
        }
        // A call is of one group.
        for same_group in batches.chunk_by(|(group, ..), (other, ..)| group == other) {
            let group = &same_group[0].0;
            let of_model = same_group.iter().map(|(_, settle, _)| settle.clone()).collect();
            let of_subject = same_group.iter().map(|(.., settle)| settle.clone()).collect();
            let model = plain(block_on(self.model.settle(group, of_model)));
            let subject = plain(block_on(self.subject.queue().settle(group, of_subject)));
            same(command, &model, &subject)?;
        }
        Ok(())
    }

    fn publish(&mut self, letter: &Letter) -> Publish {
        let Letter { to, body, key, priority, dedupe, delay, schedule, expiry } = letter;
        // What is said twice is the same message, or another under the same dedupe id.
        let id = match dedupe {
            Some(id) => format!("d{id}"),
            None => {
                self.ids += 1;
                format!("m{}", self.ids)
            }
        };
        let (source, kind) = (Source::new("/histories").unwrap(), MessageType::new("history.told").unwrap());
        let mut message = Message::new(MessageId::new(id).unwrap(), source, kind)
            .data("text/plain", vec![*body])
            .priority(Priority::new(*priority).unwrap());
        message.key = key.map(|key| Key::new(format!("k{key}")).unwrap());
        message.dedupe_id = dedupe.map(|id| DedupeId::new(format!("d{id}")).unwrap());
        message.due = delay.map(|delay| When::After(ms(delay)));
        message.schedule_key = schedule.map(schedule_key);
        message.expires = expiry.map(|expiry| When::After(ms(expiry)));
        let to = match to {
            0 | 1 => Address::Topic(topic(*to)),
            _ => Address::Exchange { name: exchange(), routing_key: None },
        };
        Publish::one(to, message)
    }
}

fn worker(number: u8) -> WorkerId {
    WorkerId::new(format!("worker-{number}")).unwrap()
}

fn schedule_key(number: u8) -> ScheduleKey {
    ScheduleKey::new(format!("s{number}")).unwrap()
}

fn action(how: &How) -> Action {
    match how {
        How::Ack => Action::Ack,
        How::Retry(after) => Action::Retry { after: ms(*after), reason: format!("after {after}").into() },
        How::Release => Action::Release,
        How::Dead => Action::Dead { reason: "no".into() },
        How::Extend(lease) => Action::Extend { lease: ms(*lease) },
    }
}

//! A history on a store and on the model at once: what each step says must be the same.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use pollster::block_on;
use txn_change::{Body, Change, Tenant, Timestamp};
use txn_store::{
    Ask, Clock, Commit, Consumer, Error, ErrorKind, ManualClock, Outcome, Purge, Recorded, Resolution, Row, Scope,
    StoreAdmin,
};

use super::{
    LIMITS, compare,
    spec::{self, ChangeSpec},
    steps::{Act, Content, Following, Purging, Step},
};
use crate::{
    backends::Home,
    model::{Model, Said, Told, tail_key},
};

type Same = Result<(), String>;

pub(super) struct Run {
    store: Arc<dyn StoreAdmin>,
    clock: Arc<ManualClock>,
    model: Model,
    now: Timestamp,
    followers: BTreeMap<&'static str, Follower>,
    /// What was said, by its name.
    said: Vec<String>,
}

/// An open consumer, and the position of what it was given last.
struct Follower {
    consumer: Consumer,
    given: u64,
}

/// Hands a history to a store and to the model; what was said.
pub(super) fn execute(home: &Home, history: &[Step]) -> Result<Vec<String>, String> {
    let clock = Arc::new(ManualClock::at(Timestamp::EPOCH));
    let store = home.open(clock.clone(), LIMITS);
    let (model, followers) = (Model::default(), BTreeMap::new());
    let mut run = Run { store, clock, model, now: Timestamp::MIN, followers, said: Vec::new() };
    for (number, step) in history.iter().enumerate() {
        run.step(step).map_err(|error| format!("step {number}: {error}"))?;
    }
    compare::compare(&*run.store, &run.model, run.now)?;
    if home.is_durable() {
        run.followers.clear();
        drop(run.store);
        let store = home.open(run.clock.clone(), LIMITS);
        // Opened again, time goes on from the last commit.
        let answers = run.model.houses.values().flat_map(|house| house.answers.values());
        let last = answers.map(|stored| stored.recorded_at).max();
        let now = run.clock.now();
        compare::compare(&*store, &run.model, last.map_or(now, |last| last.max(now)))?;
    }
    Ok(run.said)
}

fn told(error: Error) -> String {
    error.to_string()
}

fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Same {
    if found == expected { Ok(()) } else { Err(format!("{what}: the model says {expected:#?}, the store {found:#?}")) }
}

impl Run {
    fn step(&mut self, step: &Step) -> Same {
        let time = self.clock.now().as_nanos() + step.seconds * 1_000_000_000;
        self.clock.set(Timestamp::from_nanos(time));
        self.now = self.now.max(self.clock.now());
        // Asked for, since a store need not look at its clock for a change that no time could make right.
        let found = block_on(self.store.get(vec![Ask::new(spec::tenant(0))])).map_err(told)?;
        if found.iter().any(|snapshot| snapshot.now != self.now) {
            return Err(format!("the model has the time {}, the store {found:?}", self.now));
        }
        match &step.act {
            Act::Commit(changes) => self.commit(changes),
            Act::Resolve { tenant, id } => self.resolve(&spec::tenant(*tenant), *id),
            Act::Erase { tenant, what } => self.erase(&spec::tenant(*tenant), what),
            Act::Purge(purging) => self.purge(purging),
            Act::Follow { name, doing } => self.follow(name, *doing),
            Act::Look => compare::compare(&*self.store, &self.model, self.now),
        }
    }

    fn say(&mut self, what: &str) {
        self.said.push(what.to_owned());
    }

    fn commit(&mut self, changes: &[ChangeSpec]) -> Same {
        let (mut commits, mut expected) = (Vec::new(), Vec::new());
        for spec in changes {
            let tenant = spec::tenant(spec.tenant);
            let change = spec.change(&self.model.house(&tenant));
            expected.push(self.model.commit(&tenant, &change, self.now, &LIMITS.change));
            commits.push(Commit { tenant, change });
        }
        let found = block_on(self.store.commit(commits.clone()));
        same("results", &found.len(), &expected.len())?;
        for ((found, expected), commit) in found.into_iter().zip(expected).zip(commits) {
            let said = match found {
                Ok(Outcome::Refused(refusal)) => Ok(Said::Refused(refusal)),
                Ok(Outcome::Done(receipt)) => Err((receipt.answer, receipt.recorded_at, receipt.replayed)),
                other => return Err(format!("{other:?} for {commit:#?}")),
            };
            self.say(&name(&expected));
            let wanted = match expected {
                Said::Refused(_) => Ok(expected),
                Said::Done { stored, replayed } => Err((stored.answer, stored.recorded_at, replayed)),
            };
            same(&format!("of {commit:#?}"), &said, &wanted)?;
        }
        Ok(())
    }

    fn resolve(&mut self, tenant: &Tenant, id: u8) -> Same {
        let id = spec::id(id);
        let said = self.model.commit(tenant, &Change::not_done(id.clone()), self.now, &LIMITS.change);
        let stored = match said {
            Said::Done { .. } => None,
            Said::Refused(_) => Some(self.model.houses[tenant].answers[&id].clone()),
        };
        self.say(if stored.is_some() { "ResolvedDone" } else { "ResolvedNotDone" });
        let scope = Scope::new(self.store.clone(), tenant.clone());
        let found = match block_on(scope.resolve(&id)).map_err(told)? {
            Resolution::Done(receipt) => Some((receipt.answer, receipt.recorded_at)),
            Resolution::NotDone => None,
        };
        same(&format!("settling {id}"), &found, &stored.map(|stored| (stored.answer, stored.recorded_at)))
    }

    fn erase(&mut self, tenant: &Tenant, what: &[Content]) -> Same {
        let what: Vec<_> = what.iter().map(Content::erase).collect();
        let expected = self.model.erase(tenant, &what);
        self.say(match expected {
            None => "EraseRefused",
            Some(0) => "ErasedNothing",
            Some(_) => "Erased",
        });
        let found = match block_on(self.store.erase(tenant, what.clone())) {
            Ok(count) => Some(count),
            Err(error) if error.kind() == ErrorKind::Invalid => None,
            Err(error) => return Err(error.to_string()),
        };
        same(&format!("erasing {what:?}"), &found, &expected)
    }

    fn purge(&mut self, purging: &Purging) -> Same {
        let Purging { what, age, max, is_to_end } = *purging;
        let before = age.map_or(Timestamp::MAX, |age| Timestamp::from_nanos(self.now.as_nanos() - age * 1_000_000_000));
        // A change at a time would be more than enough.
        for _ in 0..=self.model.commits.len() {
            let purged = block_on(self.store.purge(what, before, max)).map_err(told)?;
            let told = self.told(purged.rows, purged.is_complete)?;
            let checked = match what {
                Purge::Answers => self.model.purge_answers(before, max, LIMITS.group_max, told),
                _ => self.model.purge_events(before, max, self.now, told),
            };
            checked.map_err(|error| format!("{what:?} before {before}, {max} at most: not so: {error}; {told:?}"))?;
            if told.rows > 0 {
                self.say(&format!("{what:?}Purged"));
            }
            if !told.is_complete {
                self.say(&format!("{what:?}PurgedInPart"));
            }
            if told.is_complete || !is_to_end {
                return Ok(());
            }
        }
        Err(format!("{what:?} before {before}, {max} at most, comes to no end"))
    }

    /// What a purge says, and what it left behind.
    fn told(&self, rows: u64, is_complete: bool) -> Result<Told, String> {
        let mut export = block_on(self.store.export()).map_err(told)?;
        let first = block_on(export.next(1)).map_err(told)?.pop();
        let Some(Row::Purged { answers, events }) = first else {
            return Err(format!("an export begins with {first:?}"));
        };
        drop(export);
        let health = block_on(self.store.health()).map_err(told)?;
        same("where the log begins", &health.tail, &events)?;
        let ask = Ask::new(Tenant::default()).record(tail_key());
        let tail = block_on(self.store.get(vec![ask])).map_err(told)?.pop().and_then(|mut found| found.records.pop());
        let free = tail.flatten().map_or(0, |record| position(&record.body));
        Ok(Told { rows, is_complete, answers, tail: events.0, free })
    }

    fn follow(&mut self, name: &'static str, doing: Following) -> Same {
        if doing == Following::Open || !self.followers.contains_key(name) {
            return self.open(name);
        }
        let Some(mut follower) = self.followers.remove(name) else { return Ok(()) };
        match doing {
            Following::Open => {}
            Following::Retire => {
                block_on(follower.consumer.retire()).map_err(told)?;
                self.model.retire(name, self.now);
                self.say("Retired");
                return Ok(());
            }
            Following::Read(count) => self.read(&mut follower, count)?,
            Following::Acknowledge(count) => {
                self.read(&mut follower, count)?;
                block_on(follower.consumer.acknowledge()).map_err(told)?;
                self.model.acknowledge(name, follower.given, self.now);
                same("acknowledged", &follower.consumer.acknowledged().0, &follower.given)?;
                self.say("Acknowledged");
            }
        }
        self.followers.insert(name, follower);
        Ok(())
    }

    /// Opens a consumer, or takes it over from an earlier owner, who can remember nothing more.
    fn open(&mut self, name: &'static str) -> Same {
        let consumer = block_on(Consumer::open(self.store.clone(), name)).map_err(told)?;
        let given = self.model.open(name, self.now);
        same("where a consumer begins", &consumer.acknowledged().0, &given)?;
        if let Some(mut former) = self.followers.insert(name, Follower { consumer, given }) {
            self.read(&mut former, 1)?;
            if former.given > former.consumer.acknowledged().0 {
                let refused = block_on(former.consumer.acknowledge()).err().map(|error| error.kind());
                same("of the former owner", &refused, &Some(ErrorKind::Locked))?;
                self.say("TakenOver");
            }
        }
        Ok(())
    }

    /// The next events, if there are any. One may have been erased since it was read.
    fn read(&self, follower: &mut Follower, count: u8) -> Same {
        let wanted = self.model.readable().filter(|logged| logged.position > follower.given).take(count.into());
        for logged in wanted.cloned().collect::<Vec<_>>() {
            let item = block_on(follower.consumer.next()).map_err(told)?;
            let found = (item.position.0, without_content(item.recorded));
            same("what a consumer is given", &found, &(logged.position, without_content(logged.recorded)))?;
            follower.given = logged.position;
        }
        Ok(())
    }
}

/// The variant's name.
fn name(said: &Said) -> String {
    match said {
        Said::Done { replayed: false, .. } => "Done".to_owned(),
        Said::Done { replayed: true, .. } => "Replayed".to_owned(),
        Said::Refused(refusal) => format!("{refusal:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
    }
}

fn without_content(mut recorded: Recorded) -> Recorded {
    recorded.event.body = recorded.event.body.erased();
    recorded
}

fn position(body: &Body) -> u64 {
    let json: serde_json::Value = serde_json::from_slice(body.bytes()).unwrap();
    json["position"].as_u64().unwrap()
}

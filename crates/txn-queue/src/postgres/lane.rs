//! A lane: a session, and the task that takes calls, decides them under the locks of their topics, commits, and answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};

use super::{
    Shared,
    connect::{connect, failed, within},
    medium::{InSession, ask},
    pending::{Lanes, Taken},
};
use crate::{
    durable::{
        chance::Chance,
        declared::Declared,
        jobs::{self, Job, Outcomes},
        medium,
        replica::Replica,
        turn::{Stop, Turn},
    },
    error::{Error, ErrorKind},
    name::Topic,
};

/// How long a lane rests after a failure of its session, so that a server that is away is not asked without end.
const REST: Duration = Duration::from_millis(50);

/// Messages that are deleted after a turn, at most.
const TIDY_MAX: u64 = 8_192;

/// How often it is asked what became of a COMMIT.
const ASK_AGAIN_MAX: u32 = 20;

pub(super) struct Lane {
    shared: Arc<Shared>,
    session: Option<PgConnection>,
    chance: Chance,
    lanes: Lanes,
}

/// How a turn ended that did not end well.
enum Ended {
    /// Nothing was executed.
    Failed(Error),
    /// Nobody knows whether it was committed.
    Lost(Error),
    /// There is something to take in, which takes the locks.
    Lock,
    /// More topics are concerned than were locked, or the topology is another.
    Again(BTreeSet<Topic>),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(error) | Stop::Failed(error) => Self::Failed(error),
            Stop::Needs(topic) => Self::Again([topic].into()),
        }
    }
}

/// What was written, so that it can be found again: the last step of each topic.
struct Wrote {
    nonce: u64,
    steps: Vec<(i64, u64)>,
}

/// Runs a lane, and another in its place when it panics: whoever waited for it is told that nobody knows, and the rest go on.
pub(super) async fn keep(shared: Arc<Shared>, lanes: Lanes) {
    loop {
        let ended = tokio::spawn(Lane::new(Arc::clone(&shared), lanes).run()).await;
        match ended {
            Err(error) if error.is_panic() && !shared.is_closed() => tokio::time::sleep(REST).await,
            Ok(()) | Err(_) => return,
        }
    }
}

impl Lane {
    fn new(shared: Arc<Shared>, lanes: Lanes) -> Self {
        Self { shared, session: None, chance: Chance::default(), lanes }
    }

    /// Runs until the queue is closed and nothing waits.
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            // Made before looking, so that nothing is missed between the two.
            let work = match self.lanes {
                Lanes::All => shared.work.notified(),
                Lanes::Reserved => shared.reserved_work.notified(),
            };
            let taken = shared.state().take(self.lanes);
            match taken {
                Some(taken) => {
                    // There may be more, of other topics.
                    shared.there_is_work();
                    self.serve(taken).await;
                }
                None if shared.is_closed() => break,
                None => work.await,
            }
        }
        if let Some(session) = self.session.take() {
            let _ = within(self.shared.answer_max, session.close()).await;
        }
    }

    async fn serve(&mut self, taken: Taken) {
        let shared = Arc::clone(&self.shared);
        let Taken { jobs, topics, mut replicas, declared, is_declaring, by } = taken;
        let _back = Back { shared: &shared, topics: &topics, is_declaring, by };
        let mut known = declared;
        let reads = jobs.iter().all(|job| matches!(job, Job::Look(..) | Job::Stats(..) | Job::Topics(_)));
        let mut ended = self.decide(&jobs, &topics, &mut replicas, &mut known, !reads).await;
        if matches!(ended, Err(Ended::Lock)) {
            self.rest(&Ended::Lock).await;
            ended = self.decide(&jobs, &topics, &mut replicas, &mut known, true).await;
        }
        match ended {
            Ok(Done { outcomes, written, is_declared }) => {
                if is_declared {
                    shared.state().declared = known;
                }
                replicas.values().for_each(|replica| shared.waiting.tell(replica));
                jobs::answer(jobs, outcomes);
                shared.tell_others(written);
                self.tidy(&mut replicas).await;
                shared.state().bring_back(replicas);
            }
            Err(ended) => {
                // What was changed in them was never committed.
                drop(replicas);
                self.rest(&ended).await;
                match ended {
                    Ended::Failed(error) => jobs.into_iter().for_each(|job| job.fail(&error)),
                    Ended::Lost(error) => jobs.into_iter().for_each(|job| job.lost(&error)),
                    Ended::Lock => shared.state().push_again(jobs, &BTreeSet::new()),
                    Ended::Again(mut also) => {
                        // What an earlier round needed is needed still: every round has more than the one before.
                        if !also.is_empty() {
                            also.extend(topics.iter().cloned());
                        }
                        shared.state().push_again(jobs, &also);
                    }
                }
            }
        }
    }

    /// A session that was in the middle of something is closed, and the server rolls back.
    async fn rest(&mut self, ended: &Ended) {
        if let Some(mut session) = self.session.take() {
            let is_sound = matches!(ended, Ended::Again(_) | Ended::Lock)
                && within(self.shared.answer_max, raw_sql("ROLLBACK").execute(&mut session)).await.is_ok();
            if is_sound {
                self.session = Some(session);
                return;
            }
        }
        if !matches!(ended, Ended::Again(_) | Ended::Lock) {
            tokio::time::sleep(REST).await;
        }
    }

    async fn decide(
        &mut self,
        jobs: &[Job],
        topics: &BTreeSet<Topic>,
        replicas: &mut BTreeMap<Topic, Replica>,
        declared: &mut Arc<Declared>,
        locks: bool,
    ) -> Result<Done, Ended> {
        let shared = Arc::clone(&self.shared);
        let answer_max = shared.answer_max;
        if self.session.is_none() {
            self.session = Some(session(&shared).await?);
        }
        let sessions = shared.sessions.load(Ordering::SeqCst);
        let Some(session) = self.session.as_mut() else {
            return Err(Error::new(ErrorKind::Unavailable, "no session").into());
        };
        let mut ids = Vec::with_capacity(topics.len());
        for topic in topics {
            ids.push(declared.id(topic)?);
        }
        let begin = if locks {
            let is_declaring = jobs.iter().any(|job| matches!(job, Job::Declare(..)));
            shared.sql.begin(ids.iter().copied().chain(is_declaring.then_some(0)))
        } else {
            // One snapshot, in which nothing is deleted between two statements.
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned()
        };
        let mut medium = InSession::new(session, &shared, Arc::clone(declared));
        let first = topics.first().map(|topic| (topic, declared.id(topic)));
        let (id, from) = match first {
            None => (0, 0),
            Some((topic, id)) => {
                // A topic that is yet to be read is read from its saved state on: before that stand steps that were deleted, and perhaps are walked over still.
                let from = replicas.get(topic).map_or(i64::MAX.cast_unsigned(), |replica| replica.number);
                (id?, from)
            }
        };
        let looked = medium.begin(begin, id, from).await?;
        if looked.version != declared.version {
            shared.read_topology(&mut medium).await?;
            return Err(Ended::Again(BTreeSet::new()));
        }
        let mut is_behind = false;
        for topic in topics {
            let known = replicas.remove(topic);
            let mut replica = medium::read(&mut medium, known, declared.id(topic)?, topic).await?;
            if replica.number > 0 && replica.topic.spec.topic != *topic {
                // A database was restored, and its topology came to the same version another way.
                return match shared.read_topology(&mut medium).await? {
                    true => Err(Ended::Again(BTreeSet::new())),
                    false => Err(Error::new(ErrorKind::Corrupt, format!("the journal of {topic} is another's")).into()),
                };
            }
            replica.hosted.meets(sessions, medium.ticket);
            is_behind |= replica.hosted.is_behind(medium.ticket);
            shared.waiting.tell(&replica);
            replicas.insert(topic.clone(), replica);
        }
        if is_behind && !locks {
            return Err(Ended::Lock);
        }
        let ticket = medium.ticket;
        let now = shared.now(looked.now);
        let nonce = self.chance.next();
        let mut turn = Turn::new(&mut medium, declared, replicas, &shared.limits, now, nonce);
        let (outcomes, is_declared) = jobs::run(&mut turn, jobs, locks, &shared.waiting).await?;
        if locks {
            // What the look could see has been taken in by now; not where the turn came upon a topic on its way.
            for replica in turn.topics.iter_mut().filter(|(topic, _)| topics.contains(*topic)).map(|(_, known)| known) {
                replica.hosted.seen(looked.oldest, looked.next, ticket);
            }
        }

        let (is_idle, is_passing) = (turn.is_idle() && !is_declared, turn.is_passing());
        let written = turn.write().await?;
        if is_declared {
            let (version, json) = (declared.version.cast_signed(), declared.to_json());
            medium.run("writing the topology", ask(&shared.sql.topology_write).bind(version).bind(json)).await?;
            medium.run("deleting a topology", ask(&shared.sql.topology_tidy).bind(version)).await?;
        }
        let end = match (is_idle, is_passing && !is_declared) {
            (true, _) => "ROLLBACK",
            // Who holds what may be forgotten by a crash of the server, with the lease.
            (false, true) => "SET LOCAL synchronous_commit = off; COMMIT",
            (false, false) => "COMMIT",
        };
        let end = std::mem::take(&mut medium.end) + end;
        let ended = within(answer_max, raw_sql(AssertSqlSafe(end)).execute(&mut *medium.connection)).await;
        if let Err(error) = ended {
            let wrote = Wrote { nonce, steps: written.clone() };
            self.find_out(wrote, failed("committing")(error)).await?;
        }
        Ok(Done { outcomes, written: written.into_iter().map(|(topic, _)| topic).collect(), is_declared })
    }

    /// Asks what became of a COMMIT whose answer was lost: the locks are free when its session has ended, and the steps tell.
    async fn find_out(&mut self, wrote: Wrote, error: Error) -> Result<(), Ended> {
        self.session = None;
        let Some((topic, number)) = wrote.steps.first().copied() else { return Err(Ended::Lost(error)) };
        for _ in 0..ASK_AGAIN_MAX {
            match self.is_there(topic, number, wrote.nonce).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(Ended::Failed(error)),
                Err(_) => tokio::time::sleep(REST).await,
            }
        }
        Err(Ended::Lost(error))
    }

    async fn is_there(&mut self, topic: i64, number: u64, nonce: u64) -> Result<bool, Error> {
        let shared = Arc::clone(&self.shared);
        let mut session = session(&shared).await?;
        let begin = shared.sql.begin([topic].into_iter());
        let begun = raw_sql(AssertSqlSafe(begin)).execute(&mut session);
        within(shared.answer_max, begun).await.map_err(failed("beginning"))?;
        let asked = ask(&shared.sql.step_at).bind(topic).bind(number.cast_signed());
        let found = within(shared.answer_max, asked.fetch_optional(&mut session)).await.map_err(failed("asking"))?;
        let found = found.map(|row| sqlx::Row::try_get::<i64, _>(&row, 0)).transpose().map_err(failed("asking"))?;
        let ended = raw_sql("ROLLBACK").execute(&mut session);
        within(shared.answer_max, ended).await.map_err(failed("ending"))?;
        let is_there = match found {
            Some(found) => found.cast_unsigned() == nonce,
            None => {
                // A later step may have had it deleted, when the topic was saved.
                let saved = ask(&shared.sql.saved).bind(topic);
                let saved = within(shared.answer_max, saved.fetch_optional(&mut session)).await;
                let saved = saved.map_err(failed("asking"))?;
                let saved = saved.map(|row| sqlx::Row::try_get::<i64, _>(&row, 0)).transpose();
                if saved.map_err(failed("asking"))?.is_some_and(|saved| saved >= number.cast_signed()) {
                    return Err(Error::new(ErrorKind::Unavailable, "the step is not kept any more"));
                }
                false
            }
        };
        self.session = Some(session);
        Ok(is_there)
    }

    /// Deletes what is done and saved, when everybody has been answered.
    async fn tidy(&mut self, replicas: &mut BTreeMap<Topic, Replica>) {
        let shared = Arc::clone(&self.shared);
        let Some(session) = self.session.as_mut() else { return };
        let declared = Arc::clone(&shared.state().declared);
        let mut medium = InSession::new(session, &shared, declared);
        let mut is_sound = true;
        for replica in replicas.values_mut().filter(|replica| replica.is_untidy()) {
            if replica.tidied() == 0 {
                // What was deleted before this process had the topic is not looked for again.
                match medium.oldest(replica.id).await {
                    Ok(oldest) => replica.begins_at(oldest),
                    Err(_) => is_sound = false,
                }
            }
            let first = replica.tidied();
            let until = replica.tidy(TIDY_MAX);
            // What could not be deleted now is deleted by whoever opens the topic next.
            match medium.tidy(replica.id, replica.saved, first..until, replica.repeats_gone, replica.at).await {
                Ok(ended) => replica.repeats_gone = ended,
                Err(_) => is_sound = false,
            }
        }
        if !is_sound {
            self.session = None;
        }
    }
}

/// A session, with what it executes prepared, on a server that may be another one than before.
async fn session(shared: &Shared) -> Result<PgConnection, Error> {
    let mut session = connect(&shared.session, shared.answer_max).await?;
    let prepared = raw_sql(AssertSqlSafe(shared.sql.prepare.clone())).execute(&mut session);
    within(shared.answer_max, prepared).await.map_err(failed("preparing a session"))?;
    // One at a time: the sequence is read, and then set.
    let mend = format!("{}; {}; COMMIT", shared.sql.begin([0].into_iter()), shared.sql.ticket_mend);
    let mended = within(shared.answer_max, raw_sql(AssertSqlSafe(mend)).execute(&mut session)).await;
    mended.map_err(failed("looking at the tickets"))?;
    shared.sessions.fetch_add(1, Ordering::SeqCst);
    Ok(session)
}

struct Done {
    outcomes: Outcomes,
    /// The topics that steps were written for.
    written: Vec<i64>,
    is_declared: bool,
}

/// Gives the topics back, also when the task is ended in the middle.
struct Back<'l> {
    shared: &'l Shared,
    topics: &'l BTreeSet<Topic>,
    is_declaring: bool,
    by: Lanes,
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        self.shared.state().free(self.topics, self.is_declaring, self.by);
        self.shared.there_is_work();
    }
}

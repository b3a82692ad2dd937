//! The tasks that commit. The hasty ones, each a [lane](Lanes), take what has gathered, lock what they can, and put off what they cannot; the patient one takes what was put off
//! too often, does of it what can be done by now, and waits for the rows of one call, in turn.
//!
//! One group takes four round trips: begin, load, write, commit; a fifth where something must stay absent, and more where a session meets a tenant or a class for the first time.

mod attempt;

use std::{sync::Arc, time::Duration};

use sqlx::{postgres::PgConnectOptions, raw_sql};
use tracing::Instrument;
use txn_change::{Stored, Tenant};

use super::{
    OBSERVE, Shared,
    connect::{Session, failed, is_in_the_way, is_lock_wait, is_session_sound, is_too_slow, within},
    load::{Facts, Patience},
    settle::{Settled, settle},
};
use crate::{
    error::{Error, ErrorKind},
    group::{Gathered, Lanes, Lines, Queue, Waiting},
    observe::Parts,
    store::{Freshness, Outcome, Receipt},
};
use attempt::{Attempt, Broken, Ended, Judged, Locks};

/// A change of a group, with the line that it stood in.
type Member = (Tenant, Waiting);

/// How often a change is put off before somebody waits for its rows.
const SKIPS_MAX: u32 = 8;
/// How often a group is begun again at once because somebody else was first.
const AGAIN_MAX: u32 = 4;
/// How long a group that could not be done waits before it is tried again, when there is nothing else to do.
const PAUSE: Duration = Duration::from_millis(2);

/// A part of a group that is still to be done.
struct Part {
    members: Vec<Member>,
    /// How often it was begun.
    again: u32,
    locks: Locks,
}

/// What became of a group.
#[derive(Default)]
struct Done {
    /// What has to be tried again later.
    put_off: Vec<Member>,
    /// What is unknown. It is dropped when what follows it in its call has been answered.
    lost: Vec<Waiting>,
    parts: Parts,
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    patience: Patience,
    /// Which of the lanes of its patience.
    lane: usize,
    session: Option<Session>,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, patience: Patience, lane: usize) -> Self {
        Self { shared, patience, lane, session: None }
    }

    fn options(&self) -> &PgConnectOptions {
        match self.patience {
            Patience::Hasty => &self.shared.session,
            Patience::Patient => &self.shared.patient,
        }
    }

    /// Commits until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let (lanes, queue) = match self.patience {
            Patience::Hasty => (&shared.hasty, &shared.jobs),
            Patience::Patient => (&shared.patiently, &shared.put_off),
        };
        let lane = self.lane;
        // However this task ends, nobody waits for ever: what it holds is dropped, and so unknown.
        let _end = End { shared: &shared, lanes, lane, queue };
        while let Some(Gathered { group, is_all }) = lanes.next(lane, queue, &shared.limits).await {
            let span = OBSERVE.group(group.iter().map(|(_, waiting)| waiting.caller()), queue.waiting());
            let settling = async {
                let mut done = match self.patience {
                    Patience::Hasty => self.settle(group, Patience::Hasty, Locks::AsTheSession).await,
                    Patience::Patient => self.settle(group, Patience::Hasty, Locks::Briefly).await,
                };
                OBSERVE.skipped(done.put_off.len());
                std::mem::take(&mut done.parts).record_in(&span);
                done
            };
            let Done { mut put_off, mut lost, .. } = settling.instrument(span.clone()).await;
            let waited_for = if self.patience == Patience::Patient { first_call(&mut put_off) } else { Vec::new() };
            let mut still = Vec::new();
            if !waited_for.is_empty() {
                let done = self.settle(waited_for, Patience::Patient, Locks::AsTheSession).await;
                still = done.put_off;
                lost.extend(done.lost);
            }
            if is_all && !(put_off.is_empty() && still.is_empty()) {
                // Whoever holds the rows may need a moment; till then the other lane is not to try, either.
                tokio::time::sleep(PAUSE).await;
            }
            lanes.done(lane, queue, |lines| {
                self.put_off(lines, put_off);
                lines.put_last(still);
                for waiting in &lost {
                    lines.take_call_of(waiting).into_iter().for_each(after_unknown);
                }
            });
        }
    }

    /// Puts back what could not be done; what was put off too often is left to the patient one.
    fn put_off(&self, lines: &mut Lines, put_off: Vec<Member>) {
        let mut back: Vec<Member> = Vec::new();
        let mut patient: Vec<Waiting> = Vec::new();
        for (line, mut waiting) in put_off {
            waiting.skips = waiting.skips.saturating_add(1);
            let follows = patient.iter().any(|earlier| earlier.is_of_call_of(&waiting));
            if self.patience == Patience::Hasty && (follows || waiting.skips > SKIPS_MAX) {
                patient.push(waiting);
            } else {
                back.push((line, waiting));
            }
        }
        lines.put_back(back);
        // Call by call, each with its rest: what comes apart would be taken for another call, and stand in another line.
        let mut whole: Vec<Waiting> = Vec::with_capacity(patient.len());
        while !patient.is_empty() {
            let first = patient.remove(0);
            let (of_call, others): (Vec<Waiting>, Vec<Waiting>) =
                patient.into_iter().partition(|waiting| waiting.is_of_call_of(&first));
            let rest = lines.take_call_of(&first);
            whole.extend(std::iter::once(first).chain(of_call).chain(rest));
            patient = others;
        }
        let limit = self.shared.limits.queue_max;
        for waiting in self.shared.put_off.push_within(whole, limit) {
            waiting.answer(Err(match self.shared.put_off.closed() {
                Some(closed) => closed,
                None => Error::new(
                    ErrorKind::Overloaded,
                    format!("{limit} changes wait for rows that others hold; no more may"),
                ),
            }));
        }
    }

    /// Commits a group and gives each change its result.
    async fn settle(&mut self, group: Vec<Member>, patience: Patience, locks: Locks) -> Done {
        let mut done = Done::default();
        // The next one last.
        let mut parts = vec![Part { members: group, again: 0, locks }];
        while let Some(Part { members, again, locks }) = parts.pop() {
            let members = done.without_followers(members);
            let mut members = self.in_time(members);
            if members.is_empty() {
                continue;
            }
            let halves = |mut first: Vec<Member>, locks| {
                let second = first.split_off(first.len() / 2);
                [second, first].map(|members| Part { members, again: 0, locks })
            };
            match self.attempt(&members, again, patience, locks).await {
                Ended::Committed(judged, ticket) => {
                    done.put_off.extend(self.give(members, judged, ticket));
                    done.parts.add("committed");
                }
                // Somebody holds what one of them needs, and does not let go: the others are not to wait for it again.
                Ended::Held if members.len() > 1 => parts.extend(halves(members, Locks::Briefly)),
                Ended::Held => {
                    members.iter_mut().for_each(|(_, waiting)| waiting.skips = SKIPS_MAX);
                    done.put_off.extend(members);
                }
                Ended::InTheWay if again < AGAIN_MAX => {
                    OBSERVE.again("somebody else was first");
                    parts.push(Part { members, again: again.saturating_add(1), locks });
                }
                // Somewhere in here is what cannot be done; the other half can.
                Ended::InTheWay | Ended::Failed(_) if members.len() > 1 => parts.extend(halves(members, locks)),
                Ended::InTheWay => done.put_off.extend(members),
                Ended::Failed(error) => {
                    OBSERVE.failed("a change failed", &error);
                    done.parts.add("error");
                    members.into_iter().for_each(|(_, w)| w.answer(Err(error.again())));
                }
                // The session may have been old, or the server restarted: once more, on another one.
                Ended::Unavailable(error) if again == 0 => {
                    OBSERVE.failed("the server could not be asked; once more", &error);
                    parts.push(Part { members, again: 1, locks });
                }
                Ended::Unavailable(error) => {
                    OBSERVE.failed("the server cannot be asked", &error);
                    done.parts.add("error");
                    members.into_iter().for_each(|(_, w)| w.answer(Err(error.again())));
                }
                Ended::Lost => {
                    done.lost.extend(members.into_iter().map(|(_, waiting)| waiting));
                    done.parts.add("unknown");
                }
            }
        }
        done
    }

    /// Those that may still be begun; the others have waited too long.
    fn in_time(&self, part: Vec<Member>) -> Vec<Member> {
        let wait_max = self.shared.limits.wait_max;
        let (late, in_time): (Vec<Member>, Vec<Member>) =
            part.into_iter().partition(|(_, waiting)| waiting.since.elapsed() > wait_max);
        for (_, waiting) in late {
            let context = format!("others held its rows for longer than {wait_max:?}");
            waiting.answer(Err(Error::new(ErrorKind::Overloaded, context)));
        }
        in_time
    }

    fn give(&self, group: Vec<Member>, judged: Vec<Judged>, ticket: u64) -> Vec<Member> {
        let head = self.shared.link();
        let done = |stored: Stored, replayed| {
            let Stored { answer, recorded_at, .. } = stored;
            Outcome::Done(Receipt { answer, replayed, recorded_at, freshness: Freshness(ticket), head })
        };
        let mut put_off = Vec::new();
        for ((line, waiting), judged) in group.into_iter().zip(judged) {
            let outcome = match judged {
                Judged::Refused(refusal) => Outcome::Refused(refusal),
                Judged::Replayed(stored) => done(stored, true),
                Judged::Accepted(stored) => done(stored, false),
                Judged::PutOff => {
                    put_off.push((line, waiting));
                    continue;
                }
            };
            waiting.answer(Ok(outcome));
        }
        put_off
    }

    async fn attempt(&mut self, group: &[Member], again: u32, patience: Patience, locks: Locks) -> Ended {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => match Session::open(&self.shared, self.options()).await {
                Ok(session) => session,
                Err(error) => return Ended::Unavailable(error),
            },
        };
        let facts = if again == 0 { Facts::Presumed } else { Facts::LookedFor };
        let Session { connection, names } = &mut session;
        let mut attempt = Attempt { shared: &self.shared, patience, locks, facts, session: connection, names };
        match attempt.run(group).await {
            Ok(ended) => {
                self.session = Some(session);
                if matches!(ended, Ended::Committed(_, ticket) if ticket > 0) {
                    self.shared.sequencer.wake();
                }
                ended
            }
            Err(Broken::Before { error, doing }) => {
                let is_sound = is_session_sound(&error);
                let (was_in_the_way, was_held) = (is_in_the_way(&error), is_lock_wait(&error));
                let was_too_slow = is_too_slow(&error);
                if is_sound
                    && within(self.shared.waits.answer_max, raw_sql("ROLLBACK").execute(&mut session.connection))
                        .await
                        .is_ok()
                {
                    self.session = Some(session);
                }
                let error = failed(doing)(error);
                match error.kind() {
                    _ if was_held => Ended::Held,
                    _ if was_in_the_way => Ended::InTheWay,
                    _ if was_too_slow => Ended::Failed(error),
                    ErrorKind::Unavailable => Ended::Unavailable(error),
                    _ => Ended::Failed(error),
                }
            }
            Err(Broken::Damaged(error)) => {
                if within(self.shared.waits.answer_max, raw_sql("ROLLBACK").execute(&mut session.connection))
                    .await
                    .is_ok()
                {
                    self.session = Some(session);
                }
                Ended::Failed(error)
            }
            Err(Broken::AtCommit { xact, ticket, judged, error }) => {
                drop(session);
                let mine = group.iter().zip(&judged).filter(|(_, judged)| matches!(judged, Judged::Accepted(_)));
                let Some(((_, waiting), _)) = mine.into_iter().next() else {
                    return Ended::InTheWay;
                };
                match settle(&self.shared, xact, ticket, &waiting.commit).await {
                    Settled::Committed => {
                        self.shared.sequencer.wake();
                        Ended::Committed(judged, ticket.cast_unsigned())
                    }
                    Settled::NotExecuted => Ended::Unavailable(failed("committing")(error)),
                    Settled::Unknown => Ended::Lost,
                }
            }
        }
    }
}

impl Done {
    /// Those that may be begun: what follows something that was put off, in one call, is put off with it; and what follows something unknown must not be begun, since that may still be committed, behind it.
    fn without_followers(&mut self, mut members: Vec<Member>) -> Vec<Member> {
        if !self.put_off.is_empty() {
            let (ready, after): (Vec<Member>, Vec<Member>) =
                members.into_iter().partition(|(_, w)| !self.put_off.iter().any(|(_, p)| p.is_of_call_of(w)));
            self.put_off.extend(after);
            members = ready;
        }
        if !self.lost.is_empty() {
            let (ready, after): (Vec<Member>, Vec<Member>) =
                members.into_iter().partition(|(_, w)| !self.lost.iter().any(|lost| lost.is_of_call_of(w)));
            after.into_iter().for_each(|(_, waiting)| after_unknown(waiting));
            members = ready;
        }
        members
    }
}

fn after_unknown(waiting: Waiting) {
    let context = "an earlier change of the call may be committed, or not: nothing that follows it was begun";
    waiting.answer(Err(Error::new(ErrorKind::Unavailable, context)));
}

/// Takes out the call of the first change.
fn first_call(members: &mut Vec<Member>) -> Vec<Member> {
    let mut rest = std::mem::take(members).into_iter();
    let Some(first) = rest.next() else { return Vec::new() };
    let (of_call, others): (Vec<Member>, Vec<Member>) = rest.partition(|(_, waiting)| waiting.is_of_call_of(&first.1));
    *members = others;
    std::iter::once(first).chain(of_call).collect()
}

/// The end of a committer: by a panic, with its runtime, or because the store was closed. The other lane does what is left; what nobody does any more is answered: better closed than never.
struct End<'a> {
    shared: &'a Shared,
    lanes: &'a Lanes,
    lane: usize,
    queue: &'a Queue<Waiting>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.shared.close("the committer ended; open the store again");
        self.lanes.end(self.lane, self.queue, closed);
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store takes no more changes; open it again")
}

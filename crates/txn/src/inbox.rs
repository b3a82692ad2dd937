//! The inbox: a message has its effect once, however often it is delivered.
//!
//! What a message changes, the record that it was applied, and the events that follow from it are one [`Change`], whose id is made of the group, the message's source and the message's id. So there is no moment
//! in which one of them stands without the others:
//!
//! - Delivered again, to this worker or to another, at once or in a year, a message is answered with the first answer, and nothing is decided or written. Two workers that have it at the same moment both decide, and one of
//!   them commits.
//! - What follows from it is in the log, as events. The [relay](crate::relay) sends them, whatever becomes of the message: acknowledged, delivered again, or given up.
//! - A message that failed has left nothing, and is applied when it comes again.
//!
//! **For how long.** For ever: no store forgets an id, and [`Purge`](txn_store::Purge) lets go of answers and passing events only. So there is no retention to set, and no window after which a dead letter that is sent back has its
//! effect a second time; a repetition may find its answer [erased](txn_change::Format::Erased), and is a repetition all the same. Who wants an effect again says so, with [`Inbox::reprocess`].

use std::{fmt, time::Duration};

use txn_change::{Body, Change, ChangeId, Expect, Fingerprint, Refusal, Timestamp};
use txn_core::Context;
use txn_queue::{Action, GroupName, Message};
use txn_store::{Ask, Outcome, Scope, Snapshot};

use crate::{failure::Failure, relay::digested};

/// Applies the messages of one group to one tenant.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use std::sync::Arc;
/// use txn::change::{Body, Change, Event, Key, Kind, Tenant};
/// use txn::inbox::{Applied, Inbox};
/// use txn::queue::{GroupName, Message, MessageId, MessageType, Source};
/// use txn::store::{Scope, memory::Memory};
/// # pollster::block_on(async {
/// let scope = Scope::new(Arc::new(Memory::new()), Tenant::default());
/// let inbox = Inbox::new(scope, GroupName::new("stamps")?);
/// let message = Message::new(MessageId::new("1")?, Source::new("/shop")?, MessageType::new("order.paid")?)
///     .data("application/json", br#""ann""#.to_vec());
///
/// let card = Key::of(Kind::new("stamp-card")?).text("ann")?.build();
/// let stamped = |change: Change| change.append(Event::new(Body::raw("card.stamped", 1, br#""ann""#.to_vec())));
/// for expected_duplicate in [false, true] {
///     let applied = inbox.apply(&message, inbox.ask().record(card.clone()), |context, snapshot| {
///         let version = snapshot.records[0].as_ref().map(|record| record.version);
///         let stamps = Body::raw("stamp-card", 1, version.unwrap_or(0).to_string().into_bytes());
///         let expect = txn::change::Expect::of(version);
///         let change = Change::new(context.id.clone(), context.fingerprint).put(card.clone(), expect, stamps, vec![]);
///         Ok::<_, std::convert::Infallible>(stamped(change))
///     }).await?;
///     assert_eq!(applied.is_duplicate(), expected_duplicate);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Inbox {
    scope: Scope,
    group: GroupName,
    attempts_max: u32,
}

/// A message that has had its effect, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    answer: Body,
    is_duplicate: bool,
    recorded_at: Timestamp,
}

impl Applied {
    /// What the first application was answered; [erased](txn_change::Format::Erased) when it was purged since.
    #[must_use]
    pub const fn answer(&self) -> &Body {
        &self.answer
    }

    /// Whether it had been applied before, so that this call wrote nothing.
    #[must_use]
    pub const fn is_duplicate(&self) -> bool {
        self.is_duplicate
    }

    /// When it was applied, in the store's time.
    #[must_use]
    pub const fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }
}

/// Why a message has had no effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unapplied<E> {
    /// The decision said no. Nothing was written, so that the message is decided anew when it comes again; a decision that is to be remembered is a change with nothing but an answer.
    #[error("{0}")]
    Declined(E),
    /// [`Failure::KeyReused`]: another message came under its id before, with other content. [`Failure::GivenUp`]: its id was settled as not done. [`Failure::Unknown`]: whether it was applied is not known; applying it again
    /// tells. Else as for any call.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl<E> Unapplied<E> {
    /// Whether the same message may be applied later, without anybody's doing.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Declined(_) => false,
            Self::Failed(failure) => failure.is_retryable(),
        }
    }
}

/// What a worker does with a message: done, now or before, it is acknowledged; what may succeed later is tried again; all else is a dead letter, with the reason.
///
/// ```
/// use std::time::Duration;
/// use txn::{Failure, inbox::{Unapplied, action}, queue::Action};
/// let contended: Result<_, Unapplied<&str>> = Err(Failure::Conflict { attempts: 32 }.into());
/// assert!(matches!(action(&contended, Duration::from_secs(1)), Action::Retry { .. }));
/// let declined = Err(Unapplied::Declined("the card is full"));
/// assert_eq!(action(&declined, Duration::from_secs(1)), Action::Dead { reason: "the card is full".into() });
/// ```
#[must_use]
pub fn action<E: fmt::Display>(applied: &Result<Applied, Unapplied<E>>, retry_after: Duration) -> Action {
    match applied {
        Ok(_) => Action::Ack,
        Err(unapplied) if unapplied.is_retryable() => {
            Action::Retry { after: retry_after, reason: unapplied.to_string().into() }
        }
        Err(unapplied) => Action::Dead { reason: unapplied.to_string().into() },
    }
}

impl Inbox {
    /// The inbox of a group. Each group has every message once; so two groups, as two handlers of one message, each have their effect.
    #[must_use]
    pub const fn new(scope: Scope, group: GroupName) -> Self {
        Self { scope, group, attempts_max: 32 }
    }

    /// How often a message is decided again when what it read has changed, or the store's answer was lost; 32 unless said otherwise, at least once.
    #[must_use]
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts.max(1);
        self
    }

    /// An ask of the tenant, to be filled with what a decision reads.
    #[must_use]
    pub fn ask(&self) -> Ask {
        self.scope.ask()
    }

    /// Applies a message: reads, decides, and commits the change under the message's id. Every record read must still stand as it was read when the change is committed, or all is read and decided again. Counters may have
    /// moved, since they are there for many to add to at once: their guards are kept, and a change that holds something of them with a [`Hold`](txn_change::Hold) which is so no more is refused. A fact that was read as
    /// absent may have come: its id keeps it from happening twice. The change is given the id and the fingerprint of the context, whatever it says itself.
    ///
    /// # Errors
    /// [`Unapplied`]. [`action`] says what a worker makes of it.
    pub async fn apply<E>(
        &self,
        message: &Message,
        read: Ask,
        decide: impl Fn(&Context, &Snapshot) -> Result<Change, E>,
    ) -> Result<Applied, Unapplied<E>> {
        self.under(self.id(message), message, read, decide).await
    }

    /// Applies a message once more, because a person wants its effect again. `again` is that person's word for this time, such as the number of a ticket: the same word again is a repetition.
    ///
    /// # Errors
    /// As [`Inbox::apply`].
    pub async fn reprocess<E>(
        &self,
        message: &Message,
        again: &str,
        read: Ask,
        decide: impl Fn(&Context, &Snapshot) -> Result<Change, E>,
    ) -> Result<Applied, Unapplied<E>> {
        let digest = Fingerprint::of("inbox.again", &(message.source.as_str(), message.id.as_str(), again));
        let id = ChangeId::new(format!("inbox-again.{}/{}", self.group, digested(&digest)));
        self.under(id.expect("at most 148 graphic bytes"), message, read, decide).await
    }

    /// The id of the change that a message is applied by: to be asked what became of it, or settled with [`Scope::resolve`].
    ///
    /// It is `inbox.<group>/<length of the source>:<source>/<id>`, or, where that is too long, `inbox.<group>/sha256:` and a digest of the two.
    #[must_use]
    pub fn id(&self, message: &Message) -> ChangeId {
        let (source, id) = (&message.source, &message.id);
        let written = ChangeId::new(format!("inbox.{}/{}:{source}/{id}", self.group, source.len()));
        written.unwrap_or_else(|_| {
            let digest = Fingerprint::of("inbox", &(source.as_str(), id.as_str()));
            ChangeId::new(format!("inbox.{}/{}", self.group, digested(&digest))).expect("at most 142 graphic bytes")
        })
    }

    async fn under<E>(
        &self,
        id: ChangeId,
        message: &Message,
        read: Ask,
        decide: impl Fn(&Context, &Snapshot) -> Result<Change, E>,
    ) -> Result<Applied, Unapplied<E>> {
        let fingerprint = Fingerprint::of_bytes("inbox", &message.digest());
        let mut last = Failure::Conflict { attempts: self.attempts_max };
        for _ in 0..self.attempts_max {
            let snapshot = self.scope.get(read.clone().stored(id.clone())).await.map_err(Failure::from)?;
            if let Some(stored) = snapshot.stored {
                if stored.fingerprint != fingerprint {
                    let is_given_up = stored.fingerprint == Fingerprint::NOT_DONE;
                    let failure = if is_given_up { Failure::GivenUp { id } } else { Failure::KeyReused { id } };
                    return Err(failure.into());
                }
                return Ok(Applied { answer: stored.answer, is_duplicate: true, recorded_at: stored.recorded_at });
            }
            let now = snapshot.now;
            let context = Context { id: id.clone(), fingerprint, now, effective_at: None };
            let decided = decide(&context, &snapshot).map_err(Unapplied::Declined)?;
            let mut change = Change { id: id.clone(), fingerprint, ..decided };
            for (key, record) in read.records.iter().zip(&snapshot.records) {
                let is_stated = change.put.iter().any(|put| put.key == *key);
                if !is_stated && change.require.iter().all(|require| require.key != *key) {
                    change = change.require(key.clone(), Expect::of(record.as_ref().map(|record| record.version)));
                }
            }
            match self.scope.commit(change).await.map_err(Failure::from)? {
                Outcome::Done(receipt) => {
                    let (answer, recorded_at) = (receipt.answer, receipt.recorded_at);
                    return Ok(Applied { answer, is_duplicate: receipt.replayed, recorded_at });
                }
                Outcome::Refused(Refusal::KeyReused { id }) => return Err(Failure::KeyReused { id }.into()),
                Outcome::Refused(Refusal::GivenUp { id }) => return Err(Failure::GivenUp { id }.into()),
                Outcome::Refused(refusal) if refusal.is_conflict() => {
                    last = Failure::Conflict { attempts: self.attempts_max };
                }
                Outcome::Refused(refusal) => return Err(Failure::Refused(refusal).into()),
                // Under the same id, asking again tells, and does it if it was not done.
                Outcome::Unknown(id) => last = Failure::Unknown { id },
            }
        }
        Err(last.into())
    }
}

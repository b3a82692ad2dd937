//! What a host writes to get a process: a table, and a pure decision.

use std::fmt;

use txn_change::{Body, BodyError, Change, Document, Key, Record, Timestamp};
use txn_core::{Context, machine::Variants};

use super::{definition::Definition, name::CorrelationId, step::Plan};

/// A process in one version. The table says what becomes of an event in a state; [`Process::decide`] says what an applied event does.
///
/// Instances that have begun under a version stay under it: register the old versions beside the new one as long as they have instances, or
/// [migrate](super::Processes::migrate) those.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use txn::process::{Arrived, Declined, Definition, Early, Effects, Policy, Process, Standing};
///
/// txn::core::variants! {
///     pub enum State { Waiting, Paid, Cancelled }
///     pub enum Event { Placed, Paid, TooLate }
/// }
/// #[derive(Serialize, Deserialize)]
/// pub struct Order { total: String }
/// impl txn::change::Document for Order { const TYPE: &'static str = "waiting-order"; const SCHEMA: u16 = 1; }
///
/// struct AwaitPayment;
/// impl Process for AwaitPayment {
///     type State = State;
///     type Event = Event;
///     type Data = Order;
///     const NAME: &'static str = "await-payment";
///     const VERSION: u32 = 1;
///     const DEFINITION: Definition<State, Event> = Definition {
///         early: &[(&[Event::Placed], Early::Begin(&[State::Waiting])), (&[Event::Paid], Early::Defer), (&[Event::TooLate], Early::Reject)],
///         finals: &[State::Paid, State::Cancelled],
///         rules: &[
///             (&[State::Waiting], &[Event::Paid], Policy::Apply(&[State::Paid])),
///             (&[State::Waiting], &[Event::TooLate], Policy::Apply(&[State::Cancelled])),
///             (&[State::Waiting, State::Paid, State::Cancelled], &[Event::Placed], Policy::Ignore),
///             (&[State::Paid], &[Event::Paid, Event::TooLate], Policy::Ignore),
///             (&[State::Cancelled], &[Event::Paid, Event::TooLate], Policy::Reject),
///         ],
///     };
///
///     fn decide(&self, standing: Option<Standing<'_, Self>>, arrived: &Arrived<'_, Event>) -> Result<Effects<Self>, Declined> {
///         let Some(standing) = standing else {
///             let due = arrived.context.now.after(std::time::Duration::from_secs(900))?;
///             return Ok(Effects::to(State::Waiting, arrived.read()?).timeout("payment", due, Event::TooLate));
///         };
///         let order = Order { total: standing.data.total.clone() };
///         Ok(match arrived.event {
///             Event::Paid => Effects::to(State::Paid, order),
///             _ => Effects::to(State::Cancelled, order),
///         })
///     }
/// }
/// assert!(AwaitPayment::DEFINITION.verify().is_ok());
/// ```
pub trait Process: Sized + Send + Sync + 'static {
    /// The states of an instance. They are stored by name.
    type State: Variants + Send + Sync;
    /// What can happen to an instance. Events are stored by name.
    type Event: Variants + Send + Sync;
    /// What the host keeps in an instance.
    type Data: Document;
    /// The name: 1 to 32 bytes of `a-z`, `0-9` and `-`.
    const NAME: &'static str;
    /// The version of the table and the decision.
    const VERSION: u32;
    /// The table.
    const DEFINITION: Definition<Self::State, Self::Event>;
    /// The names of the steps that it begins.
    const STEPS: &'static [&'static str] = &[];

    /// The host's records that the decision wants to see. They are read in one snapshot with the instance, and what it decides is committed only while they are as they were.
    fn reads(&self, standing: Option<Standing<'_, Self>>, arrived: &Arrived<'_, Self::Event>) -> Vec<Key> {
        let _ = (standing, arrived);
        Vec::new()
    }

    /// Decides what an event does that the table applies. Pure: it may be called several times for one event, and everything that it says is committed at once, or
    /// nothing of it.
    ///
    /// # Errors
    /// [`Declined`]: an event from outside is refused with it; an event of the instance's own leaves the instance stuck, for a person.
    fn decide(
        &self,
        standing: Option<Standing<'_, Self>>,
        arrived: &Arrived<'_, Self::Event>,
    ) -> Result<Effects<Self>, Declined>;
}

/// Where an instance stands.
#[derive(Debug)]
pub struct Standing<'a, P: Process> {
    /// Its state.
    pub state: P::State,
    /// What the host keeps in it.
    pub data: &'a P::Data,
}

impl<P: Process> Clone for Standing<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Process> Copy for Standing<'_, P> {}

/// An event that has its turn.
#[derive(Debug)]
#[non_exhaustive]
pub struct Arrived<'a, E> {
    /// The event.
    pub event: E,
    /// Its body.
    pub body: &'a Body,
    /// The instance.
    pub correlation: &'a CorrelationId,
    /// The id of the change to make, and the store's time.
    pub context: &'a Context,
    /// What [`Process::reads`] asked for, in that order.
    pub records: &'a [Option<Record>],
}

impl<'a, E> Arrived<'a, E> {
    pub(super) const fn new(
        event: E,
        body: &'a Body,
        correlation: &'a CorrelationId,
        context: &'a Context,
        records: &'a [Option<Record>],
    ) -> Self {
        Self { event, body, correlation, context, records }
    }

    /// Reads its body.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub fn read<T: Document>(&self) -> Result<T, BodyError> {
        self.body.read()
    }

    /// A change to fill with what the host writes, for [`Effects::and`].
    #[must_use]
    pub fn change(&self) -> Change {
        Change::new(self.context.id.clone(), self.context.fingerprint)
    }
}

/// Why an event that the table applies cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined(String);

impl Declined {
    /// For a reason.
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl<E: std::error::Error> From<E> for Declined {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an applied event does, all in one commit.
#[derive(Debug)]
pub struct Effects<P: Process> {
    pub(super) state: P::State,
    pub(super) data: P::Data,
    pub(super) change: Option<Change>,
    pub(super) timeouts: Vec<(&'static str, Timestamp, P::Event)>,
    pub(super) cancelled: Vec<&'static str>,
    pub(super) plans: Vec<Plan<P::Event>>,
    pub(super) undone: Option<P::Event>,
}

impl<P: Process> Effects<P> {
    /// The instance is in this state from now on, and keeps this.
    #[must_use]
    pub const fn to(state: P::State, data: P::Data) -> Self {
        Self { state, data, change: None, timeouts: Vec::new(), cancelled: Vec::new(), plans: Vec::new(), undone: None }
    }

    /// The host's records, counters and outgoing events, in the same commit.
    #[must_use]
    pub fn and(mut self, change: Change) -> Self {
        self.change = Some(match self.change {
            Some(earlier) => earlier.and(change),
            None => change,
        });
        self
    }

    /// The event happens at `due`, unless it is cancelled or the instance is over by then. A timeout of the same name is moved.
    #[must_use]
    pub fn timeout(mut self, name: &'static str, due: Timestamp, event: P::Event) -> Self {
        self.timeouts.push((name, due, event));
        self
    }

    /// The timeout does not happen.
    #[must_use]
    pub fn cancel(mut self, name: &'static str) -> Self {
        self.cancelled.push(name);
        self
    }

    /// A step is carried out by a runner.
    #[must_use]
    pub fn begin(mut self, plan: Plan<P::Event>) -> Self {
        self.plans.push(plan);
        self
    }

    /// What the steps did is undone, the last first; `event` happens when it is. A step that is being called is waited for: what became of it is known before anything is undone.
    #[must_use]
    pub fn undo(mut self, event: P::Event) -> Self {
        self.undone = Some(event);
        self
    }
}

//! The processes of one tenant: events in, instances out.

use std::sync::Arc;

use txn_change::{Body, BodyError, ChangeId, Document};
use txn_core::{Context, machine::Variants};

use super::{
    contract::Process,
    engine::{Advanced, Built, Engine, Name, request},
    handled::Handled,
    index::instance_key,
    name::{CorrelationId, IncomingId, ProcessName},
    note::What,
    record::{Instance, Payload, Phase, Waiting},
    registry::Registry,
    rejection::Rejection,
    runner::Runner,
};
use crate::{decide::Done, failure::Failure, services::Services};

/// An event for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The process.
    pub process: ProcessName,
    /// The instance.
    pub correlation: CorrelationId,
    /// The event's id: brought again under it, it is answered as the first time.
    pub id: IncomingId,
    /// The event's name.
    pub event: String,
    /// Its body.
    pub body: Body,
}

impl Incoming {
    /// An event of a process that this build has.
    ///
    /// # Errors
    /// [`Failure::Name`] when the process has a bad name, [`Failure::Unreadable`] when the body cannot be written.
    pub fn new<P: Process>(
        correlation: CorrelationId,
        id: IncomingId,
        event: P::Event,
        body: &impl Document,
    ) -> Result<Self, Failure> {
        let (process, body) = (ProcessName::new(P::NAME)?, Body::of(body)?);
        Ok(Self { process, correlation, id, event: event.name().to_owned(), body })
    }
}

/// The processes of one tenant.
///
/// An event is handled in one commit: the instance, the host's records and outgoing events, timeouts, steps to begin, and the answer. Brought again under its id, it is
/// answered as the first time. Side effects outside the store are for [`Runner`]s.
#[derive(Debug, Clone)]
pub struct Processes {
    pub(super) engine: Engine,
}

impl Processes {
    /// The processes of the tenant of these services.
    #[must_use]
    pub fn new(services: &Services, registry: Registry) -> Self {
        let (scope, attempts_max) = (services.decider.scope.clone(), services.decider.attempts_max);
        Self { engine: Engine { scope, registry, attempts_max, begun: Arc::default() } }
    }

    /// Handles an event. What waited for it has its turn too, in commits of its own.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// # use serde::{Deserialize, Serialize};
    /// use std::sync::Arc;
    /// use txn::process::{Arrived, CorrelationId, Declined, Definition, Early, Effects, Ending, Incoming, IncomingId, Policy, Process, Processes, Registry, Standing};
    /// use txn::{InertGateway, Tenant, Txn, store::memory::Memory};
    ///
    /// txn::core::variants! {
    ///     pub enum State { Open, Shut }
    ///     pub enum Event { Open, Shut }
    /// }
    /// # #[derive(Serialize, Deserialize)]
    /// # pub struct Door {}
    /// # impl txn::change::Document for Door { const TYPE: &'static str = "door"; const SCHEMA: u16 = 1; }
    /// struct Doors;
    /// impl Process for Doors {
    ///     type State = State;
    ///     type Event = Event;
    ///     type Data = Door;
    ///     const NAME: &'static str = "doors";
    ///     const VERSION: u32 = 1;
    ///     const DEFINITION: Definition<State, Event> = Definition {
    ///         early: &[(&[Event::Open], Early::Begin(&[State::Open])), (&[Event::Shut], Early::Defer)],
    ///         finals: &[State::Shut],
    ///         rules: &[
    ///             (&[State::Open], &[Event::Shut], Policy::Apply(&[State::Shut])),
    ///             (&[State::Open, State::Shut], &[Event::Open], Policy::Ignore),
    ///             (&[State::Shut], &[Event::Shut], Policy::Ignore),
    ///         ],
    ///     };
    ///     fn decide(&self, standing: Option<Standing<'_, Self>>, _: &Arrived<'_, Event>) -> Result<Effects<Self>, Declined> {
    ///         Ok(Effects::to(if standing.is_some() { State::Shut } else { State::Open }, Door {}))
    ///     }
    /// }
    ///
    /// # pollster::block_on(async {
    /// let txn = Txn::builder(Arc::new(Memory::new()), Arc::new(InertGateway::default())).build();
    /// let registry = Registry::builder().process(Doors)?.build()?;
    /// let processes = Processes::new(&txn.tenant(Tenant::default()), registry);
    /// let door = CorrelationId::new("front")?;
    /// let event = |id: &str, event| Incoming::new::<Doors>(door.clone(), IncomingId::new(id)?, event, &Door {});
    ///
    /// // It is shut before it is open: the event waits, and has its turn then.
    /// assert_eq!(processes.handle(&event("e-1", Event::Shut)?).await?.value()?.ending, Ending::Deferred);
    /// processes.handle(&event("e-2", Event::Open)?).await?;
    /// let instance = processes.get("doors", &door).await?.expect("it has begun");
    /// assert_eq!(instance.state.as_deref(), Some("Shut"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Rejection`](super::Rejection) as [`crate::Rejection::Process`], with nothing changed; a refusal by the table is no error but [`super::Ending::Rejected`]. [`Failure::Refused`] when the store refuses
    /// what the host writes (a guard, say). [`Failure::Conflict`], which may be repeated.
    pub async fn handle(&self, incoming: &Incoming) -> Result<Done<Handled>, Failure> {
        let Incoming { process, correlation, id, event, body } = incoming;
        let payload = self.payload(id, body)?;
        let change = ChangeId::new(format!("process.event/{process}/{correlation}/{id}"))?;
        let fingerprint = request("process.event", &(process, correlation, event, &payload));
        let name = Name::Asked { id: change, fingerprint, event: Some(id) };
        let newest = self.engine.registry.newest(process).map(|(version, _)| version);
        let limits = self.engine.registry.limits;
        let build = |instance: Option<Instance>, is_known: bool, context: &Context, notes: &mut Vec<What>| {
            let unknown = || Failure::Rejected(Rejection::UnknownProcess { process: process.clone() }.into());
            let mut instance = match (instance, newest) {
                (Some(instance), _) => instance,
                (None, Some(version)) => Instance::new(process.clone(), correlation.clone(), version, context.now),
                (None, None) => return Err(unknown()),
            };
            if instance.is_ready && is_known {
                return Ok(Built::Busy);
            }
            self.check_event(&instance, event)?;
            let (event, id) = (event.clone(), id.clone());
            if instance.phase == Phase::Abandoned {
                let reason = "the instance was given up".to_owned();
                notes.push(What::Rejected { event, id, reason });
                return Ok(Built::Changed(Box::new(instance)));
            }
            // What has its turn at once takes no room: an instance at which many wait can still begin.
            if self.engine.is_to_wait(&instance, &event) {
                let bytes = instance.waiting.iter().fold(payload.size(), |sum, w| sum.saturating_add(w.body.size()));
                let waiting = instance.waiting.len().saturating_add(1);
                check("events that wait at one instance", waiting, limits.waiting_max)?;
                check("bytes of events that wait at one instance", bytes, limits.waiting_bytes_max)?;
            }
            let waiting = Waiting { event, id, body: payload.clone(), since: context.now, is_own: false };
            instance.waiting.push(waiting);
            Ok(Built::Changed(Box::new(instance)))
        };
        for _ in 0..self.engine.attempts_max {
            match self.engine.advance((process, correlation), &name, build).await? {
                Advanced::Done(step) => {
                    if step.instance.is_some_and(|instance| instance.is_ready) {
                        // The event is handled; should this fail, a runner goes on with what waits.
                        let _ = self.engine.drain((process, correlation)).await;
                    }
                    return Ok(Done::of(step.receipt));
                }
                Advanced::Busy | Advanced::Nothing => self.engine.drain((process, correlation)).await?,
            }
        }
        Err(Failure::Conflict { attempts: self.engine.attempts_max })
    }

    fn payload(&self, id: &IncomingId, body: &Body) -> Result<Payload, Failure> {
        let not_text = || Failure::Rejected(Rejection::NotText { id: id.clone() }.into());
        let payload = Payload::of(body).ok_or_else(not_text)?;
        check("bytes in an event", payload.size(), self.engine.registry.limits.event_bytes_max)?;
        Ok(payload)
    }

    /// An event that its table does not have is refused at once; one for a version that is not registered here waits for a build that knows.
    fn check_event(&self, instance: &Instance, event: &str) -> Result<(), Failure> {
        let Some(process) = self.engine.registry.get(&instance.process, instance.version) else { return Ok(()) };
        if process.table().event_at(event).is_some() {
            return Ok(());
        }
        let (process, event) = (instance.process.clone(), event.to_owned());
        Err(Failure::Rejected(Rejection::UnknownEvent { process, event }.into()))
    }

    /// Reads an instance.
    ///
    /// # Errors
    /// [`Failure::Name`] for what is no process name, [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn get(&self, process: &str, correlation: &CorrelationId) -> Result<Option<Instance>, Failure> {
        let process = ProcessName::new(process)?;
        let record = self.engine.scope.record(instance_key(&process, correlation)).await?;
        Ok(record.map(|record| record.body.read::<Instance>()).transpose()?)
    }

    /// Reads the host's data of an instance.
    ///
    /// # Errors
    /// As [`Processes::get`].
    pub async fn data<P: Process>(&self, correlation: &CorrelationId) -> Result<Option<P::Data>, Failure> {
        let instance = self.get(P::NAME, correlation).await?;
        let data = instance.and_then(|instance| instance.data);
        Ok(data.map(|data| data.body().read::<P::Data>()).transpose().map_err(|error: BodyError| error)?)
    }

    /// A runner, under an identity of its own. Any number of them may run, in any number of processes.
    #[must_use]
    pub fn runner(&self) -> Runner {
        Runner::new(self.clone())
    }
}

pub(super) fn check(what: &'static str, found: usize, max: usize) -> Result<(), Failure> {
    if found > max {
        return Err(Failure::Rejected(Rejection::TooMany { what, found, max }.into()));
    }
    Ok(())
}

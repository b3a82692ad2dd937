//! The processes and steps of a build, verified when it is made.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use txn_change::{Body, BodyError, Change, Key, Record, Timestamp};
use txn_core::{Context, machine::Variants};

use super::{
    contract::{Arrived, Declined, Process, Standing},
    definition::{DefinitionError, Table},
    limits::ProcessLimits,
    name::{CorrelationId, ProcessName},
    step::{Plan, Step},
};

/// The processes and steps that a build knows. Made once, shared by everything that handles events and by every runner.
#[derive(Clone)]
pub struct Registry {
    pub(super) processes: Arc<BTreeMap<(ProcessName, u32), Arc<dyn Erased>>>,
    pub(super) steps: Arc<BTreeMap<String, Arc<dyn Step>>>,
    pub(super) limits: ProcessLimits,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<&String> = self.steps.keys().collect();
        let processes: Vec<_> = self.processes.keys().collect();
        f.debug_struct("Registry").field("processes", &processes).field("steps", &steps).finish_non_exhaustive()
    }
}

impl Registry {
    /// Begins an empty one.
    #[must_use]
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder { processes: Vec::new(), steps: BTreeMap::new(), limits: ProcessLimits::default() }
    }

    pub(super) fn get(&self, process: &ProcessName, version: u32) -> Option<&dyn Erased> {
        self.processes.get(&(process.clone(), version)).map(|found| &**found)
    }

    /// The newest version of a process: new instances begin under it.
    pub(super) fn newest(&self, process: &ProcessName) -> Option<(u32, &dyn Erased)> {
        let of_it = self.processes.range((process.clone(), 0)..=(process.clone(), u32::MAX));
        of_it.last().map(|((_, version), found)| (*version, &**found))
    }
}

/// Collects processes and steps.
pub struct RegistryBuilder {
    processes: Vec<Arc<dyn Erased>>,
    steps: BTreeMap<String, Arc<dyn Step>>,
    limits: ProcessLimits,
}

impl fmt::Debug for RegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryBuilder").field("processes", &self.processes.len()).finish_non_exhaustive()
    }
}

impl RegistryBuilder {
    /// Adds a process in one version.
    ///
    /// # Errors
    /// [`DefinitionError`] when its table is not one.
    pub fn process<P: Process>(mut self, process: P) -> Result<Self, DefinitionError> {
        let table = P::DEFINITION.verify()?;
        let name = ProcessName::new(P::NAME)?;
        self.processes.push(Arc::new(Registered { process, name, table }));
        Ok(self)
    }

    /// Says what carries out the steps of a name. The last word counts.
    #[must_use]
    pub fn step(mut self, name: impl Into<String>, step: Arc<dyn Step>) -> Self {
        self.steps.insert(name.into(), step);
        self
    }

    /// Other limits than the default ones.
    #[must_use]
    pub const fn limits(mut self, limits: ProcessLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Finishes.
    ///
    /// # Errors
    /// [`DefinitionError::Registered`], [`DefinitionError::NoStep`].
    pub fn build(self) -> Result<Registry, DefinitionError> {
        let mut processes = BTreeMap::new();
        for process in self.processes {
            let (name, process_name, version) = (process.name().clone(), process.static_name(), process.version());
            for step in process.steps() {
                ProcessName::new(step)?;
                if !self.steps.contains_key(*step) {
                    return Err(DefinitionError::NoStep { process: process_name, step });
                }
            }
            if processes.insert((name, version), process).is_some() {
                return Err(DefinitionError::Registered { process: process_name, version });
            }
        }
        Ok(Registry { processes: Arc::new(processes), steps: Arc::new(self.steps), limits: self.limits })
    }
}

/// What stands of an instance and what came, by positions and bodies.
pub(super) struct Question<'a> {
    pub(super) standing: Option<(usize, &'a Body)>,
    pub(super) event: usize,
    pub(super) body: &'a Body,
    pub(super) correlation: &'a CorrelationId,
    pub(super) context: &'a Context,
    pub(super) records: &'a [Option<Record>],
}

/// What was decided, by positions and bodies.
pub(super) struct Decided {
    pub(super) state: usize,
    pub(super) data: Body,
    pub(super) change: Option<Change>,
    pub(super) timeouts: Vec<(&'static str, Timestamp, usize)>,
    pub(super) cancelled: Vec<&'static str>,
    pub(super) plans: Vec<Plan<usize>>,
    pub(super) undone: Option<usize>,
}

/// A process without its types.
pub(super) trait Erased: Send + Sync {
    fn name(&self) -> &ProcessName;
    fn static_name(&self) -> &'static str;
    fn version(&self) -> u32;
    fn table(&self) -> &Table;
    fn steps(&self) -> &'static [&'static str];
    /// The records that a decision wants, and the decision; both survive a panic of the host's code.
    fn reads(&self, question: &Question<'_>) -> Result<Vec<Key>, Declined>;
    fn decide(&self, question: &Question<'_>) -> Result<Decided, Declined>;
}

struct Registered<P> {
    process: P,
    name: ProcessName,
    table: Table,
}

impl<P: Process> Registered<P> {
    /// Puts the types back, and asks the host's code.
    fn ask<T>(
        &self,
        question: &Question<'_>,
        ask: impl FnOnce(&P, Option<Standing<'_, P>>, &Arrived<'_, P::Event>) -> Result<T, Declined>,
    ) -> Result<T, Declined> {
        let unknown = || Declined::because("a state or event that the table does not have");
        let Question { standing, event, body, correlation, context, records } = question;
        let event = *P::Event::ALL.get(*event).ok_or_else(unknown)?;
        let data: Option<P::Data> = standing.map(|(_, data)| data.read()).transpose()?;
        let state = standing.map(|(state, _)| P::State::ALL.get(state).copied().ok_or_else(unknown)).transpose()?;
        let standing = state.zip(data.as_ref()).map(|(state, data)| Standing { state, data });
        let arrived = Arrived::new(event, body, correlation, context, records);
        let asked = catch_unwind(AssertUnwindSafe(|| ask(&self.process, standing, &arrived)));
        asked.unwrap_or_else(|_| Err(Declined::because("the decision panicked")))
    }
}

impl<P: Process> Erased for Registered<P> {
    fn name(&self) -> &ProcessName {
        &self.name
    }

    fn static_name(&self) -> &'static str {
        P::NAME
    }

    fn version(&self) -> u32 {
        P::VERSION
    }

    fn table(&self) -> &Table {
        &self.table
    }

    fn steps(&self) -> &'static [&'static str] {
        P::STEPS
    }

    fn reads(&self, question: &Question<'_>) -> Result<Vec<Key>, Declined> {
        self.ask(question, |process, standing, arrived| Ok(process.reads(standing, arrived)))
    }

    fn decide(&self, question: &Question<'_>) -> Result<Decided, Declined> {
        let effects = self.ask(question, P::decide)?;
        let data = Body::of(&effects.data).map_err(|error: BodyError| Declined::from(error))?;
        let plan = |plan: Plan<P::Event>| Plan {
            done: plan.done.index(),
            failed: plan.failed.index(),
            step: plan.step,
            input: plan.input,
            is_undoable: plan.is_undoable,
            attempts_max: plan.attempts_max,
            queries_max: plan.queries_max,
            lease: plan.lease,
            retry_after: plan.retry_after,
        };
        let timeouts = effects.timeouts.into_iter().map(|(name, due, event)| (name, due, event.index()));
        Ok(Decided {
            state: effects.state.index(),
            data,
            change: effects.change,
            timeouts: timeouts.collect(),
            cancelled: effects.cancelled,
            plans: effects.plans.into_iter().map(plan).collect(),
            undone: effects.undone.map(Variants::index),
        })
    }
}

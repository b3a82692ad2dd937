//! Where an instance stands: its key, and the index entries of its content.

use txn_change::{Fingerprint, Key, KeyBuilder, Kind, Term, Timestamp};

use super::{
    name::{CorrelationId, ProcessName},
    record::{Instance, Phase, StepRecord, Work},
    step::Operation,
};

/// The kind of instances.
pub(crate) const PROCESS_KIND: Kind = Kind::reserved("process");
/// The kind of the tables that versions were begun with.
pub(crate) const DEFINITION_KIND: Kind = Kind::reserved("process-definition");
const BY_DUE: Kind = Kind::reserved("process-due");
const BY_PHASE: Kind = Kind::reserved("process-phase");
const BY_STATE: Kind = Kind::reserved("process-state");
const BY_VERSION: Kind = Kind::reserved("process-open");
pub(super) const BY_INSTANCE: Kind = Kind::reserved("process-of");

/// What is due is spread over this many buckets, so that several runners begin at different ones.
pub(super) const BUCKETS: u64 = 16;

const FITS: &str = "a process name has 32 bytes, a correlation id 100, a state at most a line: far below a key's 512";

/// The key of an instance.
pub(crate) fn instance_key(process: &ProcessName, correlation: &CorrelationId) -> Key {
    Key::of(PROCESS_KIND).text(process).and_then(|key| key.text(correlation)).expect(FITS).build()
}

pub(crate) fn begun_key(process: &ProcessName, version: u32) -> Key {
    Key::of(DEFINITION_KIND).text(process).expect(FITS).number(u64::from(version)).build()
}

/// The term of an instance's events.
pub(super) fn of_instance(process: &ProcessName, correlation: &CorrelationId) -> Term {
    Key::of(BY_INSTANCE).text(process).and_then(|key| key.text(correlation)).expect(FITS).build()
}

pub(super) fn by_due(process: &ProcessName, version: u32, bucket: u64) -> KeyBuilder {
    Key::of(BY_DUE).text(process).expect(FITS).number(u64::from(version)).number(bucket)
}

/// Whether a term says when an instance is due.
pub(super) fn is_due(term: &Term) -> bool {
    term.kind() == BY_DUE.as_str()
}

pub(super) fn by_phase(process: &ProcessName, phase: Phase) -> KeyBuilder {
    Key::of(BY_PHASE).text(process).and_then(|key| key.text(phase.name())).expect(FITS)
}

pub(super) fn by_state(process: &ProcessName, state: &str) -> KeyBuilder {
    // A state's name is an identifier of the host's; one that fits no key is found by no query, and harms nothing else.
    let state = state.get(..200).unwrap_or(state);
    Key::of(BY_STATE).text(process).and_then(|key| key.text(state)).expect(FITS)
}

pub(super) fn by_version(process: &ProcessName, version: u32) -> KeyBuilder {
    Key::of(BY_VERSION).text(process).expect(FITS).number(u64::from(version))
}

impl Instance {
    pub(super) const fn new(process: ProcessName, correlation: CorrelationId, version: u32, now: Timestamp) -> Self {
        Self {
            process,
            correlation,
            version,
            phase: Phase::Awaited,
            since: now,
            state: None,
            data: None,
            waiting: Vec::new(),
            is_ready: false,
            timeouts: Vec::new(),
            steps: Vec::new(),
            undone: None,
            stuck: None,
        }
    }

    pub(crate) fn key(&self) -> Key {
        instance_key(&self.process, &self.correlation)
    }

    /// The index entries of this content.
    pub(crate) fn terms(&self) -> Vec<Term> {
        let Self { process, correlation, version, .. } = self;
        let mut terms = Vec::with_capacity(4);
        terms.push(by_phase(process, self.phase).time(self.since).text(correlation).expect(FITS).build());
        if let Some(state) = &self.state {
            terms.push(by_state(process, state).text(correlation).expect(FITS).build());
        }
        if !self.phase.is_over() {
            terms.push(by_version(process, *version).text(correlation).expect(FITS).build());
        }
        if let Some(due) = self.due() {
            let of_bucket = by_due(process, *version, self.bucket());
            terms.push(of_bucket.time(due).text(correlation).expect(FITS).build());
        }
        terms
    }

    fn bucket(&self) -> u64 {
        let digest = Fingerprint::of_bytes(&self.process, self.correlation.as_bytes()).0;
        u64::from(digest[0]).checked_rem(BUCKETS).unwrap_or_default()
    }

    /// When a runner has something to do here.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        if self.is_ready {
            return Some(Timestamp::EPOCH);
        }
        if !matches!(self.phase, Phase::Running | Phase::Undoing) {
            return None;
        }
        let timeouts = self.timeouts.iter().map(|timeout| timeout.due);
        timeouts.chain(self.open_works().map(|(_, _, work)| work.due)).min()
    }

    /// Operations that are not settled.
    pub(super) fn open_works(&self) -> impl Iterator<Item = (&StepRecord, Operation, &Work)> {
        let works = self.steps.iter().flat_map(|step| {
            let compensate = step.compensate.as_ref().map(|work| (step, Operation::Compensate, work));
            std::iter::once((step, Operation::Execute, &step.execute)).chain(compensate)
        });
        works.filter(|(_, _, work)| !work.status.is_settled())
    }

    pub(super) fn step_mut(&mut self, number: u32) -> Option<&mut StepRecord> {
        self.steps.iter_mut().find(|step| step.number == number)
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Timestamp) {
        if self.phase != phase {
            (self.phase, self.since) = (phase, now);
        }
    }
}

//! The other side of the steps: does each operation once for its key, as it is told, and remembers who asked for what.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use txn::process::{Call, Operation, Step, StepResult};

use super::mortal::Mortal;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is declined.
    Decline,
    /// It does not happen, and says so.
    NotExecuted,
    /// It is done, and the answer is lost.
    LostAfter,
    /// It is lost on the way.
    LostBefore,
    /// The code panics.
    Panic,
}

/// A call that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) what: String,
    pub(crate) key: String,
}

#[derive(Default)]
struct State {
    told: BTreeMap<String, VecDeque<Told>>,
    /// What was done or declined, by key.
    ended: BTreeMap<String, (String, bool)>,
    /// Operations in the order in which they were done.
    done: Vec<String>,
    asked: Vec<Asked>,
    /// How many queries are not answered.
    mute: u32,
}

pub(crate) struct Bank {
    state: Mutex<State>,
    store: Arc<Mortal>,
}

fn name(call: &Call) -> String {
    let undo = if call.operation == Operation::Compensate { "undo-" } else { "" };
    format!("{undo}{}", call.step)
}

impl Bank {
    pub(crate) fn of(store: Arc<Mortal>) -> Self {
        Self { state: Mutex::default(), store }
    }

    /// What becomes of the next calls of an operation, such as `capture` or `undo-reserve`. Then they are done.
    pub(crate) fn tell(&self, operation: &str, told: &[Told]) {
        self.state.lock().unwrap().told.entry(operation.to_owned()).or_default().extend(told);
    }

    pub(crate) fn mute(&self, queries: u32) {
        self.state.lock().unwrap().mute = queries;
    }

    /// What was done, in its order.
    pub(crate) fn done(&self) -> Vec<String> {
        self.state.lock().unwrap().done.clone()
    }

    /// Who was asked for what: `execute capture`, `query capture`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.iter().map(|asked| asked.what.clone()).collect()
    }

    /// For each key, what was executed under it and how often.
    pub(crate) fn executed(&self) -> BTreeMap<String, Vec<String>> {
        let mut executed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for asked in &self.state.lock().unwrap().asked {
            if let Some(what) = asked.what.strip_prefix("execute ") {
                executed.entry(asked.key.clone()).or_default().push(what.to_owned());
            }
        }
        executed
    }
}

#[async_trait::async_trait]
impl Step for Bank {
    async fn execute(&self, call: &Call) -> StepResult {
        if !self.store.passes() {
            return StepResult::Unknown;
        }
        let (name, key) = (name(call), call.idempotency_key.clone());
        let result = {
            let mut state = self.state.lock().unwrap();
            state.asked.push(Asked { what: format!("execute {name}"), key: key.clone() });
            let told = state.told.get_mut(&name).and_then(VecDeque::pop_front);
            match (state.ended.get(&key).cloned(), told) {
                (_, Some(Told::Panic)) => {
                    drop(state);
                    panic!("a step that panics");
                }
                (Some((_, is_done)), _) => {
                    if is_done {
                        StepResult::done_empty()
                    } else {
                        StepResult::Failed("declined".into())
                    }
                }
                (None, Some(Told::Decline)) => {
                    state.ended.insert(key, (name, false));
                    StepResult::Failed("declined".into())
                }
                (None, Some(Told::NotExecuted)) => StepResult::NotExecuted,
                (None, Some(Told::LostBefore)) => StepResult::Unknown,
                (None, told) => {
                    state.ended.insert(key, (name.clone(), true));
                    state.done.push(name);
                    if told.is_some() { StepResult::Unknown } else { StepResult::done_empty() }
                }
            }
        };
        if self.store.passes() { result } else { StepResult::Unknown }
    }

    async fn query(&self, call: &Call) -> StepResult {
        if !self.store.passes() {
            return StepResult::Unknown;
        }
        let mut state = self.state.lock().unwrap();
        let what = format!("query {}", name(call));
        state.asked.push(Asked { what, key: call.idempotency_key.clone() });
        if state.mute > 0 {
            state.mute -= 1;
            return StepResult::Unknown;
        }
        match state.ended.get(&call.idempotency_key) {
            Some((_, true)) => StepResult::done_empty(),
            Some((_, false)) => StepResult::Failed("declined".into()),
            None => StepResult::NotExecuted,
        }
    }
}

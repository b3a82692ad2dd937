//! The same over PostgreSQL, through two or three handles that take turns and come and go.

use std::sync::{Arc, OnceLock};

use proptest::{collection::vec, prelude::*};
use tokio::runtime::Runtime;
use txn_queue::{ManualClock, QueueAdmin, QueueLimits, postgres::Postgres};

use super::{
    command::command,
    config,
    pair::{Pair, Subject},
};
use crate::server;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

/// One schema, as so many processes see it.
struct InSchema {
    schema: String,
    clock: Arc<ManualClock>,
    limits: QueueLimits,
    handles: Vec<Arc<dyn QueueAdmin>>,
    calls: usize,
}

impl InSchema {
    fn new(clock: &Arc<ManualClock>, steps_max: u64, handles: usize) -> Self {
        let limits = QueueLimits { steps_max, ..QueueLimits::default() };
        let schema = server::name("history");
        let mut schema = Self { schema, clock: Arc::clone(clock), limits, handles: Vec::new(), calls: 0 };
        for _ in 0..handles {
            let handle = schema.open();
            schema.handles.push(handle);
        }
        schema
    }

    fn open(&self) -> Arc<dyn QueueAdmin> {
        let options = Postgres::options(&server::url()).unwrap().schema(&self.schema).lanes(1);
        let options = options.clock(Arc::clone(&self.clock) as _).limits(self.limits);
        Arc::new(runtime().block_on(options.open()).unwrap())
    }
}

impl Subject for InSchema {
    fn queue(&mut self) -> Arc<dyn QueueAdmin> {
        self.calls += 1;
        Arc::clone(&self.handles[self.calls % self.handles.len()])
    }

    fn reopen(&mut self) {
        // The one whose turn it is; the others know what they know.
        let at = (self.calls + 1) % self.handles.len();
        drop(self.handles.remove(at));
        let handle = self.open();
        self.handles.insert(at, handle);
    }
}

proptest! {
    #![proptest_config(config(20))]

    /// Case Q29.
    #[test]
    fn handles_of_several_processes_answer_in_turn_as_memory_does(
        steps_max in 1u64..6,
        handles in 1usize..4,
        commands in vec(command(), 1..80),
    ) {
        Pair::new(|clock| InSchema::new(clock, steps_max, handles)).run(&commands)?;
    }
}

//! A process of two steps, and the other side of the steps: a file that outlives everybody and does each operation once for its key.

use std::{path::Path, sync::Mutex, time::Duration};

use serde::{Deserialize, Serialize};
use txn::{
    change::Document,
    process::{Arrived, Call, Declined, Definition, Early, Effects, Plan, Policy, Process, Standing, Step, StepResult},
};

txn::core::variants! {
    pub(super) enum State { Fetching, Bringing, Done, Failed }
    pub(super) enum Event { Asked, Fetched, NotFetched, Brought, NotBrought }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Errand {
    pub(super) what: String,
}

impl Document for Errand {
    const TYPE: &'static str = "errand";
    const SCHEMA: u16 = 1;
}

pub(super) struct Errands;

impl Process for Errands {
    type State = State;
    type Event = Event;
    type Data = Errand;
    const NAME: &'static str = "errand";
    const VERSION: u32 = 1;
    const DEFINITION: Definition<State, Event> = {
        use Event as E;
        use State as S;
        Definition {
            early: &[
                (&[E::Asked], Early::Begin(&[S::Fetching])),
                (&[E::Fetched, E::NotFetched, E::Brought, E::NotBrought], Early::Reject),
            ],
            finals: &[S::Done, S::Failed],
            rules: &[
                (&[S::Fetching], &[E::Fetched], Policy::Apply(&[S::Bringing])),
                (&[S::Fetching], &[E::NotFetched], Policy::Apply(&[S::Failed])),
                (&[S::Fetching], &[E::Brought, E::NotBrought], Policy::Reject),
                (&[S::Bringing], &[E::Brought], Policy::Apply(&[S::Done])),
                (&[S::Bringing], &[E::NotBrought], Policy::Apply(&[S::Failed])),
                (&[S::Bringing], &[E::Fetched, E::NotFetched], Policy::Ignore),
                (&[S::Fetching, S::Bringing, S::Done, S::Failed], &[E::Asked], Policy::Ignore),
                (&[S::Done, S::Failed], &[E::Fetched, E::NotFetched, E::Brought, E::NotBrought], Policy::Ignore),
            ],
        }
    };
    const STEPS: &'static [&'static str] = &["fetch", "bring"];

    fn decide(
        &self,
        standing: Option<Standing<'_, Self>>,
        arrived: &Arrived<'_, Event>,
    ) -> Result<Effects<Self>, Declined> {
        let errand = match standing {
            Some(standing) => Errand { what: standing.data.what.clone() },
            None => arrived.read()?,
        };
        let plan = |step, done, failed| {
            let plan = Plan::new(step, &errand, done, failed)?.attempts_max(100).queries_max(100);
            // The shortest that may be: whoever dies in the middle of a call keeps it from others for so long.
            Ok::<_, Declined>(plan.lease(Duration::from_secs(1)).retry_after(Duration::from_millis(50)))
        };
        let what = Errand { what: errand.what.clone() };
        Ok(match (standing.map(|standing| standing.state), arrived.event) {
            (None, _) => Effects::to(State::Fetching, what).begin(plan("fetch", Event::Fetched, Event::NotFetched)?),
            (_, Event::Fetched) => {
                Effects::to(State::Bringing, what).begin(plan("bring", Event::Brought, Event::NotBrought)?)
            }
            (_, Event::Brought) => Effects::to(State::Done, what),
            _ => Effects::to(State::Failed, what),
        })
    }
}

/// The other side.
pub(super) struct Elsewhere(Mutex<rusqlite::Connection>);

impl Elsewhere {
    pub(super) fn open(folder: &Path) -> Self {
        let file = rusqlite::Connection::open(folder.join("elsewhere.db")).unwrap();
        file.busy_timeout(Duration::from_secs(20)).unwrap();
        let tables = "CREATE TABLE IF NOT EXISTS done (key TEXT PRIMARY KEY, step TEXT NOT NULL, what TEXT NOT NULL);
            CREATE TABLE IF NOT EXISTS asked (key TEXT NOT NULL, step TEXT NOT NULL);";
        file.execute_batch(tables).unwrap();
        Self(Mutex::new(file))
    }

    /// What was done, and for whom, in no order.
    pub(super) fn done(&self) -> Vec<(String, String)> {
        let file = self.0.lock().unwrap();
        let mut asked = file.prepare("SELECT what, step FROM done ORDER BY what, step").unwrap();
        asked.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    }

    /// How many calls came.
    pub(super) fn calls(&self) -> i64 {
        let count = |row: &rusqlite::Row<'_>| row.get(0);
        self.0.lock().unwrap().query_row("SELECT count(*) FROM asked", [], count).unwrap()
    }
}

#[async_trait::async_trait]
impl Step for Elsewhere {
    async fn execute(&self, call: &Call) -> StepResult {
        let errand: Errand = call.input.read().unwrap();
        {
            let file = self.0.lock().unwrap();
            let key = &call.idempotency_key;
            file.execute("INSERT INTO asked VALUES (?1, ?2)", (key, &call.step)).unwrap();
            file.execute("INSERT OR IGNORE INTO done VALUES (?1, ?2, ?3)", (key, &call.step, &errand.what)).unwrap();
        }
        // The answer is on its way: a good moment to die.
        tokio::time::sleep(Duration::from_millis(2)).await;
        StepResult::done_empty()
    }

    async fn query(&self, call: &Call) -> StepResult {
        let file = self.0.lock().unwrap();
        let mut asked = file.prepare("SELECT 1 FROM done WHERE key = ?1").unwrap();
        if asked.exists([&call.idempotency_key]).unwrap() { StepResult::done_empty() } else { StepResult::NotExecuted }
    }
}

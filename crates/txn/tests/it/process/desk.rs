//! A process whose basket says what it does, and the hand that carries out its step.

use std::{collections::VecDeque, sync::Mutex};

use txn::process::{
    Arrived, Call, Cause, Declined, Definition, Early, Effects, Plan, Policy, Process, Remedy, Standing, Step,
    StepResult,
};

use super::*;

txn::core::variants! {
    pub(crate) enum Room { Open, Ready, Undoing, Shut }
    pub(crate) enum Knock { Begun, Held, NotHeld, First, Second, Later, Hurry, Deadline, Undone }
}

pub(crate) struct Desk;

impl Process for Desk {
    type State = Room;
    type Event = Knock;
    type Data = Basket;
    const NAME: &'static str = "desk";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["hold"];
    const DEFINITION: Definition<Room, Knock> = {
        use Knock as E;
        use Room as S;
        Definition {
            early: &[
                (&[E::Begun], Early::Begin(&[S::Open])),
                (
                    &[E::Held, E::NotHeld, E::First, E::Second, E::Later, E::Hurry, E::Deadline, E::Undone],
                    Early::Reject,
                ),
            ],
            finals: &[S::Shut],
            rules: &[
                (&[S::Open], &[E::Held], Policy::Apply(&[S::Undoing, S::Ready])),
                (&[S::Open], &[E::NotHeld, E::Second], Policy::Apply(&[S::Shut])),
                (&[S::Open], &[E::First], Policy::Apply(&[S::Open])),
                (&[S::Open], &[E::Hurry], Policy::Apply(&[S::Ready])),
                (&[S::Open], &[E::Later], Policy::Defer),
                (&[S::Open, S::Ready], &[E::Deadline], Policy::Apply(&[S::Shut])),
                (&[S::Ready], &[E::Later], Policy::Apply(&[S::Shut])),
                (&[S::Ready], &[E::Held, E::NotHeld, E::First, E::Second, E::Hurry], Policy::Ignore),
                // Wrong: steps are open then. It leaves the instance to a person.
                (&[S::Undoing], &[E::Deadline, E::Undone], Policy::Apply(&[S::Shut])),
                (&[S::Undoing], &[E::Held, E::NotHeld, E::First, E::Second, E::Later, E::Hurry], Policy::Ignore),
                (&[S::Open, S::Ready, S::Undoing, S::Shut], &[E::Begun], Policy::Ignore),
                (&[S::Open, S::Ready], &[E::Undone], Policy::Reject),
                (
                    &[S::Shut],
                    &[E::Held, E::NotHeld, E::First, E::Second, E::Later, E::Hurry, E::Deadline, E::Undone],
                    Policy::Ignore,
                ),
            ],
        }
    };

    fn decide(
        &self,
        standing: Option<Standing<'_, Self>>,
        arrived: &Arrived<'_, Knock>,
    ) -> Result<Effects<Self>, Declined> {
        let basket = match &standing {
            Some(standing) => standing.data.clone(),
            None => arrived.read()?,
        };
        let after = |seconds| arrived.context.now.after(Duration::from_secs(seconds));
        let to = |room| Effects::to(room, basket.clone());
        Ok(match (arrived.event, &*basket.total) {
            (Knock::Begun, "cancelled" | "moved") => {
                let (first, second) = (after(60)?, after(61)?);
                to(Room::Open).timeout("first", first, Knock::First).timeout("second", second, Knock::Second)
            }
            (Knock::Begun, "kept") => to(Room::Open).timeout("later", after(60)?, Knock::Later),
            (Knock::Begun, "spaced") => to(Room::Open).timeout("too late", after(60)?, Knock::First),
            (Knock::Begun, "umlaut") => to(Room::Open).timeout("größe", after(60)?, Knock::First),
            (Knock::Begun, lease) => {
                let mut plan = Plan::new("hold", &basket, Knock::Held, Knock::NotHeld)?.undoable().attempts_max(1);
                if lease == "short" {
                    plan = plan.attempts_max(100);
                    plan.lease = SHORT;
                }
                to(Room::Open).begin(plan).timeout("deadline", after(90)?, Knock::Deadline)
            }
            (Knock::Held, "undo") => to(Room::Undoing).undo(Knock::Undone),
            (Knock::Held | Knock::Hurry, _) => to(Room::Ready).cancel("later").cancel("deadline"),
            (Knock::First, "cancelled") => to(Room::Open).cancel("second").cancel("too late"),
            (Knock::First, "moved") => to(Room::Open).timeout("second", after(60)?, Knock::Second),
            (Knock::First, _) => to(Room::Open),
            (Knock::NotHeld, "poison") => return Err(Declined::because("it was to be held")),
            _ => to(Room::Shut),
        })
    }
}

/// Longer than a claim takes on any machine that is not asleep.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// What happens in the middle of a call, and what it says then.
type Meanwhile = Box<dyn Fn(&Call) -> StepResult + Send>;

/// Carries out `hold` as it is told: done, unless told otherwise. What it is asked about was not executed.
#[derive(Default)]
pub(crate) struct Hand {
    told: Mutex<VecDeque<Meanwhile>>,
    pub(crate) called: Mutex<Vec<Call>>,
}

#[async_trait::async_trait]
impl Step for Hand {
    async fn execute(&self, call: &Call) -> StepResult {
        self.called.lock().unwrap().push(call.clone());
        let told = self.told.lock().unwrap().pop_front();
        told.map_or_else(StepResult::done_empty, |told| told(call))
    }

    async fn query(&self, _: &Call) -> StepResult {
        StepResult::NotExecuted
    }
}

pub(crate) struct Office {
    pub(crate) desk: Arc<Processes>,
    pub(crate) hand: Arc<Hand>,
}

impl Office {
    pub(crate) fn of(services: &Services) -> Self {
        let hand = Arc::new(Hand::default());
        let registry = Registry::builder().step("hold", Arc::clone(&hand) as _).process(Desk).unwrap();
        Self { desk: Arc::new(Processes::new(services, registry.build().unwrap())), hand }
    }

    pub(crate) fn tell(&self, told: impl Fn(&Call) -> StepResult + Send + 'static) {
        self.hand.told.lock().unwrap().push_back(Box::new(told));
    }

    /// In the middle of the next call some time goes by, and another runner passes. Then the call says this.
    pub(crate) fn tell_beside(&self, world: &World, seconds: u64, result: StepResult) {
        let (clock, desk) = (Arc::clone(&world.clock), Arc::clone(&self.desk));
        self.tell(move |_| {
            clock.advance(Duration::from_secs(seconds));
            let runner = desk.runner();
            while pollster::block_on(runner.run_once()).unwrap().did_something() {}
            result.clone()
        });
    }

    pub(crate) async fn knock(&self, id: &str, event: Knock, what: &str) -> Result<Ending, txn::Failure> {
        let basket = Basket { total: what.to_owned() };
        let incoming = Incoming::new::<Desk>(about("one"), IncomingId::new(id).unwrap(), event, &basket).unwrap();
        self.desk.handle(&incoming).await.map(|settled| settled.value().unwrap().ending)
    }

    pub(crate) async fn begin(&self, what: &str) {
        let begun = self.knock("begin", Knock::Begun, what).await.unwrap();
        assert!(matches!(begun, Ending::Applied { .. }), "{begun:?}");
    }

    pub(crate) async fn pass(&self) {
        let runner = self.desk.runner();
        loop {
            let pass = runner.run_once().await.unwrap();
            assert!(pass.failures.is_empty(), "{:?}", pass.failures);
            if !pass.did_something() {
                return;
            }
        }
    }

    pub(crate) async fn help(&self, id: &str, remedy: &Remedy) {
        self.desk.help("desk", &about("one"), remedy, &people::order(id)).await.unwrap();
    }

    pub(crate) async fn instance(&self) -> Instance {
        self.desk.get("desk", &about("one")).await.unwrap().unwrap()
    }

    pub(crate) async fn cause(&self) -> Option<Cause> {
        self.instance().await.stuck.map(|stuck| stuck.cause)
    }
}

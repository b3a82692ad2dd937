//! A checkout: reserve, authorise, capture; undone in reverse when one fails, or when it is called off.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use txn::{
    change::{Body, Document, Event as Told, Expect, Key, KeyBuilder, Kind, Record},
    process::{Arrived, CorrelationId, Declined, Definition, Early, Effects, Plan, Policy, Process, Standing},
};

txn::core::variants! {
    pub(crate) enum State { Reserving, Authorising, Capturing, Undoing, Done, Cancelled }
    pub(crate) enum Event { Placed, Reserved, NotReserved, Authorised, Declined, Captured, NotCaptured, Cancel, TooLate, Undone }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Basket {
    pub(crate) total: String,
}

impl Document for Basket {
    const TYPE: &'static str = "basket";
    const SCHEMA: u16 = 1;
}

/// A record of the host's: how many events were applied.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) applied: u64,
}

impl Document for Tally {
    const TYPE: &'static str = "tally";
    const SCHEMA: u16 = 1;
}

pub(crate) fn tally_key(correlation: &CorrelationId) -> Key {
    Key::of(Kind::new("tally").unwrap()).text(correlation).unwrap().build()
}

pub(crate) fn told_of(correlation: &CorrelationId) -> KeyBuilder {
    Key::of(Kind::new("told").unwrap()).text(correlation).unwrap()
}

pub(crate) const RULES: &[(&[State], &[Event], Policy<State>)] = {
    use Event as E;
    use State as S;
    &[
        (&[S::Reserving], &[E::Reserved], Policy::Apply(&[S::Authorising])),
        (&[S::Reserving], &[E::NotReserved], Policy::Apply(&[S::Cancelled])),
        (&[S::Authorising], &[E::Authorised], Policy::Apply(&[S::Capturing])),
        (&[S::Authorising], &[E::Declined], Policy::Apply(&[S::Undoing])),
        (&[S::Capturing], &[E::Captured], Policy::Apply(&[S::Done])),
        (&[S::Capturing], &[E::NotCaptured], Policy::Apply(&[S::Undoing])),
        (&[S::Reserving, S::Authorising], &[E::Cancel, E::TooLate], Policy::Apply(&[S::Undoing])),
        (&[S::Capturing], &[E::Cancel, E::TooLate], Policy::Reject),
        (&[S::Undoing], &[E::Undone], Policy::Apply(&[S::Cancelled])),
        (&[S::Undoing], &[E::Cancel, E::TooLate], Policy::Ignore),
        (
            &[S::Reserving, S::Authorising, S::Capturing, S::Undoing, S::Done, S::Cancelled],
            &[E::Placed],
            Policy::Ignore,
        ),
        (&[S::Reserving], &[E::Authorised, E::Declined, E::Captured, E::NotCaptured], Policy::Defer),
        (&[S::Authorising], &[E::Captured, E::NotCaptured], Policy::Defer),
        (&[S::Reserving, S::Authorising, S::Capturing, S::Done, S::Cancelled], &[E::Undone], Policy::Reject),
        (
            &[S::Authorising, S::Capturing, S::Undoing, S::Done, S::Cancelled],
            &[E::Reserved, E::NotReserved],
            Policy::Ignore,
        ),
        (&[S::Capturing, S::Undoing, S::Done, S::Cancelled], &[E::Authorised, E::Declined], Policy::Ignore),
        (&[S::Undoing, S::Done, S::Cancelled], &[E::Captured, E::NotCaptured], Policy::Ignore),
        (&[S::Done], &[E::Cancel], Policy::Reject),
        (&[S::Cancelled], &[E::Cancel], Policy::Ignore),
        (&[S::Done, S::Cancelled], &[E::TooLate], Policy::Ignore),
    ]
};

pub(crate) const EARLY: &[(&[Event], Early<State>)] = {
    use Event as E;
    &[
        (&[E::Placed], Early::Begin(&[State::Reserving])),
        (&[E::Cancel, E::Authorised], Early::Defer),
        (&[E::Reserved, E::NotReserved, E::Declined, E::Captured, E::NotCaptured, E::Undone], Early::Reject),
        (&[E::TooLate], Early::Ignore),
    ]
};

/// The checkout, as it is now.
pub(crate) struct Checkout;

impl Process for Checkout {
    type State = State;
    type Event = Event;
    type Data = Basket;
    const NAME: &'static str = "checkout";
    const VERSION: u32 = 1;
    const DEFINITION: Definition<State, Event> =
        Definition { early: EARLY, finals: &[State::Done, State::Cancelled], rules: RULES };
    const STEPS: &'static [&'static str] = &["reserve", "authorise", "capture"];

    fn reads(&self, _: Option<Standing<'_, Self>>, arrived: &Arrived<'_, Event>) -> Vec<Key> {
        vec![tally_key(arrived.correlation)]
    }

    fn decide(
        &self,
        standing: Option<Standing<'_, Self>>,
        arrived: &Arrived<'_, Event>,
    ) -> Result<Effects<Self>, Declined> {
        decided(standing, arrived)
    }
}

/// What every version of the checkout decides.
pub(crate) fn decided<P: Process<State = State, Event = Event, Data = Basket>>(
    standing: Option<Standing<'_, P>>,
    arrived: &Arrived<'_, Event>,
) -> Result<Effects<P>, Declined> {
    let basket = match standing {
        Some(standing) => standing.data.clone(),
        None => arrived.read()?,
    };
    if basket.total == "panic" && standing.is_some() {
        panic!("a decision that panics");
    }
    if basket.total.is_empty() {
        return Err(Declined::because("an empty basket"));
    }
    let plan = |step, done, failed| {
        let plan = Plan::new(step, &basket, done, failed)?.undoable().attempts_max(3).queries_max(4);
        Ok::<_, Declined>(plan.lease(Duration::from_secs(60)).retry_after(Duration::from_secs(5)))
    };
    let due = arrived.context.now.after(Duration::from_secs(86_400))?;
    let effects = match (standing.map(|standing| standing.state), arrived.event) {
        (None, _) => Effects::to(State::Reserving, basket.clone())
            .begin(plan("reserve", Event::Reserved, Event::NotReserved)?)
            .timeout("payment", due, Event::TooLate),
        (_, Event::Reserved) => Effects::to(State::Authorising, basket.clone()).begin(plan(
            "authorise",
            Event::Authorised,
            Event::Declined,
        )?),
        (_, Event::Authorised) => Effects::to(State::Capturing, basket.clone())
            .begin(plan("capture", Event::Captured, Event::NotCaptured)?)
            .cancel("payment"),
        (_, Event::Captured) => Effects::to(State::Done, basket.clone()),
        (_, Event::NotReserved | Event::Undone) => Effects::to(State::Cancelled, basket.clone()),
        _ => Effects::to(State::Undoing, basket.clone()).undo(Event::Undone),
    };
    Ok(effects.and(tally(arrived)?))
}

/// One more event applied, and told.
fn tally(arrived: &Arrived<'_, Event>) -> Result<txn::change::Change, Declined> {
    let stood: Option<&Record> = arrived.records.first().and_then(Option::as_ref);
    let applied = stood.map(|record| record.body.read::<Tally>()).transpose()?.map_or(0, |tally| tally.applied);
    let body = Body::of(&Tally { applied: applied + 1 })?;
    let told = Told::new(Body::raw("shop.told", 1, b"{}".to_vec())).with_term(told_of(arrived.correlation).build());
    let expect = Expect::of(stood.map(|record| record.version));
    Ok(arrived.change().put(tally_key(arrived.correlation), expect, body, vec![]).append(told))
}

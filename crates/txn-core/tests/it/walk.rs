//! Random walks over a few orders. After every step, whatever it was and however it was answered, the invariants hold.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use txn_core::{
    aftersale::ReceivedLine,
    inventory::{self, Disposition},
    order::{self, LineQuantity, Order, PlaceOrder},
    payment::{Operation, OperationResult, RefundResult},
};

use crate::{
    invariants::Ends,
    shop::{item, order_id, order_of, payment_id, pieces, units, usd},
    world::{Outcome, World, seconds},
};

const ORDERS: [&str; 3] = ["o0", "o1", "o2"];
const BASKETS: [&str; 2] = ["b0", "b1"];
const SKUS: [&str; 3] = ["s0", "s1", "s2"];
const REFUNDS: [&str; 4] = ["f0", "f1", "f2", "f3"];
const RETURNS: [&str; 4] = ["r0", "r1", "r2", "r3"];

#[derive(Debug, Clone, Copy)]
enum Answered {
    Done,
    OtherAmount(i128),
    Declined,
    NotExecuted,
    Unknown,
}

#[derive(Debug, Clone)]
enum Step {
    Receive(usize, u64),
    Place { order: usize, lines: Vec<(usize, u64, i128)>, lasts: Option<i64> },
    Reserve { basket: usize, lines: Vec<(usize, u64)>, lasts: Option<i64> },
    CommitHold(usize),
    Extend(usize, i64),
    Sweep(usize),
    Release(usize),
    Pay(usize),
    Claim(usize, Operation),
    Record(usize, Operation, Answered),
    Ship(usize, Vec<(usize, u64)>),
    ShipAll(usize),
    Deliver(usize, Vec<(usize, u64)>),
    DeliverAll(usize),
    Cancel(usize),
    Expire(usize),
    RequestReturn { id: usize, order: usize, lines: Vec<(usize, u64)> },
    Return { id: usize, order: usize, lines: Vec<(usize, u64, bool)> },
    RequestRefund { id: usize, order: usize, amount: i128 },
    SettleRefund(usize, bool),
    RecordRefund { id: usize, order: usize, amount: i128 },
    Wait(i64),
}

impl Step {
    fn name(&self) -> String {
        let text = format!("{self:?}");
        text.split(['(', ' ']).next().unwrap().to_owned()
    }
}

fn operations() -> impl Strategy<Value = Operation> {
    prop::sample::select(vec![Operation::Authorise, Operation::Capture, Operation::Void])
}

fn answers() -> impl Strategy<Value = Answered> {
    prop_oneof![
        6 => Just(Answered::Done),
        1 => (-1i128..900).prop_map(Answered::OtherAmount),
        1 => Just(Answered::Declined),
        1 => Just(Answered::NotExecuted),
        1 => Just(Answered::Unknown),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    // A hold's index goes over the orders' holds and the baskets.
    let (order, hold) = (0..ORDERS.len(), 0..ORDERS.len() + BASKETS.len());
    let lasts = || prop_oneof![3 => Just(None), 2 => (-1i64..30).prop_map(Some)];
    let lines = || prop::collection::vec((prop_oneof![8 => 0..2usize, 1 => 2..4usize], 1..3u64), 0..3);
    prop_oneof![
        3 => (0..SKUS.len(), 1..9u64).prop_map(|(sku, n)| Step::Receive(sku, n)),
        3 => (order.clone(), prop::collection::vec((0..SKUS.len(), 1..4u64, 0..300i128), 1..4), lasts())
            .prop_map(|(order, lines, lasts)| Step::Place { order, lines, lasts }),
        1 => (0..BASKETS.len(), prop::collection::vec((0..SKUS.len(), 1..4u64), 0..3), lasts())
            .prop_map(|(basket, lines, lasts)| Step::Reserve { basket, lines, lasts }),
        1 => hold.clone().prop_map(Step::CommitHold),
        1 => (hold.clone(), -1..40i64).prop_map(|(hold, by)| Step::Extend(hold, by)),
        1 => hold.clone().prop_map(Step::Sweep),
        1 => hold.prop_map(Step::Release),
        3 => order.clone().prop_map(Step::Pay),
        3 => (order.clone(), operations()).prop_map(|(order, operation)| Step::Claim(order, operation)),
        5 => (order.clone(), operations(), answers())
            .prop_map(|(order, operation, answer)| Step::Record(order, operation, answer)),
        4 => (order.clone(), lines()).prop_map(|(order, lines)| Step::Ship(order, lines)),
        2 => order.clone().prop_map(Step::ShipAll),
        4 => (order.clone(), lines()).prop_map(|(order, lines)| Step::Deliver(order, lines)),
        2 => order.clone().prop_map(Step::DeliverAll),
        1 => order.clone().prop_map(Step::Cancel),
        2 => order.clone().prop_map(Step::Expire),
        1 => (0..RETURNS.len(), order.clone(), lines())
            .prop_map(|(id, order, lines)| Step::RequestReturn { id, order, lines }),
        4 => (0..RETURNS.len(), order.clone(), prop::collection::vec((0..2usize, 1..3u64, any::<bool>()), 0..3))
            .prop_map(|(id, order, lines)| Step::Return { id, order, lines }),
        2 => (0..REFUNDS.len(), order.clone(), -5..500i128)
            .prop_map(|(id, order, amount)| Step::RequestRefund { id, order, amount }),
        2 => (0..REFUNDS.len(), any::<bool>()).prop_map(|(id, done)| Step::SettleRefund(id, done)),
        1 => (0..REFUNDS.len(), order, -5..500i128)
            .prop_map(|(id, order, amount)| Step::RecordRefund { id, order, amount }),
        2 => (0..20i64).prop_map(Step::Wait),
    ]
}

fn hold_name(index: usize) -> &'static str {
    ORDERS.iter().chain(&BASKETS).nth(index).unwrap()
}

/// A place a walk has come to.
struct Walk {
    world: World,
    ends: Ends,
    step: usize,
}

/// How far the orders are when a walk begins: 0 for not placed, then placed, paid, partly shipped and partly delivered.
type Heads = [u8; 3];

impl Walk {
    fn begin(heads: Heads) -> Self {
        let mut world = World::shop();
        world.receive("first", &[("s0", 12), ("s1", 12)]).unwrap();
        for (order, head) in ORDERS.into_iter().zip(heads) {
            // The same sku on two lines.
            let lines = [("s0", 3, 100), ("s1", 2, 70), ("s0", 1, 90)];
            let some = [units(0, 2), units(2, 1)];
            let steps: [&dyn Fn(&mut World) -> Outcome; 4] = [
                &|world| world.place(&PlaceOrder { expires_at: Some(seconds(1_010)), ..order_of(order, &lines) }),
                &|world| world.pay(order),
                &|world| world.ship(order, &some),
                &|world| world.deliver(order, &some[..1]),
            ];
            steps.iter().take(usize::from(head)).for_each(|step| step(&mut world).unwrap());
        }
        Self { world, ends: Ends::default(), step: 0 }
    }

    fn take(&mut self, step: &Step) -> Outcome {
        self.step += 1;
        let (commits, before) = (self.world.view.changes.len(), self.world.view.clone());
        let outcome = self.try_take(step);
        if outcome.is_err() && self.world.view.changes.len() == commits {
            assert_eq!(self.world.view, before, "what is refused changes nothing");
        }
        self.world.verify(&mut self.ends);
        if matches!(step, Step::Ship(..) | Step::ShipAll(_)) && outcome.is_ok() {
            self.verify_goods_are_paid();
        }
        outcome
    }

    fn after(&self, lasts: i64) -> i64 {
        self.world.now.as_nanos() / 1_000_000_000 + lasts
    }

    fn try_take(&mut self, step: &Step) -> Outcome {
        let some = |lines: &[(usize, u64)]| -> Vec<LineQuantity> {
            lines.iter().map(|(line, n)| LineQuantity { line: *line, quantity: pieces(*n) }).collect()
        };
        match step {
            Step::Receive(sku, n) => {
                let movement = format!("m{}", self.step);
                self.world.receive(&movement, &[(SKUS[*sku], *n)])
            }
            Step::Place { order, lines, lasts } => {
                let lines: Vec<_> = lines.iter().map(|(sku, n, price)| (SKUS[*sku], *n, *price)).collect();
                let mut command = order_of(ORDERS[*order], &lines);
                command.expires_at = lasts.map(|lasts| seconds(self.after(lasts)));
                self.world.place(&command)
            }
            Step::Reserve { basket, lines, lasts } => {
                let lines: Vec<_> = lines.iter().map(|(sku, n)| (SKUS[*sku], *n)).collect();
                let lasts = lasts.map(|lasts| self.after(lasts));
                self.world.reserve(BASKETS[*basket], &lines, lasts)
            }
            Step::CommitHold(hold) => self.world.on_hold(hold_name(*hold), inventory::commit),
            Step::Extend(hold, by) => {
                let to = self.after(*by);
                self.world.extend(hold_name(*hold), to)
            }
            Step::Sweep(hold) => self.world.on_hold(hold_name(*hold), inventory::expire),
            Step::Release(hold) => {
                self.world.on_hold(hold_name(*hold), |context, hold| Ok(inventory::release(context, hold)))
            }
            Step::Pay(order) => self.world.pay(ORDERS[*order]),
            Step::Claim(order, operation) => self.world.claim(ORDERS[*order], *operation),
            Step::Record(order, operation, answer) => {
                let result = match answer {
                    Answered::Done => return self.world.done(ORDERS[*order], *operation),
                    Answered::OtherAmount(minor) => OperationResult::Done(usd(*minor)),
                    Answered::Declined => OperationResult::Declined,
                    Answered::NotExecuted => OperationResult::NotExecuted,
                    Answered::Unknown => OperationResult::Unknown,
                };
                self.world.record(ORDERS[*order], *operation, result)
            }
            Step::Ship(order, lines) => self.world.ship(ORDERS[*order], &some(lines)),
            Step::ShipAll(order) => {
                let units = self.left(*order, order::everything_open);
                self.world.ship(ORDERS[*order], &units)
            }
            Step::Deliver(order, lines) => self.world.deliver(ORDERS[*order], &some(lines)),
            Step::DeliverAll(order) => {
                let units = self.left(*order, order::everything_shipped);
                self.world.deliver(ORDERS[*order], &units)
            }
            Step::Cancel(order) => self.world.cancel(ORDERS[*order]),
            Step::Expire(order) => self.world.expire(ORDERS[*order]),
            Step::RequestReturn { id, order, lines } => {
                self.world.request_return(RETURNS[*id], ORDERS[*order], &some(lines))
            }
            Step::Return { id, order, lines } => {
                let disposition = |damaged| if damaged { Disposition::Damaged } else { Disposition::Restock };
                let lines = lines.iter().map(|(line, n, damaged)| ReceivedLine {
                    line: *line,
                    quantity: pieces(*n),
                    disposition: disposition(*damaged),
                });
                let lines: Vec<_> = lines.collect();
                self.world.receive_return(RETURNS[*id], ORDERS[*order], &lines)
            }
            Step::RequestRefund { id, order, amount } => {
                self.world.request_refund(REFUNDS[*id], ORDERS[*order], usd(*amount))
            }
            Step::SettleRefund(id, done) => {
                let result = if *done { RefundResult::Done } else { RefundResult::Failed };
                self.world.settle_refund(REFUNDS[*id], result)
            }
            Step::RecordRefund { id, order, amount } => {
                self.world.record_refund(REFUNDS[*id], ORDERS[*order], usd(*amount))
            }
            Step::Wait(by) => {
                self.world.now = seconds(self.after(*by));
                Ok(())
            }
        }
    }

    fn left(&self, order: usize, of: fn(&Order) -> Vec<LineQuantity>) -> Vec<LineQuantity> {
        let order = self.world.find::<Order>(&order::order_key(&order_id(ORDERS[order])));
        order.map_or(Vec::new(), |order| of(&order.value))
    }

    /// At the moment of shipping, what is out is paid for. (A refund for goodwill may change that later.)
    fn verify_goods_are_paid(&self) {
        let shipped = self.world.events.last().unwrap().body.clone();
        let moved = shipped.read::<inventory::Moved>().expect("shipping ends with the movement");
        let inventory::Cause::Hold(hold) = moved.cause else { panic!("goods leave against a hold") };
        let order = self.world.order(&hold).value;
        let goods: i128 =
            order.lines.iter().map(|line| line.price.minor() * i128::from(line.shipped - line.returned)).sum();
        let kept = order.payment.as_ref().map_or(0, |_| {
            let payment = self.world.payment(&hold).value;
            assert_eq!(payment.id, payment_id(&hold));
            payment.captured.minor() - payment.refunded.minor() - payment.refunding.minor()
        });
        assert!(goods <= kept, "goods of {goods} are out for {kept}");
        assert!(moved.lines.iter().all(|line| line.item.location == item("x").location));
    }
}

proptest! {
    #![proptest_config(Config { cases: 160, failure_persistence: None, ..Config::default() })]

    /// Case L1.
    #[test]
    fn no_sequence_of_commands_loses_money_or_stock(
        heads in prop::array::uniform3(0..5u8),
        steps in prop::collection::vec(steps(), 1..60),
    ) {
        let mut walk = Walk::begin(heads);
        for step in &steps {
            let _ = walk.take(step);
        }
    }
}

/// A walk that never gets anywhere proves nothing: every kind of step is taken, and refused, somewhere.
#[test]
fn walks_reach_every_step() {
    let mut runner = TestRunner::deterministic();
    let strategy = (prop::array::uniform3(0..5u8), prop::collection::vec(steps(), 60..61));
    let mut counts: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    for _ in 0..100 {
        let (heads, steps) = strategy.new_tree(&mut runner).unwrap().current();
        let mut walk = Walk::begin(heads);
        for step in &steps {
            let refused = usize::from(walk.take(step).is_err());
            counts.entry(step.name()).or_default()[refused] += 1;
        }
    }
    assert_eq!(counts.len(), 22, "{counts:?}");
    for (step, [taken, refused]) in &counts {
        assert!(*taken > 3, "{step} is hardly ever taken: {counts:?}");
        assert!(*refused > 3 || matches!(step.as_str(), "Receive" | "Wait"), "{step} is never refused: {counts:?}");
    }
}

//! What must be true of the world after every step, whatever was asked.

use std::collections::BTreeMap;

use txn_core::{
    inventory::{self, Cause, Hold, HoldState, Item, Moved, Stock},
    ledger::{Posting, Side, Transferred},
    order::{Lifecycle, Order},
    payment::{Payment, PaymentState, PostingRules, Refund, RefundState},
};

use crate::world::World;

/// Ends that were seen: a hold that has ended is never anything else again.
#[derive(Debug, Default)]
pub(crate) struct Ends(BTreeMap<String, Hold>);

impl World {
    /// Checks every invariant.
    pub(crate) fn verify(&self, ends: &mut Ends) {
        self.verify_entries();
        self.verify_money();
        self.verify_stock();
        self.verify_holds(ends);
        self.verify_payments();
        self.verify_orders();
    }

    fn verify_entries(&self) {
        let mut sums: BTreeMap<_, ([i128; 4], u64)> = BTreeMap::new();
        for entry in &self.entries {
            let (sum, sequence) = sums.entry(&entry.counter).or_default();
            for (sum, delta) in sum.iter_mut().zip(entry.delta.0) {
                *sum += delta;
            }
            *sequence += 1;
            assert_eq!((entry.sequence, entry.after.0), (*sequence, *sum), "{}", entry.counter);
            assert!(!entry.short);
        }
        for (key, counter) in &self.view.counters {
            let (sum, sequence) = sums.get(key).copied().unwrap_or_default();
            assert_eq!((counter.lanes.0, counter.sequence), (sum, sequence), "{key} is the sum of its entries");
        }
    }

    fn verify_money(&self) {
        let mut sums: BTreeMap<&str, [i128; 2]> = BTreeMap::new();
        for counter in self.view.counters.values().filter(|counter| counter.class.name == "ledger") {
            let [debits_pending, debits_posted, credits_pending, credits_posted] = counter.lanes.0;
            let [pending, posted] = sums.entry(&counter.unit).or_default();
            *pending += debits_pending - credits_pending;
            *posted += debits_posted - credits_posted;
        }
        for (currency, sums) in sums {
            assert_eq!(sums, [0, 0], "debits equal credits in {currency}, pending and posted");
        }
    }

    fn verify_stock(&self) {
        let mut moved: BTreeMap<Item, [i128; 4]> = BTreeMap::new();
        for line in self.told::<Moved>().into_iter().flat_map(|movement| movement.lines) {
            let sum = moved.entry(line.item).or_default();
            for (sum, delta) in sum.iter_mut().zip(line.delta.0) {
                *sum += delta;
            }
        }
        let mut held: BTreeMap<Item, i128> = BTreeMap::new();
        for hold in self.all::<Hold>() {
            for (item, left) in hold.remaining() {
                assert!(hold.state.is_live(), "an ended hold promises nothing");
                *held.entry(item.clone()).or_default() += i128::from(left);
            }
        }
        for (item, sum) in &moved {
            let counter = self.view.counters.get(&inventory::item_key(item)).unwrap();
            assert_eq!(counter.lanes.0, *sum, "{item} is the sum of its movements");
            let stock = Stock::of(Some(counter));
            assert!(stock.available() >= 0, "{item} is oversold");
            assert_eq!(stock.reserved, held.get(item).copied().unwrap_or(0), "{item}: live holds are what is reserved");
        }
        assert!(held.keys().all(|item| moved.contains_key(item)));
    }

    fn verify_holds(&self, ends: &mut Ends) {
        let mut moved: BTreeMap<String, BTreeMap<Item, i128>> = BTreeMap::new();
        let mut ended: BTreeMap<String, usize> = BTreeMap::new();
        for movement in self.told::<Moved>() {
            let Cause::Hold(hold) = movement.cause else { continue };
            if matches!(movement.movement.as_str(), "released" | "expired") {
                *ended.entry(hold.to_string()).or_default() += 1;
            }
            for line in movement.lines {
                *moved.entry(hold.to_string()).or_default().entry(line.item).or_default() += line.delta.0[1];
            }
        }
        for hold in self.all::<Hold>() {
            for line in &hold.lines {
                assert!(line.shipped + line.released <= line.held);
                let reserved = moved.get(&*hold.id).and_then(|items| items.get(&line.item)).copied();
                assert_eq!(reserved, Some(i128::from(line.left())), "what {} moved is what is left of it", hold.id);
            }
            let ends_told = ended.get(&*hold.id).copied().unwrap_or(0);
            assert_eq!(ends_told, usize::from(matches!(hold.state, HoldState::Released | HoldState::Expired)));
            if !hold.state.is_live() {
                let first = ends.0.entry(hold.id.to_string()).or_insert_with(|| hold.clone());
                assert_eq!(*first, hold, "a hold ends once");
            }
        }
    }

    fn verify_payments(&self) {
        let gateway = PostingRules::default().gateway;
        let net = |postings: &[Posting]| -> i128 {
            let at_gateway = postings.iter().filter(|posting| posting.account == gateway);
            let signed = |posting: &Posting| match posting.side {
                Side::Debit => posting.amount.minor(),
                Side::Credit => -posting.amount.minor(),
            };
            at_gateway.map(signed).sum()
        };
        let mut moved: BTreeMap<String, [i128; 2]> = BTreeMap::new();
        for transfer in self.told::<Transferred>() {
            let [pending, posted] = moved.entry(transfer.reference.clone()).or_default();
            *pending += net(&transfer.pended) - net(&transfer.unpended);
            *posted += net(&transfer.posted);
        }
        let refunds = self.all::<Refund>();
        let mut at_gateway = [0, 0];
        for payment in self.all::<Payment>() {
            let [amount, captured, refunded, refunding] =
                [payment.amount, payment.captured, payment.refunded, payment.refunding].map(|money| money.minor());
            assert!(0 <= refunded && 0 <= refunding && refunded + refunding <= captured && captured <= amount);
            assert!(captured == 0 || payment.state == PaymentState::Captured);
            let authorised = matches!(
                payment.state,
                PaymentState::Authorised
                    | PaymentState::Capturing
                    | PaymentState::CaptureUnknown
                    | PaymentState::Voiding
                    | PaymentState::VoidUnknown
            );
            let expected = [if authorised { amount } else { 0 }, captured - refunded];
            let found = moved.remove(payment.id.as_str()).unwrap_or_default();
            assert_eq!(found, expected, "the ledger's pending and posted movement of {}", payment.id);
            let sum = |state| -> i128 {
                let of_payment = refunds.iter().filter(|refund| refund.payment == payment.id && refund.state == state);
                of_payment.map(|refund| refund.amount.minor()).sum()
            };
            assert_eq!([sum(RefundState::Done), sum(RefundState::Pending)], [refunded, refunding]);
            at_gateway = [at_gateway[0] + found[0], at_gateway[1] + found[1]];
        }
        assert!(moved.is_empty(), "money that belongs to no payment: {moved:?}");
        let [debits_pending, debits_posted, credits_pending, credits_posted] = self.balance(&gateway);
        assert_eq!([debits_pending - credits_pending, debits_posted - credits_posted], at_gateway);
    }

    fn verify_orders(&self) {
        for order in self.all::<Order>() {
            let mut shipped: BTreeMap<Item, u64> = BTreeMap::new();
            for line in &order.lines {
                assert!(line.is_sound(), "{line:?}");
                assert_eq!(line.ordered.get(), line.open() + line.cancelled + line.shipped);
                assert!(line.returned <= line.delivered && line.delivered <= line.shipped);
                *shipped.entry(order.item(line)).or_default() += line.shipped;
            }
            let all = |test: fn(&txn_core::order::Line) -> bool| order.lines.iter().all(test);
            match order.lifecycle {
                Lifecycle::Cancelled | Lifecycle::Expired => {
                    assert!(all(|line| line.shipped == 0 && line.open() == 0), "nothing of it can leave");
                }
                Lifecycle::Completed => assert!(all(|line| line.open() == 0 && line.in_transit() == 0)),
                Lifecycle::Placed => {}
            }
            let Some(hold) = self.find::<Hold>(&inventory::hold_key(&order.hold)) else { continue };
            for line in &hold.value.lines {
                assert_eq!(shipped.get(&line.item), Some(&line.shipped), "what left the order left its hold");
            }
        }
    }
}

//! Folds a demo's totals from its tenant's rows alone: records, counters, log and changes.

use std::collections::{BTreeMap, BTreeSet};

use txn::{
    Services, Txn,
    change::Document,
    core::{
        aftersale::{RETURN_KIND, Return},
        id::{OrderId, PaymentId},
        inventory::{Disposition, HOLD_KIND, Hold, HoldState, STOCK_KIND, Stock},
        ledger::{Balance, LEDGER_KIND},
        money::{Currency, Money},
        order::{Lifecycle, ORDER_KIND, Order},
        payment::{
            PAYMENT_KIND, Payment, PaymentChanged, PaymentEvent, PaymentState, REFUND_KIND, Refund, RefundState,
        },
    },
    store::{Found, Position, Query, Range},
};

use super::{
    catalogue::LIMITED,
    totals::{Limited, Totals},
};
use crate::totals::{Sums, each};

/// Events on one page.
const PAGE: usize = 1_000;

impl Totals {
    /// Reads everything of one tenant, and audits the store.
    ///
    /// # Errors
    /// A line that says what could not be read.
    pub(super) async fn fold(txn: &Txn, shop: &Services) -> Result<Self, String> {
        let mut totals = Self { limited: Limited { item: LIMITED.into(), ..Limited::default() }, ..Self::default() };
        let mut payments = BTreeMap::new();
        let (mut captured, mut refunded) = (Sums::default(), Sums::default());
        documents(shop, Range::kind(PAYMENT_KIND), |payment: Payment| {
            captured.add(payment.captured)?;
            refunded.add(payment.refunded)?;
            payments.insert(payment.order.clone(), payment);
            Ok(())
        })
        .await?;
        totals.money.captured = captured.amounts();
        totals.money.refunded = refunded.amounts();
        totals.fold_orders(shop, &payments).await?;
        totals.fold_log(txn, shop, &payments).await?;
        totals.fold_after_sale(shop).await?;
        totals.fold_counters(shop).await?;
        totals.commits = each(shop, &Query::Changes, |_| Ok(())).await?;
        totals.violations = txn.verify().await.map_err(|error| error.to_string())?.violations_total;
        Ok(totals)
    }

    async fn fold_orders(&mut self, shop: &Services, payments: &BTreeMap<OrderId, Payment>) -> Result<(), String> {
        let mut ordered = Sums::default();
        documents(shop, Range::kind(ORDER_KIND), |order: Order| {
            count(&mut self.placed);
            ordered.add(order.total)?;
            let payment = payments.get(&order.id);
            if payment.is_some_and(|payment| payment.state == PaymentState::Captured) {
                count(&mut self.paid);
            }
            let is_limited = order.lines.iter().any(|line| line.sku.as_str() == LIMITED);
            match order.lifecycle {
                Lifecycle::Completed => count(&mut self.completed),
                Lifecycle::Expired => count(&mut self.expired),
                Lifecycle::Cancelled => count(match payment {
                    _ if is_limited => &mut self.cancelled.sold_out,
                    Some(Payment { state: PaymentState::Voided, .. }) => &mut self.cancelled.voided,
                    Some(Payment { attempts: 1.., .. }) => &mut self.cancelled.after_decline,
                    _ => &mut self.cancelled.before_payment,
                }),
                Lifecycle::Placed => {}
            }
            for line in order.lines.iter().filter(|line| line.sku.as_str() == LIMITED) {
                add(&mut self.limited.wanted, line.ordered.get());
                add(&mut self.limited.sold, line.shipped);
                add(&mut self.limited.refused, line.cancelled);
            }
            Ok(())
        })
        .await?;
        self.money.ordered = ordered.amounts();
        documents(shop, Range::kind(HOLD_KIND), |hold: Hold| {
            if hold.state == HoldState::Expired {
                count(&mut self.holds_expired);
            }
            Ok(())
        })
        .await
    }

    /// A payment's record says where it is; what it met on its way stands in the log.
    async fn fold_log(
        &mut self,
        txn: &Txn,
        shop: &Services,
        payments: &BTreeMap<OrderId, Payment>,
    ) -> Result<(), String> {
        use PaymentEvent as E;
        let mut declined: BTreeSet<OrderId> = BTreeSet::new();
        let mut unanswered: BTreeSet<PaymentId> = BTreeSet::new();
        let mut after = Position::default();
        loop {
            let page = txn.store().read(after, PAGE).await.map_err(|error| error.to_string())?;
            let Some(last) = page.items.last() else { break };
            after = last.position;
            let own =
                page.items.into_iter().map(|item| item.recorded).filter(|item| item.tenant == *shop.scope().tenant());
            for item in own.filter(|item| item.event.body.type_name() == PaymentChanged::TYPE) {
                let changed: PaymentChanged = item.event.body.read().map_err(|error| error.to_string())?;
                let was_unanswered = unanswered.remove(&changed.payment);
                match changed.event {
                    E::AuthoriseTimedOut | E::CaptureTimedOut | E::VoidTimedOut => {
                        unanswered.insert(changed.payment);
                    }
                    E::AuthoriseDeclined => {
                        declined.insert(changed.order);
                    }
                    E::AuthoriseNotExecuted if was_unanswered => count(&mut self.lost_answers.not_executed),
                    _ if was_unanswered => count(&mut self.lost_answers.done),
                    _ => {}
                }
            }
        }
        for order in declined {
            let is_paid = payments.get(&order).is_some_and(|payment| payment.state == PaymentState::Captured);
            count(if is_paid { &mut self.declined.then_paid } else { &mut self.declined.given_up });
        }
        Ok(())
    }

    async fn fold_after_sale(&mut self, shop: &Services) -> Result<(), String> {
        let mut refunded = Sums::default();
        documents(shop, Range::kind(RETURN_KIND), |returned: Return| {
            count(&mut self.returned.returns);
            for line in &returned.received {
                add(&mut self.returned.units, line.quantity.get());
                if line.disposition == Disposition::Damaged {
                    add(&mut self.returned.damaged, line.quantity.get());
                }
            }
            refunded.add(returned.refund)
        })
        .await?;
        self.returned.refunded = refunded.amounts();
        let mut refunded = Sums::default();
        documents(shop, Range::kind(REFUND_KIND), |refund: Refund| match refund.state {
            // A return's refund is counted with the return.
            _ if refund.id.ends_with(super::shopper::OF_RETURN) => Ok(()),
            RefundState::Done => {
                count(&mut self.refunds.done);
                refunded.add(refund.amount)
            }
            RefundState::Failed => {
                count(&mut self.refunds.failed);
                Ok(())
            }
            _ => Ok(()),
        })
        .await?;
        self.refunds.refunded = refunded.amounts();
        Ok(())
    }

    async fn fold_counters(&mut self, shop: &Services) -> Result<(), String> {
        let (mut debits, mut credits, mut pending) = (Sums::default(), Sums::default(), Sums::default());
        each(shop, &Query::Counters(Range::kind(LEDGER_KIND)), |found| {
            let Found::Counter(_, counter) = found else { return Ok(()) };
            let currency = Currency::from_code(&counter.unit).map_err(|error| error.to_string())?;
            let [debits_pending, debits_posted, _, credits_posted] = Balance::of(&counter, currency).lanes.0;
            debits.add(Money::from_minor(debits_posted, currency))?;
            credits.add(Money::from_minor(credits_posted, currency))?;
            pending.add(Money::from_minor(debits_pending, currency))
        })
        .await?;
        self.money.debits = debits.amounts();
        self.money.credits = credits.amounts();
        self.money.pending = pending.amounts();
        each(shop, &Query::Counters(Range::kind(STOCK_KIND)), |found| {
            let Found::Counter(key, counter) = found else { return Ok(()) };
            let stock = Stock::of(Some(&counter));
            self.stock.on_hand = self.stock.on_hand.saturating_add(stock.on_hand);
            self.stock.reserved = self.stock.reserved.saturating_add(stock.reserved);
            self.stock.damaged = self.stock.damaged.saturating_add(stock.unavailable);
            if key.segments().first() == Some(&txn::change::Segment::Text(LIMITED.into())) {
                self.limited.left = self.limited.left.saturating_add(stock.on_hand);
            }
            Ok(())
        })
        .await?;
        Ok(())
    }
}

fn count(counter: &mut u64) {
    add(counter, 1);
}

fn add(counter: &mut u64, more: u64) {
    *counter = counter.saturating_add(more);
}

/// Reads every record of a range.
async fn documents<T: Document>(
    shop: &Services,
    range: Range,
    mut take: impl FnMut(T) -> Result<(), String>,
) -> Result<(), String> {
    let read = |found| match found {
        Found::Record(_, record) => {
            take(record.body.read().map_err(|error: txn::change::BodyError| error.to_string())?)
        }
        _ => Ok(()),
    };
    each(shop, &Query::Records(range), read).await?;
    Ok(())
}

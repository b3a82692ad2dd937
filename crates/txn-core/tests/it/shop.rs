//! A small shop over the world: each command as a service would make it of decisions.

use txn_core::{
    Context, Versioned,
    aftersale::{self, Receipt, ReceivedLine, RequestReturn},
    id::{AccountId, HoldId, LocationId, MovementId, OrderId, PaymentId, RefundId, ReturnId, Sku},
    inventory::{self, Demand, Extend, Hold, Item, Receive, Reserve, Stock},
    ledger::{self, Account, AccountType, NormalSide, OpenAccount, Overdraft, account_key},
    money::{Currency, Money},
    order::{self, LineQuantity, NewLine, Order, PlaceOrder},
    payment::{self, OpenPayment, Operation, OperationResult, Payment, PaymentState, PostingRules, RefundResult},
    quantity::Quantity,
};

use crate::world::{No, Outcome, World, seconds};

pub(crate) fn usd(minor: i128) -> Money {
    Money::from_minor(minor, Currency::USD)
}

pub(crate) fn pieces(n: u64) -> Quantity {
    Quantity::new(n).unwrap()
}

pub(crate) fn item(sku: &str) -> Item {
    Item { sku: Sku::new(sku).unwrap(), location: LocationId::new("here").unwrap() }
}

pub(crate) fn demand(sku: &str, n: u64) -> Demand {
    Demand { item: item(sku), quantity: pieces(n) }
}

pub(crate) fn units(line: usize, n: u64) -> LineQuantity {
    LineQuantity { line, quantity: pieces(n) }
}

pub(crate) fn order_id(order: &str) -> OrderId {
    OrderId::new(order).unwrap()
}

pub(crate) fn hold_id(hold: &str) -> HoldId {
    HoldId::new(hold).unwrap()
}

pub(crate) fn payment_id(payment: &str) -> PaymentId {
    PaymentId::new(payment).unwrap()
}

pub(crate) fn refund_id(refund: &str) -> RefundId {
    RefundId::new(refund).unwrap()
}

pub(crate) fn account_id(account: &str) -> AccountId {
    AccountId::new(account).unwrap()
}

/// An order of (sku, quantity, price in cents) lines; its hold and payment have its id.
pub(crate) fn order_of(order: &str, lines: &[(&str, u64, i128)]) -> PlaceOrder {
    let line =
        |(sku, n, price): &(&str, u64, i128)| NewLine { sku: item(sku).sku, quantity: pieces(*n), price: usd(*price) };
    PlaceOrder {
        order: order_id(order),
        customer: None,
        currency: Currency::USD,
        location: item("x").location,
        hold: hold_id(order),
        payment: payment_id(order),
        expires_at: None,
        lines: lines.iter().map(line).collect(),
    }
}

impl World {
    /// A world with the accounts of payments.
    pub(crate) fn shop() -> Self {
        let mut world = Self::default();
        world.now = seconds(1_000);
        let rules = PostingRules::default();
        world.account(&rules.gateway, NormalSide::Debit, true).unwrap();
        world.account(&rules.sales, NormalSide::Credit, true).unwrap();
        world.account(&rules.refunds, NormalSide::Debit, true).unwrap();
        world
    }

    pub(crate) fn account(&mut self, id: &AccountId, normal: NormalSide, may_overdraw: bool) -> Outcome {
        let account_type = match normal {
            NormalSide::Debit => AccountType::Asset,
            NormalSide::Credit => AccountType::Liability,
        };
        let overdraft = if may_overdraw { Overdraft::Unlimited } else { Overdraft::None };
        self.open_account(&Account::new(id.clone(), account_type, Currency::USD).overdraft(overdraft))
    }

    pub(crate) fn open_account(&mut self, account: &Account) -> Outcome {
        let context = self.context();
        let record = |id| ledger::record_key(id, account.currency);
        let existing = self.find(&record(&account.id));
        let parent: Option<Versioned<Account>> = account.parent.as_ref().and_then(|parent| self.find(&record(parent)));
        let command = OpenAccount { account: account.clone() };
        self.put(ledger::open_account(&context, existing.as_ref(), parent.as_ref().map(|p| &p.value), &command))
    }

    pub(crate) fn balance(&self, account: &AccountId) -> [i128; 4] {
        self.lanes(&account_key(account, Currency::USD))
    }

    pub(crate) fn stock(&self, sku: &str) -> Stock {
        Stock::of(self.view.counters.get(&inventory::item_key(&item(sku))))
    }

    pub(crate) fn order(&self, order: &str) -> Versioned<Order> {
        self.read(&order::order_key(&order_id(order)))
    }

    pub(crate) fn hold(&self, hold: &str) -> Versioned<Hold> {
        self.read(&inventory::hold_key(&hold_id(hold)))
    }

    pub(crate) fn payment(&self, payment: &str) -> Versioned<Payment> {
        self.read(&payment::payment_key(&payment_id(payment)))
    }

    fn payment_of(&self, order: &Order) -> Option<Versioned<Payment>> {
        self.find(&payment::payment_key(order.payment.as_ref()?))
    }

    pub(crate) fn receive(&mut self, movement: &str, lines: &[(&str, u64)]) -> Outcome {
        let lines = lines.iter().map(|(sku, n)| demand(sku, *n)).collect();
        let command = Receive { id: MovementId::new(movement).unwrap(), lines };
        let context = self.context();
        self.put(inventory::receive(&context, &command))
    }

    pub(crate) fn reserve(&mut self, hold: &str, lines: &[(&str, u64)], expires_at: Option<i64>) -> Outcome {
        let lines: Vec<Demand> = lines.iter().map(|(sku, n)| demand(sku, *n)).collect();
        let items: Vec<Item> = lines.iter().map(|line| line.item.clone()).collect();
        let command = Reserve { hold: hold_id(hold), order: None, lines, expires_at: expires_at.map(seconds) };
        let context = self.context();
        let existing = self.find(&inventory::hold_key(&command.hold));
        let decided = inventory::reserve(&context, existing.as_ref(), &command);
        self.settle(&items, decided.map_err(Into::into))
    }

    /// A command on a hold.
    pub(crate) fn on_hold(
        &mut self,
        hold: &str,
        decide: impl FnOnce(&Context, &Versioned<Hold>) -> Result<txn_change::Change, inventory::Rejection>,
    ) -> Outcome {
        let context = self.context();
        let key = inventory::hold_key(&hold_id(hold));
        let unknown = || No::Stock(inventory::Rejection::UnknownHold { hold: hold_id(hold) });
        let hold = self.find(&key).ok_or_else(unknown)?;
        self.put(decide(&context, &hold))
    }

    pub(crate) fn extend(&mut self, hold: &str, to: i64) -> Outcome {
        let command = Extend { hold: hold_id(hold), expires_at: seconds(to) };
        self.on_hold(hold, |context, hold| inventory::extend(context, hold, &command))
    }

    /// Places an order, holds its basket and opens its payment, in one change.
    pub(crate) fn place(&mut self, command: &PlaceOrder) -> Outcome {
        let context = self.context();
        let items: Vec<Item> = command
            .lines
            .iter()
            .map(|line| Item { sku: line.sku.clone(), location: command.location.clone() })
            .collect();
        let decided = self.decide_place(&context, command);
        self.settle(&items, decided)
    }

    fn decide_place(&self, context: &Context, command: &PlaceOrder) -> Result<txn_change::Change, No> {
        let existing = self.find(&order::order_key(&command.order));
        let change = order::place(context, existing.as_ref(), command)?;
        let placed: Order = change.put[0].body.as_ref().unwrap().read().unwrap();
        let reserve = Reserve {
            hold: command.hold.clone(),
            order: Some(command.order.clone()),
            lines: order::basket(&placed),
            expires_at: command.expires_at,
        };
        let existing = self.find(&inventory::hold_key(&command.hold));
        let change = change.and(inventory::reserve(context, existing.as_ref(), &reserve)?);
        let Some(payment) = placed.payment.clone() else { return Ok(change) };
        let open = OpenPayment { payment, order: placed.id.clone(), amount: placed.total };
        let existing = self.find(&payment::payment_key(&open.payment));
        Ok(change.and(payment::open(context, existing.as_ref(), &open)?))
    }

    pub(crate) fn claim(&mut self, payment: &str, operation: Operation) -> Outcome {
        let context = self.context();
        let payment = self.find(&payment::payment_key(&payment_id(payment))).ok_or_else(|| unknown(payment))?;
        self.put(payment::claim(&context, &payment, operation))
    }

    pub(crate) fn record(&mut self, payment: &str, operation: Operation, result: OperationResult) -> Outcome {
        let context = self.context();
        let payment = self.find(&payment::payment_key(&payment_id(payment))).ok_or_else(|| unknown(payment))?;
        let hold = self.find(&ledger::hold_key(&payment::ledger_hold_of(&payment.value)));
        let rules = PostingRules::default();
        self.put(payment::record(&context, &payment, hold.as_ref(), &rules, operation, result))
    }

    pub(crate) fn done(&mut self, payment: &str, operation: Operation) -> Outcome {
        let amount = self.find::<Payment>(&payment::payment_key(&payment_id(payment)));
        let amount = amount.ok_or_else(|| unknown(payment))?.value.amount;
        self.record(payment, operation, OperationResult::Done(amount))
    }

    /// Authorises, commits the hold and captures.
    pub(crate) fn pay(&mut self, order: &str) -> Outcome {
        self.done(order, Operation::Authorise)?;
        self.on_hold(order, inventory::commit)?;
        self.done(order, Operation::Capture)
    }

    pub(crate) fn ship(&mut self, order: &str, units: &[LineQuantity]) -> Outcome {
        let context = self.context();
        let decided = self.on_order(order, |order, payment| {
            let change = order::ship(&context, order, payment.as_ref().map(|p| &p.value), units)?;
            let hold = self.read(&inventory::hold_key(&order.value.hold));
            Ok(change.and(inventory::ship(&context, &hold, &order::goods(&order.value, units)?)?))
        });
        self.settle(&[], decided)
    }

    pub(crate) fn deliver(&mut self, order: &str, units: &[LineQuantity]) -> Outcome {
        let context = self.context();
        let decided = self.on_order(order, |order, _| Ok(order::deliver(&context, order, units)?));
        self.settle(&[], decided)
    }

    /// Cancels an order; its stock goes back, a payment that was not begun is given up.
    pub(crate) fn cancel(&mut self, order: &str) -> Outcome {
        let context = self.context();
        let decided =
            self.on_order(order, |order, payment| self.end(&context, order, payment, order::cancel(&context, order)?));
        self.settle(&[], decided)
    }

    /// Expires an order; its stock goes back, its payment is given up.
    pub(crate) fn expire(&mut self, order: &str) -> Outcome {
        let context = self.context();
        let decided = self.on_order(order, |order, payment| {
            let change = order::expire(&context, order, payment.as_ref().map(|p| &p.value))?;
            self.end(&context, order, payment, change)
        });
        self.settle(&[], decided)
    }

    fn end(
        &self,
        context: &Context,
        order: &Versioned<Order>,
        payment: Option<Versioned<Payment>>,
        change: txn_change::Change,
    ) -> Result<txn_change::Change, No> {
        let hold = self.read(&inventory::hold_key(&order.value.hold));
        let change = change.and(inventory::cancel(context, &hold));
        match payment.filter(|payment| payment.value.state == PaymentState::Created) {
            Some(payment) => Ok(change.and(payment::cancel(context, &payment)?)),
            None => Ok(change),
        }
    }

    fn on_order(
        &self,
        order: &str,
        decide: impl FnOnce(&Versioned<Order>, Option<Versioned<Payment>>) -> Result<txn_change::Change, No>,
    ) -> Result<txn_change::Change, No> {
        let id = order_id(order);
        let order = self.find(&order::order_key(&id)).ok_or(order::Rejection::UnknownOrder { order: id })?;
        let payment = self.payment_of(&order.value);
        decide(&order, payment)
    }

    pub(crate) fn request_return(&mut self, id: &str, order: &str, lines: &[LineQuantity]) -> Outcome {
        let context = self.context();
        let command = RequestReturn { id: ReturnId::new(id).unwrap(), lines: lines.to_vec() };
        let existing = self.find(&aftersale::return_key(&command.id));
        let decided = self.on_order(order, |order, _| {
            Ok(aftersale::request_return(&context, &order.value, existing.as_ref(), &command)?)
        });
        self.settle(&[], decided)
    }

    /// Takes goods back; the refund has the return's id.
    pub(crate) fn receive_return(&mut self, id: &str, order: &str, lines: &[ReceivedLine]) -> Outcome {
        let context = self.context();
        let command = Receipt { id: ReturnId::new(id).unwrap(), refund: refund_id(id), lines: lines.to_vec() };
        let existing = self.find(&aftersale::return_key(&command.id));
        let refund = self.find(&payment::refund_key(&command.refund));
        let rules = PostingRules::default();
        let decided = self.on_order(order, |order, payment| {
            let (payment, existing, refund) = (payment.as_ref(), existing.as_ref(), refund.as_ref());
            Ok(aftersale::receive_return(&context, order, payment, existing, refund, &rules, &command)?)
        });
        self.settle(&[], decided)
    }

    pub(crate) fn request_refund(&mut self, refund: &str, payment: &str, amount: Money) -> Outcome {
        let context = self.context();
        let refund = refund_id(refund);
        let payment = self.find(&payment::payment_key(&payment_id(payment))).ok_or_else(|| unknown(payment))?;
        let existing = self.find(&payment::refund_key(&refund));
        self.put(payment::request_refund(&context, &payment, existing.as_ref(), &refund, amount))
    }

    pub(crate) fn settle_refund(&mut self, refund: &str, result: RefundResult) -> Outcome {
        let context = self.context();
        let refund = refund_id(refund);
        let unknown = payment::Rejection::UnknownRefund { refund: refund.clone() };
        let refund: Versioned<payment::Refund> = self.find(&payment::refund_key(&refund)).ok_or(unknown)?;
        let payment = self.read(&payment::payment_key(&refund.value.payment));
        self.put(payment::settle_refund(&context, &payment, &refund, &PostingRules::default(), result))
    }

    pub(crate) fn record_refund(&mut self, refund: &str, payment: &str, amount: Money) -> Outcome {
        let context = self.context();
        let refund = refund_id(refund);
        let payment = self.find(&payment::payment_key(&payment_id(payment))).ok_or_else(|| unknown(payment))?;
        let existing = self.find(&payment::refund_key(&refund));
        let rules = PostingRules::default();
        self.put(payment::record_refund(&context, &payment, existing.as_ref(), &rules, &refund, amount))
    }
}

fn unknown(payment: &str) -> No {
    No::Payment(payment::Rejection::UnknownPayment { payment: payment_id(payment) })
}

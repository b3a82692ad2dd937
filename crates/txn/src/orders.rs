//! The orders of one tenant.

use serde::{Deserialize, Serialize};
use txn_change::{Change, Key, Timestamp};
use txn_core::{
    Context, Versioned,
    id::OrderId,
    inventory::{self, Hold, HoldAnswer, Reserve},
    order::{self, LineQuantity, Order, OrderAnswer, PlaceOrder},
    payment::{self, OpenPayment, Operation, Payment, PaymentState},
};
use txn_store::Snapshot;

use crate::{
    decide::{Done, Stop, versioned},
    failure::{Failure, Rejection},
    services::Services,
    timers::{self, Timer},
};

/// The orders of one tenant. An order's stock and payment move with it, each step in one commit.
#[derive(Debug, Clone, Copy)]
pub struct Orders<'a> {
    pub(crate) services: &'a Services,
}

/// Send units of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ship {
    /// The order.
    pub order: OrderId,
    /// Names this shipment within the order: the same name again is the same shipment.
    pub shipment: String,
    /// Which units; `None` for all that are left.
    pub units: Option<Vec<LineQuantity>>,
}

/// An order with what belongs to it.
pub(crate) struct OrderParts {
    pub(crate) order: Versioned<Order>,
    pub(crate) hold: Option<Versioned<Hold>>,
    pub(crate) payment: Option<Versioned<Payment>>,
}

/// The keys of an order and what belongs to it, in the order that [`OrderParts::read`] expects.
pub(crate) fn keys(order: &Order) -> Vec<Key> {
    let mut keys = vec![order::order_key(&order.id), inventory::hold_key(&order.hold)];
    keys.extend(order.payment.iter().map(payment::payment_key));
    keys
}

impl OrderParts {
    pub(crate) fn read(snapshot: &Snapshot, first: usize, known: &Order) -> Result<Self, Stop> {
        let unknown = || Stop::from(order::Rejection::UnknownOrder { order: known.id.clone() });
        let place = |offset: usize| first.saturating_add(offset);
        // An order may name a hold that was made for another order, or for none. It is none of its own then, to ship from or to give back.
        let hold: Option<Versioned<Hold>> = versioned(snapshot, place(1))?;
        Ok(Self {
            order: versioned(snapshot, place(0))?.ok_or_else(unknown)?,
            hold: hold.filter(|hold| hold.value.order.as_ref() == Some(&known.id)),
            payment: versioned(snapshot, place(2))?,
        })
    }

    pub(crate) fn is_payment_under_way(&self) -> bool {
        use PaymentState as S;
        let state = self.payment.as_ref().map(|payment| payment.value.state);
        matches!(
            state,
            Some(S::Authorising | S::AuthoriseUnknown | S::Capturing | S::CaptureUnknown | S::Voiding | S::VoidUnknown)
        )
    }

    fn payment(&self) -> Option<&Payment> {
        self.payment.as_ref().map(|payment| &payment.value)
    }

    fn hold(&self) -> Result<&Versioned<Hold>, Stop> {
        let hold = || inventory::Rejection::UnknownHold { hold: self.order.value.hold.clone() };
        self.hold.as_ref().ok_or_else(|| hold().into())
    }
}

/// Ends an order that was not paid in time: its hold and its payment end in the same change.
pub(crate) fn expire(context: &Context, parts: &OrderParts) -> Result<Change, Stop> {
    let change = order::expire(context, &parts.order, parts.payment())?;
    let change = match &parts.hold {
        Some(hold) => change.and(inventory::cancel(context, hold)),
        None => change,
    };
    Ok(match &parts.payment {
        Some(payment) if payment.value.state == PaymentState::Created => change.and(payment::cancel(context, payment)?),
        _ => change,
    })
}

fn cancel(context: &Context, parts: &OrderParts) -> Result<Change, Stop> {
    let mut change = order::cancel(context, &parts.order)?;
    if let Some(hold) = &parts.hold {
        change = change.and(inventory::cancel(context, hold));
    }
    if let Some(payment) = &parts.payment {
        change = match payment.value.state {
            PaymentState::Created => change.and(payment::cancel(context, payment)?),
            PaymentState::Authorised => change.and(payment::claim(context, payment, Operation::Void)?),
            PaymentState::Voided | PaymentState::Cancelled => change,
            PaymentState::Captured => {
                let (order, from) = (parts.order.value.id.clone(), "paid");
                return Err(order::Rejection::IllegalTransition { order, from, event: "cancel" }.into());
            }
            _ => {
                let payment = payment.value.id.clone();
                return Err(Rejection::InProgress { payment }.into());
            }
        };
    }
    Ok(change)
}

impl Orders<'_> {
    /// Reads an order.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn get(&self, order: &OrderId) -> Result<Option<Order>, Failure> {
        let record = self.services.decider.scope.record(order::order_key(order)).await?;
        Ok(record.map(|record| record.body.read()).transpose()?)
    }

    async fn known(&self, order: &OrderId) -> Result<Order, Failure> {
        let unknown = || Failure::Rejected(order::Rejection::UnknownOrder { order: order.clone() }.into());
        self.get(order).await?.ok_or_else(unknown)
    }

    /// Places an order, and begins its payment when it costs something. The order's id is the request's id: placing it twice is placing it once.
    ///
    /// # Errors
    /// [`crate::Rejection::Order`], [`crate::Rejection::Payment`] when the payment's id is taken.
    pub async fn place(&self, command: &PlaceOrder) -> Result<Done<OrderAnswer>, Failure> {
        let keys = [order::order_key(&command.order), payment::payment_key(&command.payment)];
        let decide = |context: &Context, snapshot: &Snapshot| {
            let placed = order::place(context, versioned(snapshot, 0)?.as_ref(), command)?;
            let total = placed.answer.read::<OrderAnswer>().map_err(Stop::Unreadable)?.total;
            let mut change = placed;
            if total.is_positive() {
                let open =
                    OpenPayment { payment: command.payment.clone(), order: command.order.clone(), amount: total };
                change = change.and(payment::open(context, versioned(snapshot, 1)?.as_ref(), &open)?);
            }
            if let Some(due) = command.expires_at {
                change = timers::set(change, &Timer::OrderExpires(command.order.clone()), due);
            }
            Ok(change)
        };
        let decider = &self.services.decider;
        decider
            .run(
                "order.place",
                &command.order,
                command,
                |ask| keys.iter().cloned().fold(ask, txn_store::Ask::record),
                decide,
                |_| None,
            )
            .await
    }

    /// Promises an order's whole basket to it, until `expires_at`.
    ///
    /// # Errors
    /// [`crate::Rejection::Order`] for an unknown order, [`crate::Rejection::Stock`]: `StockInsufficient` names the line.
    pub async fn reserve(&self, order: &OrderId, expires_at: Option<Timestamp>) -> Result<Done<HoldAnswer>, Failure> {
        let known = self.known(order).await?;
        let reserve =
            Reserve { hold: known.hold.clone(), order: Some(order.clone()), lines: order::basket(&known), expires_at };
        let placed = |context: &Context, snapshot: &Snapshot| {
            let current: Option<Versioned<Order>> = versioned(snapshot, 1)?;
            let current = current.ok_or_else(|| order::Rejection::UnknownOrder { order: order.clone() })?;
            let (from, event) = (current.value.lifecycle_name(), "reserve");
            if current.value.lifecycle != order::Lifecycle::Placed {
                return Err(order::Rejection::IllegalTransition { order: order.clone(), from, event }.into());
            }
            if current.value.is_due(context.now) {
                return Err(order::Rejection::IllegalTransition { order: order.clone(), from: "expired", event }.into());
            }
            Ok(())
        };
        self.services.inventory().reserve_with(&reserve, &[order::order_key(order)], placed).await
    }

    /// Sends units of a paid order; what they were promised from leaves the stock in the same commit.
    ///
    /// # Errors
    /// [`crate::Rejection::Order`], [`crate::Rejection::Stock`] when the hold is missing, has run out or has less.
    pub async fn ship(&self, command: &Ship) -> Result<Done<OrderAnswer>, Failure> {
        let decide = |context: &Context, parts: &OrderParts| {
            let units = command.units.clone().unwrap_or_else(|| order::everything_open(&parts.order.value));
            let shipped = order::ship(context, &parts.order, parts.payment(), &units)?;
            let goods = order::goods(&parts.order.value, &units)?;
            Ok(shipped.and(inventory::ship(context, parts.hold()?, &goods)?))
        };
        let key = format!("{}/{}", command.order, command.shipment);
        self.step("order.ship", &key, &command.order, command, decide).await
    }

    /// Records that units of a shipment arrived; `None` for all that are on their way. `delivery` names this arrival within the order.
    ///
    /// # Errors
    /// [`crate::Rejection::Order`].
    pub async fn deliver(
        &self,
        order: &OrderId,
        delivery: &str,
        units: Option<&[LineQuantity]>,
    ) -> Result<Done<OrderAnswer>, Failure> {
        let decide = |context: &Context, snapshot: &Snapshot| {
            let current: Option<Versioned<Order>> = versioned(snapshot, 0)?;
            let current = current.ok_or_else(|| order::Rejection::UnknownOrder { order: order.clone() })?;
            let units = units.map_or_else(|| order::everything_shipped(&current.value), <[_]>::to_vec);
            Ok(order::deliver(context, &current, &units)?)
        };
        let fill = |ask: txn_store::Ask| ask.record(order::order_key(order));
        let (key, command) = (format!("{order}/{delivery}"), (order, delivery, units));
        self.services.decider.run("order.deliver", &key, &command, fill, decide, |_| None).await
    }

    /// Calls an order off as long as nothing has shipped: its stock is given back, a payment that was not begun is given up, and an authorised one is
    /// voided at the gateway.
    ///
    /// # Errors
    /// [`crate::Rejection::Order`]; [`crate::Rejection::InProgress`] while a gateway's answer is awaited.
    pub async fn cancel(&self, order: &OrderId) -> Result<Done<OrderAnswer>, Failure> {
        let known = self.known(order).await?;
        let done = self.step("order.cancel", order, order, order, cancel).await?;
        if let Some(payment) = &known.payment {
            self.services.payments().finish_void(payment).await?;
        }
        Ok(done)
    }

    async fn step<C: Serialize>(
        &self,
        operation: &'static str,
        key: &str,
        order: &OrderId,
        command: &C,
        decide: impl Fn(&Context, &OrderParts) -> Result<Change, Stop>,
    ) -> Result<Done<OrderAnswer>, Failure> {
        let known = self.known(order).await?;
        let keys = keys(&known);
        let decide = |context: &Context, snapshot: &Snapshot| decide(context, &OrderParts::read(snapshot, 0, &known)?);
        let fill = |ask| keys.iter().cloned().fold(ask, txn_store::Ask::record);
        self.services.decider.run(operation, key, command, fill, decide, |_| None).await
    }
}

//! What a plan asks for, done through the services: customers side by side, each customer's orders and returns in the order of the file.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream};
use txn::{
    Ship,
    change::{Body, Change, ChangeId, Fingerprint, Key, Timestamp},
    core::{
        aftersale::{Receipt, ReceivedLine},
        id::{CustomerId, HoldId, LocationId, MovementId, OrderId, PaymentId, RefundId, ReturnId, Sku},
        inventory::{Demand, Disposition, Item, Receive},
        money::{Currency, Money},
        order::{NewLine, PlaceOrder},
        payment::{Operation, OperationResult},
        quantity::Quantity,
    },
};

use super::{ReplayError, Run, records};
use crate::{
    invoices::{Column, Fault, Name, Plan, PlannedOrder, PlannedReturn, ReturnPart, Shown, Wrong},
    names,
    replay::records::Aside,
};

/// Customers under way at once.
const CUSTOMERS_AT_ONCE: usize = 512;
/// Lines in one receipt of opening stock.
const OPENING_LINES: usize = 512;
/// Lines that move nothing in one commit.
const ASIDE_LINES: usize = 256;

/// The names of a plan as ids, made before the first commit so that one that does not fit stops the replay there.
pub(super) struct Catalogue {
    skus: Vec<Sku>,
    customers: HashMap<Name, CustomerId>,
    location: LocationId,
}

impl Catalogue {
    pub(super) fn of(plan: &Plan) -> Result<Self, Fault> {
        let mut skus: Vec<Option<Sku>> = vec![None; plan.stock.len()];
        let mut customers = HashMap::new();
        for order in &plan.orders {
            if let Some(name) = &order.customer {
                let customer = names::customer(name);
                let wrong = |_| unfit(order.row, Column::CustomerID, name, CustomerId::LENGTH_MAX);
                customers.insert(name.clone(), customer.map_err(wrong)?);
            }
            for line in &order.lines {
                quantity(line.quantity).map_err(|_| Fault::Value {
                    row: line.row,
                    column: Column::Quantity,
                    value: Shown::of(line.quantity.to_string().as_bytes()),
                    wrong: Wrong::LineTooLarge { units_max: Quantity::MAX.get() },
                })?;
                let (Some(stock), Some(sku)) = (plan.stock.get(line.stock), skus.get_mut(line.stock)) else { continue };
                if sku.is_none() {
                    let wrong = |_| unfit(line.row, Column::StockCode, &stock.code, Sku::LENGTH_MAX);
                    *sku = Some(names::sku(&stock.code).map_err(wrong)?);
                }
            }
        }
        let location = LocationId::new("main").expect("a valid name");
        Ok(Self { skus: skus.into_iter().flatten().collect(), customers, location })
    }

    fn item(&self, stock: usize) -> Option<Item> {
        Some(Item { sku: self.skus.get(stock)?.clone(), location: self.location.clone() })
    }
}

/// A name that, escaped, is longer than an id may be.
fn unfit(row: u64, column: Column, name: &Name, bytes_max: usize) -> Fault {
    let wrong = Wrong::TooLongEscaped { bytes: names::escape(name).len(), bytes_max };
    Fault::Value { row, column, value: Shown::of(name), wrong }
}

fn quantity(units: i64) -> Result<Quantity, txn::core::quantity::QuantityError> {
    Quantity::try_from(i128::from(units))
}

/// How many commits a plan comes to, for the progress bar.
pub(super) fn steps(plan: &Plan) -> u64 {
    let chunks = |lines: usize, size: usize| lines.div_ceil(size);
    let steps = plan
        .orders
        .len()
        .saturating_mul(6)
        .saturating_add(plan.returns.len())
        .saturating_add(chunks(plan.stock.len(), OPENING_LINES))
        .saturating_add(chunks(plan.unmatched.len().saturating_add(plan.quarantined.len()), ASIDE_LINES));
    steps as u64
}

/// A customer's orders and returns, by index into the plan.
type History = Vec<Step>;

#[derive(Clone, Copy)]
enum Step {
    Order(usize),
    Return(usize),
}

/// The plan by customer, longest history first so that it does not stand alone at the end. Orders without a customer stand by themselves.
fn histories(plan: &Plan) -> Vec<History> {
    let mut alone = Vec::new();
    let mut of_customer: HashMap<&Name, Vec<(u64, Step)>> = HashMap::new();
    for (index, order) in plan.orders.iter().enumerate() {
        match &order.customer {
            Some(customer) => of_customer.entry(customer).or_default().push((order.row, Step::Order(index))),
            None => alone.push(vec![Step::Order(index)]),
        }
    }
    for (index, planned) in plan.returns.iter().enumerate() {
        of_customer.entry(&planned.customer).or_default().push((planned.row, Step::Return(index)));
    }
    let mut histories: Vec<History> = of_customer
        .into_values()
        .map(|mut steps| {
            steps.sort_by_key(|(row, _)| *row);
            steps.into_iter().map(|(_, step)| step).collect()
        })
        .collect();
    histories.sort_by_key(|history| std::cmp::Reverse(history.len()));
    histories.append(&mut alone);
    histories
}

pub(super) async fn execute(run: &Arc<Run>, catalogue: Arc<Catalogue>) -> Result<(), ReplayError> {
    run.shop.ledger().open_payment_accounts(Currency::GBP).await?;
    open_stock(run, &catalogue).await?;
    set_aside(run).await?;
    let work = histories(&run.plan).into_iter().map(|history| {
        let (run, catalogue) = (Arc::clone(run), Arc::clone(&catalogue));
        let task = tokio::spawn(async move {
            for step in history {
                match step {
                    Step::Order(index) => order(&run, &catalogue, index).await?,
                    Step::Return(index) => take_back(&run, index).await?,
                }
            }
            Ok::<(), ReplayError>(())
        });
        async move { task.await.map_err(|error| ReplayError::Failed(format!("a task ended early: {error}")))? }
    });
    stream::iter(work).buffer_unordered(CUSTOMERS_AT_ONCE).try_for_each(|()| async { Ok(()) }).await
}

async fn open_stock(run: &Run, catalogue: &Catalogue) -> Result<(), ReplayError> {
    let mut lines = Vec::with_capacity(run.plan.stock.len());
    for (index, planned) in run.plan.stock.iter().enumerate() {
        let item = catalogue.item(index).ok_or_else(|| missing("stock code", index))?;
        // A code's sum may be more than one line can hold.
        let mut left = u64::try_from(planned.opening).unwrap_or(0);
        while left > 0 {
            let part = left.min(Quantity::MAX.get());
            lines.push(Demand { item: item.clone(), quantity: Quantity::new(part).map_err(failed)? });
            left = left.saturating_sub(part);
        }
    }
    for (chunk, lines) in lines.chunks(OPENING_LINES).enumerate() {
        let id = MovementId::new(format!("opening-{chunk}"))?;
        let done = run.shop.inventory().receive(&Receive { id, lines: lines.to_vec() }).await?;
        run.note(done.replayed());
    }
    Ok(())
}

/// Writes the lines that move nothing, many to a commit.
async fn set_aside(run: &Run) -> Result<(), ReplayError> {
    let kind = records::aside_kind()?;
    let quarantined = run.plan.quarantined.iter().map(Aside::quarantined);
    let unmatched = run.plan.unmatched.iter().map(Aside::unmatched);
    let lines: Vec<Aside> = quarantined.chain(unmatched).collect::<Result<_, _>>().map_err(failed)?;
    for chunk in lines.chunks(ASIDE_LINES) {
        let row = chunk.first().map_or(0, |line| line.row);
        let reason = chunk.first().map_or("", |line| &line.reason);
        let id = ChangeId::new(format!("replay.aside/row-{row}-{reason}"))?;
        let mut change = Change::new(id, Fingerprint::of("replay.aside", chunk));
        for line in chunk {
            let key = Key::of(kind).text(&line.reason)?.number(line.row).build();
            change = change.insert(key, Body::of(line)?, Vec::new());
        }
        run.commit(change).await?;
    }
    Ok(())
}

/// The ids of an order and of what belongs to it: the row of its first sale line.
fn order_id(order: &PlannedOrder) -> Result<OrderId, ReplayError> {
    Ok(OrderId::new(format!("row-{}", order.row))?)
}

async fn order(run: &Run, catalogue: &Catalogue, index: usize) -> Result<(), ReplayError> {
    let planned = run.plan.orders.get(index).ok_or_else(|| missing("order", index))?;
    let order = order_id(planned)?;
    let payment = PaymentId::new(order.as_str())?;
    let shop = run.shop.effective_at(Timestamp::from_seconds(planned.at_s).map_err(failed)?);
    let mut lines = Vec::with_capacity(planned.lines.len());
    let mut total = Money::zero(Currency::GBP);
    for line in &planned.lines {
        let sku = catalogue.skus.get(line.stock).ok_or_else(|| missing("stock code", line.stock))?.clone();
        let price = Money::from_minor(line.price_minor.into(), Currency::GBP);
        let quantity = quantity(line.quantity).map_err(failed)?;
        let amount = price.try_mul(line.quantity.into()).map_err(failed)?;
        total = total.try_add(amount).map_err(failed)?;
        lines.push(NewLine { sku, quantity, price });
    }
    let place = PlaceOrder {
        order: order.clone(),
        customer: planned.customer.as_ref().and_then(|name| catalogue.customers.get(name)).cloned(),
        currency: Currency::GBP,
        location: catalogue.location.clone(),
        hold: HoldId::new(order.as_str())?,
        payment: payment.clone(),
        expires_at: None,
        lines,
    };
    run.note(shop.orders().place(&place).await?.replayed());
    run.note(shop.orders().reserve(&order, None).await?.replayed());
    let result = OperationResult::Done(total);
    let authorised = shop.payments().record(&payment, Operation::Authorise, result, "authorise").await?;
    run.note(authorised.replayed());
    let captured = shop.payments().record(&payment, Operation::Capture, result, "capture").await?;
    run.note(captured.replayed());
    let ship = Ship { order: order.clone(), shipment: "all".into(), units: None };
    run.note(shop.orders().ship(&ship).await?.replayed());
    run.note(shop.orders().deliver(&order, "all", None).await?.replayed());
    Ok(())
}

async fn take_back(run: &Run, index: usize) -> Result<(), ReplayError> {
    let planned: &PlannedReturn = run.plan.returns.get(index).ok_or_else(|| missing("return", index))?;
    let shop = run.shop.effective_at(Timestamp::from_seconds(planned.at_s).map_err(failed)?);
    let of_one_order = planned.parts.chunk_by(|a, b| a.order == b.order);
    for parts in of_one_order {
        let order = parts.first().map_or(0, |part| part.order);
        let order = run.plan.orders.get(order).ok_or_else(|| missing("order", order))?;
        let id = format!("row-{}:{}", planned.row, order.row);
        let line = |part: &ReturnPart| {
            let quantity = quantity(part.quantity).map_err(failed)?;
            Ok(ReceivedLine { line: part.line, quantity, disposition: Disposition::Restock })
        };
        let receipt = Receipt {
            id: ReturnId::new(&id)?,
            refund: RefundId::new(&id)?,
            lines: parts.iter().map(line).collect::<Result<_, ReplayError>>()?,
        };
        run.note(shop.returns().receive(&order_id(order)?, &receipt).await?.replayed());
    }
    Ok(())
}

fn missing(what: &str, index: usize) -> ReplayError {
    ReplayError::Failed(format!("the plan has no {what} {index}"))
}

fn failed(error: impl std::error::Error) -> ReplayError {
    ReplayError::Failed(error.to_string())
}

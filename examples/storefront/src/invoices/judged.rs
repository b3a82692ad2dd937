//! The rows of a file by what they are: orders put together, cancellations not yet matched.

use std::collections::HashMap;

use rust_decimal::Decimal;

use super::classify::{Kind, Reason, classify};
use super::columns::Column;
use super::error::{Fault, Shown, Wrong};
use super::limits::ORDER_LINES_MAX;
use super::names::NameId;
use super::plan::{Plan, PlannedLine, PlannedOrder, PlannedStock, Quarantined};
use super::read::{File, Row};

/// A plan that lacks its returns, and what is needed to find them.
pub(super) struct Judged<'a> {
    pub(super) file: &'a File,
    pub(super) plan: Plan,
    /// The customer of each order of the plan.
    pub(super) customers: Vec<Option<NameId>>,
    /// The stock of the plan by its code.
    pub(super) stock: HashMap<NameId, usize>,
    /// The cancellations with their row numbers.
    pub(super) cancellations: Vec<(u64, &'a Row)>,
    /// The orders of the plan by their invoice number.
    orders: HashMap<NameId, usize>,
}

impl<'a> Judged<'a> {
    pub(super) fn of(file: &'a File) -> Result<Self, Fault> {
        let mut judged = Self {
            file,
            plan: Plan {
                sha256: file.sha256.clone(),
                limit: file.limit,
                stock: Vec::new(),
                orders: Vec::new(),
                returns: Vec::new(),
                unmatched: Vec::new(),
                unmatched_amount: Decimal::ZERO,
                quarantined: Vec::new(),
            },
            customers: Vec::new(),
            stock: HashMap::new(),
            cancellations: Vec::new(),
            orders: HashMap::new(),
        };
        for (number, row) in file.numbered() {
            match classify(&file.invoice(row), row.quantity, row.price) {
                Kind::Sale { price_minor } => judged.sell(number, row, price_minor)?,
                Kind::Cancellation => judged.cancellations.push((number, row)),
                Kind::Quarantined(reason) => judged.quarantine(number, row, reason),
            }
        }
        Ok(judged)
    }

    fn sell(&mut self, number: u64, row: &Row, price_minor: i64) -> Result<(), Fault> {
        let stock = self.open_stock(row);
        let order = self.open_order(number, row);
        if order.lines.len() == ORDER_LINES_MAX {
            return Err(Fault::Value {
                row: number,
                column: Column::InvoiceNo,
                value: Shown::of(&order.invoice),
                wrong: Wrong::OrderTooLong,
            });
        }
        let quantity = row.quantity;
        order.lines.push(PlannedLine { row: number, stock, quantity, price_minor });
        Ok(())
    }

    /// Opens the stock of a sale line with its units.
    fn open_stock(&mut self, row: &Row) -> usize {
        let stock = &mut self.plan.stock;
        let index = *self.stock.entry(row.stock_code).or_insert(stock.len());
        if index == stock.len() {
            stock.push(PlannedStock { code: self.file.stock_code(row), opening: 0 });
        }
        let planned = stock.get_mut(index).expect("an index is given with its stock");
        planned.opening = planned.opening.checked_add(row.quantity).expect("ROWS_MAX times QUANTITY_MAX is below i64");
        index
    }

    /// The order of a sale line, which stands where its first line does, even if another invoice interrupts it.
    fn open_order(&mut self, number: u64, row: &Row) -> &mut PlannedOrder {
        let orders = &mut self.plan.orders;
        let index = *self.orders.entry(row.invoice).or_insert(orders.len());
        if index == orders.len() {
            self.customers.push(row.customer);
            orders.push(PlannedOrder {
                row: number,
                invoice: self.file.invoice(row),
                customer: self.file.customer(row),
                at_s: row.at_s,
                lines: Vec::new(),
            });
        }
        orders.get_mut(index).expect("an index is given with its order")
    }

    fn quarantine(&mut self, number: u64, row: &Row, reason: Reason) {
        self.plan.quarantined.push(Quarantined {
            row: number,
            invoice: self.file.invoice(row),
            stock_code: self.file.stock_code(row),
            customer: self.file.customer(row),
            at_s: row.at_s,
            quantity: row.quantity,
            price: row.price,
            reason,
        });
    }
}

//! Which sold units each cancellation takes back.
//!
//! A file names no original for a cancellation. It finds units of the same customer and stock code: in the orders above it,
//! the nearest order first, within an order the last line first, and no unit twice.

use std::collections::HashMap;

use super::columns::Column;
use super::error::{Fault, Shown, Wrong};
use super::judged::Judged;
use super::names::NameId;
use super::plan::{Plan, PlannedOrder, PlannedReturn, ReturnPart, Unmatched};
use super::read::Row;
use super::totals::ExactSum;

/// Completes the plan with what every cancellation finds and does not find.
pub(super) fn find(judged: Judged<'_>) -> Result<Plan, Fault> {
    let Judged { file, mut plan, customers, stock, cancellations, .. } = judged;
    let key = |row: &Row| Some((row.customer?, *stock.get(&row.stock_code)?));
    let mut open_lines = OpenLines::of(cancellations.iter().filter_map(|(_, row)| key(row)));
    let mut unmatched_amount = ExactSum::default();
    let mut orders_below = plan.orders.iter().zip(&customers).enumerate().peekable();

    for (number, row) in cancellations {
        while let Some((index, (order, customer))) = orders_below.next_if(|(_, (order, _))| order.row < number) {
            if let Some(customer) = *customer {
                open_lines.add(index, order, customer);
            }
        }
        let wanted = row.quantity.saturating_neg();
        let found = key(row).map_or_else(Found::default, |key| open_lines.take(key, wanted));
        if let (Some(customer), false) = (file.customer(row), found.parts.is_empty()) {
            plan.returns.push(PlannedReturn {
                row: number,
                invoice: file.invoice(row),
                customer,
                at_s: row.at_s,
                parts: found.parts,
            });
        }
        let quantity = wanted.saturating_sub(found.quantity);
        if quantity > 0 {
            unmatched_amount = unmatched_amount.plus(row.price, quantity).ok_or_else(|| too_large(number, row))?;
            plan.unmatched.push(Unmatched {
                row: number,
                invoice: file.invoice(row),
                stock_code: file.stock_code(row),
                customer: file.customer(row),
                at_s: row.at_s,
                quantity,
                price: row.price,
            });
        }
    }
    plan.unmatched_amount = unmatched_amount.total();
    Ok(plan)
}

fn too_large(number: u64, row: &Row) -> Fault {
    Fault::Value {
        row: number,
        column: Column::UnitPrice,
        value: Shown::of(row.price.to_string().as_bytes()),
        wrong: Wrong::UnmatchedTooLarge,
    }
}

type Key = (NameId, usize);

/// The lines with units left, by customer and stock: the next to take from is the last.
///
/// Each order is added once and each line leaves once, so that a whole file takes one pass. Only what some cancellation
/// asks for is kept: that is few of the lines.
struct OpenLines(HashMap<Key, Vec<OpenLine>>);

struct OpenLine {
    order: usize,
    line: usize,
    left: i64,
}

/// What one cancellation found.
#[derive(Default)]
struct Found {
    parts: Vec<ReturnPart>,
    quantity: i64,
}

impl OpenLines {
    fn of(wanted: impl Iterator<Item = Key>) -> Self {
        Self(wanted.map(|key| (key, Vec::new())).collect())
    }

    /// Adds all lines of the order, also those that stand below the cancellation that comes next.
    fn add(&mut self, index: usize, order: &PlannedOrder, customer: NameId) {
        for (line, planned) in order.lines.iter().enumerate() {
            if let Some(lines) = self.0.get_mut(&(customer, planned.stock)) {
                lines.push(OpenLine { order: index, line, left: planned.quantity });
            }
        }
    }

    fn take(&mut self, key: Key, wanted: i64) -> Found {
        let mut found = Found::default();
        let Some(lines) = self.0.get_mut(&key) else {
            return found;
        };
        while let Some(open) = lines.last_mut() {
            let quantity = open.left.min(wanted.saturating_sub(found.quantity));
            if quantity == 0 {
                break;
            }
            found.parts.push(ReturnPart { order: open.order, line: open.line, quantity });
            found.quantity = found.quantity.saturating_add(quantity);
            open.left = open.left.saturating_sub(quantity);
            if open.left == 0 {
                lines.pop();
            }
        }
        found
    }
}

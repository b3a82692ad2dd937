//! What a file asks for, as plain data ready to execute: orders, returns, and the records that move nothing.

use rust_decimal::Decimal;

use super::classify::Reason;
use super::error::FileError;
use super::judged::Judged;
use super::names::Name;
use super::read::File;
use super::returns;

/// Everything a file asks for. Each list is in the order of the file, each row number counts from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The sha256 of the whole uncompressed file.
    pub sha256: String,
    /// The limit the file was read with.
    pub limit: Option<u64>,
    /// The stock codes that are sold, in the order of their first sale line.
    pub stock: Vec<PlannedStock>,
    /// The invoices with a sale line, in the order of the first.
    pub orders: Vec<PlannedOrder>,
    /// The cancellations that found at least one unit.
    pub returns: Vec<PlannedReturn>,
    /// The cancellations with units that were not found, also where others were.
    pub unmatched: Vec<Unmatched>,
    /// What all unmatched units come to, in pounds.
    pub unmatched_amount: Decimal,
    /// The lines that are neither sale nor cancellation.
    pub quarantined: Vec<Quarantined>,
}

/// A stock code and what it opens with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStock {
    /// The code.
    pub code: Name,
    /// The sum of its sale quantities.
    pub opening: i64,
}

/// All sale lines of one invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedOrder {
    /// The row of the first sale line: where the order stands in the file.
    pub row: u64,
    /// The invoice number.
    pub invoice: Name,
    /// The customer of the first sale line.
    pub customer: Option<Name>,
    /// The time of the first sale line, in seconds since 1970.
    pub at_s: i64,
    /// The sale lines, in the order of the file.
    pub lines: Vec<PlannedLine>,
}

/// One sale line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedLine {
    /// Its row.
    pub row: u64,
    /// Its stock code, as an index into [`Plan::stock`].
    pub stock: usize,
    /// Its units, above zero.
    pub quantity: i64,
    /// The price of one unit, in pence, above zero.
    pub price_minor: i64,
}

/// A cancellation, as far as it found units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedReturn {
    /// Its row.
    pub row: u64,
    /// Its invoice number.
    pub invoice: Name,
    /// Its customer.
    pub customer: Name,
    /// Its time, in seconds since 1970.
    pub at_s: i64,
    /// The units found, in the order they were: the parts of one order stand together.
    pub parts: Vec<ReturnPart>,
}

/// Units that go back to one line of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReturnPart {
    /// The order, as an index into [`Plan::orders`].
    pub order: usize,
    /// The line, as an index into [`PlannedOrder::lines`].
    pub line: usize,
    /// The units, above zero.
    pub quantity: i64,
}

/// Units of a cancellation that no order above it has, or that name no customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The row of the cancellation.
    pub row: u64,
    /// Its invoice number.
    pub invoice: Name,
    /// Its stock code, which may never have been sold.
    pub stock_code: Name,
    /// Its customer.
    pub customer: Option<Name>,
    /// Its time, in seconds since 1970.
    pub at_s: i64,
    /// The units not found, above zero.
    pub quantity: i64,
    /// Its price of one unit as written, in pounds: any sign, any scale.
    pub price: Decimal,
}

/// A line that is neither sale nor cancellation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its row.
    pub row: u64,
    /// Its invoice number.
    pub invoice: Name,
    /// Its stock code.
    pub stock_code: Name,
    /// Its customer.
    pub customer: Option<Name>,
    /// Its time, in seconds since 1970.
    pub at_s: i64,
    /// Its units, of either sign.
    pub quantity: i64,
    /// Its price of one unit as written, in pounds: any sign, any scale.
    pub price: Decimal,
    /// The first reason that applies.
    pub reason: Reason,
}

/// Judges every row of `file`, and finds the lines that its cancellations take back.
///
/// # Errors
///
/// An invoice with more than [`ORDER_LINES_MAX`](super::ORDER_LINES_MAX) sale lines; unmatched units worth more than a
/// decimal holds exactly.
pub fn plan(file: &File) -> Result<Plan, FileError> {
    Judged::of(file).and_then(returns::find).map_err(|fault| FileError { path: file.path.clone(), fault })
}

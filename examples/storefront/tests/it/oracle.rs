//! The rule of the replay a second time, as naively as it reads, sharing no code with the first.
//!
//! It splits the CSV itself, keeps amounts as integers at 18 decimals, and finds everything by looking through all of it. It
//! trusts the file: what is not well formed panics.

use std::collections::BTreeMap;

use storefront::invoices::Totals;

/// One unit of money at the scale amounts are kept in here: no price has more decimals.
const ONE: i128 = 1_000_000_000_000_000_000;

/// What the rule makes of a file.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    /// Units on hand of every stock code that was sold, after all returns.
    pub(crate) on_hand: BTreeMap<Vec<u8>, i64>,
    /// Each part of each return: cancellation row, order row, line row, units.
    pub(crate) parts: Vec<[i64; 4]>,
}

/// The totals, every amount at 18 decimals.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) orders: u64,
    pub(crate) lines: u64,
    pub(crate) units: i64,
    pub(crate) gross: i128,
    pub(crate) quarantined: BTreeMap<&'static str, u64>,
    pub(crate) return_lines: u64,
    pub(crate) return_units: i64,
    pub(crate) return_orders: u64,
    pub(crate) refunded: i128,
    pub(crate) unmatched_units: i64,
    pub(crate) unmatched_amount: i128,
}

impl Figures {
    /// The figures under test, in the form of this oracle.
    pub(crate) fn of(totals: &Totals) -> Self {
        Self {
            orders: totals.orders,
            lines: totals.lines,
            units: totals.units,
            gross: totals.gross_minor * (ONE / 100),
            quarantined: totals.quarantined.iter().map(|(reason, n)| (reason.name(), *n)).collect(),
            return_lines: totals.returns.lines,
            return_units: totals.returns.units,
            return_orders: totals.returns.orders,
            refunded: totals.returns.refunded_minor * (ONE / 100),
            unmatched_units: totals.returns.unmatched_units,
            unmatched_amount: decimal(totals.returns.unmatched_amount.to_string().as_bytes()),
        }
    }
}

struct Order {
    row: i64,
    invoice: Vec<u8>,
    customer: Vec<u8>,
    returned: bool,
    lines: Vec<Line>,
}

struct Line {
    row: i64,
    stock_code: Vec<u8>,
    left: i64,
    price: i128,
}

/// Judges an uncompressed file by its first `limit` rows.
pub(crate) fn judge(bytes: &[u8], limit: Option<u64>) -> Outcome {
    let mut records = split(bytes);
    let header = records.remove(0);
    records.truncate(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap()));
    let column = |name: &str| header.iter().position(|field| field == name.as_bytes()).unwrap();
    let (invoice, stock_code, customer) = (column("InvoiceNo"), column("StockCode"), column("CustomerID"));
    let (quantity, price) = (column("Quantity"), column("UnitPrice"));

    let mut figures = Figures::default();
    let mut orders: Vec<Order> = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let row = i64::try_from(index).unwrap() + 1;
        let (units, each) = (integer(&record[quantity]), decimal(&record[price]));
        let reason = if record[invoice].first() == Some(&b'C') {
            continue;
        } else if record[invoice].is_empty() || !record[invoice].iter().all(u8::is_ascii_digit) {
            "not_a_sale"
        } else if units <= 0 {
            "quantity_not_positive"
        } else if each <= 0 {
            "price_not_positive"
        } else if each % (ONE / 100) != 0 {
            "price_scale"
        } else {
            figures.lines += 1;
            figures.units += units;
            figures.gross += each * i128::from(units);
            let line = Line { row, stock_code: record[stock_code].clone(), left: units, price: each };
            // From the end only because that is where the same invoice usually is.
            match orders.iter_mut().rev().find(|order| order.invoice == record[invoice]) {
                Some(order) => order.lines.push(line),
                None => orders.push(Order {
                    row,
                    invoice: record[invoice].clone(),
                    customer: record[customer].clone(),
                    returned: false,
                    lines: vec![line],
                }),
            }
            continue;
        };
        *figures.quarantined.entry(reason).or_default() += 1;
    }
    figures.orders = orders.len() as u64;

    let mut on_hand = BTreeMap::new();
    for line in orders.iter().flat_map(|order| &order.lines) {
        on_hand.insert(line.stock_code.clone(), 0);
    }
    let mut parts = Vec::new();
    for (index, record) in records.iter().enumerate() {
        if record[invoice].first() != Some(&b'C') {
            continue;
        }
        let row = i64::try_from(index).unwrap() + 1;
        let wanted = -integer(&record[quantity]);
        let mut missing = wanted;
        for order in orders.iter_mut().rev() {
            if record[customer].is_empty() || order.customer != record[customer] || order.row > row {
                continue;
            }
            for line in order.lines.iter_mut().rev() {
                let units = missing.min(line.left);
                if line.stock_code != record[stock_code] || units == 0 {
                    continue;
                }
                missing -= units;
                line.left -= units;
                order.returned = true;
                figures.return_units += units;
                figures.refunded += line.price * i128::from(units);
                *on_hand.get_mut(&line.stock_code).unwrap() += units;
                parts.push([row, order.row, line.row, units]);
            }
        }
        figures.return_lines += u64::from(missing < wanted);
        figures.unmatched_units += missing;
        figures.unmatched_amount += decimal(&record[price]) * i128::from(missing);
    }
    figures.return_orders = orders.iter().filter(|order| order.returned).count() as u64;
    Outcome { figures, on_hand, parts }
}

/// Fields in quotes may hold commas, line breaks and doubled quotes; lines end in LF or CR LF.
fn split(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), Vec::new());
    let mut quoted = false;
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' if quoted && after.first() == Some(&b'"') => {
                field.push(b'"');
                rest = &after[1..];
            }
            b'"' => quoted = !quoted,
            b',' if !quoted => record.push(std::mem::take(&mut field)),
            b'\r' if !quoted => {}
            b'\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            other => field.push(*other),
        }
    }
    assert!(!quoted, "a quote is left open");
    if !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    records
}

fn integer(text: &[u8]) -> i64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

pub(crate) fn decimal(text: &[u8]) -> i128 {
    let text = std::str::from_utf8(text).unwrap();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let zeros = "0".repeat(18 - decimals.len());
    format!("{whole}{decimals}{zeros}").parse().unwrap()
}

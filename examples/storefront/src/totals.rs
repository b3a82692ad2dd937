//! The totals of a replay, folded from the store alone.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde::Serialize;
use txn::{
    Services, Txn,
    core::{
        aftersale::{RETURN_KIND, Return},
        inventory::STOCK_KIND,
        ledger::{LEDGER_KIND, TRANSFER_INDEX},
        money::{Currency, Money},
        order::{ORDER_KIND, Order},
    },
    store::{Found, Query, Range},
};

use crate::{
    invoices::ExactSum,
    replay::records::{self, Aside},
};

/// An amount per currency.
pub type Amounts = BTreeMap<String, String>;

/// What a tenant's store comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Orders.
    pub orders: u64,
    /// Their lines.
    pub lines: u64,
    /// Their units.
    pub units: u64,
    /// Their amounts, before returns.
    pub gross: Amounts,
    /// Lines that moved nothing, by reason.
    pub quarantined: BTreeMap<String, u64>,
    /// What came back.
    pub returns: Returned,
    /// The ledger.
    pub ledger: LedgerTotals,
    /// The stock.
    pub stock: StockTotals,
    /// Changes committed for the tenant.
    pub commits: u64,
    /// What the audit of the whole store found.
    pub violations: u64,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Returned {
    /// Cancellation lines that matched at least one unit.
    pub lines: u64,
    /// Units.
    pub units: u64,
    /// Orders that had a return.
    pub orders: u64,
    /// What was paid for the units.
    pub refunded: Amounts,
    /// Units that no order had.
    pub unmatched_units: u64,
    /// What they come to at the cancellations' prices.
    pub unmatched_amount: Amounts,
}

/// The ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LedgerTotals {
    /// Posted debits.
    pub debits: Amounts,
    /// Posted credits.
    pub credits: Amounts,
    /// Accounts.
    pub accounts: u64,
    /// Transfers: held, captured and posted.
    pub transfers: u64,
}

/// The stock, in units.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StockTotals {
    /// There.
    pub on_hand: i128,
    /// Of it, promised.
    pub reserved: i128,
}

/// Items on one page.
const PAGE: usize = 1_000;

/// The money of one currency at a time.
#[derive(Default)]
pub(crate) struct Sums(BTreeMap<Currency, i128>);

impl Sums {
    pub(crate) fn add(&mut self, amount: Money) -> Result<(), String> {
        let sum = self.0.entry(amount.currency()).or_default();
        *sum = sum.checked_add(amount.minor()).ok_or("a sum leaves the range of 128 bits")?;
        Ok(())
    }

    /// As text; pounds are named even when there are none.
    pub(crate) fn amounts(mut self) -> Amounts {
        self.0.entry(Currency::GBP).or_default();
        let text = |(currency, minor)| {
            (Currency::code(currency).to_owned(), Money::from_minor(minor, currency).to_decimal_string())
        };
        self.0.into_iter().map(text).collect()
    }
}

impl Totals {
    /// Reads everything of one tenant, and audits the store.
    ///
    /// # Errors
    /// A line that says what could not be read.
    pub async fn fold(txn: &Txn, shop: &Services) -> Result<Self, String> {
        let mut orders = OrderTotals::default();
        each(shop, &Query::Records(Range::kind(ORDER_KIND)), |found| orders.add(found)).await?;
        let mut returns = ReturnTotals::default();
        each(shop, &Query::Records(Range::kind(RETURN_KIND)), |found| returns.add(found)).await?;
        let mut aside = AsideTotals::default();
        let kind = records::aside_kind().map_err(|error| error.to_string())?;
        each(shop, &Query::Records(Range::kind(kind)), |found| aside.add(found)).await?;
        let mut accounts = AccountTotals::default();
        each(shop, &Query::Counters(Range::kind(LEDGER_KIND)), |found| accounts.add(found)).await?;
        let mut stock = StockTotals::default();
        each(shop, &Query::Counters(Range::kind(STOCK_KIND)), |found| stock.add(found)).await?;
        let transfers = each(shop, &Query::EventsByTerm(Range::kind(TRANSFER_INDEX)), |_| Ok(())).await?;
        let commits = each(shop, &Query::Changes, |_| Ok(())).await?;
        let report = txn.verify().await.map_err(|error| error.to_string())?;
        Ok(Self {
            orders: orders.orders,
            lines: orders.lines,
            units: orders.units,
            gross: orders.gross.amounts(),
            quarantined: aside.reasons,
            returns: Returned {
                lines: returns.rows.len() as u64,
                units: returns.units,
                orders: orders.returned,
                refunded: returns.refunded.amounts(),
                unmatched_units: aside.unmatched_units,
                unmatched_amount: Amounts::from([("GBP".into(), aside.unmatched_amount.total().to_string())]),
            },
            ledger: LedgerTotals {
                debits: accounts.debits.amounts(),
                credits: accounts.credits.amounts(),
                accounts: accounts.accounts,
                transfers,
            },
            stock,
            commits,
            violations: report.violations_total,
        })
    }
}

/// Gives every row that a query finds to `add`, and counts them.
pub(crate) async fn each(
    shop: &Services,
    query: &Query,
    mut add: impl FnMut(Found) -> Result<(), String>,
) -> Result<u64, String> {
    let scope = shop.scope();
    let (mut after, mut count) = (None, 0u64);
    loop {
        let page = scope.find(query, after.as_ref(), PAGE).await.map_err(|error| error.to_string())?;
        for found in page.items {
            add(found)?;
            count = count.saturating_add(1);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(count),
        }
    }
}

#[derive(Default)]
struct OrderTotals {
    orders: u64,
    lines: u64,
    units: u64,
    returned: u64,
    gross: Sums,
}

impl OrderTotals {
    fn add(&mut self, found: Found) -> Result<(), String> {
        let Found::Record(_, record) = found else { return Ok(()) };
        let order: Order = record.body.read().map_err(|error| error.to_string())?;
        self.orders = self.orders.saturating_add(1);
        self.lines = self.lines.saturating_add(order.lines.len() as u64);
        self.units = order.lines.iter().fold(self.units, |sum, line| sum.saturating_add(line.ordered.get()));
        let has_return = order.lines.iter().any(|line| line.returned > 0);
        self.returned = self.returned.saturating_add(u64::from(has_return));
        self.gross.add(order.total)
    }
}

#[derive(Default)]
struct ReturnTotals {
    rows: BTreeSet<u64>,
    units: u64,
    refunded: Sums,
}

impl ReturnTotals {
    fn add(&mut self, found: Found) -> Result<(), String> {
        let Found::Record(_, record) = found else { return Ok(()) };
        let returned: Return = record.body.read().map_err(|error| error.to_string())?;
        // The ids of one cancellation's returns are its row and the order's.
        let row = returned.id.strip_prefix("row-").and_then(|id| id.split(':').next()?.parse().ok());
        self.rows.insert(row.ok_or_else(|| format!("the return {} is not of a replay", returned.id))?);
        let units = returned.received.iter().map(|line| line.quantity.get());
        self.units = units.fold(self.units, u64::saturating_add);
        self.refunded.add(returned.refund)
    }
}

#[derive(Default)]
struct AsideTotals {
    reasons: BTreeMap<String, u64>,
    unmatched_units: u64,
    unmatched_amount: ExactSum,
}

impl AsideTotals {
    fn add(&mut self, found: Found) -> Result<(), String> {
        let Found::Record(_, record) = found else { return Ok(()) };
        let line: Aside = record.body.read().map_err(|error| error.to_string())?;
        if line.reason != "unmatched" {
            let count = self.reasons.entry(line.reason).or_default();
            *count = count.saturating_add(1);
            return Ok(());
        }
        let price: Decimal = line.price.parse().map_err(|_| format!("row {}: {} is no price", line.row, line.price))?;
        self.unmatched_units = self.unmatched_units.saturating_add(line.quantity.unsigned_abs());
        let sum = self.unmatched_amount.plus(price, line.quantity);
        self.unmatched_amount = sum.ok_or("the unmatched amount leaves the range of a decimal")?;
        Ok(())
    }
}

#[derive(Default)]
struct AccountTotals {
    accounts: u64,
    debits: Sums,
    credits: Sums,
}

impl AccountTotals {
    fn add(&mut self, found: Found) -> Result<(), String> {
        let Found::Counter(_, counter) = found else { return Ok(()) };
        let currency = Currency::from_code(&counter.unit).map_err(|error| error.to_string())?;
        let [_, debits, _, credits] = counter.lanes.0;
        self.accounts = self.accounts.saturating_add(1);
        self.debits.add(Money::from_minor(debits, currency))?;
        self.credits.add(Money::from_minor(credits, currency))
    }
}

impl StockTotals {
    fn add(&mut self, found: Found) -> Result<(), String> {
        let Found::Counter(_, counter) = found else { return Ok(()) };
        let [on_hand, reserved, ..] = counter.lanes.0;
        let overflow = "a sum leaves the range of 128 bits";
        self.on_hand = self.on_hand.checked_add(on_hand).ok_or(overflow)?;
        self.reserved = self.reserved.checked_add(reserved).ok_or(overflow)?;
        Ok(())
    }
}

/// The totals for people.
#[must_use]
pub fn table(totals: &Totals) -> String {
    let money = |amounts: &Amounts| {
        let texts: Vec<String> = amounts.iter().map(|(currency, amount)| format!("{amount} {currency}")).collect();
        texts.join(", ")
    };
    let mut rows = vec![
        ("orders", totals.orders.to_string()),
        ("lines", totals.lines.to_string()),
        ("units", totals.units.to_string()),
        ("gross", money(&totals.gross)),
        ("returned lines", totals.returns.lines.to_string()),
        ("returned units", totals.returns.units.to_string()),
        ("orders with returns", totals.returns.orders.to_string()),
        ("refunded", money(&totals.returns.refunded)),
        ("unmatched units", totals.returns.unmatched_units.to_string()),
        ("unmatched amount", money(&totals.returns.unmatched_amount)),
        ("ledger debits", money(&totals.ledger.debits)),
        ("ledger credits", money(&totals.ledger.credits)),
        ("accounts", totals.ledger.accounts.to_string()),
        ("transfers", totals.ledger.transfers.to_string()),
        ("stock on hand", totals.stock.on_hand.to_string()),
        ("stock reserved", totals.stock.reserved.to_string()),
        ("commits", totals.commits.to_string()),
        ("violations", totals.violations.to_string()),
    ];
    let reasons: Vec<(String, String)> = totals
        .quarantined
        .iter()
        .map(|(reason, count)| (format!("quarantined, {reason}"), count.to_string()))
        .collect();
    rows.extend(reasons.iter().map(|(reason, count)| (reason.as_str(), count.clone())));
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<36}{value:>20}")).collect();
    lines.join("\n")
}

//! The figures of a plan, and the exact sum of amounts that are no whole pence.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::classify::Reason;
use super::plan::Plan;

/// What a replay of the plan must come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Orders.
    pub orders: u64,
    /// Sale lines.
    pub lines: u64,
    /// Units sold.
    pub units: i64,
    /// Sales before returns, in pence.
    pub gross_minor: i128,
    /// Lines that are neither sale nor cancellation; a reason that never applied is absent.
    pub quarantined: BTreeMap<Reason, u64>,
    /// What the cancellations come to.
    pub returns: ReturnTotals,
}

/// What the cancellations of a plan come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTotals {
    /// Cancellation lines that found at least one unit.
    pub lines: u64,
    /// Units found: in the end, the units on hand.
    pub units: i64,
    /// Orders that had a return.
    pub orders: u64,
    /// The units found, at the prices paid for them, in pence.
    pub refunded_minor: i128,
    /// Units not found.
    pub unmatched_units: i64,
    /// The units not found, at the cancellations' prices, in pounds.
    pub unmatched_amount: Decimal,
}

impl Totals {
    /// Adds up a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let lines = || plan.orders.iter().flat_map(|order| &order.lines);
        let mut quarantined = BTreeMap::new();
        for line in &plan.quarantined {
            let count: &mut u64 = quarantined.entry(line.reason).or_default();
            *count = count.saturating_add(1);
        }
        Self {
            orders: plan.orders.len() as u64,
            lines: lines().count() as u64,
            units: lines().map(|line| line.quantity).sum(),
            gross_minor: lines().map(|line| amount(line.price_minor, line.quantity)).sum(),
            quarantined,
            returns: ReturnTotals::of(plan),
        }
    }
}

impl ReturnTotals {
    fn of(plan: &Plan) -> Self {
        let parts = || plan.returns.iter().flat_map(|planned| &planned.parts);
        let price_minor = |order: usize, line: usize| {
            let line = plan.orders.get(order).and_then(|order| order.lines.get(line));
            line.map_or(0, |line| line.price_minor)
        };
        Self {
            lines: plan.returns.len() as u64,
            units: parts().map(|part| part.quantity).sum(),
            orders: parts().map(|part| part.order).collect::<BTreeSet<_>>().len() as u64,
            refunded_minor: parts().map(|part| amount(price_minor(part.order, part.line), part.quantity)).sum(),
            unmatched_units: plan.unmatched.iter().map(|unmatched| unmatched.quantity).sum(),
            unmatched_amount: plan.unmatched_amount,
        }
    }
}

fn amount(price_minor: i64, quantity: i64) -> i128 {
    i128::from(price_minor).saturating_mul(i128::from(quantity))
}

/// A sum of prices times quantities that is exact or absent.
///
/// Adding decimals rounds without a word once the digits run out, so the sum is an integer at one scale.
///
/// ```
/// use rust_decimal::Decimal;
/// use storefront::invoices::ExactSum;
///
/// let sum = ExactSum::default().plus(Decimal::new(12345, 4), 2).and_then(|sum| sum.plus(Decimal::new(31, 3), 1));
/// assert_eq!(sum.map(|sum| sum.total().to_string()).as_deref(), Some("2.50"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactSum {
    /// The sum at [`ExactSum::SCALE`].
    digits: i128,
    total: Decimal,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self { digits: 0, total: Decimal::new(0, 2) }
    }
}

impl ExactSum {
    /// The decimals a price can have: fewer than [`PRICE_DIGITS_MAX`](super::PRICE_DIGITS_MAX), one stands before the point.
    const SCALE: u32 = 18;

    /// With `quantity` times `price` added, unless a [`Decimal`] cannot hold the sum exactly.
    #[must_use]
    pub fn plus(self, price: Decimal, quantity: i64) -> Option<Self> {
        let shift = 10_i128.checked_pow(Self::SCALE.checked_sub(price.scale())?)?;
        let amount = price.mantissa().checked_mul(shift)?.checked_mul(i128::from(quantity))?;
        let digits = self.digits.checked_add(amount)?;
        let (mut shortest, mut scale) = (digits, Self::SCALE);
        while scale > 2 && shortest % 10 == 0 {
            (shortest, scale) = (shortest / 10, scale.checked_sub(1)?);
        }
        let total = Decimal::try_from_i128_with_scale(shortest, scale).ok()?;
        Some(Self { digits, total })
    }

    /// The sum, with two decimals or as many more as it needs.
    #[must_use]
    pub fn total(self) -> Decimal {
        self.total
    }
}

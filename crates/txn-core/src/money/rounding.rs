//! What to do with the part of a minor unit. There is no default: whoever divides says how.

/// How an exact result is brought to whole minor units.
///
/// | | 2.5 | −2.5 | 2.4 | −2.4 |
/// |---|---|---|---|---|
/// | `HalfEven` | 2 | −2 | 2 | −2 |
/// | `HalfUp` | 3 | −3 | 2 | −2 |
/// | `Down` | 2 | −2 | 2 | −2 |
/// | `Up` | 3 | −3 | 3 | −3 |
/// | `Ceiling` | 3 | −2 | 3 | −2 |
/// | `Floor` | 2 | −3 | 2 | −3 |
///
/// Source: the rounding modes of IEEE 754-2019 section 4.3 (`HalfEven`, `HalfUp` as roundTiesToAway, `Down` as roundTowardZero,
/// `Ceiling` and `Floor` as roundTowardPositive and roundTowardNegative), and `Up`, away from zero.
///
/// ```
/// use rust_decimal::Decimal;
/// use txn_core::money::{Currency, Money, Rounding};
///
/// let tax_rate = Decimal::new(75, 3); // 0.075
/// let price = Money::from_minor(-1_00, Currency::USD);
/// assert_eq!(price.try_mul_decimal(tax_rate, Rounding::HalfUp)?.minor(), -8);
/// assert_eq!(price.try_mul_decimal(tax_rate, Rounding::Ceiling)?.minor(), -7);
/// # Ok::<(), txn_core::money::MoneyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// To the nearest; a half goes to the even neighbour, so that many roundings lean to neither side.
    HalfEven,
    /// To the nearest; a half goes away from zero.
    HalfUp,
    /// Toward zero: the rest is cut off.
    Down,
    /// Away from zero.
    Up,
    /// Toward plus infinity.
    Ceiling,
    /// Toward minus infinity.
    Floor,
}

impl Rounding {
    /// Whether the magnitude `quotient`, whose exact value is `quotient + rest / divisor`, grows by one. Needs `rest < divisor`.
    pub(super) fn grows(self, negative: bool, quotient: u128, rest: u128, divisor: u128) -> bool {
        if rest == 0 {
            return false;
        }
        let half = rest.cmp(&divisor.saturating_sub(rest));
        match self {
            Rounding::HalfEven => half.is_gt() || (half.is_eq() && quotient & 1 == 1),
            Rounding::HalfUp => half.is_ge(),
            Rounding::Down => false,
            Rounding::Up => true,
            Rounding::Ceiling => !negative,
            Rounding::Floor => negative,
        }
    }
}

//! What one line of an invoice is: a sale, a cancellation, or neither for a named reason.

use std::fmt;

use rust_decimal::Decimal;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Part of an order.
    Sale {
        /// The price of one unit, in pence.
        price_minor: i64,
    },
    /// Takes units back.
    Cancellation,
    /// Kept as a record, and moves nothing.
    Quarantined(Reason),
}

/// Why a line is neither sale nor cancellation, in the order in which the reasons are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The invoice number is not all ASCII digits; an empty one is not either.
    NotASale,
    /// The quantity is zero or less.
    QuantityNotPositive,
    /// The price is zero or less.
    PriceNotPositive,
    /// The price has a fraction of a penny.
    PriceScale,
}

impl Reason {
    /// The reason as reports spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotASale => "not_a_sale",
            Self::QuantityNotPositive => "quantity_not_positive",
            Self::PriceNotPositive => "price_not_positive",
            Self::PriceScale => "price_scale",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Judges a line by its invoice number, quantity and price alone.
///
/// ```
/// use rust_decimal::Decimal;
/// use storefront::invoices::{Kind, Reason, classify};
///
/// assert_eq!(classify(b"536365", 6, Decimal::new(2500, 3)), Kind::Sale { price_minor: 250 });
/// assert_eq!(classify(b"536365", 6, Decimal::new(2505, 3)), Kind::Quarantined(Reason::PriceScale));
/// assert_eq!(classify(b"C536379", -1, Decimal::new(-5, 3)), Kind::Cancellation);
/// ```
#[must_use]
pub fn classify(invoice: &[u8], quantity: i64, price: Decimal) -> Kind {
    if is_cancellation(invoice) {
        return Kind::Cancellation;
    }
    if invoice.is_empty() || !invoice.iter().all(u8::is_ascii_digit) {
        return Kind::Quarantined(Reason::NotASale);
    }
    if quantity <= 0 {
        return Kind::Quarantined(Reason::QuantityNotPositive);
    }
    if price <= Decimal::ZERO {
        return Kind::Quarantined(Reason::PriceNotPositive);
    }
    match pence(price) {
        Some(price_minor) => Kind::Sale { price_minor },
        None => Kind::Quarantined(Reason::PriceScale),
    }
}

pub(super) fn is_cancellation(invoice: &[u8]) -> bool {
    invoice.starts_with(b"C")
}

/// The price in whole pence, if it is; trailing zeros are no fraction.
fn pence(price: Decimal) -> Option<i64> {
    let price = if price.scale() > 2 { price.normalize() } else { price };
    let factor = match price.scale() {
        0 => 100,
        1 => 10,
        2 => 1,
        _ => return None,
    };
    i64::try_from(price.mantissa().checked_mul(factor)?).ok()
}

//! The axes of an order: pure functions of its buckets and its payment.

use serde::{Deserialize, Serialize};

use super::{
    lifecycle::Lifecycle,
    record::{Line, Order},
};
use crate::{
    machine::Variants,
    payment::{Payment, PaymentState},
};

/// How far the money is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PaymentAxis {
    /// Nothing is held or taken, and nothing is under way.
    Unpaid,
    /// A gateway was asked, and the answer is not known.
    InFlight,
    /// The amount is held.
    Authorised,
    /// The amount was taken, or there was nothing to pay.
    Paid,
    /// Some of it went back.
    PartlyRefunded,
    /// All of it went back.
    Refunded,
    /// The hold was given back.
    Voided,
}

impl PaymentAxis {
    /// Reads the axis.
    #[must_use]
    pub fn of(order: &Order, payment: Option<&Payment>) -> Self {
        let Some(payment) = payment else {
            return if order.total.is_zero() { Self::Paid } else { Self::Unpaid };
        };
        match payment.state {
            PaymentState::Created | PaymentState::Cancelled => Self::Unpaid,
            PaymentState::Authorised => Self::Authorised,
            PaymentState::Voided => Self::Voided,
            PaymentState::Captured if payment.refunded.is_zero() => Self::Paid,
            PaymentState::Captured if payment.refunded == payment.captured => Self::Refunded,
            PaymentState::Captured => Self::PartlyRefunded,
            _ => Self::InFlight,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unpaid => "unpaid",
            Self::InFlight => "waiting for a payment",
            Self::Authorised => "authorised",
            Self::Paid => "paid",
            Self::PartlyRefunded => "partly refunded",
            Self::Refunded => "refunded",
            Self::Voided => "voided",
        }
    }
}

/// How far the goods are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FulfilmentAxis {
    /// Nothing has shipped.
    Unfulfilled,
    /// Some has shipped, and some has not.
    PartlyShipped,
    /// All that was not cancelled has shipped.
    Shipped,
    /// All that was not cancelled has arrived.
    Delivered,
}

impl FulfilmentAxis {
    /// Reads the axis.
    #[must_use]
    pub fn of(order: &Order) -> Self {
        let all = |test: fn(&Line) -> bool| order.lines.iter().all(test);
        if all(|line| line.shipped == 0) {
            Self::Unfulfilled
        } else if all(|line| line.open() == 0 && line.in_transit() == 0) {
            Self::Delivered
        } else if all(|line| line.open() == 0) {
            Self::Shipped
        } else {
            Self::PartlyShipped
        }
    }
}

/// How much came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AfterSaleAxis {
    /// Nothing.
    None,
    /// Some of what was delivered.
    PartlyReturned,
    /// All of what was delivered.
    Returned,
}

impl AfterSaleAxis {
    /// Reads the axis.
    #[must_use]
    pub fn of(order: &Order) -> Self {
        if order.lines.iter().all(|line| line.returned == 0) {
            Self::None
        } else if order.lines.iter().all(|line| line.kept() == 0) {
            Self::Returned
        } else {
            Self::PartlyReturned
        }
    }
}

/// One word for people, made of all axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DisplayStatus {
    /// To be paid.
    AwaitingPayment,
    /// Paid or authorised, to be shipped.
    Processing,
    /// On its way, all or in part.
    Shipped,
    /// Arrived.
    Delivered,
    /// Arrived, and some of it came back.
    Returned,
    /// Called off.
    Cancelled,
    /// Not paid in time.
    Expired,
}

/// All axes of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Axes {
    /// The money.
    pub payment: PaymentAxis,
    /// The goods.
    pub fulfilment: FulfilmentAxis,
    /// What came back.
    pub after_sale: AfterSaleAxis,
}

impl Axes {
    /// Reads all axes.
    #[must_use]
    pub fn of(order: &Order, payment: Option<&Payment>) -> Self {
        Self {
            payment: PaymentAxis::of(order, payment),
            fulfilment: FulfilmentAxis::of(order),
            after_sale: AfterSaleAxis::of(order),
        }
    }

    /// One word for people.
    #[must_use]
    pub const fn display(&self, lifecycle: Lifecycle) -> DisplayStatus {
        match (lifecycle, self.after_sale, self.fulfilment, self.payment) {
            (Lifecycle::Cancelled, ..) => DisplayStatus::Cancelled,
            (Lifecycle::Expired, ..) => DisplayStatus::Expired,
            (_, AfterSaleAxis::PartlyReturned | AfterSaleAxis::Returned, ..) => DisplayStatus::Returned,
            (_, _, FulfilmentAxis::Delivered, _) => DisplayStatus::Delivered,
            (_, _, FulfilmentAxis::Shipped | FulfilmentAxis::PartlyShipped, _) => DisplayStatus::Shipped,
            (_, _, _, PaymentAxis::Unpaid | PaymentAxis::InFlight | PaymentAxis::Voided) => {
                DisplayStatus::AwaitingPayment
            }
            _ => DisplayStatus::Processing,
        }
    }
}

impl Order {
    /// The lifecycle's name, for messages.
    #[must_use]
    pub fn lifecycle_name(&self) -> &'static str {
        self.lifecycle.name()
    }
}

//! Why an order could not be placed or moved on.

use txn_change::Timestamp;

use crate::{
    id::{OrderId, PaymentId},
    money::{Currency, Money},
};

/// Why an order could not be placed or moved on. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// There is no such order.
    #[error("there is no order {order}")]
    UnknownOrder {
        /// The order.
        order: OrderId,
    },
    /// Another order has this id.
    #[error("the order {order} exists already")]
    OrderExists {
        /// The order.
        order: OrderId,
    },
    /// An order needs lines.
    #[error("an order of {found} lines; 1 to {max} are allowed")]
    LineCount {
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A price below zero.
    #[error("line {line} has the price {price}; it must not be below zero")]
    InvalidPrice {
        /// The line.
        line: usize,
        /// Its price.
        price: Money,
    },
    /// Prices in another currency than the order's.
    #[error("line {line} is priced in {found}, the order in {expected}")]
    CurrencyMismatch {
        /// The line.
        line: usize,
        /// The order's currency.
        expected: Currency,
        /// The line's currency.
        found: Currency,
    },
    /// The total leaves the range of 128 bits.
    #[error("the order's total leaves the range of 128 bits")]
    Overflow,
    /// It would expire at once.
    #[error("the order would expire at {at}, which has passed")]
    ExpiresInThePast {
        /// When.
        at: Timestamp,
    },
    /// The order's time to pay has not run out.
    #[error("the order {order} is not due to expire")]
    NotDue {
        /// The order.
        order: OrderId,
    },
    /// The order has no such line.
    #[error("the order {order} has no line {line}; it has {lines}")]
    UnknownLine {
        /// The order.
        order: OrderId,
        /// The line, from 0.
        line: usize,
        /// How many it has.
        lines: usize,
    },
    /// A step without any unit.
    #[error("nothing of the order {order} is left to {event}")]
    NothingTo {
        /// The order.
        order: OrderId,
        /// What was asked.
        event: &'static str,
    },
    /// More units than the line has for this step.
    #[error("line {line} has {left} left to {event}, {asked} were asked for")]
    ExceedsLine {
        /// The line.
        line: usize,
        /// What was asked.
        event: &'static str,
        /// How many are left.
        left: u64,
        /// How many were asked for.
        asked: u64,
    },
    /// The payment given pays another order.
    #[error("the payment {payment} does not pay the order {order}")]
    ForeignPayment {
        /// The order.
        order: OrderId,
        /// The payment.
        payment: PaymentId,
    },
    /// The payment is not over what the order costs.
    #[error("the order {order} costs {expected}, its payment is over {found}")]
    AmountMismatch {
        /// The order.
        order: OrderId,
        /// The order's total.
        expected: Money,
        /// The payment's amount.
        found: Money,
    },
    /// More goods would be out than money was kept for: refunds done and on their way count.
    #[error("goods of the order {order} worth {goods} would be out, {kept} of its payment are kept")]
    NotCovered {
        /// The order.
        order: OrderId,
        /// What the goods are worth that would be out.
        goods: Money,
        /// What is kept of the payment.
        kept: Money,
    },
    /// What the order is does not allow it.
    #[error("the order {order} is {from}, which does not allow to {event} it")]
    IllegalTransition {
        /// The order.
        order: OrderId,
        /// What it is.
        from: &'static str,
        /// What was asked.
        event: &'static str,
    },
}

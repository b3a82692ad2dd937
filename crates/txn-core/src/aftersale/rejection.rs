//! Why goods could not be taken back.

use crate::{
    id::{OrderId, ReturnId},
    order, payment,
};

/// Why goods could not be taken back. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Another return has this id.
    #[error("the return {id} exists already")]
    ReturnExists {
        /// The return.
        id: ReturnId,
    },
    /// There is no such return.
    #[error("there is no return {id}")]
    UnknownReturn {
        /// The return.
        id: ReturnId,
    },
    /// The return has been received.
    #[error("the return {id} has been received already")]
    AlreadyReceived {
        /// The return.
        id: ReturnId,
    },
    /// Nothing was asked for or received.
    #[error("a return needs at least one unit")]
    Empty,
    /// More units than were delivered and not yet returned.
    #[error("line {line} has {left} delivered units that were not returned, {asked} were asked for")]
    ExceedsDelivered {
        /// The line.
        line: usize,
        /// How many can still come back.
        left: u64,
        /// How many were asked for.
        asked: u64,
    },
    /// The order's payment is not known, or another order's was given.
    #[error("the order {order} was paid, but its payment was not given")]
    PaymentMissing {
        /// The order.
        order: OrderId,
    },
    /// The order refused.
    #[error(transparent)]
    Order(#[from] order::Rejection),
    /// The payment refused.
    #[error(transparent)]
    Payment(#[from] payment::Rejection),
}

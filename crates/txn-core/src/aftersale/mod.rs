//! After-sale: goods come back, money follows, stock is restocked or set aside, in one change.
//!
//! A return is asked for and then received. What is received may differ from what was asked; money goes back for what is received, at the price that was paid for
//! it, never above what was delivered and not yet returned, and never above what was captured and not yet refunded.

mod rejection;
mod returns;

pub use rejection::Rejection;
pub use returns::{
    RETURN_KIND, Receipt, Received, ReceivedLine, RequestReturn, Return, ReturnState, by_order, receive_return,
    request_return, return_key,
};

//! Stock: guarded counters per item, holds over baskets, and movements with their cause.
//!
//! An item is a (sku, location). Its counter's lanes are `[on_hand, reserved, incoming, unavailable]`, with reserved and unavailable inside on_hand, and
//! its guard is `on_hand − reserved − unavailable ≥ 0`: no decision passes it, whatever runs at the same time. Demand for one item is summed over the
//! lines of a basket before it is judged, and a basket is held whole or not at all.

mod hold;
mod item;
mod movement;
mod rejection;

pub use hold::{
    Extend, Hold, HoldAnswer, HoldLine, HoldState, Reserve, by_order, cancel, commit, due_prefix, expire, extend,
    release, reserve, ship,
};
pub use item::{Demand, HOLD_KIND, Item, STOCK_KIND, Stock, hold_key, item_key, opening};
pub use movement::{Cause, Disposition, Moved, MovedLine, Receive, receive, stock_line, take_back};
pub use rejection::{Rejection, explain};

//! Orders: lines with buckets, a commercial lifecycle, and axes that are derived from quantities and balances.
//!
//! For every line `ordered = open + cancelled + shipped`, `delivered ≤ shipped` and `returned ≤ delivered`. Payment, fulfilment and after-sale are not states of
//! the order: they are read from the payment and the buckets, so that no combination of them can get stuck.

mod axes;
mod fulfil;
mod lifecycle;
mod place;
mod record;
mod rejection;

pub use axes::{AfterSaleAxis, Axes, DisplayStatus, FulfilmentAxis, PaymentAxis};
pub use fulfil::{
    LineQuantity, ProgressKind, Progressed, cancel, deliver, everything_open, everything_shipped, expire, goods, ship,
};
pub use lifecycle::{LIFECYCLE, Lifecycle, LifecycleEvent};
pub use place::{LINES_MAX, NewLine, PlaceOrder, Placed, basket, place};
pub use record::{Line, ORDER_KIND, Order, OrderAnswer, by_customer, order_key, put_returned};
pub use rejection::Rejection;

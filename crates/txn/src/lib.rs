//! An embeddable SDK for transaction domains: orders, payments, a ledger, inventory and after-sale, over a store of your choice.
//!
//! [`Txn`] is built once over a store and a payment gateway; [`Txn::tenant`] gives the services of one tenant. A call that carries a request's id decides on one snapshot,
//! commits one change, and gives its first answer when it is repeated. A payment's operations take two commits around the gateway; repeated, they go on where they
//! stopped, and are refused once the payment is past them.
//!
//! What happens after a commit: [`relay`] brings the log's events to a [`queue`], whose workers hand each message to an [`Inbox`], so that it has its effect once; [`process`] is for what goes on over many events, timeouts
//! and calls of others. Cron schedules stand in `schedules`, behind the feature `cron`.
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! use std::sync::Arc;
//! use txn::core::{inventory::{Demand, Item, Receive}, money::{Currency, Money}, order::{NewLine, PlaceOrder}, quantity::Quantity};
//! use txn::core::id::{CustomerId, HoldId, LocationId, MovementId, OrderId, PaymentId, Sku};
//! use txn::{InertGateway, Tenant, Txn, store::memory::Memory};
//!
//! # pollster::block_on(async {
//! let txn = Txn::builder(Arc::new(Memory::new()), Arc::new(InertGateway::default())).build();
//! let shop = txn.tenant(Tenant::new("shop")?);
//! shop.ledger().open_payment_accounts(Currency::USD).await?;
//! let tea = Item { sku: Sku::new("tea")?, location: LocationId::new("main")? };
//! let goods = vec![Demand { item: tea.clone(), quantity: Quantity::new(5)? }];
//! shop.inventory().receive(&Receive { id: MovementId::new("m-1")?, lines: goods }).await?;
//!
//! let order = OrderId::new("o-1")?;
//! let line = NewLine { sku: tea.sku.clone(), quantity: Quantity::new(2)?, price: Money::parse("3.50", Currency::USD)? };
//! shop.orders().place(&PlaceOrder {
//!     order: order.clone(), customer: Some(CustomerId::new("ann")?), currency: Currency::USD, location: tea.location.clone(),
//!     hold: HoldId::new("h-1")?, payment: PaymentId::new("p-1")?, expires_at: None, lines: vec![line],
//! }).await?;
//! shop.orders().reserve(&order, None).await?;
//! shop.payments().authorise(&PaymentId::new("p-1")?).await?;
//! shop.payments().capture(&PaymentId::new("p-1")?).await?;
//! assert_eq!(shop.inventory().stock(&tea).await?.available(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod audit;
mod decide;
mod failure;
mod gateway;
pub mod inbox;
mod inventory;
pub mod leases;
mod ledger;
mod orders;
mod payments;
pub mod process;
pub mod relay;
mod returns;
#[cfg(feature = "cron")]
pub mod schedules;
mod services;
mod sleep;
mod timers;
pub mod views;
#[cfg(feature = "webhooks")]
pub mod webhook;

/// The trunk: changes, keys, counters.
pub use txn_change as change;
/// The pure decisions and their types.
pub use txn_core as core;
/// Messages.
pub use txn_queue as queue;
/// Stores.
pub use txn_store as store;

pub use decide::Done;
pub use failure::{Failure, Rejection};
pub use gateway::{Gateway, GatewayCall, GatewayOperation, GatewayResult, InertGateway, Instruction};
pub use inbox::Inbox;
pub use inventory::Inventory;
pub use leases::Leases;
pub use ledger::{
    AccountBalance, AccountHistory, AsOf, Axis, BALANCES_MAX, Ledger, Line, RolledUp, Standing, Statement, StatementOf,
};
pub use orders::{Orders, Ship};
pub use payments::Payments;
pub use relay::Relay;
pub use returns::Returns;
pub use services::{Builder, Services, Txn};
pub use sleep::Sleep;
pub use timers::{Fired, Timers};
pub use txn_change::Tenant;

/// A new UUIDv7: ordered by time, and not to be guessed.
///
/// ```
/// use txn::core::id::OrderId;
/// let order = OrderId::from_uuid(txn::new_uuid())?;
/// # Ok::<(), txn::core::id::NotVersion7>(())
/// ```
#[must_use]
pub fn new_uuid() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

/// The README's example, compiled with the tests.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../../README.md")]
mod readme {}

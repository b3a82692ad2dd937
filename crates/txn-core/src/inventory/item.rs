//! Items and their counters.

use alloc::{format, sync::Arc};

use serde::{Deserialize, Serialize};
use txn_change::{Class, Counter, Guard, Key, Kind, Opening};

use crate::{
    decide::key,
    id::{HoldId, LocationId, Sku},
    quantity::Quantity,
};

/// The kind of stock counters.
pub const STOCK_KIND: Kind = Kind::reserved("stock");
/// The kind of hold records.
pub const HOLD_KIND: Kind = Kind::reserved("hold");

/// A sku at a location: what stock is counted for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The sku.
    pub sku: Sku,
    /// The location.
    pub location: LocationId,
}

/// Some of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    /// The item.
    pub item: Item,
    /// How much.
    pub quantity: Quantity,
}

/// The key of an item's counter.
#[must_use]
pub fn item_key(item: &Item) -> Key {
    key(STOCK_KIND, &[&item.sku, &item.location])
}

/// The key of a hold's record.
#[must_use]
pub fn hold_key(hold: &HoldId) -> Key {
    key(HOLD_KIND, &[hold])
}

/// How an item's counter begins: empty, with the guard that keeps it from being oversold.
#[must_use]
pub fn opening() -> Arc<Opening> {
    let class = Class { name: "stock".into(), signed: [false; 4], history: true, conserves: [None; 2] };
    let available = Guard { weights: [1, -1, 0, -1], min: 0 };
    Arc::new(Opening { class: Arc::new(class), unit: Arc::from("item"), guards: [Some(available), None] })
}

/// The lanes of an item's counter by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stock {
    /// Physically there.
    pub on_hand: i128,
    /// Of it, promised to holds.
    pub reserved: i128,
    /// On its way in.
    pub incoming: i128,
    /// Of what is there, not for sale: damaged, in quality control.
    pub unavailable: i128,
}

impl Stock {
    /// What a counter says; nothing of anything when there is none.
    #[must_use]
    pub fn of(counter: Option<&Counter>) -> Self {
        let [on_hand, reserved, incoming, unavailable] = counter.map_or([0; 4], |c| c.lanes.0);
        Self { on_hand, reserved, incoming, unavailable }
    }

    /// What can still be promised. Below zero after a forced recount: the item is short.
    #[must_use]
    pub const fn available(&self) -> i128 {
        self.on_hand.saturating_sub(self.reserved).saturating_sub(self.unavailable)
    }
}

impl core::fmt::Display for Item {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&format!("{}@{}", self.sku, self.location))
    }
}

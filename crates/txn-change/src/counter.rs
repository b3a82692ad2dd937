//! Guarded counters: the hot numbers (stock, balances, slots, limits), each in one row with everything a decision about it needs.

use alloc::{string::String, sync::Arc};
use core::fmt;

use serde::{Deserialize, Serialize};

/// Four amounts that belong together. A ledger account is `[debits_pending, debits_posted, credits_pending, credits_posted]`, a stock item
/// `[on_hand, reserved, incoming, unavailable]`. Sums are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lanes(pub [i128; 4]);

impl Lanes {
    /// All four zero.
    pub const ZERO: Self = Self([0; 4]);

    /// The sum lane by lane, or `None` on overflow.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        Some(Self([a.checked_add(e)?, b.checked_add(f)?, c.checked_add(g)?, d.checked_add(h)?]))
    }

    /// `Σ wᵢ·laneᵢ`, or `None` on overflow.
    #[must_use]
    pub fn weighted(self, weights: [i8; 4]) -> Option<i128> {
        let mut sum = 0i128;
        for (lane, weight) in self.0.into_iter().zip(weights) {
            sum = match weight {
                0 => sum,
                1 => sum.checked_add(lane)?,
                -1 => sum.checked_sub(lane)?,
                w => sum.checked_add(lane.checked_mul(i128::from(w))?)?,
            };
        }
        Some(sum)
    }
}

/// What must hold of a counter: `Σ wᵢ·laneᵢ ≥ min`. An addition is refused only when it makes a guard worse, so a release always passes.
///
/// ```
/// use txn_change::{Guard, Lanes};
/// // on_hand − reserved − unavailable ≥ 0
/// let available = Guard { weights: [1, -1, 0, -1], min: 0 };
/// assert_eq!(available.value(Lanes([10, 4, 0, 1])), Some(5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// The weight of each lane.
    pub weights: [i8; 4],
    /// The least value of the weighted sum.
    pub min: i128,
}

impl Guard {
    /// The weighted sum, or `None` on overflow.
    #[must_use]
    pub fn value(&self, lanes: Lanes) -> Option<i128> {
        lanes.weighted(self.weights)
    }
}

/// What kind of counter this is: how its lanes behave, and what it conserves. Every counter of one class name in a tenant has the same class.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The name, such as `ledger`.
    pub name: String,
    /// Which lanes may be negative.
    pub signed: [bool; 4],
    /// Whether every addition leaves an entry.
    pub history: bool,
    /// Per unit, `Σ wᵢ·deltaᵢ` over all counters of this class in a change is zero, for each of these weightings.
    pub conserves: [Option<[i8; 4]>; 2],
}

/// What a counter counts: a currency code, `item`, `slot`. Additions to counters of different units never mix in a conservation sum.
pub type Unit = Arc<str>;

/// Whether a counter takes additions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Takes additions.
    Open,
    /// Takes forced additions only, until it is opened again.
    Frozen,
    /// Takes none.
    Closed,
}

impl Status {
    /// The stored number of the status.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Frozen => 1,
            Self::Closed => 2,
        }
    }

    /// The status with that stored number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Open),
            1 => Some(Self::Frozen),
            2 => Some(Self::Closed),
            _ => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Frozen => "frozen",
            Self::Closed => "closed",
        })
    }
}

/// How a counter begins: what [`crate::Open`] states, and what an addition carries that opens its counter on first use.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Opening {
    /// The class.
    pub class: Arc<Class>,
    /// The unit.
    pub unit: Unit,
    /// Up to two guards.
    pub guards: [Option<Guard>; 2],
}

/// The whole row of a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// The class.
    pub class: Arc<Class>,
    /// The unit.
    pub unit: Unit,
    /// Up to two guards.
    pub guards: [Option<Guard>; 2],
    /// Whether it takes additions.
    pub status: Status,
    /// The four amounts.
    pub lanes: Lanes,
    /// Grows by one with every change that touches the counter.
    pub version: u64,
    /// Grows by one with every addition: the sequence of the latest entry where the class keeps history.
    pub sequence: u64,
}

impl Counter {
    /// A counter at its beginning: all lanes zero, version and sequence zero.
    #[must_use]
    pub fn opened(opening: &Opening) -> Self {
        Self {
            class: Arc::clone(&opening.class),
            unit: Arc::clone(&opening.unit),
            guards: opening.guards,
            status: Status::Open,
            lanes: Lanes::ZERO,
            version: 0,
            sequence: 0,
        }
    }
}

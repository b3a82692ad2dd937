//! What a backend can do beyond the contract, and what an application needs of it.

use std::time::Duration;

/// Claims of a backend. What a topology needs and the backend does not claim is an error when it is declared; the suite holds a backend to what it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// What was accepted outlives the process.
    pub durable: bool,
    /// How long a message may be delayed; `None` when it cannot be.
    pub delay_max: Option<Duration>,
    /// A delayed message can be moved and cancelled by its schedule key.
    pub cancel: bool,
    /// Messages have priorities.
    pub priority: bool,
    /// Messages of one key are delivered in order, and no more at a time than the group allows.
    pub key_order: bool,
    /// Repetitions are recognised for so long; `None` when they are not.
    pub dedupe_max: Option<Duration>,
    /// A group can begin at any message that is kept, and go back there.
    pub replay: bool,
    /// Messages can be published and settled in a transaction of the host's.
    pub host_transactions: bool,
}

/// Something that an application cannot do without, one for each of the [`Capabilities`]. What specs ask for is known from them; what messages and calls will ask for is said with
/// [`Topology::need`](crate::Topology::need), so that a backend which lacks it is found out when the application is put together, and not when a message is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// What was accepted outlives the process.
    Durable,
    /// Messages are delayed, so long at most.
    Delay(Duration),
    /// Delayed messages are moved or cancelled.
    Cancel,
    /// Messages have priorities.
    Priority,
    /// Messages of one key follow each other.
    KeyOrder,
    /// Repetitions are recognised, for so long.
    Dedupe(Duration),
    /// Groups go back.
    Replay,
    /// Messages are published or settled in a transaction of the host's.
    HostTransactions,
}

impl Capabilities {
    /// Whether a need is met.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// use txn_queue::{Need, memory::Memory};
    /// assert!(Memory::CAPABILITIES.meets(Need::Cancel));
    /// assert!(!Memory::CAPABILITIES.meets(Need::Durable));
    /// # }
    /// ```
    #[must_use]
    pub fn meets(&self, need: Need) -> bool {
        match need {
            Need::Durable => self.durable,
            Need::Delay(wait) => self.delay_max.is_some_and(|max| wait <= max),
            Need::Cancel => self.cancel,
            Need::Priority => self.priority,
            Need::KeyOrder => self.key_order,
            Need::Dedupe(window) => self.dedupe_max.is_some_and(|max| window <= max),
            Need::Replay => self.replay,
            Need::HostTransactions => self.host_transactions,
        }
    }
}

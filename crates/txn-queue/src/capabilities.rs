//! What a backend can do beyond the contract.

use std::time::Duration;

/// Claims of a backend. Each is tested by the suite; what a topology needs and the backend does not claim is an error when it is declared.
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

//! The commercial lifecycle of a retail order.

use serde::{Deserialize, Serialize};

use crate::{
    machine::{Definition, Machine},
    state_machine, variants,
};

variants! {
    /// Where an order is, commercially.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Lifecycle {
        /// Accepted and not ended.
        Placed,
        /// Everything that was not cancelled has been delivered.
        Completed,
        /// Called off before anything shipped.
        Cancelled,
        /// Not paid in time.
        Expired,
    }
}

variants! {
    /// What ends an order.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum LifecycleEvent {
        /// The last goods were delivered.
        Complete,
        /// It was called off.
        Cancel,
        /// Its time to pay ran out.
        Expire,
    }
}

/// The lifecycle's table.
pub static LIFECYCLE: Machine<Lifecycle, LifecycleEvent> = {
    use Lifecycle as S;
    use LifecycleEvent as E;
    state_machine!(
        Lifecycle,
        LifecycleEvent,
        Definition {
            initial: &[S::Placed],
            terminal: &[S::Completed, S::Cancelled, S::Expired],
            edges: &[
                (S::Placed, E::Complete, S::Completed),
                (S::Placed, E::Cancel, S::Cancelled),
                (S::Placed, E::Expire, S::Expired),
            ],
            reopening: &[],
        }
    )
};

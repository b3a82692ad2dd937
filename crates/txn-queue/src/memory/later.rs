//! What is left to do when the lock is free again: whoever waits is woken, and memory is given back.

use std::{sync::Arc, task::Waker};

use crate::message::Message;

#[derive(Default)]
pub(super) struct Later {
    pub(super) wake: Vec<Waker>,
    /// Messages that the queue has let go of. Whoever holds the last share of one pays for it.
    pub(super) drop: Vec<Arc<Message>>,
}

impl Later {
    pub(super) fn do_now(self) {
        self.wake.into_iter().for_each(Waker::wake);
    }
}

//! What a handler is given.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use txn_change::Timestamp;

use super::RetryPolicy;
use crate::{
    message::Message,
    queue::{Delivery, Group, Lease},
    topology::Death,
};

/// One delivery of a message, as a handler sees it. Cheap to clone.
///
/// ```
/// # use std::sync::Arc;
/// # use txn_queue::{worker::{Failure, Job}, *};
/// async fn handle(job: Job) -> Result<(), Failure> {
///     for page in 0..1_000 {
///         if job.is_lost() || job.is_draining() {
///             return Err(Failure::release());
///         }
///         // … one page of the work …
/// #       let _ = page;
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Job {
    group: Group,
    delivery: Arc<Delivery>,
    retry: Arc<Mutex<Option<RetryPolicy>>>,
    lost: watch::Receiver<bool>,
    draining: watch::Receiver<bool>,
}

impl Job {
    /// A delivery to a group that no worker watches over, for the test of a handler: it is never lost.
    #[must_use]
    pub fn new(group: Group, delivery: Delivery) -> Self {
        let never = || watch::channel(false).1;
        Self::watched(group, delivery, never(), never())
    }

    pub(super) fn watched(
        group: Group,
        delivery: Delivery,
        lost: watch::Receiver<bool>,
        draining: watch::Receiver<bool>,
    ) -> Self {
        Self { group, delivery: Arc::new(delivery), retry: Arc::default(), lost, draining }
    }

    pub(super) fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The group that it was delivered to.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &Arc<Message> {
        &self.delivery.message
    }

    /// How often it has been delivered to the group, this time included, whatever process it was delivered to.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.delivery.deliveries
    }

    /// Whether the group allows no more deliveries: a failure that is to be tried again makes the message a dead letter.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.delivery.is_last
    }

    /// What it died of, when the group reads dead letters.
    #[must_use]
    pub fn death(&self) -> Option<&Arc<Death>> {
        self.delivery.death.as_ref()
    }

    /// When it was accepted, by the backend's clock.
    #[must_use]
    pub fn accepted_at(&self) -> Timestamp {
        self.delivery.accepted_at
    }

    /// When the lease ended at first, by the backend's clock; the worker moves that on as long as the handler runs.
    #[must_use]
    pub fn leased_until(&self) -> Timestamp {
        self.delivery.leased_until
    }

    /// What settles it among those of its [group](Self::group), for a handler that does so itself and says [`Done::Settled`](super::Done::Settled).
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.delivery.lease
    }

    /// If this delivery fails from now on, in whatever way, it is tried again by this policy instead of its worker's. What was said last holds.
    pub fn retry_by(&self, policy: RetryPolicy) {
        *self.retry.lock().unwrap_or_else(PoisonError::into_inner) = Some(policy);
    }

    pub(super) fn retry(&self) -> Option<RetryPolicy> {
        *self.retry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the lease has ended, or may have: somebody else may have the message. What the handler says is then not settled, once the queue has said so too.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Ends when [`Self::is_lost`] becomes true; never when the handler ends before.
    pub async fn lost(&self) {
        told(self.lost.clone()).await;
    }

    /// Whether the worker has been told to stop. A handler that goes on has until the end of the drain.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Ends when [`Self::is_draining`] becomes true.
    pub async fn draining(&self) {
        told(self.draining.clone()).await;
    }
}

/// Ends when it is so; never when nobody can say so any more.
pub(super) async fn told(mut signal: watch::Receiver<bool>) {
    if signal.wait_for(|is_so| *is_so).await.is_err() {
        std::future::pending::<()>().await;
    }
}

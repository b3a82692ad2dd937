//! The demo's gateway: the inert one, but as one that stands elsewhere and does not forget when this process ends.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use txn::{Gateway, GatewayCall, GatewayResult, InertGateway, Instruction, core::id::PaymentId};

/// An inert gateway that remembers.
#[derive(Default)]
pub(super) struct DemoGateway {
    inert: InertGateway,
    calls: AtomicU64,
}

impl DemoGateway {
    /// Says what to do with the next operation of a payment.
    pub(super) fn instruct(&self, payment: &PaymentId, instruction: Instruction) {
        self.inert.instruct(payment.clone(), instruction);
    }

    /// How often it was called.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Gateway for DemoGateway {
    async fn execute(&self, call: &GatewayCall) -> GatewayResult {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inert.execute(call).await
    }

    /// A query follows a call, perhaps one of an earlier run that was killed. Under the same instruction and key the call has the same effect again, and none when it had
    /// its effect before: that is what a gateway elsewhere would still know.
    async fn query(&self, call: &GatewayCall) -> GatewayResult {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inert.execute(call).await;
        self.inert.query(call).await
    }
}

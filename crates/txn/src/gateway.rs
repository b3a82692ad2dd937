//! The port to a payment gateway, and an inert one that does as it is told.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use txn_change::Tenant;
use txn_core::{id::PaymentId, money::Money};

/// What a gateway is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GatewayOperation {
    /// Hold the amount.
    Authorise,
    /// Take it.
    Capture,
    /// Give the hold back.
    Void,
    /// Send money back.
    Refund,
}

/// A call to a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayCall {
    /// The tenant.
    pub tenant: Tenant,
    /// The payment.
    pub payment: PaymentId,
    /// What to do.
    pub operation: GatewayOperation,
    /// Over how much.
    pub amount: Money,
    /// The identity of the operation: the same for every repetition of it, another for every other operation.
    pub idempotency_key: String,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayResult {
    /// Done, over this amount.
    Done(Money),
    /// Declined.
    Declined,
    /// It certainly did not happen.
    NotExecuted,
    /// It may or may not have happened.
    Unknown,
}

/// A payment gateway. Contract: a call repeated under the same idempotency key is executed at most once and answered as the first was; whatever is not
/// certain is [`GatewayResult::Unknown`], never a failure.
#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// Executes an operation.
    async fn execute(&self, call: &GatewayCall) -> GatewayResult;

    /// Asks what became of an operation.
    async fn query(&self, call: &GatewayCall) -> GatewayResult;
}

/// What the inert gateway does with the next operations of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Instruction {
    /// Does them.
    #[default]
    Approve,
    /// Declines them.
    Decline,
    /// Does them, but the answer is lost; a query tells.
    TimeoutAfter,
    /// The request is lost; a query tells that nothing happened.
    TimeoutBefore,
}

/// A gateway that moves no money and does as it is told, for demos and tests. It counts what it executed.
///
/// ```
/// use txn::{InertGateway, Instruction};
/// use txn::core::id::PaymentId;
/// let gateway = InertGateway::default();
/// gateway.instruct(PaymentId::new("p-1")?, Instruction::Decline);
/// assert_eq!(gateway.executed(), 0);
/// # Ok::<(), txn::change::NameError>(())
/// ```
#[derive(Debug, Default)]
pub struct InertGateway(Mutex<Inert>);

#[derive(Debug, Default)]
struct Inert {
    instructions: HashMap<PaymentId, Instruction>,
    executed: HashMap<String, GatewayResult>,
}

impl InertGateway {
    fn state(&self) -> MutexGuard<'_, Inert> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what to do with the next operations of a payment. Without a word they are approved.
    pub fn instruct(&self, payment: PaymentId, instruction: Instruction) {
        self.state().instructions.insert(payment, instruction);
    }

    /// How many operations it has done, each counted once however often it was asked for.
    #[must_use]
    pub fn executed(&self) -> usize {
        self.state().executed.values().filter(|result| matches!(result, GatewayResult::Done(_))).count()
    }
}

#[async_trait]
impl Gateway for InertGateway {
    async fn execute(&self, call: &GatewayCall) -> GatewayResult {
        let mut state = self.state();
        if let Some(result) = state.executed.get(&call.idempotency_key) {
            return *result;
        }
        let (executed, answered) = match state.instructions.get(&call.payment).copied().unwrap_or_default() {
            Instruction::Approve => (Some(GatewayResult::Done(call.amount)), GatewayResult::Done(call.amount)),
            Instruction::Decline => (Some(GatewayResult::Declined), GatewayResult::Declined),
            Instruction::TimeoutAfter => (Some(GatewayResult::Done(call.amount)), GatewayResult::Unknown),
            Instruction::TimeoutBefore => (None, GatewayResult::Unknown),
        };
        if let Some(executed) = executed {
            state.executed.insert(call.idempotency_key.clone(), executed);
        }
        answered
    }

    async fn query(&self, call: &GatewayCall) -> GatewayResult {
        self.state().executed.get(&call.idempotency_key).copied().unwrap_or(GatewayResult::NotExecuted)
    }
}

//! The payments of one tenant.

use txn_change::{BodyError, Change, Key};
use txn_core::{
    Context, Versioned,
    id::{PaymentId, RefundId},
    ledger,
    money::Money,
    order::{self, Lifecycle, Order},
    payment::{self, Operation, OperationResult, Payment, PaymentState, Refund, RefundResult, RefundState},
};
use txn_store::{Ask, Snapshot};

use crate::{
    decide::{Done, Stop, versioned},
    failure::Failure,
    gateway::{GatewayCall, GatewayOperation, GatewayResult},
    ledger::explain,
    services::Services,
};

/// The payments of one tenant.
///
/// An operation is claimed in one commit, asked of the gateway outside of any, and its result is recorded with its posting in another. Each call may be repeated after a
/// crash at any point: the gateway is asked again under the same idempotency key, and what is recorded is recorded once.
#[derive(Debug, Clone, Copy)]
pub struct Payments<'a> {
    pub(crate) services: &'a Services,
}

/// Where a payment is between the claim of an operation and its result.
const fn claimed_state(operation: Operation) -> PaymentState {
    match operation {
        Operation::Capture => PaymentState::Capturing,
        Operation::Void => PaymentState::Voiding,
        _ => PaymentState::Authorising,
    }
}

/// No money is held or taken for an order that has been called off or has run out.
fn check_order(context: &Context, order: Option<&Versioned<Order>>, operation: Operation) -> Result<(), Stop> {
    let event = match operation {
        Operation::Authorise => "authorise a payment for",
        Operation::Capture => "capture a payment for",
        _ => return Ok(()),
    };
    match order.map(|order| &order.value) {
        Some(order) if matches!(order.lifecycle, Lifecycle::Cancelled | Lifecycle::Expired) => {
            let from = order.lifecycle_name();
            Err(order::Rejection::IllegalTransition { order: order.id.clone(), from, event }.into())
        }
        // Swept or not. What was authorised in time may still be captured.
        Some(order) if operation == Operation::Authorise && order.is_due(context.now) => {
            let from = "expired";
            Err(order::Rejection::IllegalTransition { order: order.id.clone(), from, event }.into())
        }
        _ => Ok(()),
    }
}

impl Payments<'_> {
    /// Reads a payment.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn get(&self, payment: &PaymentId) -> Result<Option<Payment>, Failure> {
        Ok(self.versioned(payment).await?.map(|payment| payment.value))
    }

    async fn versioned(&self, payment: &PaymentId) -> Result<Option<Versioned<Payment>>, Failure> {
        let record = self.services.decider.scope.record(payment::payment_key(payment)).await?;
        Ok(record.as_ref().map(Versioned::read).transpose()?)
    }

    async fn known(&self, payment: &PaymentId) -> Result<Versioned<Payment>, Failure> {
        let unknown = || payment::Rejection::UnknownPayment { payment: payment.clone() };
        self.versioned(payment).await?.ok_or_else(|| Failure::Rejected(unknown().into()))
    }

    /// Asks the gateway to hold the amount. The payment says what became of it: authorised, declined (and open for another attempt), or not known.
    ///
    /// # Errors
    /// [`crate::Rejection::Payment`] when the payment's state does not allow it, or the gateway answered over other money.
    pub async fn authorise(&self, payment: &PaymentId) -> Result<Payment, Failure> {
        self.operate(payment, Operation::Authorise).await
    }

    /// Asks the gateway to take the authorised amount.
    ///
    /// # Errors
    /// As [`Payments::authorise`].
    pub async fn capture(&self, payment: &PaymentId) -> Result<Payment, Failure> {
        self.operate(payment, Operation::Capture).await
    }

    /// Asks the gateway to give the hold back.
    ///
    /// # Errors
    /// As [`Payments::authorise`].
    pub async fn void(&self, payment: &PaymentId) -> Result<Payment, Failure> {
        self.operate(payment, Operation::Void).await
    }

    /// Ends a void that was claimed together with something else.
    pub(crate) async fn finish_void(&self, payment: &PaymentId) -> Result<(), Failure> {
        let known = self.known(payment).await?;
        if known.value.state == PaymentState::Voiding {
            self.execute(&known, Operation::Void).await?;
        }
        Ok(())
    }

    /// Finds out what became of an operation whose answer was lost, and records it. Does nothing to a payment that waits for no answer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn resolve(&self, payment: &PaymentId) -> Result<Payment, Failure> {
        use PaymentState as S;
        let known = self.known(payment).await?;
        let operation = match known.value.state {
            S::Authorising | S::AuthoriseUnknown => Operation::Authorise,
            S::Capturing | S::CaptureUnknown => Operation::Capture,
            S::Voiding | S::VoidUnknown => Operation::Void,
            _ => return Ok(known.value),
        };
        let waits = matches!(known.value.state, S::AuthoriseUnknown | S::CaptureUnknown | S::VoidUnknown);
        if !waits {
            // Claimed, and the process died or still runs: asking again under the same key is safe, concluding from a query is not.
            return self.execute(&known, operation).await;
        }
        match self.services.parts.gateway.query(&self.call(&known.value, operation)).await {
            GatewayResult::Unknown => Ok(known.value),
            result => self.conclude(&known, operation, result).await,
        }
    }

    async fn operate(&self, payment: &PaymentId, operation: Operation) -> Result<Payment, Failure> {
        let mut known = self.known(payment).await?;
        if known.value.state != claimed_state(operation) {
            self.claim(&known, operation).await?;
            known = self.known(payment).await?;
        }
        // Whoever claimed it, asking again under the same key is safe; and somebody may have recorded the answer already.
        if known.value.state == claimed_state(operation) {
            self.execute(&known, operation).await
        } else {
            Ok(known.value)
        }
    }

    /// The id of a step of a payment: each version of the record is left by one step only.
    fn step_key(payment: &Versioned<Payment>) -> String {
        format!("{}/{}", payment.value.id, payment.version)
    }

    async fn claim(&self, known: &Versioned<Payment>, operation: Operation) -> Result<(), Failure> {
        let id = &known.value.id;
        let decide = |context: &Context, snapshot: &Snapshot| {
            let current: Option<Versioned<Payment>> = versioned(snapshot, 0)?;
            let current = current.ok_or_else(|| payment::Rejection::UnknownPayment { payment: id.clone() })?;
            let order: Option<Versioned<Order>> = versioned(snapshot, 1)?;
            check_order(context, order.as_ref(), operation)?;
            Ok(payment::claim(context, &current, operation)?)
        };
        let order = order::order_key(&known.value.order);
        let fill = |ask: Ask| ask.record(payment::payment_key(id)).record(order.clone());
        let key = Self::step_key(known);
        let _: Done<Payment> =
            self.services.decider.run("payment.claim", &key, &operation, fill, decide, explain).await?;
        Ok(())
    }

    fn call(&self, payment: &Payment, operation: Operation) -> GatewayCall {
        let declines = payment.declines.of(operation);
        let (operation, name) = match operation {
            Operation::Capture => (GatewayOperation::Capture, "capture"),
            Operation::Void => (GatewayOperation::Void, "void"),
            _ => (GatewayOperation::Authorise, "authorise"),
        };
        let tenant = self.services.decider.scope.tenant().clone();
        let (id, amount) = (&payment.id, payment.amount);
        let idempotency_key = format!("{tenant}/{id}/{name}/{declines}/{amount}");
        GatewayCall { tenant, payment: id.clone(), operation, amount, idempotency_key }
    }

    async fn execute(&self, claimed: &Versioned<Payment>, operation: Operation) -> Result<Payment, Failure> {
        let result = self.services.parts.gateway.execute(&self.call(&claimed.value, operation)).await;
        self.conclude(claimed, operation, result).await
    }

    async fn conclude(
        &self,
        claimed: &Versioned<Payment>,
        operation: Operation,
        result: GatewayResult,
    ) -> Result<Payment, Failure> {
        let result = match result {
            GatewayResult::Done(amount) => OperationResult::Done(amount),
            GatewayResult::Declined => OperationResult::Declined,
            GatewayResult::NotExecuted => OperationResult::NotExecuted,
            GatewayResult::Unknown => OperationResult::Unknown,
        };
        let key = Self::step_key(claimed);
        match self.record_as("payment.result", &key, &claimed.value.id, operation, result).await {
            Ok(done) => self.stands(done, &claimed.value.id).await,
            // Another caller has recorded another result of this step. What was done was done: it is recorded behind it, or the call fails.
            Err(Failure::KeyReused { .. }) if matches!(result, OperationResult::Done(_)) => {
                let late = self.record_as("payment.late", &key, &claimed.value.id, operation, result).await?;
                self.stands(late, &claimed.value.id).await
            }
            // Somebody settled the step's id as not done; the gateway's answer is recorded all the same.
            Err(Failure::GivenUp { .. }) => {
                let late = self.record_as("payment.late", &key, &claimed.value.id, operation, result).await?;
                self.stands(late, &claimed.value.id).await
            }
            // Anything less certain gives way to what is recorded.
            Err(Failure::KeyReused { .. }) => Ok(self.known(&claimed.value.id).await?.value),
            Err(failure) => Err(failure),
        }
    }

    /// The answer of a step, or, when it was purged since, the payment as it stands.
    async fn stands(&self, done: Done<Payment>, payment: &PaymentId) -> Result<Payment, Failure> {
        match done.value() {
            Err(BodyError::Erased { .. }) => Ok(self.known(payment).await?.value),
            value => Ok(value?),
        }
    }

    /// Records the result of an operation that was carried out elsewhere: an import, or a terminal in a shop. `reference` is the gateway's own name for it.
    ///
    /// # Errors
    /// [`crate::Rejection::Payment`].
    pub async fn record(
        &self,
        payment: &PaymentId,
        operation: Operation,
        result: OperationResult,
        reference: &str,
    ) -> Result<Done<Payment>, Failure> {
        self.record_as("payment.record", &format!("{payment}/{reference}"), payment, operation, result).await
    }

    async fn record_as(
        &self,
        name: &'static str,
        key: &str,
        payment: &PaymentId,
        operation: Operation,
        result: OperationResult,
    ) -> Result<Done<Payment>, Failure> {
        let known = self.known(payment).await?;
        let hold = ledger::hold_key(&payment::ledger_hold_of(&known.value));
        let rules = &self.services.parts.rules;
        let decide = |context: &Context, snapshot: &Snapshot| {
            let current: Option<Versioned<Payment>> = versioned(snapshot, 0)?;
            let current = current.ok_or_else(|| payment::Rejection::UnknownPayment { payment: payment.clone() })?;
            let hold: Option<Versioned<ledger::Hold>> = versioned(snapshot, 1)?;
            // A hold read for an attempt that has passed is not this attempt's.
            let hold = hold.filter(|hold| hold.value.id == payment::ledger_hold_of(&current.value));
            Ok(payment::record(context, &current, hold.as_ref(), rules, operation, result)?)
        };
        let fill = |ask: Ask| ask.record(payment::payment_key(payment)).record(hold.clone());
        self.services.decider.run(name, key, &(payment, operation, result), fill, decide, explain).await
    }

    /// Reads a refund.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn get_refund(&self, refund: &RefundId) -> Result<Option<Refund>, Failure> {
        let record = self.services.decider.scope.record(payment::refund_key(refund)).await?;
        Ok(record.map(|record| record.body.read()).transpose()?)
    }

    /// Sends money back: holds the amount, asks the gateway, records the result. While the result is not known the refund stays pending; repeat the call to
    /// find out.
    ///
    /// # Errors
    /// [`crate::Rejection::Payment`]: `RefundExceedsCaptured` counts refunds on their way.
    pub async fn refund(&self, payment: &PaymentId, refund: &RefundId, amount: Money) -> Result<Refund, Failure> {
        let keys = [payment::payment_key(payment), payment::refund_key(refund)];
        let decide = |context: &Context, payment: &Versioned<Payment>, existing: Option<&Versioned<Refund>>| {
            Ok(payment::request_refund(context, payment, existing, refund, amount)?)
        };
        let key = format!("{payment}/{refund}");
        let requested: Done<Refund> =
            self.refund_step("refund.request", &key, &keys, payment, &(payment, refund, amount), decide).await?;
        let current = self.get_refund(refund).await?;
        let requested = current.map_or_else(|| requested.value(), Ok)?;
        if requested.state != RefundState::Pending {
            return Ok(requested);
        }
        let tenant = self.services.decider.scope.tenant().clone();
        let idempotency_key = format!("{tenant}/{payment}/refund/{refund}/{amount}");
        let operation = GatewayOperation::Refund;
        let call = GatewayCall { tenant, payment: payment.clone(), operation, amount, idempotency_key };
        let result = match self.services.parts.gateway.execute(&call).await {
            GatewayResult::Done(_) => RefundResult::Done,
            GatewayResult::Declined => RefundResult::Failed,
            // What did not happen now may still be under way for another caller: it stays pending, and is asked for again under the same key.
            GatewayResult::NotExecuted => return Ok(requested),
            GatewayResult::Unknown => match self.services.parts.gateway.query(&call).await {
                GatewayResult::Done(_) => RefundResult::Done,
                _ => return Ok(requested),
            },
        };
        let rules = &self.services.parts.rules;
        let decide = |context: &Context, payment: &Versioned<Payment>, existing: Option<&Versioned<Refund>>| {
            let unknown = || payment::Rejection::UnknownRefund { refund: refund.clone() };
            let existing = existing.ok_or_else(unknown)?;
            Ok(payment::settle_refund(context, payment, existing, rules, result)?)
        };
        let settled: Done<Refund> =
            self.refund_step("refund.settle", &key, &keys, payment, &(payment, refund, result), decide).await?;
        match settled.value() {
            Err(error @ BodyError::Erased { .. }) => self.get_refund(refund).await?.ok_or(error.into()),
            value => Ok(value?),
        }
    }

    async fn refund_step<C: serde::Serialize>(
        &self,
        operation: &'static str,
        key: &str,
        keys: &[Key; 2],
        payment: &PaymentId,
        command: &C,
        decide: impl Fn(&Context, &Versioned<Payment>, Option<&Versioned<Refund>>) -> Result<Change, Stop>,
    ) -> Result<Done<Refund>, Failure> {
        let decide = |context: &Context, snapshot: &Snapshot| {
            let current: Option<Versioned<Payment>> = versioned(snapshot, 0)?;
            let current = current.ok_or_else(|| payment::Rejection::UnknownPayment { payment: payment.clone() })?;
            decide(context, &current, versioned(snapshot, 1)?.as_ref())
        };
        let fill = |ask| keys.iter().cloned().fold(ask, Ask::record);
        self.services.decider.run(operation, key, command, fill, decide, explain).await
    }
}

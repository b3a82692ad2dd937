//! The returns of one tenant.

use txn_change::Key;
use txn_core::{
    Context, Versioned,
    aftersale::{self, Receipt, RequestReturn, Return},
    id::{OrderId, ReturnId},
    order::{self, Order},
    payment,
};
use txn_store::{Ask, Snapshot};

use crate::{
    decide::{Done, Stop, versioned},
    failure::Failure,
    ledger::explain,
    services::Services,
};

/// The returns of one tenant.
#[derive(Debug, Clone, Copy)]
pub struct Returns<'a> {
    pub(crate) services: &'a Services,
}

impl Returns<'_> {
    /// Reads a return.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn get(&self, id: &ReturnId) -> Result<Option<Return>, Failure> {
        let record = self.services.decider.scope.record(aftersale::return_key(id)).await?;
        Ok(record.map(|record| record.body.read()).transpose()?)
    }

    async fn known(&self, order: &OrderId) -> Result<Order, Failure> {
        let unknown = || Failure::Rejected(order::Rejection::UnknownOrder { order: order.clone() }.into());
        self.services.orders().get(order).await?.ok_or_else(unknown)
    }

    /// Records that goods are to come back. The return's id is the request's id.
    ///
    /// # Errors
    /// [`crate::Rejection::Return`].
    pub async fn request(&self, order: &OrderId, command: &RequestReturn) -> Result<Done<Return>, Failure> {
        let keys = [order::order_key(order), aftersale::return_key(&command.id)];
        let decide = |context: &Context, snapshot: &Snapshot| {
            let current: Option<Versioned<Order>> = versioned(snapshot, 0)?;
            let current = current.ok_or_else(|| order::Rejection::UnknownOrder { order: order.clone() })?;
            let existing: Option<Versioned<Return>> = versioned(snapshot, 1)?;
            Ok(aftersale::request_return(context, &current.value, existing.as_ref(), command)?)
        };
        let fill = |ask| keys.iter().cloned().fold(ask, Ask::record);
        self.services.decider.run("return.request", &command.id, &(order, command), fill, decide, explain).await
    }

    /// Takes goods back that were paid for: counts them, records the refund as done, posts it, and puts the goods away, in one commit.
    ///
    /// The money is taken as having gone back already; to have a gateway send it, use [`crate::Payments::refund`].
    ///
    /// # Errors
    /// [`crate::Rejection::Return`]: more than was delivered, more than was captured.
    pub async fn receive(&self, order: &OrderId, command: &Receipt) -> Result<Done<Return>, Failure> {
        let known = self.known(order).await?;
        let mut keys: Vec<Key> =
            vec![order::order_key(order), aftersale::return_key(&command.id), payment::refund_key(&command.refund)];
        keys.extend(known.payment.iter().map(payment::payment_key));
        let rules = &self.services.parts.rules;
        let decide = |context: &Context, snapshot: &Snapshot| {
            let current: Option<Versioned<Order>> = versioned(snapshot, 0)?;
            let current = current.ok_or_else(|| Stop::from(order::Rejection::UnknownOrder { order: order.clone() }))?;
            let existing: Option<Versioned<Return>> = versioned(snapshot, 1)?;
            let refund: Option<Versioned<payment::Refund>> = versioned(snapshot, 2)?;
            let payment: Option<Versioned<payment::Payment>> = versioned(snapshot, 3)?;
            let (existing, refund, payment) = (existing.as_ref(), refund.as_ref(), payment.as_ref());
            Ok(aftersale::receive_return(context, &current, payment, existing, refund, rules, command)?)
        };
        let fill = |ask| keys.iter().cloned().fold(ask, Ask::record);
        self.services.decider.run("return.receive", &command.id, &(order, command), fill, decide, explain).await
    }
}

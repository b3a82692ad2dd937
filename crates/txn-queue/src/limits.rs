//! Every size, count and wait of a queue has a finite default.

use std::{sync::Arc, time::Duration};

use crate::{
    admin::Redrive,
    cloudevents::is_taken,
    error::{Error, ErrorKind},
    message::{Attribute, Message},
    queue::{Action, Receive, Refusal, Settle},
};

/// The limits of one queue. Exceeding one is an error or a refusal that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages in one call of [`crate::Queue::publish`], and settlements in one of [`crate::Queue::settle`], at most.
    pub batch_max: usize,
    /// Messages that one call of [`crate::Queue::receive`] gives, at most.
    pub receive_max: usize,
    /// Bytes of data in a message, at most.
    pub data_max: usize,
    /// Bytes of everything else that a message says, at most, and of the reason of a settlement.
    pub attributes_max: usize,
    /// Extension attributes of a message, at most.
    pub extensions_max: usize,
    /// How long a lease may be, at most.
    pub lease_max: Duration,
    /// Topics, and bindings, of each at most so many.
    pub topology_max: usize,
    /// Topics that one message may come to, at most.
    pub copies_max: usize,
    /// Calls that wait for a durable backend, at most.
    pub calls_max: usize,
    /// Steps after which a durable backend saves a topic's state: whoever opens the topic reads that, and so many steps more, at most.
    pub steps_max: u64,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            batch_max: 4_096,
            receive_max: 4_096,
            data_max: 256 << 10,
            attributes_max: 8 << 10,
            extensions_max: 32,
            lease_max: Duration::from_secs(12 * 3_600),
            topology_max: 10_000,
            copies_max: 256,
            calls_max: 4_096,
            steps_max: 1_024,
        }
    }
}

impl QueueLimits {
    /// Checks how many stand in a batch.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming the number and the limit.
    pub fn check_batch(&self, found: usize) -> Result<(), Error> {
        let max = self.batch_max;
        if found > max {
            let context = format!("a batch of {found}; at most {max} are allowed");
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        Ok(())
    }

    /// Checks what a worker asks for.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming what was asked for and the limit.
    pub fn check_receive(&self, receive: &Receive) -> Result<(), Error> {
        let max = self.receive_max;
        if receive.max > max {
            let context = format!("{} messages at once; at most {max} are allowed", receive.max);
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        self.check_lease(receive.lease)
    }

    /// Checks how many dead letters are to be sent back.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming the number and the limit.
    pub fn check_redrive(&self, redrive: &Redrive) -> Result<(), Error> {
        let max = self.receive_max;
        if redrive.max > max {
            let context = format!("{} dead letters at once; at most {max} are allowed", redrive.max);
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        Ok(())
    }

    /// Checks settlements: how many, how long they extend, how long their reasons are.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming what was found and the limit.
    pub fn check_settle(&self, batch: &[Settle]) -> Result<(), Error> {
        self.check_batch(batch.len())?;
        for settle in batch {
            match &settle.action {
                Action::Extend { lease } => self.check_lease(*lease)?,
                Action::Retry { reason, .. } | Action::Dead { reason } if reason.len() > self.attributes_max => {
                    let context =
                        format!("a reason of {} bytes; at most {} are allowed", reason.len(), self.attributes_max);
                    return Err(Error::new(ErrorKind::Invalid, context));
                }
                Action::Retry { .. } | Action::Dead { .. } | Action::Ack | Action::Release => {}
            }
        }
        Ok(())
    }

    fn check_lease(&self, lease: Duration) -> Result<(), Error> {
        let max = self.lease_max;
        if lease.is_zero() || lease > max {
            let context = format!("a lease of {lease:?}; more than nothing and at most {max:?} is allowed");
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        Ok(())
    }

    /// Checks a message's sizes and names.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] and [`Refusal::Reserved`].
    #[inline]
    pub fn check(&self, message: &Message) -> Result<(), Refusal> {
        let too_large = |what, found, max| Err(Refusal::TooLarge { what, found, max });
        if message.data.len() > self.data_max {
            return too_large("bytes of data", message.data.len(), self.data_max);
        }
        if message.extensions.len() > self.extensions_max {
            return too_large("extension attributes", message.extensions.len(), self.extensions_max);
        }
        let found = length_of_attributes(message);
        if found > self.attributes_max {
            return too_large("bytes of attributes", found, self.attributes_max);
        }
        if message.extensions.is_empty() {
            return Ok(());
        }
        match message.extensions.keys().find(|name| is_taken(name)) {
            Some(name) => Err(Refusal::Reserved { name: name.clone() }),
            None => Ok(()),
        }
    }
}

#[inline]
fn length_of_attributes(message: &Message) -> usize {
    let length = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
    let found = length(&message.subject)
        .saturating_add(length(&message.content_type))
        .saturating_add(length(&message.schema))
        .saturating_add(length(&message.trace_state))
        .saturating_add(length(&message.correlation_id))
        .saturating_add(length(&message.causation_id));
    if message.extensions.is_empty() {
        return found;
    }
    let extensions = message.extensions.iter().map(|(name, value)| match value {
        Attribute::Text(text) => name.len().saturating_add(text.len()),
        Attribute::Integer(_) | Attribute::Boolean(_) => name.len().saturating_add(11),
    });
    extensions.fold(found, usize::saturating_add)
}

//! Why a service call did not do what was asked.

use txn_change::{BodyError, ChangeId, KeyError, NameError, Refusal};
use txn_core::{aftersale, inventory, ledger, order, payment};
use txn_store::Error;

/// Why the rules say no: a sentence of the area that refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// An order refused.
    #[error(transparent)]
    Order(#[from] order::Rejection),
    /// The stock refused.
    #[error(transparent)]
    Stock(#[from] inventory::Rejection),
    /// A payment refused.
    #[error(transparent)]
    Payment(#[from] payment::Rejection),
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] ledger::Rejection),
    /// A return was refused.
    #[error(transparent)]
    Return(#[from] aftersale::Rejection),
    /// A process refused.
    #[error(transparent)]
    Process(#[from] crate::process::Rejection),
    /// A schedule was refused.
    #[cfg(feature = "cron")]
    #[error(transparent)]
    Schedule(#[from] crate::schedules::CronError),
    /// Another caller is waiting for the gateway's answer on this payment.
    #[error("the payment {payment} is waiting for its gateway")]
    InProgress {
        /// The payment.
        payment: txn_core::id::PaymentId,
    },
}

/// Why a service call did not do what was asked. Except for [`Failure::Unknown`], the step that failed has changed nothing; earlier
/// steps of a call that has several (a payment's operations, a cancellation) stand, and repeating the call goes on from them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The rules say no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The id was used before with another command. The first answer is not given away.
    #[error("the id {id} was used before with another command")]
    KeyReused {
        /// The id.
        id: ChangeId,
    },
    /// The id was settled as not done, by [`txn_store::Scope::resolve`], before this call was committed. It never will be; ask again under another id.
    #[error("the id {id} was settled as not done")]
    GivenUp {
        /// The id.
        id: ChangeId,
    },
    /// Others kept changing what was read; the call may be repeated.
    #[error("the state changed under {attempts} attempts; try again")]
    Conflict {
        /// How often it was decided.
        attempts: u32,
    },
    /// Whether it was committed is not known. Repeating the call under the same id tells; [`txn_store::Scope::resolve`] tells without doing it.
    #[error("whether {id} was committed is not known; repeat the call")]
    Unknown {
        /// The id.
        id: ChangeId,
    },
    /// The store refused the change for a reason that the rules have no word for.
    #[error(transparent)]
    Refused(Refusal),
    /// The store failed; the step that failed was certainly not executed.
    #[error(transparent)]
    Store(#[from] Error),
    /// The queue failed; what was handed to it was certainly not executed.
    #[error(transparent)]
    Queue(#[from] txn_queue::Error),
    /// A set of leases, or a relay, was begun with another number of parts than is asked for now.
    #[error("{name} was begun with {stored} parts, and not with {asked}")]
    PartsDiffer {
        /// Of what.
        name: String,
        /// With how many it was begun.
        stored: u32,
        /// How many are asked for.
        asked: u32,
    },
    /// What is stored is not of a shape that this build reads.
    #[error(transparent)]
    Unreadable(#[from] BodyError),
    /// An id is too long or of other characters.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A key is too long.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Failure {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::Unknown { .. } => true,
            Self::Store(error) => error.is_retryable(),
            Self::Queue(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// The rejection, if it is one.
    #[must_use]
    pub const fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            _ => None,
        }
    }
}

#[cfg(feature = "cron")]
impl From<crate::schedules::CronError> for Failure {
    fn from(error: crate::schedules::CronError) -> Self {
        Self::Rejected(error.into())
    }
}

//! A double-entry ledger: accounts as guarded counters, transfers as facts, holds for money that is promised and not yet moved.
//!
//! An account's lanes are `[debits_pending, debits_posted, credits_pending, credits_posted]`. The class conserves pending and posted amounts
//! separately, per currency: no change that does not balance can be committed, whoever wrote it. Pending debits count against what is available; pending
//! credits cannot be spent.

mod account;
mod balance;
mod chain;
mod condition;
mod fact;
mod history;
mod hold;
mod hold_steps;
mod limits;
mod metadata;
mod period;
mod rejection;
mod reversal;
mod status;
mod template;
mod transfer;
mod up_to;

pub use account::{
    ACCOUNT_KIND, ACCOUNT_LEVELS_MAX, ACCOUNT_NAME_BYTES_MAX, Account, AccountType, DescribeAccount, LEDGER_KIND,
    NormalSide, OpenAccount, account_key, account_prefix, children_of, describe_account, open_absent, open_account,
    record_key,
};
pub use balance::Balance;
pub use chain::{CHAIN_MAX, Chained, transfer_chain};
pub use condition::{Condition, Is, Measure};
pub use fact::{
    TRANSFER_INDEX, TransferKind, Transferred, corrections_of, dated_transfers_of, reversals_of, transfer_fact,
    transfers_of,
};
pub use history::{AccountChange, AccountChanged, AccountState, REASON_BYTES_MAX, changes_of};
pub(crate) use hold::fitted;
pub use hold::{HOLD_KIND, Hold, HoldExtended, HoldState, due_prefix, hold_key};
pub use hold_steps::{
    Authorise, Capture, ExtendHold, Increment, Remainder, authorise, capture, expire, extend, increment, sweep, void,
};
pub use limits::{Limits, Overdraft, SetLimits, set_limits};
pub use metadata::{Metadata, MetadataError};
pub use period::{ClosePeriod, PERIOD_KIND, Period, PeriodClosed, check_period, close_period, period_key};
pub use rejection::{Rejection, explain};
pub use reversal::{Effective, Funds, REVERSAL_KIND, Reverse, Reversed, original_date, reversal_key, reverse};
pub use status::{SetStatus, set_status};
pub use template::{AccountTemplate, TemplateError};
pub use transfer::{Posting, Side, Transfer, transfer, transfer_by_itself, transfer_of};
pub use up_to::{TransferUpTo, transfer_up_to};

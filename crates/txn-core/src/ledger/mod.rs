//! A double-entry ledger: accounts as guarded counters, transfers as facts, holds for money that is promised and not yet moved.
//!
//! An account's lanes are `[debits_pending, debits_posted, credits_pending, credits_posted]`. The class conserves pending and posted amounts
//! separately, per currency: no change that does not balance can be committed, whoever wrote it. Pending debits count against what is available; pending
//! credits cannot be spent.

mod account;
mod hold;
mod rejection;
mod transfer;

pub use account::{
    ACCOUNT_KIND, Account, Balance, LEDGER_KIND, NormalSide, OpenAccount, account_key, account_prefix, open_account,
    record_key,
};
pub(crate) use hold::fitted;
pub use hold::{Capture, HOLD_KIND, Hold, HoldState, Remainder, authorise, capture, expire, hold_key, void};
pub use rejection::{Rejection, explain};
pub use transfer::{Posting, Side, TRANSFER_INDEX, Transfer, TransferKind, Transferred, transfer, transfers_of};

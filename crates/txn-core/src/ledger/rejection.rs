//! Why money could not be moved.

use alloc::string::String;

use txn_change::{Refusal, Status, Timestamp};

use super::{account::account_prefix, condition::LABEL, fact::TransferKind, hold::HoldState, limits::CEILING};
use crate::{
    id::{AccountId, LedgerHoldId, TransferId},
    money::{Currency, Money},
};

/// Why money could not be moved. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Zero or negative: an amount has no sign, the side says where it goes.
    #[error("{amount} is not an amount to move; it must be above zero")]
    InvalidAmount {
        /// The amount.
        amount: Money,
    },
    /// A transfer needs at least two postings.
    #[error("a transfer of {found} postings; at least 2 are needed")]
    TooFewPostings {
        /// How many there are.
        found: usize,
    },
    /// An account on both sides of one transfer.
    #[error("{account} is both debited and credited")]
    SameAccount {
        /// The account.
        account: AccountId,
    },
    /// Debits and credits differ in a currency.
    #[error("debits and credits differ by {difference}")]
    Unbalanced {
        /// Debits less credits.
        difference: Money,
    },
    /// Amounts of another currency than the hold or account.
    #[error("the amount is in {found}, {expected} was expected")]
    CurrencyMismatch {
        /// The currency expected.
        expected: Currency,
        /// The currency found.
        found: Currency,
    },
    /// A sum leaves the range of 128 bits.
    #[error("the amounts leave the range of 128 bits")]
    Overflow,
    /// The account exists.
    #[error("the account {account} in {currency} exists already")]
    AccountExists {
        /// The account.
        account: AccountId,
        /// The currency.
        currency: Currency,
    },
    /// There is no such account (in this tenant, in that currency).
    #[error("there is no account {account} in {currency}")]
    UnknownAccount {
        /// The account.
        account: String,
        /// The currency.
        currency: String,
    },
    /// The account exists with another type, side or parent than it was to be opened with.
    #[error("the account {account} in {currency} exists with another type, side or parent")]
    AccountDiffers {
        /// The account.
        account: AccountId,
        /// The currency.
        currency: Currency,
    },
    /// There is no such account to be the parent.
    #[error("there is no account {parent} in the currency of {account} to be its parent")]
    UnknownParent {
        /// The account.
        account: AccountId,
        /// The parent that it names.
        parent: AccountId,
    },
    /// The account would stand too deep.
    #[error("{account} would stand below {max} others; at most {max} stand above one another")]
    TooDeep {
        /// The account.
        account: AccountId,
        /// How many may stand above one another.
        max: u8,
    },
    /// More accounts than can be read at once.
    #[error("more than {max} accounts are asked for at once")]
    TooManyAccounts {
        /// The limit.
        max: usize,
    },
    /// A text is too long.
    #[error("{what} of {length} bytes; at most {max} are allowed")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A limit below zero.
    #[error("{limit} is no limit; it must not be below zero")]
    InvalidLimit {
        /// The limit.
        limit: Money,
    },
    /// The account has that status already.
    #[error("the account {account} is {status} already")]
    StatusUnchanged {
        /// The account.
        account: AccountId,
        /// Its status.
        status: Status,
    },
    /// A status that does not follow on the one that the account has.
    #[error("the account {account} is {from}, and cannot be made {to}")]
    StatusNotAllowed {
        /// The account.
        account: AccountId,
        /// Its status.
        from: Status,
        /// The status asked for.
        to: Status,
    },
    /// Something is pending on an account that was to be closed.
    #[error("{debits} of debits and {credits} of credits are pending on {account}")]
    HasPending {
        /// The account.
        account: AccountId,
        /// Debits that are promised.
        debits: Money,
        /// Credits that are promised.
        credits: Money,
    },
    /// An account that was to be closed has a balance.
    #[error("{account} has a balance of {balance}")]
    NotZero {
        /// The account.
        account: AccountId,
        /// The balance, on its own side.
        balance: Money,
    },
    /// What is available would pass the account's overdraft.
    #[error("{account} is short by {missing} minor units of {currency}")]
    InsufficientFunds {
        /// The account.
        account: String,
        /// The currency.
        currency: String,
        /// By how much.
        missing: i128,
    },
    /// The account would hold more than it may.
    #[error("{account} would come to hold {excess} minor units of {currency} too much")]
    BalanceMaxExceeded {
        /// The account.
        account: String,
        /// The currency.
        currency: String,
        /// By how much.
        excess: i128,
    },
    /// The account is frozen or closed.
    #[error("the account {account} is not open")]
    AccountNotOpen {
        /// The account.
        account: String,
    },
    /// Another transfer has this id.
    #[error("the transfer {transfer} exists already")]
    TransferExists {
        /// The transfer.
        transfer: TransferId,
    },
    /// Another hold has this id.
    #[error("the hold {hold} exists already")]
    HoldExists {
        /// The hold.
        hold: LedgerHoldId,
    },
    /// There is no such hold.
    #[error("there is no hold {hold}")]
    UnknownHold {
        /// The hold.
        hold: LedgerHoldId,
    },
    /// The hold ran out at this time.
    #[error("the hold {hold} expired at {at}")]
    HoldExpired {
        /// The hold.
        hold: LedgerHoldId,
        /// When.
        at: Timestamp,
    },
    /// The hold has not run out.
    #[error("the hold {hold} is not due")]
    NotDue {
        /// The hold.
        hold: LedgerHoldId,
    },
    /// The hold's state does not allow it.
    #[error("the hold {hold} is {state:?}, which does not allow to {event} it")]
    IllegalTransition {
        /// The hold.
        hold: LedgerHoldId,
        /// Its state.
        state: HoldState,
        /// What was asked.
        event: &'static str,
    },
    /// A hold is extended to a later time only.
    #[error("the hold {hold} cannot be extended to {asked}: it is not later than when it runs out, or it never does")]
    NotLater {
        /// The hold.
        hold: LedgerHoldId,
        /// When it runs out.
        at: Option<Timestamp>,
        /// The time asked for.
        asked: Timestamp,
    },
    /// More than can be captured of the hold, its tolerance included.
    #[error("of the hold {hold} {left} can be captured, {asked} was asked for")]
    ExceedsHold {
        /// The hold.
        hold: LedgerHoldId,
        /// What can be captured.
        left: Money,
        /// What was asked for.
        asked: Money,
    },
    /// A condition of a transfer does not hold.
    #[error("condition {condition} does not hold: the value of {account} in {currency} is {found}")]
    ConditionFailed {
        /// The account.
        account: String,
        /// The currency.
        currency: String,
        /// The number of the condition, from 0; in a chain, through all of its transfers.
        condition: usize,
        /// What was found: minor units, or a version.
        found: i128,
    },
    /// An id of those that holds and refunds give to their transfers.
    #[error("the transfer id {transfer} begins as those of holds and refunds do")]
    ReservedId {
        /// The id.
        transfer: TransferId,
    },
    /// A chain without a transfer.
    #[error("a chain of no transfers")]
    EmptyChain,
    /// A chain of too many transfers.
    #[error("a chain of {found} transfers; at most {max} are allowed")]
    ChainTooLong {
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// Neither account has room for a transfer of as much as possible.
    #[error("nothing can be moved from the debit of {debit} to the credit of {credit}")]
    NothingToMove {
        /// The account to debit.
        debit: AccountId,
        /// The account to credit.
        credit: AccountId,
    },
    /// There is no such transfer.
    #[error("there is no transfer {transfer}")]
    UnknownTransfer {
        /// The transfer.
        transfer: TransferId,
    },
    /// A reversal is not reversed; post what is right instead.
    #[error("{transfer} is a reversal itself")]
    IsReversal {
        /// The transfer.
        transfer: TransferId,
    },
    /// What has posted nothing cannot be reversed.
    #[error("the transfer {transfer} is {kind:?}: it has posted nothing")]
    NotPosted {
        /// The transfer.
        transfer: TransferId,
        /// What it did.
        kind: TransferKind,
    },
    /// All of it was reversed before.
    #[error("the transfer {transfer} was reversed before")]
    AlreadyReversed {
        /// The transfer.
        transfer: TransferId,
    },
    /// Only a transfer of two legs is reversed in parts.
    #[error("the transfer {transfer} has {found} legs; only one of 2 is reversed in parts")]
    NotTwoLegged {
        /// The transfer.
        transfer: TransferId,
        /// How many legs it has.
        found: usize,
    },
    /// More than is left to reverse.
    #[error("{left} of the transfer {transfer} is left to reverse, {asked} was asked for")]
    ExceedsTransfer {
        /// The transfer.
        transfer: TransferId,
        /// What is left.
        left: Money,
        /// What was asked for.
        asked: Money,
    },
    /// The period in which it would count is closed.
    #[error("what counts at {effective_at} lies in a closed period; it is closed until {until}")]
    PeriodClosed {
        /// The first instant that is open.
        until: Timestamp,
        /// When it would count.
        effective_at: Timestamp,
    },
    /// The period is not over.
    #[error("a period until {until} is not over at {now}")]
    PeriodNotOver {
        /// Its end.
        until: Timestamp,
        /// The store's time.
        now: Timestamp,
    },
}

/// Says in the words of a ledger why the evaluator refused a posting.
#[must_use]
pub fn explain(refusal: &Refusal) -> Option<Rejection> {
    match refusal {
        Refusal::GuardBroken { counter, guard, value, min, .. } => {
            let (account, currency) = account_prefix(counter)?;
            let missing = min.saturating_sub(*value);
            Some(match *guard {
                CEILING => Rejection::BalanceMaxExceeded { account, currency, excess: missing },
                _ => Rejection::InsufficientFunds { account, currency, missing },
            })
        }
        Refusal::CounterAbsent { counter, .. } => {
            let (account, currency) = account_prefix(counter)?;
            Some(Rejection::UnknownAccount { account, currency })
        }
        Refusal::CounterNotOpen { counter, .. } => {
            let (account, _) = account_prefix(counter)?;
            Some(Rejection::AccountNotOpen { account })
        }
        Refusal::ConditionFailed { counter, label, value } => {
            let (account, currency) = account_prefix(counter)?;
            let condition = label.index(LABEL)?;
            Some(Rejection::ConditionFailed { account, currency, condition, found: *value })
        }
        Refusal::Overflow { counter, .. } => account_prefix(counter).map(|_| Rejection::Overflow),
        Refusal::FactExists { id } => {
            let id = id.strip_prefix("transfer/")?;
            Some(Rejection::TransferExists { transfer: TransferId::new(id).ok()? })
        }
        _ => None,
    }
}

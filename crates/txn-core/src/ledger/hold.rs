//! Holds: the record of money that is promised and not yet moved. What happens to one stands in `hold_steps`.

use alloc::{format, string::String, vec, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{Change, Event, Fingerprint, Key, KeyBuilder, Kind, Term, Timestamp};

use super::{
    fact::{TransferKind, Transferred},
    rejection::Rejection,
    transfer::{Posting, Side},
};
use crate::{
    decide::{body, documents, key, term},
    id::{AccountId, LedgerHoldId, TransferId},
    money::{Currency, Money},
};

/// The kind of hold records.
pub const HOLD_KIND: Kind = Kind::reserved("ledger-hold");
const DUE_INDEX: Kind = Kind::reserved("ledger-hold-due");

/// Where a hold is in its life. `Captured`, `Voided` and `Expired` are its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HoldState {
    /// Some of it can still be captured.
    Pending,
    /// Captured, and nothing is left of it.
    Captured,
    /// Given back before anything, or after a part, was captured.
    Voided,
    /// Run out.
    Expired,
}

/// The record of a hold. While it is pending, `amount - captured` is pending on both of its accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The hold.
    pub id: LedgerHoldId,
    /// The account that will be debited.
    pub debit: AccountId,
    /// The account that will be credited.
    pub credit: AccountId,
    /// What was promised, with what it was increased by since.
    pub amount: Money,
    /// How much above the amount may be captured in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Money>,
    /// What was captured.
    pub captured: Money,
    /// Where it is in its life.
    pub state: HoldState,
    /// It holds until just before this instant; from it on, it has expired, swept or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How many transfers it has made; each has its own id.
    pub transfers: u32,
    /// How often it was extended.
    #[serde(default, skip_serializing_if = "is_never")]
    pub extensions: u32,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_never(count: &u32) -> bool {
    *count == 0
}

/// `ledger.hold.extended`: a hold runs out later. It moves no money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldExtended {
    /// The hold.
    pub hold: LedgerHoldId,
    /// When it would have run out.
    pub from: Timestamp,
    /// When it runs out from now on.
    pub expires_at: Timestamp,
}

documents! {
    Hold => "ledger.hold", 1;
    HoldExtended => "ledger.hold.extended", 1;
}

/// The key of a hold's record.
#[must_use]
pub fn hold_key(hold: &LedgerHoldId) -> Key {
    key(HOLD_KIND, &[hold])
}

/// What the index terms of the holds on an account that can run out begin with; they go on with the time of expiry.
///
/// # Errors
/// [`txn_change::KeyError::TooLong`] for texts that are no account and currency.
pub fn due_prefix(account: &str, currency: &str) -> Result<KeyBuilder, txn_change::KeyError> {
    Key::of(DUE_INDEX).text(account)?.text(currency)
}

impl Hold {
    /// What can still be captured of what is held.
    ///
    /// # Errors
    /// [`Rejection::Overflow`], for a damaged record only.
    pub fn left(&self) -> Result<Money, Rejection> {
        match self.state {
            HoldState::Pending => self.amount.try_sub(self.captured).map_err(|_| Rejection::Overflow),
            _ => Ok(Money::zero(self.amount.currency())),
        }
    }

    /// What can still be captured: what is left of what is held, and the tolerance.
    ///
    /// # Errors
    /// [`Rejection::Overflow`], for a damaged record only.
    pub fn capturable(&self) -> Result<Money, Rejection> {
        let left = self.left()?;
        match (self.state, self.tolerance) {
            (HoldState::Pending, Some(more)) => left.try_add(more).map_err(|_| Rejection::Overflow),
            _ => Ok(left),
        }
    }

    /// Whether it has run out, swept or not.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.state == HoldState::Pending && self.expires_at.is_some_and(|at| now >= at)
    }

    /// The index terms of the record: while it can run out, by both of its accounts and the time of expiry.
    #[must_use]
    pub fn terms(&self) -> Vec<Term> {
        let (HoldState::Pending, Some(at)) = (self.state, self.expires_at) else { return Vec::new() };
        let currency: Currency = self.amount.currency();
        [&self.debit, &self.credit].map(|account| term(DUE_INDEX, &[account, currency.code()], Some(at))).into()
    }

    pub(super) fn check_pending(&self, now: Timestamp, event: &'static str) -> Result<(), Rejection> {
        match (self.state, self.expires_at) {
            (HoldState::Pending, Some(at)) if self.is_due(now) => {
                Err(Rejection::HoldExpired { hold: self.id.clone(), at })
            }
            (HoldState::Pending, _) => Ok(()),
            (HoldState::Expired, Some(at)) => Err(Rejection::HoldExpired { hold: self.id.clone(), at }),
            (state, _) => Err(Rejection::IllegalTransition { hold: self.id.clone(), state, event }),
        }
    }

    /// What is done to a hold that runs out is committed before it does, or not at all.
    pub(super) fn in_time(&self, change: Change) -> Change {
        match self.expires_at {
            Some(at) => change.before(at),
            None => change,
        }
    }

    pub(super) fn postings(&self, amount: Money) -> Vec<Posting> {
        if amount.is_zero() {
            return Vec::new();
        }
        vec![
            Posting { account: self.debit.clone(), side: Side::Debit, amount },
            Posting { account: self.credit.clone(), side: Side::Credit, amount },
        ]
    }

    /// The id of the hold's transfer of that number, from 1.
    #[must_use]
    pub fn transfer_id(&self, number: u32) -> TransferId {
        let id = fitted(format!("hold:{}:{number}", self.id), TransferId::LENGTH_MAX);
        TransferId::new(id).expect("a word, an id and a number are allowed characters, and fitted")
    }

    /// The fact of the hold's next transfer.
    pub(super) fn transferred(&mut self, kind: TransferKind) -> Transferred {
        self.transfers = self.transfers.saturating_add(1);
        Transferred::new(self.transfer_id(self.transfers), kind, self.reference.clone())
    }
}

impl HoldExtended {
    pub(super) fn event(&self) -> Event {
        Event::new(body(self)).about(hold_key(&self.hold))
    }
}

/// A derived id of at most `max` bytes. A longer one ends in a digest of the whole, so that two ids never become one.
pub(crate) fn fitted(id: String, max: usize) -> String {
    if id.len() <= max {
        return id;
    }
    let mut digest = String::from("~");
    for byte in Fingerprint::of_bytes("id", id.as_bytes()).0.iter().take(16) {
        digest.push_str(&format!("{byte:02x}"));
    }
    let head = id.get(..max.saturating_sub(digest.len())).unwrap_or_default();
    format!("{head}{digest}")
}

//! Holds: money that is promised, and later captured, voided or run out.

use alloc::{format, string::String, vec, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{Change, Fingerprint, Key, Kind, Timestamp};

use super::{
    rejection::Rejection,
    transfer::{Posting, Side, TransferKind, Transferred, check, post},
};
use crate::{
    decide::{Context, Versioned, body, documents, key},
    id::{AccountId, LedgerHoldId, TransferId},
    money::Money,
};

/// The kind of hold records.
pub const HOLD_KIND: Kind = Kind::reserved("ledger-hold");

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

/// The record of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The hold.
    pub id: LedgerHoldId,
    /// The account that will be debited.
    pub debit: AccountId,
    /// The account that will be credited.
    pub credit: AccountId,
    /// What was promised.
    pub amount: Money,
    /// Of it, what was captured.
    pub captured: Money,
    /// Where it is in its life.
    pub state: HoldState,
    /// It holds until just before this instant; from it on, it has expired, swept or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How many transfers it has made; each has its own id.
    pub transfers: u32,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
}

documents! {
    Hold => "ledger.hold", 1;
}

/// The key of a hold's record.
#[must_use]
pub fn hold_key(hold: &LedgerHoldId) -> Key {
    key(HOLD_KIND, &[hold])
}

impl Hold {
    /// What can still be captured.
    ///
    /// # Errors
    /// [`Rejection::Overflow`], for a damaged record only.
    pub fn left(&self) -> Result<Money, Rejection> {
        match self.state {
            HoldState::Pending => self.amount.try_sub(self.captured).map_err(|_| Rejection::Overflow),
            _ => Ok(Money::zero(self.amount.currency())),
        }
    }

    /// Whether it has run out, swept or not.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.state == HoldState::Pending && self.expires_at.is_some_and(|at| now >= at)
    }

    fn check_pending(&self, now: Timestamp, event: &'static str) -> Result<(), Rejection> {
        match (self.state, self.expires_at) {
            (HoldState::Pending, Some(at)) if self.is_due(now) => {
                Err(Rejection::HoldExpired { hold: self.id.clone(), at })
            }
            (HoldState::Pending, _) => Ok(()),
            (HoldState::Expired, Some(at)) => Err(Rejection::HoldExpired { hold: self.id.clone(), at }),
            (state, _) => Err(Rejection::IllegalTransition { hold: self.id.clone(), state, event }),
        }
    }

    fn postings(&self, amount: Money) -> Vec<Posting> {
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
    fn transferred(&mut self, kind: TransferKind) -> Transferred {
        self.transfers = self.transfers.saturating_add(1);
        Transferred::new(self.transfer_id(self.transfers), kind, self.reference.clone())
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

/// Promises an amount from one account to another, until `expires_at`. Pending debits count against what is available.
///
/// # Errors
/// [`Rejection::HoldExists`], [`Rejection::InvalidAmount`], [`Rejection::SameAccount`], [`Rejection::HoldExpired`] when it would have expired already.
pub fn authorise(context: &Context, existing: Option<&Versioned<Hold>>, hold: &Hold) -> Result<Change, Rejection> {
    if existing.is_some() {
        return Err(Rejection::HoldExists { hold: hold.id.clone() });
    }
    let mut hold =
        Hold { captured: Money::zero(hold.amount.currency()), state: HoldState::Pending, transfers: 0, ..hold.clone() };
    if hold.amount.is_zero() {
        return Err(Rejection::InvalidAmount { amount: hold.amount });
    }
    check(&hold.postings(hold.amount))?;
    hold.check_pending(context.now, "authorise")?;
    let mut record = hold.transferred(TransferKind::Held);
    record.pended = hold.postings(hold.amount);
    let change = context.change().insert(hold_key(&hold.id), body(&hold), vec![]);
    Ok(post(context, change, &record).answer(body(&hold)))
}

/// What becomes of the part of a hold that a capture leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remainder {
    /// It stays promised, for a later capture.
    Keep,
    /// It is given back: this capture was the last.
    Release,
}

/// Take what was promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// The hold.
    pub hold: LedgerHoldId,
    /// How much, above zero and at most what is left.
    pub amount: Money,
    /// What becomes of the rest.
    pub remainder: Remainder,
}

/// Moves an amount from pending to posted, and, with [`Remainder::Release`], exactly the rest back.
///
/// # Errors
/// [`Rejection::UnknownHold`] when the command names another hold, [`Rejection::HoldExpired`] from the instant of expiry on,
/// [`Rejection::IllegalTransition`], [`Rejection::CurrencyMismatch`], [`Rejection::InvalidAmount`], [`Rejection::ExceedsHold`].
pub fn capture(context: &Context, hold: &Versioned<Hold>, command: &Capture) -> Result<Change, Rejection> {
    if command.hold != hold.value.id {
        return Err(Rejection::UnknownHold { hold: command.hold.clone() });
    }
    hold.value.check_pending(context.now, "capture")?;
    let amount = command.amount;
    let (expected, found) = (hold.value.amount.currency(), amount.currency());
    if expected != found {
        return Err(Rejection::CurrencyMismatch { expected, found });
    }
    if !amount.is_positive() {
        return Err(Rejection::InvalidAmount { amount });
    }
    let left = hold.value.left()?;
    let rest = left.try_sub(amount).map_err(|_| Rejection::Overflow)?;
    if rest.is_negative() {
        return Err(Rejection::ExceedsHold { hold: hold.value.id.clone(), left, asked: amount });
    }
    let mut after = hold.value.clone();
    after.captured = after.captured.try_add(amount).map_err(|_| Rejection::Overflow)?;
    let unpended = match command.remainder {
        Remainder::Keep => amount,
        Remainder::Release => left,
    };
    if rest.is_zero() || command.remainder == Remainder::Release {
        after.state = HoldState::Captured;
    }
    let mut record = after.transferred(TransferKind::Captured);
    record.posted = after.postings(amount);
    record.unpended = after.postings(unpended);
    let change = context.change().put(hold_key(&after.id), hold.expect(), body(&after), vec![]);
    Ok(post(context, change, &record).answer(body(&after)))
}

fn give_back(
    context: &Context,
    hold: &Versioned<Hold>,
    state: HoldState,
    kind: TransferKind,
) -> Result<Change, Rejection> {
    let left = hold.value.left()?;
    let mut after = Hold { state, ..hold.value.clone() };
    let mut record = after.transferred(kind);
    record.unpended = after.postings(left);
    let change = context.change().put(hold_key(&after.id), hold.expect(), body(&after), vec![]);
    Ok(post(context, change, &record).answer(body(&after)))
}

/// Gives back all that is left.
///
/// # Errors
/// [`Rejection::HoldExpired`], [`Rejection::IllegalTransition`] when it was captured or voided.
pub fn void(context: &Context, hold: &Versioned<Hold>) -> Result<Change, Rejection> {
    hold.value.check_pending(context.now, "void")?;
    give_back(context, hold, HoldState::Voided, TransferKind::Voided)
}

/// Marks a hold that has run out and gives back all that is left. A second sweep changes nothing.
///
/// # Errors
/// [`Rejection::NotDue`] while it holds.
pub fn expire(context: &Context, hold: &Versioned<Hold>) -> Result<Change, Rejection> {
    if hold.value.is_due(context.now) {
        return give_back(context, hold, HoldState::Expired, TransferKind::Expired);
    }
    if hold.value.state == HoldState::Pending {
        return Err(Rejection::NotDue { hold: hold.value.id.clone() });
    }
    Ok(context.change().answer(body(&hold.value)))
}

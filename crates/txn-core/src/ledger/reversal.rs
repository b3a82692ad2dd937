//! Reversals: a transfer undone by one with the opposite legs, once in all.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use txn_change::{Change, Expect, Key, Kind, Timestamp};

use super::{
    fact::{TransferKind, Transferred},
    rejection::Rejection,
    transfer::{How, Posting, Side, check_id, post_body},
};
use crate::{
    decide::{Context, Versioned, body, documents, key},
    id::TransferId,
    money::Money,
};

/// The kind of the records that count what was reversed of a transfer.
pub const REVERSAL_KIND: Kind = Kind::reserved("ledger-reversal");

/// When a reversal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effective {
    /// When it is committed, or when its services say.
    #[default]
    Now,
    /// When the transfer did that it reverses: balances as of then change as well. Refused when that lies in a closed period.
    Original,
}

/// Whether a reversal may pass limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Funds {
    /// It is refused when the money is gone, or an account frozen.
    #[default]
    Required,
    /// It passes, and its entries are marked as short where a limit is passed. A closed account refuses it all the same.
    Forced,
}

/// Undo a posted transfer.
///
/// ```
/// use txn_core::{id::TransferId, ledger::{Effective, Funds, Reverse}};
/// let undo = Reverse::new(TransferId::new("undo-7")?, TransferId::new("fee-7")?);
/// assert_eq!((undo.amount, undo.effective, undo.funds), (None, Effective::Now, Funds::Required));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reverse {
    /// The id of the reversal, which is a transfer itself.
    pub id: TransferId,
    /// The transfer to reverse.
    pub transfer: TransferId,
    /// How much of a transfer of two legs; `None` for all that is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// When it counts.
    pub effective: Effective,
    /// Whether the money must be there.
    pub funds: Funds,
}

impl Reverse {
    /// All that is left of a transfer, now, if the money is there.
    #[must_use]
    pub const fn new(id: TransferId, transfer: TransferId) -> Self {
        Self { id, transfer, amount: None, effective: Effective::Now, funds: Funds::Required }
    }

    /// A part of a transfer of two legs.
    #[must_use]
    pub const fn part(mut self, amount: Money) -> Self {
        self.amount = Some(amount);
        self
    }

    /// Counting when the transfer did.
    #[must_use]
    pub const fn at_its_date(mut self) -> Self {
        self.effective = Effective::Original;
        self
    }

    /// Whether the money is there or not.
    #[must_use]
    pub const fn forced(mut self) -> Self {
        self.funds = Funds::Forced;
        self
    }
}

/// What was reversed of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reversed {
    /// The transfer.
    pub transfer: TransferId,
    /// How much it moved; none is said for a transfer of more than two legs, which is reversed in full or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Money>,
    /// How much of that was reversed so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// By how many reversals.
    pub count: u32,
}

documents! {
    Reversed => "ledger.reversed", 1;
}

/// The key of the record of what was reversed of a transfer.
#[must_use]
pub fn reversal_key(transfer: &TransferId) -> Key {
    key(REVERSAL_KIND, &[transfer])
}

/// Reverses a transfer, or a part of one, by a transfer of the opposite legs that is linked to it.
///
/// `recorded_at` is when the transfer was. A reversal at the date of its transfer counts then, whatever the context says.
///
/// # Errors
/// [`Rejection::NotPosted`], [`Rejection::IsReversal`], [`Rejection::AlreadyReversed`], [`Rejection::NotTwoLegged`], [`Rejection::ExceedsTransfer`], [`Rejection::InvalidAmount`], [`Rejection::CurrencyMismatch`].
pub fn reverse(
    context: &Context,
    (original, recorded_at): (&Transferred, Timestamp),
    reversed: Option<&Versioned<Reversed>>,
    command: &Reverse,
) -> Result<Change, Rejection> {
    let transfer = &original.id;
    check_id(&command.id)?;
    if original.reverses.is_some() {
        return Err(Rejection::IsReversal { transfer: transfer.clone() });
    }
    if original.posted.is_empty() {
        return Err(Rejection::NotPosted { transfer: transfer.clone(), kind: original.kind });
    }
    let before = reversed.and_then(|reversed| reversed.value.amount);
    let (postings, whole, so_far) = match (&original.posted[..], command.amount) {
        ([first, second], asked) => {
            let amount = part(transfer, first.amount, before, asked)?;
            let sum = before.map_or(Ok(amount), |before| before.try_add(amount)).map_err(|_| Rejection::Overflow)?;
            ([first, second].map(|posting| opposite(posting, amount)).to_vec(), Some(first.amount), Some(sum))
        }
        (_, None) if reversed.is_some() => return Err(Rejection::AlreadyReversed { transfer: transfer.clone() }),
        (postings, None) => (postings.iter().map(|posting| opposite(posting, posting.amount)).collect(), None, None),
        (postings, Some(_)) => {
            return Err(Rejection::NotTwoLegged { transfer: transfer.clone(), found: postings.len() });
        }
    };
    let effective_at = match command.effective {
        Effective::Now => context.effective_at,
        Effective::Original => Some(original_date(original, recorded_at)),
    };
    let count = reversed.map_or(0, |reversed| reversed.value.count).saturating_add(1);
    let after = Reversed { transfer: transfer.clone(), whole, amount: so_far, count };
    let change = context.change().put(
        reversal_key(transfer),
        reversed.map_or(Expect::Absent, Versioned::expect),
        body(&after),
        Vec::new(),
    );
    let record = Transferred {
        effective_at,
        reverses: Some(transfer.clone()),
        posted: postings,
        ..Transferred::new(command.id.clone(), TransferKind::Posted, original.reference.clone())
    };
    let how = match command.funds {
        Funds::Required => How::Guarded,
        Funds::Forced => How::Forced,
    };
    let body = body(&record);
    Ok(post_body(change, &record, body.clone(), how).answer(body))
}

/// When a transfer counts.
#[must_use]
pub fn original_date(original: &Transferred, recorded_at: Timestamp) -> Timestamp {
    original.effective_at.unwrap_or(recorded_at)
}

/// How much is to be reversed now.
fn part(transfer: &TransferId, whole: Money, before: Option<Money>, asked: Option<Money>) -> Result<Money, Rejection> {
    let left = before.map_or(Ok(whole), |before| whole.try_sub(before)).map_err(|_| Rejection::Overflow)?;
    if !left.is_positive() {
        return Err(Rejection::AlreadyReversed { transfer: transfer.clone() });
    }
    let Some(asked) = asked else { return Ok(left) };
    let (expected, found) = (whole.currency(), asked.currency());
    if expected != found {
        return Err(Rejection::CurrencyMismatch { expected, found });
    }
    if !asked.is_positive() {
        return Err(Rejection::InvalidAmount { amount: asked });
    }
    if asked.minor() > left.minor() {
        return Err(Rejection::ExceedsTransfer { transfer: transfer.clone(), left, asked });
    }
    Ok(asked)
}

fn opposite(posting: &Posting, amount: Money) -> Posting {
    let side = match posting.side {
        Side::Debit => Side::Credit,
        Side::Credit => Side::Debit,
    };
    Posting { account: posting.account.clone(), side, amount }
}

//! Transfers: two or more postings that balance, as a fact.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{Add, Change, Event, FactId, Key, KeyBuilder, Kind, Label, Lanes};

use super::{account::account_key, rejection::Rejection};
use crate::{
    decide::{Context, body, documents, key},
    id::{AccountId, TransferId},
    money::{Currency, Money},
};

/// A side of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The left side.
    Debit,
    /// The right side.
    Credit,
}

/// One leg of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posting {
    /// The account.
    pub account: AccountId,
    /// Its side.
    pub side: Side,
    /// How much, above zero.
    pub amount: Money,
}

/// Move money.
///
/// ```
/// use txn_core::{id::{AccountId, TransferId}, ledger::Transfer, money::{Currency, Money}};
/// let fee = Transfer::simple(
///     TransferId::new("fee-7")?,
///     AccountId::new("expenses:fees")?,
///     AccountId::new("assets:gateway")?,
///     Money::parse("0.30", Currency::USD)?,
/// );
/// assert_eq!(fee.postings.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The transfer's id.
    pub id: TransferId,
    /// Its legs.
    pub postings: Vec<Posting>,
    /// What it is about, such as a payment: transfers are found by it.
    pub reference: String,
}

impl Transfer {
    /// One debit and one credit of the same amount.
    #[must_use]
    pub fn simple(id: TransferId, debit: AccountId, credit: AccountId, amount: Money) -> Self {
        let posting = |account, side| Posting { account, side, amount };
        let postings = Vec::from([posting(debit, Side::Debit), posting(credit, Side::Credit)]);
        Self { id, postings, reference: String::new() }
    }

    /// Says what it is about.
    #[must_use]
    pub fn about(mut self, reference: impl Into<String>) -> Self {
        self.reference = reference.into();
        self
    }
}

/// What a transfer did to the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TransferKind {
    /// Posted at once.
    Posted,
    /// Promised: pending on both sides.
    Held,
    /// From pending to posted, with what became of the remainder.
    Captured,
    /// Pending given back.
    Voided,
    /// Pending run out.
    Expired,
}

/// `ledger.transferred`: a transfer as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transferred {
    /// The transfer.
    pub id: TransferId,
    /// What it did.
    pub kind: TransferKind,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// Amounts that became posted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub posted: Vec<Posting>,
    /// Amounts that became pending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pended: Vec<Posting>,
    /// Amounts that ceased to be pending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpended: Vec<Posting>,
}

documents! {
    Transferred => "ledger.transferred", 1;
}

const REFERENCE_INDEX: Kind = Kind::reserved("transfer-reference");
/// The index of every transfer, by id.
pub const TRANSFER_INDEX: Kind = Kind::reserved("transfer");

/// What the index terms of the transfers about something begin with.
///
/// # Errors
/// [`txn_change::KeyError::TooLong`] for a reference of more than some 500 bytes.
pub fn transfers_of(reference: &str) -> Result<KeyBuilder, txn_change::KeyError> {
    Key::of(REFERENCE_INDEX).text(reference)
}

/// The fact id of a transfer.
#[must_use]
pub(super) fn fact_id(transfer: &TransferId) -> FactId {
    FactId::new(format!("transfer/{transfer}")).expect("an id has at most 100 graphic bytes")
}

/// Posts a transfer.
///
/// # Errors
/// [`Rejection::InvalidAmount`], [`Rejection::TooFewPostings`], [`Rejection::SameAccount`], [`Rejection::Unbalanced`], [`Rejection::Overflow`]. What only the balances
/// can tell is judged when the change is committed; [`super::explain`] puts it in words.
pub fn transfer(context: &Context, command: &Transfer) -> Result<Change, Rejection> {
    check(&command.postings)?;
    let record = Transferred {
        id: command.id.clone(),
        kind: TransferKind::Posted,
        reference: command.reference.clone(),
        posted: command.postings.clone(),
        pended: Vec::new(),
        unpended: Vec::new(),
    };
    Ok(post(context, context.change(), &record).answer(body(&record)))
}

/// Whether postings are sound: at least two, each above zero, no account on both sides, balanced in every currency.
pub(super) fn check(postings: &[Posting]) -> Result<(), Rejection> {
    if postings.len() < 2 {
        return Err(Rejection::TooFewPostings { found: postings.len() });
    }
    let mut sums: BTreeMap<&str, (Currency, i128)> = BTreeMap::new();
    let mut sides: BTreeMap<(&AccountId, &str), (Side, i128)> = BTreeMap::new();
    for posting in postings {
        if !posting.amount.is_positive() {
            return Err(Rejection::InvalidAmount { amount: posting.amount });
        }
        let currency = posting.amount.currency();
        let minor = posting.amount.minor();
        let (side, moved) = sides.entry((&posting.account, currency.code())).or_insert((posting.side, 0));
        if *side != posting.side {
            return Err(Rejection::SameAccount { account: posting.account.clone() });
        }
        *moved = moved.checked_add(minor).ok_or(Rejection::Overflow)?;
        let (_, sum) = sums.entry(currency.code()).or_insert((currency, 0));
        *sum = match posting.side {
            Side::Debit => sum.checked_add(minor),
            Side::Credit => sum.checked_sub(minor),
        }
        .ok_or(Rejection::Overflow)?;
    }
    match sums.into_values().find(|(_, sum)| *sum != 0) {
        Some((currency, sum)) => Err(Rejection::Unbalanced { difference: Money::from_minor(sum, currency) }),
        None => Ok(()),
    }
}

/// Adds a transfer to a change: one addition per account, and the fact.
pub(super) fn post(context: &Context, mut change: Change, record: &Transferred) -> Change {
    let mut lanes: BTreeMap<Key, Lanes> = BTreeMap::new();
    let mut apply = |postings: &[Posting], debit: usize, credit: usize, negative: bool| {
        for posting in postings {
            let sum = lanes.entry(account_key(&posting.account, posting.amount.currency())).or_insert(Lanes::ZERO);
            let lane = match posting.side {
                Side::Debit => debit,
                Side::Credit => credit,
            };
            let minor = posting.amount.minor();
            if let Some(lane) = sum.0.get_mut(lane) {
                // Nothing saturates: `check` has summed each account's postings.
                *lane = if negative { lane.saturating_sub(minor) } else { lane.saturating_add(minor) };
            }
        }
    };
    apply(&record.posted, 1, 3, false);
    apply(&record.pended, 0, 2, false);
    apply(&record.unpended, 0, 2, true);
    for (counter, delta) in lanes {
        change = change.add(Add {
            counter,
            delta,
            or_open: None,
            force: false,
            effective_at: context.effective_at,
            label: Label::new("posting"),
        });
    }
    let mut event = Event::new(body(record)).with_id(fact_id(&record.id)).with_term(key(TRANSFER_INDEX, &[&record.id]));
    // A reference too long for an index is not indexed; it still stands in the fact.
    if let Ok(reference) = transfers_of(&record.reference) {
        event = event.with_term(reference.build());
    }
    change.append(event)
}

//! Transfers: two or more postings that balance.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{Add, Body, Change, ChangeId, Entry, Event, Fingerprint, Label, Timestamp};

use super::{
    account::account_key,
    condition::Condition,
    fact::{TransferKind, Transferred, transfer_fact},
    metadata::Metadata,
    rejection::Rejection,
};
use crate::{
    decide::{Context, body},
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
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// What must be true of accounts before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// A few words of the host's.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// The transfer that it corrects; it is found from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<TransferId>,
}

impl Transfer {
    /// A transfer of these legs.
    #[must_use]
    pub const fn new(id: TransferId, postings: Vec<Posting>) -> Self {
        let metadata = Metadata::EMPTY;
        Self { id, postings, reference: String::new(), conditions: Vec::new(), metadata, corrects: None }
    }

    /// One debit and one credit of the same amount.
    #[must_use]
    pub fn simple(id: TransferId, debit: AccountId, credit: AccountId, amount: Money) -> Self {
        let posting = |account, side| Posting { account, side, amount };
        Self::new(id, Vec::from([posting(debit, Side::Debit), posting(credit, Side::Credit)]))
    }

    /// Says what it is about.
    #[must_use]
    pub fn about(mut self, reference: impl Into<String>) -> Self {
        self.reference = reference.into();
        self
    }

    /// Posts it only if this holds.
    #[must_use]
    pub fn only_if(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Adds a few words of the host's.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Says which transfer it corrects. What that one did stays as it is.
    #[must_use]
    pub fn correcting(mut self, transfer: TransferId) -> Self {
        self.corrects = Some(transfer);
        self
    }
}

/// Posts a transfer.
///
/// # Errors
/// [`Rejection::InvalidAmount`], [`Rejection::TooFewPostings`], [`Rejection::SameAccount`], [`Rejection::Unbalanced`], [`Rejection::Overflow`], [`Rejection::CurrencyMismatch`] in a condition. What only the balances
/// can tell is judged when the change is committed; [`super::explain`] puts it in words.
pub fn transfer(context: &Context, command: &Transfer) -> Result<Change, Rejection> {
    check(&command.postings)?;
    let record = recorded(command.clone(), context.effective_at);
    let body = body(&record);
    let change = post_body(context.change(), &record, body.clone(), How::Guarded);
    Ok(state_all(change, &command.conditions)?.answer(body))
}

/// Posts a transfer as a change of its own under the id `operation/transfer`. The fingerprint is over what it says.
///
/// # Errors
/// [`Rejection::ReservedId`], and as [`transfer`].
pub fn transfer_by_itself(
    id: ChangeId,
    effective_at: Option<Timestamp>,
    mut command: Transfer,
) -> Result<Change, Rejection> {
    check_id(&command.id)?;
    check(&command.postings)?;
    let conditions = core::mem::take(&mut command.conditions);
    let record = recorded(command, effective_at);
    let body = record.body().digested();
    let mut fingerprint = Fingerprint::of_bytes(OPERATION, &body.content_digest());
    if !conditions.is_empty() {
        fingerprint = fingerprint.and(Fingerprint::of(super::condition::LABEL, &conditions));
    }
    let change = post_body(Change::new(id, fingerprint), &record, body.clone(), How::Guarded);
    Ok(state_all(change, &conditions)?.answer(body))
}

/// The operation of a transfer by itself.
const OPERATION: &str = "ledger.transfer";

/// The fact of a transfer that is posted at once.
pub(super) fn recorded(command: Transfer, effective_at: Option<Timestamp>) -> Transferred {
    let Transfer { id, postings, reference, metadata, corrects, conditions: _ } = command;
    let record = Transferred::new(id, TransferKind::Posted, reference);
    Transferred { effective_at, metadata, corrects, posted: postings, ..record }
}

/// States the conditions of a transfer behind those that the change has.
pub(super) fn state_all(mut change: Change, conditions: &[Condition]) -> Result<Change, Rejection> {
    for condition in conditions {
        let number = change.hold.len();
        change = condition.state(change, number)?;
    }
    Ok(change)
}

/// What the ids of transfers begin with that holds and refunds make.
const DERIVED: [&str; 2] = ["hold:", "refund:"];

/// Whether a host may give a transfer this id: with one that a hold or a refund will need, its money could never be given back.
pub(super) fn check_id(transfer: &TransferId) -> Result<(), Rejection> {
    match DERIVED.iter().any(|begin| transfer.starts_with(begin)) {
        true => Err(Rejection::ReservedId { transfer: transfer.clone() }),
        false => Ok(()),
    }
}

/// Whether postings are sound: at least two, each above zero, no account on both sides, balanced in every currency.
pub(super) fn check(postings: &[Posting]) -> Result<(), Rejection> {
    if postings.len() < 2 {
        return Err(Rejection::TooFewPostings { found: postings.len() });
    }
    if let [first, second] = postings
        && first.account != second.account
        && first.side != second.side
        && first.amount == second.amount
        && first.amount.is_positive()
    {
        return Ok(());
    }
    let mut sums: Vec<(Currency, i128)> = Vec::with_capacity(1);
    let mut sorted: Vec<&Posting> = Vec::with_capacity(postings.len());
    for posting in postings {
        if !posting.amount.is_positive() {
            return Err(Rejection::InvalidAmount { amount: posting.amount });
        }
        let (currency, minor) = (posting.amount.currency(), posting.amount.minor());
        let place = sums.iter().position(|(known, _)| *known == currency).unwrap_or(sums.len());
        if place == sums.len() {
            sums.push((currency, 0));
        }
        if let Some((_, sum)) = sums.get_mut(place) {
            *sum = match posting.side {
                Side::Debit => sum.checked_add(minor),
                Side::Credit => sum.checked_sub(minor),
            }
            .ok_or(Rejection::Overflow)?;
        }
        sorted.push(posting);
    }
    let place = |posting: &Posting| (posting.account.clone(), posting.amount.currency());
    sorted.sort_by(|a, b| {
        a.account.as_str().cmp(b.account.as_str()).then_with(|| a.amount.currency().cmp(&b.amount.currency()))
    });
    let mut sum = 0i128;
    for (index, posting) in sorted.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| sorted.get(before));
        let same = |other: &&&Posting| {
            other.account == posting.account && other.amount.currency() == posting.amount.currency()
        };
        match before.filter(same) {
            Some(other) if other.side != posting.side => {
                return Err(Rejection::SameAccount { account: place(posting).0 });
            }
            Some(_) => sum = sum.checked_add(posting.amount.minor()).ok_or(Rejection::Overflow)?,
            None => sum = posting.amount.minor(),
        }
    }
    sums.sort_by_key(|(currency, _)| *currency);
    match sums.into_iter().find(|(_, sum)| *sum != 0) {
        Some((currency, sum)) => Err(Rejection::Unbalanced { difference: Money::from_minor(sum, currency) }),
        None => Ok(()),
    }
}

/// How additions are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Within limits.
    Guarded,
    /// Past them: it has happened, or must.
    Forced,
}

/// Adds a transfer to a change: one addition per account, and the fact.
pub(super) fn post(context: &Context, change: Change, record: &Transferred) -> Change {
    let dated = Transferred { effective_at: context.effective_at, ..record.clone() };
    let body = body(&dated);
    post_body(change, &dated, body, How::Guarded)
}

/// As [`post`], with the fact written out already.
pub(super) fn post_body(mut change: Change, record: &Transferred, body: Body, how: How) -> Change {
    let label = label(&change.id, &record.id);
    let fact = transfer_fact(&record.id);
    let mut event = Event::new(body).with_id(fact);
    let moves = record.moves();
    event.terms = record.terms_of(&moves);
    change.add.reserve_exact(moves.len());
    change.append.reserve_exact(1);
    for (account, currency, delta) in moves {
        change.add.push(Add {
            counter: account_key(account, currency),
            delta,
            or_open: None,
            force: how == How::Forced,
            effective_at: record.effective_at,
            label: label.clone(),
        });
    }
    change.append(event)
}

/// The label of a transfer's additions: a fixed word where the change's id ends in the transfer's, else the transfer's id behind a `/`.
fn label(change: &ChangeId, transfer: &TransferId) -> Label {
    if change.strip_suffix(transfer.as_str()).is_some_and(|operation| operation.ends_with('/')) {
        return Label::new(BY_ITSELF);
    }
    let named = format!("/{transfer}");
    if named.len() <= Label::LENGTH_MAX { Label::stored(named) } else { Label::new(LONG) }
}

const BY_ITSELF: &str = "posting";
/// Of a transfer whose id does not fit into a label.
const LONG: &str = "/";

/// The transfer that made an entry of an account; `None` for one with an id of more than 63 bytes which was not posted by itself (by a hold, say).
#[must_use]
pub fn transfer_of(entry: &Entry) -> Option<TransferId> {
    let id = match entry.label.as_str().strip_prefix('/') {
        Some(named) => named,
        None => entry.change.rsplit('/').next()?,
    };
    TransferId::new(id).ok()
}

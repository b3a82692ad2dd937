//! Transfers: two or more postings that balance, as a fact.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{
    Add, Body, Change, ChangeId, Entry, Event, FactId, Fingerprint, Key, KeyBuilder, Kind, Label, Lanes, Term,
    Timestamp,
};

use super::{account::account_key, condition::Condition, metadata::Metadata, rejection::Rejection};
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
    /// When it counts, where that was said; else it counts when it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_at: Option<Timestamp>,
    /// A few words of the host's.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// The transfer that it corrects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<TransferId>,
    /// The transfer that it reverses, in whole or in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverses: Option<TransferId>,
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

impl Transferred {
    /// A transfer that has moved nothing yet.
    pub(super) const fn new(id: TransferId, kind: TransferKind, reference: String) -> Self {
        Self {
            id,
            kind,
            reference,
            effective_at: None,
            metadata: Metadata::EMPTY,
            corrects: None,
            reverses: None,
            posted: Vec::new(),
            pended: Vec::new(),
            unpended: Vec::new(),
        }
    }

    /// What it did to each account, in the order of the accounts' keys.
    #[must_use]
    pub fn moves(&self) -> Vec<(&AccountId, Currency, Lanes)> {
        let legs = |postings: &'_ [Posting]| postings.len();
        let count = legs(&self.posted).saturating_add(legs(&self.pended)).saturating_add(legs(&self.unpended));
        let mut moves: Vec<(&AccountId, Currency, Lanes)> = Vec::with_capacity(count);
        for (postings, [debit, credit], negative) in
            [(&self.posted, [1, 3], false), (&self.pended, [0, 2], false), (&self.unpended, [0, 2], true)]
        {
            for posting in postings {
                let mut lanes = Lanes::ZERO;
                let lane = match posting.side {
                    Side::Debit => debit,
                    Side::Credit => credit,
                };
                if let Some(lane) = lanes.0.get_mut::<usize>(lane) {
                    let minor = posting.amount.minor();
                    *lane = if negative { minor.saturating_neg() } else { minor };
                }
                moves.push((&posting.account, posting.amount.currency(), lanes));
            }
        }
        // A key orders as its texts do.
        moves.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()).then_with(|| a.1.code().cmp(b.1.code())));
        moves.dedup_by(|next, first| {
            let same = (first.0, first.1) == (next.0, next.1);
            if same {
                // Nothing saturates: `check` has summed each account's postings.
                let lanes = first.2.0.iter_mut().zip(next.2.0);
                lanes.for_each(|(sum, more)| *sum = sum.saturating_add(more));
            }
            same
        });
        moves
    }
}

/// A posting of the usual length.
const POSTING_BYTES_USUAL: usize = 128;

impl Transferred {
    /// The fact as it is stored. What most transfers are is written out directly, which takes a quarter of the time; the bytes are those of the derived form, as a test holds.
    pub(super) fn body(&self) -> Body {
        let is_plain = self.reference.is_empty()
            && self.effective_at.is_none()
            && self.metadata.is_empty()
            && self.corrects.is_none()
            && self.reverses.is_none()
            && self.pended.is_empty()
            && self.unpended.is_empty()
            && self.kind == TransferKind::Posted;
        if !is_plain || self.posted.is_empty() {
            return body(self);
        }
        // No id holds a character that JSON would escape.
        let mut json = String::with_capacity(self.posted.len().saturating_mul(POSTING_BYTES_USUAL).saturating_add(128));
        json.push_str("{\"id\":\"");
        json.push_str(&self.id);
        json.push_str("\",\"kind\":\"posted\",\"posted\":[");
        for (index, posting) in self.posted.iter().enumerate() {
            json.push_str(if index == 0 { "{\"account\":\"" } else { ",{\"account\":\"" });
            json.push_str(&posting.account);
            json.push_str(match posting.side {
                Side::Debit => "\",\"side\":\"debit\",\"amount\":{\"amount\":\"",
                Side::Credit => "\",\"side\":\"credit\",\"amount\":{\"amount\":\"",
            });
            posting.amount.push_to(&mut json);
            json.push_str("\",\"currency\":\"");
            json.push_str(posting.amount.currency().code());
            json.push_str("\"}}");
        }
        json.push_str("]}");
        Body::written::<Self>(&json)
    }

    /// The index terms of the fact: its id, its reference, what it corrects and reverses, and, when it says when it counts, each of its accounts with that.
    #[must_use]
    pub fn terms(&self) -> Vec<Term> {
        self.terms_of(&self.moves())
    }

    fn terms_of(&self, moves: &[(&AccountId, Currency, Lanes)]) -> Vec<Term> {
        let mut terms = Vec::with_capacity(2);
        terms.push(key(TRANSFER_INDEX, &[&self.id]));
        // A reference too long for an index is not indexed; it still stands in the fact.
        if !self.reference.is_empty()
            && let Ok(reference) = transfers_of(&self.reference)
        {
            terms.push(reference.build());
        }
        terms.extend(self.corrects.as_ref().map(|corrected| corrections_of(corrected).build()));
        terms.extend(self.reverses.as_ref().map(|reversed| reversals_of(reversed).build()));
        if let Some(at) = self.effective_at {
            for (account, currency, _) in moves {
                let dated = dated_transfers_of(account, *currency).time(at).text(&self.id);
                terms.push(dated.expect("two ids, a currency and an instant fit into a key").build());
            }
        }
        terms
    }
}

const REFERENCE_INDEX: Kind = Kind::reserved("transfer-reference");
const CORRECTS_INDEX: Kind = Kind::reserved("transfer-corrects");
const REVERSES_INDEX: Kind = Kind::reserved("transfer-reverses");
const DATED_INDEX: Kind = Kind::reserved("transfer-dated");
/// The index of every transfer, by id.
pub const TRANSFER_INDEX: Kind = Kind::reserved("transfer");

/// What the index terms of the transfers about something begin with.
///
/// # Errors
/// [`txn_change::KeyError::TooLong`] for a reference of more than some 500 bytes.
pub fn transfers_of(reference: &str) -> Result<KeyBuilder, txn_change::KeyError> {
    Key::of(REFERENCE_INDEX).text(reference)
}

fn begin(kind: Kind, parts: &[&str]) -> KeyBuilder {
    let text = |builder: KeyBuilder, part: &&str| builder.text(part);
    parts.iter().try_fold(Key::of(kind), text).expect("an id has at most 100 bytes, and a key at most three of them")
}

/// What the index terms of the transfers that correct another begin with.
#[must_use]
pub fn corrections_of(transfer: &TransferId) -> KeyBuilder {
    begin(CORRECTS_INDEX, &[transfer])
}

/// What the index terms of the transfers that reverse another begin with.
#[must_use]
pub fn reversals_of(transfer: &TransferId) -> KeyBuilder {
    begin(REVERSES_INDEX, &[transfer])
}

/// What the index terms begin with of those transfers over an account that say when they count. An instant follows, then the transfer's id.
#[must_use]
pub fn dated_transfers_of(account: &AccountId, currency: Currency) -> KeyBuilder {
    begin(DATED_INDEX, &[account, currency.code()])
}

/// The fact id of a transfer.
#[must_use]
pub fn transfer_fact(transfer: &TransferId) -> FactId {
    FactId::new(["transfer/", transfer].concat()).expect("an id has at most 100 graphic bytes")
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
/// As [`transfer`].
pub fn transfer_by_itself(
    id: ChangeId,
    effective_at: Option<Timestamp>,
    mut command: Transfer,
) -> Result<Change, Rejection> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_fact_that_is_written_out_has_the_bytes_of_its_derived_form(
            id in "[a-zA-Z0-9._~%:-]{1,100}",
            legs in proptest::collection::vec(("[a-z0-9._~%:-]{1,40}", any::<bool>(), any::<i128>(), 0usize..3), 0..5),
            reference in "[a\"]{0,1}",
        ) {
            let currencies = [Currency::USD, Currency::JPY, Currency::BHD];
            let posting = |(account, is_debit, minor, currency): &(String, bool, i128, usize)| Posting {
                account: AccountId::new(account).unwrap(),
                side: if *is_debit { Side::Debit } else { Side::Credit },
                amount: Money::from_minor(*minor, currencies[*currency]),
            };
            let mut fact = Transferred::new(TransferId::new(id).unwrap(), TransferKind::Posted, reference);
            fact.posted = legs.iter().map(posting).collect();
            prop_assert_eq!(fact.body(), body(&fact));
        }
    }
}

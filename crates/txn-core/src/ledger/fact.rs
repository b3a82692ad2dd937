//! A transfer as it is recorded: a fact, what it did to each account, and the terms it is found by.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{Body, FactId, Key, KeyBuilder, Kind, Lanes, Term, Timestamp};

use super::{
    metadata::Metadata,
    transfer::{Posting, Side},
};
use crate::{
    decide::{body, documents, key},
    id::{AccountId, TransferId},
    money::Currency,
};

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

    pub(super) fn terms_of(&self, moves: &[(&AccountId, Currency, Lanes)]) -> Vec<Term> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::money::Money;

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

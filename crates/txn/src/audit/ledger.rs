//! The ledger: balances are the sum of the transfers, holds of money are their transfers, and accounts have balances.

use std::{collections::HashMap, sync::Arc};

use txn_change::{ChangeId, Fingerprint, Key, Lanes, Opening, Timestamp};
use txn_core::{
    Context,
    id::{LedgerHoldId, TransferId},
    ledger::{self, Account, Hold, HoldState, OpenAccount, Posting, Side, TransferKind, Transferred},
};

use super::{
    counters::Counters,
    report::{Findings, Rule},
};

/// The ledger of one tenant.
#[derive(Default)]
pub(super) struct Ledger {
    /// How the balance of each account is opened.
    accounts: HashMap<Key, Arc<Opening>>,
    /// Transfers that holds and refunds have made, until what made them is found.
    transfers: HashMap<TransferId, Transferred>,
    holds: HashMap<LedgerHoldId, Hold>,
}

impl Ledger {
    pub(super) fn transferred(&mut self, findings: &mut Findings<'_>, counters: &mut Counters, fact: Transferred) {
        let mut add = |postings: &[Posting], debit: usize, credit: usize, sign: i128| {
            for posting in postings {
                let lane = match posting.side {
                    Side::Debit => debit,
                    Side::Credit => credit,
                };
                let mut delta = Lanes::ZERO;
                if let Some(lane) = delta.0.get_mut(lane) {
                    *lane = posting.amount.minor().saturating_mul(sign);
                }
                counters.fact(findings, &ledger::account_key(&posting.account, posting.amount.currency()), delta);
            }
        };
        add(&fact.posted, 1, 3, 1);
        add(&fact.pended, 0, 2, 1);
        add(&fact.unpended, 0, 2, -1);
        if fact.kind != TransferKind::Posted || fact.id.starts_with("refund:") {
            self.transfers.insert(fact.id.clone(), fact);
        }
    }

    pub(super) fn account(&mut self, account: Account) {
        let key = ledger::account_key(&account.id, account.currency);
        // The decision that opened it says how: the rule stands in one place.
        let context = Context {
            id: ChangeId::new("audit").expect("a word of letters"),
            fingerprint: Fingerprint::of_bytes("audit", b""),
            now: Timestamp::EPOCH,
            effective_at: None,
        };
        let opened = ledger::open_account(&context, None, &OpenAccount { account }).map(|change| change.open);
        let open = opened.unwrap_or_default().pop().expect("opening an account that does not exist opens one counter");
        self.accounts.insert(key, open.opening);
    }

    pub(super) fn hold(&mut self, findings: &mut Findings<'_>, key: &Key, version: u64, hold: Hold) {
        findings.same(Rule::VersionCounts, key, "version", u64::from(hold.transfers), version);
        let rule = Rule::LedgerHoldIsItsTransfers;
        let (mut posted, mut pending, mut last) = (0i128, 0i128, None);
        for number in 1..=hold.transfers {
            let id = hold.transfer_id(number);
            let Some(fact) = self.transfers.remove(&id) else {
                findings.add(rule, key, format_args!("transfer {id}"), "none");
                break;
            };
            findings.same(rule, key, "the reference", &hold.reference, &fact.reference);
            let moved = [&fact.posted, &fact.pended, &fact.unpended].map(|postings| amount(&hold, postings));
            let [Some(more), Some(held), Some(freed)] = moved else {
                findings.add(rule, key, format_args!("transfer {id} between its two accounts"), "others");
                break;
            };
            if (number == 1) != (fact.kind == TransferKind::Held) || (number == 1 && held != hold.amount.minor()) {
                let found = format_args!("{:?} over {held}", fact.kind);
                findings.add(rule, key, format_args!("{} held first, and once", hold.amount.minor()), found);
            }
            posted = posted.saturating_add(more);
            pending = pending.saturating_add(held).saturating_sub(freed);
            last = Some(fact.kind);
        }
        findings.same(rule, key, "captured", posted, hold.captured.minor());
        let left = hold.left().map_or(i128::MIN, |left| left.minor());
        findings.same(rule, key, "left", pending, left);
        let fits = match hold.state {
            HoldState::Pending => matches!(last, Some(TransferKind::Held | TransferKind::Captured)),
            HoldState::Captured => last == Some(TransferKind::Captured),
            HoldState::Voided => last == Some(TransferKind::Voided),
            HoldState::Expired => last == Some(TransferKind::Expired),
            _ => true,
        };
        if !fits {
            let found = format_args!("{:?}", hold.state);
            findings.add(rule, key, format_args!("the state behind {last:?}"), found);
        }
        self.holds.insert(hold.id.clone(), hold);
    }

    pub(super) fn get_hold(&self, id: &LedgerHoldId) -> Option<&Hold> {
        self.holds.get(id)
    }

    /// Takes the transfer of a refund.
    pub(super) fn take_transfer(&mut self, id: &TransferId) -> Option<Transferred> {
        self.transfers.remove(id)
    }

    /// Ends the reading. Refunds have taken their transfers before.
    pub(super) fn close(self, findings: &mut Findings<'_>, counters: &mut Counters) {
        for (key, expected) in self.accounts {
            match counters.take_opening(&key) {
                Some(found) => findings.same_name(Rule::CounterSound, &key, "opening", &*expected, &found),
                None => findings.add(Rule::AccountHasBalance, &key, "the balance of an account", "none"),
            }
        }
        for key in counters.untaken() {
            findings.add(Rule::AccountHasBalance, key, "an account with this balance", "none");
        }
        for fact in self.transfers.values().filter(|fact| fact.kind != TransferKind::Posted) {
            let subject = format_args!("transfer {}", fact.id);
            findings.add(Rule::LedgerHoldIsItsTransfers, subject, "the hold that made it", "none");
        }
    }
}

/// How much moves from a hold's debit account to its credit account; `None` when the postings say anything else.
fn amount(hold: &Hold, postings: &[Posting]) -> Option<i128> {
    match postings {
        [] => Some(0),
        [debit, credit] => {
            let fits = debit.side == Side::Debit
                && credit.side == Side::Credit
                && debit.account == hold.debit
                && credit.account == hold.credit
                && debit.amount == credit.amount
                && debit.amount.currency() == hold.amount.currency();
            fits.then(|| debit.amount.minor())
        }
        _ => None,
    }
}

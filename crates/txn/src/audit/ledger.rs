//! The ledger: balances are the sum of the transfers, holds of money are their transfers, and accounts have balances.

use std::{collections::HashMap, sync::Arc};

use txn_change::{Key, Lanes, Opening, Timestamp};
use txn_core::{
    id::{AccountId, LedgerHoldId, TransferId},
    ledger::{
        self, Account, AccountChange, AccountChanged, AccountState, Hold, HoldExtended, HoldState, Posting, Side,
        TransferKind, Transferred,
    },
    money::Currency,
};

use super::{
    counters::Counters,
    report::{Findings, Rule},
    timers::Timers,
};

/// The ledger of one tenant.
#[derive(Default)]
pub(super) struct Ledger {
    /// How the balance of each account is opened.
    openings: HashMap<Key, Arc<Opening>>,
    accounts: HashMap<(AccountId, Currency), (u64, Account)>,
    /// What the events of each account come to, and how many of them wrote its record.
    changed: HashMap<(AccountId, Currency), (u64, Option<AccountState>)>,
    /// When extended holds run out by their last extension, and how many there were.
    extended: HashMap<LedgerHoldId, (u32, Timestamp)>,
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

    pub(super) fn account_changed(
        &mut self,
        findings: &mut Findings<'_>,
        counters: &mut Counters,
        changed: AccountChanged,
    ) {
        let place = (changed.account.clone(), changed.currency);
        let (writes, state) = self.changed.remove(&place).unwrap_or_default();
        let is_first = matches!(changed.what, AccountChange::Opened(_));
        let before = state.as_ref().map(|state| state.status);
        let fits = match &changed.what {
            AccountChange::Status { from, .. } => before == Some(*from),
            _ => is_first == before.is_none(),
        };
        if !fits {
            let subject = format_args!("account {} in {}", changed.account, changed.currency.code());
            let expected = format_args!("what follows on {before:?}");
            findings.add(Rule::AccountIsItsEvents, subject, expected, format_args!("{:?}", changed.what));
        }
        let is_status = matches!(changed.what, AccountChange::Status { .. });
        if matches!(changed.what, AccountChange::Limited(_)) {
            counters.limited(&ledger::account_key(&changed.account, changed.currency));
        }
        let writes = if is_status { writes } else { writes.saturating_add(1) };
        self.changed.insert(place, (writes, AccountState::after(state, changed)));
    }

    pub(super) fn extended(&mut self, findings: &mut Findings<'_>, extended: HoldExtended) {
        let subject = format_args!("ledger hold {}", extended.hold);
        if extended.expires_at <= extended.from {
            let expected = format_args!("a time behind {}", extended.from);
            findings.add(Rule::LedgerHoldIsItsTransfers, subject, expected, extended.expires_at);
        }
        if let Some((_, at)) = self.extended.get(&extended.hold).filter(|(_, at)| *at != extended.from) {
            findings.add(
                Rule::LedgerHoldIsItsTransfers,
                subject,
                format_args!("an extension from {at}"),
                extended.from,
            );
        }
        let (count, at) = self.extended.entry(extended.hold).or_insert((0, extended.expires_at));
        *count = count.saturating_add(1);
        *at = extended.expires_at;
    }

    pub(super) fn account(&mut self, findings: &mut Findings<'_>, key: &Key, version: u64, account: Account) {
        let place = (account.id.clone(), account.currency);
        match self.changed.get(&place) {
            Some((writes, Some(state))) => {
                findings.same(Rule::VersionCounts, key, "version", *writes, version);
                if state.account != account {
                    let expected = format_args!("{:?}", state.account);
                    findings.add(Rule::AccountIsItsEvents, key, expected, format_args!("{account:?}"));
                }
            }
            _ => findings.add(Rule::AccountIsItsEvents, key, "the event that it was opened", "none"),
        }
        // The account says how its balance is limited: the rule stands in one place.
        self.openings.insert(ledger::account_key(&account.id, account.currency), account.opening());
        self.accounts.insert(place, (version, account));
    }

    pub(super) fn hold(&mut self, findings: &mut Findings<'_>, key: &Key, version: u64, hold: Hold) {
        let steps = u64::from(hold.transfers).saturating_add(u64::from(hold.extensions));
        findings.same(Rule::VersionCounts, key, "version", steps, version);
        let rule = Rule::LedgerHoldIsItsTransfers;
        let (mut posted, mut pending, mut promised, mut last) = (0i128, 0i128, 0i128, None);
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
            // What is held later increases it.
            if (number == 1 || held != 0) && fact.kind != TransferKind::Held {
                findings.add(rule, key, "an amount held first, and by what holds", format_args!("{:?}", fact.kind));
            }
            promised = promised.saturating_add(held);
            posted = posted.saturating_add(more);
            pending = pending.saturating_add(held).saturating_sub(freed);
            last = Some(fact.kind);
        }
        findings.same(rule, key, "an amount of", promised, hold.amount.minor());
        findings.same(rule, key, "captured", posted, hold.captured.minor());
        let tolerance = hold.tolerance.map_or(0, |tolerance| tolerance.minor());
        if posted > promised.saturating_add(tolerance) {
            findings.add(rule, key, format_args!("at most {promised} and {tolerance} captured"), posted);
        }
        let (extensions, until) = self.extended.remove(&hold.id).map_or((0, None), |(n, at)| (n, Some(at)));
        findings.same(rule, key, "extensions", extensions, hold.extensions);
        if until.is_some() {
            findings.same_name(rule, key, "until", until, hold.expires_at);
        }
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
    pub(super) fn close(self, findings: &mut Findings<'_>, counters: &mut Counters, timers: &Timers) {
        for ((id, currency), (_, account)) in &self.accounts {
            let key = ledger::record_key(id, *currency);
            let status = counters.status(&ledger::account_key(id, *currency));
            let told = self.changed.get(&(id.clone(), *currency)).and_then(|(_, state)| state.as_ref());
            if let (Some(status), Some(told)) = (status, told) {
                findings.same(Rule::AccountIsItsEvents, &key, "status", told.status, status);
            }
            if let Some(parent) = &account.parent {
                let above = self.accounts.get(&(parent.clone(), *currency)).map(|(_, parent)| parent.level);
                if above.and_then(|level| level.checked_add(1)) != Some(account.level) {
                    let expected = format_args!("{parent} one above level {}", account.level);
                    findings.add(Rule::AccountHasParent, &key, expected, format_args!("{above:?}"));
                }
            }
        }
        for ((id, currency), _) in self.changed.iter().filter(|(place, _)| !self.accounts.contains_key(*place)) {
            let key = ledger::record_key(id, *currency);
            findings.add(Rule::AccountIsItsEvents, key, "the record of an account that was opened", "none");
        }
        for hold in self.holds.values().filter(|hold| hold.state == HoldState::Pending) {
            if let Some(due) = hold.expires_at.filter(|due| !timers.has_ledger_hold(&hold.id, *due)) {
                let subject = format_args!("ledger hold {}", hold.id);
                findings.add(Rule::TimerSet, subject, format_args!("a timer at {due}"), "none");
            }
        }
        for id in self.extended.keys() {
            let subject = format_args!("ledger hold {id}");
            findings.add(Rule::LedgerHoldIsItsTransfers, subject, "the record of a hold that was extended", "none");
        }
        for (key, expected) in self.openings {
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

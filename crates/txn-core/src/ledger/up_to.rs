//! As much as possible: a transfer of what two accounts allow.

use alloc::string::String;

use serde::{Deserialize, Serialize};
use txn_change::{Change, Condition, Counter, Guard};

use super::{
    account::account_key,
    rejection::Rejection,
    transfer::{How, Side, Transfer, check, check_id, post_body, recorded},
};
use crate::{
    decide::{Context, READ, body},
    id::{AccountId, TransferId},
    money::{Currency, Money},
};

/// Move as much as the limits of both accounts allow, and at most `max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferUpTo {
    /// The transfer's id.
    pub id: TransferId,
    /// The account to debit.
    pub debit: AccountId,
    /// The account to credit.
    pub credit: AccountId,
    /// The most to move, above zero.
    pub max: Money,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
}

/// Posts what can be posted between two balances as they were read. The change holds only while nothing else has touched them: it is decided again then.
///
/// # Errors
/// [`Rejection::NothingToMove`], [`Rejection::UnknownAccount`], and as [`super::transfer()`].
pub fn transfer_up_to(
    context: &Context,
    debit: Option<&Counter>,
    credit: Option<&Counter>,
    command: &TransferUpTo,
) -> Result<Change, Rejection> {
    let TransferUpTo { id, debit: to_debit, credit: to_credit, max, reference } = command;
    let whole = Transfer::simple(id.clone(), to_debit.clone(), to_credit.clone(), *max);
    check_id(id)?;
    check(&whole.postings)?;
    let currency = max.currency();
    let debit = known(debit, to_debit, currency)?;
    let credit = known(credit, to_credit, currency)?;
    let least = max.minor().min(room(debit, Side::Debit)).min(room(credit, Side::Credit));
    if least <= 0 {
        return Err(Rejection::NothingToMove { debit: to_debit.clone(), credit: to_credit.clone() });
    }
    let amount = Money::from_minor(least, currency);
    let transfer = Transfer::simple(id.clone(), to_debit.clone(), to_credit.clone(), amount).about(reference.clone());
    let record = recorded(transfer, context.effective_at);
    let body = body(&record);
    let mut change = context.change();
    for (account, counter) in [(to_debit, debit), (to_credit, credit)] {
        change = change.hold(account_key(account, currency), Condition::Version(counter.version), READ);
    }
    Ok(post_body(change, &record, body.clone(), How::Guarded).answer(body))
}

fn known<'a>(counter: Option<&'a Counter>, account: &AccountId, currency: Currency) -> Result<&'a Counter, Rejection> {
    let (account, currency) = (account.as_str(), currency.code());
    counter.ok_or_else(|| Rejection::UnknownAccount { account: account.into(), currency: currency.into() })
}

/// How much a posting on that side may add before a guard would break, or the lane be full.
fn room(counter: &Counter, side: Side) -> i128 {
    let lane = match side {
        Side::Debit => 1,
        Side::Credit => 3,
    };
    let full = counter.lanes.0.get::<usize>(lane).map_or(0, |lane| i128::MAX.saturating_sub(*lane));
    counter.guards.iter().flatten().map(|guard| under(guard, counter, lane)).fold(full, i128::min)
}

fn under(guard: &Guard, counter: &Counter, lane: usize) -> i128 {
    let weight = guard.weights.get(lane).copied().map_or(0, i128::from);
    if weight >= 0 {
        return i128::MAX;
    }
    // An amount has 127 bits at most, so that more room than that is no more.
    let spare = guard.value(counter.lanes).map(|value| value.saturating_sub(guard.min));
    // What cannot be counted cannot be moved either.
    spare.and_then(|spare| spare.checked_div(weight.saturating_neg())).unwrap_or(0)
}

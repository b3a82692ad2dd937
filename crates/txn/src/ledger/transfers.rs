//! Transfers: posted at once, one by one, many in a call, or in a chain.

use txn_change::{Change, Expect, Require, Timestamp};
use txn_core::{
    Context,
    id::TransferId,
    ledger::{self, Chained, Rejection, Transfer, TransferUpTo, Transferred},
};
use txn_store::{Ask, Error, ErrorKind, Outcome, Snapshot};

use super::{Ledger, Sweep, explain};
use crate::{
    decide::{Attempt, Decider, Done, attempt, check_open, replay},
    failure::Failure,
};

/// What became of one transfer of many.
type Answer = Result<Done<Transferred>, Failure>;

/// A transfer that is to be committed, and its place among the answers.
struct Draft {
    place: usize,
    change: Change,
    corrects: Option<TransferId>,
}

impl Ledger<'_> {
    /// Posts a transfer. Its id is the request's id. A refusal is not remembered: the same transfer may be posted later, when the money is there.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: an unsound transfer, an unknown account, insufficient funds, a condition that does not hold.
    pub async fn transfer(&self, command: &Transfer) -> Answer {
        let mut answers = self.transfer_many(vec![command.clone()]).await;
        answers.pop().unwrap_or_else(|| Err(missing().into()))
    }

    /// Posts transfers in one call to the store, independent of each other: an answer each, in order. A later one sees what the earlier ones have done; one that is refused stops none behind it.
    /// One that a hold stands in the way of which has run out is posted behind the others, and gives it back in the same commit.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// # use std::sync::Arc;
    /// # use txn::{core::{id::{AccountId, TransferId}, ledger::Transfer, money::{Currency, Money}}, store::memory::Memory, InertGateway, Tenant, Txn};
    /// # pollster::block_on(async {
    /// # let shop = Txn::builder(Arc::new(Memory::new()), Arc::new(InertGateway::default())).build().tenant(Tenant::default());
    /// # shop.ledger().open_payment_accounts(Currency::USD).await?;
    /// let (gateway, sales) = (AccountId::new("assets:gateway")?, AccountId::new("income:sales")?);
    /// let sale = |id: &str, minor| Ok::<_, Box<dyn std::error::Error>>(
    ///     Transfer::simple(TransferId::new(id)?, gateway.clone(), sales.clone(), Money::from_minor(minor, Currency::USD)));
    /// let answers = shop.ledger().transfer_many(vec![sale("s-1", 250)?, sale("s-2", -1)?, sale("s-3", 100)?]).await;
    /// assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// Each as [`Ledger::transfer`]; all of them as [`txn_store::Store::commit`] when there are more than the store takes in one call.
    pub async fn transfer_many(&self, transfers: Vec<Transfer>) -> Vec<Answer> {
        let effective_at = self.services.decider.effective_at;
        let corrects = transfers.iter().any(|transfer| transfer.corrects.is_some());
        let asked = transfers.clone();
        let mut answers = if effective_at.is_some() || corrects {
            self.read_and_post(transfers).await
        } else {
            self.post(transfers).await
        };
        for (answer, transfer) in answers.iter_mut().zip(asked) {
            if let Err(Failure::Rejected(crate::Rejection::Ledger(
                Rejection::InsufficientFunds { account, currency, .. }
                | Rejection::BalanceMaxExceeded { account, currency, .. },
            ))) = answer
            {
                let (account, currency) = (account.clone(), currency.clone());
                match self.post_swept(transfer, &account, &currency).await {
                    Ok(None) => {}
                    Ok(Some(done)) => *answer = Ok(done),
                    Err(failure) => *answer = Err(failure),
                }
            }
        }
        answers
    }

    /// Posts a transfer that an account's limit refused, with the holds on that account given back that have run out; `None` when there are none.
    async fn post_swept(
        &self,
        transfer: Transfer,
        account: &str,
        currency: &str,
    ) -> Result<Option<Done<Transferred>>, Failure> {
        let decider = &self.services.decider;
        let mut sweep = Sweep::default();
        if !sweep.find_due_of(&decider.scope, account, currency).await? {
            return Ok(None);
        }
        let change = self.draft(transfer)?;
        for _ in 0..decider.attempts_max {
            let mut ask = decider.scope.ask().stored(change.id.clone());
            let swept = sweep.ask(&mut ask);
            let attempt = decider.once(&change.id, change.fingerprint, ask, |context, snapshot| {
                Sweep::join(context, snapshot, swept.clone(), change.clone())
            });
            match attempt.await? {
                Attempt::Done(receipt) => return Ok(Some(Done::of(receipt))),
                Attempt::Conflict => {}
                Attempt::Refused(refusal) => {
                    if !sweep.find_due(&decider.scope, &refusal).await? {
                        return Err(explain(&refusal).map_or(Failure::Refused(refusal), Failure::Rejected));
                    }
                }
            }
        }
        Err(Failure::Conflict { attempts: decider.attempts_max })
    }

    fn draft(&self, transfer: Transfer) -> Result<Change, Failure> {
        let id = Decider::id("ledger.transfer", &transfer.id)?;
        let drafted = ledger::transfer_by_itself(id, self.services.decider.effective_at, transfer);
        drafted.map_err(|rejection| Failure::Rejected(rejection.into()))
    }

    /// Commits what nothing has to be read for.
    async fn post(&self, transfers: Vec<Transfer>) -> Vec<Answer> {
        let mut changes = Vec::with_capacity(transfers.len());
        let mut refused = Vec::new();
        for (place, transfer) in transfers.into_iter().enumerate() {
            match self.draft(transfer) {
                Ok(change) => changes.push(change),
                Err(failure) => refused.push((place, failure)),
            }
        }
        let mut outcomes = self.services.decider.scope.commit_many(changes).await.into_iter();
        let mut refused = refused.into_iter().peekable();
        let mut answers = Vec::with_capacity(outcomes.len().saturating_add(refused.len()));
        loop {
            if let Some((_, failure)) = refused.next_if(|(place, _)| *place == answers.len()) {
                answers.push(Err(failure));
            } else if let Some(outcome) = outcomes.next() {
                // Nothing was read, so nothing can have changed under it.
                answers.push(told(outcome).and_then(|done| done.ok_or(Failure::Conflict { attempts: 1 })));
            } else {
                return answers;
            }
        }
    }

    /// Drafts and commits what something has to be read for.
    async fn read_and_post(&self, transfers: Vec<Transfer>) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = Vec::with_capacity(transfers.len());
        let mut drafts = Vec::with_capacity(transfers.len());
        for (place, transfer) in transfers.into_iter().enumerate() {
            let corrects = transfer.corrects.clone();
            match self.draft(transfer) {
                Ok(change) => {
                    drafts.push(Draft { place, change, corrects });
                    answers.push(None);
                }
                Err(failure) => answers.push(Some(Err(failure))),
            }
        }
        self.read_and_commit(drafts, &mut answers).await;
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(missing().into()))).collect()
    }

    /// Commits transfers that say when they count, or what they correct: periods may be closed, and what is to be corrected must exist.
    async fn read_and_commit(&self, mut drafts: Vec<Draft>, answers: &mut [Option<Answer>]) {
        let decider = &self.services.decider;
        for _ in 0..decider.attempts_max {
            if drafts.is_empty() {
                return;
            }
            let ask = |draft: &Draft| {
                let ask = decider.scope.ask().stored(draft.change.id.clone()).record(ledger::period_key());
                draft.corrects.iter().fold(ask, |ask, transfer| ask.fact(ledger::transfer_fact(transfer)))
            };
            let asks: Vec<Ask> = drafts.iter().map(ask).collect();
            let snapshots = match decider.scope.get_many(asks).await {
                Ok(snapshots) => snapshots,
                Err(error) => {
                    for draft in drafts {
                        answer(answers, draft.place, Err(Error::new(error.kind(), error.to_string()).into()));
                    }
                    return;
                }
            };
            let mut ready = Vec::with_capacity(drafts.len());
            for (mut draft, snapshot) in drafts.into_iter().zip(snapshots) {
                match self.judge(&mut draft, snapshot) {
                    Ok(Some(done)) => answer(answers, draft.place, Ok(done)),
                    Ok(None) => ready.push(draft),
                    Err(failure) => answer(answers, draft.place, Err(failure)),
                }
            }
            drafts = ready;
            let changes = drafts.iter().map(|draft| draft.change.clone()).collect();
            let outcomes = decider.scope.commit_many(changes).await;
            let mut again = Vec::new();
            for (draft, outcome) in drafts.into_iter().zip(outcomes) {
                match told(outcome) {
                    Ok(Some(done)) => answer(answers, draft.place, Ok(done)),
                    Ok(None) => again.push(draft),
                    Err(failure) => answer(answers, draft.place, Err(failure)),
                }
            }
            drafts = again;
        }
        for draft in drafts {
            answer(answers, draft.place, Err(Failure::Conflict { attempts: decider.attempts_max }));
        }
    }

    /// What is stored decides before the transfer is committed: the answer of a repetition, a refusal, or what the change must require.
    fn judge(&self, draft: &mut Draft, snapshot: Snapshot) -> Result<Option<Done<Transferred>>, Failure> {
        let change = &mut draft.change;
        if let Some(stored) = snapshot.stored {
            return replay(&change.id, change.fingerprint, stored).map(Done::of).map(Some);
        }
        if let (Some(transfer), [None]) = (&draft.corrects, &snapshot.facts[..]) {
            return Err(unknown(transfer));
        }
        if let Some(effective_at) = self.services.decider.effective_at {
            let period = snapshot.records.first().and_then(Option::as_ref);
            check_open(period, effective_at)?;
            let (key, expect) = (ledger::period_key(), Expect::of(period.map(|period| period.version)));
            change.require.clear();
            change.require.push(Require { key, expect });
        }
        Ok(None)
    }

    /// Posts all transfers or none of them. `chain` is the request's id. Limits are judged on the net of the chain: an account may pay out in it before it is paid in. Conditions are judged on the state before it.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// # use std::sync::Arc;
    /// # use txn::{core::{id::{AccountId, TransferId}, ledger::Transfer, money::{Currency, Money}}, store::memory::Memory, InertGateway, Tenant, Txn};
    /// # pollster::block_on(async {
    /// # let shop = Txn::builder(Arc::new(Memory::new()), Arc::new(InertGateway::default())).build().tenant(Tenant::default());
    /// # shop.ledger().open_payment_accounts(Currency::USD).await?;
    /// let (gateway, sales) = (AccountId::new("assets:gateway")?, AccountId::new("income:sales")?);
    /// let sale = |id: &str, from: &AccountId, to: &AccountId| Ok::<_, Box<dyn std::error::Error>>(
    ///     Transfer::simple(TransferId::new(id)?, from.clone(), to.clone(), Money::from_minor(5, Currency::USD)));
    /// let chain = vec![sale("s-1", &gateway, &sales)?, sale("s-2", &gateway, &AccountId::new("nobody")?)?];
    /// assert!(shop.ledger().transfer_chain("evening", chain).await.is_err());
    /// assert!(shop.ledger().transferred(&TransferId::new("s-1")?).await?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: `EmptyChain`, `ChainTooLong`, and as [`Ledger::transfer`] for any of them.
    pub async fn transfer_chain(&self, chain: &str, transfers: Vec<Transfer>) -> Result<Done<Chained>, Failure> {
        let corrected: Vec<&TransferId> = transfers.iter().filter_map(|transfer| transfer.corrects.as_ref()).collect();
        let fill = |ask: Ask| corrected.iter().fold(ask, |ask, transfer| ask.fact(ledger::transfer_fact(transfer)));
        let decide = |context: &Context, snapshot: &Snapshot| {
            let missing = corrected.iter().zip(&snapshot.facts).find(|(_, fact)| fact.is_none());
            if let Some((transfer, _)) = missing {
                return Err(Rejection::UnknownTransfer { transfer: (*transfer).clone() }.into());
            }
            Ok(ledger::transfer_chain(context, &transfers)?)
        };
        self.services.decider.run("ledger.chain", chain, &transfers, fill, decide, explain).await
    }

    /// Posts as much as the limits of both accounts allow, and at most `max`. The answer says how much it was; a repetition gives the same. Holds that have run out count as promised until they are swept.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: `NothingToMove`, and as [`Ledger::transfer`].
    pub async fn transfer_up_to(&self, command: &TransferUpTo) -> Answer {
        let currency = command.max.currency();
        let keys = [&command.debit, &command.credit].map(|account| ledger::account_key(account, currency));
        let fill = |ask: Ask| keys.iter().cloned().fold(ask, Ask::counter);
        let decide = |context: &Context, snapshot: &Snapshot| {
            let [debit, credit] = [0, 1].map(|index: usize| snapshot.counters.get(index).and_then(Option::as_ref));
            Ok(ledger::transfer_up_to(context, debit, credit, command)?)
        };
        self.services.decider.run("ledger.transfer-up-to", &command.id, command, fill, decide, explain).await
    }

    /// Reads a transfer as it was recorded, and when; `None` when there is no such transfer.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn transferred(&self, transfer: &TransferId) -> Result<Option<(Transferred, Timestamp)>, Failure> {
        let scope = &self.services.decider.scope;
        let fact = scope.get(scope.ask().fact(ledger::transfer_fact(transfer))).await?.facts.pop().flatten();
        Ok(fact.map(|fact| fact.event.body.read().map(|body| (body, fact.recorded_at))).transpose()?)
    }
}

/// Done, or to be decided again.
fn told(outcome: Result<Outcome, Error>) -> Result<Option<Done<Transferred>>, Failure> {
    match attempt(outcome?)? {
        Attempt::Done(receipt) => Ok(Some(Done::of(receipt))),
        Attempt::Conflict => Ok(None),
        Attempt::Refused(refusal) => Err(explain(&refusal).map_or(Failure::Refused(refusal), Failure::Rejected)),
    }
}

fn answer(answers: &mut [Option<Answer>], place: usize, given: Answer) {
    if let Some(answer) = answers.get_mut(place) {
        *answer = Some(given);
    }
}

fn unknown(transfer: &TransferId) -> Failure {
    Failure::Rejected(Rejection::UnknownTransfer { transfer: transfer.clone() }.into())
}

fn missing() -> Error {
    Error::new(ErrorKind::Corrupt, "the store gave no result for a change; its contract is one each")
}

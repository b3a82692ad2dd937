//! Accounts: their record, their keys, and how they are opened. A transfer does not read the record: all that it needs stands in the balance's counter.

use alloc::{string::String, sync::Arc, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{Change, Class, Key, KeyBuilder, Kind, Open, Opening, Term};

use super::{
    history::{AccountChange, AccountChanged},
    limits::{Limits, Overdraft},
    metadata::Metadata,
    rejection::Rejection,
};
use crate::{
    decide::{Context, Versioned, body, documents, key},
    id::AccountId,
    money::{Currency, Money},
};

/// The kind of balance counters.
pub const LEDGER_KIND: Kind = Kind::reserved("ledger");
/// The kind of account records.
pub const ACCOUNT_KIND: Kind = Kind::reserved("account");
const CHILD_INDEX: Kind = Kind::reserved("account-child");

/// How many accounts may stand above one another, the lowest included.
pub const ACCOUNT_LEVELS_MAX: u8 = 16;
/// The greatest length of an account's name, in bytes.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 200;

/// The side on which an account grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormalSide {
    /// Assets and expenses.
    Debit,
    /// Liabilities, equity and income.
    Credit,
}

impl NormalSide {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Debit => Self::Credit,
            Self::Credit => Self::Debit,
        }
    }
}

/// What an account is in the chart of accounts. The first three stand in the balance sheet, the others in the income statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountType {
    /// What is owned, or owed by others.
    Asset,
    /// What is owed to others.
    Liability,
    /// What belongs to the owners.
    Equity,
    /// What is earned.
    Income,
    /// What is spent.
    Expense,
}

impl AccountType {
    /// The side on which an account of this type grows, unless it is a contra account.
    #[must_use]
    pub const fn normal(self) -> NormalSide {
        match self {
            Self::Asset | Self::Expense => NormalSide::Debit,
            Self::Liability | Self::Equity | Self::Income => NormalSide::Credit,
        }
    }
}

/// The record of an account in one currency. Its type, side and parent never change; its name, metadata and limits do, and each change leaves an event.
///
/// ```
/// use txn_core::{id::AccountId, ledger::{Account, AccountType, NormalSide, Overdraft}, money::{Currency, Money}};
/// let wallet = Account::new(AccountId::new("wallets:ann")?, AccountType::Liability, Currency::USD)
///     .named("Ann's wallet")
///     .under(AccountId::new("wallets")?)
///     .balance_max(Money::parse("1000.00", Currency::USD)?);
/// assert_eq!((wallet.normal, wallet.limits.overdraft), (NormalSide::Credit, Overdraft::None));
/// let refunds = Account::new(AccountId::new("refunds")?, AccountType::Income, Currency::USD).contra();
/// assert_eq!(refunds.normal, NormalSide::Debit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// What it is in the chart of accounts.
    #[serde(rename = "type")]
    pub account_type: AccountType,
    /// The side on which it grows: that of its type, or the other one for a contra account.
    pub normal: NormalSide,
    /// The account that it is a part of, in the same currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<AccountId>,
    /// How many accounts stand above it. Written by [`open_account`], whatever the command says.
    #[serde(default, skip_serializing_if = "is_top")]
    pub level: u8,
    /// A name for people.
    pub name: String,
    /// How far its balance may go.
    pub limits: Limits,
    /// What the host knows of it.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_top(level: &u8) -> bool {
    *level == 0
}

documents! {
    Account => "account", 1;
}

impl Account {
    /// An account on its type's own side that cannot be overdrawn, without a name or a parent.
    #[must_use]
    pub fn new(id: AccountId, account_type: AccountType, currency: Currency) -> Self {
        Self {
            id,
            currency,
            account_type,
            normal: account_type.normal(),
            parent: None,
            level: 0,
            name: String::new(),
            limits: Limits::default(),
            metadata: Metadata::default(),
        }
    }

    /// Gives it a name for people.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Makes it a part of another account.
    #[must_use]
    pub fn under(self, parent: AccountId) -> Self {
        Self { parent: Some(parent), ..self }
    }

    /// Makes it a contra account: it grows on the other side than its type says, such as refunds among income.
    #[must_use]
    pub fn contra(self) -> Self {
        Self { normal: self.account_type.normal().other(), ..self }
    }

    /// Says how far it may be overdrawn.
    #[must_use]
    pub fn overdraft(mut self, overdraft: Overdraft) -> Self {
        self.limits.overdraft = overdraft;
        self
    }

    /// Says how much it may come to hold.
    #[must_use]
    pub fn balance_max(mut self, max: Money) -> Self {
        self.limits.balance_max = Some(max);
        self
    }

    /// Says what the host knows of it.
    #[must_use]
    pub fn with(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// The index terms of the record: by its parent.
    #[must_use]
    pub fn terms(&self) -> Vec<Term> {
        let of = |parent: &AccountId| key(CHILD_INDEX, &[parent, self.currency.code(), &self.id]);
        self.parent.iter().map(of).collect()
    }

    /// How its balance begins: empty, open, and with its limits as guards.
    #[must_use]
    pub fn opening(&self) -> Arc<Opening> {
        let class = Class {
            name: "ledger".into(),
            signed: [false; 4],
            history: true,
            conserves: [Some([1, 0, -1, 0]), Some([0, 1, 0, -1])],
        };
        let guards = self.limits.guards(self.normal);
        Arc::new(Opening { class: Arc::new(class), unit: Arc::from(self.currency.code()), guards })
    }

    fn check(&self) -> Result<(), Rejection> {
        check_name(&self.name)?;
        self.limits.check(self.currency)
    }
}

pub(super) fn check_name(name: &str) -> Result<(), Rejection> {
    check_length("an account's name", name, ACCOUNT_NAME_BYTES_MAX)
}

pub(super) fn check_length(what: &'static str, text: &str, max: usize) -> Result<(), Rejection> {
    if text.len() > max {
        return Err(Rejection::TooLong { what, length: text.len(), max });
    }
    Ok(())
}

/// The key of an account's balance counter.
#[must_use]
pub fn account_key(account: &AccountId, currency: Currency) -> Key {
    key(LEDGER_KIND, &[account, currency.code()])
}

/// The key of an account's record.
#[must_use]
pub fn record_key(account: &AccountId, currency: Currency) -> Key {
    key(ACCOUNT_KIND, &[account, currency.code()])
}

/// What the index terms of the accounts right below an account begin with.
#[must_use]
pub fn children_of(account: &AccountId, currency: Currency) -> KeyBuilder {
    let fits = "an id has at most 100 bytes and the term three texts";
    Key::of(CHILD_INDEX).text(account).expect(fits).text(currency.code()).expect(fits)
}

/// The account and currency of a balance counter's key.
#[must_use]
pub fn account_prefix(key: &Key) -> Option<(String, String)> {
    match key.segments().as_slice() {
        [txn_change::Segment::Text(account), txn_change::Segment::Text(currency)]
            if key.kind() == LEDGER_KIND.as_str() =>
        {
            Some((account.clone(), currency.clone()))
        }
        _ => None,
    }
}

/// Open an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAccount {
    /// The account as it will be recorded.
    pub account: Account,
}

/// Opens an account: its record and its balance of zero. `parent` is the record of the account that it names as its parent, where it names one.
///
/// # Errors
/// [`Rejection::AccountExists`], [`Rejection::UnknownParent`], [`Rejection::TooDeep`], [`Rejection::TooLong`], [`Rejection::InvalidLimit`],
/// [`Rejection::CurrencyMismatch`] for a limit in another currency.
pub fn open_account(
    context: &Context,
    existing: Option<&Versioned<Account>>,
    parent: Option<&Account>,
    command: &OpenAccount,
) -> Result<Change, Rejection> {
    let account = &command.account;
    if existing.is_some() {
        return Err(Rejection::AccountExists { account: account.id.clone(), currency: account.currency });
    }
    account.check()?;
    let level = level_under(account, parent)?;
    let account = Account { level, ..account.clone() };
    let opened = AccountChanged::of(&account, AccountChange::Opened(account.clone()), "");
    let mut change =
        context.change().insert(record_key(&account.id, account.currency), body(&account), account.terms());
    change.open.push(Open { counter: account_key(&account.id, account.currency), opening: account.opening() });
    Ok(change.append(opened.event()).answer(body(&account)))
}

fn level_under(account: &Account, parent: Option<&Account>) -> Result<u8, Rejection> {
    let Some(named) = &account.parent else { return Ok(0) };
    let parent = parent.filter(|parent| parent.id == *named && parent.currency == account.currency);
    let parent =
        parent.ok_or_else(|| Rejection::UnknownParent { account: account.id.clone(), parent: named.clone() })?;
    let level = parent.level.saturating_add(1);
    if level >= ACCOUNT_LEVELS_MAX {
        return Err(Rejection::TooDeep { account: account.id.clone(), max: ACCOUNT_LEVELS_MAX });
    }
    Ok(level)
}

/// Opens an account unless it exists; `None` when it does, with the same type, side and parent. For what opens accounts on its way, such as a transfer.
///
/// ```
/// use txn_core::{Context, Versioned, id::AccountId, ledger::{Account, AccountType, Rejection, open_absent}, money::Currency};
/// # use txn_change::{ChangeId, Fingerprint, Timestamp};
/// # let context = Context {
/// #     id: ChangeId::new("transfer/1")?,
/// #     fingerprint: Fingerprint::of("transfer", "1"),
/// #     now: Timestamp::EPOCH,
/// #     effective_at: None,
/// # };
/// let wallet = Account::new(AccountId::new("wallets:ann")?, AccountType::Liability, Currency::USD);
/// assert!(open_absent(&context, None, None, &wallet)?.is_some());
/// let existing = Versioned { version: 1, value: wallet.clone() };
/// assert_eq!(open_absent(&context, Some(&existing), None, &wallet.clone().named("Ann"))?, None);
/// let differs = open_absent(&context, Some(&existing), None, &wallet.contra());
/// assert!(matches!(differs, Err(Rejection::AccountDiffers { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Rejection::AccountDiffers`]; else as [`open_account`].
pub fn open_absent(
    context: &Context,
    existing: Option<&Versioned<Account>>,
    parent: Option<&Account>,
    account: &Account,
) -> Result<Option<Change>, Rejection> {
    let Some(existing) = existing.map(|existing| &existing.value) else {
        let command = OpenAccount { account: account.clone() };
        return open_account(context, None, parent, &command).map(Some);
    };
    let shape = |account: &Account| (account.account_type, account.normal, account.parent.clone());
    if shape(existing) != shape(account) {
        return Err(Rejection::AccountDiffers { account: account.id.clone(), currency: account.currency });
    }
    Ok(None)
}

/// Describe an account anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeAccount {
    /// The account.
    pub account: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// Its name from now on.
    pub name: String,
    /// All of its metadata from now on.
    pub metadata: Metadata,
    /// Why; kept in the account's history.
    #[serde(default)]
    pub reason: String,
}

/// Gives an account another name and other metadata. No balance is touched.
///
/// # Errors
/// [`Rejection::TooLong`].
pub fn describe_account(
    context: &Context,
    account: &Versioned<Account>,
    command: &DescribeAccount,
) -> Result<Change, Rejection> {
    check_name(&command.name)?;
    let (name, metadata) = (command.name.clone(), command.metadata.clone());
    let after = Account { name: name.clone(), metadata: metadata.clone(), ..account.value.clone() };
    change_account(context, account, &after, AccountChange::Described { name, metadata }, &command.reason)
}

/// Writes an account's record, with the event of what changed; that is also the answer.
pub(super) fn change_account(
    context: &Context,
    account: &Versioned<Account>,
    after: &Account,
    what: AccountChange,
    reason: &str,
) -> Result<Change, Rejection> {
    let changed = AccountChanged::because(after, what, reason)?;
    let key = record_key(&after.id, after.currency);
    let change = context.change().put(key, account.expect(), body(after), after.terms());
    Ok(change.append(changed.event()).answer(body(&changed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contra_account_grows_on_the_other_side() {
        let of = |account_type| Account::new(AccountId::new("a").unwrap(), account_type, Currency::USD);
        let sides = [
            (AccountType::Asset, NormalSide::Debit),
            (AccountType::Expense, NormalSide::Debit),
            (AccountType::Liability, NormalSide::Credit),
            (AccountType::Equity, NormalSide::Credit),
            (AccountType::Income, NormalSide::Credit),
        ];
        for (account_type, side) in sides {
            assert_eq!(of(account_type).normal, side);
            assert_eq!(of(account_type).contra().normal, side.other());
            assert_eq!(of(account_type).contra().contra().normal, side.other(), "said twice, it is said once");
        }
    }

    #[test]
    fn the_terms_of_the_children_stand_together() {
        let child = Account::new(AccountId::new("a:b").unwrap(), AccountType::Asset, Currency::USD);
        let parent = AccountId::new("a").unwrap();
        assert_eq!(child.terms(), Vec::new());
        let [term] = child.under(parent.clone()).terms().try_into().unwrap();
        assert!(term.as_bytes().starts_with(&children_of(&parent, Currency::USD).prefix()));
    }
}

//! Templates of accounts: one pattern for the accounts that every customer, seller or order has.

use alloc::{
    collections::BTreeSet,
    string::{String, ToString},
    vec::Vec,
};

use txn_change::NameError;

use super::{
    account::{Account, AccountType},
    limits::Limits,
    metadata::Metadata,
};
use crate::{id::AccountId, money::Currency};

/// A pattern of accounts, checked when it is made: whatever values fill it, its accounts are well-formed and stand where the pattern says. A value cannot hold a `:`, so
/// that nobody's name reaches into another part of the chart.
///
/// ```
/// use txn_core::{ledger::{AccountTemplate, AccountType, TemplateError}, money::Currency};
/// let wallet = AccountTemplate::new("customers:{customer}:wallet", AccountType::Liability)?
///     .under("customers")?
///     .named("Wallet of {customer}")?;
/// let account = wallet.account(&[("customer", "c-1")], Currency::USD)?;
/// assert_eq!((account.id.as_str(), account.name.as_str()), ("customers:c-1:wallet", "Wallet of c-1"));
/// let reaching = wallet.account(&[("customer", "c-1:fees")], Currency::USD);
/// assert!(matches!(reaching, Err(TemplateError::Value { .. })));
/// assert!(matches!(AccountTemplate::new("customers:{customer", AccountType::Liability), Err(TemplateError::Braces { at: 10 })));
/// # Ok::<(), TemplateError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountTemplate {
    id: Pattern,
    parent: Option<Pattern>,
    name: Pattern,
    account_type: AccountType,
    is_contra: bool,
    limits: Limits,
    metadata: Metadata,
}

/// Why a pattern, or the values for it, were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A brace without its other one, or one inside another.
    #[error("the brace at byte {at} has no other one")]
    Braces {
        /// Where.
        at: usize,
    },
    /// A placeholder's name is empty or has other characters than `a-z`, `0-9` and `_`.
    #[error("{name:?} is no name of a placeholder; 1 or more of a-z, 0-9 and '_' are")]
    Placeholder {
        /// The name.
        name: String,
    },
    /// The parent or the name has a placeholder that the id does not have, so that two parents or names would belong to one account.
    #[error("the placeholder {name:?} does not stand in the account's id")]
    NotInId {
        /// The placeholder.
        name: String,
    },
    /// The pattern makes no valid account id.
    #[error(transparent)]
    Id(#[from] NameError),
    /// There is no value for a placeholder.
    #[error("there is no value for {name:?}")]
    Missing {
        /// The placeholder.
        name: String,
    },
    /// A value has no placeholder, or there are two for one.
    #[error("a value for {name:?} is one too many")]
    TooMany {
        /// The placeholder.
        name: String,
    },
    /// A value is empty, or has a `:` in it.
    #[error("{value:?} cannot be the value of {name:?}: it is empty or holds a ':'")]
    Value {
        /// The placeholder.
        name: String,
        /// The value.
        value: String,
    },
}

impl AccountTemplate {
    /// A template of accounts with these ids, on their type's own side, that cannot be overdrawn.
    ///
    /// # Errors
    /// [`TemplateError::Braces`], [`TemplateError::Placeholder`]; [`TemplateError::Id`] when no value could make it a valid id.
    pub fn new(id: &str, account_type: AccountType) -> Result<Self, TemplateError> {
        let id = Pattern::parse(id)?;
        AccountId::new(id.filled(|_| "x"))?;
        let name = Pattern(Vec::new());
        let (limits, metadata) = (Limits::default(), Metadata::default());
        Ok(Self { id, parent: None, name, account_type, is_contra: false, limits, metadata })
    }

    /// Puts its accounts below another one.
    ///
    /// # Errors
    /// As [`AccountTemplate::new`]; [`TemplateError::NotInId`].
    pub fn under(self, parent: &str) -> Result<Self, TemplateError> {
        let parent = self.beside_id(parent)?;
        AccountId::new(parent.filled(|_| "x"))?;
        Ok(Self { parent: Some(parent), ..self })
    }

    /// Names its accounts for people.
    ///
    /// # Errors
    /// [`TemplateError::Braces`], [`TemplateError::Placeholder`], [`TemplateError::NotInId`].
    pub fn named(self, name: &str) -> Result<Self, TemplateError> {
        let name = self.beside_id(name)?;
        Ok(Self { name, ..self })
    }

    /// Makes them contra accounts.
    #[must_use]
    pub fn contra(self) -> Self {
        Self { is_contra: true, ..self }
    }

    /// Says how far their balances may go. Opening one in another currency than that of an amount in here is refused.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Says what the host knows of every one of them.
    #[must_use]
    pub fn with(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// The names of its placeholders, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.id.placeholders().into_iter()
    }

    /// The account of these values: each placeholder's name with its value, once.
    ///
    /// # Errors
    /// [`TemplateError::Missing`], [`TemplateError::TooMany`], [`TemplateError::Value`]; [`TemplateError::Id`] when the values make the id too long or have a character that
    /// no id has.
    pub fn account(&self, values: &[(&str, &str)], currency: Currency) -> Result<Account, TemplateError> {
        let placeholders = self.id.placeholders();
        for (index, (name, value)) in values.iter().enumerate() {
            let is_again = values.iter().take(index).any(|(earlier, _)| earlier == name);
            if is_again || !placeholders.contains(name) {
                return Err(TemplateError::TooMany { name: (*name).to_string() });
            }
            if value.is_empty() || value.contains(':') {
                return Err(TemplateError::Value { name: (*name).to_string(), value: (*value).to_string() });
            }
        }
        let find = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        if let Some(name) = placeholders.into_iter().find(|name| find(name).is_none()) {
            return Err(TemplateError::Missing { name: name.to_string() });
        }
        let fill = |pattern: &Pattern| pattern.filled(|name| find(name).unwrap_or_default());
        let mut account = Account::new(AccountId::new(fill(&self.id))?, self.account_type, currency);
        if self.is_contra {
            account = account.contra();
        }
        account.parent = self.parent.as_ref().map(|parent| AccountId::new(fill(parent))).transpose()?;
        account.name = fill(&self.name);
        account.limits = self.limits;
        account.metadata = self.metadata.clone();
        Ok(account)
    }

    fn beside_id(&self, pattern: &str) -> Result<Pattern, TemplateError> {
        let pattern = Pattern::parse(pattern)?;
        let known = self.id.placeholders();
        let foreign = pattern.placeholders().into_iter().find(|name| !known.contains(name)).map(ToString::to_string);
        foreign.map_or(Ok(pattern), |name| Err(TemplateError::NotInId { name }))
    }
}

/// Texts and placeholders, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(String),
}

impl Pattern {
    fn parse(pattern: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let (mut rest, mut at) = (pattern, 0usize);
        while let Some(brace) = rest.find(['{', '}']) {
            let (text, behind) = rest.split_at(brace);
            let opened = at.saturating_add(brace);
            let Some(inside) = behind.strip_prefix('{') else { return Err(TemplateError::Braces { at: opened }) };
            let (name, after) = match inside.split_once('}') {
                Some((name, after)) if !name.contains('{') => (name, after),
                _ => return Err(TemplateError::Braces { at: opened }),
            };
            let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if name.is_empty() || !name.chars().all(is_allowed) {
                return Err(TemplateError::Placeholder { name: name.to_string() });
            }
            if !text.is_empty() {
                parts.push(Part::Text(text.to_string()));
            }
            parts.push(Part::Placeholder(name.to_string()));
            at = pattern.len().saturating_sub(after.len());
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_string()));
        }
        Ok(Self(parts))
    }

    fn placeholders(&self) -> BTreeSet<&str> {
        let names = self.0.iter().filter_map(|part| match part {
            Part::Placeholder(name) => Some(name.as_str()),
            Part::Text(_) => None,
        });
        names.collect()
    }

    fn filled<'a>(&'a self, value: impl Fn(&'a str) -> &'a str) -> String {
        let text = |part: &'a Part| match part {
            Part::Text(text) => text.as_str(),
            Part::Placeholder(name) => value(name),
        };
        self.0.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{ledger::Overdraft, money::Money};

    fn template(id: &str) -> Result<AccountTemplate, TemplateError> {
        AccountTemplate::new(id, AccountType::Asset)
    }

    #[test]
    fn a_pattern_is_checked_when_it_is_made() {
        let table = [
            ("a:{b", TemplateError::Braces { at: 2 }),
            ("a:b}", TemplateError::Braces { at: 3 }),
            ("a:{b{c}}", TemplateError::Braces { at: 2 }),
            ("{a}:{b}}", TemplateError::Braces { at: 7 }),
            ("a:{}", TemplateError::Placeholder { name: "".into() }),
            ("a:{B}", TemplateError::Placeholder { name: "B".into() }),
            ("a:{b c}", TemplateError::Placeholder { name: "b c".into() }),
        ];
        for (pattern, error) in table {
            assert_eq!(template(pattern), Err(error), "{pattern}");
        }
        for pattern in ["", "a b", "\u{fc}:{b}"] {
            assert!(matches!(template(pattern), Err(TemplateError::Id(_))), "{pattern}");
        }
        let sound = template("a:{b}").unwrap();
        assert_eq!(sound.clone().under("{c}"), Err(TemplateError::NotInId { name: "c".into() }));
        assert_eq!(sound.clone().named("of {b} {c}"), Err(TemplateError::NotInId { name: "c".into() }));
        assert!(matches!(sound.under("a/{b}"), Err(TemplateError::Id(_))));
    }

    #[test]
    fn every_placeholder_is_given_its_value_once() {
        let of = template("{a}:{b_2}:{a}").unwrap();
        assert_eq!(of.placeholders().collect::<Vec<_>>(), vec!["a", "b_2"]);
        let id = |values: &[(&str, &str)]| of.account(values, Currency::USD).map(|account| account.id.to_string());
        assert_eq!(id(&[("b_2", "y"), ("a", "x")]), Ok("x:y:x".into()));
        assert_eq!(id(&[("a", "x")]), Err(TemplateError::Missing { name: "b_2".into() }));
        assert_eq!(id(&[("a", "x"), ("b_2", "y"), ("c", "z")]), Err(TemplateError::TooMany { name: "c".into() }));
        assert_eq!(id(&[("a", "x"), ("a", "x"), ("b_2", "y")]), Err(TemplateError::TooMany { name: "a".into() }));
        for value in ["", "x:y", ":"] {
            let error = TemplateError::Value { name: "a".into(), value: value.into() };
            assert_eq!(id(&[("a", value), ("b_2", "y")]), Err(error));
        }
        assert!(matches!(id(&[("a", "x/y"), ("b_2", "y")]), Err(TemplateError::Id(_))));
        assert!(matches!(id(&[("a", &"x".repeat(60)), ("b_2", "y")]), Err(TemplateError::Id(_))), "too long");
    }

    #[test]
    fn what_a_template_says_stands_in_its_accounts() {
        let limits = Limits { overdraft: Overdraft::UpTo(Money::from_minor(5, Currency::USD)), balance_max: None };
        let of = template("a:{b}").unwrap().under("a").unwrap().named("the {b}").unwrap().contra().limits(limits);
        let metadata = Metadata::new([("k", "v")]).unwrap();
        let account = of.with(metadata.clone()).account(&[("b", "1")], Currency::EUR).unwrap();
        let expected = Account::new(AccountId::new("a:1").unwrap(), AccountType::Asset, Currency::EUR);
        let mut expected = expected.under(AccountId::new("a").unwrap()).named("the 1").contra().with(metadata);
        expected.limits = limits;
        assert_eq!(account, expected);
    }
}

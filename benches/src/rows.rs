//! What hand-written peers share: the rows of a change and of the accounts, as plain values.

use txn_bench::ledger::{ACCOUNTS, FUNDS, Work};

/// An account's guards: it may not be overdrawn.
pub(crate) const GUARDS: &str = r#"[{"weights":[0,1,-1,-1],"min":0},null]"#;

/// The accounts with their funds: number, key, posted debits.
pub(crate) fn accounts() -> impl Iterator<Item = (i64, Vec<u8>, i64)> {
    (0..ACCOUNTS).map(|account| (number(account), format!("ledger/customers:{account:04}/USD").into_bytes(), FUNDS))
}

/// The row number of an account.
pub(crate) fn number(account: u64) -> i64 {
    account.cast_signed() + 1
}

/// A change with all that is written of it, ready.
pub(crate) struct Row {
    pub(crate) work: Work,
    /// The index terms as they stand in the event.
    pub(crate) terms: Vec<u8>,
}

impl Row {
    pub(crate) fn of(work: Work) -> Self {
        let terms = work.change.append[0].terms.iter();
        let terms = terms.flat_map(|term| {
            let length = u16::try_from(term.as_bytes().len()).expect("a term is short").to_be_bytes();
            length.into_iter().chain(term.as_bytes().iter().copied()).collect::<Vec<u8>>()
        });
        Self { terms: terms.collect(), work }
    }
}

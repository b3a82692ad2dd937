//! The replay's own records: which file it was, and the lines that move nothing.

use serde::{Deserialize, Serialize};
use txn::{
    Failure, Services,
    change::{Document, Key, KeyError, Kind, TimeError, Timestamp},
};

use crate::{
    invoices::{Quarantined, Unmatched},
    names,
};

/// Which file a tenant holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Of the uncompressed bytes.
    pub sha256: String,
    /// How many data rows were taken, at most.
    pub limit: Option<u64>,
}

/// That the replay has come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportDone {}

/// A line that moves nothing: quarantined, or a cancellation's units that were not found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aside {
    /// Its row.
    pub row: u64,
    /// Why: a reason of quarantine, or `unmatched`.
    pub reason: String,
    /// Its invoice number, escaped.
    pub invoice: String,
    /// Its stock code, escaped.
    pub stock_code: String,
    /// Its customer, escaped.
    pub customer: Option<String>,
    /// Its time.
    pub at: Timestamp,
    /// Its units.
    pub quantity: i64,
    /// Its price of one unit, as written.
    pub price: String,
}

impl Aside {
    /// A line that is neither sale nor cancellation.
    ///
    /// # Errors
    /// For a time that a store cannot hold, which reading the file refuses.
    pub fn quarantined(line: &Quarantined) -> Result<Self, TimeError> {
        Ok(Self {
            row: line.row,
            reason: line.reason.name().into(),
            invoice: names::escape(&line.invoice),
            stock_code: names::escape(&line.stock_code),
            customer: line.customer.as_ref().map(|name| names::escape(name)),
            at: Timestamp::from_seconds(line.at_s)?,
            quantity: line.quantity,
            price: line.price.to_string(),
        })
    }

    /// A cancellation's units that were not found.
    ///
    /// # Errors
    /// As [`Aside::quarantined`].
    pub fn unmatched(line: &Unmatched) -> Result<Self, TimeError> {
        Ok(Self {
            row: line.row,
            reason: "unmatched".into(),
            invoice: names::escape(&line.invoice),
            stock_code: names::escape(&line.stock_code),
            customer: line.customer.as_ref().map(|name| names::escape(name)),
            at: Timestamp::from_seconds(line.at_s)?,
            quantity: line.quantity,
            price: line.price.to_string(),
        })
    }
}

impl Document for Import {
    const TYPE: &'static str = "replay.import";
    const SCHEMA: u16 = 1;
}

impl Document for ImportDone {
    const TYPE: &'static str = "replay.done";
    const SCHEMA: u16 = 1;
}

impl Document for Aside {
    const TYPE: &'static str = "replay.aside";
    const SCHEMA: u16 = 1;
}

/// The key of the import's record.
///
/// # Errors
/// Never: the kind is valid.
pub fn import_key() -> Result<Key, KeyError> {
    Ok(Key::of(Kind::new("replay")?).text("import")?.build())
}

/// The key of the record of the end.
///
/// # Errors
/// Never: the kind is valid.
pub fn done_key() -> Result<Key, KeyError> {
    Ok(Key::of(Kind::new("replay")?).text("done")?.build())
}

/// The kind of the records of lines that move nothing.
///
/// # Errors
/// Never: the kind is valid.
pub fn aside_kind() -> Result<Kind, KeyError> {
    Kind::new("aside")
}

/// Reads a record of the host's own.
///
/// # Errors
/// [`Failure`].
pub async fn read<T: Document>(shop: &Services, key: &Key) -> Result<Option<T>, Failure> {
    let record = shop.scope().record(key.clone()).await?;
    Ok(record.map(|record| record.body.read()).transpose()?)
}

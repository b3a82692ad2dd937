//! Why an invoice file is refused: one line that names the row, the column and the value.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use super::columns::Column;
use super::limits::{ORDER_LINES_MAX, PRICE_DIGITS_MAX, PRICE_WHOLE_DIGITS_MAX, QUANTITY_MAX};

/// The file cannot be used, and nothing of it has been executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {fault}", Shown::of(path.as_os_str().as_encoded_bytes()).whole())]
pub struct FileError {
    /// The file, as it was named.
    pub path: PathBuf,
    /// The first fault found.
    pub fault: Fault,
}

/// What is wrong with a file; the first fault in the order of the file is the one reported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The operating system does not hand it over.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The gzip stream ends before its end.
    #[error("the gzip stream is cut off")]
    GzipCut,
    /// The gzip stream does not unpack, or something follows it.
    #[error("the gzip stream is damaged: {0}")]
    GzipDamaged(String),
    /// Larger than [`FILE_BYTES_MAX`](super::FILE_BYTES_MAX).
    #[error("more than {bytes_max} bytes, uncompressed")]
    TooManyBytes {
        /// The limit.
        bytes_max: u64,
    },
    /// Longer than [`ROWS_MAX`](super::ROWS_MAX).
    #[error("more than {rows_max} rows")]
    TooManyRows {
        /// The limit.
        rows_max: u64,
    },
    /// The header lacks a column.
    #[error("header, column {0}: missing")]
    ColumnMissing(Column),
    /// The header names a column more than once.
    #[error("header, column {0}: named twice")]
    ColumnTwice(Column),
    /// A quote is opened in the header, and the file ends before it is closed.
    #[error("header: the file ends inside the quoted value {0}")]
    HeaderUnclosed(Shown),
    /// A quote is opened, and the file ends before it is closed.
    #[error("row {row}, column {}: the file ends inside the quoted value {value}", column.whole())]
    RowUnclosed {
        /// The row, from 1.
        row: u64,
        /// The header's name of the column.
        column: Shown,
        /// What follows the quote.
        value: Shown,
    },
    /// The file ends in the middle of a row.
    #[error("row {row}, column {}: the file ends after {fields} of {width} fields", column.whole())]
    RowCut {
        /// The row, from 1.
        row: u64,
        /// The first column that is missing.
        column: Shown,
        /// The fields that are there.
        fields: usize,
        /// The fields of the header.
        width: usize,
    },
    /// A row with fewer fields than the header.
    #[error("row {row}, column {}: missing, the row has {fields} of {width} fields", column.whole())]
    RowTooShort {
        /// The row, from 1.
        row: u64,
        /// The first column that is missing.
        column: Shown,
        /// The fields that are there.
        fields: usize,
        /// The fields of the header.
        width: usize,
    },
    /// A row with more fields than the header.
    #[error("row {row}: {fields} fields where the header has {width}, from {value} on")]
    RowTooLong {
        /// The row, from 1.
        row: u64,
        /// The first value without a column.
        value: Shown,
        /// The fields that are there.
        fields: usize,
        /// The fields of the header.
        width: usize,
    },
    /// A value that cannot be used.
    #[error("row {row}, column {column}: {value} {wrong}")]
    Value {
        /// The row, from 1.
        row: u64,
        /// The column.
        column: Column,
        /// The value.
        value: Shown,
        /// What is wrong with it.
        wrong: Wrong,
    },
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// Longer than its limit.
    #[error("is {bytes} bytes long, more than {bytes_max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Longer than an id once it is escaped.
    #[error("is {bytes} bytes long with its escapes, more than {bytes_max}")]
    TooLongEscaped {
        /// Its length, escaped.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// More than one line of an order can hold.
    #[error("is beyond the {units_max} units of an order's line")]
    LineTooLarge {
        /// The limit.
        units_max: u64,
    },
    /// Not an integer.
    #[error("is not a whole number")]
    NotAWholeNumber,
    /// Beyond [`QUANTITY_MAX`].
    #[error("is beyond {QUANTITY_MAX} units")]
    QuantityTooLarge,
    /// A cancellation that takes nothing back.
    #[error("is not below zero, in a cancellation")]
    CancellationNotNegative,
    /// Not a time of the form this file has.
    #[error("is not a time like 2010-12-01T08:26:00Z")]
    NotATime,
    /// Beyond what a store keeps.
    #[error("is before 1677-09-21T00:12:44Z or after 2262-04-11T23:47:16Z")]
    TimeOutOfRange,
    /// Not a decimal number in plain digits.
    #[error("is not a plain decimal number")]
    NotADecimal,
    /// Beyond [`PRICE_DIGITS_MAX`] or [`PRICE_WHOLE_DIGITS_MAX`].
    #[error("has more than {PRICE_DIGITS_MAX} digits, or {PRICE_WHOLE_DIGITS_MAX} before the point")]
    PriceTooLong,
    /// An invoice beyond [`ORDER_LINES_MAX`].
    #[error("has more than {ORDER_LINES_MAX} sale lines")]
    OrderTooLong,
    /// The amount of the unmatched units no longer fits a decimal.
    #[error("takes the unmatched amount beyond what is held exactly")]
    UnmatchedTooLarge,
}

/// A value from a file as an error shows it: on one line, in quotes, shortened, with escapes for what does not print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    const CHARACTERS_MAX: usize = 40;

    /// `value` made fit to print, whatever its bytes.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let mut text = String::new();
        // Without a cut first, a value of a gigabyte would be escaped to show its beginning.
        let head = value.get(..1_024).unwrap_or(value);
        for chunk in head.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\'' => text.push('\''),
                    _ => text.extend(character.escape_debug()),
                }
            }
            for byte in chunk.invalid() {
                // Writing to a String does not fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        Self(text)
    }

    /// The same without quotes and uncut, for names and paths.
    fn whole(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(Self::CHARACTERS_MAX) {
            None => write!(f, "\"{}\"", self.0),
            Some((end, _)) => write!(f, "\"{}…\"", self.0.get(..end).unwrap_or_default()),
        }
    }
}

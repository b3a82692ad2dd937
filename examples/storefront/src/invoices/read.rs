//! From a file's bytes to its rows, every value read, none judged yet.

use std::path::{Path, PathBuf};

use csv::ByteRecord;
use rust_decimal::Decimal;

use super::classify::is_cancellation;
use super::columns::{Columns, Place};
use super::error::{Fault, FileError, Shown, Wrong};
use super::field;
use super::limits::{CUSTOMER_BYTES_MAX, FILE_BYTES_MAX, INVOICE_BYTES_MAX, ROWS_MAX, STOCK_CODE_BYTES_MAX};
use super::names::{Name, NameId, Names};
use super::source::Source;
use super::table::Table;
use super::time;

/// The rows of a file that has been read to its end without a fault.
#[derive(Debug)]
pub struct File {
    pub(super) path: PathBuf,
    pub(super) sha256: String,
    pub(super) limit: Option<u64>,
    invoices: Names,
    stock_codes: Names,
    customers: Names,
    rows: Vec<Row>,
}

/// One data row, without the columns that decide nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) invoice: NameId,
    pub(super) stock_code: NameId,
    pub(super) customer: Option<NameId>,
    pub(super) quantity: i64,
    pub(super) at_s: i64,
    pub(super) price: Decimal,
}

impl File {
    /// The sha256 of the whole uncompressed file, in lower-case hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// How many rows are taken: at most the limit.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    pub(super) fn invoice(&self, row: &Row) -> Name {
        Name::clone(self.invoices.name(row.invoice))
    }

    pub(super) fn stock_code(&self, row: &Row) -> Name {
        Name::clone(self.stock_codes.name(row.stock_code))
    }

    pub(super) fn customer(&self, row: &Row) -> Option<Name> {
        row.customer.map(|id| Name::clone(self.customers.name(id)))
    }

    /// The rows with their numbers, from 1.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u64, &Row)> {
        (1..).zip(&self.rows)
    }
}

/// Reads an invoice file, plain or gzip as its first bytes tell, and takes its first `limit` rows.
///
/// Rows beyond the limit are hashed but neither parsed nor judged.
///
/// # Errors
///
/// The first [`Fault`] in the order of the file.
pub fn read(path: &Path, limit: Option<u64>) -> Result<File, FileError> {
    let size = Size { bytes_max: FILE_BYTES_MAX, rows_max: ROWS_MAX };
    read_within(size, path, limit).map_err(|fault| FileError { path: path.to_owned(), fault })
}

/// How much one file may hold.
#[derive(Clone, Copy)]
struct Size {
    bytes_max: u64,
    rows_max: u64,
}

fn read_within(size: Size, path: &Path, limit: Option<u64>) -> Result<File, Fault> {
    let mut table = Table::open(Source::open(path, size.bytes_max)?)?;
    let mut file = File {
        path: path.to_owned(),
        sha256: String::new(),
        limit,
        invoices: Names::default(),
        stock_codes: Names::default(),
        customers: Names::default(),
        rows: Vec::new(),
    };
    let mut record = ByteRecord::new();
    for number in 1..=limit.unwrap_or(u64::MAX) {
        if !table.next(number, &mut record)? {
            break;
        }
        if number > size.rows_max {
            return Err(Fault::TooManyRows { rows_max: size.rows_max });
        }
        let row = file.row(table.columns(), &record).map_err(|unfit| unfit.at(number))?;
        file.rows.push(row);
    }
    file.sha256 = table.finish()?;
    Ok(file)
}

/// A value that cannot be used, before its row is known.
struct Unfit<'a> {
    place: Place,
    value: &'a [u8],
    wrong: Wrong,
}

impl Unfit<'_> {
    fn at(&self, row: u64) -> Fault {
        Fault::Value { row, column: self.place.column, value: Shown::of(self.value), wrong: self.wrong }
    }
}

impl File {
    fn row<'a>(&mut self, columns: &Columns, record: &'a ByteRecord) -> Result<Row, Unfit<'a>> {
        let invoice = name(columns.invoice, record, INVOICE_BYTES_MAX)?;
        let stock_code = name(columns.stock_code, record, STOCK_CODE_BYTES_MAX)?;
        let quantity = value(columns.quantity, record, field::quantity)?;
        let at_s = value(columns.time, record, time::seconds)?;
        let price = value(columns.price, record, field::price)?;
        let customer = name(columns.customer, record, CUSTOMER_BYTES_MAX)?;
        if is_cancellation(invoice) && quantity >= 0 {
            let place = columns.quantity;
            let wrong = Wrong::CancellationNotNegative;
            return Err(Unfit { place, value: place.of(record), wrong });
        }
        Ok(Row {
            invoice: self.invoices.id(invoice),
            stock_code: self.stock_codes.id(stock_code),
            customer: (!customer.is_empty()).then(|| self.customers.id(customer)),
            quantity,
            at_s,
            price,
        })
    }
}

fn name(place: Place, record: &ByteRecord, bytes_max: usize) -> Result<&[u8], Unfit<'_>> {
    let value = place.of(record);
    let bytes = value.len();
    if bytes > bytes_max {
        return Err(Unfit { place, value, wrong: Wrong::TooLong { bytes, bytes_max } });
    }
    Ok(value)
}

fn value<T>(place: Place, record: &ByteRecord, parse: impl Fn(&[u8]) -> Result<T, Wrong>) -> Result<T, Unfit<'_>> {
    let value = place.of(record);
    parse(value).map_err(|wrong| Unfit { place, value, wrong })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
        1,A,,1,2010-12-01T08:26:00Z,1,,\n\
        2,A,,1,2010-12-01T08:26:00Z,1,,\n";

    fn fault(size: Size, limit: Option<u64>) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("invoices.csv");
        std::fs::write(&path, TEXT).unwrap();
        read_within(size, &path, limit).err().map(|fault| fault.to_string())
    }

    #[test]
    fn a_file_is_read_up_to_its_size_and_refused_beyond() {
        let bytes = TEXT.len() as u64;
        let cases = [
            (bytes, 2, None, None),
            (bytes, 1, Some(1), None),
            (bytes, 1, None, Some("more than 1 rows".to_owned())),
            (bytes - 1, 2, None, Some(format!("more than {} bytes, uncompressed", bytes - 1))),
            (bytes - 1, 2, Some(0), Some(format!("more than {} bytes, uncompressed", bytes - 1))),
        ];
        for (bytes_max, rows_max, limit, expected) in cases {
            assert_eq!(fault(Size { bytes_max, rows_max }, limit), expected);
        }
    }
}

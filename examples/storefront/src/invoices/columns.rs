//! The columns of an invoice file, and where a given header puts them.

use std::fmt;

use csv::ByteRecord;

use super::error::{Fault, Shown};

/// A column every invoice file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The invoice number: all digits, or `C…` for a cancellation.
    InvoiceNo,
    /// The stock code.
    StockCode,
    /// What the line sells, in words; not read.
    Description,
    /// Units, below zero on a cancellation.
    Quantity,
    /// The time, in UTC.
    InvoiceDate,
    /// The price of one unit, in pounds.
    UnitPrice,
    /// The customer, or nothing.
    CustomerID,
    /// The customer's country; not read.
    Country,
}

impl Column {
    /// Every column, in the order of the published file.
    pub const ALL: [Self; 8] = [
        Self::InvoiceNo,
        Self::StockCode,
        Self::Description,
        Self::Quantity,
        Self::InvoiceDate,
        Self::UnitPrice,
        Self::CustomerID,
        Self::Country,
    ];

    /// The name in the header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvoiceNo => "InvoiceNo",
            Self::StockCode => "StockCode",
            Self::Description => "Description",
            Self::Quantity => "Quantity",
            Self::InvoiceDate => "InvoiceDate",
            Self::UnitPrice => "UnitPrice",
            Self::CustomerID => "CustomerID",
            Self::Country => "Country",
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The places of the columns this crate reads, for one header that has all of [`Column::ALL`] exactly once.
#[derive(Debug)]
pub(super) struct Columns {
    header: ByteRecord,
    pub(super) invoice: Place,
    pub(super) stock_code: Place,
    pub(super) quantity: Place,
    pub(super) time: Place,
    pub(super) price: Place,
    pub(super) customer: Place,
}

/// Where one column stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) column: Column,
    index: usize,
}

impl Columns {
    pub(super) fn of(header: ByteRecord) -> Result<Self, Fault> {
        for column in Column::ALL {
            place(&header, column)?;
        }
        Ok(Self {
            invoice: place(&header, Column::InvoiceNo)?,
            stock_code: place(&header, Column::StockCode)?,
            quantity: place(&header, Column::Quantity)?,
            time: place(&header, Column::InvoiceDate)?,
            price: place(&header, Column::UnitPrice)?,
            customer: place(&header, Column::CustomerID)?,
            header,
        })
    }

    /// How many fields every row has.
    pub(super) fn width(&self) -> usize {
        self.header.len()
    }

    /// The header's name of the field at `index`; nothing beyond its width.
    pub(super) fn name(&self, index: usize) -> Shown {
        Shown::of(self.header.get(index).unwrap_or_default())
    }
}

impl Place {
    /// The value in a row, which is as wide as the header.
    pub(super) fn of(self, record: &ByteRecord) -> &[u8] {
        record.get(self.index).unwrap_or_default()
    }
}

fn place(header: &ByteRecord, column: Column) -> Result<Place, Fault> {
    let mut found = header.iter().enumerate().filter(|(_, name)| *name == column.name().as_bytes());
    let (index, _) = found.next().ok_or(Fault::ColumnMissing(column))?;
    match found.next() {
        None => Ok(Place { column, index }),
        Some(_) => Err(Fault::ColumnTwice(column)),
    }
}

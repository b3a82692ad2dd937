//! A retailer's invoice file, read whole and judged before anything is executed.
//!
//! [`read`] turns the file into rows, or into one error that names the row, the column and the value. [`plan`] turns the
//! rows into orders, returns and records, as plain data in the order of the file. Neither touches a store: what fails here
//! has committed nothing.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("year.csv");
//! std::fs::write(
//!     &path,
//!     "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
//!      536365,85123A,T-LIGHT HOLDER,6,2010-12-01T08:26:00Z,2.55,17850,United Kingdom\n\
//!      C536379,85123A,T-LIGHT HOLDER,-2,2010-12-01T09:41:00Z,2.55,17850,United Kingdom\n",
//! )?;
//! let file = storefront::invoices::read(&path, None)?;
//! let plan = storefront::invoices::plan(&file)?;
//! let totals = storefront::invoices::Totals::of(&plan);
//! assert_eq!((totals.orders, totals.gross_minor, totals.returns.units), (1, 1530, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the layout leaves open is decided so:
//!
//! - **The file is its uncompressed bytes.** Its sha256 is the same for the plain and the gzip form, and always that of the
//!   whole file, so a cut gzip stream is an error even when the limit ends above the cut.
//! - **A row is a CSV record below the header**, counted from 1: quoted line breaks do not count, blank lines are skipped.
//!   Columns are found by their exact name; others may stand between them. A UTF-8 byte order mark before the header is
//!   skipped (and hashed). The last row may lack its line break; a cut inside its last value is then not visible.
//! - **Values are taken as they stand**: nothing is trimmed, folded or decoded. A quantity or price in quotes is the same
//!   value; `+5`, `1e3`, `.5`, `5.` and ` 5` are none. Times are UTC, to the second, without leap seconds.
//! - **A cancellation is known by its capital `C` alone.** Its price may be anything; it only counts for unmatched units.
//! - **An invoice's customer is that of its first sale line**, as its time is, should later lines name another. An empty
//!   customer is none.
//! - **An order stands at its first sale line with all of its lines**, so a cancellation below that line also finds lines of
//!   the order that follow the cancellation.

mod classify;
mod columns;
mod error;
mod field;
mod judged;
mod limits;
mod names;
mod plan;
mod read;
mod returns;
mod source;
mod table;
mod time;
mod totals;

pub use classify::{Kind, Reason, classify};
pub use columns::Column;
pub use error::{Fault, FileError, Shown, Wrong};
pub use limits::{
    CUSTOMER_BYTES_MAX, FILE_BYTES_MAX, INVOICE_BYTES_MAX, ORDER_LINES_MAX, PRICE_DIGITS_MAX, PRICE_WHOLE_DIGITS_MAX,
    QUANTITY_MAX, ROWS_MAX, STOCK_CODE_BYTES_MAX,
};
pub use names::Name;
pub use plan::{
    Plan, PlannedLine, PlannedOrder, PlannedReturn, PlannedStock, Quarantined, ReturnPart, Unmatched, plan,
};
pub use read::{File, read};
pub use totals::{ExactSum, ReturnTotals, Totals};

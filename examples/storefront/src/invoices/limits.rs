//! What a file may hold at most. Together they keep every sum of a plan inside its integer.

/// Uncompressed bytes of a file: stops a gzip stream that unpacks to more than a disk.
pub const FILE_BYTES_MAX: u64 = 1_073_741_824;

/// Rows judged from one file.
pub const ROWS_MAX: u64 = 5_000_000;

/// Bytes of an invoice number.
pub const INVOICE_BYTES_MAX: usize = 64;

/// Bytes of a stock code.
pub const STOCK_CODE_BYTES_MAX: usize = 100;

/// Bytes of a customer.
pub const CUSTOMER_BYTES_MAX: usize = 64;

/// Units of one row, in either direction: [`ROWS_MAX`] of them still add up in an `i64`.
pub const QUANTITY_MAX: u64 = 1_000_000_000_000;

/// Digits of a price as written, leading and trailing zeros included.
pub const PRICE_DIGITS_MAX: usize = 18;

/// Digits of a price before its point: the pence of one unit fit an `i64`.
pub const PRICE_WHOLE_DIGITS_MAX: usize = 12;

/// Sale lines of one invoice: an order is placed in one commit, and a commit has a size.
pub const ORDER_LINES_MAX: usize = 2_048;

//! Every way a file is refused, by the line it is refused with.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use storefront::invoices::{self, FileError, ORDER_LINES_MAX};

use crate::generator::generate;

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";
const GOOD: &str = "536365,85123A,HOLDER,6,2010-12-01T08:26:00Z,2.55,17850,EIRE";

fn judge(path: &Path, limit: Option<u64>) -> Result<(), FileError> {
    invoices::read(path, limit).and_then(|file| invoices::plan(&file)).map(drop)
}

/// The error of a file with these bytes, without its path.
fn fault(bytes: impl AsRef<[u8]>, limit: Option<u64>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invoices.csv");
    fs::write(&path, bytes).unwrap();
    let line = judge(&path, limit).map_or_else(|error| error.to_string(), |()| "accepted".to_owned());
    assert!(!line.contains('\n') && line.len() < 400, "{line}");
    line.replace(&format!("{}: ", path.display()), "")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = judge(&folder.path().join("no\nfile"), None).unwrap_err();
    let expected =
        format!("{}/no\\nfile: cannot be read: No such file or directory (os error 2)", folder.path().display());
    assert_eq!(error.to_string(), expected);
    let error = judge(folder.path(), None).unwrap_err();
    let expected = format!("{}: cannot be read: Is a directory (os error 21)", folder.path().display());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_header_needs_each_column_once() {
    let cases = [
        (String::new(), "header, column InvoiceNo: missing"),
        ("\n\n".to_owned(), "header, column InvoiceNo: missing"),
        (GOOD.to_owned(), "header, column InvoiceNo: missing"),
        (HEADER.replace("Quantity", "quantity"), "header, column Quantity: missing"),
        (HEADER.replace("UnitPrice", " UnitPrice"), "header, column UnitPrice: missing"),
        (HEADER.replace(",Country", ""), "header, column Country: missing"),
        (HEADER.replace(',', ";"), "header, column InvoiceNo: missing"),
        (format!("{HEADER},Quantity"), "header, column Quantity: named twice"),
        (
            format!("\"{HEADER}\n{GOOD}"),
            "header: the file ends inside the quoted value \"InvoiceNo,StockCode,Description,Quantity…\"",
        ),
        (format!("\u{feff}{HEADER},Note,Note"), "accepted"),
        (format!("\"{}\"\r\n", HEADER.replace(',', "\",\"")), "accepted"),
    ];
    for (text, expected) in cases {
        assert_eq!(fault(&text, None), expected, "{text}");
    }
}

#[test]
fn a_row_is_as_wide_as_the_header() {
    let cases = [
        (GOOD.to_owned(), "accepted"),
        (format!("{GOOD}\r\n\r\n{GOOD}\r\n"), "accepted"),
        (format!("{GOOD}\n536366,85"), "row 2, column Description: the file ends after 2 of 8 fields"),
        (format!("{GOOD}\n536366\n"), "row 2, column StockCode: the file ends after 1 of 8 fields"),
        (format!("536366,85\n{GOOD}\n"), "row 1, column Description: missing, the row has 2 of 8 fields"),
        (format!("{GOOD}\n{GOOD},x,y\n"), "row 2: 10 fields where the header has 8, from \"x\" on"),
        (
            format!("{GOOD}\n536366,\"85123A\n{GOOD}\n"),
            "row 2, column StockCode: the file ends inside the quoted value \"85123A\\n536365,85123A,HOLDER,6,2010-12-0…\"",
        ),
        (
            format!("{GOOD}\n{}\"", GOOD.replace("EIRE", "")),
            "row 2, column Country: the file ends inside the quoted value \"\"",
        ),
        (
            format!("{GOOD}\n{}\"EIRE", GOOD.replace("EIRE", "")),
            "row 2, column Country: the file ends inside the quoted value \"EIRE\"",
        ),
        (
            format!("{GOOD}\n{}\"EIRE\n\n", GOOD.replace("EIRE", "")),
            "row 2, column Country: the file ends inside the quoted value \"EIRE\\n\\n\"",
        ),
        (GOOD.replace("EIRE", "\"EIRE\n\n\""), "accepted"),
        (GOOD.replace("EIRE", "\"EIRE\n\n\"\n\n\n"), "accepted"),
        (GOOD.replace("HOLDER", "4\" HOLDER"), "accepted"),
    ];
    for (rows, expected) in cases {
        for mark in ["", "\u{feff}"] {
            assert_eq!(fault(format!("{mark}{HEADER}\n{rows}"), None), expected, "{rows}");
        }
    }
}

#[test]
fn a_value_is_of_its_columns_form() {
    let quantity = |wrong: &str, values: &[&str]| value_cases("Quantity", "6", wrong, values);
    quantity(
        "is not a whole number",
        &["", "-", "+6", " 6", "6 ", "6.0", "1e3", "six", "--6", "\u{666}", "1,000", "0x6"],
    );
    quantity("is beyond 1000000000000 units", &["1000000000001", "-1000000000001", "99999999999999999999999"]);
    quantity("", &["1000000000000", "-1000000000000", "-0", "000000000000000000006"]);

    let price = |wrong: &str, values: &[&str]| value_cases("UnitPrice", "2.55", wrong, values);
    price(
        "is not a plain decimal number",
        &["", "-", ".", ".5", "5.", "+5", "1e3", "1.2.3", "2,55", "£2.55", " 2.55", "NaN", "--1", "1.-5", "1_000"],
    );
    price(
        "has more than 18 digits, or 12 before the point",
        &["1000000000000", "0000000000001", "0.000000000000000001", "12.00000000000000000"],
    );
    price("", &["999999999999.999999", "-0.00000000000000001", "0", "-0.0", "007.50"]);

    let time = |wrong: &str, values: &[&str]| {
        value_cases("InvoiceDate", "2010-12-01T08:26:00Z", wrong, values);
    };
    time(
        "is not a time like 2010-12-01T08:26:00Z",
        &["", "01/12/2010 08:26", "2010-12-01T08:26:00", "2011-02-29T08:26:00Z"],
    );
    time("", &["2012-02-29T08:26:00Z", "1969-12-31T23:59:59Z"]);
}

/// Puts each value in the place of the good one in the second of three rows.
fn value_cases(column: &str, good: &str, wrong: &str, values: &[&str]) {
    for value in values {
        let row = GOOD.replace(&format!(",{good},"), &format!(",\"{value}\","));
        let text = format!("{HEADER}\n{GOOD}\n{row}\n{GOOD}\n");
        let expected = match wrong {
            "" => "accepted".to_owned(),
            _ => format!("row 2, column {column}: \"{value}\" {wrong}"),
        };
        assert_eq!(fault(&text, None), expected, "{value}");
        assert_eq!(fault(&text, Some(1)), "accepted", "{value}");
    }
}

#[test]
fn a_name_has_a_length_it_may_reach() {
    for (column, good, bytes_max) in
        [("InvoiceNo", "536365", 64), ("StockCode", "85123A", 100), ("CustomerID", "17850", 64)]
    {
        let with = |bytes: usize| fault(format!("{HEADER}\n{}\n", GOOD.replace(good, &"7".repeat(bytes))), None);
        assert_eq!(with(bytes_max), "accepted");
        let start = "7".repeat(40);
        let expected =
            format!("row 1, column {column}: \"{start}…\" is {} bytes long, more than {bytes_max}", bytes_max + 1);
        assert_eq!(with(bytes_max + 1), expected);
    }
}

#[test]
fn a_cancellation_takes_something_back() {
    for quantity in ["6", "0", "-0"] {
        let row = format!("C1,85123A,HOLDER,{quantity},2010-12-01T08:26:00Z,2.55,17850,EIRE");
        let expected = format!("row 2, column Quantity: \"{quantity}\" is not below zero, in a cancellation");
        assert_eq!(fault(format!("{HEADER}\n{GOOD}\n{row}\n"), None), expected);
    }
}

#[test]
fn a_value_is_shown_on_one_line_whatever_its_bytes() {
    let cases: [(&[u8], &str); 4] = [
        (b"6\n7\t\x1b", "\"6\\n7\\t\\u{1b}\""),
        (b"\xff\xfe\x00", "\"\\xff\\xfe\\0\""),
        (b"it's \\ \"\"six\"\"", "\"it's \\\\ \\\"six\\\"\""),
        ("é".repeat(41).leak().as_bytes(), "\"éééééééééééééééééééééééééééééééééééééééé…\""),
    ];
    for (value, expected) in cases {
        let bytes = [HEADER.as_bytes(), b"\n1,A,,\"", value, b"\",,,,"].concat();
        assert_eq!(fault(bytes, None), format!("row 1, column Quantity: {expected} is not a whole number"));
    }
}

#[test]
fn an_order_and_an_unmatched_amount_have_a_limit() {
    let lines = format!("{GOOD}\n").repeat(ORDER_LINES_MAX + 1);
    assert_eq!(
        fault(format!("{HEADER}\n{lines}"), None),
        "row 2049, column InvoiceNo: \"536365\" has more than 2048 sale lines"
    );
    let row = "C1,A,,-1000000000000,2010-12-01T08:26:00Z,999999999999.999999,,";
    assert_eq!(
        fault(format!("{HEADER}\n{row}\n"), None),
        "row 1, column UnitPrice: \"999999999999.999999\" takes the unmatched amount beyond what is held exactly"
    );
}

#[test]
fn a_cut_or_damaged_gzip_stream_is_refused_even_below_a_limit() {
    let whole = gzip(&generate(1, 2_000));
    assert_eq!(fault(&whole, None), "accepted");
    for limit in [None, Some(0), Some(3)] {
        for kept in [2, 9, 10, 11, 5_000, whole.len() / 2, whole.len() - 9, whole.len() - 8, whole.len() - 1] {
            let cut = fault(&whole[..kept], limit);
            assert_eq!(cut, "the gzip stream is cut off", "{kept} of {}", whole.len());
        }
    }
    assert_eq!(
        fault([&whole, b"something else".as_slice()].concat(), Some(3)),
        "the gzip stream is damaged: invalid gzip header"
    );
    let mut damaged = whole.clone();
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 1;
    assert_eq!(
        fault(damaged, Some(3)),
        "the gzip stream is damaged: corrupt gzip stream does not have a matching checksum"
    );
}

#[test]
fn a_file_cut_anywhere_is_refused_or_whole_rows() {
    let rows = [HEADER, GOOD, &GOOD.replace("HOLDER", "\"HOLDER, \"\"A\"\"\"")].join("\n");
    for kept in 0..=rows.len() {
        let text = &rows[..kept];
        let last_row = text.lines().last().unwrap_or_default();
        // What is cut from the last column alone still reads as a value of it.
        let is_whole = match text.lines().count() {
            0 => false,
            1 => last_row == HEADER,
            _ => text.ends_with('\n') || last_row.contains(",17850,"),
        };
        assert_eq!(fault(text, None) == "accepted", is_whole, "{kept}: {text}");
    }
}

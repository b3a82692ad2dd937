//! What the binary refuses: one line on standard error, status 2, and no store made or touched.

use std::{fs, io::Write as _, process::Stdio};

use flate2::{Compression, write::GzEncoder};

use crate::{
    binary::{command, names_in, run},
    generator::generate,
};

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";
const GOOD: &str = "536365,85123A,HOLDER,6,2010-12-01T08:26:00Z,2.55,17850,EIRE";

#[test]
fn bad_arguments_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["frobnicate"], "\"frobnicate\" is no command; try: storefront help"),
        (&["two\nlines"], "\"two\\nlines\" is no command; try: storefront help"),
        (&["--frobnicate"], "invalid option '--frobnicate'"),
        (&["--two\nlines"], "invalid option '--two lines'"),
        (&["report", "file.csv"], "unexpected argument \"file.csv\""),
        (&["replay", "a.csv", "b.csv"], "unexpected argument \"b.csv\""),
        (&["replay"], "replay needs a FILE"),
        (&["replay", "a.csv", "--orders", "3"], "--orders does not go with replay"),
        (&["verify", "--seed", "3"], "--seed does not go with verify"),
        (&["report", "--limit", "3"], "--limit does not go with report"),
        (&["demo", "--limit", "3"], "--limit does not go with demo"),
        (&["--json"], "--json does not go with help"),
        (&["replay", "a.csv", "--limit", "three"], "--limit \"three\" is no whole number"),
        (&["replay", "a.csv", "--limit", "-3"], "--limit \"-3\" is no whole number"),
        (&["replay", "a.csv", "--limit", "+3"], "--limit \"+3\" is no whole number"),
        (&["replay", "a.csv", "--limit"], "missing argument for option '--limit'"),
        (&["replay", "a.csv", "--store"], "missing argument for option '--store'"),
        (
            &["replay", "a.csv", "--store", "shop.db"],
            "\"shop.db\" is no store; use memory:, sqlite:PATH or postgres://USER@HOST/DATABASE",
        ),
        (
            &["replay", "a.csv", "--store", "sqlite:"],
            "\"sqlite:\" is no store; use memory:, sqlite:PATH or postgres://USER@HOST/DATABASE",
        ),
        (&["replay", "a.csv"], "a.csv: cannot be read: No such file or directory (os error 2)"),
        (&["report"], "report needs --store URL"),
        (&["verify", "--json"], "verify needs --store URL"),
        (&["report", "--store", "sqlite:none.db"], "there is no store at none.db"),
        (&["verify", "--store", "sqlite:none.db"], "there is no store at none.db"),
        (
            &["verify", "--store", "memory:"],
            "memory: holds nothing when a process begins; name a store that was written, sqlite:PATH or postgres://…",
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(run(folder.path(), arguments).refusal(), *expected, "{arguments:?}");
    }
    assert!(names_in(folder.path()).is_empty());
}

#[test]
fn help_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let help = run(folder.path(), &["help"]);
    assert_eq!((help.status, help.err.as_str()), (0, ""));
    assert!(help.out.starts_with("storefront: a starter shop on txn\n") && help.out.contains("replay FILE"));
    assert_eq!(run(folder.path(), &["--help"]), help);
    assert_eq!(run(folder.path(), &["-h"]), help);
    assert_eq!(run(folder.path(), &[]), help);
    // A reader that has gone away is no reason to fall over.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command(folder.path(), &["help"]).stdout(writer).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let Ok(full) = fs::File::options().write(true).open("/dev/full") else { return };
    let output = command(folder.path(), &["help"]).stdout(full).output().unwrap();
    let expected = "storefront: standard output: No space left on device (os error 28)\n";
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(2), expected.as_bytes()));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Files that are refused, and what for.
fn bad_files() -> Vec<(Vec<u8>, &'static str)> {
    let row = |row: &str| format!("{HEADER}\n{GOOD}\n{row}\n").into_bytes();
    let replaced = |good: &str, bad: &str| row(&GOOD.replace(good, bad));
    let cut = gzip(&generate(1, 500));
    vec![
        (b"".to_vec(), "header, column InvoiceNo: missing"),
        (format!("{}\n{GOOD}\n", HEADER.replace("Quantity", "Amount")).into(), "header, column Quantity: missing"),
        (format!("{HEADER},UnitPrice\n{GOOD},1\n").into(), "header, column UnitPrice: named twice"),
        (replaced(",6,", ",six,"), "row 2, column Quantity: \"six\" is not a whole number"),
        (replaced(",6,", ",6.5,"), "row 2, column Quantity: \"6.5\" is not a whole number"),
        (
            replaced(",6,", ",2147483648,"),
            "row 2, column Quantity: \"2147483648\" is beyond the 2147483647 units of an order's line",
        ),
        (replaced("2.55", "2,55"), "row 2: 9 fields where the header has 8, from \"EIRE\" on"),
        (replaced("2.55", "£2"), "row 2, column UnitPrice: \"£2\" is not a plain decimal number"),
        (
            replaced("2010-12-01T08:26:00Z", "1/12/2010 8:26"),
            "row 2, column InvoiceDate: \"1/12/2010 8:26\" is not a time like 2010-12-01T08:26:00Z",
        ),
        (replaced("536365", "C536365"), "row 2, column Quantity: \"6\" is not below zero, in a cancellation"),
        (row("536366,85123A,HOLDER"), "row 2, column Quantity: the file ends after 3 of 8 fields"),
        (row("536366,\"85123A"), "row 2, column StockCode: the file ends inside the quoted value \"85123A\\n\""),
        (
            replaced("85123A", &" ".repeat(34)),
            "row 2, column StockCode: \"                                  \" is 102 bytes long with its escapes, more than 100",
        ),
        (
            replaced("17850", &"?".repeat(34)),
            "row 2, column CustomerID: \"??????????????????????????????????\" is 102 bytes long with its escapes, more than 100",
        ),
        (cut[..cut.len() / 2].to_vec(), "the gzip stream is cut off"),
    ]
}

/// The customer of an invoice is that of its first line, so the row with the long one is an invoice of its own.
fn own_invoice(bytes: Vec<u8>, expected: &str) -> Vec<u8> {
    if !expected.contains("CustomerID") {
        return bytes;
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, tail) = text.rsplit_once("536365").unwrap();
    format!("{head}536366{tail}").into_bytes()
}

#[test]
fn a_bad_file_makes_no_store() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, expected) in bad_files() {
        fs::write(folder.path().join("invoices.csv"), own_invoice(bytes, expected)).unwrap();
        for arguments in [
            &["replay", "invoices.csv"][..],
            &["replay", "invoices.csv", "--store", "sqlite:shop.db", "--json"],
            &["replay", "invoices.csv", "--store", "memory:", "--limit", "2"],
        ] {
            let refused = run(folder.path(), arguments);
            assert_eq!(refused.refusal(), format!("invoices.csv: {expected}"), "{arguments:?}");
            assert_eq!(names_in(folder.path()), ["invoices.csv"], "{expected}");
        }
    }
}

#[test]
fn a_bad_file_touches_no_store() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("invoices.csv"), format!("{HEADER}\n{GOOD}\n")).unwrap();
    run(folder.path(), &["replay", "invoices.csv", "--json"]).line();
    let files = || {
        let read = |name: String| (fs::read(folder.path().join(&name)).unwrap(), name);
        names_in(folder.path())
            .into_iter()
            .filter(|name| name.starts_with("storefront.db"))
            .map(read)
            .collect::<Vec<_>>()
    };
    let before = files();
    assert!(before.iter().any(|(_, name)| name == "storefront.db"));
    for (bytes, expected) in bad_files() {
        fs::write(folder.path().join("invoices.csv"), own_invoice(bytes, expected)).unwrap();
        let refused = run(folder.path(), &["replay", "invoices.csv"]);
        assert_eq!(refused.refusal(), format!("invoices.csv: {expected}"));
    }
    assert!(files() == before, "a refused file has changed the store");
}

#[test]
fn a_folder_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["replay", "."]).refusal(), ".: cannot be read: Is a directory (os error 21)");
}

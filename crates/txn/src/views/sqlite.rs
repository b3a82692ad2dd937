//! What the views' texts for SQLite are made of.
//!
//! An expression that an index holds must be the same in the view: both are made by one macro. SQLite remembers a text that it has parsed, so that a body is parsed once
//! per row, however often it is named.

/// A value in the body; null for one that was erased or cannot be read.
macro_rules! lite_json {
    ($path:literal) => {
        concat!(
            "CASE WHEN format = 1 AND json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '$.",
            $path,
            "') END"
        )
    };
}

/// The body as JSON; null for one that was erased or cannot be read.
macro_rules! lite_content {
    () => {
        "CASE WHEN format = 1 AND json_valid(CAST(body AS TEXT)) THEN CAST(body AS TEXT) END"
    };
}

/// A value in an element `l` of a list, if it is an object.
macro_rules! lite_line {
    ($path:literal) => {
        concat!("json_extract(CASE l.type WHEN 'object' THEN l.value END, '$.", $path, "')")
    };
}

/// The minor units of an amount: its digits without the point, since every amount is written with all decimals of its currency. Text beyond 18 digits.
macro_rules! lite_minor {
    ($amount:expr) => {
        concat!(
            "CASE WHEN ",
            $amount,
            " GLOB '*[0-9]*' AND ",
            $amount,
            " NOT GLOB '*[^-.0-9]*' THEN CASE WHEN length(",
            $amount,
            ") <= 18 THEN CAST(replace(",
            $amount,
            ", '.', '') AS INTEGER) ELSE replace(",
            $amount,
            ", '.', '') END END"
        )
    };
}

/// The minor units of money in the body.
macro_rules! lite_money {
    ($path:literal) => {
        lite_minor!(concat!("(", lite_json!($path), ")"))
    };
}

/// The nanoseconds since 1970 of an instant in the body.
macro_rules! lite_nanos {
    ($path:literal) => {
        concat!(
            "CASE WHEN ",
            lite_json!($path),
            " GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]*Z' THEN CAST(strftime('%s', substr(",
            lite_json!($path),
            ", 1, 19)) AS INTEGER) * 1000000000 + CAST(substr(rtrim(substr(",
            lite_json!($path),
            ", 21), 'Z') || '000000000', 1, 9) AS INTEGER) END"
        )
    };
}

/// The one text of a key whose kind, with its end and the text's tag, has one byte less than `$from`.
macro_rules! lite_key {
    ($from:literal) => {
        concat!("CAST(substr(key, ", $from, ", length(key) - ", $from, ") AS TEXT)")
    };
}

/// The first of two texts of a key.
macro_rules! lite_first {
    ($from:literal) => {
        concat!("CAST(substr(key, ", $from, ", instr(substr(key, ", $from, "), X'00') - 1) AS TEXT)")
    };
}

/// The second of two texts of a key.
macro_rules! lite_second {
    ($from:literal) => {
        concat!(
            "CAST(substr(key, ",
            $from,
            " + 1 + instr(substr(key, ",
            $from,
            "), X'00'), length(key) - ",
            $from,
            " - 1 - instr(substr(key, ",
            $from,
            "), X'00')) AS TEXT)"
        )
    };
}

/// A lane: a number, or `0x` and 32 digits for one beyond 64 bits.
macro_rules! lite_lane {
    ($lane:literal) => {
        concat!("CASE typeof(", $lane, ") WHEN 'integer' THEN ", $lane, " ELSE '0x' || hex(", $lane, ") END")
    };
}

/// Something that is computed of lanes; null unless each has 61 bits at most, since SQLite would go on in floats.
macro_rules! lite_lanes {
    ($sum:literal) => {
        concat!(
            "CASE WHEN l0 BETWEEN -1152921504606846976 AND 1152921504606846976",
            " AND l1 BETWEEN -1152921504606846976 AND 1152921504606846976",
            " AND l2 BETWEEN -1152921504606846976 AND 1152921504606846976",
            " AND l3 BETWEEN -1152921504606846976 AND 1152921504606846976 THEN ",
            $sum,
            " END"
        )
    };
}

/// The records of orders: all keys of the kind `order`, which nobody but the services writes.
macro_rules! lite_orders {
    () => {
        "key >= X'6f7264657200' AND key < X'6f7264657201'"
    };
}

/// The records of payments.
macro_rules! lite_payments {
    () => {
        "key >= X'7061796d656e7400' AND key < X'7061796d656e7401'"
    };
}

/// The counters of stock.
macro_rules! lite_stock {
    () => {
        "key >= X'73746f636b00' AND key < X'73746f636b01'"
    };
}

/// The counters of balances.
macro_rules! lite_ledger {
    () => {
        "key >= X'6c656467657200' AND key < X'6c656467657201'"
    };
}

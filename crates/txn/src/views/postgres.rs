//! What the views' texts for PostgreSQL are made of.
//!
//! An expression that an index holds must be the same, word for word, in the view: both are made by one macro, over the bare names of the tables' columns. What no index
//! holds is read from `j`, so that a body is parsed once for all of it.

use txn_store::views::Part;

/// The body as JSON; null for one that was erased or cannot be read. The database's text holds no NUL, so one in a text of ours is shown as U+FFFD.
///
/// It is not inlined and never fails: an index calls it in the middle of a commit.
pub(super) const JSON: Part = Part {
    name: "view_json",
    text: r"(format smallint, body bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $body$
DECLARE
    content text;
BEGIN
    IF format <> 1 THEN RETURN NULL; END IF;
    content := convert_from(body, 'UTF8');
    IF strpos(content, '\u0000') > 0 THEN
        content := regexp_replace(content, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g');
    END IF;
    RETURN content::jsonb;
EXCEPTION WHEN others THEN
    RETURN NULL;
END
$body$",
};

/// An instant as documents write it, cut to microseconds.
pub(super) const INSTANT: Part = Part {
    name: "view_instant",
    text: r"(instant text) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE STRICT AS $body$
BEGIN
    IF instant !~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$' THEN RETURN NULL; END IF;
    RETURN (rtrim(left(instant, 26), 'Z') || 'Z')::timestamptz;
EXCEPTION WHEN others THEN
    RETURN NULL;
END
$body$",
};

/// The same in nanoseconds since 1970.
pub(super) const NANOS: Part = Part {
    name: "view_nanos",
    text: r"(instant text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE STRICT AS $body$
BEGIN
    IF instant !~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$' THEN RETURN NULL; END IF;
    -- Cast here: what a return casts is outside of the block, and its failure is not caught.
    RETURN (extract(epoch FROM (left(instant, 19) || 'Z')::timestamptz)::numeric * 1000000000
        + rpad(coalesce(substring(instant FROM '\.(\d+)Z$'), ''), 9, '0')::numeric)::bigint;
EXCEPTION WHEN others THEN
    RETURN NULL;
END
$body$",
};

/// An instant from nanoseconds, cut to microseconds.
pub(super) const TIME: Part = Part {
    name: "view_time",
    text: "(nanos bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $body$
SELECT (timestamp '1970-01-01' + nanos / 1000000000 * interval '1 second' + nanos % 1000000000 / 1000 * interval '1 microsecond') AT TIME ZONE 'UTC'
$body$",
};

/// The minor units of money: its digits without the point, since every amount is written with all decimals of its currency.
pub(super) const MINOR: Part = Part {
    name: "view_minor",
    text: r"(money jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $body$
SELECT CASE WHEN money ->> 'amount' ~ '^-?\d{1,40}(\.\d{1,4})?$' THEN replace(money ->> 'amount', '.', '')::numeric END
$body$",
};

/// A count.
pub(super) const COUNT: Part = Part {
    name: "view_count",
    text: r"(number jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $body$
SELECT CASE WHEN number::text ~ '^\d{1,18}$' THEN number::text::bigint END
$body$",
};

/// A list, or an empty one.
pub(super) const LIST: Part = Part {
    name: "view_list",
    text: "(list jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $body$
SELECT CASE WHEN jsonb_typeof(list) = 'array' THEN list ELSE '[]' END
$body$",
};

/// The body as `j`, once per row. Without the offset it would be written out wherever it is named.
macro_rules! pg_body {
    () => {
        "CROSS JOIN LATERAL (SELECT $s.view_json(format, body) AS j OFFSET 0) b"
    };
}

/// An id in the body, which an index may hold: no id has more than 100 bytes, and an index takes none of some thousands.
macro_rules! pg_id {
    ($field:literal) => {
        concat!("(left($s.view_json(format, body) ->> '", $field, "', 100) COLLATE \"C\")")
    };
}

/// An instant in the body, which an index may hold.
macro_rules! pg_instant {
    ($field:literal) => {
        concat!("$s.view_instant($s.view_json(format, body) ->> '", $field, "')")
    };
}

/// The one text of a key whose kind, with its end and the text's tag, has one byte less than `$from`. Ids are ASCII, which `escape` leaves as it is.
macro_rules! pg_key {
    ($from:literal) => {
        concat!(
            "(encode(substring(key FROM ",
            $from,
            " FOR greatest(octet_length(key) - ",
            $from,
            ", 0)), 'escape') COLLATE \"C\")"
        )
    };
}

/// The first of two texts of a key.
macro_rules! pg_first {
    ($from:literal) => {
        concat!(
            "(encode(substring(key FROM ",
            $from,
            " FOR greatest(position('\\x00'::bytea IN substring(key FROM ",
            $from,
            ")) - 1, 0)), 'escape') COLLATE \"C\")"
        )
    };
}

/// The second of two texts of a key.
macro_rules! pg_second {
    ($from:literal) => {
        concat!(
            "(encode(substring(key FROM ",
            $from,
            " + 1 + position('\\x00'::bytea IN substring(key FROM ",
            $from,
            ")) FOR greatest(octet_length(key) - ",
            $from,
            " - 1 - position('\\x00'::bytea IN substring(key FROM ",
            $from,
            ")), 0)), 'escape') COLLATE \"C\")"
        )
    };
}

/// The records of orders: all keys of the kind `order`, which nobody but the services writes.
macro_rules! pg_orders {
    () => {
        "key >= '\\x6f7264657200' AND key < '\\x6f7264657201'"
    };
}

/// The records of payments.
macro_rules! pg_payments {
    () => {
        "key >= '\\x7061796d656e7400' AND key < '\\x7061796d656e7401'"
    };
}

/// The counters of stock.
macro_rules! pg_stock {
    () => {
        "key >= '\\x73746f636b00' AND key < '\\x73746f636b01'"
    };
}

/// The counters of balances.
macro_rules! pg_ledger {
    () => {
        "key >= '\\x6c656467657200' AND key < '\\x6c656467657201'"
    };
}

/// The id of a transfer, from the id of its fact.
macro_rules! pg_transfer {
    () => {
        "substr(fact, 10)"
    };
}

/// What a transfer is about.
macro_rules! pg_reference {
    () => {
        "($s.view_json(format, body) ->> 'reference')"
    };
}

//! `orders`: one row per order.

use txn_store::views::{Column, Definition, Part, View};

use super::{
    IS_ERASED, TENANT, TENANT_NO, VERSION, amount, count, instant,
    postgres::{COUNT, INSTANT, JSON, LIST, MINOR, NANOS},
    text,
};

const COLUMNS: &[Column] = &[
    TENANT,
    TENANT_NO,
    text("order_id", "The order."),
    text("customer_id", "Who ordered, if that is known."),
    text("lifecycle", "placed, completed, cancelled or expired."),
    text("currency", "The currency of every amount."),
    amount("total_minor", "The sum of its lines, in minor units."),
    instant("placed_at", "When it was placed, in the business's time."),
    count("placed_at_ns", "The same in nanoseconds since 1970."),
    instant("expires_at", "It expires at this instant unless a payment is authorised before."),
    count("expires_at_ns", "The same in nanoseconds since 1970."),
    text("location", "Where the goods come from."),
    text("hold_id", "The hold on its stock."),
    text("payment_id", "Its payment; null when it costs nothing."),
    count("lines", "How many lines it has."),
    VERSION,
    IS_ERASED,
];

pub(super) const VIEW: View = View {
    name: "orders",
    meaning: "One row per order.",
    columns: COLUMNS,
    postgres: Definition {
        functions: &[JSON, INSTANT, NANOS, MINOR, COUNT, LIST],
        select: concat!(
            "SELECT name, no, ",
            pg_key!("8"),
            ", ",
            pg_id!("customer"),
            ", ",
            pg_id!("lifecycle"),
            ", j ->> 'currency', $s.view_minor(j -> 'total'), ",
            pg_instant!("placed_at"),
            ", $s.view_nanos(j ->> 'placed_at'), $s.view_instant(j ->> 'expires_at'), $s.view_nanos(j ->> 'expires_at'), ",
            "j ->> 'location', j ->> 'hold', j ->> 'payment', ",
            "CASE WHEN j IS NOT NULL THEN jsonb_array_length($s.view_list(j -> 'lines'))::bigint END, version, format = 0 ",
            "FROM $s.record JOIN $s.tenant ON no = tenant ",
            pg_body!(),
            " WHERE ",
            pg_orders!(),
        ),
        indexes: &[PG_ID, PG_PLACED, PG_CUSTOMER, PG_LIFECYCLE],
    },
    sqlite: Definition {
        functions: &[],
        select: concat!(
            "SELECT name, tenant, ",
            lite_key!("8"),
            ", ",
            lite_json!("customer"),
            ", ",
            lite_json!("lifecycle"),
            ", ",
            lite_json!("currency"),
            ", ",
            lite_money!("total.amount"),
            ", ",
            lite_json!("placed_at"),
            ", ",
            lite_nanos!("placed_at"),
            ", ",
            lite_json!("expires_at"),
            ", ",
            lite_nanos!("expires_at"),
            ", ",
            lite_json!("location"),
            ", ",
            lite_json!("hold"),
            ", ",
            lite_json!("payment"),
            ", CASE WHEN format = 1 AND json_valid(CAST(body AS TEXT)) THEN json_array_length(CAST(body AS TEXT), '$.lines') END, version, format = 0 ",
            "FROM record JOIN tenant ON tenant.no = record.tenant WHERE ",
            lite_orders!(),
        ),
        indexes: &[LITE_ID, LITE_PLACED, LITE_CUSTOMER, LITE_LIFECYCLE],
    },
};

/// By id, also for the lines.
pub(super) const PG_ID: Part =
    Part { name: "view_orders_id", text: concat!("$s.record (tenant, ", pg_key!("8"), ") WHERE ", pg_orders!()) };

/// By time, also for the lines.
pub(super) const PG_PLACED: Part = Part {
    name: "view_orders_placed",
    text: concat!("$s.record (tenant, ", pg_instant!("placed_at"), ", ", pg_key!("8"), ") WHERE ", pg_orders!()),
};

pub(super) const PG_CUSTOMER: Part = Part {
    name: "view_orders_customer",
    text: concat!("$s.record (tenant, ", pg_id!("customer"), ", ", pg_key!("8"), ") WHERE ", pg_orders!()),
};

const PG_LIFECYCLE: Part = Part {
    name: "view_orders_lifecycle",
    text: concat!("$s.record (tenant, ", pg_id!("lifecycle"), ", ", pg_key!("8"), ") WHERE ", pg_orders!()),
};

/// By id, also for the lines.
pub(super) const LITE_ID: Part =
    Part { name: "view_orders_id", text: concat!("record(tenant, ", lite_key!("8"), ") WHERE ", lite_orders!()) };

/// By time, also for the lines.
pub(super) const LITE_PLACED: Part = Part {
    name: "view_orders_placed",
    text: concat!("record(tenant, ", lite_nanos!("placed_at"), ", ", lite_key!("8"), ") WHERE ", lite_orders!()),
};

pub(super) const LITE_CUSTOMER: Part = Part {
    name: "view_orders_customer",
    text: concat!("record(tenant, ", lite_json!("customer"), ", ", lite_key!("8"), ") WHERE ", lite_orders!()),
};

const LITE_LIFECYCLE: Part = Part {
    name: "view_orders_lifecycle",
    text: concat!("record(tenant, ", lite_json!("lifecycle"), ", ", lite_key!("8"), ") WHERE ", lite_orders!()),
};

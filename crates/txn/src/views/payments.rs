//! `payments`: one row per payment.

use txn_store::views::{Column, Definition, Part, View};

use super::{
    IS_ERASED, TENANT, TENANT_NO, VERSION, amount, count,
    postgres::{COUNT, JSON, MINOR},
    text,
};

const COLUMNS: &[Column] = &[
    TENANT,
    TENANT_NO,
    text("payment_id", "The payment."),
    text("order_id", "The order it pays."),
    text(
        "state",
        "created, authorising, authorise_unknown, authorised, capturing, capture_unknown, captured, voiding, void_unknown, voided or cancelled.",
    ),
    text("currency", "The currency of every amount."),
    amount("amount_minor", "What is to be paid, in minor units."),
    amount("captured_minor", "What was taken, in minor units."),
    amount("refunded_minor", "What went back, in minor units."),
    amount("refunding_minor", "What is on its way back, in minor units."),
    count("attempts", "How many authorisations were begun."),
    VERSION,
    IS_ERASED,
];

pub(super) const VIEW: View = View {
    name: "payments",
    meaning: "One row per payment.",
    columns: COLUMNS,
    postgres: Definition {
        functions: &[JSON, MINOR, COUNT],
        select: concat!(
            "SELECT name, no, ",
            pg_key!("10"),
            ", ",
            pg_id!("order"),
            ", ",
            pg_id!("state"),
            ", j -> 'amount' ->> 'currency', $s.view_minor(j -> 'amount'), $s.view_minor(j -> 'captured'), $s.view_minor(j -> 'refunded'), ",
            "$s.view_minor(j -> 'refunding'), $s.view_count(j -> 'attempts'), version, format = 0 ",
            "FROM $s.record JOIN $s.tenant ON no = tenant ",
            pg_body!(),
            " WHERE ",
            pg_payments!(),
        ),
        indexes: &[
            Part {
                name: "view_payments_id",
                text: concat!("$s.record (tenant, ", pg_key!("10"), ") WHERE ", pg_payments!()),
            },
            Part {
                name: "view_payments_order",
                text: concat!("$s.record (tenant, ", pg_id!("order"), ", ", pg_key!("10"), ") WHERE ", pg_payments!()),
            },
            Part {
                name: "view_payments_state",
                text: concat!("$s.record (tenant, ", pg_id!("state"), ", ", pg_key!("10"), ") WHERE ", pg_payments!()),
            },
        ],
    },
    sqlite: Definition {
        functions: &[],
        select: concat!(
            "SELECT name, tenant, ",
            lite_key!("10"),
            ", ",
            lite_json!("order"),
            ", ",
            lite_json!("state"),
            ", ",
            lite_json!("amount.currency"),
            ", ",
            lite_money!("amount.amount"),
            ", ",
            lite_money!("captured.amount"),
            ", ",
            lite_money!("refunded.amount"),
            ", ",
            lite_money!("refunding.amount"),
            ", ",
            lite_json!("attempts"),
            ", version, format = 0 FROM record JOIN tenant ON tenant.no = record.tenant WHERE ",
            lite_payments!(),
        ),
        indexes: &[
            Part {
                name: "view_payments_id",
                text: concat!("record(tenant, ", lite_key!("10"), ") WHERE ", lite_payments!()),
            },
            Part {
                name: "view_payments_order",
                text: concat!(
                    "record(tenant, ",
                    lite_json!("order"),
                    ", ",
                    lite_key!("10"),
                    ") WHERE ",
                    lite_payments!()
                ),
            },
            Part {
                name: "view_payments_state",
                text: concat!(
                    "record(tenant, ",
                    lite_json!("state"),
                    ", ",
                    lite_key!("10"),
                    ") WHERE ",
                    lite_payments!()
                ),
            },
        ],
    },
};

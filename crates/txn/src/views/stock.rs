//! `stock`: one row per sku at a location.

use txn_store::views::{Column, Definition, Part, View};

use super::{TENANT, TENANT_NO, VERSION, amount, small, text};

const COLUMNS: &[Column] = &[
    TENANT,
    TENANT_NO,
    text("sku", "The sku."),
    text("location", "Where it is kept."),
    amount("on_hand", "Physically there."),
    amount("reserved", "Of it, promised to holds."),
    amount("incoming", "On its way in."),
    amount("unavailable", "Of what is there, not for sale."),
    amount("available", "What can still be promised; below zero when the item is short."),
    small("status", "0 open, 1 frozen, 2 closed."),
    VERSION,
];

pub(super) const VIEW: View = View {
    name: "stock",
    meaning: "One row per sku at a location.",
    columns: COLUMNS,
    postgres: Definition {
        functions: &[],
        select: concat!(
            "SELECT name, no, ",
            pg_first!("8"),
            ", ",
            pg_second!("8"),
            ", l0::numeric, l1::numeric, l2::numeric, l3::numeric, l0 - l1 - l3, status, version ",
            "FROM (SELECT tenant, key, l0, l1, l2, l3, status, version FROM $s.counter) c JOIN ",
            "(SELECT no, name FROM $s.tenant) t ON no = tenant WHERE ",
            pg_stock!(),
        ),
        indexes: &[
            Part {
                name: "view_stock_sku",
                text: concat!("$s.counter (tenant, ", pg_first!("8"), ", ", pg_second!("8"), ") WHERE ", pg_stock!()),
            },
            Part {
                name: "view_stock_location",
                text: concat!("$s.counter (tenant, ", pg_second!("8"), ", ", pg_first!("8"), ") WHERE ", pg_stock!()),
            },
        ],
    },
    sqlite: Definition {
        functions: &[],
        select: concat!(
            "SELECT name, tenant, ",
            lite_first!("8"),
            ", ",
            lite_second!("8"),
            ", ",
            lite_lane!("l0"),
            ", ",
            lite_lane!("l1"),
            ", ",
            lite_lane!("l2"),
            ", ",
            lite_lane!("l3"),
            ", ",
            lite_lanes!("l0 - l1 - l3"),
            ", status, version FROM counter JOIN tenant ON tenant.no = counter.tenant WHERE ",
            lite_stock!(),
        ),
        indexes: &[
            Part {
                name: "view_stock_sku",
                text: concat!("counter(tenant, ", lite_first!("8"), ", ", lite_second!("8"), ") WHERE ", lite_stock!()),
            },
            Part {
                name: "view_stock_location",
                text: concat!("counter(tenant, ", lite_second!("8"), ", ", lite_first!("8"), ") WHERE ", lite_stock!()),
            },
        ],
    },
};

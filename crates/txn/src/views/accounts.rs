//! `accounts`: one row per account and currency, with its balance.

use txn_store::views::{Column, Definition, Part, View};

use super::{TENANT, TENANT_NO, VERSION, amount, postgres::JSON, small, text, truth};

const COLUMNS: &[Column] = &[
    TENANT,
    TENANT_NO,
    text("account_id", "The account."),
    text("currency", "Its currency."),
    text("title", "Its name for people."),
    text("normal", "The side on which it grows: debit or credit."),
    truth("may_overdraw", "Whether its balance may pass below zero."),
    amount("debits_pending_minor", "Debits that are promised, in minor units."),
    amount("debits_posted_minor", "Debits that are posted, in minor units."),
    amount("credits_pending_minor", "Credits that are promised, in minor units."),
    amount("credits_posted_minor", "Credits that are posted, in minor units."),
    amount("posted_minor", "The balance: what is posted on its own side, less the other side."),
    amount("available_minor", "What can be spent: the balance, less what is pending on the other side."),
    small("status", "0 open, 1 frozen, 2 closed."),
    VERSION,
];

pub(super) const VIEW: View = View {
    name: "accounts",
    meaning: "One row per account and currency.",
    columns: COLUMNS,
    postgres: Definition {
        functions: &[JSON],
        select: concat!(
            "SELECT name, no, ",
            pg_first!("9"),
            ", unit, j ->> 'name', j ->> 'normal', ",
            "CASE j -> 'may_overdraw' WHEN 'true' THEN true WHEN 'false' THEN false END, ",
            "l0::numeric, l1::numeric, l2::numeric, l3::numeric, ",
            "CASE j ->> 'normal' WHEN 'debit' THEN l1 - l3 WHEN 'credit' THEN l3 - l1 END, ",
            "CASE j ->> 'normal' WHEN 'debit' THEN l1 - l3 - l2 WHEN 'credit' THEN l3 - l1 - l0 END, status, version ",
            "FROM (SELECT tenant, key, unit, l0, l1, l2, l3, status, version FROM $s.counter) c JOIN ",
            "(SELECT no, name FROM $s.tenant) t ON no = tenant LEFT JOIN ",
            "(SELECT tenant AS owner, key AS its_key, format, body FROM $s.record) r ",
            "ON owner = tenant AND its_key = '\\x6163636f756e7400'::bytea || substring(key FROM 8) ",
            "LEFT JOIN LATERAL (SELECT $s.view_json(format, body) AS j OFFSET 0) b ON true WHERE ",
            pg_ledger!(),
        ),
        indexes: &[
            Part {
                name: "view_accounts_id",
                text: concat!("$s.counter (tenant, ", pg_first!("9"), ", unit) WHERE ", pg_ledger!()),
            },
            Part {
                name: "view_accounts_currency",
                text: concat!("$s.counter (tenant, unit, ", pg_first!("9"), ") WHERE ", pg_ledger!()),
            },
        ],
    },
    sqlite: Definition {
        functions: &[],
        select: concat!(
            "SELECT name, tenant_no, account_id, unit, ",
            lite_json!("name"),
            ", ",
            lite_json!("normal"),
            ", ",
            lite_json!("may_overdraw"),
            ", ",
            lite_lane!("l0"),
            ", ",
            lite_lane!("l1"),
            ", ",
            lite_lane!("l2"),
            ", ",
            lite_lane!("l3"),
            ", CASE ",
            lite_json!("normal"),
            " WHEN 'debit' THEN ",
            lite_lanes!("l1 - l3"),
            " WHEN 'credit' THEN ",
            lite_lanes!("l3 - l1"),
            " END, CASE ",
            lite_json!("normal"),
            " WHEN 'debit' THEN ",
            lite_lanes!("l1 - l3 - l2"),
            " WHEN 'credit' THEN ",
            lite_lanes!("l3 - l1 - l0"),
            " END, status, its_version FROM (SELECT tenant AS tenant_no, ",
            lite_first!("9"),
            " AS account_id, CAST(X'6163636f756e7400' || substr(key, 8) AS BLOB) AS account_key, ",
            "unit, l0, l1, l2, l3, status, version AS its_version FROM counter WHERE ",
            lite_ledger!(),
            ") JOIN tenant ON tenant.no = tenant_no LEFT JOIN record ON record.tenant = tenant_no AND key = account_key",
        ),
        indexes: &[
            Part {
                name: "view_accounts_id",
                text: concat!("counter(tenant, ", lite_first!("9"), ", unit) WHERE ", lite_ledger!()),
            },
            Part {
                name: "view_accounts_currency",
                text: concat!("counter(tenant, unit, ", lite_first!("9"), ") WHERE ", lite_ledger!()),
            },
        ],
    },
};

//! `transfers`: one row per leg of a transfer.

use txn_store::views::{Column, Definition, Part, View};

use super::{
    IS_ERASED, TENANT, TENANT_NO, amount, count, instant,
    postgres::{COUNT, JSON, LIST, MINOR, TIME},
    text,
};

const COLUMNS: &[Column] = &[
    TENANT,
    TENANT_NO,
    text("transfer_id", "The transfer."),
    count("leg", "The leg's number, from 0: posted legs first, then pended, then unpended ones."),
    text("kind", "What the transfer did: posted, held, captured, voided or expired."),
    text("reference", "What it is about, such as a payment."),
    text("movement", "posted, pended (became pending) or unpended (ceased to be pending)."),
    text("account_id", "The account."),
    text("side", "debit or credit."),
    text("currency", "The currency of the amount."),
    amount("amount_minor", "How much, in minor units."),
    instant("recorded_at", "When it was committed, in the store's time."),
    count("recorded_at_ns", "The same in nanoseconds since 1970."),
    text("change_id", "The id of the change that committed it."),
    IS_ERASED,
];

pub(super) const VIEW: View = View {
    name: "transfers",
    meaning: "One row per leg of a transfer; one row without a leg for a transfer that was erased.",
    columns: COLUMNS,
    postgres: Definition {
        functions: &[JSON, TIME, MINOR, COUNT, LIST],
        select: concat!(
            "SELECT name, no, ",
            pg_transfer!(),
            ", coalesce(number - 1, 0), j ->> 'kind', ",
            pg_reference!(),
            ", movement, posting ->> 'account', posting ->> 'side', posting -> 'amount' ->> 'currency', $s.view_minor(posting -> 'amount'), ",
            "$s.view_time(recorded_at), recorded_at, id, format = 0 ",
            "FROM (SELECT tenant, fact, type, format, body, ticket, at FROM $s.event) e JOIN ",
            "(SELECT no, name FROM $s.tenant) t ON no = tenant JOIN ",
            "(SELECT ticket AS its_ticket, at AS its_at, recorded_at, id FROM $s.change) c ON its_ticket = ticket AND its_at = at ",
            pg_body!(),
            " LEFT JOIN LATERAL (SELECT movement, posting, row_number() OVER (ORDER BY rank, n) AS number FROM ",
            "(VALUES (0, 'posted'), (1, 'pended'), (2, 'unpended')) m(rank, movement), ",
            "jsonb_array_elements($s.view_list(j -> movement)) WITH ORDINALITY p(posting, n)) l ON true WHERE ",
            "type = 'ledger.transferred'",
        ),
        indexes: &[
            Part {
                name: "view_transfers_id",
                text: concat!("$s.event (tenant, ", pg_transfer!(), ") WHERE type = 'ledger.transferred'"),
            },
            // By hash, since a reference may be longer than a tree takes.
            Part {
                name: "view_transfers_reference",
                text: concat!("$s.event USING hash (", pg_reference!(), ") WHERE type = 'ledger.transferred'"),
            },
            Part { name: "view_changes_recorded", text: "$s.change (($s.view_time(recorded_at)))" },
        ],
    },
    sqlite: Definition {
        functions: &[],
        select: concat!(
            "SELECT name, tenant_no, transfer_id, coalesce(l.key + CASE l.path WHEN '$.posted' THEN 0 ELSE ",
            "coalesce(json_array_length(content, '$.posted'), 0) END + CASE l.path WHEN '$.unpended' THEN ",
            "coalesce(json_array_length(content, '$.pended'), 0) ELSE 0 END, 0), kind, reference, substr(l.path, 3), ",
            lite_line!("account"),
            ", ",
            lite_line!("side"),
            ", ",
            lite_line!("amount.currency"),
            ", ",
            lite_minor!(lite_line!("amount.amount")),
            ", strftime('%Y-%m-%dT%H:%M:%SZ', recorded_at / 1000000000, 'unixepoch'), recorded_at, change.id, is_erased ",
            "FROM (SELECT tenant AS tenant_no, substr(fact, 10) AS transfer_id, ",
            lite_json!("kind"),
            " AS kind, ",
            lite_json!("reference"),
            " AS reference, ",
            lite_content!(),
            " AS content, format = 0 AS is_erased, n AS its_n FROM event WHERE type = 'ledger.transferred') ",
            "JOIN tenant ON tenant.no = tenant_no JOIN change ON change.n = its_n LEFT JOIN json_tree(content) l ",
            "ON l.path IN ('$.posted', '$.pended', '$.unpended') AND l.type = 'object'",
        ),
        indexes: &[
            Part {
                name: "view_transfers_id",
                text: "event(tenant, substr(fact, 10)) WHERE type = 'ledger.transferred'",
            },
            Part {
                name: "view_transfers_reference",
                text: concat!("event(tenant, ", lite_json!("reference"), ") WHERE type = 'ledger.transferred'"),
            },
            Part { name: "view_transfers_change", text: "event(n) WHERE type = 'ledger.transferred'" },
            Part { name: "view_changes_recorded", text: "change(recorded_at)" },
        ],
    },
};

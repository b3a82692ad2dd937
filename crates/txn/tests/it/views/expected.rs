//! What the views should say, computed from the store's export.

use std::collections::BTreeMap;

use txn::{
    change::{Counter, Key, Record, Segment},
    core::{
        inventory::Stock,
        ledger::{Account, Balance, NormalSide, Overdraft, Posting, Transferred},
        money::{Currency, Money},
        order::Order,
        payment::Payment,
    },
    store::{Recorded, Row as Exported, StoreAdmin},
};

use super::Row;

/// The rows of every view without the tenant's number and PostgreSQL's own times, each row by its columns' names.
pub(crate) fn rows(store: &dyn StoreAdmin) -> BTreeMap<&'static str, Vec<BTreeMap<&'static str, Option<String>>>> {
    let mut found = BTreeMap::new();
    let mut accounts = BTreeMap::new();
    let mut balances = Vec::new();
    for row in exported(store) {
        match row {
            Exported::Record { tenant, key, record, .. } => match key.kind() {
                "order" => {
                    let order: Order = record.body.read().unwrap();
                    add(&mut found, "orders", tenant.as_str(), of_order(&order, &record));
                    for (number, _) in order.lines.iter().enumerate() {
                        add(&mut found, "order_lines", tenant.as_str(), of_line(&order, number));
                    }
                }
                "payment" => add(&mut found, "payments", tenant.as_str(), of_payment(&record)),
                "account" => {
                    let account: Account = record.body.read().unwrap();
                    accounts.insert((tenant, account.id.to_string(), account.currency), account);
                }
                _ => {}
            },
            Exported::Counter { tenant, key, counter } => match key.kind() {
                "stock" => add(&mut found, "stock", tenant.as_str(), of_stock(&key, &counter)),
                "ledger" => balances.push((tenant, key, counter)),
                _ => {}
            },
            Exported::Commit { tenant, events, .. } => {
                for event in events.iter().filter(|event| event.event.body.type_name() == "ledger.transferred") {
                    of_transfer(event).into_iter().for_each(|leg| add(&mut found, "transfers", tenant.as_str(), leg));
                }
            }
            _ => {}
        }
    }
    for (tenant, key, counter) in balances {
        let [id, currency] = texts(&key);
        let currency = Currency::from_code(&currency).unwrap();
        let account = &accounts[&(tenant.clone(), id, currency)];
        add(&mut found, "accounts", tenant.as_str(), of_account(account, &counter));
    }
    found
}

pub(crate) fn exported(store: &dyn StoreAdmin) -> Vec<Exported> {
    pollster::block_on(async {
        let mut export = store.export().await.unwrap();
        let mut rows = Vec::new();
        loop {
            let page = export.next(512).await.unwrap();
            if page.is_empty() {
                return rows;
            }
            rows.extend(page);
        }
    })
}

type Named = BTreeMap<&'static str, Option<String>>;

fn add(found: &mut BTreeMap<&'static str, Vec<Named>>, view: &'static str, tenant: &str, mut row: Named) {
    row.insert("tenant", Some(tenant.to_owned()));
    found.entry(view).or_default().push(row);
}

fn named<const N: usize>(values: [(&'static str, Option<String>); N]) -> Named {
    values.into_iter().collect()
}

fn some(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

fn minor(money: Money) -> Option<String> {
    some(money.minor())
}

/// The name that a document gives a value.
fn word(value: impl serde::Serialize) -> Option<String> {
    Some(serde_json::to_value(value).unwrap().as_str().unwrap().to_owned())
}

fn texts<const N: usize>(key: &Key) -> [String; N] {
    let texts: Vec<String> = key
        .segments()
        .into_iter()
        .map(|segment| match segment {
            Segment::Text(text) => text,
            other => panic!("{other:?}"),
        })
        .collect();
    texts.try_into().unwrap()
}

fn of_order(order: &Order, record: &Record) -> Named {
    named([
        ("order_id", some(&order.id)),
        ("customer_id", order.customer.as_ref().map(ToString::to_string)),
        ("lifecycle", word(order.lifecycle)),
        ("currency", some(order.currency)),
        ("total_minor", minor(order.total)),
        ("placed_at_ns", some(order.placed_at.as_nanos())),
        ("expires_at_ns", order.expires_at.map(|at| at.as_nanos().to_string())),
        ("location", some(&order.location)),
        ("hold_id", some(&order.hold)),
        ("payment_id", order.payment.as_ref().map(ToString::to_string)),
        ("lines", some(order.lines.len())),
        ("version", some(record.version)),
        ("is_erased", some(false)),
    ])
}

fn of_line(order: &Order, number: usize) -> Named {
    let line = &order.lines[number];
    named([
        ("order_id", some(&order.id)),
        ("line", some(number)),
        ("customer_id", order.customer.as_ref().map(ToString::to_string)),
        ("lifecycle", word(order.lifecycle)),
        ("placed_at_ns", some(order.placed_at.as_nanos())),
        ("sku", some(&line.sku)),
        ("location", some(&order.location)),
        ("currency", some(line.price.currency())),
        ("price_minor", minor(line.price)),
        ("amount_minor", some(line.price.minor() * i128::from(line.ordered.get()))),
        ("ordered", some(line.ordered)),
        ("cancelled", some(line.cancelled)),
        ("shipped", some(line.shipped)),
        ("delivered", some(line.delivered)),
        ("returned", some(line.returned)),
        ("is_erased", some(false)),
    ])
}

fn of_payment(record: &Record) -> Named {
    let payment: Payment = record.body.read().unwrap();
    named([
        ("payment_id", some(&payment.id)),
        ("order_id", some(&payment.order)),
        ("state", word(payment.state)),
        ("currency", some(payment.amount.currency())),
        ("amount_minor", minor(payment.amount)),
        ("captured_minor", minor(payment.captured)),
        ("refunded_minor", minor(payment.refunded)),
        ("refunding_minor", minor(payment.refunding)),
        ("attempts", some(payment.attempts)),
        ("version", some(record.version)),
        ("is_erased", some(false)),
    ])
}

fn of_stock(key: &Key, counter: &Counter) -> Named {
    let [sku, location] = texts(key);
    let stock = Stock::of(Some(counter));
    named([
        ("sku", some(sku)),
        ("location", some(location)),
        ("on_hand", some(stock.on_hand)),
        ("reserved", some(stock.reserved)),
        ("incoming", some(stock.incoming)),
        ("unavailable", some(stock.unavailable)),
        ("available", some(stock.available())),
        ("status", some(counter.status.code())),
        ("version", some(counter.version)),
    ])
}

fn of_account(account: &Account, counter: &Counter) -> Named {
    let balance = Balance::of(counter, account.currency);
    let [debits_pending, debits_posted, credits_pending, credits_posted] = counter.lanes.0;
    let is_debit = account.normal == NormalSide::Debit;
    let overdraft = match account.limits.overdraft {
        Overdraft::None => ("none", None),
        Overdraft::UpTo(most) => ("up_to", minor(most)),
        Overdraft::Unlimited => ("unlimited", None),
    };
    named([
        ("account_id", some(&account.id)),
        ("currency", some(account.currency)),
        // PostgreSQL's text holds no NUL.
        ("title", some(&account.name)),
        ("normal", some(if is_debit { "debit" } else { "credit" })),
        ("type", word(account.account_type)),
        ("parent_id", account.parent.as_ref().map(ToString::to_string)),
        ("overdraft", some(overdraft.0)),
        ("overdraft_minor", overdraft.1),
        ("balance_max_minor", account.limits.balance_max.and_then(minor)),
        ("debits_pending_minor", some(debits_pending)),
        ("debits_posted_minor", some(debits_posted)),
        ("credits_pending_minor", some(credits_pending)),
        ("credits_posted_minor", some(credits_posted)),
        ("posted_minor", minor(balance.posted(account.normal))),
        ("available_minor", minor(balance.available(account.normal))),
        ("status", some(counter.status.code())),
        ("version", some(counter.version)),
    ])
}

fn of_transfer(event: &Recorded) -> Vec<Named> {
    let transfer: Transferred = event.event.body.read().unwrap();
    let of = |movement: &'static str, posting: &Posting| (movement, posting.clone());
    let posted = transfer.posted.iter().map(|posting| of("posted", posting));
    let pended = transfer.pended.iter().map(|posting| of("pended", posting));
    let unpended = transfer.unpended.iter().map(|posting| of("unpended", posting));
    let legs = posted.chain(pended).chain(unpended).enumerate();
    let leg = |(leg, (movement, posting)): (usize, (&'static str, Posting))| {
        named([
            ("transfer_id", some(&transfer.id)),
            ("leg", some(leg)),
            ("kind", word(transfer.kind)),
            ("reference", Some(transfer.reference.clone()).filter(|reference| !reference.is_empty())),
            ("movement", some(movement)),
            ("account_id", some(&posting.account)),
            ("side", word(posting.side)),
            ("currency", some(posting.amount.currency())),
            ("amount_minor", minor(posting.amount)),
            ("recorded_at_ns", some(event.recorded_at.as_nanos())),
            ("change_id", some(&event.change)),
            ("is_erased", some(false)),
        ])
    };
    legs.map(leg).collect()
}

/// A view's rows in the same form.
pub(crate) fn named_rows(view: &txn::store::views::View, rows: Vec<Row>) -> Vec<Named> {
    let skipped = ["tenant_no", "placed_at", "expires_at", "recorded_at"];
    let row = |row: Row| {
        let values = view.columns.iter().map(|column| column.name).zip(row);
        values.filter(|(name, _)| !skipped.contains(name)).collect()
    };
    rows.into_iter().map(row).collect()
}

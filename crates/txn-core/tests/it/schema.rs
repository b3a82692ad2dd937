//! The stored shape of every document: what was written once must stay readable, so a change of a shape shows here first.

use serde_json::Value;
use txn_change::{Body, BodyError, Document, Lanes};
use txn_core::{
    aftersale::{Received, ReceivedLine, Return, ReturnState},
    id::{AccountId, CustomerId, LedgerHoldId, MovementId, OrderId, ReturnId, TransferId},
    inventory::{self, Cause, Disposition, HoldAnswer, HoldLine, Moved, MovedLine},
    ledger::{self, Account, NormalSide, Posting, Side, TransferKind, Transferred},
    money::Currency,
    order::{Lifecycle, Line, Order, OrderAnswer, Placed, ProgressKind, Progressed},
    payment::{Declines, Payment, PaymentChanged, PaymentEvent, PaymentState, Refund, RefundState},
};

use crate::{
    shop::{hold_id, item, order_id, payment_id, pieces, refund_id, units, usd},
    world::seconds,
};

/// A sample is written as the literal, the literal is read as the sample, and neither an unknown nor a repeated field is let in anywhere.
fn kept<T: Document + PartialEq + core::fmt::Debug>(sample: &T, name: &str, schema: u16, literal: &str) {
    let body = Body::of(sample).unwrap();
    assert_eq!((body.type_name(), body.schema()), (name, schema));
    assert_eq!(core::str::from_utf8(body.bytes()).unwrap(), literal, "the shape of {name}");
    let read = |json: String| Body::raw(name, schema, json.into_bytes()).read::<T>();
    assert_eq!(read(literal.into()).as_ref(), Ok(sample));
    let unreadable = |json: String| {
        let answer = read(json.clone());
        assert!(matches!(answer, Err(BodyError::Unreadable { .. })), "{json} was read as {answer:?}");
    };
    let first = literal[1..].split(',').next().unwrap();
    unreadable(literal.replacen('{', &format!("{{{first},"), 1));
    let value: Value = serde_json::from_str(literal).unwrap();
    for place in 0..objects(&value) {
        let mut more = value.clone();
        add_field(&mut more, &mut { place });
        unreadable(more.to_string());
    }
}

fn objects(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(objects).sum::<usize>(),
        Value::Array(items) => items.iter().map(objects).sum(),
        _ => 0,
    }
}

/// Adds a field to the object at a place, counted depth first.
fn add_field(value: &mut Value, place: &mut usize) -> bool {
    match value {
        Value::Object(fields) => {
            if *place == 0 {
                fields.insert("zzz".into(), Value::from(1));
                return true;
            }
            *place -= 1;
            fields.values_mut().any(|value| add_field(value, place))
        }
        Value::Array(items) => items.iter_mut().any(|value| add_field(value, place)),
        _ => false,
    }
}

fn postings() -> Vec<Posting> {
    let leg = |account, side| Posting { account: AccountId::new(account).unwrap(), side, amount: usd(125) };
    vec![leg("assets:gateway", Side::Debit), leg("income:sales", Side::Credit)]
}

#[test]
fn orders() {
    let line = Line {
        sku: item("mug").sku,
        price: usd(1_250),
        ordered: pieces(9),
        cancelled: 1,
        shipped: 5,
        delivered: 4,
        returned: 2,
    };
    let fresh = Line { cancelled: 0, shipped: 0, delivered: 0, returned: 0, ..line.clone() };
    let order = Order {
        id: order_id("o-1"),
        customer: Some(CustomerId::new("c-1").unwrap()),
        currency: Currency::USD,
        location: item("mug").location,
        lifecycle: Lifecycle::Placed,
        placed_at: seconds(0),
        expires_at: Some(seconds(900)),
        total: usd(22_500),
        hold: hold_id("h-1"),
        payment: Some(payment_id("p-1")),
        lines: vec![line, fresh.clone()],
    };
    kept(
        &order,
        "order",
        1,
        r#"{"id":"o-1","customer":"c-1","currency":"USD","location":"here","lifecycle":"placed","placed_at":"1970-01-01T00:00:00Z","expires_at":"1970-01-01T00:15:00Z","total":{"amount":"225.00","currency":"USD"},"hold":"h-1","payment":"p-1","lines":[{"sku":"mug","price":{"amount":"12.50","currency":"USD"},"ordered":9,"cancelled":1,"shipped":5,"delivered":4,"returned":2},{"sku":"mug","price":{"amount":"12.50","currency":"USD"},"ordered":9}]}"#,
    );
    let bare = Order { customer: None, expires_at: None, payment: None, lines: vec![fresh], ..order };
    kept(
        &bare,
        "order",
        1,
        r#"{"id":"o-1","currency":"USD","location":"here","lifecycle":"placed","placed_at":"1970-01-01T00:00:00Z","total":{"amount":"225.00","currency":"USD"},"hold":"h-1","lines":[{"sku":"mug","price":{"amount":"12.50","currency":"USD"},"ordered":9}]}"#,
    );
    kept(
        &OrderAnswer { order: order_id("o-1"), lifecycle: Lifecycle::Completed, total: usd(5) },
        "order.answer",
        1,
        r#"{"order":"o-1","lifecycle":"completed","total":{"amount":"0.05","currency":"USD"}}"#,
    );
    kept(
        &Placed {
            order: order_id("o-1"),
            customer: Some(CustomerId::new("c-1").unwrap()),
            total: usd(22_500),
            lines: 2,
            units: 18,
        },
        "order.placed",
        1,
        r#"{"order":"o-1","customer":"c-1","total":{"amount":"225.00","currency":"USD"},"lines":2,"units":18}"#,
    );
    kept(
        &Progressed {
            order: OrderId::new("o-1").unwrap(),
            kind: ProgressKind::Cancelled,
            lifecycle: Lifecycle::Cancelled,
            lines: vec![units(1, 4)],
        },
        "order.progressed",
        1,
        r#"{"order":"o-1","kind":"cancelled","lifecycle":"cancelled","lines":[{"line":1,"quantity":4}]}"#,
    );
}

#[test]
fn stock() {
    let line = |shipped, released| HoldLine { item: item("mug"), held: 3, shipped, released };
    kept(
        &inventory::Hold {
            id: hold_id("h-1"),
            order: Some(order_id("o-1")),
            state: inventory::HoldState::Held,
            expires_at: Some(seconds(1)),
            lines: vec![line(1, 2), line(0, 0)],
        },
        "hold",
        1,
        r#"{"id":"h-1","order":"o-1","state":"held","expires_at":"1970-01-01T00:00:01Z","lines":[{"item":{"sku":"mug","location":"here"},"held":3,"shipped":1,"released":2},{"item":{"sku":"mug","location":"here"},"held":3}]}"#,
    );
    kept(
        &HoldAnswer { hold: hold_id("h-1"), state: inventory::HoldState::Committed, expires_at: Some(seconds(1)) },
        "hold.answer",
        1,
        r#"{"hold":"h-1","state":"committed","expires_at":"1970-01-01T00:00:01Z"}"#,
    );
    let delta = Lanes([-1, i128::from(u64::MAX), 0, 7]);
    let causes = [
        (Cause::Receipt(MovementId::new("m-1").unwrap().as_str().into()), r#"{"receipt":"m-1"}"#),
        (Cause::Hold(hold_id("h-1")), r#"{"hold":"h-1"}"#),
        (Cause::Order(order_id("o-1")), r#"{"order":"o-1"}"#),
        (Cause::Return(ReturnId::new("r-1").unwrap()), r#"{"return":"r-1"}"#),
    ];
    for (cause, json) in causes {
        kept(
            &Moved { movement: "shipped".into(), cause, lines: vec![MovedLine { item: item("mug"), delta }] },
            "stock.moved",
            1,
            &format!(
                r#"{{"movement":"shipped","cause":{json},"lines":[{{"item":{{"sku":"mug","location":"here"}},"delta":[-1,18446744073709551615,0,7]}}]}}"#
            ),
        );
    }
}

#[test]
fn money() {
    kept(
        &Account {
            id: AccountId::new("assets:gateway").unwrap(),
            currency: Currency::USD,
            normal: NormalSide::Debit,
            may_overdraw: true,
            name: "Gateway".into(),
        },
        "account",
        1,
        r#"{"id":"assets:gateway","currency":"USD","normal":"debit","may_overdraw":true,"name":"Gateway"}"#,
    );
    kept(
        &ledger::Hold {
            id: LedgerHoldId::new("p-1:1").unwrap(),
            debit: AccountId::new("a").unwrap(),
            credit: AccountId::new("b").unwrap(),
            amount: usd(100),
            captured: usd(40),
            state: ledger::HoldState::Pending,
            expires_at: Some(seconds(1)),
            transfers: 2,
            reference: "p-1".into(),
        },
        "ledger.hold",
        1,
        r#"{"id":"p-1:1","debit":"a","credit":"b","amount":{"amount":"1.00","currency":"USD"},"captured":{"amount":"0.40","currency":"USD"},"state":"pending","expires_at":"1970-01-01T00:00:01Z","transfers":2,"reference":"p-1"}"#,
    );
    let legs = r#"[{"account":"assets:gateway","side":"debit","amount":{"amount":"1.25","currency":"USD"}},{"account":"income:sales","side":"credit","amount":{"amount":"1.25","currency":"USD"}}]"#;
    let transferred = Transferred {
        id: TransferId::new("t-1").unwrap(),
        kind: TransferKind::Captured,
        reference: "p-1".into(),
        posted: postings(),
        pended: postings(),
        unpended: postings(),
    };
    kept(
        &transferred,
        "ledger.transferred",
        1,
        &format!(
            r#"{{"id":"t-1","kind":"captured","reference":"p-1","posted":{legs},"pended":{legs},"unpended":{legs}}}"#
        ),
    );
    let bare = Transferred { reference: String::new(), pended: vec![], unpended: vec![], ..transferred };
    kept(&bare, "ledger.transferred", 1, &format!(r#"{{"id":"t-1","kind":"captured","posted":{legs}}}"#));
}

#[test]
fn payments_and_returns() {
    kept(
        &Payment {
            id: payment_id("p-1"),
            order: order_id("o-1"),
            amount: usd(500),
            state: PaymentState::CaptureUnknown,
            attempts: 2,
            declines: Declines { authorise: 1, capture: 2, void: 3 },
            captured: usd(0),
            refunded: usd(1),
            refunding: usd(2),
        },
        "payment",
        1,
        r#"{"id":"p-1","order":"o-1","amount":{"amount":"5.00","currency":"USD"},"state":"capture_unknown","attempts":2,"declines":{"authorise":1,"capture":2,"void":3},"captured":{"amount":"0.00","currency":"USD"},"refunded":{"amount":"0.01","currency":"USD"},"refunding":{"amount":"0.02","currency":"USD"}}"#,
    );
    kept(
        &PaymentChanged {
            payment: payment_id("p-1"),
            order: order_id("o-1"),
            event: PaymentEvent::AuthoriseTimedOut,
            state: PaymentState::AuthoriseUnknown,
            amount: usd(500),
        },
        "payment.changed",
        1,
        r#"{"payment":"p-1","order":"o-1","event":"authorise_timed_out","state":"authorise_unknown","amount":{"amount":"5.00","currency":"USD"}}"#,
    );
    kept(
        &Refund { id: refund_id("f-1"), payment: payment_id("p-1"), amount: usd(5), state: RefundState::Pending },
        "refund",
        1,
        r#"{"id":"f-1","payment":"p-1","amount":{"amount":"0.05","currency":"USD"},"state":"pending"}"#,
    );
    let received = vec![ReceivedLine { line: 0, quantity: pieces(2), disposition: Disposition::Damaged }];
    let id = ReturnId::new("r-1").unwrap();
    kept(
        &Return {
            id: id.clone(),
            order: order_id("o-1"),
            state: ReturnState::Received,
            requested: vec![units(0, 3)],
            received: received.clone(),
            refund: usd(5),
        },
        "return",
        1,
        r#"{"id":"r-1","order":"o-1","state":"received","requested":[{"line":0,"quantity":3}],"received":[{"line":0,"quantity":2,"disposition":"damaged"}],"refund":{"amount":"0.05","currency":"USD"}}"#,
    );
    kept(
        &Received { id, order: order_id("o-1"), lines: received, refund: usd(5) },
        "return.received",
        1,
        r#"{"id":"r-1","order":"o-1","lines":[{"line":0,"quantity":2,"disposition":"damaged"}],"refund":{"amount":"0.05","currency":"USD"}}"#,
    );
}

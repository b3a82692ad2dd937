//! The audit over memory: silent while all is well, and loud over an export in which one thing was edited.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use txn::{
    Tenant,
    audit::{self, Report, Rule, VIOLATIONS_MAX},
    change::{
        Body, Change, ChangeId, Counter, Entry, Event, FactId, Fingerprint, GroupDigest, Key, Link, Record, Stored,
        Timestamp, digest, passing_digest,
    },
    store::{
        Ask, Commit, Cursor, Erase, Error, Export, Health, LogPage, ManualClock, Outcome, Page, Position, Purge,
        Purged, Query, Recorded, Row, Snapshot, Store, StoreAdmin, StoreLimits, memory::Memory,
    },
};

use crate::scenario;

fn memory() -> (Arc<Memory>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(scenario::start()));
    (Arc::new(Memory::with(Arc::clone(&clock) as _, StoreLimits::default())), clock)
}

fn verify(store: &dyn StoreAdmin) -> Report {
    pollster::block_on(audit::verify(store)).unwrap()
}

#[test]
fn a_shops_day_is_clean_after_every_step() {
    let (store, clock) = memory();
    let steps = Mutex::new(0u64);
    scenario::play(Arc::clone(&store) as _, &clock, &|step| {
        *steps.lock().unwrap() += 1;
        let report = verify(&*store);
        assert!(report.is_clean(), "{step}: {:#?}", report.violations);
    });
    let report = verify(&*store);
    assert!(*steps.lock().unwrap() > 50);
    assert_eq!(report.tenants, 2);
    assert_eq!(report.commits, pollster::block_on(store.health()).unwrap().commits);
    for (what, count) in [
        ("entries", report.entries),
        ("events", report.events),
        ("counters", report.counters),
        ("records", report.records),
    ] {
        assert!(count > 0, "no {what}");
    }
}

/// What is old is let go of, and what is left is proven like before.
#[test]
fn a_shop_that_was_purged_is_clean_and_still_tells_of_damage() {
    let (store, clock) = memory();
    scenario::play(Arc::clone(&store) as _, &clock, &|_| {});
    let tenant = Tenant::new(scenario::SHOP).unwrap();
    let seen = || Event::new(Body::raw("page.seen", 1, b"{}".to_vec()));
    let change = Change::new(ChangeId::new("page.see/1").unwrap(), Fingerprint::of("page.see", &1));
    let change = change.append(seen()).append(seen().with_id(FactId::new("page/1").unwrap())).append(seen());
    pollster::block_on(store.commit(vec![Commit { tenant, change }])).pop().unwrap().unwrap();
    let before = verify(&*store);
    let mut events = before.events;
    for what in [Purge::Answers, Purge::Events] {
        let mut rows = 0;
        loop {
            let purged = pollster::block_on(store.purge(what, Timestamp::MAX, 16)).unwrap();
            rows += purged.rows;
            if purged.is_complete {
                break;
            }
        }
        assert!(rows > 1, "{what:?} has let go of {rows}");
        events -= if what == Purge::Events { rows } else { 0 };
    }
    let after = verify(&*store);
    assert!(after.is_clean(), "{:#?}", after.violations);
    assert_eq!((after.events, after.entries), (events, before.entries));
    const SEEN: &str = "shop: change page.see/1";
    const PLACED: &str = "shop: change order.place/o-1";
    let edits: &[(Rule, &str, Edit)] = &[
        (Rule::ChangeUnedited, SEEN, |rows| {
            rows.commits().for_each(|(stored, ..)| {
                if stored.passed.is_some() {
                    stored.passed = Some([7; 32]);
                }
            })
        }),
        (Rule::ChangeUnedited, SEEN, |rows| {
            rows.commits().for_each(|(stored, _, events)| {
                if stored.passed.is_some() {
                    events.clear();
                }
            })
        }),
        (Rule::ChangeWhole, SEEN, |rows| rows.commits().for_each(|(stored, ..)| stored.passed = None)),
        // The mark is moved on: what a change gave free tells.
        (Rule::PurgedAsTold, "where the log begins", |rows| {
            if let Row::Purged { events, .. } = &mut rows.0[0] {
                events.0 += 1;
            }
        }),
        (Rule::PurgedAsTold, "what is free of the log", |rows| {
            let is_tail = |row: &&mut Row| matches!(row, Row::Record { key, .. } if key.kind() == "txn-tail");
            let Some(Row::Record { record, .. }) = rows.0.iter_mut().find(is_tail) else { panic!("no tail") };
            record.body = replaced(&record.body, ":", ":9");
        }),
        // Who deletes an event that lasts cannot say that it has passed.
        (Rule::ChangeUnedited, PLACED, |rows| {
            rows.commits().for_each(|(stored, _, events)| {
                let before = events.len();
                events.retain(|item| item.event.id.as_deref() != Some("order/o-1"));
                if events.len() < before {
                    stored.passed = Some([0; 32]);
                }
            })
        }),
    ];
    for (rule, subject, edit) in edits {
        let report = verify(&EditedStore { store: Arc::clone(&store), edit: *edit });
        let named = report
            .violations
            .iter()
            .any(|violation| violation.rule == *rule && violation.to_string().starts_with(subject));
        assert!(named, "{rule:?}: {:#?}", report.violations);
    }
}

struct Rows(Vec<Row>);

#[async_trait]
impl Export for Rows {
    async fn next(&mut self, max: usize) -> Result<Vec<Row>, Error> {
        Ok(self.0.drain(..max.min(self.0.len())).collect())
    }
}

/// A store whose export is edited on the way.
struct EditedStore {
    store: Arc<Memory>,
    edit: Edit,
}

#[async_trait]
impl Store for EditedStore {
    async fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Outcome, Error>> {
        self.store.commit(batch).await
    }
    async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error> {
        self.store.get(asks).await
    }
    async fn find(&self, tenant: &Tenant, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        self.store.find(tenant, query, after, limit).await
    }
    async fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error> {
        self.store.read(after, limit).await
    }
    async fn watch(&self, after: Position) -> Result<Position, Error> {
        self.store.watch(after).await
    }
}

#[async_trait]
impl StoreAdmin for EditedStore {
    async fn export(&self) -> Result<Box<dyn Export>, Error> {
        let mut rows = Rows(self.store.export().await?.next(usize::MAX).await?);
        (self.edit)(&mut rows);
        Ok(Box::new(rows))
    }
    async fn health(&self) -> Result<Health, Error> {
        self.store.health().await
    }
    async fn erase(&self, tenant: &Tenant, what: Vec<Erase>) -> Result<u64, Error> {
        self.store.erase(tenant, what).await
    }
    async fn purge(&self, what: Purge, before: Timestamp, max: usize) -> Result<Purged, Error> {
        self.store.purge(what, before, max).await
    }
}

type Edit = fn(&mut Rows);

/// The rows of the shop, to be edited by name.
impl Rows {
    fn commits(&mut self) -> impl Iterator<Item = (&mut Stored, &mut Vec<Entry>, &mut Vec<Recorded>)> {
        self.0.iter_mut().filter_map(|row| match row {
            Row::Commit { tenant, stored, entries, events, .. } if **tenant == *scenario::SHOP => {
                Some((stored, entries, events))
            }
            _ => None,
        })
    }

    /// Makes counts and digests fit again, as somebody would who knows of them: what is wrong now is for the other rules to see.
    fn seal(&mut self) {
        for row in &mut self.0 {
            if let Row::Commit { id, stored, entries, events, .. } = row {
                let plain: Vec<Event> = events.iter().map(|item| item.event.clone()).collect();
                stored.entries = u32::try_from(entries.len()).unwrap();
                stored.events = u32::try_from(events.len()).unwrap();
                stored.digest = digest(id, stored.fingerprint, &stored.answer, stored.recorded_at, entries, &plain);
            }
        }
        let (mut chain, mut group, mut log) = (Link::START, GroupDigest::default(), 0);
        for row in &mut self.0 {
            match row {
                Row::Commit { tenant, id, stored, .. } => group.add(tenant, id, &stored.digest, stored.events),
                Row::Link { link, changes, events, position } => {
                    let group = std::mem::take(&mut group).finish();
                    (*changes, *events) = (group.changes, group.events);
                    log += group.events;
                    chain = chain.next(&group);
                    (*link, *position) = (chain, Position(log));
                }
                _ => {}
            }
        }
    }

    /// The link of that number, and where it stands.
    fn link(&mut self, wanted: u64) -> (usize, &mut Row) {
        let is_it = |row: &Row| matches!(row, Row::Link { link, .. } if link.number == wanted);
        let place = self.0.iter().position(is_it).unwrap();
        (place, &mut self.0[place])
    }

    fn entries(&mut self, counter: &str) -> &mut Vec<Entry> {
        let holds = |entries: &Vec<Entry>| entries.first().is_some_and(|entry| entry.counter.to_string() == counter);
        self.commits().find(|(_, entries, _)| holds(entries)).map(|(_, entries, _)| entries).unwrap()
    }

    fn counter(&mut self, wanted: &str) -> &mut Counter {
        let of = |row| match row {
            &mut Row::Counter { ref tenant, ref key, ref mut counter }
                if **tenant == *scenario::SHOP && key.to_string() == wanted =>
            {
                Some(counter)
            }
            _ => None,
        };
        self.0.iter_mut().find_map(of).unwrap()
    }

    fn record(&mut self, wanted: &str) -> (&mut Record, &mut Vec<Key>) {
        let of = |row| match row {
            &mut Row::Record { ref tenant, ref key, ref mut record, ref mut indexed }
                if **tenant == *scenario::SHOP && key.to_string().starts_with(wanted) =>
            {
                Some((record, indexed))
            }
            _ => None,
        };
        self.0.iter_mut().find_map(of).unwrap_or_else(|| panic!("no record {wanted}"))
    }

    fn rewrite(&mut self, record: &str, from: &str, to: &str) {
        let (record, _) = self.record(record);
        record.body = replaced(&record.body, from, to);
    }

    /// Rewrites the first event of a type that holds the text, and seals it.
    fn retell(&mut self, event: &str, from: &str, to: &str) {
        let holds = |body: &Body| body.type_name() == event && text(body).contains(from);
        let found = self.commits().flat_map(|(_, _, events)| events).find(|item| holds(&item.event.body));
        let item = found.unwrap_or_else(|| panic!("no {event} with {from}"));
        item.event.body = replaced(&item.event.body, from, to);
        self.seal();
    }

    fn remove(&mut self, wanted: &str) {
        let before = self.0.len();
        self.0.retain(|row| match row {
            Row::Record { tenant, key, .. } | Row::Counter { tenant, key, .. } => {
                **tenant != *scenario::SHOP || !key.to_string().starts_with(wanted)
            }
            _ => true,
        });
        assert!(self.0.len() < before, "no row {wanted}");
    }
}

fn text(body: &Body) -> String {
    String::from_utf8(body.bytes().to_vec()).unwrap()
}

fn replaced(body: &Body, from: &str, to: &str) -> Body {
    let before = text(body);
    assert!(before.contains(from), "{before} has no {from}");
    Body::raw(body.type_name(), body.schema(), before.replacen(from, to, 1).into_bytes())
}

/// A rule, one thing that breaks it, and what the sentence about it begins with.
const DAMAGES: &[(Rule, &str, Edit)] = &[
    (Rule::RowsFit, "entry 9 of nothing", |rows| rows.0.push(Row::Orphan { what: "entry 9 of nothing".into() })),
    (Rule::ChangeWhole, "shop: change stock.receive/m-1", |rows| drop(rows.entries("stock/tea/main").pop())),
    // Who deletes an event and says that it has passed leaves a whole digest, and a log that does not begin behind it.
    (Rule::PurgedAsTold, "shop: change", |rows| {
        let passing = |events: &[Recorded]| events.iter().any(|item| !item.event.is_lasting());
        let (stored, _, events) = rows.commits().find(|(_, _, events)| passing(events)).unwrap();
        let all: Vec<Event> = events.iter().map(|item| item.event.clone()).collect();
        stored.passed = Some(passing_digest(&all));
        events.retain(|item| item.event.is_lasting());
    }),
    (Rule::PurgedAsTold, "where the log begins", |rows| {
        rows.0[0] = Row::Purged { answers: 0, events: Position(1) };
    }),
    (Rule::PurgedAsTold, "shop: change order.place/o-1", |rows| {
        let is_it = |row: &&mut Row| matches!(row, Row::Commit { id, .. } if id.as_str() == "order.place/o-1");
        if let Some(Row::Commit { stored, .. }) = rows.0.iter_mut().find(is_it) {
            stored.answer = stored.answer.erased();
        }
    }),
    (Rule::ChangeUnedited, "shop: change order.place/o-1", |rows| {
        let placed =
            rows.commits().flat_map(|(_, _, events)| events).find(|item| item.event.id.as_deref() == Some("order/o-1"));
        let body = &mut placed.unwrap().event.body;
        *body = replaced(body, "ann", "ANN");
    }),
    (Rule::ChangeUnedited, "shop: change order.place/o-1", |rows| {
        let answer = |stored: &&mut Stored| text(&stored.answer).contains(r#""order":"o-1""#);
        rows.commits().map(|(stored, ..)| stored).find(answer).unwrap().fingerprint.0[31] ^= 1;
    }),
    (Rule::ChainGapless, "link 8: the links of the chain are numbered from 1 without gaps: expected link 7", |rows| {
        let (place, _) = rows.link(7);
        drop(rows.0.remove(place));
    }),
    (Rule::LinkWhole, "link 7: a link holds the changes that it was made of", |rows| {
        let (place, _) = rows.link(7);
        drop(rows.0.remove(place - 1));
    }),
    (Rule::LinkUnedited, "link 7: the hash of a link", |rows| {
        if let (_, Row::Link { link, .. }) = rows.link(7) {
            link.hash[0] ^= 1;
        }
    }),
    (Rule::LinkCounts, "link 7: a link states how many changes and events it holds: expected 1 and", |rows| {
        if let (_, Row::Link { changes, .. }) = rows.link(7) {
            *changes += 1;
        }
    }),
    (Rule::LogInOrder, "link 7: with every link the log grows by its events at least", |rows| {
        if let (_, Row::Link { position, .. }) = rows.link(7) {
            *position = Position(1);
        }
    }),
    (Rule::EntriesInTime, "shop: entry", |rows| {
        let (stored, entries, events) = rows.commits().filter(|(_, entries, _)| !entries.is_empty()).last().unwrap();
        stored.recorded_at = Timestamp::EPOCH;
        entries.iter_mut().for_each(|entry| entry.recorded_at = Timestamp::EPOCH);
        events.iter_mut().for_each(|event| event.recorded_at = Timestamp::EPOCH);
        rows.seal();
    }),
    (Rule::EventOfChange, "shop: event 0 of change", |rows| {
        rows.commits().filter(|(_, _, events)| !events.is_empty()).nth(3).unwrap().2[0].tenant = Tenant::default();
    }),
    (Rule::AnswerTrue, "shop: the answer of change order.place/o-1", |rows| {
        let answer = |stored: &&mut Stored| text(&stored.answer).contains(r#""order":"o-1""#);
        let stored = rows.commits().map(|(stored, ..)| stored).find(answer).unwrap();
        stored.answer = replaced(&stored.answer, "29.90", "29.91");
    }),
    (Rule::EntriesGapless, "shop: stock/tea/main", |rows| {
        drop(rows.entries("stock/tea/main").remove(0));
        rows.seal();
    }),
    (Rule::EntriesAdd, "shop: entry 1 of stock/tea/main", |rows| {
        rows.entries("stock/tea/main")[0].after.0[0] += 1;
        rows.seal();
    }),
    (Rule::CounterExists, "shop: stock/tea/main", |rows| rows.remove("stock/tea/main")),
    (Rule::CounterIsLastEntry, "shop: stock/tea/main", |rows| rows.counter("stock/tea/main").lanes.0[2] += 1),
    (Rule::CounterSound, "shop: ledger/equity/USD", |rows| rows.counter("ledger/equity/USD").guards = [None; 2]),
    (Rule::CounterSound, "shop: stock/tea/main", |rows| rows.counter("stock/tea/main").version = 1),
    (Rule::LaneNotNegative, "shop: stock/tea/main", |rows| rows.counter("stock/tea/main").lanes.0[2] = -1),
    (Rule::GuardHolds, "shop: stock/tea/main", |rows| rows.counter("stock/tea/main").lanes.0[1] = 1_000),
    (Rule::Conserved, "shop: posted USD in change ledger.transfer/t-1", |rows| {
        rows.entries("ledger/assets:cash/USD")[0].delta.0[1] += 1;
        rows.seal();
    }),
    (Rule::Conserved, "shop: all ledger counters in USD", |rows| {
        rows.counter("ledger/assets:cash/USD").lanes.0[1] += 1
    }),
    (Rule::FactsAreEntries, "shop: stock/tea/main", |rows| rows.retell("stock.moved", "[50,", "[51,")),
    (Rule::FactsAreEntries, "shop: ledger/equity/USD", |rows| rows.retell("ledger.transferred", "equity", "equities")),
    (Rule::Readable, "shop: order/o-1", |rows| rows.record("order/o-1").0.body = Body::raw("order", 1, b"{}".to_vec())),
    (Rule::Readable, "shop: event order.placed", |rows| rows.retell("order.placed", "units", "unit")),
    (Rule::KeyOfBody, "shop: order/o-1", |rows| rows.rewrite("order/o-1", r#""id":"o-1""#, r#""id":"o-4""#)),
    (Rule::Indexed, "shop: order/o-1", |rows| rows.record("order/o-1").1.clear()),
    (Rule::Indexed, "shop: order/o-1", |rows| {
        let (record, indexed) = rows.record("order/o-1");
        record.terms.clear();
        indexed.clear();
    }),
    (Rule::VersionCounts, "shop: order/o-1", |rows| rows.record("order/o-1").0.version += 1),
    (Rule::VersionCounts, "shop: payment/p-1", |rows| rows.record("payment/p-1").0.version -= 1),
    (Rule::OrderPlaced, "shop: order o-1", |rows| rows.remove("order/o-1")),
    (Rule::OrderTotal, "shop: order/o-1", |rows| rows.rewrite("order/o-1", "29.90", "29.91")),
    (Rule::OrderTotal, "shop: order/o-1", |rows| rows.retell("order.placed", "29.90", "29.91")),
    (Rule::OrderBuckets, "shop: order/o-1 line 0", |rows| {
        rows.rewrite("order/o-1", r#""ordered":3"#, r#""ordered":2"#)
    }),
    (Rule::OrderSteps, "shop: order/o-1 line 0", |rows| {
        rows.rewrite("order/o-1", r#""returned":1"#, r#""returned":2"#)
    }),
    (Rule::OrderLifecycle, "shop: order/o-1", |rows| rows.rewrite("order/o-1", "completed", "placed")),
    (Rule::OrderLifecycle, "shop: order o-2", |rows| {
        rows.retell("order.progressed", r#""lifecycle":"cancelled""#, r#""lifecycle":"completed""#)
    }),
    (Rule::OrderPayment, "shop: order o-1", |rows| rows.remove("payment/p-1")),
    (Rule::OrderHold, "shop: order o-1", |rows| rows.remove("hold/h-1")),
    (Rule::OrderHold, "shop: order o-2", |rows| rows.rewrite("hold/h-2", r#""state":"released""#, r#""state":"held""#)),
    (Rule::MovementSound, "shop: hold h-1", |rows| {
        rows.retell(
            "stock.moved",
            r#"{"movement":"shipped","cause":{"hold":"h-1"}"#,
            r#"{"movement":"released","cause":{"hold":"h-1"}"#,
        )
    }),
    (Rule::HoldIsItsMovements, "shop: hold/h-1", |rows| {
        rows.rewrite("hold/h-1", r#""state":"shipped""#, r#""state":"held""#)
    }),
    (Rule::HoldsReserve, "shop: stock/cup/main", |rows| {
        rows.rewrite("hold/h-2", r#""state":"released""#, r#""state":"held""#);
        rows.rewrite("hold/h-2", r#","released":1"#, "");
    }),
    (Rule::PaymentPath, "shop: payment p-1", |rows| rows.retell("payment.changed", "capture_done", "void_done")),
    (Rule::PaymentIsItsEvents, "shop: payment/p-1", |rows| {
        rows.rewrite("payment/p-1", r#""captured","#, r#""authorised","#)
    }),
    (Rule::PaymentSound, "shop: payment/p-1", |rows| {
        rows.rewrite("payment/p-1", r#""refunded":{"amount":"15.90""#, r#""refunded":{"amount":"29.90""#)
    }),
    (Rule::PaymentPosted, "shop: payment p-1 in Captured", |rows| rows.remove("ledger-hold/p-1:1")),
    (Rule::RefundsAddUp, "shop: payment p-1", |rows| rows.rewrite("refund/f-3", "1.00", "1.01")),
    (Rule::RefundPosted, "shop: refund f-3", |rows| rows.rewrite("refund/f-3", "done", "failed")),
    (Rule::RefundPosted, "shop: refund f-4", |rows| rows.rewrite("refund/f-4", "failed", "done")),
    (Rule::ReturnReceived, "shop: return r-1", |rows| rows.remove("return/r-1")),
    (Rule::ReturnReceived, "shop: return/r-3", |rows| rows.rewrite("return/r-3", "requested", "received")),
    (Rule::ReturnRefund, "shop: return r-1", |rows| rows.retell("return.received", "11.50", "11.51")),
    (Rule::ReturnStocked, "shop: return r-1", |rows| rows.retell("stock.moved", "[1,0,0,1]", "[2,0,0,2]")),
    (Rule::LedgerHoldIsItsTransfers, "shop: ledger-hold/a", |rows| rows.rewrite("ledger-hold/a", "10.00", "11.00")),
    (Rule::LedgerHoldIsItsTransfers, "shop: transfer hold:a:1", |rows| rows.remove("ledger-hold/a")),
    (Rule::LedgerHoldIsItsTransfers, "shop: ledger-hold/c", |rows| rows.rewrite("ledger-hold/c", "7.00", "8.00")),
    (Rule::LedgerHoldIsItsTransfers, "shop: ledger-hold/c", |rows| {
        rows.rewrite("ledger-hold/c", r#""extensions":1"#, r#""extensions":2"#)
    }),
    (Rule::LedgerHoldIsItsTransfers, "shop: ledger hold c", |rows| rows.remove("ledger-hold/c")),
    (Rule::CounterSound, "shop: ledger/equity:reserve/USD", |rows| {
        rows.counter("ledger/equity:reserve/USD").guards = [None; 2]
    }),
    (Rule::AccountIsItsEvents, "shop: account/equity:reserve/USD", |rows| {
        rows.rewrite("account/equity:reserve/USD", "5.00", "6.00")
    }),
    (Rule::AccountIsItsEvents, "shop: account/equity:reserve/USD", |rows| {
        rows.rewrite("account/equity:reserve/USD", "2029-12", "2029-11")
    }),
    (Rule::AccountIsItsEvents, "shop: account/equity:reserve/USD", |rows| {
        rows.counter("ledger/equity:reserve/USD").status = txn::change::Status::Closed
    }),
    (Rule::AccountIsItsEvents, "shop: account/equity:reserve/USD", |rows| rows.remove("account/equity:reserve")),
    (Rule::AccountIsItsEvents, "shop: account equity:reserve in USD", |rows| {
        rows.retell("ledger.account.changed", r#""from":"frozen""#, r#""from":"open""#)
    }),
    (Rule::AccountHasParent, "shop: account/equity:reserve/USD", |rows| {
        rows.rewrite("account/equity:reserve/USD", r#""level":1"#, r#""level":2"#)
    }),
    (Rule::Indexed, "shop: account/equity:reserve/USD", |rows| {
        rows.rewrite("account/equity:reserve/USD", r#""parent":"equity""#, r#""parent":"assets:cash""#)
    }),
    (Rule::Indexed, "shop: ledger-hold/c", |rows| rows.record("ledger-hold/c").1.clear()),
    (Rule::TimerSet, "shop: ledger hold c", |rows| rows.remove("timer/")),
    (Rule::AccountHasBalance, "shop: ledger/equity/USD", |rows| rows.remove("account/equity/")),
    (Rule::TransferIndexed, "shop: transfer t-2", |rows| {
        let is_it = |item: &&mut Recorded| item.event.id.as_deref() == Some("transfer/t-2");
        let item = rows.commits().flat_map(|(_, _, events)| events).find(is_it).unwrap();
        assert!(item.event.terms.pop().unwrap().to_string().starts_with("transfer-dated/"));
        rows.seal();
    }),
    (Rule::ReversalsAddUp, "shop: ledger-reversal/t-2", |rows| rows.rewrite("ledger-reversal/t-2", "4.00", "5.00")),
    (Rule::ReversalsAddUp, "shop: ledger-reversal/t-2", |rows| rows.rewrite("ledger-reversal/t-2", "10.00", "3.00")),
    (Rule::ReversalsAddUp, "shop: ledger-reversal/t-2", |rows| rows.remove("ledger-reversal/t-2")),
    (Rule::PeriodKept, "shop: ledger-period", |rows| rows.rewrite("ledger-period", "2030", "2029")),
    (Rule::PeriodKept, "shop: ledger-period", |rows| rows.remove("ledger-period")),
    (Rule::PeriodKept, "shop: entry", |rows| {
        let is_chain = |entries: &Vec<Entry>| entries.first().is_some_and(|entry| &*entry.change == "ledger.chain/two");
        let (_, entries, _) = rows.commits().find(|(_, entries, _)| is_chain(entries)).unwrap();
        entries[0].effective_at = Timestamp::from_nanos(entries[0].effective_at.as_nanos() - 1);
        rows.seal();
    }),
    (Rule::AccountHasBalance, "shop: ledger/equity/USD", |rows| rows.remove("ledger/equity")),
    (Rule::TimerSet, "shop: hold h-10", |rows| rows.remove("timer/")),
];

#[test]
fn every_rule_notices_what_breaks_it() {
    let (store, clock) = memory();
    scenario::play(Arc::clone(&store) as _, &clock, &|_| {});
    for (rule, subject, edit) in DAMAGES {
        let report = verify(&EditedStore { store: Arc::clone(&store), edit: *edit });
        let named = report.violations.iter().any(|found| found.rule == *rule && found.to_string().starts_with(subject));
        assert!(
            named,
            "{rule:?} at {subject}: {:#?}",
            report.violations.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        assert_eq!(report.violations_total, report.violations.len() as u64);
    }
    let tried = |rule: &Rule| *rule == Rule::ChainKept || DAMAGES.iter().any(|(tried, ..)| tried == rule);
    let untried = Rule::ALL.iter().find(|rule| !tried(rule));
    assert_eq!(untried, None, "no damage breaks this rule");
}

#[test]
fn a_report_keeps_so_many_violations_and_counts_the_rest() {
    let (store, _) = memory();
    let edit: Edit = |rows| rows.0.extend((0..=VIOLATIONS_MAX).map(|n| Row::Orphan { what: n.to_string() }));
    let report = verify(&EditedStore { store, edit });
    assert_eq!((report.violations.len(), report.violations_total), (VIOLATIONS_MAX, VIOLATIONS_MAX as u64 + 1));
    assert!(!report.is_clean());
}

/// What each damage to the chain alone is called, in full: one damage is named once.
#[test]
fn one_damage_to_the_chain_is_named_once() {
    let (store, clock) = memory();
    scenario::play(Arc::clone(&store) as _, &clock, &|_| {});
    let edits: &[(&str, Edit, &[&str])] = &[
        ("an edited hash", |rows| link(rows, 7).0.hash = [7; 32], &["link 7: the hash of a link is"]),
        ("the first hash", |rows| link(rows, 1).0.hash = [7; 32], &["link 1: the hash of a link is"]),
        ("an edited count", |rows| *link(rows, 7).1 += 2, &["link 7: a link states how many changes"]),
        (
            "a removed link",
            |rows| {
                let (place, _) = rows.link(7);
                drop(rows.0.remove(place));
            },
            &["link 8: the links of the chain are numbered from 1 without gaps: expected link 7, found 8"],
        ),
        (
            "two swapped links",
            |rows| {
                let (a, b) = (rows.link(7).0, rows.link(8).0);
                rows.0.swap(a, b);
            },
            &[
                "link 7: the links of the chain are numbered from 1 without gaps: expected link 9, found 7",
                "link 8: the links of the chain are numbered from 1 without gaps: expected link 7, found 8",
            ],
        ),
        (
            "two swapped hashes",
            |rows| {
                let (a, b) = (link(rows, 7).0.hash, link(rows, 8).0.hash);
                (link(rows, 7).0.hash, link(rows, 8).0.hash) = (b, a);
            },
            &["link 7: the hash of a link is", "link 8: the hash of a link is"],
        ),
        (
            "a change moved to the link before",
            |rows| {
                let a = rows.link(7).0;
                rows.0.swap(a, a + 1);
            },
            &[
                "link 7: a link holds the changes that it was made of, no fewer and no more: expected 1 changes",
                "link 8: a link holds the changes that it was made of, no fewer and no more: expected 1 changes",
            ],
        ),
    ];
    for (what, edit, expected) in edits {
        let found = verify(&EditedStore { store: Arc::clone(&store), edit: *edit }).violations;
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let is_said = found.len() == expected.len() && found.iter().zip(*expected).all(|(f, e)| f.starts_with(e));
        assert!(is_said, "{what}: {found:#?}");
    }
}

fn link(rows: &mut Rows, number: u64) -> (&mut Link, &mut u64) {
    match rows.link(number) {
        (_, Row::Link { link, changes, .. }) => (link, changes),
        _ => unreachable!("a link was looked for"),
    }
}

/// A link that was kept tells what nothing else can: that the end was cut off, or everything written anew.
#[test]
fn a_kept_link_shows_that_the_chain_was_cut_or_rewritten() {
    let (store, clock) = memory();
    scenario::play(Arc::clone(&store) as _, &clock, &|_| {});
    let whole = verify(&*store);
    let health = pollster::block_on(store.health()).unwrap();
    assert_eq!((whole.chain, whole.unchained), (health.chain, 0));
    let since = |edit: Edit, kept: Link| {
        let edited = EditedStore { store: Arc::clone(&store), edit };
        let report = pollster::block_on(audit::verify_since(&edited, kept)).unwrap();
        report.violations.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for kept in [Link::START, whole.chain] {
        assert_eq!(since(|_| {}, kept), Vec::<String>::new());
    }
    // The last commit and its link are gone, and whatever they wrote: a note of the host's, which nothing else speaks of.
    let cut: Edit = |rows| {
        let last = rows.0.iter().rposition(|row| matches!(row, Row::Link { .. })).unwrap();
        rows.0.drain(last - 1..=last);
    };
    let named = since(cut, whole.chain);
    let expected = format!("link {}: the chain holds the link that was kept: expected ", whole.chain.number);
    assert!(named.iter().any(|found| found.starts_with(&expected) && found.contains("found none")), "{named:#?}");
    let rewritten: Edit = |rows| {
        rows.commits().last().unwrap().0.fingerprint.0[0] ^= 1;
        rows.seal();
    };
    assert_eq!(since(rewritten, Link::START), Vec::<String>::new());
    let named = since(rewritten, whole.chain);
    assert!(matches!(&named[..], [one] if one.starts_with(&expected) && one.contains("found another")), "{named:#?}");
}

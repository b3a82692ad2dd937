//! Transfers with conditions, in chains, as much as possible; reversals; periods; and what transfers leave to be found by.

use txn_change::{Change, Fingerprint, Key, Segment, Timestamp};
use txn_core::{
    Versioned,
    id::TransferId,
    ledger::{
        self, Chained, ClosePeriod, Condition, Is, Measure, Metadata, MetadataError, NormalSide, Period, Posting,
        Rejection, Reverse, Reversed, Side, Transfer, TransferUpTo, Transferred, account_key, check_period, period_key,
        reversal_key, transfer_by_itself, transfer_chain, transfer_fact, transfer_of, transfer_up_to,
    },
    money::{Currency, Money},
};

use crate::{
    ledger::bank,
    shop::{account_id, usd},
    world::{No, Outcome, World, seconds},
};

fn id(id: &str) -> TransferId {
    TransferId::new(id).unwrap()
}

fn simple(name: &str, debit: &str, credit: &str, minor: i128) -> Transfer {
    Transfer::simple(id(name), account_id(debit), account_id(credit), usd(minor))
}

fn post(world: &mut World, transfer: &Transfer) -> Outcome {
    world.post(transfer)
}

fn pay(world: &mut World, name: &str, debit: &str, credit: &str, minor: i128) -> Outcome {
    post(world, &simple(name, debit, credit, minor))
}

fn no(outcome: Outcome) -> Rejection {
    match outcome {
        Err(No::Ledger(rejection)) => rejection,
        other => panic!("{other:?}"),
    }
}

fn posted(world: &World, account: &str) -> i128 {
    let [_, debits, _, credits] = world.lanes(&account_key(&account_id(account), Currency::USD));
    credits - debits
}

fn reverse(world: &mut World, command: &Reverse, effective_at: Option<Timestamp>) -> Outcome {
    let fact = world.events.iter().find(|event| event.id == Some(transfer_fact(&command.transfer)));
    let original: Transferred = fact.expect("a known transfer").body.read().unwrap();
    let recorded_at = world.entries.iter().find(|entry| transfer_of(entry) == Some(original.id.clone()));
    let recorded_at = recorded_at.map_or(world.now, |entry| entry.recorded_at);
    let reversed: Option<Versioned<Reversed>> = world.find(&reversal_key(&command.transfer));
    let context = txn_core::Context { effective_at, ..world.context() };
    world.put(ledger::reverse(&context, (&original, recorded_at), reversed.as_ref(), command))
}

#[test]
fn conditions_are_judged_on_the_state_before_and_name_what_they_found() {
    let mut world = bank();
    let available = Measure::Available(NormalSide::Credit);
    let version = world.view.counters[&account_key(&account_id("wallet"), Currency::USD)].version;
    let cases = [
        (Is::AtLeast(available, usd(10_000)), None),
        (Is::AtLeast(available, usd(10_001)), Some(10_000)),
        (Is::AtMost(available, usd(10_000)), None),
        (Is::AtMost(available, usd(9_999)), Some(10_000)),
        (Is::Equals(Measure::Posted(NormalSide::Credit), usd(10_000)), None),
        (Is::Equals(Measure::Posted(NormalSide::Credit), usd(1)), Some(10_000)),
        (Is::Equals(Measure::Posted(NormalSide::Debit), usd(-10_000)), None),
        (Is::Version(version), None),
        (Is::Version(version + 1), Some(i128::from(version))),
    ];
    for (is, found) in cases {
        let mut world = world.clone();
        let met = Condition::new(account_id("shop"), Currency::USD, Is::Version(1));
        let condition = Condition::new(account_id("wallet"), Currency::USD, is);
        let transfer = simple("t", "wallet", "shop", 10_000).only_if(met).only_if(condition);
        let then = found.map_or(Ok(()), |found| {
            let (account, currency) = ("wallet".into(), "USD".into());
            Err(No::Ledger(Rejection::ConditionFailed { account, currency, condition: 1, found }))
        });
        assert_eq!(post(&mut world, &transfer), then, "{is:?}");
        assert_eq!(posted(&world, "shop"), if found.is_none() { 10_000 } else { 0 });
    }
    let euro = Money::from_minor(1, Currency::EUR);
    let odd = Condition::new(account_id("wallet"), Currency::USD, Is::AtLeast(available, euro));
    let refused = no(post(&mut world, &simple("t", "wallet", "shop", 1).only_if(odd)));
    assert_eq!(refused, Rejection::CurrencyMismatch { expected: Currency::USD, found: Currency::EUR });
}

/// Case L16.
#[test]
fn a_chain_is_all_or_nothing_and_judged_on_its_net() {
    let mut world = bank();
    let seen = world.view.clone();
    let chain = |world: &mut World, transfers: &[Transfer]| {
        let context = world.context();
        world.put(transfer_chain(&context, transfers))
    };
    assert_eq!(no(chain(&mut world, &[])), Rejection::EmptyChain);
    let long = vec![simple("t", "wallet", "shop", 1); ledger::CHAIN_MAX + 1];
    assert_eq!(no(chain(&mut world, &long)), Rejection::ChainTooLong { found: 1_001, max: 1_000 });
    let middle =
        [simple("a", "wallet", "shop", 1), simple("b", "wallet", "nobody", 1), simple("c", "wallet", "shop", 1)];
    assert!(matches!(no(chain(&mut world, &middle)), Rejection::UnknownAccount { account, .. } if account == "nobody"));
    let unsound = [simple("a", "wallet", "shop", 1), simple("b", "wallet", "shop", 0)];
    assert!(matches!(no(chain(&mut world, &unsound)), Rejection::InvalidAmount { .. }));
    let twice = [simple("a", "wallet", "shop", 1), simple("a", "wallet", "shop", 1)];
    assert_eq!(no(chain(&mut world, &twice)), Rejection::TransferExists { transfer: id("a") });
    let short = [simple("a", "wallet", "shop", 10_000), simple("b", "shop", "cash", 10_001)];
    assert!(
        matches!(no(chain(&mut world, &short)), Rejection::InsufficientFunds { account, missing: 1, .. } if account == "shop")
    );
    assert_eq!(world.view, seen, "nothing has changed");
    // It pays out before it is paid in.
    let net = [simple("a", "shop", "cash", 10_000), simple("b", "wallet", "shop", 10_000)];
    chain(&mut world, &net).unwrap();
    assert_eq!((posted(&world, "wallet"), posted(&world, "shop"), posted(&world, "cash")), (0, 0, 0));
    let made: Vec<_> = world.entries.iter().filter_map(transfer_of).collect();
    assert_eq!(&made[2..], [id("a"), id("a"), id("b"), id("b")].as_slice(), "entries name the transfer of a chain");
    let answered = world.view.changes.values().find_map(|stored| stored.answer.read::<Chained>().ok());
    assert_eq!(answered, Some(Chained { transfers: vec![id("a"), id("b")] }));
}

#[test]
fn as_much_as_possible_is_the_least_of_what_is_asked_there_and_room_for() {
    let mut world = bank();
    let up_to = |world: &mut World, name: &str, debit: &str, credit: &str, max: i128| {
        let counter =
            |account: &str| world.view.counters.get(&account_key(&account_id(account), Currency::USD)).cloned();
        let (from, to) = (counter(debit), counter(credit));
        let command = TransferUpTo {
            id: id(name),
            debit: account_id(debit),
            credit: account_id(credit),
            max: usd(max),
            reference: String::new(),
        };
        let context = world.context();
        world.put(transfer_up_to(&context, from.as_ref(), to.as_ref(), &command))
    };
    up_to(&mut world, "a", "wallet", "shop", 4_000).unwrap();
    assert_eq!(posted(&world, "shop"), 4_000);
    up_to(&mut world, "b", "wallet", "shop", 40_000).unwrap();
    assert_eq!((posted(&world, "wallet"), posted(&world, "shop")), (0, 10_000));
    let nothing = Rejection::NothingToMove { debit: account_id("wallet"), credit: account_id("shop") };
    assert_eq!(no(up_to(&mut world, "c", "wallet", "shop", 1)), nothing);
    assert!(matches!(no(up_to(&mut world, "c", "shop", "cash", 0)), Rejection::InvalidAmount { .. }));
    assert!(matches!(no(up_to(&mut world, "c", "shop", "nobody", 1)), Rejection::UnknownAccount { .. }));
    // What can be overdrawn gives all, up to what can be counted.
    up_to(&mut world, "d", "cash", "wallet", i128::MAX).unwrap();
    assert_eq!(posted(&world, "wallet"), i128::MAX - 10_000);
    // A balance that was touched since makes it void: it is decided again.
    let (from, to) = (account_key(&account_id("shop"), Currency::USD), account_key(&account_id("cash"), Currency::USD));
    let (from, to) = (world.view.counters[&from].clone(), world.view.counters[&to].clone());
    let command = TransferUpTo {
        id: id("e"),
        debit: account_id("shop"),
        credit: account_id("cash"),
        max: usd(1),
        reference: String::new(),
    };
    let stale = transfer_up_to(&world.context(), Some(&from), Some(&to), &command).unwrap();
    pay(&mut world, "f", "shop", "cash", 1).unwrap();
    assert!(matches!(
        world.commit(stale),
        Err(txn_change::Refusal::ConditionFailed { label, .. }) if label == txn_core::READ
    ));
}

/// Case L21.
#[test]
fn a_transfer_is_reversed_once_in_parts_or_in_whole_and_a_reversal_never() {
    let mut world = bank();
    pay(&mut world, "t", "wallet", "shop", 1_000).unwrap();
    let undo = |name: &str, of: &str| Reverse::new(id(name), id(of));
    for (amount, then) in [
        (usd(0), Rejection::InvalidAmount { amount: usd(0) }),
        (usd(-1), Rejection::InvalidAmount { amount: usd(-1) }),
        (usd(1_001), Rejection::ExceedsTransfer { transfer: id("t"), left: usd(1_000), asked: usd(1_001) }),
    ] {
        assert_eq!(no(reverse(&mut world, &undo("r", "t").part(amount), None)), then);
    }
    let euro = Money::from_minor(1, Currency::EUR);
    assert!(matches!(no(reverse(&mut world, &undo("r", "t").part(euro), None)), Rejection::CurrencyMismatch { .. }));
    reverse(&mut world, &undo("r1", "t").part(usd(400)), None).unwrap();
    let exceeds = Rejection::ExceedsTransfer { transfer: id("t"), left: usd(600), asked: usd(601) };
    assert_eq!(no(reverse(&mut world, &undo("r2", "t").part(usd(601)), None)), exceeds);
    reverse(&mut world, &undo("r2", "t"), None).unwrap();
    assert_eq!((posted(&world, "wallet"), posted(&world, "shop")), (10_000, 0), "the rest");
    let reversed: Versioned<Reversed> = world.read(&reversal_key(&id("t")));
    assert_eq!(
        reversed.value,
        Reversed { transfer: id("t"), whole: Some(usd(1_000)), amount: Some(usd(1_000)), count: 2 }
    );
    for again in [undo("r3", "t"), undo("r3", "t").part(usd(1)), undo("r3", "t").forced()] {
        assert_eq!(no(reverse(&mut world, &again, None)), Rejection::AlreadyReversed { transfer: id("t") });
    }
    for of in ["r1", "r2"] {
        assert_eq!(no(reverse(&mut world, &undo("r3", of), None)), Rejection::IsReversal { transfer: id(of) });
    }
    let facts: Vec<Transferred> = world.told();
    let links: Vec<_> = facts.iter().filter_map(|fact| fact.reverses.clone()).collect();
    assert_eq!(links, [id("t"), id("t")]);
}

/// Case L21.
#[test]
fn a_transfer_of_many_legs_is_reversed_in_full_or_not_at_all() {
    let mut world = bank();
    let leg = |account, side, minor| Posting { account: account_id(account), side, amount: usd(minor) };
    let legs = vec![leg("wallet", Side::Debit, 30), leg("shop", Side::Credit, 20), leg("cash", Side::Credit, 10)];
    post(&mut world, &Transfer::new(id("t"), legs)).unwrap();
    let undo = Reverse::new(id("r"), id("t"));
    let refused = no(reverse(&mut world, &undo.clone().part(usd(1)), None));
    assert_eq!(refused, Rejection::NotTwoLegged { transfer: id("t"), found: 3 });
    reverse(&mut world, &undo, None).unwrap();
    assert_eq!((posted(&world, "wallet"), posted(&world, "shop")), (10_000, 0));
    let again = no(reverse(&mut world, &Reverse::new(id("s"), id("t")), None));
    assert_eq!(again, Rejection::AlreadyReversed { transfer: id("t") });
}

/// Case L21.
#[test]
fn a_reversal_of_money_that_is_gone_is_refused_unless_it_is_forced_and_then_marked_as_short() {
    let mut world = bank();
    pay(&mut world, "t", "wallet", "shop", 1_000).unwrap();
    pay(&mut world, "spent", "shop", "cash", 900).unwrap();
    let undo = Reverse::new(id("r"), id("t"));
    let short = Rejection::InsufficientFunds { account: "shop".into(), currency: "USD".into(), missing: 900 };
    assert_eq!(no(reverse(&mut world, &undo, None)), short);
    assert!(world.find::<Reversed>(&reversal_key(&id("t"))).is_none(), "and nothing was counted");
    reverse(&mut world, &undo.part(usd(100)), None).unwrap();
    reverse(&mut world, &Reverse::new(id("s"), id("t")).forced(), None).unwrap();
    assert_eq!(posted(&world, "shop"), -900);
    let shorts: Vec<_> = world.entries.iter().filter(|entry| entry.short).filter_map(transfer_of).collect();
    assert_eq!(shorts, [id("s")]);
}

#[test]
fn a_reversal_at_its_date_counts_when_the_transfer_did() {
    let mut world = bank();
    let context = txn_core::Context { effective_at: Some(seconds(10)), ..world.context() };
    world.put(ledger::transfer(&context, &simple("dated", "wallet", "shop", 5))).unwrap();
    pay(&mut world, "now", "wallet", "shop", 5).unwrap();
    world.now = seconds(2_000);
    for (of, when) in [("dated", 10), ("now", 1_000)] {
        let undo = Reverse::new(id(&format!("r-{of}")), id(of)).at_its_date();
        reverse(&mut world, &undo, Some(seconds(1))).unwrap();
        assert_eq!(world.told::<Transferred>().last().unwrap().effective_at, Some(seconds(when)));
        assert_eq!(world.entries.last().unwrap().effective_at, seconds(when));
    }
}

#[test]
fn periods_close_forward_once_they_are_over() {
    let mut world = bank();
    let close = |world: &mut World, until: i64| {
        let period: Option<Versioned<Period>> = world.find(&period_key());
        let context = world.context();
        let command = ClosePeriod { until: seconds(until) };
        world.put(ledger::close_period(&context, period.as_ref(), &command))
    };
    let early = Rejection::PeriodNotOver { until: seconds(1_001), now: seconds(1_000) };
    assert_eq!(no(close(&mut world, 1_001)), early);
    close(&mut world, 500).unwrap();
    for until in [499, 500] {
        let closed = Rejection::PeriodClosed { until: seconds(500), effective_at: seconds(until) };
        assert_eq!(no(close(&mut world, until)), closed);
    }
    close(&mut world, 1_000).unwrap();
    let period = world.read::<Period>(&period_key()).value;
    assert_eq!(check_period(Some(&period), seconds(1_000)), Ok(()));
    assert!(check_period(Some(&period), Timestamp::from_nanos(seconds(1_000).as_nanos() - 1)).is_err());
    assert_eq!(check_period(None, Timestamp::MIN), Ok(()));
}

#[test]
fn a_fact_is_found_by_what_it_says_and_carries_no_more() {
    let terms = |change: &Change| -> Vec<String> { change.append[0].terms.iter().map(Key::to_string).collect() };
    let change_id = || txn_change::ChangeId::new("ledger.transfer/t").unwrap();
    let plain = transfer_by_itself(change_id(), None, simple("t", "wallet", "shop", 5)).unwrap();
    assert_eq!(terms(&plain), ["transfer/t"]);
    assert_eq!(plain.add.iter().map(|add| add.label.as_str()).collect::<Vec<_>>(), ["posting", "posting"]);
    assert!(plain.require.is_empty() && plain.hold.is_empty() && plain.put.is_empty());
    let full = simple("t", "wallet", "shop", 5).about("p-1").correcting(id("s"));
    let full = transfer_by_itself(change_id(), Some(seconds(7)), full).unwrap();
    let at = "1970-01-01T00:00:07Z";
    assert_eq!(
        terms(&full),
        [
            "transfer/t".into(),
            "transfer-reference/p-1".into(),
            "transfer-corrects/s".into(),
            format!("transfer-dated/shop/USD/{at}/t"),
            format!("transfer-dated/wallet/USD/{at}/t"),
        ]
    );
    assert!(matches!(full.append[0].terms[3].segments()[..], [.., Segment::Time(_), Segment::Text(_)]));
}

/// Case L4. All that a transfer says is under its fingerprint, so that the same id with anything else is another request.
#[test]
fn everything_that_a_transfer_says_is_in_its_fingerprint() {
    let wallet = || Condition::new(account_id("wallet"), Currency::USD, Is::Version(1));
    let base = || simple("t", "wallet", "shop", 5);
    let all = [
        (base(), None),
        (base(), Some(seconds(7))),
        (simple("t", "wallet", "shop", 6), None),
        (simple("t", "shop", "wallet", 5), None),
        (simple("t", "wallet", "cash", 5), None),
        (base().about("p-1"), None),
        (base().correcting(id("s")), None),
        (base().with_metadata(Metadata::new([("a", "b")]).unwrap()), None),
        (base().only_if(wallet()), None),
        (base().only_if(wallet()).only_if(wallet()), None),
    ];
    let prints: std::collections::BTreeSet<Fingerprint> = all
        .iter()
        .map(|(transfer, effective_at)| {
            let change_id = txn_change::ChangeId::new("ledger.transfer/t").unwrap();
            transfer_by_itself(change_id, *effective_at, transfer.clone()).unwrap().fingerprint
        })
        .collect();
    assert_eq!(prints.len(), all.len());
}

#[test]
fn metadata_has_limits_and_reads_back_within_them() {
    let many = |count: usize| Metadata::new((0..count).map(|n| (n.to_string(), "")));
    assert!(many(16).is_ok());
    assert_eq!(many(17), Err(MetadataError::TooMany { found: 17, max: 16 }));
    let key = |length: usize| Metadata::new([("k".repeat(length), "")]);
    assert!(key(40).is_ok());
    assert_eq!(key(41), Err(MetadataError::Name { length: 41, max: 40 }));
    let value = |length: usize| Metadata::new([("k", "v".repeat(length))]);
    assert!(value(200).is_ok());
    assert_eq!(value(201), Err(MetadataError::Value { name: "k".into(), length: 201, max: 200 }));
    let text = serde_json::to_string(&value(200).unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<Metadata>(&text).unwrap(), value(200).unwrap());
    assert!(serde_json::from_str::<Metadata>(&format!("{{\"k\":\"{}\"}}", "v".repeat(201))).is_err());
}

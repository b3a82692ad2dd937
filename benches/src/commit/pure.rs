//! What takes nanoseconds: decisions, the evaluator, a commit to memory.

use std::{hint::black_box, time::Instant};

use txn_bench::{
    carts,
    ledger::{self, Means},
};
use txn_change::{Change, MapView, Verdict, evaluate};
use txn_core::{
    inventory, order,
    payment::{PAYMENT, PaymentEvent, PaymentState},
};
use txn_store::memory::Memory;

/// Measures each so often in a loop, and reports nanoseconds per repetition.
pub(super) fn measure(repeated: usize, mut report: impl FnMut(&str, f64)) {
    memory(repeated / 4, &mut report);
    decisions(repeated / 4, &mut report);
    machine(repeated * 10, &mut report);
    evaluator(repeated / 4, &mut report);
}

fn time(repeated: usize, mut each: impl FnMut(usize)) -> f64 {
    for index in 0..repeated.min(1_000) {
        each(index);
    }
    let began = Instant::now();
    for index in 0..repeated {
        each(index);
    }
    began.elapsed().as_nanos() as f64 / repeated as f64
}

fn memory(repeated: usize, report: &mut impl FnMut(&str, f64)) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime for one thread");
    for (means, name) in
        [(Means::Enough, "memory.two-counters.accepted"), (Means::TooLittle, "memory.two-counters.refused")]
    {
        let store = Memory::new();
        let time = runtime.block_on(async {
            ledger::open_accounts(&store).await;
            ledger::time_two_counters(&store, repeated, means).await
        });
        report(name, time.as_nanos() as f64 / repeated as f64);
    }
}

fn decisions(repeated: usize, report: &mut impl FnMut(&str, f64)) {
    let (context, command) = (carts::context("order.place/536365"), carts::order(10));
    report(
        "decide.place-10-lines",
        time(repeated, |_| {
            let _ = black_box(order::place(black_box(&context), None, black_box(&command)));
        }),
    );
    let (context, command) = (carts::context("hold.reserve/536365"), carts::basket(10, 1));
    report(
        "decide.reserve-10-lines",
        time(repeated, |_| {
            let _ = black_box(inventory::reserve(black_box(&context), None, black_box(&command)));
        }),
    );
}

fn machine(repeated: usize, report: &mut impl FnMut(&str, f64)) {
    use PaymentEvent as E;
    use PaymentState as S;
    let legal = [(S::Created, E::ClaimAuthorise), (S::Authorised, E::ClaimCapture), (S::Capturing, E::CaptureDone)];
    let illegal = [(S::Created, E::ClaimCapture), (S::Captured, E::ClaimVoid), (S::Voided, E::Refund)];
    for (pairs, name) in [(legal, "machine.accepted"), (illegal, "machine.refused")] {
        report(
            name,
            time(repeated, |index| {
                let (state, event) = black_box(pairs[index % 3]);
                let _ = black_box(PAYMENT.next(state, event));
            }),
        );
    }
}

fn evaluator(repeated: usize, report: &mut impl FnMut(&str, f64)) {
    let mut each = |name, view: &MapView, change: &Change| {
        report(
            name,
            time(repeated, |_| {
                let _ = black_box(evaluate(black_box(view), black_box(change), ledger::EFFECTIVE_AT));
            }),
        );
    };
    let one = |means| ledger::two_counters(1, 1, means).remove(0);
    let (change, mut view) = (one(Means::Enough), ledger::view());
    each("evaluate.two-counters.accepted", &view, &change);
    each("evaluate.two-counters.refused", &view, &one(Means::TooLittle));
    let Ok(Verdict::Accepted(effects)) = evaluate(&view, &change, ledger::EFFECTIVE_AT) else {
        unreachable!("the account has enough")
    };
    view.apply(&change, &effects);
    each("evaluate.two-counters.replayed", &view, &change);
    let stocked = carts::stocked(32);
    each("evaluate.basket-of-32.accepted", &stocked, &carts::reservation(32, 1));
    each("evaluate.basket-of-32.refused", &stocked, &carts::reservation(32, 1_000));
}

//! The evaluator: two counters accepted, refused and replayed, and a basket of 32 items.

use std::hint::black_box;

use criterion::Criterion;
use txn_bench::{
    carts,
    ledger::{EFFECTIVE_AT, Means, two_counters, view},
};
use txn_change::{Change, MapView, Verdict, evaluate};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("evaluate");
    let mut bench = |name, view: &MapView, change: &Change| {
        group.bench_function(name, |b| {
            b.iter(|| black_box(evaluate(black_box(view), black_box(change), EFFECTIVE_AT)));
        });
    };
    let one = |means| two_counters(1, 1, means).remove(0);
    let (change, mut accounts) = (one(Means::Enough), view());
    bench("two-counters/accepted", &accounts, &change);
    bench("two-counters/refused", &accounts, &one(Means::TooLittle));
    if let Ok(Verdict::Accepted(effects)) = evaluate(&accounts, &change, EFFECTIVE_AT) {
        accounts.apply(&change, &effects);
    }
    bench("two-counters/replayed", &accounts, &change);
    let stocked = carts::stocked(32);
    bench("basket-of-32/accepted", &stocked, &carts::reservation(32, 1));
    bench("basket-of-32/refused", &stocked, &carts::reservation(32, 1_000));
    group.finish();
    criterion.final_summary();
}

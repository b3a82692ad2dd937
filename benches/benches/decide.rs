//! Decisions: placing an order and reserving a basket of ten lines.

use std::hint::black_box;

use criterion::Criterion;
use txn_bench::carts;
use txn_core::{inventory, money::Money, order};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("decide");
    let context = carts::context("bench/536365");
    let good = carts::order(10);
    let mut bad = good.clone();
    // The last line, so that all others are looked at first.
    if let Some(line) = bad.lines.last_mut() {
        line.price = Money::from_minor(-1, bad.currency);
    }
    for (name, command) in [("place-10-lines/accepted", &good), ("place-10-lines/refused", &bad)] {
        group.bench_function(name, |b| {
            b.iter(|| black_box(order::place(black_box(&context), None, black_box(command))));
        });
    }
    let mut late = carts::basket(10, 1);
    late.expires_at = Some(carts::NOW);
    for (name, command) in [("reserve-10-lines/accepted", &carts::basket(10, 1)), ("reserve-10-lines/refused", &late)] {
        group.bench_function(name, |b| {
            b.iter(|| black_box(inventory::reserve(black_box(&context), None, black_box(command))));
        });
    }
    group.finish();
    criterion.final_summary();
}

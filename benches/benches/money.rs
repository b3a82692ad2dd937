//! Money: parsing, adding, allocating, JSON.

use std::hint::black_box;

use criterion::Criterion;
use txn_core::money::{Currency, Money, allocate};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("money");
    for (name, text) in [("parse/accepted", "1234567.89"), ("parse/refused", "1234567.891")] {
        group.bench_function(name, |b| b.iter(|| black_box(Money::parse(black_box(text), Currency::USD))));
    }
    let (dollars, euros) = (Money::from_minor(123_456_789, Currency::USD), Money::from_minor(1, Currency::EUR));
    group.bench_function("add/accepted", |b| b.iter(|| black_box(black_box(dollars).try_add(black_box(dollars)))));
    group.bench_function("add/refused", |b| b.iter(|| black_box(black_box(dollars).try_add(black_box(euros)))));
    let weights: Vec<u64> = (1..=10).collect();
    group.bench_function("allocate/10", |b| b.iter(|| black_box(allocate(black_box(dollars), black_box(&weights)))));
    let json = serde_json::to_string(&dollars).expect("money has a JSON form");
    group.bench_function("json/write", |b| b.iter(|| black_box(serde_json::to_string(black_box(&dollars)))));
    group.bench_function("json/read", |b| b.iter(|| black_box(serde_json::from_str::<Money>(black_box(&json)))));
    group.finish();
    criterion.final_summary();
}

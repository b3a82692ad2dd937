//! A transition of the payment machine.

use std::hint::black_box;

use criterion::Criterion;
use txn_core::payment::{PAYMENT, PaymentEvent as E, PaymentState as S};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("machine");
    for (name, state, event) in
        [("next/accepted", S::Authorised, E::ClaimCapture), ("next/refused", S::Captured, E::ClaimVoid)]
    {
        group.bench_function(name, |b| b.iter(|| black_box(PAYMENT.next(black_box(state), black_box(event)))));
    }
    group.finish();
    criterion.final_summary();
}

//! The suite on PostgreSQL.

use txn_store::conformance::{run, scenarios};

use super::several::several;

#[test]
fn postgres_passes_the_suite() {
    let report = pollster::block_on(run(&several(1), scenarios(), |line| println!("{line}")));
    assert!(report.is_passed(), "{report}");
    assert_eq!(report.lines.len(), scenarios().len());
}

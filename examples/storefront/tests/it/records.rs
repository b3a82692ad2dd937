//! The stored shape of the replay's own documents.

use storefront::replay::records::{Aside, Import, ImportDone};
use txn_fixtures::Fixtures;

#[test]
fn every_document_that_was_ever_written_is_read_and_written_as_it_was() {
    Fixtures::of(env!("CARGO_MANIFEST_DIR")).keep::<Import>().keep::<ImportDone>().keep::<Aside>().finish();
}

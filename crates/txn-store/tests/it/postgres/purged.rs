//! A log that is purged while a page of it is read.

use pollster::block_on;
use txn_change::{Event, Timestamp};
use txn_store::{
    ErrorKind, Position, Purge, Store, StoreAdmin,
    faults::{Fate, Place, Strike},
};

use super::{
    sample::{body, change, done},
    server,
    trips::through_a_proxy,
};

/// A page that is not full is read again once everything that was committed has its position. A purge came in between: the second page was without what had gone, it was not looked at again where the log begins, and a
/// consumer that had never been told of the first two events acknowledged the third.
#[test]
fn a_page_that_is_read_again_after_a_purge_passes_nothing_over() {
    block_on(server::RUNTIME.spawn(async {
        let schema = server::fresh_schema();
        let other = server::options(&schema).open().await.unwrap();
        let event = |id: &str| change(id).append(Event::new(body()));
        for id in ["first", "second"] {
            done(&other, vec![event(id)]).await;
        }
        let (proxy, options) = through_a_proxy(&schema);
        let store = options.open().await.unwrap();
        // Behind the first page, before the step of the chain, which a reader's session prepares when it takes its first one.
        let purge = move |_| {
            block_on(server::RUNTIME.spawn(async move {
                done(&other, vec![event("third")]).await;
                for _ in ["first", "second"] {
                    assert_eq!(other.purge(Purge::Events, Timestamp::MAX, 2).await.unwrap().rows, 1);
                }
                other.close().await;
            }))
            .unwrap();
        };
        let fate = Fate::Call(Box::new(purge));
        proxy.strike(Strike { message: b"is_busy".to_vec(), place: Place::Later(0), fate });
        let read = store.read(Position(0), 10).await;
        assert_eq!(proxy.strikes(), 1, "the purge came in between");
        let error = read.expect_err("two events are gone that were not told");
        assert_eq!(error.kind(), ErrorKind::Purged, "{error}");
        let items = store.read(Position(2), 10).await.unwrap().items;
        assert_eq!(items.iter().map(|item| item.recorded.change.as_str()).collect::<Vec<_>>(), ["third"]);
        store.close().await;
    }))
    .unwrap();
}

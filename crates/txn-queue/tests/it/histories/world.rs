//! The topics and groups of the histories: small, so that everything is full, late and contended soon.

use std::{num::NonZeroU32, time::Duration};

use txn_queue::{
    BehindRetry, Criterion, ExchangeKind, ExchangeName, Group, GroupName, GroupSpec, Order, Overflow, Rate, Topic,
    TopicSpec, Topology,
};

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn topic(number: usize) -> Topic {
    Topic::new(["refusing", "dropping", "letters"][number]).unwrap()
}

pub(crate) fn exchange() -> ExchangeName {
    ExchangeName::new("both").unwrap()
}

/// Two groups of each topic, and one that reads dead letters.
pub(crate) fn group(number: usize) -> Group {
    Group::new(topic(number / 2), GroupName::new(["parks", "passes", "unordered", "slow", "reader"][number]).unwrap())
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn keyed(at_once: u32, behind_retry: BehindRetry) -> Order {
    Order::PerKey { at_once: count(at_once), behind_retry }
}

/// A group as it is first, or as it may become.
pub(crate) fn spec(number: usize, as_of: u8) -> GroupSpec {
    let plain = GroupSpec { deliveries_max: count(2), ageing: ms(10), ..GroupSpec::new(group(number)) };
    let first = match number {
        0 => plain,
        1 => GroupSpec {
            order: keyed(2, BehindRetry::Pass),
            rate: Some(Rate { messages: count(3), per: ms(20) }),
            ..plain
        },
        2 => GroupSpec { order: Order::None, in_flight_max: 3, dead_letters: Some(topic(2)), ..plain },
        3 => GroupSpec { order: keyed(1, BehindRetry::Pass), dead_letters: Some(topic(2)), ..plain },
        _ => GroupSpec { deliveries_max: count(1), ..plain },
    };
    match as_of {
        0 => first,
        1 => GroupSpec { order: Order::None, ..first },
        2 => GroupSpec { order: keyed(2, BehindRetry::Park), deliveries_max: count(3), ..first },
        _ => GroupSpec { in_flight_max: 1, ageing: ms(1), ..first },
    }
}

pub(crate) fn topology() -> Topology {
    let plain = |number| TopicSpec { dedupe_window: ms(50), ..TopicSpec::new(topic(number)) };
    let declared = Topology::default()
        .topic(TopicSpec { messages_max: 12, keep: ms(20), ..plain(0) })
        .topic(TopicSpec { messages_max: 6, overflow: Overflow::DropOldest, ..plain(1) })
        .topic(TopicSpec { messages_max: 3, ..plain(2) })
        .exchange(exchange(), ExchangeKind::Fanout)
        .bind(exchange(), Criterion::Always, topic(0))
        .bind(exchange(), Criterion::Always, topic(1));
    (0..5).fold(declared, |declared, number| declared.group(spec(number, 0)))
}

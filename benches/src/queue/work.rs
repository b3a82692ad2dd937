//! What is sent: messages about orders, made from their numbers.

use std::sync::Arc;

use txn_queue::{
    Address, Group, GroupName, GroupSpec, Key, Message, MessageId, MessageType, Publish, Source, Topic, TopicSpec,
    Topology,
};

const FITS: &str = "short and of allowed letters";

/// Keys that messages are spread over: orders that are open at once.
pub(super) const KEYS: u64 = 10_000;

/// Whether messages are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyed {
    /// They have no key.
    No,
    /// Each has one of [`KEYS`], and the group keeps the order of each.
    Yes,
}

pub(crate) fn topic() -> Topic {
    Topic::new("orders").expect(FITS)
}

pub(crate) fn group() -> Group {
    Group::new(topic(), GroupName::new("mailer").expect(FITS))
}

/// One topic that holds so many messages, and one group with the default settings, which keep the order of each key.
pub(crate) fn topology(messages_max: u64) -> Topology {
    let topic = TopicSpec { messages_max, ..TopicSpec::new(topic()) };
    Topology::default().topic(topic).group(GroupSpec::new(group()))
}

/// A message; two of one number are equal. Some 200 bytes of data.
pub(super) fn message(number: u64, keyed: Keyed) -> Arc<Message> {
    let data = format!(
        r#"{{"order":"order-{number:08}","customer":"customer-{:06}","currency":"GBP","total":"{}","lines":[{{"sku":"85123A","quantity":6}},{{"sku":"71053","quantity":8}},{{"sku":"84406B","quantity":2}}],"placed":true}}"#,
        number % 4_373,
        1_000 + number % 90_000,
    );
    let id = MessageId::new(format!("placed-{number:08}")).expect(FITS);
    let message =
        Message::new(id, Source::new("/shop/orders").expect(FITS), MessageType::new("order.placed").expect(FITS))
            .data("application/json", data.into_bytes());
    Arc::new(match keyed {
        Keyed::No => message,
        // Neighbours have different keys, as those of different customers have.
        Keyed::Yes => {
            let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS;
            message.key(Key::new(format!("order-{key:05}")).expect(FITS))
        }
    })
}

/// So many messages.
pub(super) fn messages(count: u64, keyed: Keyed) -> Vec<Arc<Message>> {
    (0..count).map(|number| message(number, keyed)).collect()
}

/// Messages on their way to the topic.
pub(super) fn publish(messages: &[Arc<Message>]) -> Vec<Publish> {
    let to = Address::Topic(topic());
    vec![Publish { to, messages: messages.to_vec() }]
}

//! Validated names: topics, groups, exchanges, and the ids and keys of messages.

use txn_change::name;

const PLAIN: &str = "a-z, 0-9, '-', '_' and '.'";
const GRAPHIC: &str = "ASCII letters, digits and punctuation, no space";

fn is_plain(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
}

fn is_graphic(c: char) -> bool {
    c.is_ascii_graphic()
}

name!(
    /// A topic: a log of messages that groups read. 1 to 100 bytes of lower-case ASCII letters, digits, `-`, `_` and `.`.
    ///
    /// ```
    /// use txn_queue::Topic;
    /// assert!(Topic::new("orders.placed").is_ok());
    /// assert!(Topic::new("Orders").is_err());
    /// ```
    Topic, "topic", 100, PLAIN, is_plain
);

name!(
    /// The name of a group within its topic: 1 to 64 bytes of lower-case ASCII letters, digits, `-`, `_` and `.`.
    GroupName, "group", 64, PLAIN, is_plain
);

name!(
    /// The name of an exchange: 1 to 100 bytes of lower-case ASCII letters, digits, `-`, `_` and `.`.
    ExchangeName, "exchange", 100, PLAIN, is_plain
);

name!(
    /// The id of a message, unique among those of its source: 1 to 255 bytes of graphic ASCII.
    MessageId, "message id", 255, GRAPHIC, is_graphic
);

name!(
    /// What orders messages, such as the number of an order: 1 to 255 bytes of graphic ASCII.
    Key, "key", 255, GRAPHIC, is_graphic
);

name!(
    /// What makes two publishings the same within a topic's window: 1 to 255 bytes of graphic ASCII.
    DedupeId, "dedupe id", 255, GRAPHIC, is_graphic
);

name!(
    /// The name under which a delayed message can be moved or cancelled, such as `order.expire/42`: 1 to 255 bytes of graphic ASCII.
    ScheduleKey, "schedule key", 255, GRAPHIC, is_graphic
);

name!(
    /// One incarnation of a worker: made anew by every start of a process, and never the name of its machine. 1 to 64 bytes of graphic ASCII.
    WorkerId, "worker id", 64, GRAPHIC, is_graphic
);

name!(
    /// Where messages come from, a URI reference such as `/shop/orders`: 1 to 255 bytes of graphic ASCII.
    Source, "source", 255, GRAPHIC, is_graphic
);

name!(
    /// What happened, such as `order.placed`: 1 to 100 bytes of graphic ASCII.
    MessageType, "message type", 100, GRAPHIC, is_graphic
);

name!(
    /// What a direct or topic exchange routes by: 1 to 255 bytes of graphic ASCII, in words that dots separate.
    RoutingKey, "routing key", 255, GRAPHIC, is_graphic
);

name!(
    /// The name of an extension attribute, as CloudEvents allows them: 1 to 20 lower-case ASCII letters and digits. That it is not one of txn's own is checked with the message.
    AttributeName, "attribute", 20, "a-z and 0-9",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit()
);

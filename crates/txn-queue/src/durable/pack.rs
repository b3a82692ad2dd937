//! Messages in bytes: those that a turn has added to a topic stand together, so that a batch costs one row and not one for each.
//!
//! A pack has two parts: what its messages are decided by, which whoever reads the topic wants, and the rest of them, which whoever is given one wants.

use std::{ops::Range, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use txn_change::Timestamp;

use super::{
    row::{Brief, Row},
    step::{from_bytes, to_bytes},
};
use crate::{
    engine::log::Stored,
    error::{Error, ErrorKind},
    message::{Attribute, Message, Priority, When},
    name::{AttributeName, DedupeId, GroupName, Key, MessageId, MessageType, ScheduleKey, Source},
    topology::Death,
    trace::TraceParent,
};

/// Messages in a pack, at most.
const MESSAGES_MAX: usize = 256;

/// Bytes of bodies, after which no further message is added to a pack.
const BYTES_MAX: usize = 64 * 1_024;

/// Messages at successive positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pack {
    /// Where the first of them stands.
    pub(crate) first: u64,
    pub(crate) briefs: Vec<u8>,
    pub(crate) bodies: Vec<u8>,
}

/// What is decided by, and how long the body is.
#[derive(Serialize, Deserialize)]
struct BriefForm<'p> {
    #[serde(borrow)]
    key: Option<&'p str>,
    priority: u8,
    /// After the one before it was accepted.
    accepted: i64,
    /// After it was accepted.
    due: i64,
    expires: Option<i64>,
    #[serde(borrow)]
    only: Option<&'p str>,
    size: u32,
}

/// A body, but for the data, which stands behind it.
#[derive(Serialize, Deserialize)]
struct BodyForm<'p> {
    redriven: u32,
    death: Option<Death>,
    id: &'p str,
    source: &'p str,
    kind: &'p str,
    #[serde(borrow)]
    subject: Option<&'p str>,
    time: Option<i64>,
    #[serde(borrow)]
    content_type: Option<&'p str>,
    #[serde(borrow)]
    schema: Option<&'p str>,
    #[serde(borrow)]
    dedupe_id: Option<&'p str>,
    expires: Option<WhenForm>,
    due: Option<WhenForm>,
    #[serde(borrow)]
    schedule_key: Option<&'p str>,
    trace_parent: Option<(u128, u64, u8)>,
    #[serde(borrow)]
    trace_state: Option<&'p str>,
    #[serde(borrow)]
    correlation_id: Option<&'p str>,
    #[serde(borrow)]
    causation_id: Option<&'p str>,
    #[serde(borrow)]
    extensions: Vec<(&'p str, AttributeForm<'p>)>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum WhenForm {
    After(Duration),
    At(i64),
}

#[derive(Serialize, Deserialize)]
enum AttributeForm<'p> {
    Text(&'p str),
    Integer(i32),
    Boolean(bool),
}

/// Writes messages that stand one behind the other.
pub(crate) fn write(rows: &[Row]) -> Vec<Pack> {
    let mut packs = Vec::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let mut bodies = Vec::new();
        let mut briefs = Vec::with_capacity(rest.len().min(MESSAGES_MAX));
        let mut last = 0i64;
        while bodies.len() < BYTES_MAX
            && briefs.len() < MESSAGES_MAX
            && let Some(row) = rest.get(briefs.len())
        {
            let start = bodies.len();
            bodies = body(row, bodies);
            let size = u32::try_from(bodies.len().saturating_sub(start)).unwrap_or(u32::MAX);
            let accepted = row.accepted_at.as_nanos();
            briefs.push(BriefForm {
                key: row.message.key.as_deref(),
                priority: row.message.priority.level(),
                accepted: accepted.wrapping_sub(std::mem::replace(&mut last, accepted)),
                due: row.due.as_nanos().wrapping_sub(accepted),
                expires: (row.expires < Timestamp::MAX).then(|| row.expires.as_nanos()),
                only: row.only.as_deref(),
                size,
            });
        }
        rest = rest.get(briefs.len()..).unwrap_or_default();
        packs.push(Pack { first: first.position, briefs: to_bytes(&briefs), bodies });
    }
    packs
}

/// Writes a body behind others.
fn body(row: &Row, bodies: Vec<u8>) -> Vec<u8> {
    let Row { redriven, death, message, .. } = row;
    let when = |when: &When| match when {
        When::After(wait) => WhenForm::After(*wait),
        When::At(instant) => WhenForm::At(instant.as_nanos()),
    };
    let attribute = |value| match value {
        &Attribute::Integer(number) => AttributeForm::Integer(number),
        &Attribute::Boolean(is_so) => AttributeForm::Boolean(is_so),
        Attribute::Text(text) => AttributeForm::Text(text),
    };
    let form = BodyForm {
        redriven: *redriven,
        death: death.as_deref().cloned(),
        id: &message.id,
        source: &message.source,
        kind: &message.kind,
        subject: message.subject.as_deref(),
        time: message.time.map(Timestamp::as_nanos),
        content_type: message.content_type.as_deref(),
        schema: message.schema.as_deref(),
        dedupe_id: message.dedupe_id.as_deref(),
        expires: message.expires.as_ref().map(when),
        due: message.due.as_ref().map(when),
        schedule_key: message.schedule_key.as_deref(),
        trace_parent: message.trace_parent.map(|parent| (parent.trace(), parent.span(), parent.flags())),
        trace_state: message.trace_state.as_deref(),
        correlation_id: message.correlation_id.as_deref(),
        causation_id: message.causation_id.as_deref(),
        extensions: message.extensions.iter().map(|(name, value)| (name.as_str(), attribute(value))).collect(),
    };
    let written = postcard::to_extend(&form, bodies);
    let mut bodies = written.expect("plain data of ours always has a form in bytes");
    bodies.extend_from_slice(&message.data);
    bodies
}

/// A pack whose first part has been read.
#[derive(Debug)]
pub(crate) struct Opened {
    first: u64,
    briefs: Vec<(Brief, Range<usize>)>,
    bodies: Vec<u8>,
}

/// What the messages of a pack are decided by, from its first part.
pub(crate) fn briefs(first: u64, bytes: &[u8]) -> Result<Vec<Brief>, Error> {
    Ok(read(first, bytes)?.into_iter().map(|(brief, _)| brief).collect())
}

fn read(first: u64, bytes: &[u8]) -> Result<Vec<(Brief, Range<usize>)>, Error> {
    let forms: Vec<BriefForm<'_>> = from_bytes("what messages are decided by", bytes)?;
    let (mut accepted, mut end) = (0i64, 0usize);
    let read = |(position, form): (u64, BriefForm<'_>)| {
        accepted = accepted.wrapping_add(form.accepted);
        let start = end;
        end = start.saturating_add(usize::try_from(form.size).unwrap_or(usize::MAX));
        let expires = form.expires.map_or(Timestamp::MAX, Timestamp::from_nanos);
        let due = Timestamp::from_nanos(accepted.wrapping_add(form.due));
        let key = name(form.key, |text| Key::new(text))?;
        let only = name(form.only, |text| GroupName::new(text))?;
        let priority = Priority::new(form.priority).unwrap_or_default();
        let stored = Stored::new(key, priority, [Timestamp::from_nanos(accepted), due, expires], only);
        Ok((Brief { position, stored }, start..end))
    };
    (first..).zip(forms).map(read).collect()
}

impl Opened {
    pub(crate) fn new(pack: Pack) -> Result<Self, Error> {
        let Pack { first, briefs, bodies } = pack;
        Ok(Self { first, briefs: read(first, &briefs)?, bodies })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bodies.len().saturating_add(self.briefs.len().saturating_mul(size_of::<Brief>()))
    }

    /// The message at a position; `None` when it is not one of these.
    pub(crate) fn row(&self, position: u64) -> Result<Option<Row>, Error> {
        let at = position.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some((brief, range)) = at.and_then(|at| self.briefs.get(at)) else { return Ok(None) };
        let corrupt = || Error::new(ErrorKind::Corrupt, format!("reading the message at {position}"));
        let body = self.bodies.get(range.clone()).ok_or_else(corrupt)?;
        let (form, data) = postcard::take_from_bytes::<BodyForm<'_>>(body).map_err(|error| corrupt().because(error))?;
        let Brief { stored, .. } = brief;
        let redriven = form.redriven;
        let death = form.death.clone().map(Arc::new);
        let message =
            Message { key: stored.key().cloned(), priority: stored.priority, data: Arc::from(data), ..message(form)? };
        Ok(Some(Row { redriven, death, ..Row::new(position, Arc::new(message), stored) }))
    }
}

fn message(form: BodyForm<'_>) -> Result<Message, Error> {
    let when = |form| match form {
        WhenForm::After(wait) => When::After(wait),
        WhenForm::At(instant) => When::At(Timestamp::from_nanos(instant)),
    };
    let attribute = |form| match form {
        AttributeForm::Text(text) => Attribute::Text(text.into()),
        AttributeForm::Integer(number) => Attribute::Integer(number),
        AttributeForm::Boolean(is_so) => Attribute::Boolean(is_so),
    };
    let kind = MessageType::new(form.kind).map_err(invalid)?;
    let mut message =
        Message::new(MessageId::new(form.id).map_err(invalid)?, Source::new(form.source).map_err(invalid)?, kind);
    message.subject = form.subject.map(Arc::from);
    message.time = form.time.map(Timestamp::from_nanos);
    message.content_type = form.content_type.map(Arc::from);
    message.schema = form.schema.map(Arc::from);
    message.dedupe_id = name(form.dedupe_id, |text| DedupeId::new(text))?;
    message.expires = form.expires.map(when);
    message.due = form.due.map(when);
    message.schedule_key = name(form.schedule_key, |text| ScheduleKey::new(text))?;
    message.trace_parent = form.trace_parent.and_then(|(trace, span, flags)| TraceParent::new(trace, span, flags));
    message.trace_state = form.trace_state.map(Arc::from);
    message.correlation_id = form.correlation_id.map(Arc::from);
    message.causation_id = form.causation_id.map(Arc::from);
    for (name, value) in form.extensions {
        message.extensions.insert(AttributeName::new(name).map_err(invalid)?, attribute(value));
    }
    Ok(message)
}

/// A name that was checked when it was written.
fn name<T>(text: Option<&str>, new: impl Fn(&str) -> Result<T, txn_change::NameError>) -> Result<Option<T>, Error> {
    text.map(|text| new(text).map_err(invalid)).transpose()
}

fn invalid(error: txn_change::NameError) -> Error {
    Error::new(ErrorKind::Corrupt, "reading a message").because(error)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of tests")]
mod tests {
    use super::*;

    fn full(nth: u32) -> Message {
        let mut message = Message::new(
            MessageId::new(format!("m-{nth}")).expect("an id"),
            Source::new("/shop").expect("a source"),
            MessageType::new("order.placed").expect("a type"),
        )
        .data("application/json", vec![7; usize::try_from(nth).expect("small") % 700])
        .subject("order 7")
        .key(Key::new("k").expect("a key"))
        .dedupe_id(DedupeId::new("d").expect("an id"))
        .priority(Priority::FIRST)
        .expires_after(Duration::from_nanos(77))
        .due_at(Timestamp::from_nanos(-5))
        .schedule_key(ScheduleKey::new("s").expect("a key"))
        .trace(TraceParent::new(u128::MAX, 1, 1).expect("a parent"))
        .extension(AttributeName::new("abc").expect("a name"), Attribute::Integer(-7))
        .extension(AttributeName::new("def").expect("a name"), Attribute::Boolean(true))
        .extension(AttributeName::new("ghi").expect("a name"), Attribute::from("text"));
        message.time = Some(Timestamp::from_nanos(1));
        message.schema = Some("urn:s".into());
        message.trace_state = Some("a=b".into());
        message.correlation_id = Some("c".into());
        message.causation_id = Some("cause".into());
        message
    }

    /// So many rows from position 40 on, every other one with everything, the others with nothing but what a message must have.
    fn rows(count: u32) -> Vec<Row> {
        let row = |nth: u32| {
            let bare = Message::new(full(nth).id, full(nth).source, full(nth).kind);
            let message = if nth.is_multiple_of(2) { full(nth) } else { bare };
            let accepted = Timestamp::from_nanos(1_000 + i64::from(nth) * 3);
            let times =
                [accepted, Timestamp::from_nanos(2_000), if nth == 4 { Timestamp::MIN } else { Timestamp::MAX }];
            let only = nth.is_multiple_of(3).then(|| GroupName::new("g").expect("a name"));
            let stored = Stored::new(message.key.clone(), message.priority, times, only);
            Row { redriven: nth, ..Row::new(40 + u64::from(nth), Arc::new(message), &stored) }
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let rows = rows(1_000);
        let packs = write(&rows);
        assert!(packs.len() > 3, "a pack has its limits");
        let mut read = Vec::new();
        for pack in packs {
            let (first, bytes) = (pack.first, pack.bodies.len());
            assert!(bytes < BYTES_MAX + 2_000, "{bytes}");
            let of_first_part = briefs(first, &pack.briefs).expect("briefs");
            let opened = Opened::new(pack).expect("a pack");
            assert!(opened.row(first - 1).expect("nothing wrong").is_none());
            for brief in of_first_part {
                let row = opened.row(brief.position).expect("a row").expect("there is one");
                assert_eq!(brief.stored.key(), row.message.key.as_ref());
                assert_eq!(
                    [brief.stored.accepted_at, brief.stored.due, brief.stored.expires],
                    [row.accepted_at, row.due, row.expires]
                );
                read.push(row);
            }
        }
        for (read, row) in read.iter().zip(&rows) {
            assert_eq!(format!("{read:?}"), format!("{row:?}"));
        }
        assert_eq!(read.len(), rows.len());
    }

    #[test]
    fn what_is_damaged_is_told() {
        let [pack] = write(&rows(3)).try_into().expect("one pack");
        let cut = Pack { bodies: pack.bodies.get(..pack.bodies.len() - 1).expect("bytes").to_vec(), ..pack.clone() };
        assert!(Opened::new(cut).expect("the first part is whole").row(42).is_err());
        let cut = Pack { briefs: pack.briefs.get(..7).expect("bytes").to_vec(), ..pack };
        assert_eq!(Opened::new(cut).expect_err("cut").kind(), ErrorKind::Corrupt);
    }
}

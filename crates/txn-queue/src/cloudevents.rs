//! Messages as CloudEvents 1.0.2 writes them: structured, as one JSON document, and binary, as attributes beside the data.
//!
//! What CloudEvents has a name for has it: `partitionkey`, `expirytime`, `traceparent`, `tracestate`, `correlationid` and `causationid` are its documented extensions. The rest
//! of ours begins with `txn`, and nobody else's attribute may.

use std::{collections::BTreeMap, str::FromStr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, value::RawValue};
use txn_change::Timestamp;

use crate::{
    message::{Attribute, Message, Priority, When},
    name::{AttributeName, MessageId, MessageType, Source},
    trace::TraceParent,
};

/// Why something is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloudEventError {
    /// Not a JSON object.
    #[error("not a JSON object: {why}")]
    NotJson {
        /// What is wrong with it.
        why: String,
    },
    /// Another version of CloudEvents.
    #[error("specversion {found:?}; 1.0 is understood")]
    Version {
        /// What it says.
        found: String,
    },
    /// A required attribute is missing.
    #[error("{attribute} is missing")]
    Missing {
        /// Its name.
        attribute: &'static str,
    },
    /// An attribute has a value that it cannot have.
    #[error("{attribute}: {why}")]
    Invalid {
        /// Its name, cut at 40 characters.
        attribute: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A message in the binary mode: its attributes by their names, without a prefix, and the data apart.
///
/// A protocol's binding adds its own prefix to the names (`ce-` in HTTP and NATS, `ce_` in Kafka, `cloudEvents:` in AMQP), and encodes values as it must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// The attributes, `datacontenttype` among them, in the order of CloudEvents; extensions follow by name.
    pub attributes: Vec<(Box<str>, Attribute)>,
    /// The payload.
    pub data: Arc<[u8]>,
}

const VERSION: &str = "1.0";
const OURS: &str = "txn";

/// The names that CloudEvents and txn use; no extension of a host's may have one.
const TAKEN: [&str; 17] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
    "partitionkey",
    "expirytime",
    "traceparent",
    "tracestate",
    "correlationid",
    "causationid",
    "datacontentencoding",
];

/// Whether an extension of a host's may not have this name.
pub(crate) fn is_taken(name: &str) -> bool {
    name.starts_with(OURS) || TAKEN.contains(&name)
}

impl Message {
    /// The structured mode: one JSON document. Data whose media type is JSON stands in `data` as it is, if it is well-formed; all other in `data_base64`.
    ///
    /// ```
    /// use txn_queue::{Message, MessageId, MessageType, Source};
    /// let message = Message::new(MessageId::new("1")?, Source::new("/shop")?, MessageType::new("order.placed")?)
    ///     .data("application/json", br#"{"total":"12.50"}"#.to_vec());
    /// let text = message.to_structured();
    /// assert_eq!(Message::from_structured(text.as_bytes())?, message);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_structured(&self) -> String {
        let object: Map<String, Value> = self.attributes().map(|(name, value)| (name.into(), json(value))).collect();
        let mut text = Value::Object(object).to_string();
        if self.content_type.is_some() || !self.data.is_empty() {
            // The attributes are never empty, so a comma is due.
            text.pop();
            match self.data_as_json() {
                Some(data) => text.extend([",\"data\":", data, "}"]),
                None => text.extend([",\"data_base64\":\"", &BASE64.encode(&self.data), "\"}"]),
            }
        }
        text
    }

    /// Reads the structured mode. An extension that is null is as good as absent.
    ///
    /// # Errors
    /// [`CloudEventError`], naming the attribute.
    pub fn from_structured(json: &[u8]) -> Result<Self, CloudEventError> {
        let object: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(json).map_err(|error| CloudEventError::NotJson { why: error.to_string() })?;
        let mut attributes = Vec::with_capacity(object.len());
        let (mut data, mut data_base64) = (None, None);
        for (name, raw) in object {
            if name == "data" {
                data = Some(raw).filter(|raw| raw.get() != "null");
                continue;
            }
            let value: Value = serde_json::from_str(raw.get()).map_err(|error| invalid(&name, error))?;
            match value {
                Value::Null => {}
                Value::String(text) if name == "data_base64" => data_base64 = Some(text),
                Value::String(text) => attributes.push((name.into_boxed_str(), Attribute::Text(text.into()))),
                Value::Bool(bool) => attributes.push((name.into_boxed_str(), Attribute::Boolean(bool))),
                Value::Number(number) => {
                    let integer = number.as_i64().and_then(|integer| i32::try_from(integer).ok());
                    let integer = integer.ok_or_else(|| invalid(&name, format!("{number} is no 32-bit integer")))?;
                    attributes.push((name.into_boxed_str(), Attribute::Integer(integer)));
                }
                Value::Array(_) | Value::Object(_) => {
                    return Err(invalid(&name, "no attribute is a list or an object"));
                }
            }
        }
        let mut message = Self::from_attributes(attributes)?;
        message.data = match (data, data_base64) {
            (None, None) => Arc::default(),
            (Some(_), Some(_)) => return Err(invalid("data_base64", "stands beside data")),
            (None, Some(text)) => BASE64.decode(text).map_err(|error| invalid("data_base64", error))?.into(),
            (Some(raw), None) => match serde_json::from_str(raw.get()) {
                // A text under another media type than JSON is that text; anything else is JSON.
                Ok(Value::String(text)) if !message.is_json() => text.into_bytes().into(),
                _ => raw.get().as_bytes().into(),
            },
        };
        Ok(message)
    }

    /// The attributes alone, as one JSON object.
    #[cfg(feature = "postgres")]
    pub(crate) fn to_head(&self) -> String {
        let object: Map<String, Value> = self.attributes().map(|(name, value)| (name.into(), json(value))).collect();
        Value::Object(object).to_string()
    }

    /// Reads what [`Message::to_head`] wrote.
    #[cfg(feature = "postgres")]
    pub(crate) fn from_head(head: &str, data: Arc<[u8]>) -> Result<Self, CloudEventError> {
        Ok(Self { data, ..Self::from_structured(head.as_bytes())? })
    }

    /// The binary mode.
    #[must_use]
    pub fn to_binary(&self) -> Binary {
        Binary {
            attributes: self.attributes().map(|(name, value)| (name.into(), value)).collect(),
            data: self.data.clone(),
        }
    }

    /// Reads the binary mode. A transport that only has texts gives all values as [`Attribute::Text`]: extensions stay texts then.
    ///
    /// # Errors
    /// [`CloudEventError`], naming the attribute.
    pub fn from_binary(binary: Binary) -> Result<Self, CloudEventError> {
        let mut message = Self::from_attributes(binary.attributes)?;
        message.data = binary.data;
        Ok(message)
    }

    /// Whether the data's media type says JSON. Nothing said says JSON, too.
    fn is_json(&self) -> bool {
        self.content_type.as_deref().is_none_or(|full| {
            let essence = full.split(';').next().unwrap_or(full).trim().to_ascii_lowercase();
            essence.ends_with("/json") || essence.ends_with("+json")
        })
    }

    /// The data as it can stand in a JSON document and be read back byte for byte.
    fn data_as_json(&self) -> Option<&str> {
        let raw: &RawValue = if self.is_json() { serde_json::from_slice(&self.data).ok()? } else { return None };
        (raw.get() != "null" && raw.get().len() == self.data.len()).then_some(raw.get())
    }

    fn attributes(&self) -> impl Iterator<Item = (&str, Attribute)> {
        let text =
            |name: &'static str, value: &Option<Arc<str>>| value.clone().map(|value| (name, Attribute::Text(value)));
        let written =
            |name: &'static str, value: Option<String>| value.map(|value| (name, Attribute::Text(value.into())));
        let own = [
            written("specversion", Some(VERSION.to_owned())),
            written("id", Some(self.id.to_string())),
            written("source", Some(self.source.to_string())),
            written("type", Some(self.kind.to_string())),
            text("subject", &self.subject),
            written("time", self.time.map(|time| time.to_string())),
            text("datacontenttype", &self.content_type),
            text("dataschema", &self.schema),
            written("partitionkey", self.key.as_ref().map(ToString::to_string)),
            when("expirytime", "txnexpiresinns", self.expires),
            written("traceparent", self.trace_parent.map(|parent| parent.to_string())),
            text("tracestate", &self.trace_state),
            text("correlationid", &self.correlation_id),
            text("causationid", &self.causation_id),
            written("txndedupeid", self.dedupe_id.as_ref().map(ToString::to_string)),
            (self.priority != Priority::default())
                .then(|| ("txnpriority", Attribute::Integer(i32::from(self.priority.level())))),
            when("txndue", "txndelayns", self.due),
            written("txnschedulekey", self.schedule_key.as_ref().map(ToString::to_string)),
        ];
        let extensions = self.extensions.iter().map(|(name, value)| (name.as_str(), value.clone()));
        own.into_iter().flatten().chain(extensions)
    }

    fn from_attributes(attributes: Vec<(Box<str>, Attribute)>) -> Result<Self, CloudEventError> {
        let (mut version, mut id, mut source, mut kind) = (None, None, None, None);
        let placeholder = |what| CloudEventError::Missing { attribute: what };
        let mut rest = Vec::with_capacity(attributes.len());
        for (name, value) in attributes {
            match &*name {
                "specversion" => version = Some(text(&value)),
                "id" => id = Some(parsed("id", &value, MessageId::new)?),
                "source" => source = Some(parsed("source", &value, Source::new)?),
                "type" => kind = Some(parsed("type", &value, MessageType::new)?),
                _ => rest.push((name, value)),
            }
        }
        match version {
            None => return Err(placeholder("specversion")),
            Some(found) if &*found != VERSION => {
                return Err(CloudEventError::Version { found: found.chars().take(40).collect() });
            }
            Some(_) => {}
        }
        let id = id.ok_or_else(|| placeholder("id"))?;
        let source = source.ok_or_else(|| placeholder("source"))?;
        let kind = kind.ok_or_else(|| placeholder("type"))?;
        let mut message = Self::new(id, source, kind);
        for (name, value) in rest {
            message.set(&name, value)?;
        }
        Ok(message)
    }

    fn set(&mut self, name: &str, value: Attribute) -> Result<(), CloudEventError> {
        match name {
            "subject" => self.subject = Some(text(&value)),
            "time" => self.time = Some(parsed(name, &value, |text| instant(&text))?),
            "datacontenttype" => self.content_type = Some(text(&value)),
            "dataschema" => self.schema = Some(text(&value)),
            "partitionkey" => self.key = Some(parsed(name, &value, crate::Key::new)?),
            "expirytime" => self.expires = Some(When::At(parsed(name, &value, |text| instant(&text))?)),
            "txnexpiresinns" => self.expires = Some(When::After(parsed(name, &value, |text| nanoseconds(&text))?)),
            "traceparent" => self.trace_parent = Some(parsed(name, &value, |text| TraceParent::from_str(&text))?),
            "tracestate" => self.trace_state = Some(text(&value)),
            "correlationid" => self.correlation_id = Some(text(&value)),
            "causationid" => self.causation_id = Some(text(&value)),
            "txndedupeid" => self.dedupe_id = Some(parsed(name, &value, crate::DedupeId::new)?),
            "txnpriority" => self.priority = parsed(name, &value, |text| priority(&text))?,
            "txndue" => self.due = Some(When::At(parsed(name, &value, |text| instant(&text))?)),
            "txndelayns" => self.due = Some(When::After(parsed(name, &value, |text| nanoseconds(&text))?)),
            "txnschedulekey" => self.schedule_key = Some(parsed(name, &value, crate::ScheduleKey::new)?),
            _ if is_taken(name) => return Err(invalid(name, "the name is reserved")),
            _ => {
                let name = AttributeName::new(name).map_err(|error| invalid(name, error))?;
                self.extensions.insert(name, value);
            }
        }
        Ok(())
    }
}

fn when(at: &'static str, after: &'static str, value: Option<When>) -> Option<(&'static str, Attribute)> {
    value.map(|when| match when {
        When::At(instant) => (at, Attribute::Text(instant.to_string().into())),
        When::After(wait) => (after, Attribute::Text(wait.as_nanos().to_string().into())),
    })
}

fn json(value: Attribute) -> Value {
    match value {
        Attribute::Text(text) => Value::String(text.to_string()),
        Attribute::Integer(integer) => Value::from(integer),
        Attribute::Boolean(bool) => Value::Bool(bool),
    }
}

fn text(value: &Attribute) -> Arc<str> {
    match value {
        Attribute::Text(text) => Arc::clone(text),
        Attribute::Integer(integer) => integer.to_string().into(),
        Attribute::Boolean(bool) => bool.to_string().into(),
    }
}

fn parsed<T, E: ToString>(
    name: &str,
    value: &Attribute,
    parse: impl FnOnce(Arc<str>) -> Result<T, E>,
) -> Result<T, CloudEventError> {
    parse(text(value)).map_err(|error| invalid(name, error))
}

fn invalid(attribute: &str, why: impl ToString) -> CloudEventError {
    CloudEventError::Invalid { attribute: attribute.chars().take(40).collect(), why: why.to_string() }
}

fn priority(text: &str) -> Result<Priority, &'static str> {
    text.parse().ok().and_then(Priority::new).ok_or("0 to 9 are allowed")
}

fn nanoseconds(text: &str) -> Result<Duration, &'static str> {
    text.parse().map(Duration::from_nanos).map_err(|_| "not a number of nanoseconds")
}

/// RFC 3339, with any offset.
fn instant(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("{:?} is not an RFC 3339 time", text.chars().take(40).collect::<String>());
    let upper = text.to_ascii_uppercase();
    if upper.ends_with('Z') {
        return upper.parse().map_err(|_| wrong());
    }
    let at = upper.len().checked_sub(6).ok_or_else(wrong)?;
    let (local, offset) = upper.split_at_checked(at).ok_or_else(wrong)?;
    let local: Timestamp = format!("{local}Z").parse().map_err(|_| wrong())?;
    let (sign, hours, minutes) = match offset.as_bytes() {
        [sign, h1, h2, b':', m1, m2] => (*sign, number(*h1, *h2), number(*m1, *m2)),
        _ => return Err(wrong()),
    };
    let (Some(hours @ 0..=23), Some(minutes @ 0..=59)) = (hours, minutes) else { return Err(wrong()) };
    let nanos = i64::from(hours).saturating_mul(60).saturating_add(i64::from(minutes)).saturating_mul(60_000_000_000);
    let utc = match sign {
        b'+' => local.as_nanos().checked_sub(nanos),
        b'-' => local.as_nanos().checked_add(nanos),
        _ => None,
    };
    utc.map(Timestamp::from_nanos).ok_or_else(wrong)
}

fn number(tens: u8, ones: u8) -> Option<u8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte.saturating_sub(b'0'));
    Some(digit(tens)?.saturating_mul(10).saturating_add(digit(ones)?))
}

//! Messages as CloudEvents: what is written is read again, and what is wrong is named.

use std::time::Duration;

use proptest::{collection::btree_map, option::of, prelude::*};
use txn_change::Timestamp;
use txn_queue::{
    Attribute, AttributeName, Binary, CloudEventError, DedupeId, Key, Message, MessageId, MessageType, Priority,
    ScheduleKey, Source, TraceParent, When,
};

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        any::<i64>().prop_map(|nanos| When::At(Timestamp::from_nanos(nanos))),
        any::<u64>().prop_map(|nanos| When::After(Duration::from_nanos(nanos))),
    ]
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        any::<String>().prop_map(|text| Attribute::Text(text.into())),
        any::<i32>().prop_map(Attribute::Integer),
        any::<bool>().prop_map(Attribute::Boolean),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let word = "[!-~]{1,40}";
    let json = prop_oneof![
        Just(br#"{"b":1,"a":[1.50,"\u00e9",null]}"#.to_vec()),
        Just(br#""text""#.to_vec()),
        Just(b"null".to_vec()),
        Just(b" {} ".to_vec()),
        Just(b"{".to_vec()),
    ];
    let content = prop_oneof![
        (of("[ -~]{0,20}"), proptest::collection::vec(any::<u8>(), 0..64)),
        (of(Just("application/json; charset=utf-8".to_owned())), json.clone()),
        (of(Just("application/vnd.shop+json".to_owned())), json),
        (of(Just("text/plain".to_owned())), any::<String>().prop_map(String::into_bytes)),
    ];
    let context =
        (of(any::<String>()), of(any::<String>()), of(any::<String>()), of(any::<String>()), of(any::<i64>()));
    let own = (of(word), of(word), 0..=9u8, of(when()), of(when()), of(word), of((1u128.., 1u64.., any::<u8>())));
    let extensions = btree_map("x[a-z0-9]{0,19}", attribute(), 0..4);
    (word, word, word, content, context, own, extensions).prop_map(
        |(id, source, kind, (content_type, data), context, own, extensions)| {
            let mut message = Message::new(
                MessageId::new(id).unwrap(),
                Source::new(source).unwrap(),
                MessageType::new(kind).unwrap(),
            );
            message.content_type = content_type.map(Into::into);
            message.data = data.into();
            let (subject, schema, correlation, causation, time) = context;
            message.subject = subject.map(Into::into);
            message.schema = schema.map(Into::into);
            message.correlation_id = correlation.map(Into::into);
            message.causation_id = causation.map(Into::into);
            message.time = time.map(Timestamp::from_nanos);
            let (key, dedupe_id, priority, expires, due, schedule_key, trace) = own;
            message.key = key.map(|key| Key::new(key).unwrap());
            message.dedupe_id = dedupe_id.map(|id| DedupeId::new(id).unwrap());
            message.priority = Priority::new(priority).unwrap();
            (message.expires, message.due) = (expires, due);
            message.schedule_key = schedule_key.map(|key| ScheduleKey::new(key).unwrap());
            message.trace_parent = trace.and_then(|(trace, span, flags)| TraceParent::new(trace, span, flags));
            let extensions = extensions.into_iter().map(|(name, value)| (AttributeName::new(name).unwrap(), value));
            message.extensions = extensions.collect();
            message
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(message in message()) {
        let text = message.to_structured();
        prop_assert_eq!(&Message::from_structured(text.as_bytes()).unwrap(), &message, "{}", text);
        prop_assert_eq!(&Message::from_binary(message.to_binary()).unwrap(), &message);
    }

    #[test]
    fn nothing_that_is_read_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\{(\"[a-z]{1,12}\":(\"[ -~]{0,12}\"|[0-9]{1,12}|null|\\[\\]),?){0,6}\\}") {
        let _ = Message::from_structured(&bytes);
        let _ = Message::from_structured(text.as_bytes());
    }
}

/// The example of the specification, version 1.0.2, section 5.
#[test]
fn the_example_of_the_specification_is_read() {
    let message = Message::from_structured(
        br#"{
            "specversion" : "1.0",
            "type" : "com.github.pull_request.opened",
            "source" : "https://github.com/cloudevents/spec/pull",
            "subject" : "123",
            "id" : "A234-1234-1234",
            "time" : "2018-04-05T17:31:00Z",
            "comexampleextension1" : "value",
            "comexampleothervalue" : 5,
            "datacontenttype" : "text/xml",
            "data" : "<much wow=\"xml\"/>"
        }"#,
    )
    .unwrap();
    assert_eq!(&*message.kind, "com.github.pull_request.opened");
    assert_eq!(message.subject.as_deref(), Some("123"));
    assert_eq!(message.time, Some("2018-04-05T17:31:00Z".parse().unwrap()));
    assert_eq!(message.extensions[&AttributeName::new("comexampleothervalue").unwrap()], Attribute::Integer(5));
    assert_eq!(&*message.data, br#"<much wow="xml"/>"#);
}

/// Case Q43.
#[test]
fn what_is_wrong_is_named() {
    let read = |text: &str| Message::from_structured(text.as_bytes()).unwrap_err();
    let with = |more: &str| read(&format!(r#"{{"specversion":"1.0","id":"1","source":"/","type":"t",{more}}}"#));
    assert!(matches!(read("[]"), CloudEventError::NotJson { .. }));
    assert_eq!(read(r#"{"id":"1"}"#), CloudEventError::Missing { attribute: "specversion" });
    assert_eq!(read(r#"{"specversion":"1.0","id":"1","source":"/"}"#), CloudEventError::Missing { attribute: "type" });
    assert_eq!(read(r#"{"specversion":"0.3"}"#), CloudEventError::Version { found: "0.3".to_owned() });
    for (wrong, name) in [
        (r#""time":"yesterday""#, "time"),
        (r#""time":"2018-04-05T17:31:00+24:00""#, "time"),
        (r#""time":"2018-04-05T17:31:00 é9""#, "time"),
        (r#""traceparent":"00""#, "traceparent"),
        (r#""data":1,"data_base64":"AA==""#, "data_base64"),
        (r#""data_base64":"%""#, "data_base64"),
        (r#""txnpriority":10"#, "txnpriority"),
        (r#""txnsomething":"x""#, "txnsomething"),
        (r#""Upper":"x""#, "Upper"),
        (r#""big":4294967296"#, "big"),
        (r#""deep":{"a":1}"#, "deep"),
        (r#""partitionkey":"with space""#, "partitionkey"),
    ] {
        match with(wrong) {
            CloudEventError::Invalid { attribute, .. } => assert_eq!(attribute, name, "{wrong}"),
            other => panic!("{wrong}: {other}"),
        }
    }
}

#[test]
fn an_offset_is_taken_into_account() {
    let text = r#"{"specversion":"1.0","id":"1","source":"/","type":"t","time":"2018-04-05t19:01:00.25+01:30"}"#;
    let message = Message::from_structured(text.as_bytes()).unwrap();
    assert_eq!(message.time, Some("2018-04-05T17:31:00.25Z".parse().unwrap()));
}

#[test]
fn a_transport_of_texts_keeps_everything_but_the_types_of_extensions() {
    let message = Message::new(MessageId::new("1").unwrap(), Source::new("/").unwrap(), MessageType::new("t").unwrap())
        .priority(Priority::FIRST)
        .extension(AttributeName::new("count").unwrap(), Attribute::Integer(5));
    let binary = message.to_binary();
    let texts = binary.attributes.into_iter().map(|(name, value)| {
        let text = match value {
            Attribute::Text(text) => text,
            Attribute::Integer(integer) => integer.to_string().into(),
            Attribute::Boolean(bool) => bool.to_string().into(),
        };
        (name, Attribute::Text(text))
    });
    let read = Message::from_binary(Binary { attributes: texts.collect(), data: binary.data }).unwrap();
    assert_eq!(read.priority, Priority::FIRST);
    assert_eq!(read.extensions[&AttributeName::new("count").unwrap()], Attribute::Text("5".into()));
}

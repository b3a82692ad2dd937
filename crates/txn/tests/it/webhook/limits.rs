//! Every limit at its last value that passes and its first that does not.

use std::time::Duration;

use txn::{
    change::Timestamp,
    queue::MessageId,
    webhook::{BadSecret, Limits, Refused, Unsigned, Verifier, standard, stripe},
};

use super::{AT, BODY, Headers, STANDARD, STRIPE, at, schemes, standard_headers, standard_secret, stripe_secret};

fn outcome(verifier: &Verifier, headers: &Headers, body: &[u8], now: Timestamp) -> Result<(), Refused> {
    verifier.verify(headers.iter().map(|(name, value)| (name, value)), body, now).map(|_| ())
}

/// Case B47.
#[test]
fn the_window_is_exact_in_both_directions() {
    let tolerance = Duration::from_secs(300);
    for (verifier, headers) in schemes(Limits::default(), BODY, AT) {
        let signed = at(AT).as_nanos();
        let limit = 300 * 1_000_000_000;
        let verify = |nanos: i64| outcome(&verifier, &headers, BODY, Timestamp::from_nanos(nanos));
        for fits in [signed - limit, signed, signed + limit] {
            assert_eq!(verify(fits), Ok(()));
        }
        let beyond = tolerance + Duration::from_nanos(1);
        assert_eq!(verify(signed + limit + 1), Err(Refused::TooOld { age: beyond, tolerance }));
        assert_eq!(verify(signed - limit - 1), Err(Refused::NotYet { ahead: beyond, tolerance }));
        assert!(matches!(verify(i64::MAX), Err(Refused::TooOld { .. })));
        assert!(matches!(verify(i64::MIN), Err(Refused::NotYet { .. })));
    }
}

#[test]
fn a_tolerance_of_the_host_holds() {
    let limits = Limits { tolerance: Duration::ZERO, ..Limits::default() };
    for (verifier, headers) in schemes(limits, BODY, AT) {
        assert_eq!(outcome(&verifier, &headers, BODY, at(AT)), Ok(()));
        assert!(outcome(&verifier, &headers, BODY, at(AT + 1)).is_err());
    }
    let limits = Limits { tolerance: Duration::MAX, ..Limits::default() };
    for (verifier, headers) in schemes(limits, BODY, AT) {
        assert_eq!(outcome(&verifier, &headers, BODY, Timestamp::MIN), Ok(()));
    }
}

#[test]
fn a_body_is_at_most_so_large() {
    let limits = Limits { body_bytes_max: 100, ..Limits::default() };
    for length in [0, 99, 100, 101] {
        let body = vec![b'x'; length];
        for (verifier, headers) in schemes(limits, &body, AT) {
            let expected =
                if length <= 100 { Ok(()) } else { Err(Refused::BodyTooLarge { bytes: 101, bytes_max: 100 }) };
            assert_eq!(outcome(&verifier, &headers, &body, at(AT)), expected);
        }
    }
}

#[test]
fn a_header_is_at_most_so_long() {
    for (verifier, headers) in schemes(Limits::default(), BODY, AT) {
        drop(verifier);
        let (header, longest) = headers.last().map(|(name, value)| (*name, value.len())).unwrap();
        for bytes_max in [longest, longest - 1] {
            let limits = Limits { header_bytes_max: bytes_max, ..Limits::default() };
            let [by_stripe, by_standard] = schemes(limits, BODY, AT);
            let (verifier, headers) = if header == stripe::SIGNATURE { by_stripe } else { by_standard };
            let too_long = Refused::HeaderTooLong { header, bytes: longest, bytes_max };
            let expected = if bytes_max == longest { Ok(()) } else { Err(too_long) };
            assert_eq!(outcome(&verifier, &headers, BODY, at(AT)), expected);
        }
    }
}

#[test]
fn signatures_are_at_most_so_many() {
    for ((verifier, headers), (filler, own)) in
        schemes(Limits::default(), BODY, AT).into_iter().zip([(",v1=0", 2), (" v1,0", 1)])
    {
        for parts in [15, 16, 17] {
            let mut headers = headers.clone();
            let (header, value) = headers.last_mut().unwrap();
            let header = *header;
            value.push_str(&filler.repeat(parts - own));
            let expected = if parts <= 16 { Ok(()) } else { Err(Refused::TooManyParts { header, parts_max: 16 }) };
            assert_eq!(outcome(&verifier, &headers, BODY, at(AT)), expected, "{parts} parts");
        }
    }
}

#[test]
fn secrets_are_at_most_so_many() {
    let limits = Limits { secrets_max: 2, ..Limits::default() };
    let by_stripe = |count: usize| Verifier::stripe(vec![stripe_secret(STRIPE); count], limits).map(|_| ());
    let by_standard = |count: usize| Verifier::standard(vec![standard_secret(STANDARD); count], limits).map(|_| ());
    for (count, expected) in
        [(0, Err(BadSecret::NoneGiven)), (1, Ok(())), (2, Ok(())), (3, Err(BadSecret::TooMany { found: 3, max: 2 }))]
    {
        assert_eq!(by_stripe(count), expected);
        assert_eq!(by_standard(count), expected);
    }
}

/// Case B51.
#[test]
fn a_secret_has_a_size() {
    let by_stripe = |text: &str| stripe::Secret::new(text).map(|_| ());
    assert_eq!(by_stripe(""), Err(BadSecret::Empty));
    assert_eq!(by_stripe("whsec_"), Err(BadSecret::Empty));
    assert_eq!(by_stripe(&"s".repeat(255)), Ok(()));
    assert_eq!(by_stripe(&"s".repeat(256)), Err(BadSecret::TooLong { bytes: 256, bytes_max: 255 }));
    for text in ["whsec_a\n", " whsec_a", "whsec a", "whsec_é", "whsec_\0"] {
        assert_eq!(by_stripe(text), Err(BadSecret::NotGraphic), "{text:?}");
    }

    let of_bytes = |length: usize| standard::Secret::from_bytes(&vec![7; length]).map(|_| ());
    assert_eq!(of_bytes(0), Err(BadSecret::Empty));
    assert_eq!(of_bytes(23), Err(BadSecret::TooShort { bytes: 23, bytes_min: 24 }));
    assert_eq!(of_bytes(24), Ok(()));
    assert_eq!(of_bytes(64), Ok(()));
    assert_eq!(of_bytes(65), Err(BadSecret::TooLong { bytes: 65, bytes_max: 64 }));

    let by_standard = |text: &str| standard::Secret::new(text).map(|_| ());
    for empty in ["", "whsec_"] {
        assert_eq!(by_standard(empty), Err(BadSecret::Empty));
    }
    assert_eq!(by_standard(&"A".repeat(256)), Err(BadSecret::TooLong { bytes: 256, bytes_max: 255 }));
    assert_eq!(by_standard(&"A".repeat(88)), Err(BadSecret::TooLong { bytes: 66, bytes_max: 64 }));
    assert_eq!(by_standard(&"A".repeat(31)), Err(BadSecret::TooShort { bytes: 23, bytes_min: 24 }));
    // Cut off amid a byte: bits are left over.
    assert_eq!(by_standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"), Err(BadSecret::NotBase64));
    assert_eq!(by_standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), Err(BadSecret::NotGraphic));
    assert_eq!(by_standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_"), Err(BadSecret::NotBase64));
    assert_eq!(by_standard("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Err(BadSecret::Asymmetric));
    // Padded or not, the bytes are the same.
    assert_eq!(by_standard(&format!("{}==", "A".repeat(34))), Ok(()));
    assert_eq!(by_standard(&"A".repeat(34)), Ok(()));
}

#[test]
fn an_id_has_a_size() {
    for length in [255, 256] {
        let id = "m".repeat(length);
        let secret = [standard_secret(STANDARD)];
        let Ok(message) = MessageId::new(id.as_str()) else {
            let refused = standard_headers(&id, &AT.to_string(), "v1,AAAA", BODY).unwrap_err();
            assert!(matches!(refused, Refused::HeaderMalformed { header: "webhook-id", .. }));
            assert_eq!(length, 256);
            continue;
        };
        let [_, _, (_, signatures)] = standard::sign(&secret, &message, at(AT), BODY).unwrap();
        let verified = standard_headers(&id, &AT.to_string(), &signatures, BODY).unwrap();
        assert_eq!(verified.id(), Some(&message));
    }
}

#[test]
fn what_cannot_be_written_is_not_signed() {
    let id = MessageId::new("msg.1").unwrap();
    let fine = MessageId::new("msg_1").unwrap();
    let secrets = [standard_secret(STANDARD)];
    assert_eq!(standard::sign(&secrets, &id, at(AT), BODY), Err(Unsigned::FullStopInId));
    assert_eq!(standard::sign(&[], &fine, at(AT), BODY), Err(Unsigned::NoActiveSecret));
    assert_eq!(stripe::sign(&[], at(AT), BODY), Err(Unsigned::NoActiveSecret));
    let before = Timestamp::from_nanos(-1);
    assert_eq!(standard::sign(&secrets, &fine, before, BODY), Err(Unsigned::BeforeEpoch));
    assert_eq!(stripe::sign(&[stripe_secret(STRIPE)], before, BODY), Err(Unsigned::BeforeEpoch));
    let [(_, value)] = stripe::sign(&[stripe_secret(STRIPE)], Timestamp::from_nanos(999_999_999), BODY).unwrap();
    assert!(value.starts_with("t=0,v1="), "whole seconds, rounded down");
}
